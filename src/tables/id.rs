//! Ids as the tables show them: UUIDs hyphenated and in lower case, trace ids in hex, none as null.

use std::borrow::Cow;
use std::ops::Range;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

const UUID_LEN: usize = 36;

/// Where the digits of each group stand without hyphens.
const GROUPS: [Range<usize>; 5] = [0..8, 8..12, 12..16, 16..20, 20..32];

/// The UUID form of 16 bytes; `None` if all are zero, which names nobody.
pub(super) fn uuid(bytes: Option<[u8; 16]>) -> Option<Cow<'static, str>> {
    let bytes = bytes.filter(|bytes| bytes != &[0; 16])?;
    let mut digits = [0; 32];
    let digits = HEXLOWER.encode_mut_str(&bytes, &mut digits);
    let mut text = String::with_capacity(UUID_LEN);
    for group in GROUPS {
        if group.start > 0 {
            text.push('-');
        }
        text.push_str(&digits[group]);
    }
    Some(Cow::Owned(text))
}

/// The UUID form of text that is a UUID, with hyphens or without, in either case; other text as it came.
/// `None` for the UUID of zeros and for empty text, which name nobody.
pub(super) fn uuid_text(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if text.is_empty() {
        return None;
    }
    match parse_uuid(text.as_bytes()) {
        Some(bytes) => uuid(Some(bytes)),
        None => Some(text),
    }
}

/// Lower-case hex; `None` if all bytes are zero.
pub(super) fn hex<const N: usize>(bytes: Option<[u8; N]>) -> Option<Cow<'static, str>> {
    let bytes = bytes.filter(|bytes| bytes != &[0; N])?;
    Some(Cow::Owned(HEXLOWER.encode(&bytes)))
}

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = [0; 32];
    match text.len() {
        32 => digits.copy_from_slice(text),
        UUID_LEN => {
            let mut groups = text.split(|&c| c == b'-');
            for group in GROUPS {
                let found = groups.next().filter(|found| found.len() == group.len())?;
                digits[group].copy_from_slice(found);
            }
        }
        _ => return None,
    }
    let mut bytes = [0; 16];
    HEXLOWER_PERMISSIVE.decode_mut(&digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_shown_hyphenated_in_lower_case_however_it_was_written() {
        let shown = "01234567-89ab-cdef-0123-456789abcdef";
        for text in [
            shown,
            "01234567-89AB-CDEF-0123-456789ABCDEF",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(uuid_text(text.into()).as_deref(), Some(shown), "{text}");
        }
        let bytes = parse_uuid(shown.as_bytes()).unwrap();
        assert_eq!(bytes[..3], [0x01, 0x23, 0x45]);
        assert_eq!(uuid(Some(bytes)).as_deref(), Some(shown));
    }

    #[test]
    fn other_text_is_left_as_it_came() {
        for text in [
            "device-7",
            "0123456-789ab-cdef-0123-456789abcdef",
            "0123456789abcdef0123456789abcdeg",
            "01234567-89ab-cdef-0123-456789abcde-",
        ] {
            assert_eq!(uuid_text(text.into()).as_deref(), Some(text));
        }
    }

    #[test]
    fn zeros_and_empty_text_name_nobody() {
        assert_eq!(uuid(None), None);
        assert_eq!(uuid(Some([0; 16])), None);
        assert_eq!(uuid_text("".into()), None);
        assert_eq!(
            uuid_text("00000000-0000-0000-0000-000000000000".into()),
            None
        );
        assert_eq!(hex(Some([0u8; 8])), None);
        assert_eq!(hex(Some([0, 0xAB])).as_deref(), Some("00ab"));
    }
}
