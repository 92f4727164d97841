//! Files that are replaced whole: whoever opens one sees the old content or the new, never a mix,
//! also after a crash or a loss of power.
//!
//! The order is: temporary file in the same directory, fsync, rename, fsync of the directory.
//! Everything written here is private to its owner (mode 0600 from the moment it exists), but for what is
//! replaced with its mode kept.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use rustix::fs::{Mode, RenameFlags, fchmod, renameat, renameat_with};
use rustix::io::Errno;

use super::place::Place;

/// The part of a mode that says who may read, write and run a file.
const PERMISSIONS: u32 = 0o777;

/// As [`Place::replace`], where the path says.
///
/// # Errors
///
/// As there.
pub fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    Place::of(path)?.replace(fill)
}

impl Place {
    /// Replaces the file here, or creates it, with what `fill` writes.
    ///
    /// The file keeps its owner; where that is impossible, nothing is changed, because at mode 0600 the
    /// owner would lose it. A new file belongs to the owner of the directory where possible, so that
    /// what root creates for a server is readable to the server.
    ///
    /// The temporary file has one fixed name, so that killed writers leave at most one behind, and the
    /// next removes it: callers hold a lock for the file, or are its only writer.
    ///
    /// # Errors
    ///
    /// What failed; the file is as it was.
    pub fn replace(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        self.write(fill, |temporary, _| self.rename(temporary))
    }

    /// As [`replace`](Self::replace), and a file that is there keeps its mode: for what is no secret and may be
    /// read by others.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn replace_keeping_mode(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write(fill, |temporary, file| {
            if let Some(old) = self.look()? {
                fchmod(file, Mode::from_raw_mode(old.st_mode & PERMISSIONS))?;
            }
            self.rename(temporary)
        })
    }

    /// Creates the file here; one that is there already is left alone ([`ErrorKind::AlreadyExists`]).
    ///
    /// Otherwise as [`replace`](Self::replace).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn create_new(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write(fill, |temporary, _| {
            let (old, new) = (temporary.name(), self.name());
            let directory = self.directory();
            match renameat_with(directory, old, directory, new, RenameFlags::NOREPLACE) {
                // Some file systems (NFS) cannot; a check and the caller's lock are the next best.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    if self.exists()? {
                        return Err(ErrorKind::AlreadyExists.into());
                    }
                    self.rename(temporary)
                }
                done => Ok(done?),
            }
        })
    }

    fn rename(&self, temporary: &Self) -> io::Result<()> {
        let directory = self.directory();
        Ok(renameat(
            directory,
            temporary.name(),
            directory,
            self.name(),
        )?)
    }

    fn write(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
        publish: impl FnOnce(&Self, &File) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = self.sibling(".", ".tmp");
        // Removed, not reopened: it may have been left with another mode or owner.
        temporary.remove()?;
        let written = temporary.create().and_then(|file| {
            match self.look()? {
                Some(old) => Self::keep_owner(&file, &old)?,
                None => self.adopt(&file)?,
            }
            let mut writer = BufWriter::with_capacity(1 << 16, file);
            fill(&mut writer)?;
            let file = writer.into_inner()?;
            file.sync_all()?;
            publish(&temporary, &file)
        });
        if written.is_err() {
            // The error is what matters; the next writer removes the file too.
            let _ = temporary.remove();
        }
        written?;
        self.sync_directory()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::files::create_private_dir;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_at_mode_0600_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let failed = replace(&path, |out| {
            out.write_all(b"ne")?;
            Err(io::Error::other("full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_replaced_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let left = dir.path().join(".file.tmp");
        fs::write(&left, "half, and longer than the new content").unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_new_file_does_not_replace_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        Place::of(&path)
            .unwrap()
            .create_new(|out| out.write_all(b"first"))
            .unwrap();
        let error = Place::of(&path)
            .unwrap()
            .create_new(|out| out.write_all(b"second"))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn missing_directories_are_created_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        create_private_dir(&deep).unwrap();
        create_private_dir(&deep).unwrap();
        assert_eq!(mode(&deep), 0o700);
        assert_eq!(mode(&dir.path().join("a")), 0o700);
    }
}
