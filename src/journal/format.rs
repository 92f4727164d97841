//! The bytes of a segment: file name, segment header, record header.
//!
//! A segment is a file of whole blocks. Block 0 is the segment header; records follow, each a 64-byte
//! header and its payload, padded with zeros to 8 bytes. The end of a commit is padded with zeros to the
//! block, so that no committed block is ever written again. All integers are little-endian.
//!
//! | offset | record header field |
//! |---|---|
//! | 0 | magic `TR` |
//! | 2 | encoding u8: 1 FlatBuffer, 2 JSON events, 3 JSON logs, 4 syslog; plus 128 where a mark of 32 bytes stands in front of the payload, counted in its length and CRC ([`Mark`]) |
//! | 3 | schema type u8 of a Batch, else 0 |
//! | 4 | CRC32C of the header with this field zero, seeded by the segment |
//! | 8 | CRC32C of the payload |
//! | 12 | payload length u32, bytes |
//! | 16 | sequence u64: segment id in the upper half, index in the segment in the lower |
//! | 24 | received at u64, nanoseconds since 1970 |
//! | 32 | workspace u32 |
//! | 36 | source u8 |
//! | 37 | address family u8: 4 or 6 |
//! | 38 | peer port u16 |
//! | 40 | key id u64 |
//! | 48 | peer address, 16 bytes (IPv4 as IPv4-mapped) |
//!
//! | offset | segment header field |
//! |---|---|
//! | 0 | magic `TELLSEG` and a newline |
//! | 8 | format version u32 |
//! | 12 | number u32 |
//! | 16 | salt u64 |
//! | 24 | CRC32C of the block with this field zero; 0 in segments of the first version of this program, which wrote none and sealed nothing ([`seal`](super::seal)) |
//!
//! Every later format keeps this header: its check is asked before its version is believed.
//!
//! The CRC of a record header is seeded with a random salt that the segment's name carries and no client ever sees. A
//! payload that contains the image of a record therefore cannot pass for one when a reader searches for
//! the next record behind a damaged one.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::origin::{KeyId, Workspace};

use super::record::{Encoding, Facts, Mark};
use crate::origin::Source;

/// Unit of writing and of padding, bytes. Direct I/O wants multiples of the device's logical block, which
/// is 512 or 4096 on every disk in use.
pub const BLOCK_BYTES: usize = 4096;

/// Length of a record header, bytes.
pub const HEADER_BYTES: usize = 64;

/// Bytes of a segment that are not payload when it holds a single record: its header, that of the record with
/// the largest mark, the padding, the seal.
pub const SEGMENT_OVERHEAD_BYTES: usize =
    BLOCK_BYTES + HEADER_BYTES + Mark::BYTES + BLOCK_BYTES + BLOCK_BYTES;

/// Records start at multiples of this, so that a search for the next record has few places to look.
pub const RECORD_ALIGN: usize = 8;

const SEGMENT_MAGIC: &[u8; 8] = b"TELLSEG\n";
const FORMAT_VERSION: u32 = 1;
/// Added to the encoding of a record whose payload has a mark in front.
const MARKED: u8 = 128;
const RECORD_MAGIC: [u8; 2] = *b"TR";

/// Bytes that a record with this payload takes in a segment, without the padding of its commit.
pub const fn record_bytes(payload_len: usize) -> usize {
    (HEADER_BYTES + payload_len).next_multiple_of(RECORD_ALIGN)
}

/// What identifies a segment; its file name says both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    /// Position in the order of segments, from 1.
    pub number: u32,
    /// Random; seeds the header CRCs.
    pub salt: u64,
}

impl SegmentId {
    /// `00000001-0123456789abcdef.seg`
    pub fn file_name(self) -> String {
        format!("{:08x}-{:016x}.seg", self.number, self.salt)
    }

