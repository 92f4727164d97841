//! Where the parts of a syslog message are, by its shape alone.
//!
//! One place decides what is header and what is text, so that the key is cut from where a reader of the row
//! would look for it. Whether dates and numbers make sense is not asked here.

use std::ops::Range;

use memchr::memchr;

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
    /// A timestamp, then host and tag as far as they are there.
    Rfc3164(Rfc3164),
    /// No header: all that follows PRI is text.
    Text,
}

/// A message with the header of RFC 3164, section 4.1.
#[derive(Debug, PartialEq, Eq)]
pub struct Rfc3164 {
    /// The timestamp: `Mmm dd hh:mm:ss`, the same with a year, or RFC 3339 as rsyslog sends.
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
    let rest = &message[start..];
    let end = start + month_timestamp(rest).or_else(|| rfc3339_timestamp(rest))?;
    let mut parts = Rfc3164 {
        timestamp: start..end,
        host: None,
        tag: None,
        content: end,
    };
    // Some senders put a colon behind the seconds.
    let at = end + usize::from(message.get(end) == Some(&b':'));
    let Some(first) = word(message, at) else {
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
    if let Some(tag) = word(message, first.end).and_then(|word| leading_tag(message, word)) {
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

/// The word after exactly one space.
fn word(message: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = message.get(at..)?.strip_prefix(b" ")?;
    let len = rest
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(rest.len());
    (len > 0).then_some(at + 1..at + 1 + len)
}

/// The TAG that a word starts with: a program name, perhaps `[pid]`, and then a colon or the word's end.
///
/// Programs are named more freely than RFC 3164 allows, but a quote or a brace starts a text, not a name.
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
    let ends = matches!(bytes.get(len), None | Some(b':'));
    (name > 0 && ends).then(|| word.start..word.start + len)
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

/// Length of `Mmm dd hh:mm:ss` or `Mmm dd yyyy hh:mm:ss`.
fn month_timestamp(rest: &[u8]) -> Option<usize> {
    if !rest.get(..3)?.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    let mut at = skip_spaces(rest, 3)?;
    at = skip_digits(rest, at, 2)?;
    at = skip_spaces(rest, at)?;
    if let Some(year_end) = skip_digits(rest, at, 4).filter(|end| end - at == 4) {
        at = skip_spaces(rest, year_end)?;
    }
    at = skip_digits(rest, at, 2)?;
    for _minute_and_second in 0..2 {
        if rest.get(at) != Some(&b':') {
            return None;
        }
        at = skip_digits(rest, at + 1, 2)?;
    }
    matches!(rest.get(at), None | Some(b' ' | b':')).then_some(at)
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

/// The byte after 1 to `most` digits.
fn skip_digits(rest: &[u8], at: usize, most: usize) -> Option<usize> {
    let digits = leading_digits(rest.get(at..)?);
    (1..=most).contains(&digits).then_some(at + digits)
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
                "34|text|Oct 11 22:14:15.123 h a: b",
            ),
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
