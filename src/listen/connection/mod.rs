//! One connection of a protocol without acknowledgements: read, hand over, keep the rest, close.
//!
//! Bytes are read into a buffer of the thread and handed to the protocol from there, so that a connection
//! which waits holds no buffer, and whole frames are never copied. Only an unfinished frame is kept, in a
//! buffer of the connection's own, which grows as bytes arrive and goes when the frame is complete.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::fault::Refusal;
use crate::ingest::admit::{Reservation, Standing};
use crate::limits;
use crate::listen::ListenerContext;
use crate::origin::{Source, SourceAddress};

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::READ_BYTES]);
}

/// A protocol over a byte stream.
pub(super) trait Protocol {
    /// Takes as much of `bytes` as is whole. Synchronous: nothing waits inside.
    fn receive(&mut self, bytes: &[u8]) -> Progress;

    /// Takes the rest at the end of the stream.
    fn end(&mut self, rest: &[u8]) -> Progress;

    /// Whether something authenticated came.
    fn is_authenticated(&self) -> bool;

    /// Whether the keys that were used are still good, after the keyring was replaced.
    fn keys_still_good(&mut self) -> bool;
}

/// How far a protocol got with the bytes it was given.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes that are done with.
    pub consumed: usize,
    /// What to do next.
    pub next: Next,
}

/// What a connection does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Read on.
    Read,
    /// The journal has no room: stop reading, which closes the sender's window, and offer the rest again.
    AwaitRoom,
    /// Close.
    Close(Refusal),
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// The peer closed it.
    ByPeer,
    /// The peer, or the network, broke it.
    Broken(io::Error),
    /// The server drains.
    Drained,
    /// It was closed for a fault.
    Closed(Refusal),
}

enum Turn {
    Progress(Next),
    /// There may be something to read, and there is no room for it.
    Crowded,
    EndOfStream,
}

/// Serves a connection to its end, and counts and logs how it ended.
pub(super) async fn serve<S: AsyncRead + Unpin>(
    mut stream: S,
    protocol: impl Protocol,
    source: Source,
    peer: SocketAddr,
    context: &ListenerContext,
) {
    let source_name = source.as_str();
    match run(&mut stream, protocol, peer, context).await {
        Ended::ByPeer | Ended::Drained => {}
        Ended::Broken(error) => {
            tracing::debug!(%peer, source = source_name, %error, "connection broken");
        }
        Ended::Closed(fault) => {
            tracing::debug!(%peer, source = source_name, %fault, "connection closed");
            context.refuse(source, peer, &fault).await;
        }
    }
}

async fn run<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut protocol: impl Protocol,
    peer: SocketAddr,
    context: &ListenerContext,
) -> Ended {
    let mut rest = BytesMut::new();
    let mut held: Option<Reservation> = None;
    let memory = context.ingest.memory();
    let from = SourceAddress::of(peer.ip());
    let mut replacements = context.ingest.keys().replacements();
    let mut drained = pin!(context.drain.cancelled());
    let mut deadline = pin!(tokio::time::sleep(context.stall_timeout));
    let mut drain_until: Option<Instant> = None;
    // It waited for room so long that it looks whether its peer is still there.
    let mut looks_next = false;
    loop {
        let unauthenticated = !protocol.is_authenticated();
        let inside_a_frame = !rest.is_empty();
        if inside_a_frame && !unauthenticated {
            // The time to the first good key is one stretch; after that each byte buys more of it.
            deadline
                .as_mut()
                .reset(Instant::now() + context.stall_timeout);
        }
        let journal = context.ingest.journal();
        // Created before the look, so that room which appears in between is not missed.
        let room = journal.room();
        let looks = std::mem::take(&mut looks_next);
        let heeds_room = drain_until.is_none() && !looks;
        let crowded = heeds_room && journal.is_crowded();
        let most = if looks {
            limits::CROWDED_READ_BYTES
        } else {
            limits::READ_BYTES
        };
        let turn = poll_fn(|cx| {
            // It may have waited long for something to read: there was room when it began.
            if heeds_room && journal.is_crowded() {
                return Poll::Ready(Ok(Turn::Crowded));
            }
            poll_turn(Pin::new(&mut *stream), &mut protocol, &mut rest, most, cx)
        });
        // Reading comes first: while bytes arrive, nothing else is even looked at but the drain's deadline.
        let turn = tokio::select! {
            biased;
            turn = turn, if !crowded && drain_until.is_none_or(|until| Instant::now() < until) => turn,
            () = room, if crowded => continue,
            // A little is read all the same, or the end of the stream would not be seen.
            () = async { tokio::time::sleep(limits::CROWDED_LOOK).await }, if crowded && !inside_a_frame => {
                looks_next = true;
                continue;
            }
            () = async { tokio::time::sleep(QUIET).await }, if drain_until.is_some() => return Ended::Drained,
            () = &mut drained, if drain_until.is_none() => {
                drain_until = Some(Instant::now() + limits::DRAIN_READ);
                continue;
            }
            Ok(()) = replacements.changed() => {
                if !protocol.keys_still_good() {
                    return Ended::Closed(Refusal::Revoked);
                }
                continue;
            }
            () = &mut deadline, if unauthenticated || (inside_a_frame && !crowded) => {
                return Ended::Closed(Refusal::TimedOut(context.stall_timeout.as_secs()));
            }
        };
        let next = match turn {
            Err(error) => return Ended::Broken(error),
            Ok(Turn::Progress(next)) => next,
            Ok(Turn::Crowded) => continue,
            Ok(Turn::EndOfStream) => {
                let ended = offer(
                    &mut protocol,
                    &mut rest,
                    &mut replacements,
                    context,
                    |protocol, rest| protocol.end(rest),
                )
                .await;
                return ended.unwrap_or(Ended::ByPeer);
            }
        };
        match next {
            Next::Read => {}
            Next::Close(fault) => return Ended::Closed(fault),
            Next::AwaitRoom => {
                let ended = offer(
                    &mut protocol,
                    &mut rest,
                    &mut replacements,
                    context,
                    |protocol, rest| protocol.receive(rest),
                )
                .await;
                if let Some(ended) = ended {
                    return ended;
                }
            }
        }
        if rest.len() <= limits::UNRESERVED_BYTES {
            held = None;
        } else if held.as_ref().is_none_or(|held| held.bytes() < rest.len()) {
            drop(held.take());
            let standing = match protocol.is_authenticated() {
                true => Standing::Known,
                false => Standing::Stranger,
            };
            held = Some(memory.ask(from, standing, rest.len()).await);
        }
        if context.drain.is_cancelled() && drain_until.is_none() {
            drain_until = Some(Instant::now() + limits::DRAIN_READ);
        }
    }
}

