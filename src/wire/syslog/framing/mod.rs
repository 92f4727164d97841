//! Cuts a TCP byte stream into syslog messages (RFC 6587).
//!
//! Both framings are understood, told apart for each message by how it starts:
//!
//! - octet counting, `MSG-LEN SP MSG` (section 3.4.1): the message is exactly so many bytes, newlines included, but for
//!   one at its end, which syslog-ng adds and counts;
//! - a trailer (section 3.4.2): the message ends before LF, CR LF or NUL. Where the first message of the stream
//!   that has a trailer ends in NUL, as Python's `SysLogHandler` sends, only NUL ends the later ones, so that a
//!   traceback stays one message. `msg NUL LF` is one message and a blank.
//!
//! Digits and a space are a count where a message starts behind them, with `<PRI>` or a key; else they start a
//! line such as `200 OK`. As many digits as a key has are the key in front of a message, whatever its digits.
//!
//! A message over the limit is cut there and marked when a trailer will end it, because the next one can be
//! found. A count over the limit is an error: a count that lies would swallow the messages of others. So is
//! whatever follows a counted message and is neither a count nor a message: the count before it was too small
//! or too large. Where that is seen in time, the message in front of it is not delivered either: it is not what
//! its sender wrote. After an error no boundary can be trusted; the caller counts it and closes the connection.

use std::fmt;

use memchr::{memchr, memchr2};

use super::header::BOM;
use crate::wire::key::KEY_HEX_LEN;

/// Trailer bytes that belong to a line beyond its content: CR, LF and NUL.
const LINE_TRAILER_BYTES: usize = 3;

/// A key and the space after it: enough to tell a key from a count or a line.
const KEY_WORD_BYTES: usize = KEY_HEX_LEN + 1;

/// Enough of a frame's start to know what it is: a count and its space, both no longer than a key and its space, and
/// what a message starts with. (Of byte order marks in a row it takes one.)
const DECIDING_BYTES: usize = KEY_WORD_BYTES + BOM.len() + KEY_WORD_BYTES;

/// The most digits in `<PRI>`.
const PRIORITY_DIGITS: usize = 3;

/// What stands at the start of the buffered bytes.
#[derive(PartialEq, Eq)]
pub enum Framing<'b> {
    /// More bytes are needed; nothing can be dropped.
    Incomplete,
    /// One message, without its count or trailer and never empty.
    Message {
        /// The message, at most as long as the limit.
        bytes: &'b [u8],
        /// It was longer than the limit; what did not fit is lost.
        truncated: bool,
        /// Bytes of the buffer that are done with.
        consumed: usize,
    },
    /// Bytes without a message: blank lines, or what is left of a line over the limit.
    Skipped {
        /// Bytes of the buffer that are done with.
        consumed: usize,
    },
    /// The stream cannot be cut any further.
    Malformed(FramingError),
}

/// Shows lengths only: a message may hold a key.
impl fmt::Debug for Framing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("Incomplete"),
            Self::Message {
                bytes,
                truncated,
                consumed,
            } => f
                .debug_struct("Message")
                .field("len", &bytes.len())
                .field("truncated", truncated)
                .field("consumed", consumed)
                .finish(),
            Self::Skipped { consumed } => f
                .debug_struct("Skipped")
                .field("consumed", consumed)
                .finish(),
            Self::Malformed(error) => f.debug_tuple("Malformed").field(error).finish(),
        }
    }
}

/// Why a stream cannot be cut any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The count of an octet-counted message is over the limit.
    #[error("octet count over the limit of {max_message_bytes} bytes a message")]
    CountOverLimit {
        /// The limit.
        max_message_bytes: usize,
    },
    /// After an octet-counted message stands neither a count nor a message.
    #[error("an octet count does not match its message: what follows is neither a count nor `<`")]
    CountMismatch,
    /// The stream ended inside an octet-counted message.
    #[error("the stream ended inside an octet-counted message")]
    CutShort,
}

