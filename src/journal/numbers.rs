//! Numbers of segments never come back while a data directory lives.
//!
//! The file of a segment is the mark of its number. Before one is removed, because it holds nothing or was
//! retired, the file `numbers` says durably how high the numbers went, and up to which they were retired. A
//! start takes a number above every number that any file names.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `TELLNUM` and a newline |
//! | 8 | version u32, 1 |
//! | 12 | the highest number u32 of all segments that were removed |
//! | 16 | the highest number u32 of all segments that were retired |
//! | 20 | CRC32C of all before |

use std::io;

use super::format::{crc32c, read_u32};
use super::storage::{self, Storage};

pub(super) const FILE_NAME: &str = "numbers";
const MAGIC: &[u8; 8] = b"TELLNUM\n";
const VERSION: u32 = 1;
const BYTES: usize = 24;

/// What is known of segments that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The highest number of one that was removed.
    pub removed: u32,
    /// The highest number of one that was retired: all up to it may be gone.
    pub retired: u32,
}

impl Numbers {
    fn encode(self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.removed.to_le_bytes());
        out[16..20].copy_from_slice(&self.retired.to_le_bytes());
        let check = crc32c(&out[..20]);
        out[20..].copy_from_slice(&check.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let is_sound = &bytes[..8] == MAGIC
            && read_u32(bytes, 8) == VERSION
            && read_u32(bytes, 20) == crc32c(&bytes[..20]);
        is_sound.then(|| Self {
            removed: read_u32(bytes, 12),
            retired: read_u32(bytes, 16),
        })
    }

    /// What the file says; nothing where there is none. A damaged one says nothing either: what other files
    /// name still counts, and salts tell segments of one number apart.
    pub fn read(storage: &dyn Storage) -> io::Result<Self> {
        let bytes = storage::read_small(storage, FILE_NAME)?;
        let numbers = bytes.as_deref().map(Self::decode);
        if numbers == Some(None) {
            tracing::warn!("{FILE_NAME} in the journal is damaged and is written anew");
        }
        Ok(numbers.flatten().unwrap_or_default())
    }

    /// Says durably that segments up to these numbers may be gone. To be called before they are.
    pub fn raise(storage: &dyn Storage, removed: u32, retired: u32) -> io::Result<()> {
        let before = Self::read(storage)?;
        let after = Self {
            removed: before.removed.max(removed).max(retired),
            retired: before.retired.max(retired),
        };
        if after == before {
            return Ok(());
        }
        storage.replace(FILE_NAME, &after.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulated::SimulatedDisk;
    use super::*;

    #[test]
    fn numbers_only_rise_and_a_damaged_file_is_written_anew() {
        let disk = SimulatedDisk::default();
        assert_eq!(Numbers::read(&disk).unwrap(), Numbers::default());
        Numbers::raise(&disk, 7, 0).unwrap();
        Numbers::raise(&disk, 3, 2).unwrap();
        let expected = Numbers {
            removed: 7,
            retired: 2,
        };
        assert_eq!(Numbers::read(&disk).unwrap(), expected);
        disk.flip_bit(FILE_NAME, 13, 1);
        assert_eq!(Numbers::read(&disk).unwrap(), Numbers::default());
        Numbers::raise(&disk, 9, 9).unwrap();
        assert_eq!(Numbers::read(&disk).unwrap().removed, 9);
    }
}
