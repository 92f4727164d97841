//! A place for a file: its directory, opened once, and a name in it. What is done there is done in that
//! directory, whatever its path leads to meanwhile.
//!
//! Root runs the command line over directories that belong to the account of the server. So that nothing which
//! that account plants there reaches beyond what is its own:
//!
//! - What stands under the name is never a symlink: it is opened with `O_NOFOLLOW`, created with `O_EXCL`, and
//!   has to be a regular file. A pipe is refused and never waited for.
//! - A symlink on the way to the place is followed where it belongs to root or to whoever runs this, as those
//!   that an operator or Kubernetes sets up do. One of anybody else may lead only to what is theirs.
//! - A hard link to somebody else's file, in a directory of anybody but root and whoever runs this, is refused.
//! - Only what was created here is ever given to another owner.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::fs::{
    self, AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat, statat,
    unlinkat,
};
use rustix::io::Errno;

const PRIVATE_FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const PRIVATE_DIR_MODE: Mode = Mode::from_raw_mode(0o700);

/// How many symlinks are followed on the way, as by Linux.
const SYMLINKS_MAX: usize = 40;

/// A directory and a name in it.
#[derive(Clone, Debug)]
pub struct Place {
    directory: Arc<OwnedFd>,
    name: OsString,
    /// Whose symlinks led here, if not root's or those of whoever runs this.
    led_by: Option<u32>,
    /// Whether the path's last name was a symlink.
    is_target: bool,
}

impl Place {
    /// The place that the path names; a symlink there is not followed.
    ///
    /// # Errors
    ///
    /// Its directory is not there, or the path names no file.
    pub fn of(path: &Path) -> io::Result<Self> {
        walk(path, false, false)
    }

    /// The place that the path leads to, through symlinks there.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn target_of(path: &Path) -> io::Result<Self> {
        walk(path, true, false)
    }

    /// As [`target_of`](Self::target_of); directories of the path that are missing are created (mode 0700),
    /// durably.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn target_in_new_directory(path: &Path) -> io::Result<Self> {
        walk(path, true, true)
    }

    /// Whether a symlink led here.
    #[must_use]
    pub fn is_target_of_a_symlink(&self) -> bool {
        self.is_target
    }

    /// The place beside this one, with its name between `before` and `after`.
    #[must_use]
    pub fn sibling(&self, before: &str, after: &str) -> Self {
        let mut name = OsString::from(before);
        name.push(&self.name);
        name.push(after);
        Self {
            name,
            is_target: false,
            ..self.clone()
        }
    }

    /// Whether two places are one.
    pub(super) fn is(&self, other: &Self) -> io::Result<bool> {
        let (a, b) = (fstat(&self.directory)?, fstat(&other.directory)?);
        Ok(self.name == other.name && (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    ///
    /// It is not there, is no regular file, or is somebody else's that was planted here.
    pub fn open(&self) -> io::Result<File> {
        self.open_with(OFlags::RDONLY, Mode::empty())
    }

    /// Opens a private file that is appended to or locked, creating it (mode 0600, durably) if it is not there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_private(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND;
        loop {
            match self.open_with(flags, Mode::empty()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => return opened,
            }
            match self.open_with(flags | OFlags::CREATE | OFlags::EXCL, PRIVATE_FILE_MODE) {
                // Created by somebody else meanwhile.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    self.adopt(&file)?;
                    self.sync_directory()?;
                    return Ok(file);
                }
            }
        }
    }

    /// Creates a private file; one that is there is [`ErrorKind::AlreadyExists`].
    pub(super) fn create(&self) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        self.open_with(flags, PRIVATE_FILE_MODE)
    }

    fn open_with(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        // Nothing waits for a pipe that nobody writes to.
        let safe = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.directory, &self.name, flags | safe, mode) {
            Err(Errno::LOOP) => return Err(refused("it is a symlink, which is not followed here")),
            // What opening a socket, or a directory for writing, gives.
            Err(Errno::NXIO | Errno::ISDIR) => return Err(not_a_file()),
            opened => opened?,
        };
        if !flags.contains(OFlags::EXCL) {
            self.check(&fstat(&file)?)?;
        }
        Ok(file.into())
    }

    /// What stands here, if anything does.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub(super) fn look(&self) -> io::Result<Option<Stat>> {
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }

    /// Whether something stands here.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub fn exists(&self) -> io::Result<bool> {
        Ok(self.look()?.is_some())
    }

    fn check(&self, file: &Stat) -> io::Result<()> {
        if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
            return Err(not_a_file());
        }
        let directory = fstat(&self.directory)?;
        if !is_trusted(directory.st_uid) && file.st_nlink > 1 && file.st_uid != directory.st_uid {
            return Err(refused("it is a hard link to somebody else's file"));
        }
        match self.led_by {
            Some(owner) if file.st_uid != owner => Err(led_astray()),
            _ => Ok(()),
        }
    }

    /// Refuses the directory of somebody else than the one whose symlink led here, before anything is created
    /// in it.
    fn checked(self) -> io::Result<Self> {
        match self.led_by {
            Some(owner) if fstat(&self.directory)?.st_uid != owner => Err(led_astray()),
            _ => Ok(self),
        }
    }

    /// Removes what stands here, if anything does.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Makes a rename, creation or removal here durable.
    pub(super) fn sync_directory(&self) -> io::Result<()> {
        sync(&self.directory)
    }

    /// Gives a file that was created here to the owner of the directory.
    pub(super) fn adopt(&self, file: &File) -> io::Result<()> {
        let (new, directory) = (fstat(file)?, fstat(&self.directory)?);
        if (new.st_uid, new.st_gid) != (directory.st_uid, directory.st_gid) {
            // Only root may; for everybody else the file is theirs, which is right too.
            let _ = give(file, Some(directory.st_uid), Some(directory.st_gid));
        }
        Ok(())
    }

    /// Gives a file that was created here to the owner of another.
    pub(super) fn keep_owner(file: &File, old: &Stat) -> io::Result<()> {
        let new = fstat(file)?;
        if new.st_gid != old.st_gid {
            // At mode 0600 the group has no access: losing it harms nobody.
            let _ = give(file, None, Some(old.st_gid));
        }
        if new.st_uid != old.st_uid {
            give(file, Some(old.st_uid), None)?;
        }
        Ok(())
    }
}

