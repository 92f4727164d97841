//! Walks the records of one segment, over damage where there is some.
//!
//! Behind a record header that is no header the scan looks for the next one at every multiple of the record
//! alignment. The header CRC, seeded by the segment's secret salt, tells records from payload bytes. The walk
//! ends at the segment's seal, at a limit that it is given, or where nothing follows.

use std::io;

use super::format::{
    BLOCK_BYTES, HEADER_BYTES, RECORD_ALIGN, RecordHeader, SegmentId, crc32c, decode_record_header,
    record_bytes,
};
use super::record::{Mark, Record};
use super::seal::Seal;
use super::storage::ReadAt;

/// How much is read at a time, bytes.
const WINDOW_BYTES: usize = 1 << 20;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What a segment holds at one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item {
    /// A record whose checksums hold: [`Scan::record`] has it.
    Record,
    /// A record whose header is sound and whose payload is not: [`Scan::record`] has what there is.
    DamagedPayload {
        /// Where it stands, and how long it is.
        offset: u64,
        bytes: u64,
    },
    /// Bytes that are no record.
    Damaged { offset: u64, bytes: u64 },
}

/// A walk over one segment.
#[derive(Debug)]
pub(super) struct Scan {
    file: Box<dyn ReadAt>,
    id: SegmentId,
    crc_seed: u32,
    /// Everything before this is final and nothing behind it is looked at; `None` while the file is to be
    /// read to its end.
    limit: Option<u64>,
    offset: u64,
    next_index: u64,
    valid_end: u64,
    records: u64,
    seal: Option<Seal>,
    /// The record that was walked over last, and where it stands.
    last: Option<(RecordHeader, u64)>,
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    start: u64,
}

/// What stands at an offset.
enum Place {
    Header(RecordHeader),
    Damaged { until: u64 },
    End,
}

impl Scan {
    /// A scan from the first record.
    pub fn new(file: Box<dyn ReadAt>, id: SegmentId) -> Self {
        Self {
            file,
            id,
            crc_seed: id.crc_seed(),
            limit: None,
            offset: BLOCK,
            next_index: 0,
            valid_end: BLOCK,
            records: 0,
            seal: None,
            last: None,
            window: Window::default(),
        }
    }

    /// Goes on from a place between two records, whose next one has this index or a later one.
    pub fn start_at(&mut self, offset: u64, next_index: u32) {
        self.offset = offset;
        self.valid_end = offset;
        self.next_index = u64::from(next_index);
    }

    /// Lets the scan go so far and no further: up to there everything is final.
    pub fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// Where the next record is looked for.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The lowest index that the next record can have.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// End of the last valid record seen, bytes from the start of the segment.
    pub fn valid_end(&self) -> u64 {
        self.valid_end
    }

    /// How many valid records were seen.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The seal, once the scan has come to it.
    pub fn seal(&self) -> Option<Seal> {
        self.seal
    }

    /// The next record or damaged place; `None` at the end, behind which nothing is a record, or at the limit.
    pub fn next(&mut self) -> io::Result<Option<Item>> {
        self.last = None;
        let header = match self.place()? {
            Place::End => return Ok(None),
            Place::Damaged { until } => {
                let offset = self.offset;
                self.offset = until;
                return Ok(Some(Item::Damaged {
                    offset,
                    bytes: until - offset,
                }));
            }
            Place::Header(header) => header,
        };
        let offset = self.offset;
        let payload_len = header.payload_len as usize;
        let bytes = record_bytes(payload_len) as u64;
        self.offset = offset + bytes;
        self.next_index = index(&header) + 1;
        let stored = self.get(offset, HEADER_BYTES + payload_len)?;
        let stored = stored.get(HEADER_BYTES..).unwrap_or_default();
        let is_sound = stored.len() == payload_len && crc32c(stored) == header.payload_crc;
        self.last = Some((header, offset));
        if !is_sound {
            return Ok(Some(Item::DamagedPayload { offset, bytes }));
        }
        self.valid_end = self.offset;
        self.records += 1;
        Ok(Some(Item::Record))
    }

