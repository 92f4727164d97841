//! What a data directory holds, for the commands that read it: beside a server as far as that has committed.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::error::Error;
use crate::control::config::Config;
use crate::journal::cursor::{Cursor, Start};
use crate::journal::recovery::OpenError;
use crate::journal::storage::{Disk, Storage};
use crate::server::{JOURNAL_DIRECTORY, running};

/// The journal of a data directory, for reading.
pub(super) struct Kept {
    pub disk: Disk,
    data_dir: PathBuf,
}

impl Kept {
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let data_dir = config.files.data_dir.clone();
        let directory = data_dir.join(JOURNAL_DIRECTORY);
        match std::fs::read_dir(&directory) {
            Ok(_) => Ok(Self {
                disk: Disk::existing(&directory),
                data_dir,
            }),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(Error::NoJournal(data_dir))
            }
            Err(error) => Err(Error::Unreadable {
                path: directory,
                error,
            }),
        }
    }

    /// A cursor over all that is committed.
    pub(super) fn cursor(&self) -> Result<Cursor<'_>, Error> {
        loop {
            let is_served = self.is_served()?;
            let cursor = cursor(&self.disk, is_served)?;
            // One that started meanwhile may have written what it has not committed.
            if is_served || !self.is_served()? {
                return Ok(cursor);
            }
        }
    }

    fn is_served(&self) -> Result<bool, Error> {
        running::is_locked(&self.data_dir).map_err(|error| Error::Unreadable {
            path: self.data_dir.clone(),
            error,
        })
    }
}

/// A cursor over all that is committed, beside a server or without one.
pub(super) fn cursor(storage: &dyn Storage, is_served: bool) -> Result<Cursor<'_>, OpenError> {
    let all = Start::Segment(0);
    if is_served {
        Cursor::beside_a_server(storage, all)
    } else {
        Cursor::without_a_server(storage, all)
    }
}