/// The state of one connection between reads: how far was looked, and what to skip. Holds no bytes itself.
#[derive(Clone, Debug)]
pub struct Framer {
    max_message_bytes: usize,
    /// Bytes of the unfinished line that hold no trailer, so that a slow sender's line is searched once.
    searched: usize,
    /// The rest of a line over the limit is on its way.
    discarding: bool,
    /// The message before was octet-counted.
    after_counted: bool,
    trailer: Trailer,
}

/// What ends a message that is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trailer {
    /// Not known yet: no such message has ended.
    Open,
    /// LF, and NUL too: senders mix them.
    LineFeedOrNul,
    /// NUL alone.
    Nul,
}

impl Framer {
    /// A framer at the start of a stream. A limit of 0 is taken as 1, so that no message is empty.
    pub const fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes: if max_message_bytes == 0 {
                1
            } else {
                max_message_bytes
            },
            searched: 0,
            discarding: false,
            after_counted: false,
            trailer: Trailer::Open,
        }
    }

    /// With this many bytes buffered [`Framer::next`] is never [`Framing::Incomplete`]: what a read buffer must hold.
    pub const fn enough_buffer_bytes(&self) -> usize {
        self.max_message_bytes
            .saturating_add(DECIDING_BYTES + LINE_TRAILER_BYTES)
    }

    /// Looks at the start of `buf`: all bytes received and not yet consumed.
    ///
    /// The caller drops the `consumed` bytes before the next call, and otherwise only appends.
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Framing<'b> {
        if self.discarding {
            return self.discard(buf);
        }
        let blanks = leading(buf, |byte| is_trailer(*byte));
        if blanks > 0 {
            self.searched = 0;
            return Framing::Skipped { consumed: blanks };
        }
        match classify(buf, self.max_message_bytes) {
            Start::Undecided => Framing::Incomplete,
            Start::Line => self.line(buf),
            Start::Count { prefix, len } => self.counted(buf, prefix, len),
            Start::CountOverLimit => Framing::Malformed(FramingError::CountOverLimit {
                max_message_bytes: self.max_message_bytes,
            }),
        }
    }

    /// As [`Framer::next`] when no more bytes will come: a last line needs no trailer.
    ///
    /// [`Framing::Incomplete`] then means that nothing is left.
    pub fn finish<'b>(&mut self, buf: &'b [u8]) -> Framing<'b> {
        let framing = self.next(buf);
        if framing != Framing::Incomplete || buf.is_empty() {
            return framing;
        }
        match classify(buf, self.max_message_bytes) {
            Start::Count { .. } => Framing::Malformed(FramingError::CutShort),
            Start::Undecided if is_count_and_bracket(buf) => {
                Framing::Malformed(FramingError::CutShort)
            }
            _ if self.after_counted && may_start_frame(buf) != Some(true) => {
                Framing::Malformed(FramingError::CountMismatch)
            }
            _ => self.cut_line(buf, buf, buf.len()),
        }
    }

    fn counted<'b>(&mut self, buf: &'b [u8], prefix: usize, len: usize) -> Framing<'b> {
        let end = prefix.saturating_add(len);
        let (Some(bytes), Some(rest)) = (buf.get(prefix..end), buf.get(end..)) else {
            return Framing::Incomplete;
        };
        if may_start_frame(rest) == Some(false) {
            return Framing::Malformed(FramingError::CountMismatch);
        }
        self.after_counted = true;
        Framing::Message {
            bytes: bytes.strip_suffix(b"\n").unwrap_or(bytes),
            truncated: false,
            consumed: end,
        }
    }

    fn line<'b>(&mut self, buf: &'b [u8]) -> Framing<'b> {
        if self.after_counted {
            match may_start_frame(buf) {
                Some(true) => {}
                Some(false) => return Framing::Malformed(FramingError::CountMismatch),
                None => return Framing::Incomplete,
            }
        }
        let most = self.max_message_bytes.saturating_add(LINE_TRAILER_BYTES);
        let window = &buf[..buf.len().min(most)];
        let searched = self.searched.min(window.len());
        let found = self.find_trailer(&window[searched..]);
        match found.map(|found| self.first_trailer(window, searched + found)) {
            Some(end) => self.cut_line(buf, &buf[..end], end + 1),
            None if window.len() == most => {
                self.discarding = true;
                self.cut_line(buf, window, most)
            }
            None => {
                self.searched = window.len();
                Framing::Incomplete
            }
        }
    }

    fn find_trailer(&self, bytes: &[u8]) -> Option<usize> {
        match self.trailer {
            Trailer::Nul => memchr(0, bytes),
            Trailer::Open | Trailer::LineFeedOrNul => memchr2(b'\n', 0, bytes),
        }
    }

    /// Where the line ends whose trailer seems to be at `end`. That of the first line says what trailers are.
    fn first_trailer(&mut self, window: &[u8], end: usize) -> usize {
        if self.trailer != Trailer::Open {
            return end;
        }
        // A traceback may be the first message: then a NUL is behind its lines, none of which starts a message.
        let nul = end + memchr(0, &window[end..]).unwrap_or_default();
        let lines = &window[end..nul];
        let is_text = |at| may_start_frame(&window[at + 1..]) == Some(false);
        let is_one_message = !lines.ends_with(b"\n")
            && memchr::memchr_iter(b'\n', lines).all(|at| is_text(end + at));
        let ends_in_nul = window[end] == 0 || (nul > end && is_one_message);
        self.trailer = if ends_in_nul {
            Trailer::Nul
        } else {
            Trailer::LineFeedOrNul
        };
        if ends_in_nul { nul } else { end }
    }

    /// `line` is the start of `buf`, up to its trailer.
    fn cut_line<'b>(&mut self, buf: &'b [u8], line: &'b [u8], consumed: usize) -> Framing<'b> {
        self.searched = 0;
        let content = if self.discarding {
            line
        } else {
            without_line_end(line)
        };
        if content.is_empty() {
            return Framing::Skipped { consumed };
        }
        self.after_counted = false;
        let truncated = content.len() > self.max_message_bytes;
        let bytes = if truncated {
            &buf[..character_boundary(buf, self.max_message_bytes)]
        } else {
            content
        };
        Framing::Message {
            bytes,
            truncated,
            consumed,
        }
    }

    fn discard<'b>(&mut self, buf: &'b [u8]) -> Framing<'b> {
        if buf.is_empty() {
            return Framing::Incomplete;
        }
        let consumed = match self.find_trailer(buf) {
            Some(end) => {
                self.discarding = false;
                if self.trailer == Trailer::Open {
                    self.trailer = match buf[end] {
                        0 => Trailer::Nul,
                        _ => Trailer::LineFeedOrNul,
                    };
                }
                end + 1
            }
            None => buf.len(),
        };
        Framing::Skipped { consumed }
    }
}

