//! Sizes, durations and addresses as people write them, and foreign text as errors may show it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Listen;

/// Units of size, largest first within each kind, so that the first that divides is the shortest.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Units of size without a `B`, which are binary, as systemd, Docker and `ls -h` have them.
const SHORT_SIZE_UNITS: [(&str, &str); 4] =
    [("K", "KiB"), ("M", "MiB"), ("G", "GiB"), ("T", "TiB")];

/// Units of time in milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A run of hexadecimal digits this long may be a streaming key (32) that lost some of its digits.
/// No number or size that is accepted is as long: 2^64 has 20 digits.
const SECRET_DIGITS_MIN: usize = 24;

/// Characters of a foreign text that an error shows; the rest is cut.
const SHOWN_CHARS_MAX: usize = 200;

/// Bytes from `500MB`, `10 GiB`, `10G` or `1048576`; the case of the unit does not matter.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let unit = match unit {
        "" => "B",
        unit => SHORT_SIZE_UNITS
            .iter()
            .find(|(short, _)| short.eq_ignore_ascii_case(unit))
            .map_or(unit, |(_, name)| name),
    };
    let (_, bytes) = SIZE_UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*bytes)
}

/// A size in the largest unit that shows it exactly, as a setting takes it.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let unit = SIZE_UNITS
        .iter()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    match unit {
        Some(("B", _)) | None => bytes.to_string(),
        Some((name, size)) => format!("{}{name}", bytes / size),
    }
}

/// A duration from `500ms`, `30s`, `2m` or `1h`. The unit is required: a bare number says nothing.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let (_, unit_ms) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*unit_ms).map(Duration::from_millis)
}

/// A duration in the largest unit that shows its milliseconds exactly, as a setting
/// takes it.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let unit = DURATION_UNITS
        .iter()
        .find(|(_, unit_ms)| ms > 0 && ms.is_multiple_of(u128::from(*unit_ms)));
    match unit {
        Some((name, unit_ms)) => format!("{}{name}", ms / u128::from(*unit_ms)),
        None => format!("{ms}ms"),
    }
}

/// An address and port, a port of all addresses or of `localhost`, or `off`. No name is looked up.
pub(super) fn parse_listen(text: &str) -> Option<Listen> {
    if text == "off" {
        return Some(None);
    }
    let (ip, port): (IpAddr, _) = match text.rsplit_once(':') {
        Some(("", port)) => (Ipv6Addr::UNSPECIFIED.into(), port),
        Some(("localhost", port)) => (Ipv4Addr::LOCALHOST.into(), port),
        _ => return text.parse().ok().map(Some),
    };
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_port)?;
    Some(Some(SocketAddr::new(ip, port)))
}

/// Decimal digits, then a unit that may be empty, with blanks allowed between.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit.trim_start_matches(' ')))
}

