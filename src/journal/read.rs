//! Reading the journal back in order of arrival, also while a server appends to it.

use std::io;

use super::format::{BLOCK_BYTES, SegmentHeader, SegmentId, decode_segment_header};
use super::record::{Mark, Record};
use super::recovery::{self, OpenError};
use super::scan::{Item, Scan};
use super::storage::{ReadAt, Storage};

/// What the journal holds at one place.
#[derive(Debug)]
pub enum Found<'a> {
    /// A record whose checksums hold.
    Record(Record<'a>),
    /// A record whose envelope is whole and whose payload is damaged. Not to be delivered as data.
    DamagedPayload(Record<'a>),
    /// Bytes that are no record, with valid records behind them.
    DamagedBytes {
        /// File name of the segment.
        segment: &'a str,
        /// Where in the segment.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

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
        let name = id.file_name();
        let len = open(storage, &name).and_then(|file| file.map(|file| file.len()).transpose());
        match len {
            Ok(None) => {}
            Ok(Some(disk_bytes)) => segments.push(SegmentFacts { name, disk_bytes }),
            Err(error) => {
                return Err(OpenError::Segment {
                    segment: name,
                    error,
                });
            }
        }
    }
    Ok(segments)
}

/// Opens a segment that was listed; `None` when it is gone since: a server that stops removes the
/// reserve that holds nothing.
fn open(storage: &dyn Storage, name: &str) -> io::Result<Option<Box<dyn ReadAt>>> {
    match storage.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Calls `each` with everything the journal holds, until it returns `false` or the end is reached.
///
/// What looks damaged at the very end of the newest segment is being written or torn; it is not reported.
pub fn for_each(
    storage: &dyn Storage,
    each: impl FnMut(Found<'_>) -> bool,
) -> Result<(), OpenError> {
    for_each_from(storage, 0, each)
}

/// As [`for_each`], from the segment of this number on.
pub fn for_each_from(
    storage: &dyn Storage,
    first_segment: u32,
    mut each: impl FnMut(Found<'_>) -> bool,
) -> Result<(), OpenError> {
    let mut ids = recovery::list(storage)?;
    ids.retain(|id| id.number >= first_segment);
    // The segment being written is the last one with a record: those behind it are reserves.
    for (position, id) in ids.iter().enumerate() {
        let name = id.file_name();
        let at = |error| OpenError::Segment {
            segment: name.clone(),
            error,
        };
        let Some(file) = open(storage, &name).map_err(at)? else {
            continue;
        };
        let mut block = vec![0; BLOCK_BYTES];
        let n = file.read_at(&mut block, 0).map_err(at)?;
        if let SegmentHeader::Newer(version) = decode_segment_header(&block[..n], *id) {
            return Err(OpenError::Newer {
                segment: name,
                version,
            });
        }
        let newest = !ids[position + 1..]
            .iter()
            .any(|later| has_record(storage, *later).unwrap_or(false));
        if !read_segment(Scan::new(file, *id, newest), &name, newest, &mut each).map_err(at)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Number of the first segment that may hold a record which was received at this time or later: the one
/// before the first whose records are all newer.
pub fn first_segment_since(storage: &dyn Storage, since_ns: u64) -> Result<u32, OpenError> {
    for id in recovery::list(storage)?.into_iter().rev() {
        let name = id.file_name();
        let first_is_older = || -> io::Result<bool> {
            let Some(file) = open(storage, &name)? else {
                return Ok(false);
            };
            let mut scan = Scan::new(file, id, false);
            let first = scan.next()?;
            Ok(matches!(first, Some(Item::Record(r)) if r.facts.received_at_ns < since_ns))
        };
        let older = first_is_older().map_err(|error| OpenError::Segment {
            segment: name.clone(),
            error,
        })?;
        if older {
            return Ok(id.number);
        }
    }
    Ok(0)
}

fn has_record(storage: &dyn Storage, id: SegmentId) -> io::Result<bool> {
    match open(storage, &id.file_name())? {
        Some(file) => Ok(Scan::new(file, id, false).next()?.is_some()),
        None => Ok(false),
    }
}

/// Returns whether to go on with the next segment.
fn read_segment(
    mut scan: Scan,
    name: &str,
    newest: bool,
    each: &mut impl FnMut(Found<'_>) -> bool,
) -> io::Result<bool> {
    // Damage waits here until a valid record proves that it is not the tail being written.
    let mut pending: Vec<Pending> = Vec::new();
    loop {
        let item = scan.next()?;
        let settled = match &item {
            Some(Item::Record(_)) => true,
            Some(Item::Damaged(_)) => false,
            None => !newest,
        };
        if settled {
            for damage in pending.drain(..) {
                if !each(damage.found(name)) {
                    return Ok(false);
                }
            }
        }
        match item {
            None => return Ok(true),
            Some(Item::Record(record)) => {
                if !each(Found::Record(record)) {
                    return Ok(false);
                }
            }
            Some(Item::Damaged(damage)) => pending.push(Pending {
                offset: damage.offset,
                bytes: damage.bytes,
                record: damage
                    .record
                    .map(|r| (r.sequence, r.facts, r.payload.to_vec())),
            }),
        }
    }
}

struct Pending {
    offset: u64,
    bytes: u64,
    record: Option<(u64, super::Facts, Vec<u8>)>,
}

impl Pending {
    fn found<'a>(&'a self, segment: &'a str) -> Found<'a> {
        match &self.record {
            Some((sequence, facts, payload)) => Found::DamagedPayload(Record {
                mark: None,
                sequence: *sequence,
                facts: *facts,
                payload,
            }),
            None => Found::DamagedBytes {
                segment,
                offset: self.offset,
                bytes: self.bytes,
            },
        }
    }
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
