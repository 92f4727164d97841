//! What a start makes of the segments it finds.
//!
//! A segment is synced before the next one gets its first record. So of all segments only the last one that
//! holds a record can end in a torn write: its tail, behind the last valid record, is cut. Earlier segments
//! are not read, which keeps a start short however much the journal holds. Segments behind it hold
//! nothing and are removed. Damage inside a segment stays where it is; whoever reads sets it aside.

use std::io;

use super::format::{BLOCK_BYTES, SegmentHeader, SegmentId, decode_segment_header};
use super::scan::{Item, Scan};
use super::storage::Storage;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Reading or changing the segments failed.
    #[error("journal segment {segment}: {error}")]
    Segment {
        /// File name of the segment.
        segment: String,
        /// What failed.
        error: io::Error,
    },
    /// The directory cannot be read or changed.
    #[error("journal directory: {0}")]
    Directory(io::Error),
    /// Written by a later version of this program.
    #[error(
        "journal segment {segment} has format version {version}, which this version of tell does not know; start the version that wrote it"
    )]
    Newer {
        /// File name of the segment.
        segment: String,
        /// Its format version.
        version: u32,
    },
    /// Two segments claim one place in the order.
    #[error(
        "journal segments {0} and {1} have the same number; move the one that does not belong here away"
    )]
    Ambiguous(String, String),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments that hold records.
    pub segments: usize,
    /// Bytes of disk that they take.
    pub disk_bytes: u64,
    /// Valid records in the last segment.
    pub last_segment_records: u64,
    /// Bytes of a torn write that were cut from the last segment, the unused reserve not counted.
    pub torn_bytes: u64,
    /// Damaged places inside the last segment.
    pub damaged: u64,
    /// Number for the next segment.
    pub next_segment: u32,
}

/// All segments of a storage, in order.
pub(super) fn list(storage: &dyn Storage) -> Result<Vec<SegmentId>, OpenError> {
    let names = storage.list().map_err(OpenError::Directory)?;
    let mut ids: Vec<SegmentId> = names
        .iter()
        .filter_map(|name| SegmentId::parse_file_name(name))
        .collect();
    ids.sort_unstable();
    for pair in ids.windows(2) {
        if pair[0].number == pair[1].number {
            return Err(OpenError::Ambiguous(
                pair[0].file_name(),
                pair[1].file_name(),
            ));
        }
    }
    Ok(ids)
}

/// Cuts the torn tail, removes what holds nothing, and says where to go on.
pub(super) fn recover(storage: &dyn Storage) -> Result<Recovered, OpenError> {
    let mut ids = list(storage)?;
    let mut recovered = Recovered {
        next_segment: ids.last().map_or(1, |id| id.number + 1),
        ..Recovered::default()
    };
    let mut changed = false;
    while let Some(&id) = ids.last() {
        let name = id.file_name();
        let at = |error| OpenError::Segment {
            segment: name.clone(),
            error,
        };
        if recover_last(storage, id, &mut recovered).map_err(|e| e.at(&name))? {
            break;
        }
        storage.remove(&name).map_err(at)?;
        changed = true;
        ids.pop();
    }
    if changed {
        storage.sync_directory().map_err(OpenError::Directory)?;
    }
    recovered.segments = ids.len();
    for id in ids {
        let name = id.file_name();
        let len = storage.open(&name).and_then(|file| file.len());
        recovered.disk_bytes += len.map_err(|error| OpenError::Segment {
            segment: name,
            error,
        })?;
    }
    Ok(recovered)
}

enum Fault {
    Io(io::Error),
    Newer(u32),
}

impl Fault {
    fn at(self, name: &str) -> OpenError {
        let segment = name.to_owned();
        match self {
            Self::Io(error) => OpenError::Segment { segment, error },
            Self::Newer(version) => OpenError::Newer { segment, version },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Returns whether the segment holds anything; if so, it ends in a whole record afterwards.
fn recover_last(
    storage: &dyn Storage,
    id: SegmentId,
    recovered: &mut Recovered,
) -> Result<bool, Fault> {
    let name = id.file_name();
    let file = storage.open(&name)?;
    let len = file.len()?;
    let mut block = vec![0; BLOCK_BYTES];
    let n = file.read_at(&mut block, 0)?;
    if let SegmentHeader::Newer(version) = decode_segment_header(&block[..n], id) {
        return Err(Fault::Newer(version));
    }
    let mut scan = Scan::new(file, id, false);
    // Damage counts only where something valid follows; behind the last record it is the torn tail.
    let mut pending = 0;
    let mut last_damage_end = 0;
    while let Some(item) = scan.next()? {
        match item {
            Item::Record(_) => recovered.damaged += std::mem::take(&mut pending),
            Item::Damaged(damage) => {
                pending += 1;
                last_damage_end = damage.offset + damage.bytes;
            }
        }
    }
    recovered.last_segment_records = scan.records();
    if scan.records() == 0 {
        recovered.torn_bytes += written_end(storage, &name, BLOCK_BYTES as u64)?
            .max(last_damage_end)
            .saturating_sub(BLOCK_BYTES as u64);
        return Ok(false);
    }
    let end = scan.valid_end().next_multiple_of(BLOCK_BYTES as u64);
    recovered.torn_bytes += written_end(storage, &name, scan.valid_end())? - scan.valid_end();
    if end < len {
        storage.truncate(&name, end)?;
    }
    Ok(true)
}

/// The end of the last byte that is not zero, from `from` on; `from` when there is none.
fn written_end(storage: &dyn Storage, name: &str, from: u64) -> io::Result<u64> {
    let file = storage.open(name)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut at, mut end) = (from, from);
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(end),
            n => {
                if let Some(last) = buffer[..n].iter().rposition(|&b| b != 0) {
                    end = at + last as u64 + 1;
                }
                at += n as u64;
            }
        }
    }
}
