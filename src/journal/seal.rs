//! The seal: the block behind the last record of a finished segment, which says that it is finished.
//!
//! A segment is sealed before the next one gets its first record. So one that has records behind it and no
//! seal was cut short, and what is missing between the last record found and the seal was there once. All
//! that is not zero fits one sector: a seal is there or not, never half.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `TELLEND` and a newline |
//! | 8 | version u32, 1 |
//! | 12 | CRC32C of the segment's seed and of the block with this field zero |
//! | 16 | number u32 and, at 24, salt u64 of the segment |
//! | 20 | number u32 and, at 32, salt u64 of the segment with records before it; 0 where that is not known |
//! | 40 | offset u64 of the seal |
//! | 48 | records u32: the index that one more would have had |
//!
//! A version of this program that knows no seals takes the block for the end of the records.

use super::format::{BLOCK_BYTES, SegmentId, crc32c_of_two, read_u32, read_u64};

const MAGIC: &[u8; 8] = b"TELLEND\n";
const VERSION: u32 = 1;
const CHECK: std::ops::Range<usize> = 12..16;

/// What a seal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// Where it stands: the end of the records.
    pub offset: u64,
    /// Records of the segment.
    pub records: u32,
    /// The segment with records before it, where that is known.
    pub previous: Option<SegmentId>,
}

impl Seal {
    /// The block, which goes behind the records of the segment.
    pub fn encode(&self, id: SegmentId) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let previous = self.previous.unwrap_or(SegmentId { number: 0, salt: 0 });
        block[..8].copy_from_slice(MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..20].copy_from_slice(&id.number.to_le_bytes());
        block[20..24].copy_from_slice(&previous.number.to_le_bytes());
        block[24..32].copy_from_slice(&id.salt.to_le_bytes());
        block[32..40].copy_from_slice(&previous.salt.to_le_bytes());
        block[40..48].copy_from_slice(&self.offset.to_le_bytes());
        block[48..52].copy_from_slice(&self.records.to_le_bytes());
        let check = crc32c_of_two(&id.crc_seed().to_le_bytes(), &block);
        block[CHECK].copy_from_slice(&check.to_le_bytes());
        block
    }

    /// Reads a block that was found at `offset` of the segment; `None` where it is no seal of it.
    pub fn decode(block: &[u8], id: SegmentId, offset: u64) -> Option<Self> {
        let block = block.first_chunk::<BLOCK_BYTES>()?;
        if &block[..8] != MAGIC {
            return None;
        }
        let mut unchecked = *block;
        unchecked[CHECK].fill(0);
        let check = crc32c_of_two(&id.crc_seed().to_le_bytes(), &unchecked);
        let is_sound = check == read_u32(block, CHECK.start)
            && read_u32(block, 8) == VERSION
            && read_u32(block, 16) == id.number
            && read_u64(block, 24) == id.salt
            && read_u64(block, 40) == offset;
        let previous = SegmentId {
            number: read_u32(block, 20),
            salt: read_u64(block, 32),
        };
        is_sound.then_some(Self {
            offset,
            records: read_u32(block, 48),
            previous: (previous.number > 0).then_some(previous),
        })
    }

    /// Whether bytes may begin a seal: a look that costs little, for searches.
    pub fn may_begin(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }
}

#[cfg(test)]
mod tests {
    use super::super::storage::SECTOR_BYTES;
    use super::*;

    const ID: SegmentId = SegmentId { number: 3, salt: 9 };

    #[test]
    fn a_seal_is_read_back_in_its_place_and_no_other_and_no_flipped_bit_passes() {
        for previous in [None, Some(SegmentId { number: 2, salt: 7 })] {
            let seal = Seal {
                offset: 8192,
                records: 5,
                previous,
            };
            let mut block = seal.encode(ID);
            assert!(Seal::may_begin(&block));
            assert!(block[SECTOR_BYTES..].iter().all(|&b| b == 0));
            assert_eq!(Seal::decode(&block, ID, 8192), Some(seal));
            assert_eq!(Seal::decode(&block, ID, 4096), None);
            assert_eq!(
                Seal::decode(&block, SegmentId { salt: 8, ..ID }, 8192),
                None
            );
            for bit in 0..BLOCK_BYTES * 8 {
                block[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Seal::decode(&block, ID, 8192), None, "bit {bit}");
                block[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