    /// The id that a file name says; `None` when the file is no segment.
    pub fn parse_file_name(name: &str) -> Option<Self> {
        let (number, salt) = name.strip_suffix(".seg")?.split_once('-')?;
        if number.len() != 8 || salt.len() != 16 {
            return None;
        }
        let id = Self {
            number: u32::from_str_radix(number, 16).ok()?,
            salt: u64::from_str_radix(salt, 16).ok()?,
        };
        (id.file_name() == name).then_some(id)
    }

    /// The sequence of the record at this index.
    pub const fn sequence(self, index: u32) -> u64 {
        ((self.number as u64) << 32) | index as u64
    }

    /// The seed of this segment's header CRCs.
    pub fn crc_seed(self) -> u32 {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.number.to_le_bytes());
        id[4..].copy_from_slice(&self.salt.to_le_bytes());
        crc32c(&id)
    }
}

/// Writes the segment header into the first block.
pub fn encode_segment_header(block: &mut [u8], id: SegmentId) {
    block.fill(0);
    block[..8].copy_from_slice(SEGMENT_MAGIC);
    block[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    block[12..16].copy_from_slice(&id.number.to_le_bytes());
    block[16..24].copy_from_slice(&id.salt.to_le_bytes());
    let check = crc32c(block);
    block[CHECK].copy_from_slice(&check.to_le_bytes());
}

/// Where the check of a segment header stands.
const CHECK: std::ops::Range<usize> = 24..28;

/// What the first block of a segment file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentHeader {
    /// A segment of this format, which is sealed when it is finished.
    Current,
    /// A segment of the first version of this program, which sealed nothing.
    Unsealed,
    /// Never written: the segment was being created when the process or the power went.
    Blank,
    /// A segment of a later format, which this program must not touch.
    Newer(u32),
    /// Damaged; its records can be read all the same, because the file name carries the salt.
    Damaged,
}

/// Reads the first block of a segment file.
pub fn decode_segment_header(block: &[u8], id: SegmentId) -> SegmentHeader {
    if block.iter().all(|&b| b == 0) {
        return SegmentHeader::Blank;
    }
    let Some(block) = block.first_chunk::<BLOCK_BYTES>() else {
        return SegmentHeader::Damaged;
    };
    if &block[..8] != SEGMENT_MAGIC {
        return SegmentHeader::Damaged;
    }
    let mut unchecked = *block;
    unchecked[CHECK].fill(0);
    let version = read_u32(block, 8);
    let header = match read_u32(block, CHECK.start) {
        check if check == crc32c(&unchecked) && version > FORMAT_VERSION => {
            return SegmentHeader::Newer(version);
        }
        check if check == crc32c(&unchecked) => SegmentHeader::Current,
        0 if block[CHECK.end..].iter().all(|&b| b == 0) => SegmentHeader::Unsealed,
        _ => return SegmentHeader::Damaged,
    };
    let is_named = read_u32(block, 12) == id.number && read_u64(block, 16) == id.salt;
    if version == FORMAT_VERSION && is_named {
        header
    } else {
        SegmentHeader::Damaged
    }
}

/// A record header as it was read: the facts are to be trusted, the payload still has to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Position in the order of arrival.
    pub sequence: u64,
    /// The envelope facts.
    pub facts: Facts,
    /// Whether a mark stands in front of the payload.
    pub marked: bool,
    /// Length of the payload, bytes, the mark included.
    pub payload_len: u32,
    /// CRC32C that the payload must have.
    pub payload_crc: u32,
}

