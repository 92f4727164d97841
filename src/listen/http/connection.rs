//! One connection, HTTP/1 or HTTP/2: told apart by its first bytes, and closed when it is time.
//!
//! An HTTP/1 connection on which nothing goes on is taken back from hyper, and handed to it again when the head of
//! a request is there: in between nothing is kept but the socket, and what came of the head.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until};

use super::frames::PREFACE;
use super::gate::Gate;
use super::linger::{Reclaimable, linger};
use super::visit::Visit;
use super::visit::one::{Late, Progress};
use super::{answer, refusal};
use crate::fault::Refusal;
use crate::limits;
use crate::listen::{ListenerContext, Slot, Stream};

/// The versions that TLS may agree on (ALPN), the better first. What comes is told by its first bytes all the
/// same.
pub const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Serves one connection.
pub async fn serve(mut stream: Stream, peer: SocketAddr, _slot: Slot, context: ListenerContext) {
    // Answers are small and awaited: they must not wait for company.
    stream.set_nodelay();
    let visit = Visit::new(context, peer);
    let mut end = pin!(must_end(&visit));
    let mut ahead = Vec::new();
    let mut may_be_two = true;
    loop {
        match arrives(&mut stream, &mut ahead, may_be_two, &visit, end.as_mut()).await {
            Arrival::Head => {}
            Arrival::Over => return stream.close().await,
            Arrival::Late => {
                drop(ahead);
                return refusal::send(stream, &visit.head_late(), &visit).await;
            }
        }
        if may_be_two && ahead.starts_with(PREFACE) {
            visit.begin_two();
            return Box::pin(two(stream, ahead, &visit, end)).await;
        }
        may_be_two = false;
        match Box::pin(one(stream, ahead, &visit, end.as_mut())).await {
            Ended::Idle(idle, read) => (stream, ahead) = (idle, read),
            Ended::Closed(stream) => return stream.close().await,
            Ended::Unread(stream) => return linger(stream).await,
            Ended::Refused(stream, fault) => return refusal::send(stream, &fault, &visit).await,
        }
    }
}

