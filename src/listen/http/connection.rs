//! One connection, HTTP/1 or HTTP/2: told apart by its first bytes, and closed when it is time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::answer;
use super::linger::{Reclaimable, linger};
use crate::limits;
use crate::listen::{ListenerContext, Slot, Stream};
use crate::wire::key::StreamingKey;

/// The versions that TLS may agree on (ALPN), the better first. What comes is told by its first bytes all the
/// same.
pub const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What the requests of a connection share.
#[derive(Debug)]
pub(super) struct Visit {
    pub context: ListenerContext,
    pub peer: SocketAddr,
    /// The key of the last request, for closing the connection when it is revoked.
    last_key: Mutex<Option<StreamingKey>>,
    /// Requests that came.
    begun: AtomicU64,
    /// Requests that were answered, or given up.
    ended: AtomicU64,
    /// Whether the last request has a body that was not read to its end.
    unread: AtomicBool,
}

impl Visit {
    /// The request has a good key.
    pub fn authenticated(&self, key: StreamingKey) {
        *self.last_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// The body was read to its end.
    pub fn body_read(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }

    fn is_revoked(&self) -> bool {
        let key = *self.last_key.lock().unwrap_or_else(PoisonError::into_inner);
        key.is_some_and(|key| !self.context.ingest.knows(&key))
    }

    fn begin(self: &Arc<Self>, request: &Request<Incoming>) -> Open {
        use hyper::body::Body;
        self.begun.fetch_add(1, Ordering::Relaxed);
        let has_body = !request.body().is_end_stream();
        self.unread.store(has_body, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// How many requests came, and whether any is not answered yet.
    fn requests(&self) -> (u64, bool) {
        let begun = self.begun.load(Ordering::Relaxed);
        (begun, self.ended.load(Ordering::Relaxed) < begun)
    }
}

/// A request that is being answered.
struct Open(Arc<Visit>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves one connection.
pub async fn serve(stream: Stream, peer: SocketAddr, _slot: Slot, context: ListenerContext) {
    // Answers are small and awaited: they must not wait for company.
    stream.set_nodelay();
    let visit = Arc::new(Visit {
        context,
        peer,
        last_key: Mutex::default(),
        begun: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        unread: AtomicBool::new(false),
    });
    let (stream, back) = Reclaimable::new(stream);
    drive(stream, &visit).await;
    if visit.unread.load(Ordering::Relaxed)
        && let Some(stream) = back.take()
    {
        linger(stream).await;
    }
}

/// Answers requests until the connection ends.
async fn drive<S>(stream: S, visit: &Arc<Visit>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let visit = Arc::clone(visit);
        async move {
            let _open = visit.begin(&request);
            Ok::<_, Infallible>(answer(request, &visit).await)
        }
    });
    let builder = builder(visit.context.stall_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut replacements = visit.context.ingest.keys().replacements();
    let mut may_close = pin!(may_close(visit));
    let mut look = pin!(sleep(visit.context.stall_timeout));
    let mut requests_before = 0;
    let mut draining = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %visit.peer, %error, "HTTP connection ended");
                }
                return;
            }
            () = &mut may_close, if !draining => draining = true,
            Ok(()) = replacements.changed(), if !draining => {
                if !visit.is_revoked() {
                    continue;
                }
                draining = true;
            }
            () = look.as_mut() => {
                let (requests, is_open) = visit.requests();
                let idle = !is_open && requests == requests_before;
                // Who never asked anything, and who does not heed that it is over, is not waited for.
                if idle && (draining || requests == 0) {
                    return;
                }
                requests_before = requests;
                if draining || !idle {
                    let next = if draining { limits::DRAIN_READ } else { visit.context.stall_timeout };
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
}

/// Resolves when the server drains; on a connection without a request so far only after a moment, since one
/// may be on its way.
async fn may_close(visit: &Visit) {
    visit.context.drain.cancelled().await;
    if visit.requests().0 == 0 {
        sleep(limits::DRAIN_READ).await;
    }
}

fn builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(limits::HTTP_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS)
        .max_header_list_size(limits::HTTP_BUFFER_BYTES as u32)
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::HTTP_BUFFER_BYTES)
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT);
    builder
}