/// Encodes a record header. `crc_seed` is the segment's.
pub fn encode_record_header(header: &RecordHeader, crc_seed: u32) -> [u8; HEADER_BYTES] {
    let facts = &header.facts;
    let (encoding, schema) = match facts.encoding {
        Encoding::FlatBuffer { schema_type } => (1, schema_type),
        Encoding::JsonEvents => (2, 0),
        Encoding::JsonLogs => (3, 0),
        Encoding::Syslog => (4, 0),
    };
    let (family, address) = match facts.peer.ip().to_canonical() {
        IpAddr::V4(v4) => (4, v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => (6, v6),
    };
    let kind = encoding | if header.marked { MARKED } else { 0 };
    let first = u32::from_le_bytes([RECORD_MAGIC[0], RECORD_MAGIC[1], kind, schema]);
    let [port_low, port_high] = facts.peer.port().to_le_bytes();
    let origin = u32::from_le_bytes([facts.source as u8, family, port_low, port_high]);
    let address = u128::from_le_bytes(address.octets());
    // Whole words, of the size that the CRC reads: smaller writes would have to reach memory before it.
    let words = [
        u64::from(first),
        two(header.payload_crc, header.payload_len),
        header.sequence,
        facts.received_at_ns,
        two(facts.workspace.get(), origin),
        facts.key_id.0,
        address as u64,
        (address >> 64) as u64,
    ];
    let mut out = [0; HEADER_BYTES];
    for (bytes, word) in out.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let crc = seeded_crc32c(crc_seed, &out);
    out[..8].copy_from_slice(&two(first, crc).to_le_bytes());
    out
}

/// Two words in one, the first in front.
const fn two(first: u32, second: u32) -> u64 {
    first as u64 | (second as u64) << 32
}

/// Decodes a record header; `None` when the bytes are not one of this segment.
pub fn decode_record_header(bytes: &[u8], id: SegmentId, crc_seed: u32) -> Option<RecordHeader> {
    let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
    if bytes[..2] != RECORD_MAGIC {
        return None;
    }
    let mut unsealed = *bytes;
    unsealed[4..8].fill(0);
    if seeded_crc32c(crc_seed, &unsealed) != read_u32(bytes, 4) {
        return None;
    }
    let sequence = read_u64(bytes, 16);
    if sequence >> 32 != u64::from(id.number) {
        return None;
    }
    let encoding = match bytes[2] & !MARKED {
        1 => Encoding::FlatBuffer {
            schema_type: bytes[3],
        },
        2 => Encoding::JsonEvents,
        3 => Encoding::JsonLogs,
        4 => Encoding::Syslog,
        _ => return None,
    };
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[48..64]);
    let address = Ipv6Addr::from(octets);
    let ip = match bytes[37] {
        4 => IpAddr::V4(address.to_ipv4_mapped()?),
        6 => IpAddr::V6(address),
        _ => return None,
    };
    Some(RecordHeader {
        sequence,
        facts: Facts {
            workspace: Workspace::new(read_u32(bytes, 32))?,
            key_id: KeyId(read_u64(bytes, 40)),
            source: Source::from_u8(bytes[36])?,
            encoding,
            received_at_ns: read_u64(bytes, 24),
            peer: SocketAddr::new(ip, u16::from_le_bytes([bytes[38], bytes[39]])),
        },
        marked: bytes[2] & MARKED != 0,
        payload_len: read_u32(bytes, 12),
        payload_crc: read_u32(bytes, 8),
    })
}

/// CRC32C (Castagnoli), as RFC 3720 appendix B.4 has it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC32C of one after the other.
pub fn crc32c_of_two(first: &[u8], second: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(first);
    digest.update(second);
    // The upper half is zero for an algorithm of 32 bits.
    digest.finalize() as u32
}

/// CRC32C of the seed and the header behind it, in one pass over the header: what stands before a message
/// only changes the state that its CRC starts from, and a start from another state is a start from the usual
/// one with the first four bytes changed by the difference of the two.
fn seeded_crc32c(seed: u32, header: &[u8; HEADER_BYTES]) -> u32 {
    let mut changed = *header;
    let first = read_u64(header, 0) ^ u64::from(crc32c(&seed.to_le_bytes()));
    changed[..8].copy_from_slice(&first.to_le_bytes());
    crc32c(&changed)
}

pub(super) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