/// Resolves when the server drains, on a connection without a request so far only after a moment, since one may
/// be on its way; and when the last key that was good on the connection is revoked.
async fn must_end(visit: &Visit) {
    let mut replacements = visit.context.ingest.keys().replacements();
    let drained = async {
        visit.context.drain.cancelled().await;
        if visit.requests().0 == 0 {
            sleep(limits::DRAIN_READ).await;
        }
    };
    let revoked = async {
        while replacements.changed().await.is_ok() {
            if visit.is_revoked() {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        () = drained => {}
        () = revoked => {}
    }
}

/// What came on a connection on which nothing was under way.
enum Arrival {
    /// The head of a request, whole or with room for what is still to come of it; or the beginning of HTTP/2.
    Head,
    /// Its end: the peer's, or ours because nothing came.
    Over,
    /// A part of a head, and no more of it in time.
    Late,
}

/// Waits until the head of the next request is there, with nothing in hand but the socket and what came of it.
/// As long as it `may_be_two`, for as much as tells the versions of HTTP apart.
async fn arrives(
    stream: &mut Stream,
    ahead: &mut Vec<u8>,
    may_be_two: bool,
    visit: &Visit,
    end: Pin<&mut impl Future<Output = ()>>,
) -> Arrival {
    visit.head_so_far(ahead.len());
    let head = async {
        let mut searched = 0;
        loop {
            if may_be_two && PREFACE.starts_with(ahead.get(..PREFACE.len()).unwrap_or(ahead)) {
                if ahead.len() >= PREFACE.len() {
                    return Arrival::Head;
                }
            } else if is_no_request(ahead) || has_blank_line(ahead, searched) {
                return Arrival::Head;
            } else if ahead.len() >= limits::HTTP_READ_BYTES {
                visit.room_for_head().await;
                return Arrival::Head;
            }
            searched = ahead.len();
            if !matches!(poll_fn(|cx| poll_few(stream, ahead, cx)).await, Ok(1..)) {
                return Arrival::Over;
            }
            visit.head_so_far(ahead.len());
        }
    };
    let late = async {
        loop {
            match visit.arrives_until() {
                (until, arrival) if until <= Instant::now() => return arrival,
                (until, _) => sleep_until(until).await,
            }
        }
    };
    tokio::select! {
        // In time or not, before what came: hyper may see no end of a head where there is a blank line.
        biased;
        late = late => match late {
            Late::Silent => Arrival::Over,
            Late::InHead => Arrival::Late,
        },
        head = head => head,
        () = end => Arrival::Over,
    }
}

/// Whether it begins like nothing that HTTP/1 has, so that there is nothing to wait for: TLS, for one.
fn is_no_request(read: &[u8]) -> bool {
    let is_begun = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b'\r' | b'\n');
    read.first().is_some_and(|first| !is_begun(first))
}

/// Whether there is a blank line in what was read, of which so much had none, whatever ends the lines.
fn has_blank_line(read: &[u8], searched: usize) -> bool {
    let new = read.get(searched.saturating_sub(2)..).unwrap_or_default();
    memchr::memchr_iter(b'\n', new).any(|at| {
        let behind = new.get(at + 1..).unwrap_or_default();
        behind.starts_with(b"\n") || behind.starts_with(b"\r\n")
    })
}

/// Reads what is there through the stack, so that nothing is allocated while nothing is.
fn poll_few(
    stream: &mut Stream,
    read: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let mut few = [MaybeUninit::uninit(); limits::HTTP_READ_BYTES];
    let most = few.len().saturating_sub(read.len());
    let mut few = ReadBuf::uninit(few.get_mut(..most).unwrap_or_default());
    ready!(Pin::new(stream).poll_read(cx, &mut few))?;
    read.reserve_exact(few.filled().len());
    read.extend_from_slice(few.filled());
    Poll::Ready(Ok(few.filled().len()))
}

/// How HTTP/1 ended on a connection.
enum Ended {
    /// It did not: nothing is under way but a part of a head, with what was read of that.
    Idle(Stream, Vec<u8>),
    Closed(Stream),
    /// With a body that was not read.
    Unread(Stream),
    /// With something that hyper does not take.
    Refused(Stream, Refusal),
}

/// Answers requests of HTTP/1 until none comes for a while.
async fn one(
    stream: Stream,
    ahead: Vec<u8>,
    visit: &Arc<Visit>,
    mut end: Pin<&mut impl Future<Output = ()>>,
) -> Ended {
    let service = service_fn(|request: Request<Incoming>| {
        let open = visit.begin(&request);
        let visit = Arc::clone(visit);
        async move {
            visit.last_answer_sent().await;
            Ok::<_, Infallible>(answer(request, open, &visit).await)
        }
    });
    let gate = Gate::one(stream, ahead, Arc::clone(visit));
    let mut connection = http1::Builder::new()
        // The times are kept here: they stand still while the server is the one who waits.
        .header_read_timeout(None)
        .max_buf_size(limits::HTTP_BUFFER_BYTES)
        .max_headers(limits::HTTP_FIELDS)
        .serve_connection(TokioIo::new(gate), service);
    let mut look = pin!(sleep(limits::HTTP_IDLE_AFTER));
    let mut draining = false;
    let error = loop {
        tokio::select! {
            ended = &mut connection => break ended.err(),
            () = &mut end, if !draining => {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
                look.as_mut().reset(Instant::now() + limits::DRAIN_READ);
            }
            () = look.as_mut() => {
                let (_, is_open) = visit.requests();
                let next = match visit.progress(Instant::now()) {
                    // Who does not heed that it is over is not waited for.
                    _ if draining && !is_open => break None,
                    Progress::Busy(_) if draining => Instant::now() + limits::DRAIN_READ,
                    Progress::Busy(until) => until,
                    Progress::Idle => {
                        let parts = connection.into_parts();
                        let (stream, mut ahead) = parts.io.into_inner().into_parts();
                        ahead.splice(..0, parts.read_buf);
                        return Ended::Idle(stream, ahead);
                    }
                    Progress::Unread => break None,
                    Progress::HeadLate => {
                        let (stream, _) = connection.into_parts().io.into_inner().into_parts();
                        return Ended::Refused(stream, visit.head_late());
                    }
                };
                look.as_mut().reset(next);
            }
        }
    };
    let gate = connection.into_parts().io.into_inner();
    let fault = refusal::of(gate.kept_back(), error.as_ref());
    let (stream, _) = gate.into_parts();
    match fault {
        Some(fault) => Ended::Refused(stream, fault),
        None if visit.is_unread() => Ended::Unread(stream),
        None => {
            if let Some(error) = error {
                tracing::debug!(peer = %visit.peer, %error, "HTTP connection ended");
            }
            Ended::Closed(stream)
        }
    }
}

/// Answers requests of HTTP/2 until the connection ends.
async fn two(
    stream: Stream,
    ahead: Vec<u8>,
    visit: &Arc<Visit>,
    mut end: Pin<&mut impl Future<Output = ()>>,
) {
    let (stream, back) = Reclaimable::new(stream);
    let service = service_fn(|request: Request<Incoming>| {
        let open = visit.begin(&request);
        let visit = Arc::clone(visit);
        // In a box, which is gone when the answer is there: the task lives until that was read.
        Box::pin(async move { Ok::<_, Infallible>(answer(request, open, &visit).await) })
    });
    let gate = Gate::two(stream, ahead, Arc::clone(visit));
    let mut connection = Box::pin(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::HTTP2_STREAMS)
            .max_header_list_size(limits::HTTP_BUFFER_BYTES as u32)
            .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(limits::HTTP_BUFFER_BYTES)
            .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
            .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT)
            .serve_connection(TokioIo::new(gate), service),
    );
    let stall_timeout = visit.context.stall_timeout;
    let mut look = pin!(sleep(stall_timeout));
    let mut requests_before = 0;
    let mut waited_for_reader = false;
    let mut draining = false;
    loop {
        let turn = poll_fn(|cx| {
            visit.turn();
            connection.as_mut().poll(cx)
        });
        tokio::select! {
            ended = turn => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %visit.peer, %error, "HTTP connection ended");
                }
                break;
            }
            () = &mut end, if !draining => draining = true,
            () = look.as_mut() => {
                let (requests, is_open) = visit.requests();
                let is_still = requests == requests_before;
                // Who never asked anything, who does not heed that it is over, and who does not read what was
                // answered is not waited for.
                if is_still && !is_open && (draining || requests == 0) {
                    return;
                }
                let waits_for_reader = is_still && visit.waits_for_reader();
                if waits_for_reader && waited_for_reader {
                    return;
                }
                waited_for_reader = waits_for_reader;
                requests_before = requests;
                if draining || is_open || !is_still {
                    let next = if draining { limits::DRAIN_READ } else { stall_timeout };
                    look.as_mut().reset(Instant::now() + next);
                    continue;
                }
                draining = true;
            }
        }
        // Only what just began to drain comes here.
        connection.as_mut().graceful_shutdown();
        requests_before = visit.requests().0;
        look.as_mut().reset(Instant::now() + limits::DRAIN_READ);
    }
    drop(connection);
    if visit.is_unread()
        && let Some(stream) = back.take()
    {
        linger(stream).await;
    }
}
