//! Where the parts of a syslog message are, by its shape alone.
//!
//! One place decides what is header and what is text, so that the key is cut from where a reader of the row
//! would look for it. Whether dates and numbers make sense is not asked here.

use std::ops::Range;

use memchr::memchr;

use super::timestamp::read_month_first;

/// The byte order mark that may open MSG (RFC 5424, section 6.4), or the stream of a careless sender.
pub const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The largest PRIVAL: facility 23, severity 7.
const MAX_PRIORITY: u16 = 191;

/// The parts of one message, as positions in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// PRIVAL; `None` where there is none, or one over 191.
    pub priority: Option<u8>,
    /// The byte after PRI, or the first byte after a byte order mark.
    pub start: usize,
    /// What follows.
    pub layout: Layout,
}

/// The shape of a message after its PRI.
#[derive(Debug, PartialEq, Eq)]
pub enum Layout {
    /// `VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP` and then STRUCTURED-DATA.
    Rfc5424 {
        /// Where STRUCTURED-DATA starts.
        structured_data: usize,
    },
    /// A timestamp, and host and tag as far as they are there.
    Rfc3164(Rfc3164),
    /// No header: all that follows PRI is text.
    Text,
}

/// A message with the header of RFC 3164, section 4.1.
#[derive(Debug, PartialEq, Eq)]
pub struct Rfc3164 {
    /// The timestamp: `Mmm dd hh:mm:ss` and what devices add to it, or RFC 3339 as rsyslog sends.
    pub timestamp: Range<usize>,
    /// HOSTNAME.
    pub host: Option<Range<usize>>,
    /// TAG with its `[pid]`, without its colon.
    pub tag: Option<Range<usize>>,
    /// Where CONTENT starts.
    pub content: usize,
}

impl Header {
    /// Finds the parts of a message.
    pub fn locate(message: &[u8]) -> Self {
        let first = if message.starts_with(BOM) {
            BOM.len()
        } else {
            0
        };
        let (priority, start) = match read_priority(&message[first..]) {
            Some((priority, len)) => (Some(priority), first + len),
            None => (None, first),
        };
        let rfc5424 = priority
            .and_then(|_| locate_structured_data(message, start))
            .map(|structured_data| Layout::Rfc5424 { structured_data });
        let layout = rfc5424
            .or_else(|| locate_rfc3164(message, start).map(Layout::Rfc3164))
            .unwrap_or(Layout::Text);
        Self {
            priority,
            start,
            layout,
        }
    }
}

/// Whether a message, perhaps behind a key, seems to be of RFC 5424, whose times have a zone. Costs next to nothing.
pub fn is_rfc5424(message: &[u8]) -> bool {
    let proper = memchr(b'<', message).and_then(|at| message.get(at..));
    let priority = proper.and_then(|proper| Some((proper, read_priority(proper)?.1)));
    priority.is_some_and(|(proper, len)| proper[len..].starts_with(b"1 "))
}

/// `<PRIVAL>` and its length.
fn read_priority(message: &[u8]) -> Option<(u8, usize)> {
    let digits = message.strip_prefix(b"<")?;
    let len = leading_digits(digits);
    if len == 0 || len > 3 || digits.get(len) != Some(&b'>') {
        return None;
    }
    let value = digits[..len]
        .iter()
        .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let priority = u8::try_from(value).ok().filter(|_| value <= MAX_PRIORITY)?;
    Some((priority, len + 2))
}

fn locate_structured_data(message: &[u8], start: usize) -> Option<usize> {
    let version = leading_digits(message.get(start..)?);
    if version == 0 || version > 3 || message.get(start) == Some(&b'0') {
        return None;
    }
    let mut at = skip_spaces(message, start + version)?;
    for _ in 0..5 {
        at += memchr(b' ', message.get(at..)?)?;
        at = skip_spaces(message, at)?;
    }
    Some(at)
}

