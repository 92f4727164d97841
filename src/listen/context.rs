//! What every listener works with, and what is particular to one of them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::turns::Turns;
use super::sources::Sources;
use super::syslog::Bound;
use super::syslog_zone::ReceiptZone;
use crate::auth::Failures;
use crate::fault::Refusal;
use crate::ingest::Ingest;
use crate::ingest::idempotency::Index;
use crate::meters;
use crate::network::{CorsOrigins, Networks};
use crate::origin::Source;

/// What every listener works with.
#[derive(Clone, Debug)]
pub struct ListenerContext {
    /// The path of what comes in.
    pub ingest: Arc<Ingest>,
    /// The requests that were taken and may come again.
    pub idempotency: Arc<Index>,
    /// Failed authentications, by source.
    pub failures: Arc<Failures>,
    /// Turns at work on bodies that takes long.
    pub turns: Arc<Turns>,
    /// Whether the server is ready.
    pub readiness: Arc<dyn Readiness>,
    /// Cancelled when the server begins to drain.
    pub drain: CancellationToken,
    /// The tasks that a drain waits for.
    pub tasks: TaskTracker,
    /// Connections that may still be opened, over all listeners.
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

/// Whether the server can do its work, for those who ask over HTTP.
pub trait Readiness: fmt::Debug + Send + Sync {
    /// What keeps it from its work; nothing when the server is ready.
    fn unready(&self) -> Vec<Unready>;

    /// What is wrong without keeping it from its work: the last good file is in force, or a part is missing that it
    /// can do without.
    fn degraded(&self) -> Vec<Unready>;
}

/// What is wrong with one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unready {
    /// `journal`, `key_file`, `tls`, `audit` or the name of a thread or task.
    pub component: &'static str,
    /// What is wrong with it, for everybody: it holds nothing of the machine.
    pub reason: String,
    /// The same for the operator, where there is more to say, such as a path.
    #[serde(skip)]
    pub detail: Option<String>,
}

/// How one listener lets connections in.
#[derive(Debug, Default)]
pub struct Entrance {
    /// Its certificate and key, or `None` in the clear.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// Connections that may still be opened on it, where it has a bound of its own.
    pub connections: Option<Arc<Semaphore>>,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Where messages without a key go, and from whom; for syslog.
    pub bound: Option<Bound>,
    /// What times without a zone are in; for syslog.
    pub zone: ReceiptZone,
}

impl ListenerContext {
    /// Counts a refusal, and delays its answer where the source keeps failing to authenticate.
    pub(super) async fn refuse(&self, source: Source, peer: SocketAddr, fault: &Refusal) {
        meters::source(source).refused(fault, 1);
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
pub(super) struct Sender {
    pub(super) peer: SocketAddr,
    is_forwarder: bool,
}

impl Sender {
    pub(super) fn new(peer: SocketAddr, context: &ListenerContext) -> Self {
        Self {
            peer,
            is_forwarder: context.forwarders.contains(peer.ip()),
        }
    }

    /// Where a batch came from that claims this.
    pub(super) fn origin(&self, claimed: Option<IpAddr>) -> SocketAddr {
        match claimed {
            Some(ip) if self.is_forwarder => SocketAddr::new(ip, 0),
            _ => self.peer,
        }
    }
}