/// Foreign text as an error may show it: in one line, not endless, and without anything that may be
/// a streaming key pasted into the wrong place.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(SHOWN_CHARS_MAX));
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if out.chars().count() >= SHOWN_CHARS_MAX {
            out.push('…');
            break;
        }
        let digits = rest
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(rest.len());
        let taken = if digits >= SECRET_DIGITS_MIN {
            out.push_str("<hidden>");
            digits
        } else if digits > 0 {
            out.push_str(rest.get(..digits).unwrap_or_default());
            digits
        } else {
            if first.is_control() {
                out.extend(first.escape_default());
            } else {
                out.push(first);
            }
            first.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// The name that `typed` was probably meant to be: the nearest by edits, if few are needed.
pub(super) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any name by far: not a slip, and edits cost the product of the lengths.
    if typed.len() > 64 {
        return None;
    }
    let typed = typed.to_lowercase();
    names
        .map(|name| (edits(&typed, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits <= (name.len() / 4).max(1))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, in characters.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, a_char) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut cells = row.iter_mut();
        if let Some(cell) = cells.next() {
            *cell = left;
        }
        for (cell, b_char) in cells.zip(b.chars()) {
            let above = *cell;
            let substituted = diagonal + usize::from(a_char != b_char);
            left = substituted.min(above + 1).min(left + 1);
            *cell = left;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_take_decimal_and_binary_units_and_plain_bytes() {
        assert_eq!(parse_size("500MB"), Some(500_000_000));
        assert_eq!(parse_size("10GiB"), Some(10 << 30));
        assert_eq!(parse_size("64 mib"), Some(64 << 20));
        assert_eq!(parse_size("1048576"), Some(1 << 20));
        assert_eq!(parse_size("0"), Some(0));
        assert_eq!(parse_size("10G"), Some(10 << 30));
        assert_eq!(parse_size("64 m"), Some(64 << 20));
    }

    #[test]
    fn sizes_refuse_what_is_no_size() {
        for text in [
            "",
            "MB",
            "1.5GiB",
            "-1",
            "+1",
            "1 000",
            "1MM",
            "99999999999TiB",
            "1_000",
            "1MB ",
        ] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        for text in [
            "30",
            "s",
            "1.5s",
            "-1s",
            "1M",
            "99999999999999999999h",
            "18446744073709551615h",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_and_durations_are_shown_in_their_largest_exact_unit() {
        assert_eq!(show_size(64 << 20), "64MiB");
        assert_eq!(show_size(500_000_000), "500MB");
        assert_eq!(show_size(1023), "1023");
        assert_eq!(show_size(0), "0");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
    }

    #[test]
    fn addresses_are_ip_and_port_or_off() {
        assert_eq!(parse_listen("off"), Some(None));
        assert_eq!(
            parse_listen("[::1]:50000"),
            Some("[::1]:50000".parse().ok())
        );
        assert_eq!(
            parse_listen("localhost:8080"),
            Some("127.0.0.1:8080".parse().ok())
        );
        assert_eq!(parse_listen(":8080"), Some("[::]:8080".parse().ok()));
        for text in [
            "",
            "50000",
            ":",
            ":+80",
            ":65536",
            "localhost",
            "localhost:",
            "localhost:80:",
            "example.org:80",
            "::1:50000",
            "127.0.0.1",
            "127.0.0.1:65536",
            "OFF",
        ] {
            assert_eq!(parse_listen(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_not_shown() {
        let key = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
        assert_eq!(shown(&format!("x={key}:1")), "x=<hidden>:1");
        assert_eq!(shown(key.get(..30).unwrap()), "<hidden>");
    }

    #[test]
    fn foreign_text_cannot_forge_a_line() {
        assert_eq!(shown("a\nerror: b\u{1b}[0m"), "a\\nerror: b\\u{1b}[0m");
        assert!(shown(&"ü".repeat(10_000)).chars().count() <= SHOWN_CHARS_MAX + 1);
    }

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_does_not() {
        let names = || ["segment_size", "tcp", "http", "data_dir"].into_iter();
        assert_eq!(nearest("segmnt_size", names()), Some("segment_size"));
        assert_eq!(nearest("data-dir", names()), Some("data_dir"));
        assert_eq!(nearest("TCPS", names()), Some("tcp"));
        assert_eq!(nearest("listeners", names()), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = (parse_size(&text), parse_duration(&text), parse_listen(&text));
            let _ = nearest(&text, ["data_dir"].into_iter());
        }

        #[test]
        fn sizes_round_trip(number in any::<u64>(), shift in 0u32..64) {
            let bytes = number << shift;
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn durations_round_trip(ms in any::<u64>()) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }

        #[test]
        fn addresses_round_trip(ip in any::<std::net::IpAddr>(), port in any::<u16>()) {
            let addr = std::net::SocketAddr::new(ip, port);
            prop_assert_eq!(parse_listen(&addr.to_string()), Some(Some(addr)));
        }

        #[test]
        fn shown_text_is_one_line_without_long_hex(text in any::<String>()) {
            let shown = shown(&text);
            prop_assert!(!shown.chars().any(char::is_control));
            let longest = shown.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
            prop_assert!(longest < Some(SECRET_DIGITS_MIN));
        }
    }
}
