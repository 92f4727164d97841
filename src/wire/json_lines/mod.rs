//! The bodies of `POST /v1/events` and `POST /v1/logs`: JSON lines, judged one by one.
//!
//! What is wrong with a line is that line's own error; the others are accepted. A body without faults
//! is kept as it came, without a copy. One JSON array counts as the lines that its elements would be, one object on
//! several lines as one line; both are kept as lines. Lone surrogates are replaced ([`super::surrogates`]). Turning lines into rows is left to [`crate::tables::decode`],
//! which reads them with the same rules: [`event_line`] and [`log_line`].

mod line;

use bytes::Bytes;
use memchr::memchr;

pub(crate) use line::id_text;
pub use line::{EventLine, IgnoreRest, LineFault, LogLine, Misfits, Rest, event_line, log_line};

use crate::wire::json::{self, JsonError};
use crate::wire::surrogates;

/// The longest line. A log line with a stack trace takes tens of kilobytes; beyond a megabyte it is a
/// file sent by mistake.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// How many errors an answer lists. All are counted; a client needs a few to see what it does wrong.
pub const MAX_LISTED_ERRORS: usize = 100;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What the lines must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Lines of `POST /v1/events`.
    Event,
    /// Lines of `POST /v1/logs`.
    Log,
}

/// What became of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many lines are accepted.
    pub accepted: u64,
    /// How many lines are refused.
    pub rejected: u64,
    /// Lone surrogates in the accepted lines, which are U+FFFD in what is kept.
    pub replaced: u64,
    /// The first [`MAX_LISTED_ERRORS`] refusals.
    pub errors: Vec<LineError>,
    /// The accepted lines, as they came, each ended by a newline. Blank lines may be among them.
    /// Empty if no line is accepted.
    pub kept: Bytes,
}

/// Why a line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Number of the line, from 1, blank lines counted; in an array that of the element.
    pub line: u64,
    /// What is wrong, and what would be right. Shows nothing of the line's content.
    pub error: String,
}

/// Judges every line of `body`.
///
/// Blank lines are skipped; `\r\n`, a missing final newline and a byte order mark are accepted.
pub fn check(kind: LineKind, body: &Bytes) -> Checked {
    let came = match body.strip_prefix(BYTE_ORDER_MARK) {
        Some(lines) => body.slice_ref(lines),
        None => body.clone(),
    };
    let body = match surrogates::replace_lone(&came) {
        Some(text) => Body {
            text: text.into(),
            came: Some(came),
        },
        None => Body {
            text: came,
            came: None,
        },
    };
    check_one_value(kind, &body).unwrap_or_else(|| check_lines(kind, &body))
}

/// A body without lone surrogates.
struct Body {
    text: Bytes,
    /// With them, where there were any: of the same length.
    came: Option<Bytes>,
}

impl Body {
    /// How many lone surrogates were in a part of the text.
    fn replaced_in(&self, part: &[u8]) -> u64 {
        let Some(came) = &self.came else { return 0 };
        let start = part.as_ptr().addr() - self.text.as_ptr().addr();
        let part = came.get(start..start + part.len());
        part.map_or(0, surrogates::count_lone)
    }
}

/// Judges a body that is one array, or one object on several lines; `None` if it is neither.
fn check_one_value(kind: LineKind, body: &Body) -> Option<Checked> {
    let first = body.text.trim_ascii_start().first()?;
    if !matches!(first, b'[' | b'{') {
        return None;
    }
    let text = str::from_utf8(&body.text).ok()?;
    let mut checked = Checked::default();
    let mut kept = Vec::new();
    let mut number = 0;
    let mut element = |value: &str| {
        number += 1;
        match judge(kind, value.as_bytes()) {
            Ok(()) => {
                checked.accepted += 1;
                checked.replaced += body.replaced_in(value.as_bytes());
                // Between the tokens of JSON a line break is a blank, and inside of them there is none.
                kept.extend(value.bytes().map(|byte| match byte {
                    b'\n' | b'\r' => b' ',
                    other => other,
                }));
                kept.push(b'\n');
            }
            Err(fault) => checked.refuse(number, &fault),
        }
    };
    if *first == b'[' {
        if json::elements(text, |value| element(value.get())).is_err() {
            // A first line that is whole is a line. Else single lines of the array could pass as objects.
            let first = lines(text.as_bytes()).find(|line| !line.is_blank())?;
            if json::is_value(str::from_utf8(first.text).ok()?) {
                return None;
            }
            checked = Checked::default();
            checked.refuse(1, &LineFault::BrokenArray);
            return Some(checked);
        }
    } else if is_object_on_several_lines(kind, text) {
        element(text.trim_ascii());
    } else {
        return None;
    }
    checked.kept = Bytes::from(kept);
    Some(checked)
}

