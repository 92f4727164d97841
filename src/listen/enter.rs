//! What happens between accepting a connection and its protocol: the word of a proxy, the handshake of TLS.
//! The connection counts against all bounds meanwhile.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{ListenerContext, Stream, http, tls};
use crate::fault::Refusal;
use crate::limits;
use crate::origin::Source;
use crate::wire::proxy::{self, Header};

/// Readies a connection for its protocol, and finds who speaks on it. `None`: it was closed.
pub(super) async fn enter(
    mut stream: TcpStream,
    peer: SocketAddr,
    source: Source,
    context: &ListenerContext,
) -> Option<(Stream, SocketAddr)> {
    let mut client = peer;
    let entered = tokio::select! {
        // A connection in the clear is in at once: a drain still takes what it brought.
        biased;
        entered = async {
            if context.entrance.proxy_protocol {
                client = proxied(&mut stream, peer, context).await?;
            }
            encrypted(stream, source, context).await
        } => entered,
        () = context.drain.cancelled() => return None,
    };
    match entered {
        Ok(stream) => Some((stream, client)),
        Err(fault) => {
            tracing::debug!(%peer, source = source.as_str(), %fault, "connection refused");
            context.refuse(source, peer, &fault).await;
            None
        }
    }
}

async fn encrypted(
    stream: TcpStream,
    source: Source,
    context: &ListenerContext,
) -> Result<Stream, Refusal> {
    let Some(tls) = &context.entrance.tls else {
        return Ok(Stream::Plain(stream));
    };
    let handshake = async {
        let mut first = [0];
        // A request in the clear begins with a letter, a handshake with 22.
        if source == Source::Http
            && matches!(stream.peek(&mut first).await, Ok(1))
            && first.first().is_some_and(u8::is_ascii_alphabetic)
        {
            http::answer_in_the_clear(stream).await;
            return Err(Refusal::NoTls);
        }
        Ok(tls::accept(tls, stream).await)
    };
    let accepted = within(limits::TLS_HANDSHAKE_TIMEOUT, handshake).await??;
    accepted.map(Stream::Tls).map_err(|error| {
        // Says what was wrong with the client's hello or certificate, nothing of ours.
        tracing::debug!(%error, "TLS handshake failed");
        Refusal::TlsHandshake
    })
}

/// Reads the PROXY header, and not a byte of what stands behind it.
async fn proxied(
    stream: &mut TcpStream,
    peer: SocketAddr,
    context: &ListenerContext,
) -> Result<SocketAddr, Refusal> {
    if !context.trusted_proxies.contains(peer.ip()) {
        return Err(Refusal::ProxyUntrusted);
    }
    within(limits::PROXY_HEADER_TIMEOUT, read_header(stream))
        .await?
        .map(|source| source.unwrap_or(peer))
}

async fn read_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Refusal> {
    let mut buffer = vec![0; limits::PROXY_HEADER_BYTES];
    let mut taken = 0;
    loop {
        let peeked = match stream.peek(&mut buffer[taken..]).await {
            Ok(0) | Err(_) => return Err(Refusal::Truncated),
            Ok(peeked) => peeked,
        };
        // What is not yet a whole header belongs to it in any case.
        let (end, source) = match proxy::header(&buffer[..taken + peeked], buffer.len()) {
            Header::Incomplete => (taken + peeked, None),
            Header::Complete { source, consumed } => (consumed, Some(source)),
            Header::Malformed(fault) => return Err(fault.into()),
        };
        stream
            .read_exact(&mut buffer[taken..end])
            .await
            .map_err(|_| Refusal::Truncated)?;
        taken = end;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| Refusal::TimedOut(limit.as_secs()))
}
