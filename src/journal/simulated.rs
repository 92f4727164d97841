//! A disk in memory that loses power: what was not synced survives sector by sector, by chance.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use super::lock;
use super::storage::{ReadAt, SegmentFile, SmallFile, Space, Storage, temporary_name};

const SECTOR: usize = 512;

/// A simulated disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

/// Told of every operation, before it and after it.
#[derive(Clone)]
struct Watcher(Arc<dyn Fn(&SimulatedDisk) + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, FileState>,
    /// Files removed since the last directory sync: they may come back.
    removed: BTreeMap<String, FileState>,
    operations: u64,
    cut_at: Option<u64>,
    sync_fails_at: Option<u64>,
    out_of_space: bool,
    stalled: bool,
    /// Syncs of segments do not come back, and nothing is durable.
    syncs_held: bool,
    watcher: Option<Watcher>,
    /// The directory was created and its parent was not synced: it may not be there after a power cut.
    is_new: bool,
    /// Set by a failed sync: a later sync of the same file would be the mistake that loses data.
    synced_after_failure: bool,
    failed_sync: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    content: Vec<u8>,
    entry_durable: bool,
    /// What has this name while the entry is not durable.
    replaced: Option<Box<FileState>>,
}

impl SimulatedDisk {
    /// The power goes at this operation, which has no effect or part of it.
    pub fn cut_power_at(&self, operation: u64) {
        lock(&self.0).cut_at = Some(operation);
    }

    /// The sync that is this operation fails.
    pub fn fail_sync_at(&self, operation: u64) {
        lock(&self.0).sync_fails_at = Some(operation);
    }

    /// A disk whose directory was created a moment ago, by someone who then was killed.
    pub fn just_created() -> Self {
        let disk = Self::default();
        lock(&disk.0).is_new = true;
        disk
    }

    /// Lets `watch` look at the disk before and after every operation.
    pub fn watch(&self, watch: impl Fn(&Self) + Send + Sync + 'static) {
        lock(&self.0).watcher = Some(Watcher(Arc::new(watch)));
    }

    /// Lets no sync of a file come back until it is released.
    pub fn hold_syncs(&self, held: bool) {
        lock(&self.0).syncs_held = held;
    }

    pub fn set_out_of_space(&self, out: bool) {
        lock(&self.0).out_of_space = out;
    }

    pub fn set_stalled(&self, stalled: bool) {
        lock(&self.0).stalled = stalled;
    }

    pub fn operations(&self) -> u64 {
        lock(&self.0).operations
    }

    pub fn synced_after_failure(&self) -> bool {
        lock(&self.0).synced_after_failure
    }

    /// Flips one bit of a file.
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u8) {
        let mut state = lock(&self.0);
        let file = state.files.get_mut(name).unwrap();
        file.content[byte] ^= 1 << bit;
        file.durable = file.content.clone();
    }

    /// What the disk holds when power is back: every sector that was not synced is old or new.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut random = seed.wrapping_mul(2).wrapping_add(1);
        let mut coin = move || {
            // xorshift64: any even-handed coin does.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 4 == 0
        };
        let state = lock(&self.0);
        let mut files = BTreeMap::new();
        if state.is_new && coin() {
            return Self::default();
        }
        for (name, file) in &state.files {
            if !file.entry_durable && coin() {
                if let Some(before) = &file.replaced {
                    files.insert(name.clone(), settled(before.durable.clone()));
                }
                continue;
            }
            let len = if file.content.len() == file.durable.len() || coin() {
                file.content.len()
            } else {
                file.durable.len()
            };
            let mut content = vec![0; len];
            for at in (0..len).step_by(SECTOR) {
                let to = (at + SECTOR).min(len);
                let from = if coin() { &file.content } else { &file.durable };
                if let Some(bytes) = from.get(at..to.min(from.len())) {
                    content[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
            files.insert(name.clone(), settled(content));
        }
        for (name, file) in &state.removed {
            if coin() {
                files
                    .entry(name.clone())
                    .or_insert_with(|| settled(file.durable.clone()));
            }
        }
        Self(Arc::new(Mutex::new(State {
            files,
            ..State::default()
        })))
    }

    fn named(&self, name: &str) -> io::Result<SimulatedFile> {
        if !lock(&self.0).files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(SimulatedFile {
            disk: self.clone(),
            name: name.to_owned(),
        })
    }

    /// The bytes of a file as they are now, and whether all of them are durable.
    pub fn file(&self, name: &str) -> Option<(Vec<u8>, bool)> {
        let state = lock(&self.0);
        let file = state.files.get(name)?;
        Some((
            file.content.clone(),
            file.entry_durable && file.content == file.durable,
        ))
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        lock(&self.0)
            .files
            .insert(name.to_owned(), settled(bytes.to_vec()));
    }

    fn operate<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let watcher = lock(&self.0).watcher.clone();
        let look = || {
            if let Some(watcher) = &watcher {
                watcher.0(self);
            }
        };
        look();
        let done = self.operate_unwatched(act);
        look();
        done
    }

    /// Counts an operation and decides whether it still happens.
    fn operate_unwatched<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        loop {
            let mut state = lock(&self.0);
            if state.stalled {
                drop(state);
                std::thread::sleep(std::time::Duration::from_millis(1));
                continue;
            }
            let number = state.operations;
            state.operations += 1;
            if state.cut_at.is_some_and(|cut| number >= cut) {
                if state.cut_at == Some(number) {
                    // The operation may have reached the medium all the same.
                    let _ = act(&mut state);
                }
                return Err(io::Error::other("power cut"));
            }
            return act(&mut state);
        }
    }
}

