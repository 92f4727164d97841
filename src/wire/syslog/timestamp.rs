//! Timestamps as senders write them: that of RFC 3164 with what devices add to it, and RFC 3339.
//!
//! Fields are read here, not judged: whether there is a February 30 is asked when a row is made
//! ([`crate::tables::syslog`]).

/// The fields of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// `None` where the sender gives none.
    pub year: Option<i16>,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    /// As written.
    pub hour: u8,
    /// As written.
    pub minute: u8,
    /// As written: 60 is a leap second.
    pub second: u8,
    /// Of the second.
    pub nanos: u32,
    /// Seconds east of UTC; `None` for the sender's local time.
    pub offset_secs: Option<i32>,
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Zones as devices abbreviate them. Other words in capitals may be programs.
const ABBREVIATIONS: [&[u8]; 30] = [
    b"ACDT", b"ACST", b"AEDT", b"AEST", b"AWST", b"BRT", b"BST", b"CDT", b"CEST", b"CET", b"CST",
    b"EDT", b"EEST", b"EET", b"EST", b"HKT", b"IST", b"JST", b"KST", b"MDT", b"MSK", b"MST",
    b"NZDT", b"NZST", b"PDT", b"PST", b"SAST", b"SGT", b"WEST", b"WET",
];

const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// A timestamp at the start of these bytes, and its length: `Mmm dd hh:mm:ss`, perhaps with a weekday or a year
/// before the month, a year before or behind the time, a fraction, and a zone.
///
/// UTC, GMT and Z are a zone, and so is an offset. Another abbreviation in front of a colon, as Cisco has it, names
/// the sender's local time: too many of them mean several zones.
pub fn read_month_first(bytes: &[u8]) -> Option<(Timestamp, usize)> {
    let mut reader = Reader { bytes, at: 0 };
    let mut year = reader.attempt(|reader| {
        let year = reader.year()?;
        reader.spaces()?;
        Some(year)
    });
    if year.is_none() {
        reader.attempt(|reader| {
            reader.name(&WEEKDAYS)?;
            reader.spaces()
        });
    }
    let month = reader.name(&MONTHS)?;
    reader.spaces()?;
    let day = reader.number(1, 2)?;
    reader.spaces()?;
    if year.is_none() {
        year = reader.attempt(|reader| {
            let year = reader.year()?;
            reader.spaces()?;
            Some(year)
        });
    }
    let (hour, minute, second) = reader.time()?;
    let nanos = reader.fraction();
    if year.is_none() {
        year = reader.attempt(|reader| {
            reader.spaces()?;
            let year = reader.year()?;
            // `2001:db8::1` is a host.
            let rest = reader.rest();
            (rest.is_empty() || rest.starts_with(b" ") || rest.starts_with(b": ")).then_some(year)
        });
    }
    let offset_secs = reader.attempt(|reader| {
        reader.spaces()?;
        reader.zone()
    });
    let timestamp = Timestamp {
        year,
        month: month + 1,
        day,
        hour,
        minute,
        second,
        nanos,
        offset_secs: offset_secs.flatten(),
    };
    reader.ends().then_some((timestamp, reader.at))
}

