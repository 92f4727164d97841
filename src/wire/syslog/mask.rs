//! Masks keys in what is kept of a message, wherever a sender put them.
//!
//! A key is 32 hex digits of either case, alone or among more digits, and each of its digits may be
//! percent-encoded, as in the log line of a request with `?token=`. Which digits are a key only a keyring can
//! tell, so a checksum stays what it is. Other spellings (split by blanks, in base64, reversed) are not looked for.

use crate::wire::key::KEY_HEX_LEN;
use crate::wire::key::StreamingKey;

const MASK: u8 = b'*';

/// Overwrites the keys that are `known`.
pub(super) fn mask(text: &mut [u8], mut known: impl FnMut(&StreamingKey) -> bool) {
    // A key covers one byte of every 32, counted from anywhere: where none of those may belong to one, none is.
    let mut at = KEY_HEX_LEN - 1;
    while let Some(&byte) = text.get(at) {
        at = if may_spell_digit(byte) {
            mask_around(text, at, &mut known)
        } else {
            at
        } + KEY_HEX_LEN;
    }
}

/// Whether the byte is a hex digit or starts one that is percent-encoded.
const fn may_spell_digit(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'%'
}

/// Overwrites the keys in the run of digits around `at`; returns the last byte of the run.
fn mask_around(text: &mut [u8], at: usize, known: &mut impl FnMut(&StreamingKey) -> bool) -> usize {
    let (before, behind) = text.split_at(at);
    let before = before.iter().rev().take_while(|b| may_spell_digit(**b));
    let behind = behind.iter().take_while(|b| may_spell_digit(**b));
    let (start, end) = (at - before.count(), at + behind.count());
    if let Some(run) = text
        .get_mut(start..end)
        .filter(|run| run.len() >= KEY_HEX_LEN)
    {
        mask_run(run, raw_digit, known);
        if memchr::memchr(b'%', run).is_some() {
            mask_run(run, percent_encoded_digit, known);
        }
    }
    end - 1
}

/// Overwrites the keys in a run whose digits `read` reads: it returns the digit at the start of the bytes, if
/// there is one, and how many bytes it takes.
fn mask_run(
    run: &mut [u8],
    read: fn(&[u8]) -> (Option<u8>, usize),
    known: &mut impl FnMut(&StreamingKey) -> bool,
) {
    let (mut at, mut digits, mut value) = (0, 0, 0u128);
    // Where the last 32 digits start.
    let mut starts = [0; KEY_HEX_LEN];
    while let Some(rest) = run.get(at..).filter(|rest| !rest.is_empty()) {
        let (digit, len) = read(rest);
        let start = at;
        at += len;
        let Some(digit) = digit else {
            digits = 0;
            continue;
        };
        value = (value << 4) | u128::from(digit);
        starts[digits % KEY_HEX_LEN] = start;
        digits += 1;
        if digits >= KEY_HEX_LEN && known(&StreamingKey::from_bytes(value.to_be_bytes())) {
            let first = starts[digits % KEY_HEX_LEN];
            run[first..at].fill(MASK);
            digits = 0;
        }
    }
}

fn raw_digit(bytes: &[u8]) -> (Option<u8>, usize) {
    (bytes.first().copied().and_then(digit_value), 1)
}

fn percent_encoded_digit(bytes: &[u8]) -> (Option<u8>, usize) {
    if let [b'%', high, low, ..] = bytes
        && let (Some(high), Some(low)) = (digit_value(*high), digit_value(*low))
    {
        return (digit_value((high << 4) | low), 3);
    }
    raw_digit(bytes)
}

const fn digit_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, known: &[StreamingKey]) -> String {
        let mut text = text.as_bytes().to_vec();
        mask(&mut text, |key| known.contains(key));
        String::from_utf8(text).unwrap()
    }

    fn key(hex: &str) -> StreamingKey {
        StreamingKey::parse_hex(hex.as_bytes()).unwrap()
    }

    const KEY: &str = "0a0ab2c3d4e5f60718293a4b5c6d7e0a";
    const OTHER: &str = "00000000000000000000000000000001";
    const STARS: &str = "********************************";

    #[test]
    fn a_key_is_masked_wherever_it_stands_and_nothing_else_is() {
        for before in 0..70 {
            for around in ["0a", " ", "g"] {
                for written in [KEY.to_owned(), KEY.to_ascii_uppercase()] {
                    // Too few digits of it, then all, twice, the second behind more digits.
                    let pad = around.repeat(before);
                    let part = &KEY[..KEY_HEX_LEN - 2];
                    let text = format!("{part} {pad}{written}{pad} {written}0a0a{written}");
                    assert_eq!(masked(&text, &[key(KEY)]), text.replace(&written, STARS));
                }
            }
        }
    }

    #[test]
    fn a_percent_encoded_key_is_masked_whichever_digits_are_encoded() {
        const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
        let encoded = |one_in: usize, upper: bool| -> String {
            let digits = KEY.bytes().enumerate();
            digits
                .map(|(at, digit)| match (at % one_in, upper) {
                    (0, true) => format!("%{:02X}", digit.to_ascii_uppercase()),
                    (0, false) => format!("%{digit:02x}"),
                    _ => char::from(digit).to_string(),
                })
                .collect()
        };
        for one_in in 1..=32 {
            for upper in [false, true] {
                let written = encoded(one_in, upper);
                let text = format!("GET /v1/logs?token={written}&x=%20{written}%20{KEY}");
                let stars = "*".repeat(written.len());
                let expected = format!("GET /v1/logs?token={stars}&x=%20{stars}%20{STARS}");
                assert_eq!(masked(&text, &[key(KEY)]), expected);
            }
        }
    }

    #[test]
    fn every_known_key_is_masked_and_an_unknown_one_stays() {
        let text = format!("{KEY}{OTHER} {OTHER}%{KEY} {OTHER}");
        assert_eq!(
            masked(&text, &[key(KEY)]),
            format!("{STARS}{OTHER} {OTHER}%{STARS} {OTHER}")
        );
        assert_eq!(
            masked(&text, &[key(KEY), key(OTHER)]),
            format!("{STARS}{STARS} {STARS}%{STARS} {STARS}")
        );
        assert_eq!(masked(&text, &[]), text);
    }
}
