//! How far the journal is durable, for whoever reads it while it is written.
//!
//! The writer publishes this after each sync and before it answers anybody: in memory, and in the file
//! `committed`, for other processes. The file is overwritten in place and not synced by itself: after a loss of
//! power it may be behind what is durable, never ahead of it. It counts beside a running server, and tells
//! recovery what was no torn write. A start and a clean stop sync it.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `TELLCOM` and a newline |
//! | 8 | version u32, 1 |
//! | 12 | number u32 of the segment, 0 while nothing is committed |
//! | 16 | salt u64 of the segment |
//! | 24 | offset u64 in the segment |
//! | 32 | sequence u64 that the next record would get |
//! | 40 | CRC32C of all before |

use std::io;
use std::time::Duration;

use super::format::{SegmentId, crc32c, read_u32, read_u64};
use super::recovery::OpenError;
use super::storage::{self, SmallFile, Storage};

pub(super) const FILE_NAME: &str = "committed";
const MAGIC: &[u8; 8] = b"TELLCOM\n";
const VERSION: u32 = 1;
const BYTES: usize = 44;

/// A read that meets a write finds a mix of two positions: it is tried again after this.
const RETRY: Duration = Duration::from_millis(2);

/// So often: a server that starts says within two seconds where its journal stands, if its disk does its part.
const TRIES: u32 = 1000;

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from its start.
    pub offset: u64,
    /// The sequence of the next record in this segment.
    pub sequence: u64,
}

impl Position {
    /// Length of [`encode`](Self::encode), bytes.
    pub(super) const BYTES: usize = 28;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&self.segment.number.to_le_bytes());
        out[4..12].copy_from_slice(&self.segment.salt.to_le_bytes());
        out[12..20].copy_from_slice(&self.offset.to_le_bytes());
        out[20..].copy_from_slice(&self.sequence.to_le_bytes());
        out
    }

    /// `None` for the position before the first record of all.
    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let segment = SegmentId {
            number: read_u32(bytes, 0),
            salt: read_u64(bytes, 4),
        };
        (segment.number > 0).then_some(Self {
            segment,
            offset: read_u64(bytes, 12),
            sequence: read_u64(bytes, 20),
        })
    }
}

fn encode(position: Option<Position>) -> [u8; BYTES] {
    let mut out = [0; BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    if let Some(position) = position {
        out[12..40].copy_from_slice(&position.encode());
    }
    let check = crc32c(&out[..40]);
    out[40..].copy_from_slice(&check.to_le_bytes());
    out
}

/// `None` where the bytes are not whole.
fn decode(bytes: &[u8]) -> Option<Option<Position>> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    let is_sound = &bytes[..8] == MAGIC
        && read_u32(bytes, 8) == VERSION
        && read_u32(bytes, 40) == crc32c(&bytes[..40]);
    let position = bytes[12..].first_chunk()?;
    is_sound.then(|| Position::decode(position))
}

/// What the file says now; `None` where there is none, or its checksum does not hold.
pub(super) fn read(storage: &dyn Storage) -> io::Result<Option<Option<Position>>> {
    Ok(storage::read_small(storage, FILE_NAME)?.and_then(|bytes| decode(&bytes)))
}

/// How far the journal is committed that a running server writes, as another process reads it.
pub(super) fn beside_a_server(storage: &dyn Storage) -> Result<Option<Position>, OpenError> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(RETRY);
        }
        if let Some(position) = read(storage).map_err(OpenError::Directory)? {
            return Ok(position);
        }
    }
    Err(OpenError::NothingSaid)
}

/// The writer's end of the file.
#[derive(Debug)]
pub(super) struct Published(Box<dyn SmallFile>);

impl Published {
    /// Opens the file and lets it say, durably, where recovery left the journal.
    pub fn open(storage: &dyn Storage, position: Option<Position>) -> io::Result<Self> {
        let published = Self(storage.open_small(FILE_NAME)?);
        published.0.write(&encode(position))?;
        published.0.sync()?;
        Ok(published)
    }

    /// Says that all before this is durable.
    pub fn write(&self, position: Position) -> io::Result<()> {
        self.0.write(&encode(Some(position)))
    }

    /// Makes what was said last durable.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_and_no_flipped_bit_passes() {
        let position = Position {
            segment: SegmentId { number: 3, salt: 9 },
            offset: 8192,
            sequence: (3 << 32) + 5,
        };
        for said in [None, Some(position)] {
            let mut bytes = encode(said);
            assert_eq!(decode(&bytes), Some(said));
            for bit in 0..BYTES * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&bytes), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(decode(&bytes[..BYTES - 1]), None);
        }
    }
}