/// A word that is a timestamp of RFC 3339, whose offset may be missing.
pub fn read_rfc3339(word: &[u8]) -> Option<Timestamp> {
    let mut reader = Reader { bytes: word, at: 0 };
    let year = reader.year()?;
    reader.eat(b'-')?;
    let month = reader.number(2, 2)?;
    reader.eat(b'-')?;
    let day = reader.number(2, 2)?;
    reader.eat(b'T').or_else(|| reader.eat(b't'))?;
    let (hour, minute, second) = reader.time()?;
    let nanos = reader.fraction();
    let offset_secs = match reader.peek() {
        None => None,
        Some(b'Z' | b'z') => {
            reader.at += 1;
            Some(0)
        }
        Some(_) => Some(reader.offset(true)?),
    };
    let timestamp = Timestamp {
        year: Some(year),
        month,
        day,
        hour,
        minute,
        second,
        nanos,
        offset_secs,
    };
    (reader.at == word.len()).then_some(timestamp)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    /// Where reading fails, nothing is consumed.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.at;
        let found = read(self);
        if found.is_none() {
            self.at = before;
        }
        found
    }

    /// Whether the timestamp may end here.
    fn ends(&self) -> bool {
        matches!(self.peek(), None | Some(b' ' | b':'))
    }

    fn spaces(&mut self) -> Option<()> {
        let spaces = self.rest().iter().take_while(|b| **b == b' ').count();
        self.at += spaces;
        (spaces > 0).then_some(())
    }

    /// The place of the name that stands here.
    fn name(&mut self, names: &[&[u8; 3]]) -> Option<u8> {
        let word = self.rest().get(..3)?;
        let place = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(word))?;
        self.at += 3;
        u8::try_from(place).ok()
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let rest = self.rest();
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits < least || digits > most {
            return None;
        }
        let value = rest[..digits]
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        self.at += digits;
        Some(value)
    }

    fn number(&mut self, least: usize, most: usize) -> Option<u8> {
        u8::try_from(self.digits(least, most)?).ok()
    }

    fn year(&mut self) -> Option<i16> {
        i16::try_from(self.digits(4, 4)?).ok()
    }

    fn time(&mut self) -> Option<(u8, u8, u8)> {
        let hour = self.number(1, 2)?;
        self.eat(b':')?;
        let minute = self.number(1, 2)?;
        self.eat(b':')?;
        Some((hour, minute, self.number(1, 2)?))
    }

    /// Nanoseconds; digits beyond nine count for nothing. 0 where there is no fraction.
    fn fraction(&mut self) -> u32 {
        let fraction = self.attempt(|reader| {
            reader.eat(b'.').or_else(|| reader.eat(b','))?;
            let rest = reader.rest();
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let nine = rest[..digits].iter().chain([b'0'; 9].iter()).take(9);
            let nanos = nine.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
            reader.at += digits;
            (digits > 0).then_some(nanos)
        });
        fraction.unwrap_or_default()
    }

    /// A zone; its offset is `None` where it names the sender's local time.
    fn zone(&mut self) -> Option<Option<i32>> {
        if let Some(offset) = self.attempt(|reader| reader.offset(false).filter(|_| reader.ends()))
        {
            return Some(Some(offset));
        }
        let letters = self.rest().iter().take_while(|b| b.is_ascii_uppercase());
        let len = letters.count();
        let word = self.rest().get(..len)?;
        let is_utc = matches!(word, b"UTC" | b"GMT" | b"Z");
        let behind = self.rest().get(len..).unwrap_or_default();
        let is_local = (2..=5).contains(&len)
            && behind.starts_with(b":")
            && (behind.starts_with(b": %") || ABBREVIATIONS.contains(&word));
        self.at += len;
        (self.ends() && (is_utc || is_local)).then_some(is_utc.then_some(0))
    }

    /// `+hh:mm`; the colon may be missing where it need not be there.
    fn offset(&mut self, needs_colon: bool) -> Option<i32> {
        let sign = match self.peek()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        let (hours, minutes) = match self.attempt(|reader| {
            let hours = reader.digits(2, 2)?;
            reader.eat(b':')?;
            Some((hours, reader.digits(2, 2)?))
        }) {
            Some(parts) => parts,
            None if needs_colon => return None,
            None => {
                let both = self.digits(4, 4)?;
                (both / 100, both % 100)
            }
        };
        let secs = i32::try_from(hours * 3600 + minutes * 60).ok()?;
        (hours < 24 && minutes < 60).then_some(sign * secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields, and what is behind them.
    fn read(text: &str) -> Option<String> {
        let (found, len) = read_month_first(text.as_bytes())?;
        Some(format!("{}|{}", shown(&found), &text[len..]))
    }

    fn shown(found: &Timestamp) -> String {
        format!(
            "{:?} {}-{} {}:{}:{}.{} {:?}",
            found.year,
            found.month,
            found.day,
            found.hour,
            found.minute,
            found.second,
            found.nanos,
            found.offset_secs
        )
        .replace("None", "-")
        .replace("Some", "")
    }

    #[test]
    fn what_devices_add_to_the_timestamp_of_rfc_3164_is_read() {
        for (text, expected) in [
            ("Nov 25 07:00:03 h", "- 11-25 7:0:3.0 -| h"),
            ("nov  5 7:00:03: x", "- 11-5 7:0:3.0 -|: x"),
            ("Nov 05 07:00:03.833 h", "- 11-5 7:0:3.833000000 -| h"),
            (
                "Nov 25 07:00:03,8333334445 h",
                "- 11-25 7:0:3.833333444 -| h",
            ),
            ("Nov 25 2026 07:00:03 h", "(2026) 11-25 7:0:3.0 -| h"),
            ("Nov 25 07:00:03 2026 h", "(2026) 11-25 7:0:3.0 -| h"),
            (
                "Nov 25 07:00:03.833 2026  h",
                "(2026) 11-25 7:0:3.833000000 -|  h",
            ),
            (
                "2026 Nov 25 07:00:03 UTC: x",
                "(2026) 11-25 7:0:3.0 (0)|: x",
            ),
            ("Wed Nov 25 07:00:03 2026", "(2026) 11-25 7:0:3.0 -|"),
            ("Nov 25 07:00:03 CEST: x", "- 11-25 7:0:3.0 -|: x"),
            (
                "Nov 25 07:00:03 XYZ: %A-1-B: x",
                "- 11-25 7:0:3.0 -|: %A-1-B: x",
            ),
            ("Nov 25 07:00:03 CRON: x", "- 11-25 7:0:3.0 -| CRON: x"),
            ("Nov 25 07:00:03 GMT h", "- 11-25 7:0:3.0 (0)| h"),
            ("Nov 25 07:00:03 +0130 h", "- 11-25 7:0:3.0 (5400)| h"),
            ("Nov 25 07:00:03 -01:00: x", "- 11-25 7:0:3.0 (-3600)|: x"),
            // Hosts, not zones or years.
            ("Nov 25 07:00:03 CEST h", "- 11-25 7:0:3.0 -| CEST h"),
            (
                "Nov 25 07:00:03 2001:db8::7 a: x",
                "- 11-25 7:0:3.0 -| 2001:db8::7 a: x",
            ),
            ("Nov 25 07:00:03 2026: x", "(2026) 11-25 7:0:3.0 -|: x"),
            ("Nov 25 07:00:03 20260 h", "- 11-25 7:0:3.0 -| 20260 h"),
            ("Nov 25 07:00:03 UTC1: x", "- 11-25 7:0:3.0 -| UTC1: x"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "Nov",
            "Now 25 07:00:03 h",
            "Nov 25 07:00 h",
            "Nov 25 07:00:03x h",
            "Nov 25 07:00:03. h",
            "Nov 253 07:00:03 h",
            "November 25 07:00:03",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn rfc_3339_is_read_and_needs_the_colon_of_its_offset() {
        for (text, expected) in [
            ("2026-11-25T07:00:03Z", Some("(2026) 11-25 7:0:3.0 (0)")),
            (
                "2026-11-25t07:00:03.833333+01:00",
                Some("(2026) 11-25 7:0:3.833333000 (3600)"),
            ),
            (
                "2026-11-25T07:00:03-00:30",
                Some("(2026) 11-25 7:0:3.0 (-1800)"),
            ),
            ("2026-11-25T07:00:03", Some("(2026) 11-25 7:0:3.0 -")),
            ("2026-11-25T07:00:03+0000", None),
            ("2026-11-25T07:00:03+24:00", None),
            ("2026-11-25", None),
            ("2026-11-25T07:00:03Zx", None),
        ] {
            let found = read_rfc3339(text.as_bytes());
            assert_eq!(found.as_ref().map(shown).as_deref(), expected, "{text}");
        }
    }
}
