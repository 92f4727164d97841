//! Halves of surrogate pairs in JSON text, which are no Unicode: `"\ud83d"` without its other half.
//!
//! `JSON.stringify` writes them for a string that was cut inside an emoji. Most readers refuse the whole text for
//! one, so each is replaced by U+FFFD, as a decoder of UTF-16 does it. The escape is as long, so that everything
//! keeps its place.

use memchr::memmem;

const REPLACEMENT: &[u8; 4] = b"fffd";

/// The digits of a `\uXXXX`.
const DIGITS: usize = 4;

/// The same text with U+FFFD for every lone surrogate, `None` if it has none.
pub fn replace_lone(text: &[u8]) -> Option<Vec<u8>> {
    let mut places = lone(text).peekable();
    places.peek()?;
    let mut replaced = text.to_vec();
    for at in places {
        if let Some(digits) = replaced.get_mut(at..at + DIGITS) {
            digits.copy_from_slice(REPLACEMENT);
        }
    }
    Some(replaced)
}

/// How many lone surrogates there are.
pub fn count_lone(text: &[u8]) -> u64 {
    lone(text).count() as u64
}

/// Where the digits of each lone surrogate start.
fn lone(text: &[u8]) -> impl Iterator<Item = usize> {
    let mut behind_pair = 0;
    memmem::find_iter(text, b"\\u").filter_map(move |at| {
        let digits = at + 2;
        let unit = unit(text, digits)?;
        if digits <= behind_pair || is_escaped(text, at) {
            return None;
        }
        match unit {
            0xD800..=0xDBFF => {
                let next = digits + DIGITS;
                let is_pair = text
                    .get(next..)
                    .is_some_and(|rest| rest.starts_with(b"\\u"))
                    && matches!(self::unit(text, next + 2), Some(0xDC00..=0xDFFF));
                if is_pair {
                    behind_pair = next + 2;
                }
                (!is_pair).then_some(digits)
            }
            0xDC00..=0xDFFF => Some(digits),
            _ => None,
        }
    })
}

/// The UTF-16 unit of four hex digits, if it is a surrogate.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + DIGITS)?;
    if !digits.starts_with(b"d") && !digits.starts_with(b"D") {
        return None;
    }
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16)
        .ok()
        .filter(|unit| *unit >= 0xD800)
}

/// Whether the backslash is the second of a `\\`.
fn is_escaped(text: &[u8], backslash: usize) -> bool {
    let before = text.get(..backslash).unwrap_or_default();
    let run = before.iter().rev().take_while(|byte| **byte == b'\\');
    !run.count().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replaced(text: &str) -> String {
        replace_lone(text.as_bytes())
            .map_or(text.to_owned(), |text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn each_half_that_stands_alone_is_replaced() {
        for (text, expected) in [
            (r"cut \ud83d", r"cut \ufffd"),
            (r"\uDE00\uD83D", r"\ufffd\ufffd"),
            (r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
            (r"\ud83d \ude00", r"\ufffd \ufffd"),
            (r"\ud83d\u0041", r"\ufffd\u0041"),
            (r"\\ud83d \\\ud83d", r"\\ud83d \\\ufffd"),
            (r"\ud83d\\ude00", r"\ufffd\\ude00"),
        ] {
            assert_eq!(replaced(text), expected);
        }
    }

    #[test]
    fn what_is_whole_or_no_escape_stays() {
        for text in [
            "",
            r"\ud83d\ude00",
            r"\ud7ff\ue000",
            r"\ud83",
            "ud83d",
            r"\\ud83d",
            r"\u00e4",
        ] {
            assert_eq!(replace_lone(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        /// `String::from_utf16_lossy` is the judge.
        #[test]
        fn replaced_text_reads_as_a_decoder_of_utf_16_reads_it(units in proptest::collection::vec(
            prop_oneof![0xD7FEu16..0xE002, any::<u16>()], 0..12,
        )) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let text: String = serde_json::from_str(&format!("\"{}\"", replaced(&escaped))).unwrap();
            prop_assert_eq!(&text, &String::from_utf16_lossy(&units));
            let halves = char::decode_utf16(units).filter(Result::is_err).count();
            prop_assert_eq!(count_lone(escaped.as_bytes()), halves as u64);
        }
    }
}