fn settled(content: Vec<u8>) -> FileState {
    FileState {
        durable: content.clone(),
        content,
        entry_durable: true,
        replaced: None,
    }
}

impl Storage for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).files.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn SegmentFile>> {
        self.operate(|state| {
            if state.out_of_space {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let file = FileState {
                content: vec![0; bytes as usize],
                ..FileState::default()
            };
            state.files.insert(name.to_owned(), file);
            Ok(())
        })?;
        Ok(Box::new(self.named(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(self.named(name)?))
    }

    fn reopen(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(self.named(name)?))
    }

    fn open_small(&self, name: &str) -> io::Result<Box<dyn SmallFile>> {
        self.operate(|state| {
            state.files.entry(name.to_owned()).or_default();
            Ok(())
        })?;
        Ok(Box::new(self.named(name)?))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary_name(name);
        self.operate(|state| {
            let file = FileState {
                entry_durable: false,
                ..settled(bytes.to_vec())
            };
            state.files.insert(temporary.clone(), file);
            Ok(())
        })?;
        self.operate(|state| {
            if let Some(mut file) = state.files.remove(&temporary) {
                let before = state.files.remove(name);
                file.replaced = before.map(|before| match before.replaced {
                    Some(durable) if !before.entry_durable => durable,
                    _ => Box::new(before),
                });
                state.files.insert(name.to_owned(), file);
            }
            Ok(())
        })?;
        self.sync_directory()
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.operate(|state| {
            if let Some(file) = state.files.get_mut(name) {
                file.content.resize(bytes as usize, 0);
                file.durable = file.content.clone();
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|state| {
            if let Some(file) = state.files.remove(name)
                && file.entry_durable
            {
                state.removed.insert(name.to_owned(), file);
            }
            Ok(())
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.operate(|state| {
            state.removed.clear();
            for file in state.files.values_mut() {
                file.entry_durable = true;
                file.replaced = None;
            }
            Ok(())
        })
    }

    fn sync_ancestors(&self) -> io::Result<()> {
        self.operate(|state| {
            state.is_new = false;
            Ok(())
        })
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            available: 1 << 40,
        })
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    name: String,
}

impl SegmentFile for SimulatedFile {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        for slice in slices {
            assert_eq!(
                slice.len() % super::format::BLOCK_BYTES,
                0,
                "writes are whole blocks"
            );
            assert_eq!(
                slice.as_ptr().align_offset(super::format::BLOCK_BYTES),
                0,
                "buffers are aligned"
            );
        }
        assert_eq!(
            offset % super::format::BLOCK_BYTES as u64,
            0,
            "offsets are aligned"
        );
        self.disk.operate(|state| {
            let file = state
                .files
                .get_mut(&self.name)
                .ok_or(io::ErrorKind::NotFound)?;
            let mut at = offset as usize;
            for slice in slices {
                if file.content.len() < at + slice.len() {
                    file.content.resize(at + slice.len(), 0);
                }
                let place = &mut file.content[at..at + slice.len()];
                assert!(
                    place.iter().all(|&b| b == 0),
                    "a committed block is never written again"
                );
                place.copy_from_slice(slice);
                at += slice.len();
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        while lock(&self.disk.0).syncs_held {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.disk.operate(|state| {
            if state.failed_sync.as_ref() == Some(&self.name) {
                state.synced_after_failure = true;
            }
            if state.sync_fails_at.is_some_and(|at| state.operations > at) {
                state.sync_fails_at = None;
                state.failed_sync = Some(self.name.clone());
                return Err(io::Error::other("I/O error"));
            }
            if let Some(file) = state.files.get_mut(&self.name) {
                file.durable = file.content.clone();
            }
            Ok(())
        })
    }
}

impl SmallFile for SimulatedFile {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.disk.operate(|state| {
            if let Some(file) = state.files.get_mut(&self.name) {
                file.content = bytes.to_vec();
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        SegmentFile::sync(self)
    }
}

impl ReadAt for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = lock(&self.disk.0);
        let file = state.files.get(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let bytes = file.content.get(offset as usize..).unwrap_or_default();
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn len(&self) -> io::Result<u64> {
        let state = lock(&self.disk.0);
        Ok(state.files.get(&self.name).map_or(0, |f| f.content.len()) as u64)
    }
}