/// The byte after a run of at least one space.
fn skip_spaces(message: &[u8], at: usize) -> Option<usize> {
    let spaces = leading_spaces(message.get(at..)?);
    (spaces > 0).then_some(at + spaces)
}

fn locate_rfc3164(message: &[u8], start: usize) -> Option<Rfc3164> {
    let start = start + leading_spaces(message.get(start..)?);
    let (timestamp, host) = locate_timestamp(message, start)?;
    let end = timestamp.end;
    let mut parts = Rfc3164 {
        timestamp,
        host,
        tag: None,
        content: end,
    };
    // Some senders put a colon behind the time.
    let mut at = end + usize::from(message.get(end) == Some(&b':'));
    if at == end {
        // A year behind the time may have more spaces behind it.
        let is_year = |digits: &[u8]| digits.len() == 4 && digits.iter().all(u8::is_ascii_digit);
        let spaces = leading_spaces(message.get(at..)?);
        if spaces > 1 && is_year(message.get(at - 4..at).unwrap_or_default()) {
            at += spaces - 1;
        }
    }
    let first = word(message, at).filter(|word| !is_named_format(&message[word.clone()]));
    let Some(first) = first else {
        parts.content = content_start(message, at);
        return Some(parts);
    };
    if message[first.clone()].ends_with(b":") {
        // `su:` right after the time is a program without its host, as syslog(3) writes it.
        parts.content = content_start(message, first.end - 1);
        parts.tag = Some(first.start..first.end - 1).filter(|tag| !tag.is_empty());
        return Some(parts);
    }
    parts.content = first.end;
    if let Some(tag) = locate_tag(message, first.end) {
        parts.content = tag.end;
        parts.tag = Some(tag);
    }
    parts.content = content_start(message, parts.content);
    // Where a template's tag was empty, the spaces around it remain.
    let empty_tag = parts.tag.is_none() && message.get(parts.content) == Some(&b' ');
    parts.content += usize::from(empty_tag);
    parts.host = Some(first);
    Some(parts)
}

/// The timestamp, and a host in front of it.
///
/// Cisco's devices send `counter:`, perhaps their name and a colon, and `*` or `.` where the clock is not synchronized,
/// all before the time; of the counter, the digits may be missing.
fn locate_timestamp(message: &[u8], start: usize) -> Option<(Range<usize>, Option<Range<usize>>)> {
    if let Some(timestamp) = timestamp_at(message, start) {
        return Some((timestamp, None));
    }
    let counter = start + leading_digits(message.get(start..)?);
    if message.get(counter) != Some(&b':') {
        return None;
    }
    let at = counter + 1;
    let at = at + leading_spaces(message.get(at..)?);
    if let Some(timestamp) = timestamp_at(message, at) {
        return Some((timestamp, None));
    }
    let colon = at + memchr(b':', message.get(at..)?)?;
    let is_word = !message[at..colon].iter().any(u8::is_ascii_whitespace);
    let behind = colon + 1;
    let behind = behind + leading_spaces(message.get(behind..)?);
    let timestamp = timestamp_at(message, behind).filter(|_| is_word && colon > at)?;
    Some((timestamp, Some(at..colon)))
}

fn timestamp_at(message: &[u8], at: usize) -> Option<Range<usize>> {
    let mark = usize::from(matches!(message.get(at), Some(b'*' | b'.')));
    let at = at + mark;
    let rest = message.get(at..)?;
    let len = read_month_first(rest)
        .map(|(_, len)| len)
        .or_else(|| rfc3339_timestamp(rest))?;
    Some(at..at + len)
}

/// The tag behind the host. A lone colon in front of it, as ASA sends, and a counter, as IOS sends through relays, are
/// passed over.
fn locate_tag(message: &[u8], at: usize) -> Option<Range<usize>> {
    let first = word(message, at)?;
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let bytes = &message[first.clone()];
    if bytes == b":" || bytes.strip_suffix(b":").is_some_and(is_number) {
        let next = word(message, first.end).and_then(|word| leading_tag(message, word));
        let next = next.filter(|tag| message[tag.start] == b'%');
        if next.is_some() {
            return next;
        }
    }
    leading_tag(message, first)
}

