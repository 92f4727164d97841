//! Which server runs over a data directory: its lock, and the file that says where it listens.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::files::replace;

const LOCK_NAME: &str = "lock";
const FILE_NAME: &str = "server.json";

/// How long a start tries for the lock: those who only ask whether it is held hold it for an instant.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// Takes the lock of a data directory, which is created if need be; `None` where another server has it. It
/// goes with the process, however that ends.
pub fn lock(data_dir: &Path) -> io::Result<Option<File>> {
    replace::create_private_dir(data_dir)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data_dir.join(LOCK_NAME))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PATIENCE / 20),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether a server has the data directory.
pub fn is_locked(data_dir: &Path) -> io::Result<bool> {
    let file = match File::open(data_dir.join(LOCK_NAME)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A socket that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// What for, as the setting is called.
    pub name: String,
    /// Where, as it was bound.
    pub address: String,
}

/// What a server says of itself once it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub listeners: Vec<Listener>,
}

impl Running {
    /// Writes the file; it is removed when what this returns goes. A server that is killed leaves it behind:
    /// it counts only while the data directory is [locked](is_locked).
    pub fn publish(&self, data_dir: &Path) -> io::Result<Published> {
        let path = data_dir.join(FILE_NAME);
        replace::replace(&path, |file| {
            serde_json::to_writer(&mut *file, self)?;
            file.write_all(b"\n")
        })?;
        Ok(Published(path))
    }

    /// Reads the file, if there is one.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(data_dir.join(FILE_NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        }
    }
}

/// The file of a running server.
#[derive(Debug)]
pub struct Published(PathBuf);

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(%error, "{FILE_NAME} could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_locked_by_one_and_as_long_as_that_lives() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_locked(directory.path()).unwrap());
        let lock_of_the_first = lock(directory.path()).unwrap();
        assert!(lock_of_the_first.is_some());
        assert!(is_locked(directory.path()).unwrap());
        assert!(lock(directory.path()).unwrap().is_none());
        drop(lock_of_the_first);
        assert!(!is_locked(directory.path()).unwrap());
        assert!(lock(directory.path()).unwrap().is_some());
    }

    #[test]
    fn who_asks_for_the_lock_does_not_keep_a_server_from_starting() {
        let directory = tempfile::tempdir().unwrap();
        drop(lock(directory.path()).unwrap());
        let asking = File::open(directory.path().join(LOCK_NAME)).unwrap();
        asking.lock_shared().unwrap();
        let asked = std::thread::spawn(move || {
            std::thread::sleep(LOCK_PATIENCE / 4);
            drop(asking);
        });
        assert!(lock(directory.path()).unwrap().is_some());
        asked.join().unwrap();
    }

    #[test]
    fn what_a_server_says_of_itself_is_read_back_and_gone_when_it_stops() {
        let directory = tempfile::tempdir().unwrap();
        let running = Running {
            pid: 7,
            listeners: vec![Listener {
                name: "http".to_owned(),
                address: "127.0.0.1:8080".to_owned(),
            }],
        };
        assert_eq!(Running::read(directory.path()).unwrap(), None);
        let published = running.publish(directory.path()).unwrap();
        assert_eq!(Running::read(directory.path()).unwrap(), Some(running));
        drop(published);
        assert_eq!(Running::read(directory.path()).unwrap(), None);
    }
}