/// The message of a UDP datagram (RFC 5426): all of it but a trailer, which some senders add here too.
pub fn datagram_message(datagram: &[u8]) -> &[u8] {
    let is_last = |b: &u8| !is_trailer(*b) && *b != b'\r';
    let len = datagram.iter().rposition(is_last).map_or(0, |at| at + 1);
    &datagram[..len]
}

/// Without one CR, LF or CR LF: before NUL the latter two may stand as well.
fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

enum Start {
    Undecided,
    Line,
    Count { prefix: usize, len: usize },
    CountOverLimit,
}

fn classify(buf: &[u8], max_message_bytes: usize) -> Start {
    let Some(digits) = count_digits(buf) else {
        return match buf.first() {
            None => Start::Undecided,
            Some(_) => Start::Line,
        };
    };
    match buf.get(digits) {
        None => return Start::Undecided,
        Some(b' ') if digits != KEY_HEX_LEN => {}
        _ => return Start::Line,
    }
    match starts_message(&buf[digits + 1..]) {
        None => return Start::Undecided,
        Some(false) => return Start::Line,
        Some(true) => {}
    }
    let count = buf[..digits].iter().try_fold(0usize, |count, digit| {
        count
            .checked_mul(10)?
            .checked_add(usize::from(digit - b'0'))
            .filter(|&count| count <= max_message_bytes)
    });
    match count {
        Some(len) => Start::Count {
            prefix: digits + 1,
            len,
        },
        None => Start::CountOverLimit,
    }
}