/// How long nothing may come before a draining connection counts as quiet.
const QUIET: Duration = Duration::from_millis(50);

/// Offers the rest until the journal takes it. Nothing is read meanwhile, but a revoked key is heeded: the
/// journal may be full for hours. A drain is not: what was taken of the connection is saved, or the
/// shutdown's deadline says that it could not be.
async fn offer<P: Protocol>(
    protocol: &mut P,
    rest: &mut BytesMut,
    replacements: &mut watch::Receiver<()>,
    context: &ListenerContext,
    take: impl Fn(&mut P, &[u8]) -> Progress,
) -> Option<Ended> {
    loop {
        let room = context.ingest.journal().room();
        let progress = take(protocol, rest);
        rest.advance(progress.consumed);
        match progress.next {
            Next::Read => return None,
            Next::Close(fault) => return Some(Ended::Closed(fault)),
            Next::AwaitRoom => {}
        }
        tokio::select! {
            () = room => {}
            Ok(()) = replacements.changed() => {
                if !protocol.keys_still_good() {
                    return Some(Ended::Closed(Refusal::Revoked));
                }
            }
        }
    }
}

/// Reads once, at most `most` bytes with a small rest, and hands what came, behind the kept rest, to the
/// protocol.
fn poll_turn<S: AsyncRead>(
    stream: Pin<&mut S>,
    protocol: &mut impl Protocol,
    rest: &mut BytesMut,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Turn>> {
    if rest.len() > limits::COPIED_REST_BYTES {
        rest.reserve(limits::READ_BYTES);
        if ready!(poll_read_buf(stream, cx, rest))? == 0 {
            return Poll::Ready(Ok(Turn::EndOfStream));
        }
        let progress = protocol.receive(rest);
        rest.advance(progress.consumed);
        if rest.len() <= limits::COPIED_REST_BYTES {
            // Give the large buffer back.
            *rest = BytesMut::from(&rest[..]);
        }
        return Poll::Ready(Ok(Turn::Progress(progress.next)));
    }
    READ.with_borrow_mut(|buffer| {
        let kept = rest.len();
        let end = most.max(kept + 1).min(buffer.len());
        let mut behind = ReadBuf::new(&mut buffer[kept..end]);
        ready!(stream.poll_read(cx, &mut behind))?;
        let read = behind.filled().len();
        if read == 0 {
            return Poll::Ready(Ok(Turn::EndOfStream));
        }
        buffer[..kept].copy_from_slice(rest);
        let bytes = &buffer[..kept + read];
        let progress = protocol.receive(bytes);
        let left = &bytes[progress.consumed..];
        if left.is_empty() {
            if kept > 0 {
                *rest = BytesMut::new();
            }
        } else {
            // A large buffer is not kept for a small rest.
            if rest.capacity() > limits::COPIED_REST_BYTES {
                *rest = BytesMut::new();
            }
            rest.clear();
            rest.extend_from_slice(left);
        }
        Poll::Ready(Ok(Turn::Progress(progress.next)))
    })
}
