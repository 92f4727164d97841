//! Sockets: one file a protocol, and here what they share: binding, accepting, the bound on connections,
//! and the word that the server drains.

pub mod http;
pub mod observe;
pub mod syslog_tcp;
pub mod syslog_udp;
pub mod tcp;

mod connection;
mod syslog;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Failures;
use crate::control::config::CorsOrigins;
use crate::fault::Fault;
use crate::health::Health;
use crate::ingest::Ingest;
use crate::journal::Source;
use crate::limits;
use crate::meters;

/// What every listener works with.
#[derive(Clone, Debug)]
pub struct Door {
    /// The path of what comes in.
    pub ingest: Arc<Ingest>,
    /// Failed authentications, by source.
    pub failures: Arc<Failures>,
    /// Whether the server is ready.
    pub health: Arc<Health>,
    /// Cancelled when the server begins to drain.
    pub drain: CancellationToken,
    /// The tasks that a drain waits for.
    pub tasks: TaskTracker,
    /// Connections that may still be opened, over all doors.
    pub connections: Arc<Semaphore>,
    /// The largest frame, bytes.
    pub max_frame_bytes: u32,
    /// The largest HTTP body, before and after decompression, bytes.
    pub max_body_bytes: usize,
    /// The pages that may send over HTTP.
    pub cors_origins: Arc<CorsOrigins>,
}

impl Door {
    /// Counts a refusal, and delays its answer where the source keeps failing to authenticate.
    async fn refuse(&self, source: Source, peer: SocketAddr, fault: &Fault) {
        meters::door(source).refused(fault, 1);
        if fault.is_failed_authentication() {
            let delay = self.failures.note(peer.ip());
            if !delay.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = self.drain.cancelled() => {}
                }
            }
        }
    }
}

/// Binds a TCP listener. An address of `[::]` takes IPv4 too.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restarted server must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::ACCEPT_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Binds a UDP socket. An address of `[::]` takes IPv4 too.
pub fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The kernel grants what net.core.rmem_max allows, without an error.
    socket.set_recv_buffer_size(limits::UDP_RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A connection counts against the bound for as long as this lives.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    source: Source,
}

impl Drop for Slot {
    fn drop(&mut self) {
        meters::door(self.source).connection_closed();
    }
}

/// Accepts connections until the server drains, and spawns `serve` for each.
pub async fn accept<F>(
    listener: TcpListener,
    door: Door,
    source: Source,
    serve: impl Fn(TcpStream, SocketAddr, Slot, Door) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut full = LogGate::default();
    let mut failing = LogGate::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The client gave up before it was accepted: nothing is wrong here.
                if error.kind() == io::ErrorKind::ConnectionAborted {
                    continue;
                }
                meters::door(source).accept_failed();
                if failing.open() {
                    tracing::warn!(%error, source = source.as_str(), "cannot accept connections; trying again");
                }
                tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&door.connections).try_acquire_owned() else {
            meters::door(source).connection_refused();
            if full.open() {
                tracing::warn!(
                    source = source.as_str(),
                    "max_connections is reached; closing new connections"
                );
            }
            continue;
        };
        meters::door(source).connection_opened();
        let slot = Slot {
            _permit: permit,
            source,
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        door.tasks.spawn(serve(stream, peer, slot, door.clone()));
    }
}

/// Lets a log line through at most once in [`limits::LOG_INTERVAL`].
#[derive(Debug, Default)]
pub struct LogGate {
    last: Option<Instant>,
}

impl LogGate {
    /// Whether the line may be logged now.
    pub fn open(&mut self) -> bool {
        self.open_at(Instant::now(), limits::LOG_INTERVAL)
    }

    fn open_at(&mut self, now: Instant, interval: Duration) -> bool {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < interval)
        {
            return false;
        }
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gate_opens_once_an_interval() {
        let mut gate = LogGate::default();
        let start = Instant::now();
        let interval = Duration::from_secs(5);
        assert!(gate.open_at(start, interval));
        assert!(!gate.open_at(start + Duration::from_millis(4999), interval));
        assert!(gate.open_at(start + interval, interval));
        assert!(!gate.open_at(start + interval, interval));
    }
}
