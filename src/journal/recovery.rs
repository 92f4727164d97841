//! What a start makes of the segments it finds.
//!
//! A segment is synced and sealed before the next one gets its first record. So of all segments only the last
//! one that holds a record can end in a torn write: its tail, behind the last valid record, is cut, once, and
//! the segment is sealed. Earlier segments are not read but for their first and last block, which keeps a
//! start short however much the journal holds. Segments behind it hold nothing and are removed. Damage inside
//! a segment stays where it is; whoever reads sets it aside.
//!
//! Finding out what is to be done ([`inspect`]) changes nothing: it is also how a journal is read that no
//! server has open.

use std::io;

use super::bookmark;
use super::committed::{self, Position};
use super::format::{
    BLOCK_BYTES, HEADER_BYTES, SegmentHeader, SegmentId, decode_record_header,
    decode_segment_header,
};
use super::numbers::Numbers;
use super::scan::{Item, Scan};
use super::seal::Seal;
use super::storage::{ReadAt, SECTOR_BYTES, Storage, TEMPORARY_SUFFIX};
use super::write::sealed_block;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Why a journal cannot be opened or read.
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
    /// A file names the highest number there is.
    #[error(
        "the numbers of journal segments are used up: a file names number {number}; move it away if it does not belong here",
        number = u32::MAX
    )]
    NoNumberLeft,
    /// A running server has not said how far its journal goes.
    #[error(
        "the running server has not said yet how far its journal is committed: it is starting, or is of an earlier version; try again when it is ready, or with its own version of tell"
    )]
    NothingSaid,
    /// What a reader is to go on from is not there.
    #[error(
        "journal segment {segment} is not there any more, or does not reach so far: it was retired before it was read, or the data directory was restored from a copy; what lies between is lost to this reader, which has to begin anew"
    )]
    Gone {
        /// File name of the segment.
        segment: String,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl OpenError {
    pub(super) fn segment(id: SegmentId) -> impl Fn(io::Error) -> Self {
        move |error| Self::Segment {
            segment: id.file_name(),
            error,
        }
    }

    pub(super) fn gone(id: SegmentId) -> Self {
        Self::Gone {
            segment: id.file_name(),
        }
    }
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
    /// Damaged places: inside the last segment, in the headers of all, and where segments were cut short or
    /// are missing.
    pub damaged: u64,
    /// Number for the next segment.
    pub next_segment: u32,
}

/// What is to be done with what was found.
#[derive(Debug)]
pub(super) struct Plan {
    /// Segments that hold something, in order.
    pub kept: Vec<SegmentId>,
    /// Where their records end.
    pub end: Option<Position>,
    /// The last segment that is known to have held records, there or missing.
    previous: Option<SegmentId>,
    /// Segments that hold nothing.
    empty: Vec<SegmentId>,
    last: Option<Last>,
    /// Finished segments whose reserve was not cut yet, with the end of their seals.
    uncut: Vec<(SegmentId, u64)>,
    /// What is left of small files that were being written.
    temporary: Vec<String>,
    numbers: Numbers,
    recovered: Recovered,
}

/// The last segment that holds something.
#[derive(Debug)]
struct Last {
    id: SegmentId,
    /// What stays of it: valid records, or damage that was no torn write.
    kept_bytes: u64,
    /// Where the seal stands or goes.
    end: u64,
    next_index: u32,
    is_sealed: bool,
}

/// All segments of a storage, in order.
pub(super) fn list(storage: &dyn Storage) -> Result<Vec<SegmentId>, OpenError> {
    let names = storage.list().map_err(OpenError::Directory)?;
    segments(&names)
}

fn segments(names: &[String]) -> Result<Vec<SegmentId>, OpenError> {
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

/// Looks what there is. `named` is the highest number that files outside the journal name.
pub(super) fn inspect(storage: &dyn Storage, named: u32) -> Result<Plan, OpenError> {
    let names = storage.list().map_err(OpenError::Directory)?;
    let mut kept = segments(&names)?;
    let numbers = Numbers::read(storage).map_err(OpenError::Directory)?;
    let said = committed::read(storage).map_err(OpenError::Directory)?;
    let said = said.flatten();
    let cursors = bookmark::highest_number(storage, &names).map_err(OpenError::Directory)?;
    let highest = [
        kept.last().map_or(0, |id| id.number),
        numbers.removed,
        said.map_or(0, |position| position.segment.number),
        cursors,
        named,
    ];
    let highest = highest.into_iter().max().unwrap_or(0);
    let mut plan = Plan {
        end: None,
        previous: None,
        empty: Vec::new(),
        last: None,
        uncut: Vec::new(),
        temporary: names
            .into_iter()
            .filter(|name| name.ends_with(TEMPORARY_SUFFIX))
            .collect(),
        numbers,
        recovered: Recovered {
            next_segment: highest.checked_add(1).ok_or(OpenError::NoNumberLeft)?,
            ..Recovered::default()
        },
        kept: Vec::new(),
    };
    while let Some(&id) = kept.last() {
        plan.last = inspect_last(storage, id, said, &mut plan.recovered)?;
        if plan.last.is_some() {
            break;
        }
        plan.empty.push(id);
        kept.pop();
    }
    // The segment of what was committed last is there, or was retired.
    plan.previous = kept.last().copied();
    if let Some(said) = said
        && said.segment.number > kept.last().map_or(0, |id| id.number).max(numbers.retired)
    {
        plan.recovered.damaged += 1;
        plan.previous = Some(said.segment);
    }
    plan.kept = kept;
    plan.inspect_earlier(storage)?;
    plan.recovered.segments = plan.kept.len();
    plan.end = plan.last.as_ref().map(|last| Position {
        segment: last.id,
        offset: last.end,
        sequence: last.id.sequence(last.next_index),
    });
    Ok(plan)
}

impl Plan {
    /// Looks at the first and the last block of all segments before the last.
    fn inspect_earlier(&mut self, storage: &dyn Storage) -> Result<(), OpenError> {
        let (mut headers, mut seals) = (Vec::new(), Vec::new());
        for &id in &self.kept {
            let file = storage.open(&id.file_name());
            let file = file.map_err(OpenError::segment(id))?;
            headers.push(header_of(file.as_ref(), id)?);
            seals.push(seal_at_end(file.as_ref(), id).map_err(OpenError::segment(id))?);
        }
        for at in 0..self.kept.len() {
            let is_last = at + 1 == self.kept.len();
            if !is_last && matches!(headers[at], SegmentHeader::Damaged | SegmentHeader::Blank) {
                self.recovered.damaged += 1;
            }
            // Only who seals can have left a segment without a seal that should have one.
            let should = !is_last && headers[at..=at + 1] == [SegmentHeader::Current; 2];
            let seal = match seals[at] {
                None if should => self.seal_inside(storage, self.kept[at])?,
                seal => seal,
            };
            let before = at.checked_sub(1).map(|at| self.kept[at]);
            let previous = seal.and_then(|seal| seal.previous);
            // What was retired is gone for good reason.
            let is_missing = |previous: SegmentId| {
                before != Some(previous) && previous.number > self.numbers.retired
            };
            self.recovered.damaged += u64::from(previous.is_some_and(is_missing));
        }
        Ok(())
    }

    /// Looks for the seal of a segment whose last block is none.
    fn seal_inside(
        &mut self,
        storage: &dyn Storage,
        id: SegmentId,
    ) -> Result<Option<Seal>, OpenError> {
        let find = || -> io::Result<Option<Seal>> {
            let mut scan = Scan::new(storage.open(&id.file_name())?, id);
            while scan.next()?.is_some() {}
            Ok(scan.seal())
        };
        let seal = find().map_err(OpenError::segment(id))?;
        match seal {
            Some(seal) => self.uncut.push((id, seal.offset + BLOCK)),
            None => self.recovered.damaged += 1,
        }
        Ok(seal)
    }

    /// Does it.
    fn carry_out(&self, storage: &dyn Storage) -> Result<(), OpenError> {
        for name in &self.temporary {
            storage.remove(name).map_err(OpenError::Directory)?;
        }
        if let Some(highest) = self.empty.iter().map(|id| id.number).max() {
            Numbers::raise(storage, highest, 0).map_err(OpenError::Directory)?;
        }
        for &id in &self.empty {
            storage
                .remove(&id.file_name())
                .map_err(OpenError::segment(id))?;
        }
        for &(id, bytes) in &self.uncut {
            storage
                .truncate(&id.file_name(), bytes)
                .map_err(OpenError::segment(id))?;
        }
        if let Some(last) = &self.last {
            let before = self.kept.len().checked_sub(2);
            let before = before.and_then(|at| self.kept.get(at)).copied();
            last.finish(storage, before)
                .map_err(OpenError::segment(last.id))?;
        }
        storage
            .sync_ancestors()
            .and_then(|()| storage.sync_directory())
            .map_err(OpenError::Directory)
    }
}

impl Last {
    /// Cuts the torn tail and the reserve, seals what stays, and makes all of it durable: whoever was killed
    /// may have left it in the page cache only.
    fn finish(&self, storage: &dyn Storage, previous: Option<SegmentId>) -> io::Result<()> {
        let name = self.id.file_name();
        if !self.is_sealed {
            let is_torn = written_end(storage, &name, self.kept_bytes)? > self.kept_bytes;
            if is_torn {
                storage.truncate(&name, self.kept_bytes)?;
            }
            // Into the space reserved for the segment, where it has any: a full disk can be opened.
            let seal = Seal {
                offset: self.end,
                records: self.next_index,
                previous,
            };
            let block = sealed_block(&seal, self.id);
            let file = storage.reopen(&name)?;
            file.write_at(&[io::IoSlice::new(block.bytes())], self.end)?;
            file.sync()?;
        }
        storage.truncate(&name, self.end + BLOCK)
    }
}

/// A journal that was recovered, and how to go on with it.
#[derive(Debug)]
pub(super) struct Opened {
    pub recovered: Recovered,
    /// Where the records end.
    pub end: Option<Position>,
    /// The segment that the next one comes after.
    pub previous: Option<SegmentId>,
}

/// Cuts the torn tail, removes what holds nothing, and says where to go on.
pub(super) fn recover(storage: &dyn Storage, named: u32) -> Result<Opened, OpenError> {
    let mut plan = inspect(storage, named)?;
    plan.carry_out(storage)?;
    for &id in &plan.kept {
        let len = storage
            .open(&id.file_name())
            .and_then(|file| file.len())
            .map_err(OpenError::segment(id))?;
        plan.recovered.disk_bytes += len;
    }
    Ok(Opened {
        recovered: plan.recovered,
        end: plan.end,
        previous: plan.previous,
    })
}

/// What the first block of a segment says.
pub(super) fn header_of(file: &dyn ReadAt, id: SegmentId) -> Result<SegmentHeader, OpenError> {
    let block = read_block(file, 0).map_err(OpenError::segment(id))?;
    match decode_segment_header(&block, id) {
        SegmentHeader::Newer(version) => Err(OpenError::Newer {
            segment: id.file_name(),
            version,
        }),
        header => Ok(header),
    }
}

/// A block, or what there is of it.
fn read_block(file: &dyn ReadAt, offset: u64) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut filled = 0;
    while filled < BLOCK_BYTES {
        match file.read_at(&mut block[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    block.truncate(filled);
    Ok(block)
}

/// The seal, where it is the last block of the file.
pub(super) fn seal_at_end(file: &dyn ReadAt, id: SegmentId) -> io::Result<Option<Seal>> {
    let Some(offset) = file.len()?.checked_sub(BLOCK) else {
        return Ok(None);
    };
    Ok(Seal::decode(&read_block(file, offset)?, id, offset))
}

/// Looks at a segment with nothing behind it; `None` when it holds nothing.
fn inspect_last(
    storage: &dyn Storage,
    id: SegmentId,
    said: Option<Position>,
    recovered: &mut Recovered,
) -> Result<Option<Last>, OpenError> {
    let name = id.file_name();
    let at = OpenError::segment(id);
    let file = storage.open(&name).map_err(&at)?;
    let header = header_of(file.as_ref(), id)?;
    let mut scan = Scan::new(file, id);
    // Damage is certain where something valid follows; behind the last record it may be a torn tail.
    let mut damaged = 0;
    let mut pending = 0;
    let mut damage_end = 0;
    while let Some(item) = scan.next().map_err(&at)? {
        match item {
            Item::Record => damaged += std::mem::take(&mut pending),
            Item::Damaged { offset, bytes } | Item::DamagedPayload { offset, bytes } => {
                pending += 1;
                damage_end = offset + bytes;
            }
        }
    }
    recovered.last_segment_records = scan.records();
    let valid_end = scan.valid_end();
    let mut last = Last {
        id,
        kept_bytes: valid_end,
        end: valid_end.next_multiple_of(BLOCK),
        next_index: u32::try_from(scan.next_index()).unwrap_or(u32::MAX),
        is_sealed: scan.seal().is_some(),
    };
    let written_end = written_end(storage, &name, valid_end).map_err(&at)?;
    let committed = said.filter(|said| said.segment == id);
    let committed_end = committed.map_or(0, |said| said.offset);
    if let Some(seal) = scan.seal() {
        damaged += pending;
        last.end = seal.offset;
        last.next_index = seal.records;
    } else if committed_end > last.end {
        // All up to there was synced: what is no record was one. Behind it may be a torn write all the same.
        damaged += pending.max(1);
        last.kept_bytes = committed_end;
        last.end = committed_end.next_multiple_of(BLOCK);
        last.next_index = last
            .next_index
            .max(committed.map_or(0, |said| said.sequence as u32));
        recovered.torn_bytes += written_end.saturating_sub(last.kept_bytes);
    } else if is_rotten(storage, id, last.end, valid_end).map_err(&at)? {
        damaged += pending.max(1);
        last.kept_bytes = written_end.max(damage_end);
        last.end = last.kept_bytes.next_multiple_of(BLOCK);
    } else {
        recovered.torn_bytes += written_end - valid_end;
        if scan.records() == 0 {
            return Ok(None);
        }
    }
    if last.end == BLOCK {
        return Ok(None);
    }
    if matches!(header, SegmentHeader::Damaged | SegmentHeader::Blank) {
        damaged += 1;
    }
    recovered.damaged += damaged;
    Ok(Some(last))
}

/// Whether what stands at the start of a commit, behind all valid records, was written whole and changed
/// since. A disk writes sectors whole: of a torn write the first sector holds a sound header or nothing, and
/// some sector of its record holds nothing.
fn is_rotten(
    storage: &dyn Storage,
    id: SegmentId,
    commit_start: u64,
    valid_end: u64,
) -> io::Result<bool> {
    let file = storage.open(&id.file_name())?;
    let mut rest = read_block(file.as_ref(), valid_end)?;
    rest.truncate((commit_start - valid_end) as usize);
    if rest.iter().any(|&b| b != 0) {
        // A record of the same commit: its header may lie across two sectors.
        return Ok(false);
    }
    let block = read_block(file.as_ref(), commit_start)?;
    if block[..block.len().min(SECTOR_BYTES)]
        .iter()
        .all(|&b| b == 0)
    {
        return Ok(false);
    }
    let Some(header) = decode_record_header(&block, id, id.crc_seed()) else {
        return Ok(true);
    };
    let end = commit_start + (HEADER_BYTES + header.payload_len as usize) as u64;
    let mut sector = commit_start;
    while sector < end {
        let block = read_block(file.as_ref(), sector)?;
        if block.is_empty() {
            return Ok(false);
        }
        for bytes in block.chunks(SECTOR_BYTES) {
            if sector < end && bytes.iter().all(|&b| b == 0) {
                return Ok(false);
            }
            sector += SECTOR_BYTES as u64;
        }
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
