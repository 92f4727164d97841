//! The seam between the journal and the disk: few operations, so that tests can cut the power at each.
//!
//! What is assumed of the medium: after [`SegmentFile::sync`] returns, what was written to that file
//! survives a loss of power; before that, any subset of the written sectors of 512 bytes may, each of them
//! whole. After [`Storage::sync_directory`] returns, files created, replaced and removed before it are, and
//! stay, so; the directory itself is there for good after [`Storage::sync_ancestors`].

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, OFlags};

/// A directory of segment files.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates a file of `bytes` zeros whose space is reserved: writing inside it cannot run out of disk.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>>;
    /// Opens a segment that exists for writing behind its end.
    fn reopen(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Cuts a file to `bytes` and makes all of it durable, also where it has that length already.
    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()>;
    /// Opens a file of less than a sector that is overwritten in place, created if need be.
    fn open_small(&self, name: &str) -> io::Result<Box<dyn SmallFile>>;
    /// Replaces a small file whole, or creates it, and makes that durable.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created and removed files durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// Makes the directory itself durable, whoever created it, and however that ended.
    fn sync_ancestors(&self) -> io::Result<()>;
    /// Room on the file system.
    fn space(&self) -> io::Result<Space>;
}

/// A segment being written. Offsets and lengths are multiples of the block, buffers are aligned to it.
pub trait SegmentFile: Send + Sync + fmt::Debug {
    /// Writes all of `slices`, one after the other, at `offset`.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file of less than a sector, written whole: whoever reads it finds the bytes before or after a write, or,
/// in the middle of one, a mix that its checksum gives away.
pub trait SmallFile: Send + Sync + fmt::Debug {
    /// Overwrites the content, which keeps its length.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file being read.
pub trait ReadAt: Send + fmt::Debug {
    /// Reads into `buffer` at `offset`; returns how much, 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Length of the file, bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The content of a small file; `None` where there is none.
///
/// Bounded: what is longer than any small file is cut, and then fails its checksum.
pub(super) fn read_small(storage: &dyn Storage, name: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = vec![0; SECTOR_BYTES + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}

/// What a disk writes whole or not at all, bytes.
pub(super) const SECTOR_BYTES: usize = 512;

/// Room on a file system, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// What an unprivileged process may still use.
    pub available: u64,
}

/// Segments in a directory of a real file system, written with direct I/O where that is possible.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    direct: Arc<AtomicBool>,
}

impl Disk {
    /// The directory, created with mode 0700 if it does not exist.
    pub fn create(directory: &Path) -> io::Result<Self> {
        if !directory.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        Ok(Self::existing(directory))
    }

