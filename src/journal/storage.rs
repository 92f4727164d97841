//! The seam between the journal and the disk: few operations, so that tests can cut the power at each.
//!
//! What is assumed of the medium: after [`SegmentFile::sync`] returns, what was written to that file
//! survives a loss of power; before that, any subset of the written sectors may. After
//! [`Storage::sync_directory`] returns, files created and removed before it are, and stay, so.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
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
    /// Cuts a file to `bytes` and makes that durable.
    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created and removed files durable.
    fn sync_directory(&self) -> io::Result<()>;
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

/// A file being read.
pub trait ReadAt: fmt::Debug {
    /// Reads into `buffer` at `offset`; returns how much, 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Length of the file, bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

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
    direct: AtomicBool,
}

impl Disk {
    /// The directory, created with mode 0700 if it does not exist.
    pub fn create(directory: &Path) -> io::Result<Self> {
        if !directory.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            if let Some(parent) = directory.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self::existing(directory))
    }

    /// A directory to read from only.
    pub fn existing(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            direct: AtomicBool::new(true),
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
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(File::open(self.directory.join(name))?))
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .open(self.directory.join(name))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.directory)?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

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

impl SegmentFile for File {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let total: usize = slices.iter().map(|s| s.len()).sum();
        let mut written = match rustix::io::pwritev(self, slices, offset) {
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
            self.write_all_at(&slice[done..], at + done as u64)?;
            at += slice.len() as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
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