/// Whether the first line is not whole, but the whole is.
fn is_object_on_several_lines(kind: LineKind, text: &str) -> bool {
    let first = lines(text.as_bytes()).find(|line| !line.is_blank());
    let is_cut = first.is_some_and(|line| {
        line.has_newline
            && matches!(
                judge(kind, line.text),
                Err(LineFault::Json(JsonError::Syntax { .. }))
            )
    });
    is_cut && json::is_value(text)
}

fn check_lines(kind: LineKind, body: &Body) -> Checked {
    let text = &body.text;
    let mut checked = Checked::default();
    // Once a line is refused, or the last one lacks its newline: the accepted lines so far.
    let mut copy: Option<Vec<u8>> = None;
    for line in lines(text) {
        if line.is_blank() {
            continue;
        }
        match judge(kind, line.text) {
            Ok(()) => {
                checked.accepted += 1;
                checked.replaced += body.replaced_in(line.text);
                let copied = match &mut copy {
                    Some(copied) => copied,
                    None if line.has_newline => continue,
                    None => copy.insert(before(text, line.start)),
                };
                copied.extend_from_slice(line.text);
                copied.push(b'\n');
            }
            Err(fault) => {
                checked.refuse(line.number, &fault);
                copy.get_or_insert_with(|| before(text, line.start));
            }
        }
    }
    if checked.accepted > 0 {
        checked.kept = match copy {
            Some(copied) => Bytes::from(copied),
            None => text.slice(..memchr::memrchr(b'\n', text).map_or(0, |end| end + 1)),
        };
    }
    checked
}

impl Checked {
    fn refuse(&mut self, line: u64, fault: &LineFault) {
        self.rejected += 1;
        if self.errors.len() < MAX_LISTED_ERRORS {
            let error = fault.to_string();
            self.errors.push(LineError { line, error });
        }
    }
}

fn judge(kind: LineKind, line: &[u8]) -> Result<(), LineFault> {
    match kind {
        LineKind::Event => event_line(line, &mut IgnoreRest).map(drop),
        LineKind::Log => log_line(line, &mut IgnoreRest).map(drop),
    }
}

fn before(body: &[u8], start: usize) -> Vec<u8> {
    let mut copied = Vec::with_capacity(body.len() + 1);
    copied.extend_from_slice(body.get(..start).unwrap_or_default());
    copied
}

/// One line of a body.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// From 1; blank lines count.
    pub number: u64,
    /// The line without its newline; a carriage return before that is still there.
    pub text: &'a [u8],
    /// Where it starts in the body.
    pub start: usize,
    has_newline: bool,
}

impl Line<'_> {
    /// Whether there is nothing on it but white space.
    pub fn is_blank(&self) -> bool {
        self.text.trim_ascii_start().is_empty()
    }
}

/// The lines of `body`, the last with or without its newline.
pub fn lines(body: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let (mut rest, mut start, mut number) = (body, 0, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (text, after, has_newline) = match memchr(b'\n', rest) {
            Some(end) => {
                let (text, after) = rest.split_at(end);
                (text, after.get(1..).unwrap_or_default(), true)
            }
            None => (rest, &[][..], false),
        };
        number += 1;
        let line = Line {
            number,
            text,
            start,
            has_newline,
        };
        start += rest.len() - after.len();
        rest = after;
        Some(line)
    })
}

/// What the fuzzer checks.
#[doc(hidden)]
pub mod fuzz {
    use bytes::Bytes;

    use super::{LineKind, check, lines};

    /// Every line that is not blank is accepted or refused, and what is kept passes again, unchanged.
    pub fn fuzz_json_lines(data: &[u8]) {
        let body = Bytes::copy_from_slice(data);
        for kind in [LineKind::Event, LineKind::Log] {
            let once = check(kind, &body);
            let kept = lines(&once.kept).filter(|line| !line.is_blank());
            assert_eq!(kept.count() as u64, once.accepted);
            assert!(once.kept.is_empty() || once.kept.ends_with(b"\n"));
            assert_eq!(once.errors.is_empty(), once.rejected == 0);
            let twice = check(kind, &once.kept);
            assert_eq!((twice.accepted, twice.rejected), (once.accepted, 0));
            assert_eq!(twice.kept, once.kept);
        }
    }
}

#[cfg(test)]
mod tests;
