//! Walks the records of one segment, over damage where there is some.
//!
//! Behind a record header that is no header the scan looks for the next one at every multiple of the record
//! alignment. The header CRC, seeded by the segment's secret salt, tells records from payload bytes.

use std::io;
use std::time::Duration;

use super::format::{
    BLOCK_BYTES, HEADER_BYTES, RECORD_ALIGN, RecordHeader, SegmentId, crc32c, decode_record_header,
    record_bytes,
};
use super::record::{Mark, Record};
use super::storage::ReadAt;

/// How much is read at a time, bytes.
const WINDOW_BYTES: usize = 1 << 20;

/// A segment that is being written may show a later block of a write before an earlier one. What looks
/// damaged is looked at again after this.
const SETTLE: Duration = Duration::from_millis(50);

/// What a segment holds at one place.
#[derive(Debug, PartialEq)]
pub(super) enum Item<'a> {
    Record(Record<'a>),
    Damaged(Damage<'a>),
}

/// Bytes that are no valid record.
#[derive(Debug, PartialEq)]
pub(super) struct Damage<'a> {
    pub offset: u64,
    pub bytes: u64,
    /// The header and the payload, when only the payload is damaged.
    pub record: Option<Record<'a>>,
}

/// A walk over one segment.
#[derive(Debug)]
pub(super) struct Scan {
    file: Box<dyn ReadAt>,
    id: SegmentId,
    crc_seed: u32,
    live: bool,
    offset: u64,
    next_index: u64,
    valid_end: u64,
    records: u64,
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
    /// A scan from the first record. `live`: the segment may be written to meanwhile.
    pub fn new(file: Box<dyn ReadAt>, id: SegmentId, live: bool) -> Self {
        Self {
            file,
            id,
            crc_seed: id.crc_seed(),
            live,
            offset: BLOCK_BYTES as u64,
            next_index: 0,
            valid_end: BLOCK_BYTES as u64,
            records: 0,
            window: Window::default(),
        }
    }

    /// End of the last valid record seen, bytes from the start of the segment.
    pub fn valid_end(&self) -> u64 {
        self.valid_end
    }

    /// How many valid records were seen.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The next record or damaged place; `None` at the end, behind which nothing is a record.
    pub fn next(&mut self) -> io::Result<Option<Item<'_>>> {
        match self.place()? {
            Place::End => Ok(None),
            Place::Damaged { until } => {
                let from = self.offset;
                self.offset = until;
                Ok(Some(Item::Damaged(Damage {
                    offset: from,
                    bytes: until - from,
                    record: None,
                })))
            }
            Place::Header(header) => {
                let offset = self.offset;
                let payload_len = header.payload_len as usize;
                let end = offset + record_bytes(payload_len) as u64;
                self.offset = end;
                self.next_index = (header.sequence & u64::from(u32::MAX)) + 1;
                let bytes =
                    self.window
                        .get(self.file.as_ref(), offset, HEADER_BYTES + payload_len)?;
                let stored = bytes.get(HEADER_BYTES..).unwrap_or_default();
                let (mark, payload) = match Mark::split(stored) {
                    Some((mark, payload)) if header.marked => (Some(mark), payload),
                    _ => (None, stored),
                };
                let record = Record {
                    sequence: header.sequence,
                    facts: header.facts,
                    mark,
                    payload,
                };
                if stored.len() == payload_len && crc32c(stored) == header.payload_crc {
                    self.valid_end = end;
                    self.records += 1;
                    return Ok(Some(Item::Record(record)));
                }
                Ok(Some(Item::Damaged(Damage {
                    offset,
                    bytes: end - offset,
                    record: Some(record),
                })))
            }
        }
    }

    /// Finds out what stands at `self.offset`, which moves over the padding of a commit.
    fn place(&mut self) -> io::Result<Place> {
        if let Some(header) = self.header_at(self.offset)? {
            return Ok(Place::Header(header));
        }
        let block_end = self.offset.next_multiple_of(BLOCK_BYTES as u64);
        if block_end > self.offset && self.is_zero(self.offset, block_end)? {
            self.offset = block_end;
            if let Some(header) = self.header_at(self.offset)? {
                return Ok(Place::Header(header));
            }
        }
        let Some(mut until) = self.search(self.offset)? else {
            return Ok(Place::End);
        };
        if self.live {
            std::thread::sleep(SETTLE);
            self.window = Window::default();
            if let Some(header) = self.header_at(self.offset)? {
                return Ok(Place::Header(header));
            }
            until = self.search(self.offset)?.unwrap_or(until);
        }
        Ok(Place::Damaged { until })
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Option<RecordHeader>> {
        let bytes = self.window.get(self.file.as_ref(), offset, HEADER_BYTES)?;
        let header = decode_record_header(bytes, self.id, self.crc_seed);
        Ok(header.filter(|h| h.sequence & u64::from(u32::MAX) >= self.next_index))
    }

    fn is_zero(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let bytes = self
            .window
            .get(self.file.as_ref(), from, (to - from) as usize)?;
        Ok(bytes.iter().all(|&b| b == 0))
    }

    /// The offset of the next record header behind `from`.
    fn search(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from + RECORD_ALIGN as u64;
        loop {
            let bytes = self.window.at_least(self.file.as_ref(), at, HEADER_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            let places = bytes.len() - HEADER_BYTES + 1;
            for place in (0..places).step_by(RECORD_ALIGN) {
                // Reserved space is zeros: most places end at the first byte.
                if bytes[place] == 0 {
                    continue;
                }
                let header = decode_record_header(&bytes[place..], self.id, self.crc_seed);
                if header.is_some_and(|h| h.sequence & u64::from(u32::MAX) >= self.next_index) {
                    return Ok(Some(at + place as u64));
                }
            }
            at += places.next_multiple_of(RECORD_ALIGN) as u64;
        }
    }
}

impl Window {
    /// `len` bytes at `offset`, fewer at the end of the file.
    fn get(&mut self, file: &dyn ReadAt, offset: u64, len: usize) -> io::Result<&[u8]> {
        let bytes = self.at_least(file, offset, len)?;
        Ok(&bytes[..len.min(bytes.len())])
    }

    /// All that is at hand from `offset` on: `len` bytes or more, fewer at the end of the file.
    fn at_least(&mut self, file: &dyn ReadAt, offset: u64, len: usize) -> io::Result<&[u8]> {
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
            self.bytes.resize(len.max(WINDOW_BYTES), 0);
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