/// How many digits a count at the start of these bytes has, at most as many as a key; `None` if there is none.
fn count_digits(buf: &[u8]) -> Option<usize> {
    let window = &buf[..buf.len().min(KEY_WORD_BYTES)];
    let digits = leading(window, u8::is_ascii_digit);
    let is_count = matches!(window.first(), Some(b'1'..=b'9')) && digits <= KEY_HEX_LEN;
    is_count.then_some(digits)
}

/// Whether a message starts here: with `<PRI>` or a key in front, perhaps behind a byte order mark; `None` while
/// that is open.
fn starts_message(buf: &[u8]) -> Option<bool> {
    match buf.first()? {
        b'<' => {
            let digits = leading(
                &buf[1..buf.len().min(PRIORITY_DIGITS + 2)],
                u8::is_ascii_digit,
            );
            let next = buf.get(1 + digits);
            match next {
                None => (digits > PRIORITY_DIGITS).then_some(false),
                Some(next) => Some(*next == b'>' && (1..=PRIORITY_DIGITS).contains(&digits)),
            }
        }
        b'\xEF' => match buf.strip_prefix(BOM) {
            Some(rest) if rest.starts_with(BOM) => Some(false),
            Some(rest) => starts_message(rest),
            None => (!BOM.starts_with(buf)).then_some(false),
        },
        _ => {
            let window = &buf[..buf.len().min(KEY_WORD_BYTES)];
            let hex = leading(window, u8::is_ascii_hexdigit);
            match window.get(hex) {
                None if hex <= KEY_HEX_LEN => None,
                next => Some(hex == KEY_HEX_LEN && next == Some(&b' ')),
            }
        }
    }
}

/// Whether these bytes may be a frame, as after a counted message they must: trailers, then a message or its count;
/// `None` while that is open.
fn may_start_frame(buf: &[u8]) -> Option<bool> {
    let buf = &buf[leading(buf, |byte| is_trailer(*byte))..];
    if matches!(buf.first()?, b'<' | b'\r') {
        return Some(true);
    }
    match (starts_message(buf), count_digits(buf)) {
        // As many digits as a key has.
        (Some(true), _) => Some(true),
        (open, Some(digits)) => match buf.get(digits) {
            Some(b' ') if digits != KEY_HEX_LEN => starts_message(&buf[digits + 1..]),
            Some(_) => open,
            None => None,
        },
        (other, None) => other,
    }
}

/// Whether these bytes are a count and the start of a `<PRI>` that is not whole.
fn is_count_and_bracket(buf: &[u8]) -> bool {
    count_digits(buf).is_some_and(|digits| buf[digits..].starts_with(b" <"))
}

/// How many bytes at the start are such.
fn leading(bytes: &[u8], is_such: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_such(byte)).count()
}

const fn is_trailer(byte: u8) -> bool {
    matches!(byte, b'\n' | 0)
}

/// The last place up to `at`, and after the first byte, that is not inside a UTF-8 character; `at` if there is none.
fn character_boundary(buf: &[u8], at: usize) -> usize {
    let is_continuation = |at: &usize| buf.get(*at).is_some_and(|b| b & 0xC0 == 0x80);
    (at.saturating_sub(3).max(1)..=at)
        .rev()
        .find(|at| !is_continuation(at))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests;
