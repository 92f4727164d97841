//! Ids as the tables show them: UUIDs hyphenated and in lower case, trace ids in hex, none as null.

use std::borrow::Cow;

use data_encoding::HEXLOWER;

/// 32 hex digits in groups of 8, 4, 4, 4 and 12.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const UUID_LEN: usize = 36;

/// The UUID form of 16 bytes; `None` if all are zero, which names nobody.
pub(super) fn uuid(bytes: Option<[u8; 16]>) -> Option<Cow<'static, str>> {
    let bytes = bytes.filter(|bytes| bytes != &[0; 16])?;
    let mut text = String::with_capacity(UUID_LEN);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
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
    let hyphenated = match text.len() {
        UUID_LEN => true,
        32 => false,
        _ => return None,
    };
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (at, &c) in text.iter().enumerate() {
        if hyphenated && HYPHENS.contains(&at) {
            if c != b'-' {
                return None;
            }
            continue;
        }
        let value = u8::try_from(char::from(c).to_digit(16)?).ok()?;
        let byte: &mut u8 = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | value;
        digits += 1;
    }
    Some(bytes)
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
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
