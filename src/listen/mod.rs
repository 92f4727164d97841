//! Sockets: one file a protocol, and here what they share: binding, accepting, the bound on connections,
//! and the word that the server drains.

pub mod http;
pub mod inherited;
pub mod observe;
pub mod open;
pub mod syslog_tcp;
pub mod syslog_udp;
pub mod tcp;
pub mod tls;

mod connection;
mod enter;
mod sources;
mod stream;
mod syslog;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Failures;
use crate::control::config::CorsOrigins;
use crate::fault::Fault;
use crate::health::Health;
use crate::idempotency::Index;
use crate::in_flight::InFlight;
use crate::ingest::Ingest;
use crate::journal::Source;
use crate::limits;
use crate::meters;
use crate::network::Networks;

pub use sources::Sources;
pub use stream::Stream;
pub use syslog::Bound;
use tls::Tls;

/// What every listener works with.
#[derive(Clone, Debug)]
pub struct Door {
    /// The path of what comes in.
    pub ingest: Arc<Ingest>,
    /// The requests that were taken and may come again.
    pub idempotency: Arc<Index>,
    /// Failed authentications, by source.
    pub failures: Arc<Failures>,
    /// Memory for unfinished frames and bodies.
    pub in_flight: Arc<InFlight>,
    /// Whether the server is ready.
    pub health: Arc<Health>,
    /// Cancelled when the server begins to drain.
    pub drain: CancellationToken,
    /// The tasks that a drain waits for.
    pub tasks: TaskTracker,
    /// Connections that may still be opened, over all doors.
    pub connections: Arc<Semaphore>,
    /// Connections that each source has open.
    pub sources: Arc<Sources>,
    /// How long a connection may make no progress: before its first good key, in the head of a request,
    /// inside a frame, message or body.
    pub stall_timeout: Duration,
    /// The largest frame, bytes.
    pub max_frame_bytes: u32,
    /// The largest HTTP body, before and after decompression, bytes.
    pub max_body_bytes: usize,
    /// The pages that may send over HTTP.
    pub cors_origins: Arc<CorsOrigins>,
    /// Whose `X-Forwarded-For` and PROXY headers are believed.
    pub trusted_proxies: Networks,
    /// Whose batches may name the address that they came from.
    pub forwarders: Networks,
    /// What is particular to one listener.
    pub entrance: Arc<Entrance>,
}

/// How one listener lets connections in.
#[derive(Debug, Default)]
pub struct Entrance {
    /// Its certificate and key, or `None` in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Connections that may still be opened on it, where it has a bound of its own.
    pub connections: Option<Arc<Semaphore>>,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Where messages without a key go, and from whom; for syslog.
    pub bound: Option<Bound>,
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

/// Who sends batches: the peer for itself, or a forwarder for others.
#[derive(Clone, Copy, Debug)]
struct Sender {
    peer: SocketAddr,
    is_forwarder: bool,
}

impl Sender {
    fn new(peer: SocketAddr, door: &Door) -> Self {
        Self {
            peer,
            is_forwarder: door.forwarders.contains(peer.ip()),
        }
    }

    /// Where a batch came from that claims this.
    fn origin(&self, claimed: Option<IpAddr>) -> SocketAddr {
        match claimed {
            Some(ip) if self.is_forwarder => SocketAddr::new(ip, 0),
            _ => self.peer,
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

/// Binds `sockets` UDP sockets to one address, and says which; the kernel spreads senders over them. An
/// address of `[::]` takes IPv4 too.
pub fn bind_udp(address: SocketAddr, sockets: usize) -> io::Result<(Vec<UdpSocket>, SocketAddr)> {
    let first = udp_socket(address)?;
    // The first is bound without SO_REUSEPORT, or another server that has the address would go unnoticed.
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let first = UdpSocket::from(first);
    let bound = first.local_addr()?;
    let mut all = vec![first];
    while all.len() < sockets {
        let further = udp_socket(address)?;
        further.set_reuse_port(true)?;
        further.bind(&bound.into())?;
        all.push(further.into());
    }
    Ok((all, bound))
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Where the process may not go beyond net.core.rmem_max, the kernel grants that, without an error.
    let forced = setsockopt(&socket, RcvBufForce, &limits::UDP_RECEIVE_BUFFER_BYTES);
    if forced.is_err() {
        socket.set_recv_buffer_size(limits::UDP_RECEIVE_BUFFER_BYTES)?;
    }
    Ok(socket)
}

/// A connection counts against the bound for as long as this lives.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _of_listener: Option<OwnedSemaphorePermit>,
    _of_source: Option<sources::Place>,
    source: Source,
}

impl Drop for Slot {
    fn drop(&mut self) {
        meters::door(self.source).connection_closed();
    }
}

/// Accepts connections until the server drains, and spawns `serve` for each that gets in.
pub async fn accept<F>(
    listener: TcpListener,
    door: Door,
    source: Source,
    serve: impl Fn(Stream, SocketAddr, Slot, Door) -> F + Clone + Send + 'static,
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
        let Some((permit, of_listener)) = permits(&door) else {
            meters::door(source).connection_refused();
            if full.open() {
                tracing::warn!(
                    source = source.as_str(),
                    "max_connections is reached; closing new connections"
                );
            }
            continue;
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        // A proxy connects for many.
        let of_source = if door.trusted_proxies.contains(peer.ip()) {
            None
        } else if let Some(place) = door.sources.place(peer.ip()) {
            Some(place)
        } else {
            meters::door(source).connection_refused();
            if full.open() {
                tracing::warn!(
                    source = source.as_str(),
                    peer = %peer.ip(),
                    "max_connections_per_source is reached; closing new connections"
                );
            }
            continue;
        };
        meters::door(source).connection_opened();
        let slot = Slot {
            _permit: permit,
            _of_listener: of_listener,
            _of_source: of_source,
            source,
        };
        let (serve, door) = (serve.clone(), door.clone());
        door.tasks.clone().spawn(async move {
            // The slot is held from here on, also while the handshake goes on.
            if let Some((stream, client)) = enter::enter(stream, peer, source, &door).await {
                serve(stream, client, slot, door).await;
            }
        });
    }
}

/// A place among all connections, and among those of the listener where it has a bound of its own.
fn permits(door: &Door) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
    let take = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
    let of_listener = match &door.entrance.connections {
        Some(places) => Some(take(places)?),
        None => None,
    };
    Some((take(&door.connections)?, of_listener))
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
