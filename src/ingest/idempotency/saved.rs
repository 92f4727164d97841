//! The index on disk: what is remembered, and the position in the journal that it covers.
//!
//! | bytes | |
//! |---|---|
//! | 8 | magic `TELLIDEM` |
//! | 4 | version, 1 |
//! | 8 | position: every idempotent record with a lower sequence is in here, or too old |
//! | 40 each | mark, and time in nanoseconds since 1970 |
//! | 4 | CRC32C of all before |
//!
//! All integers are little-endian. The file is replaced whole. Without it, or if it is damaged, a start reads
//! the segments of the last 24 hours.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::files::read::ReadError;
use crate::files::{Place, replace};
use crate::ingest::idempotency::{Index, Remembered};
use crate::ingest::now_ns;
use crate::journal::cursor::{Found, Start};
use crate::journal::format::crc32c;
use crate::journal::read;
use crate::journal::recovery::OpenError;
use crate::journal::storage::Storage;
use crate::journal::{Journal, Mark};
use crate::limits;

const FILE_NAME: &str = "idempotency";
const MAGIC: &[u8; 8] = b"TELLIDEM";
const VERSION: u32 = 1;
/// Several times what the most marks take.
const FILE_BYTES_MAX: u64 = 256 << 20;
const HEAD_BYTES: usize = 20;
const TAKEN_BYTES: usize = Mark::BYTES + 8;

/// Keeps the index and its file together.
#[derive(Debug)]
pub struct Keeper {
    index: Arc<Index>,
    journal: Journal,
    path: PathBuf,
    /// Locked while saving: there is one temporary file.
    saved_position: Mutex<u64>,
}

impl Keeper {
    /// The index of a data directory, complete up to the last record of its journal.
    pub fn restore(
        data_dir: &Path,
        storage: &dyn Storage,
        journal: &Journal,
    ) -> Result<Self, OpenError> {
        let path = data_dir.join(FILE_NAME);
        let index = Arc::new(Index::default());
        let position = match load(&path) {
            Ok((position, taken)) => {
                taken.into_iter().for_each(|taken| index.add(taken));
                Some(position)
            }
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(%error, path = %path.display(), "cannot read what is remembered of idempotent requests; reading the journal of the last 24 hours instead");
                }
                None
            }
        };
        let first_segment = match position {
            Some(position) => (position >> 32) as u32,
            None => {
                let window_ns = limits::IDEMPOTENCY_WINDOW.as_nanos();
                let window_ns = u64::try_from(window_ns).unwrap_or(u64::MAX);
                read::first_segment_since(storage, now_ns().saturating_sub(window_ns))?
            }
        };
        let mut read_records = 0_u64;
        let cursor = journal.cursor_to_here(Start::Segment(first_segment))?;
        read::through(cursor, |found| {
            if let Found::Record(record) = found
                && record.sequence >= position.unwrap_or(0)
            {
                read_records += 1;
                if let Some(mark) = record.mark {
                    let at_ns = record.facts.received_at_ns;
                    index.add(Remembered { mark, at_ns });
                }
            }
            true
        })?;
        tracing::debug!(read_records, "idempotent requests are known");
        let keeper = Self {
            index,
            journal: journal.clone(),
            path,
            saved_position: Mutex::new(position.unwrap_or(0)),
        };
        keeper.save();
        Ok(keeper)
    }

    /// The index.
    pub fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }

    /// The journal that it is the index of.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Saves whenever there is something new, for ever.
    pub async fn keep(self: Arc<Self>) {
        let mut position = self.journal.position();
        loop {
            tokio::select! {
                () = tokio::time::sleep(limits::IDEMPOTENCY_SAVE_INTERVAL) => {}
                () = self.journal.has_grown(position, limits::IDEMPOTENCY_SAVE_BYTES) => {}
            }
            position = self.journal.position();
            // What was appended before this position and is not in the index yet is waited for.
            self.index.quiet().await;
            let keeper = Arc::clone(&self);
            let saving = tokio::task::spawn_blocking(move || keeper.save_up_to(position));
            if saving.await.is_err() {
                return;
            }
        }
    }

    /// Saves everything, when nothing is being done any more.
    pub fn save(&self) {
        self.save_up_to(self.journal.position());
    }

    fn save_up_to(&self, position: u64) {
        let mut saved_position = self
            .saved_position
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if position == *saved_position {
            return;
        }
        let bytes = encode(position, &self.index.snapshot());
        match replace(&self.path, |out: &mut dyn Write| out.write_all(&bytes)) {
            Ok(()) => *saved_position = position,
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "cannot save what is remembered of idempotent requests; a start reads more of the journal");
            }
        }
    }
}

/// The number of the journal segment that the saved index names, which must not come back; 0 where there is none.
pub fn named_segment(data_dir: &Path) -> u32 {
    load(&data_dir.join(FILE_NAME)).map_or(0, |(position, _)| (position >> 32) as u32)
}

fn load(path: &Path) -> io::Result<(u64, Vec<Remembered>)> {
    let bytes = match Place::of(path)?.read(FILE_BYTES_MAX) {
        Err(ReadError::Io(error)) => return Err(error),
        read => read.map_err(io::Error::other)?,
    };
    decode(&bytes).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the file is damaged"))
}

pub(super) fn encode(position: u64, taken: &[Remembered]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + taken.len() * TAKEN_BYTES + 4);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    for taken in taken {
        out.extend_from_slice(&taken.mark.encode());
        out.extend_from_slice(&taken.at_ns.to_le_bytes());
    }
    let crc = crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Vec<Remembered>)> {
    let (sound, crc) = bytes.split_last_chunk()?;
    if crc32c(sound) != u32::from_le_bytes(*crc) {
        return None;
    }
    let rest = sound.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk()?;
    let (position, mut rest) = rest.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let mut all = Vec::with_capacity(rest.len() / TAKEN_BYTES);
    while !rest.is_empty() {
        let (mark, behind) = Mark::split(rest)?;
        let (at_ns, behind) = behind.split_first_chunk()?;
        let at_ns = u64::from_le_bytes(*at_ns);
        all.push(Remembered { mark, at_ns });
        rest = behind;
    }
    Some((u64::from_le_bytes(*position), all))
}