/// The word after exactly one space.
fn word(message: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = message.get(at..)?.strip_prefix(b" ")?;
    let len = rest
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(rest.len());
    (len > 0).then_some(at + 1..at + 1 + len)
}

/// The TAG that a word starts with: a program name and then `[pid]`, a colon or both.
///
/// Programs are named more freely than RFC 3164 allows, but a quote or a brace starts a text, not a name, and a word
/// with nothing behind it is the first of a text.
fn leading_tag(message: &[u8], word: Range<usize>) -> Option<Range<usize>> {
    let bytes = &message[word.clone()];
    let name = bytes
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || b"_-./@+()#%~*$!".contains(b))
        .count();
    let mut len = name;
    if bytes.get(name) == Some(&b'[') {
        len += memchr(b']', &bytes[name..])? + 1;
    }
    let ends = match bytes.get(len) {
        None => len > name,
        Some(next) => *next == b':',
    };
    (name > 0 && ends && !is_named_format(bytes)).then(|| word.start..word.start + len)
}

/// Whether a text starts here in a format that opens with its own name and a colon, for those who read it.
fn is_named_format(word: &[u8]) -> bool {
    word.starts_with(b"CEF:") || word.starts_with(b"LEEF:")
}

/// CONTENT starts after the tag's colon, if there is one, and after one space.
fn content_start(message: &[u8], at: usize) -> usize {
    let rest = message.get(at..).unwrap_or_default();
    let spaces = leading_spaces(rest);
    let colon = if rest.get(spaces) == Some(&b':') {
        spaces + 1
    } else {
        0
    };
    at + colon + usize::from(rest.get(colon) == Some(&b' '))
}

/// Length of a word that starts like `2026-01-02T`.
fn rfc3339_timestamp(rest: &[u8]) -> Option<usize> {
    let marks = [(4, b'-'), (7, b'-'), (10, b'T')];
    let is_date = marks.iter().all(|&(at, mark)| rest.get(at) == Some(&mark));
    if !is_date || leading_digits(rest) != 4 {
        return None;
    }
    Some(memchr(b' ', rest).unwrap_or(rest.len()))
}

fn leading_digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

