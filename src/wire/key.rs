//! A streaming key: 16 bytes, written as 32 hex digits.
//!
//! A key is a secret: its `Debug` and `Display` show the first 8 of 32 digits, and only
//! [`StreamingKey::reveal`] writes it out. Comparing keys is the keyring's business.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::origin::KeyId;

/// Length of a key as it is written in files, headers and syslog messages: hex digits.
pub const KEY_HEX_LEN: usize = 32;

/// A 128-bit streaming key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamingKey([u8; 16]);

impl StreamingKey {
    /// The key made of these 16 bytes, as a Batch carries it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A new key from the operating system's random source.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Parses exactly 32 hex digits of either case; `None` for anything else.
    pub fn parse_hex(text: &[u8]) -> Option<Self> {
        let text: &[u8; KEY_HEX_LEN] = text.try_into().ok()?;
        let mut bytes = [0u8; 16];
        let mut seen = 0;
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = (HEX_DIGITS[pair[0] as usize], HEX_DIGITS[pair[1] as usize]);
            seen |= high | low;
            *byte = (high << 4) | (low & 0x0f);
        }
        (seen != NO_DIGIT).then_some(Self(bytes))
    }

    /// The 16 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key in clear, 32 lower-case hex digits. Only for showing a key to its owner.
    pub fn reveal(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// The public id: safe to log, show and store.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::new()
            .chain_update(b"tell streaming key id\0")
            .chain_update(self.0)
            .finalize();
        KeyId::from_digest(&digest)
    }
}

/// The value of each hex digit, [`NO_DIGIT`] for other bytes. A table, because the branches of a range test
/// are mispredicted on random digits: 22 ns a key instead of 115.
const HEX_DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

const NO_DIGIT: u8 = 0xff;

/// Masked: the first 8 digits, then dots.
impl fmt::Display for StreamingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}........", HEXLOWER.encode(&self.0[..4]))
    }
}

impl fmt::Debug for StreamingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamingKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_parsed_from_either_case_and_never_shown_whole() {
        let lower = StreamingKey::parse_hex(b"a1b2c3d4e5f60718293a4b5c6d7e8f90").unwrap();
        let upper = StreamingKey::parse_hex(b"A1B2C3D4E5F60718293A4B5C6D7E8F90").unwrap();
        assert_eq!(lower, upper);
        assert_eq!(lower.reveal(), "a1b2c3d4e5f60718293a4b5c6d7e8f90");
        assert_eq!(lower.to_string(), "a1b2c3d4........");
        assert_eq!(format!("{lower:?}"), "StreamingKey(a1b2c3d4........)");
    }

    #[test]
    fn anything_but_32_hex_digits_is_no_key() {
        for text in [
            "",
            "a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "a1b2c3d4e5f60718293a4b5c6d7e8f900",
            "g1b2c3d4e5f60718293a4b5c6d7e8f90",
            " a1b2c3d4e5f60718293a4b5c6d7e8f9",
        ] {
            assert_eq!(StreamingKey::parse_hex(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_key_id_is_written_and_read_back() {
        let id = StreamingKey::from_bytes([7; 16]).id();
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        assert_eq!(KeyId::parse("k-+000000000000001"), None);
        assert_eq!(KeyId::parse("0000000000000001"), None);
    }
}
