//! The stream between a socket and hyper: it lets through what there is room for, and keeps back hyper's own
//! answers.
//!
//! hyper and h2 bound what one request may hold, not what all of them do together. So what a read may bring is
//! asked for here, before hyper sees it; where there is no room the socket is left alone, and TCP holds the
//! sender back.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::fields::Fields;
use super::frames::{Admission, Frames};
use super::visit::Visit;
use super::visit::one::IsFirst;
use crate::ingest::admit::Ask;
use crate::limits;

/// What HTTP/1 and HTTP/2 do differently.
#[derive(Debug)]
enum Version {
    One {
        /// The end of the first line of the head that came last, for telling what hyper did not like in it.
        line: LineEnd,
        /// The status of hyper's own answer, which was kept back.
        kept_back: Option<u16>,
    },
    Two(Frames),
}

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    visit: Arc<Visit>,
    version: Version,
    /// What was read and not let through.
    ahead: Vec<u8>,
    /// Room that is waited for, and since when.
    ask: Option<(Ask, Instant)>,
}

impl<S> Gate<S> {
    /// In front of HTTP/1. `ahead` was read already, and is known to the visit.
    pub fn one(stream: S, ahead: Vec<u8>, visit: Arc<Visit>) -> Self {
        let mut line = LineEnd::default();
        line.read(&ahead);
        let version = Version::One {
            line,
            kept_back: None,
        };
        Self::new(stream, ahead, visit, version)
    }

    /// In front of HTTP/2.
    pub fn two(stream: S, ahead: Vec<u8>, visit: Arc<Visit>) -> Self {
        Self::new(stream, ahead, visit, Version::Two(Frames::new()))
    }

    fn new(stream: S, ahead: Vec<u8>, visit: Arc<Visit>, version: Version) -> Self {
        Self {
            stream,
            visit,
            version,
            ahead,
            ask: None,
        }
    }

    /// The status of hyper's own answer, and how the first line of the head ended that it is for.
    pub fn kept_back(&self) -> Option<(u16, &[u8])> {
        match &self.version {
            Version::One {
                line,
                kept_back: Some(status),
            } => Some((*status, line.bytes())),
            _ => None,
        }
    }

    /// The stream, and what was not let through.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.ahead)
    }

    /// Waits for room, where that is waited for.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((ask, since)) = &mut self.ask {
            let reservation = ready!(Pin::new(ask).poll(cx));
            match self.version {
                Version::One { .. } => self.visit.reserved_head(reservation, since.elapsed()),
                Version::Two(_) => self.visit.reserved(reservation),
            }
            self.ask = None;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    fn poll_read_one(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let here = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(self.ahead.get(..here).unwrap_or_default());
            self.ahead.drain(..here);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let mut ask = None;
        let mut most = self.visit.may_read(&mut ask);
        if let Some(ask) = ask {
            self.ask = Some((ask, Instant::now()));
            ready!(self.poll_room(cx));
            most = self.visit.may_read(&mut None);
        }
        let before = buffer.filled().len();
        if buffer.remaining() <= most {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            // Not a part of the buffer: hyper's is not initialized, and to make it so costs more than to copy.
            let mut few = [MaybeUninit::uninit(); limits::HTTP_READ_BYTES];
            let mut few = ReadBuf::uninit(&mut few);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut few))?;
            buffer.put_slice(few.filled());
        }
        let read = buffer.filled().get(before..).unwrap_or_default();
        if let Version::One { line, .. } = &mut self.version
            && let Some(IsFirst(is_first)) = self.visit.received(read.len())
        {
            if is_first {
                *line = LineEnd::default();
            }
            line.read(read);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_two(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Version::Two(frames) = &mut self.version else {
            return Poll::Pending;
        };
        let mut ask = None;
        let mut asking = Asking {
            visit: &self.visit,
            ask: &mut ask,
            cx,
        };
        let passed = if self.ahead.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(asking.cx, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passed = frames.pass(read, &mut asking);
            self.ahead = read.get(passed..).unwrap_or_default().to_vec();
            buffer.set_filled(before + passed);
            passed
        } else {
            let here = self.ahead.get(..self.ahead.len().min(buffer.remaining()));
            let passed = frames.pass(here.unwrap_or_default(), &mut asking);
            buffer.put_slice(self.ahead.get(..passed).unwrap_or_default());
            self.ahead.drain(..passed);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            passed
        };
        let blocked = ask.map(|ask| (ask, Instant::now()));
        if blocked.is_some() {
            self.ask = blocked;
            // Whatever it says now, the waker is registered.
            if self.poll_room(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        match passed {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// The questions that frames have, with who is to be woken when the answer changes.
struct Asking<'a, 'b> {
    visit: &'a Visit,
    ask: &'a mut Option<Ask>,
    cx: &'a mut Context<'b>,
}

impl Admission for Asking<'_, '_> {
    fn request(&mut self) -> bool {
        self.visit.may_begin(self.cx)
    }

    fn head(&mut self, fields: &Fields, ends: bool) -> bool {
        self.visit.may_grow(fields, ends, self.ask, self.cx)
    }

    fn data(&mut self, bytes: usize) -> usize {
        self.visit.may_pass(bytes, self.cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(gate.poll_room(cx));
        match gate.version {
            Version::One { .. } => gate.poll_read_one(cx, buffer),
            Version::Two(_) => gate.poll_read_two(cx, buffer),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        if let Version::One { kept_back, .. } = &mut gate.version
            && gate.visit.is_foreign_answer()
        {
            keep_back(kept_back, bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut gate.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        if let Version::One { kept_back, .. } = &mut gate.version
            && gate.visit.is_foreign_answer()
        {
            keep_back(kept_back, parts.first().map_or(&[], |part| part));
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        Pin::new(&mut gate.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(Pin::new(&mut gate.stream).poll_flush(cx))?;
        if let Version::One { .. } = gate.version {
            gate.visit.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        match gate.version {
            // Something may still be to be said on it.
            Version::One { .. } => Poll::Ready(Ok(())),
            Version::Two(_) => Pin::new(&mut gate.stream).poll_shutdown(cx),
        }
    }
}

/// Notes the status of an answer: `HTTP/1.1 400 Bad Request`.
fn keep_back(status: &mut Option<u16>, bytes: &[u8]) {
    let digits = bytes.get(9..12).and_then(|d| std::str::from_utf8(d).ok());
    *status = status.or_else(|| digits?.parse().ok());
}

/// The end of a line, as it comes in pieces.
#[derive(Debug, Default)]
struct LineEnd {
    last: [u8; LINE_END_BYTES],
    is_over: bool,
}

/// As much as tells a version of HTTP.
const LINE_END_BYTES: usize = 16;

impl LineEnd {
    fn read(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        let end = memchr::memchr(b'\n', bytes);
        self.is_over = end.is_some();
        let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let last = line
            .get(line.len().saturating_sub(LINE_END_BYTES)..)
            .unwrap_or(line);
        self.last.rotate_left(last.len() % LINE_END_BYTES);
        if let Some(place) = self.last.get_mut(LINE_END_BYTES - last.len()..) {
            place.copy_from_slice(last);
        }
    }

    fn bytes(&self) -> &[u8] {
        self.last.trim_ascii_end()
    }
}
