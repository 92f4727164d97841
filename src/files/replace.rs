//! Files that are replaced whole: whoever opens one sees the old content or the new, never a mix,
//! also after a crash or a loss of power.
//!
//! The order is: temporary file in the same directory, fsync, rename, fsync of the directory.
//! Everything written here is private to its owner (mode 0600 from the moment it exists), but for what is
//! replaced with its mode kept.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

const PRIVATE_FILE_MODE: u32 = 0o600;
const PRIVATE_DIR_MODE: u32 = 0o700;

/// Replaces the file at `path`, or creates it, with what `fill` writes.
///
/// The file keeps its owner; where that is impossible, nothing is changed, because at mode 0600 the
/// owner would lose it. A new file belongs to the owner of the directory where possible, so that
/// what root creates for a server is readable to the server.
///
/// The temporary file has one fixed name, so that killed writers leave at most one behind, and the
/// next removes it: callers hold a lock for `path`, or are its only writer.
pub fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    write(path, fill, |temporary| fs::rename(temporary, path))
}

/// As [`replace`], and a file that is there keeps its mode: for what is no secret and may be read by others.
pub fn replace_keeping_mode(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    write(path, fill, |temporary| {
        match fs::metadata(path) {
            Ok(old) => fs::set_permissions(temporary, old.permissions())?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(temporary, path)
    })
}

/// Creates the file at `path`; one that is there already is left alone ([`ErrorKind::AlreadyExists`]).
///
/// Otherwise as [`replace`].
pub fn create_new(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    write(path, fill, |temporary| {
        match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
            // Some file systems (NFS) cannot; a check and the caller's lock are the next best.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                if path.try_exists()? {
                    return Err(ErrorKind::AlreadyExists.into());
                }
                fs::rename(temporary, path)
            }
            done => Ok(done?),
        }
    })
}

fn write(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    publish: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = sibling(path, ".", ".tmp")?;
    // Removed, not reopened: it may have been left with another mode or owner.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_temporary(path, &temporary, fill).and_then(|()| publish(&temporary));
    if written.is_err() {
        // The error is what matters; the next writer removes the file too.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_dir(parent(path))
}

fn write_temporary(
    path: &Path,
    temporary: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE_FILE_MODE)
        .open(temporary)?;
    match fs::metadata(path) {
        Ok(old) => keep_owner(&file, &old)?,
        Err(error) if error.kind() == ErrorKind::NotFound => adopt(&file, parent(path))?,
        Err(error) => return Err(error),
    }
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    fill(&mut writer)?;
    writer.into_inner()?.sync_all()
}

/// Opens a private file that is appended to or locked, creating it (durably) if it is not there.
pub fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(PRIVATE_FILE_MODE);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    let file = options.create(true).open(path)?;
    adopt(&file, parent(path))?;
    sync_dir(parent(path))?;
    Ok(file)
}

/// Creates a directory (mode 0700) and those above it, as far as they are missing, durably.
pub fn create_private_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    create_private_dir(above)?;
    match DirBuilder::new().mode(PRIVATE_DIR_MODE).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_dir(above),
    }
}

/// The file beside `path` with its name between `before` and `after`.
pub(crate) fn sibling(path: &Path, before: &str, after: &str) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the path names no file",
        ));
    };
    let mut sibling = OsString::from(before);
    sibling.push(name);
    sibling.push(after);
    Ok(path.with_file_name(sibling))
}

/// The directory of `path`, `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Makes a rename, creation or removal in `dir` durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn keep_owner(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if new.gid() != old.gid() {
        // At mode 0600 the group has no access: losing it harms nobody.
        let _ = fchown(file, None, Some(old.gid()));
    }
    if new.uid() != old.uid() {
        fchown(file, Some(old.uid()), None)?;
    }
    Ok(())
}

fn adopt(file: &File, dir: &Path) -> io::Result<()> {
    let (new, dir) = (file.metadata()?, fs::metadata(dir)?);
    if (new.uid(), new.gid()) != (dir.uid(), dir.gid()) {
        // Only root may; for everybody else the file is theirs, which is right too.
        let _ = fchown(file, Some(dir.uid()), Some(dir.gid()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
        create_new(&path, |out| out.write_all(b"first")).unwrap();
        let error = create_new(&path, |out| out.write_all(b"second")).unwrap_err();
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
