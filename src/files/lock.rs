//! One edit of a file at a time, over all processes.
//!
//! The lock is a file beside the one that is edited, there only while an edit is made. Whoever waited for a
//! lock file that was removed meanwhile tries again with the one that is there then.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::fstat;

use super::place::Place;

/// How often a symlink may turn elsewhere while its target is being locked.
const TURNS_MAX: usize = 8;

/// A file that nobody else edits as long as this lives.
#[derive(Debug)]
pub struct EditLock {
    file: Place,
    lock: Place,
    _held: File,
}

impl EditLock {
    /// Waits for other edits of the file that the path leads to, through symlinks, and locks it. Directories
    /// that are missing are created.
    ///
    /// # Errors
    ///
    /// The lock file cannot be created or locked, or the path's symlink keeps turning to other files.
    pub fn take(path: &Path) -> io::Result<Self> {
        for _ in 0..TURNS_MAX {
            let file = Place::target_in_new_directory(path)?;
            let lock = file.sibling(".", ".lock");
            let held = hold(&lock)?;
            let locked = Self {
                file,
                lock,
                _held: held,
            };
            // While this waited, the symlink may have been turned to another file.
            if Place::target_of(path)?.is(&locked.file)? {
                return Ok(locked);
            }
        }
        Err(io::Error::other("its symlink keeps changing"))
    }

    /// The file that is locked.
    #[must_use]
    pub fn file(&self) -> &Place {
        &self.file
    }
}

impl Drop for EditLock {
    fn drop(&mut self) {
        // One that cannot be removed locks the next edits as well as a new one.
        let _ = self.lock.remove();
    }
}

/// Waits for the lock file, and for the one that is there in the end.
fn hold(lock: &Place) -> io::Result<File> {
    loop {
        let file = lock.open_private()?;
        file.lock()?;
        let held = fstat(&file)?;
        let there = lock.look()?;
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_edits_at_a_time_and_no_lock_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let (inside, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (path, inside, done) = (path.clone(), inside.clone(), done.clone());
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        let _lock = EditLock::take(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(done.load(Ordering::SeqCst), 400);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_file_that_a_killed_edit_left_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".file.lock"), "").unwrap();
        drop(EditLock::take(&dir.path().join("file")).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
