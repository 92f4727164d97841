//! Which server runs over a data directory: its lock, and the file that says where it listens.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::files::read::ReadError;
use crate::files::{Place, create_private_dir};

const LOCK_NAME: &str = "lock";
const FILE_NAME: &str = "server.json";

/// More than the addresses of some thousand listeners.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How long a start tries for the lock: those who only ask whether it is held hold it for an instant.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// Takes the lock of a data directory, which is created if need be; `None` where another server has it. It
/// goes with the process, however that ends.
pub fn lock(data_dir: &Path) -> io::Result<Option<File>> {
    create_private_dir(data_dir)?;
    let file = Place::of(&data_dir.join(LOCK_NAME))?.open_private()?;
    // Whoever may open the file may hold its lock. Earlier versions created it for all to read.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
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
    let file = match Place::of(&data_dir.join(LOCK_NAME)).and_then(|place| place.open()) {
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
        let place = Place::of(&data_dir.join(FILE_NAME))?;
        place.replace(|file| {
            serde_json::to_writer(&mut *file, self)?;
            file.write_all(b"\n")
        })?;
        Ok(Published(place))
    }

    /// Reads the file, if there is one.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        let place = match Place::of(&data_dir.join(FILE_NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            place => place?,
        };
        match place.read(FILE_BYTES_MAX) {
            Err(error) if error.is_not_found() => Ok(None),
            Err(ReadError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        }
    }
}

/// The file of a running server.
#[derive(Debug)]
pub struct Published(Place);

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
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
