//! A disk in memory that loses power: what was not synced survives sector by sector, by chance.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use super::lock;
use super::storage::{ReadAt, SegmentFile, Space, Storage};

const SECTOR: usize = 512;

/// A simulated disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

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
    /// Set by a failed sync: a later sync of the same file would be the mistake that loses data.
    synced_after_failure: bool,
    failed_sync: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    content: Vec<u8>,
    entry_durable: bool,
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
        for (name, file) in &state.files {
            if !file.entry_durable && coin() {
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

    /// Counts an operation and decides whether it still happens.
    fn operate<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
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
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        if !lock(&self.0).files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.operate(|state| {
            if let Some(file) = state.files.get_mut(name) {
                file.content.truncate(bytes as usize);
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
            }
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