    /// A directory to read from only.
    pub fn existing(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            direct: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Whether segments are written past the page cache. Known after the first segment was created.
    pub fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    fn open_new(&self, path: &Path, direct: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        if direct {
            options.custom_flags(OFlags::DIRECT.bits() as i32);
        }
        options.open(path)
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn SegmentFile>> {
        let path = self.directory.join(name);
        let mut file = self.open_new(&path, self.is_direct());
        if self.is_direct() && matches!(&file, Err(e) if e.kind() == io::ErrorKind::InvalidInput) {
            // tmpfs on old kernels and some network file systems refuse O_DIRECT at open. The refused
            // open may still have created the file.
            let _ = fs::remove_file(&path);
            self.direct.store(false, Ordering::Relaxed);
            file = self.open_new(&path, false);
        }
        let file = file?;
        let direct = self.is_direct();
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                fill_with_zeros(&path, bytes)?
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                return Err(error.into());
            }
        }
        Ok(Box::new(DiskSegment {
            file,
            direct: AtomicBool::new(direct),
            disk_direct: Arc::clone(&self.direct),
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        // Not waiting for whoever would write into a FIFO of this name.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(self.directory.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Box::new(file))
    }

    fn reopen(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32);
        Ok(Box::new(DiskSegment {
            file: options.open(self.directory.join(name))?,
            direct: AtomicBool::new(false),
            disk_direct: Arc::clone(&self.direct),
        }))
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .open(self.directory.join(name))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn open_small(&self, name: &str) -> io::Result<Box<dyn SmallFile>> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32);
        Ok(Box::new(options.open(self.directory.join(name))?))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.directory.join(temporary_name(name));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self.open_new(&temporary, false).and_then(|file| {
            file.write_all_at(bytes, 0)?;
            file.sync_all()?;
            fs::rename(&temporary, self.directory.join(name))
        });
        if written.is_err() {
            // The error is what matters; the next one removes it too.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        self.sync_directory()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn sync_ancestors(&self) -> io::Result<()> {
        let directory = fs::canonicalize(&self.directory)?;
        let mut ancestors = directory.ancestors().skip(1);
        if let Some(parent) = ancestors.next() {
            File::open(parent)?.sync_all()?;
        }
        // Whoever created the directory may have created those above it, too. One that may not be read was
        // not created by this user.
        for ancestor in ancestors {
            match File::open(ancestor).and_then(|ancestor| ancestor.sync_all()) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                // Some file systems have directories that cannot be synced, the root of a container's.
                Err(error) => {
                    tracing::debug!(%error, "a directory above the data directory cannot be synced");
                    break;
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.directory)?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

/// Where a small file is written before it takes its name.
pub(super) fn temporary_name(name: &str) -> String {
    format!("{name}{TEMPORARY_SUFFIX}")
}

/// What is left of a small file whose writer was killed ends in this.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Reserves space where the file system cannot reserve it itself.
fn fill_with_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at).min(zeros.len() as u64);
        if let Err(error) = file.write_all_at(&zeros[..n as usize], at) {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        at += n;
    }
    file.sync_all()
}

/// A segment on a real file system.
#[derive(Debug)]
struct DiskSegment {
    file: File,
    direct: AtomicBool,
    /// Of the disk: what the next segment is opened with.
    disk_direct: Arc<AtomicBool>,
}

impl SegmentFile for DiskSegment {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        match write_all_at(&self.file, slices, offset) {
            // Some file systems take O_DIRECT at open and refuse it when they are to write.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
                    && self.direct.swap(false, Ordering::Relaxed) =>
            {
                let flags = rustix::fs::fcntl_getfl(&self.file)?;
                rustix::fs::fcntl_setfl(&self.file, flags.difference(OFlags::DIRECT))?;
                self.disk_direct.store(false, Ordering::Relaxed);
                tracing::info!(
                    "the file system refuses direct I/O; the journal goes through the page cache"
                );
                write_all_at(&self.file, slices, offset)
            }
            written => written,
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn write_all_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let total: usize = slices.iter().map(|s| s.len()).sum();
    let mut written = match rustix::io::pwritev(file, slices, offset) {
        Ok(n) => n,
        Err(rustix::io::Errno::INTR) => 0,
        Err(error) => return Err(error.into()),
    };
    if written == total {
        return Ok(());
    }
    // A short write is rare: go on slice by slice.
    let mut at = offset;
    for slice in slices {
        let done = written.min(slice.len());
        written -= done;
        file.write_all_at(&slice[done..], at + done as u64)?;
        at += slice.len() as u64;
    }
    Ok(())
}

impl SmallFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, 0)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Chunk;
    use super::super::format::BLOCK_BYTES;
    use super::*;

    #[test]
    fn direct_writes_that_are_refused_go_through_the_page_cache_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::create(directory.path()).unwrap();
        let file = disk.create("segment", 1 << 16).unwrap();
        let block = Chunk::zeros(BLOCK_BYTES);
        file.write_at(&[IoSlice::new(block.bytes())], 0).unwrap();
        // Where direct I/O is possible this is what it refuses with EINVAL: no whole block.
        let text = b"not aligned";
        file.write_at(&[IoSlice::new(text)], 4099).unwrap();
        file.sync().unwrap();
        file.write_at(&[IoSlice::new(text)], 5001).unwrap();
        let mut read = [0; 11];
        for at in [4099, 5001] {
            disk.open("segment")
                .unwrap()
                .read_at(&mut read, at)
                .unwrap();
            assert_eq!(&read, text);
        }
        // tmpfs takes what is not aligned even then.
        let is_tmpfs = rustix::fs::statfs(directory.path()).unwrap().f_type == 0x0102_1994;
        assert_eq!(
            disk.is_direct(),
            is_tmpfs,
            "the next segment is not tried so"
        );
        disk.create("next", 1 << 16)
            .unwrap()
            .write_at(&[IoSlice::new(text)], 1)
            .unwrap();
    }

    #[test]
    fn a_small_file_is_replaced_whole_and_one_left_half_written_does_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::create(directory.path()).unwrap();
        fs::write(directory.path().join(temporary_name("small")), "half").unwrap();
        assert_eq!(read_small(&disk, "small").unwrap(), None);
        for text in ["first, and longer", "second"] {
            disk.replace("small", text.as_bytes()).unwrap();
            let read = read_small(&disk, "small").unwrap();
            assert_eq!(read.as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(disk.list().unwrap(), ["small"]);
    }
}