    /// The record that [`next`](Self::next) walked over last, if it was one, its payload damaged or not.
    pub fn record(&self) -> Option<Record<'_>> {
        let (header, offset) = self.last.as_ref()?;
        let from = usize::try_from(offset.checked_sub(self.window.start)?).ok()?;
        let stored = self.window.bytes.get(from + HEADER_BYTES..)?;
        let stored = &stored[..stored.len().min(header.payload_len as usize)];
        let (mark, payload) = match Mark::split(stored) {
            Some((mark, payload)) if header.marked => (Some(mark), payload),
            _ => (None, stored),
        };
        Some(Record {
            sequence: header.sequence,
            facts: header.facts,
            mark,
            payload,
        })
    }

    /// Finds out what stands at `self.offset`, which moves over the padding of a commit.
    fn place(&mut self) -> io::Result<Place> {
        if self.limit.is_some_and(|limit| self.offset >= limit) || self.seal.is_some() {
            return Ok(Place::End);
        }
        if let Some(header) = self.header_at(self.offset)? {
            return Ok(Place::Header(header));
        }
        let block_end = self.offset.next_multiple_of(BLOCK);
        if block_end > self.offset && self.is_zero(self.offset, block_end)? {
            self.offset = block_end;
            if self.limit.is_some_and(|limit| self.offset >= limit) {
                return Ok(Place::End);
            }
            if let Some(header) = self.header_at(self.offset)? {
                return Ok(Place::Header(header));
            }
        }
        if self.offset.is_multiple_of(BLOCK)
            && let Some(seal) = self.seal_at(self.offset)?
        {
            self.seal = Some(seal);
            return Ok(Place::End);
        }
        Ok(match (self.search(self.offset)?, self.limit) {
            (Some(until), _) => Place::Damaged { until },
            // All up to the limit was written: what is no record there was one.
            (None, Some(limit)) => Place::Damaged { until: limit },
            (None, None) => Place::End,
        })
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Option<RecordHeader>> {
        let (id, crc_seed, next_index) = (self.id, self.crc_seed, self.next_index);
        let bytes = self.get(offset, HEADER_BYTES)?;
        let header = decode_record_header(bytes, id, crc_seed);
        Ok(header.filter(|header| index(header) >= next_index))
    }

    fn seal_at(&mut self, offset: u64) -> io::Result<Option<Seal>> {
        let id = self.id;
        let block = self.get(offset, BLOCK_BYTES)?;
        Ok(Seal::decode(block, id, offset))
    }

    fn is_zero(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let bytes = self.get(from, (to - from) as usize)?;
        Ok(bytes.iter().all(|&b| b == 0))
    }

    /// The offset of the next record header behind `from`, or of the seal.
    fn search(&mut self, from: u64) -> io::Result<Option<u64>> {
        let (id, crc_seed, next_index) = (self.id, self.crc_seed, self.next_index);
        let mut at = from + RECORD_ALIGN as u64;
        'windows: loop {
            let bytes = self.at_least(at, BLOCK_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            let places = bytes.len() - HEADER_BYTES + 1;
            for place in (0..places).step_by(RECORD_ALIGN) {
                // Reserved space is zeros: most places end at the first byte.
                if bytes[place] == 0 {
                    continue;
                }
                let (bytes, offset) = (&bytes[place..], at + place as u64);
                let header = decode_record_header(bytes, id, crc_seed);
                if header.is_some_and(|header| index(&header) >= next_index) {
                    return Ok(Some(offset));
                }
                if offset.is_multiple_of(BLOCK) && Seal::may_begin(bytes) {
                    // The block may reach over what is at hand.
                    if self.seal_at(offset)?.is_some() {
                        return Ok(Some(offset));
                    }
                    at = offset + RECORD_ALIGN as u64;
                    continue 'windows;
                }
            }
            at += places.next_multiple_of(RECORD_ALIGN) as u64;
        }
    }

    /// `len` bytes at `offset`, fewer at the limit or the end of the file.
    fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let bytes = self.at_least(offset, len)?;
        Ok(&bytes[..len.min(bytes.len())])
    }

    fn at_least(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let limit = self.limit.unwrap_or(u64::MAX);
        self.window.at_least(self.file.as_ref(), offset, len, limit)
    }
}

fn index(header: &RecordHeader) -> u64 {
    header.sequence & u64::from(u32::MAX)
}

impl Window {
    /// All that is at hand from `offset` on: `len` bytes or more, fewer at `limit` or the end of the file.
    fn at_least(
        &mut self,
        file: &dyn ReadAt,
        offset: u64,
        len: usize,
        limit: u64,
    ) -> io::Result<&[u8]> {
        let have = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + len as u64 > have {
            // Bytes that were read already are moved, not read again.
            let kept = have.saturating_sub(offset).min(self.bytes.len() as u64) as usize;
            if offset < self.start || kept == 0 {
                self.bytes.clear();
            } else {
                self.bytes.drain(..self.bytes.len() - kept);
            }
            self.start = offset;
            let mut filled = self.bytes.len();
            let wanted = limit
                .saturating_sub(offset)
                .min(len.max(WINDOW_BYTES) as u64);
            self.bytes.resize(filled.max(wanted as usize), 0);
            while filled < self.bytes.len() {
                match file.read_at(&mut self.bytes[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.bytes.truncate(filled);
        }
        let from = ((offset - self.start) as usize).min(self.bytes.len());
        Ok(&self.bytes[from..])
    }
}