pub(super) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(peer: &str) -> RecordHeader {
        RecordHeader {
            sequence: ID.sequence(3),
            facts: Facts {
                workspace: Workspace::new(u32::MAX).unwrap(),
                key_id: KeyId(0x0123_4567_89ab_cdef),
                source: Source::SyslogUdp,
                encoding: Encoding::FlatBuffer { schema_type: 77 },
                received_at_ns: 1_760_000_000_123_456_789,
                peer: peer.parse().unwrap(),
            },
            marked: true,
            payload_len: 12,
            payload_crc: 0xdead_beef,
        }
    }

    const ID: SegmentId = SegmentId {
        number: 9,
        salt: 42,
    };

    #[test]
    fn the_seed_counts_as_if_it_stood_in_front_of_the_header() {
        for n in 0..200_u32 {
            let header: [u8; HEADER_BYTES] =
                std::array::from_fn(|at| (n as usize * 31 + at * 7) as u8);
            let seed = n.wrapping_mul(0x9e37_79b9);
            let apart = [&seed.to_le_bytes()[..], &header].concat();
            assert_eq!(seeded_crc32c(seed, &header), crc32c(&apart));
        }
    }

    #[test]
    fn a_record_header_is_read_back_as_it_was_written() {
        for peer in ["127.0.0.1:1", "[2001:db8::1]:65535"] {
            let header = header(peer);
            let bytes = encode_record_header(&header, ID.crc_seed());
            assert_eq!(
                decode_record_header(&bytes, ID, ID.crc_seed()),
                Some(header)
            );
        }
    }

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn every_flipped_bit_of_a_record_header_is_noticed() {
        let bytes = encode_record_header(&header("127.0.0.1:1"), ID.crc_seed());
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                decode_record_header(&flipped, ID, ID.crc_seed()),
                None,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_record_image_from_another_segment_is_no_record() {
        let bytes = encode_record_header(&header("127.0.0.1:1"), ID.crc_seed());
        let other = SegmentId { salt: 43, ..ID };
        assert_eq!(decode_record_header(&bytes, other, other.crc_seed()), None);
    }

    #[test]
    fn a_segment_file_name_is_read_back_and_others_are_ignored() {
        assert_eq!(SegmentId::parse_file_name(&ID.file_name()), Some(ID));
        for name in [
            "",
            "lock",
            "00000009-000000000000002a",
            "00000009-000000000000002A.seg",
        ] {
            assert_eq!(SegmentId::parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_segment_header_tells_blank_damaged_and_newer_apart() {
        let mut block = vec![0; BLOCK_BYTES];
        assert_eq!(decode_segment_header(&block, ID), SegmentHeader::Blank);
        encode_segment_header(&mut block, ID);
        assert_eq!(decode_segment_header(&block, ID), SegmentHeader::Current);
        let other = SegmentId { number: 8, ..ID };
        assert_eq!(decode_segment_header(&block, other), SegmentHeader::Damaged);
        assert_eq!(
            decode_segment_header(&block[..100], ID),
            SegmentHeader::Damaged
        );
        // A later version, with a check as every version has to write it.
        block[8] = 2;
        block[CHECK].fill(0);
        block[100] = 7;
        let check = crc32c(&block);
        block[CHECK].copy_from_slice(&check.to_le_bytes());
        assert_eq!(decode_segment_header(&block, ID), SegmentHeader::Newer(2));
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_damage_and_never_another_version() {
        let mut block = vec![0; BLOCK_BYTES];
        encode_segment_header(&mut block, ID);
        let mut unsealed = block.clone();
        unsealed[CHECK].fill(0);
        assert_eq!(
            decode_segment_header(&unsealed, ID),
            SegmentHeader::Unsealed
        );
        for mut block in [block, unsealed] {
            for bit in 0..BLOCK_BYTES * 8 {
                block[bit / 8] ^= 1 << (bit % 8);
                let header = decode_segment_header(&block, ID);
                assert_eq!(header, SegmentHeader::Damaged, "bit {bit}");
                block[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
