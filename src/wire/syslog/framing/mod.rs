//! Cuts a TCP byte stream into syslog messages (RFC 6587).
//!
//! Both framings are understood, told apart for each message by how it starts:
//!
//! - octet counting, `MSG-LEN SP MSG` (section 3.4.1): the message is exactly so many bytes, newlines included, but for
//!   one at its end, which syslog-ng adds and counts;
//! - a trailer (section 3.4.2): the message ends before LF, CR LF or NUL. NUL is a trailer of its own because
//!   Python's `SysLogHandler` sends nothing else over TCP; `msg NUL LF` is one message and a blank.
//!
//! A run of digits before a space is a count, unless it is exactly as long as a streaming key: then it is the
//! key in front of a message, whatever its digits.
//!
//! A message over the limit is cut there and marked when a trailer will end it, because the next one can be
//! found. A count over the limit is an error: a count that lies would swallow the messages of others. So is
//! whatever follows a counted message and is neither a count nor a message: the count before it was too small
//! or too large. After an error no boundary can be trusted; the caller counts it and closes the connection.

use std::fmt;

use memchr::memchr2;

use crate::auth::key::KEY_HEX_LEN;

/// Trailer bytes that belong to a line beyond its content: CR and LF.
const LINE_TRAILER_BYTES: usize = 2;

/// Enough of a frame's start to tell a count from a key: the key and the space after it.
const DECIDING_BYTES: usize = KEY_HEX_LEN + 1;

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
        let blanks = buf.iter().take_while(|&&b| is_trailer(b)).count();
        if blanks > 0 {
            self.searched = 0;
            return Framing::Skipped { consumed: blanks };
        }
        match classify(buf, self.max_message_bytes) {
            Start::Undecided => Framing::Incomplete,
            Start::Line => self.line(buf),
            Start::Count { prefix, len } => match buf.get(prefix..prefix.saturating_add(len)) {
                Some(bytes) => {
                    self.after_counted = true;
                    Framing::Message {
                        bytes: bytes.strip_suffix(b"\n").unwrap_or(bytes),
                        truncated: false,
                        consumed: prefix + len,
                    }
                }
                None => Framing::Incomplete,
            },
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
            _ if self.after_counted && starts_message(buf) != Some(true) => {
                Framing::Malformed(FramingError::CountMismatch)
            }
            _ => self.cut_line(buf, buf, buf.len()),
        }
    }

    fn line<'b>(&mut self, buf: &'b [u8]) -> Framing<'b> {
        if self.after_counted {
            match starts_message(buf) {
                Some(true) => {}
                Some(false) => return Framing::Malformed(FramingError::CountMismatch),
                None => return Framing::Incomplete,
            }
        }
        let most = self.max_message_bytes.saturating_add(LINE_TRAILER_BYTES);
        let window = &buf[..buf.len().min(most)];
        let searched = self.searched.min(window.len());
        match memchr2(b'\n', 0, &window[searched..]) {
            Some(found) => {
                let end = searched + found;
                self.cut_line(buf, &buf[..end], end + 1)
            }
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

    /// `line` is the start of `buf`, up to its trailer.
    fn cut_line<'b>(&mut self, buf: &'b [u8], line: &'b [u8], consumed: usize) -> Framing<'b> {
        self.searched = 0;
        let content = match line.strip_suffix(b"\r") {
            Some(content) if !self.discarding => content,
            _ => line,
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
        let consumed = match memchr2(b'\n', 0, buf) {
            Some(trailer) => {
                self.discarding = false;
                trailer + 1
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

enum Start {
    Undecided,
    Line,
    Count { prefix: usize, len: usize },
    CountOverLimit,
}

fn classify(buf: &[u8], max_message_bytes: usize) -> Start {
    let window = &buf[..buf.len().min(DECIDING_BYTES)];
    match window.first() {
        None => return Start::Undecided,
        Some(b'1'..=b'9') => {}
        Some(_) => return Start::Line,
    }
    let digits = window.iter().take_while(|b| b.is_ascii_digit()).count();
    match window.get(digits) {
        None if digits == DECIDING_BYTES => Start::Line,
        None => Start::Undecided,
        Some(b' ') if digits != KEY_HEX_LEN => {
            let count = window[..digits].iter().try_fold(0usize, |count, digit| {
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
        Some(_) => Start::Line,
    }
}

/// Whether these bytes start with `<`, or with a key as a prefix; `None` while that is open.
fn starts_message(buf: &[u8]) -> Option<bool> {
    let window = &buf[..buf.len().min(DECIDING_BYTES)];
    if window.starts_with(b"<") || window.starts_with(b"\r") {
        return Some(true);
    }
    let hex = window.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    match window.get(hex) {
        None if hex < DECIDING_BYTES => None,
        next => Some(hex == KEY_HEX_LEN && next == Some(&b' ')),
    }
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