fn leading_spaces(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&b| b == b' ').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Priority, then the parts in order, `|` between them.
    fn parts(message: &str) -> String {
        let header = Header::locate(message.as_bytes());
        let shown = match header.layout {
            Layout::Rfc5424 { structured_data } => format!("5424|{}", &message[structured_data..]),
            Layout::Rfc3164(parts) => {
                let text = |range: Option<Range<usize>>| {
                    range.map_or("", |range| &message[range]).to_owned()
                };
                format!(
                    "3164|{}|{}|{}|{}",
                    &message[parts.timestamp],
                    text(parts.host),
                    text(parts.tag),
                    &message[parts.content..]
                )
            }
            Layout::Text => format!("text|{}", &message[header.start..]),
        };
        match header.priority {
            Some(priority) => format!("{priority}|{shown}"),
            None => shown,
        }
    }

    #[test]
    fn the_parts_of_a_message_are_found() {
        for (message, expected) in [
            (
                "<34>1 2003-10-11T22:14:15.003Z h su - ID47 - text",
                "34|5424|- text",
            ),
            (
                "\u{feff}<34>1 - - - - - [a x=\"1\"] text",
                "34|5424|[a x=\"1\"] text",
            ),
            ("<34>1 - - - -", "34|text|1 - - - -"),
            (
                "<34>Oct 11 22:14:15 h su[12]: text",
                "34|3164|Oct 11 22:14:15|h|su[12]|text",
            ),
            (
                "<34>Oct  1 2026 22:14:15: h su:  text",
                "34|3164|Oct  1 2026 22:14:15|h|su| text",
            ),
            (
                "<34>Oct 11 22:14:15 su: text",
                "34|3164|Oct 11 22:14:15||su|text",
            ),
            (
                "<34>Oct 11 22:14:15 : text",
                "34|3164|Oct 11 22:14:15|||text",
            ),
            (
                "<34>Oct 11 22:14:15 h  text",
                "34|3164|Oct 11 22:14:15|h||text",
            ),
            (
                "<34>Oct 11 22:14:15 h {\"a\": 1}",
                "34|3164|Oct 11 22:14:15|h||{\"a\": 1}",
            ),
            (
                "<34>Oct 11 22:14:15 h a: - b",
                "34|3164|Oct 11 22:14:15|h|a|- b",
            ),
            (
                "<34>Oct 11 22:14:15 fe80::1 a: b",
                "34|3164|Oct 11 22:14:15|fe80::1|a|b",
            ),
            (
                "<34>2026-01-02T03:04:05Z h a: b",
                "34|3164|2026-01-02T03:04:05Z|h|a|b",
            ),
            ("Oct 11 22:14:15 h a: b", "3164|Oct 11 22:14:15|h|a|b"),
            ("<34>Oct 11 22:14:15", "34|3164|Oct 11 22:14:15|||"),
            (
                "<34>Oct 11 22:14:15.123 h a: b",
                "34|3164|Oct 11 22:14:15.123|h|a|b",
            ),
            (
                "<34>Oct 11 22:14:15 h disk is full",
                "34|3164|Oct 11 22:14:15|h||disk is full",
            ),
            (
                "<34>Oct 11 22:14:15 h app[3] text",
                "34|3164|Oct 11 22:14:15|h|app[3]|text",
            ),
            (
                "<34>Oct 11 22:14:15.123 2026  h a: b",
                "34|3164|Oct 11 22:14:15.123 2026|h|a|b",
            ),
            (
                "<34>12: *Oct 11 22:14:15.123: %SYS-5-X: b",
                "34|3164|Oct 11 22:14:15.123||%SYS-5-X|b",
            ),
            (
                "<34>12: sw1: .Oct 11 22:14:15 CET: %SYS-5-X: b",
                "34|3164|Oct 11 22:14:15 CET|sw1|%SYS-5-X|b",
            ),
            (
                "<34>12: RP/0/CPU0:Oct 11 22:14:15: a[1]: b",
                "34|3164|Oct 11 22:14:15|RP/0/CPU0|a[1]|b",
            ),
            (
                "<34>: 2026 Oct 11 22:14:15 UTC: %A-5-B: b",
                "34|3164|2026 Oct 11 22:14:15 UTC||%A-5-B|b",
            ),
            (
                "<34>Oct 11 22:14:15 h : %ASA-6-1: b",
                "34|3164|Oct 11 22:14:15|h|%ASA-6-1|b",
            ),
            (
                "<34>Oct 11 22:14:15 h 12: %SYS-5-X: b",
                "34|3164|Oct 11 22:14:15|h|%SYS-5-X|b",
            ),
            (
                "<34>Oct 11 22:14:15 h 12: b",
                "34|3164|Oct 11 22:14:15|h|12|b",
            ),
            (
                "<34>Oct 11 22:14:15 h CEF:0|a b|c",
                "34|3164|Oct 11 22:14:15|h||CEF:0|a b|c",
            ),
            (
                "<34>Oct 11 22:14:15 LEEF:1.0|a b",
                "34|3164|Oct 11 22:14:15|||LEEF:1.0|a b",
            ),
            ("<34>12: text", "34|text|12: text"),
            ("<34>12: sw1: text: x", "34|text|12: sw1: text: x"),
            ("<34>text", "34|text|text"),
            ("<192>text", "text|<192>text"),
            ("<1234>text", "text|<1234>text"),
            ("<>text", "text|<>text"),
            ("", "text|"),
        ] {
            assert_eq!(parts(message), expected, "{message:?}");
        }
    }
}
