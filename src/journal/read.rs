//! Reading the whole journal, and what `tell storage` lists.

use super::cursor::{Cursor, Start, open};
use super::record::{Mark, Record};
use super::recovery::{self, OpenError};
use super::scan::{Item, Scan};
use super::storage::Storage;

pub use super::cursor::Found;

/// A segment as `tell storage` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// File name.
    pub name: String,
    /// Size of the file, bytes.
    pub disk_bytes: u64,
}

/// The segments of a storage, in order.
pub fn segments(storage: &dyn Storage) -> Result<Vec<SegmentFacts>, OpenError> {
    let mut segments = Vec::new();
    for id in recovery::list(storage)? {
        let len = open(storage, id).and_then(|file| file.map(|file| file.len()).transpose());
        // A server that stops removes the reserve that holds nothing.
        if let Some(disk_bytes) = len.map_err(OpenError::segment(id))? {
            let name = id.file_name();
            segments.push(SegmentFacts { name, disk_bytes });
        }
    }
    Ok(segments)
}

/// Calls `each` with everything that a journal holds which no server has open, until it returns `false` or the
/// end is reached.
pub fn for_each(
    storage: &dyn Storage,
    each: impl FnMut(Found<'_>) -> bool,
) -> Result<(), OpenError> {
    through(Cursor::without_a_server(storage, Start::Segment(0))?, each)
}

/// Calls `each` with everything between a cursor and its end, until it returns `false`.
pub fn through(
    mut cursor: Cursor<'_>,
    mut each: impl FnMut(Found<'_>) -> bool,
) -> Result<(), OpenError> {
    while let Some(found) = cursor.advance()? {
        if !each(found) {
            break;
        }
    }
    Ok(())
}

/// Number of the first segment that may hold a record which was received at this time or later: the one
/// before the first whose records are all newer.
pub fn first_segment_since(storage: &dyn Storage, since_ns: u64) -> Result<u32, OpenError> {
    for id in recovery::list(storage)?.into_iter().rev() {
        let Some(file) = open(storage, id).map_err(OpenError::segment(id))? else {
            continue;
        };
        let mut scan = Scan::new(file, id);
        let first = scan.next().map_err(OpenError::segment(id))?;
        let is_older = scan
            .record()
            .is_some_and(|record| record.facts.received_at_ns < since_ns);
        if first == Some(Item::Record) && is_older {
            return Ok(id.number);
        }
    }
    Ok(0)
}

/// Size of one record on disk, bytes, header and alignment included.
pub fn disk_bytes(record: &Record<'_>) -> u64 {
    let mark_len = if record.mark.is_some() {
        Mark::BYTES
    } else {
        0
    };
    super::format::record_bytes(mark_len + record.payload.len()) as u64
}
