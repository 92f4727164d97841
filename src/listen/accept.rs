//! Accepting connections: each gets a place among all, among those of its listener and of its source.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::context::ListenerContext;
use super::log_gate::LogGate;
use super::stream::Stream;
use super::{enter, sources};
use crate::origin::Source;
use crate::{limits, meters};

/// A connection counts against the bound for as long as this lives.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _of_listener: Option<OwnedSemaphorePermit>,
    _of_source: Option<sources::SourceSlot>,
    source: Source,
}

impl Drop for Slot {
    fn drop(&mut self) {
        meters::source(self.source).connection_closed();
    }
}

/// Accepts connections until the server drains, and spawns `serve` for each that gets in.
pub async fn accept<F>(
    listener: TcpListener,
    context: ListenerContext,
    source: Source,
    serve: impl Fn(Stream, SocketAddr, Slot, ListenerContext) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut full = LogGate::default();
    let mut failing = LogGate::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = context.drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The client gave up before it was accepted: nothing is wrong here.
                if error.kind() == io::ErrorKind::ConnectionAborted {
                    continue;
                }
                meters::source(source).accept_failed();
                if failing.open() {
                    tracing::warn!(%error, source = source.as_str(), "cannot accept connections; trying again");
                }
                tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Some((permit, of_listener)) = permits(&context) else {
            meters::source(source).connection_refused();
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
        let of_source = if context.trusted_proxies.contains(peer.ip()) {
            None
        } else if let Some(place) = context.sources.place(peer.ip()) {
            Some(place)
        } else {
            meters::source(source).connection_refused();
            if full.open() {
                tracing::warn!(
                    source = source.as_str(),
                    peer = %peer.ip(),
                    "max_connections_per_source is reached; closing new connections"
                );
            }
            continue;
        };
        meters::source(source).connection_opened();
        let slot = Slot {
            _permit: permit,
            _of_listener: of_listener,
            _of_source: of_source,
            source,
        };
        let (serve, context) = (serve.clone(), context.clone());
        context.tasks.clone().spawn(async move {
            // The slot is held from here on, also while the handshake goes on.
            if let Some((stream, client)) = enter::enter(stream, peer, source, &context).await {
                serve(stream, client, slot, context).await;
            }
        });
    }
}

/// A place among all connections, and among those of the listener where it has a bound of its own.
fn permits(
    context: &ListenerContext,
) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
    let take = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
    let of_listener = match &context.entrance.connections {
        Some(places) => Some(take(places)?),
        None => None,
    };
    Some((take(&context.connections)?, of_listener))
}