fn give(file: &File, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let owner = owner.map(fs::Uid::from_raw);
    Ok(fs::fchown(file, owner, group.map(fs::Gid::from_raw))?)
}

fn sync(directory: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fs::fsync(openat(directory, ".", flags, Mode::empty())?)?)
}

/// Creates a directory (mode 0700) and those above it, as far as they are missing, durably.
///
/// # Errors
///
/// It cannot be created, or something else stands there.
pub fn create_private_dir(directory: &Path) -> io::Result<()> {
    // The walk opens every directory on the way to a file in it.
    walk(&directory.join("file"), false, true).map(|_| ())
}

/// Goes to the place of a path, one name at a time, each in the directory that the last one is.
fn walk(path: &Path, follow: bool, create: bool) -> io::Result<Place> {
    let mut rest: VecDeque<OsString> = VecDeque::new();
    let mut directory = enter(path, &mut rest)?;
    let (mut led_by, mut symlinks, mut is_target) = (None, 0, false);
    while let Some(name) = rest.pop_front() {
        let is_last = rest.is_empty();
        let place = |directory, name| Place {
            directory: Arc::new(directory),
            name,
            led_by,
            is_target,
        };
        if is_last && name == ".." {
            break;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = match openat(&directory, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) if is_last => return place(directory, name).checked(),
            Err(Errno::NOENT) if create && led_by.is_none() && !is_target => {
                match mkdirat(&directory, &name, PRIVATE_DIR_MODE) {
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                    Ok(()) => sync(&directory)?,
                }
                rest.push_front(name);
                continue;
            }
            opened => opened?,
        };
        let stat = fstat(&next)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink if follow || !is_last => {
                symlinks += 1;
                if symlinks > SYMLINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                if !is_trusted(stat.st_uid) {
                    led_by = Some(stat.st_uid);
                }
                is_target |= is_last;
                let target = readlinkat(&next, "", Vec::new())?.into_bytes();
                let target = OsString::from_vec(target);
                let behind = std::mem::take(&mut rest);
                if Path::new(&target).is_absolute() {
                    directory = enter(Path::new(&target), &mut rest)?;
                } else {
                    names(Path::new(&target), &mut rest);
                }
                rest.extend(behind);
            }
            _ if is_last => return place(directory, name).checked(),
            FileType::Directory => directory = next,
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        "the path names no file",
    ))
}

/// Opens where a path starts, and lists the names from there.
fn enter(path: &Path, rest: &mut VecDeque<OsString>) -> io::Result<OwnedFd> {
    names(path, rest);
    let start = if path.is_absolute() { "/" } else { "." };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, start, flags, Mode::empty())?)
}

fn names(path: &Path, rest: &mut VecDeque<OsString>) {
    rest.extend(path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    }));
}

/// Whether what belongs to this user may lead anywhere: root does as it likes, and whoever runs this could go
/// there directly.
fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a regular file")
}

fn led_astray() -> io::Error {
    refused("a symlink that is neither root's nor yours leads to somebody else's file")
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests;
