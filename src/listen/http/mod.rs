//! HTTP: events and log lines as JSON, Batches as they come over TCP; each answered when it is durable.
//!
//! A request passes in this order: path and method, key, headers, body, content, journal. A bad key gets its
//! 401 before a byte of the body is read.

mod body;
mod forwarded;
mod key;
mod respond;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{Door, Sender, Slot, Stream, observe};
use crate::auth::StreamingKey;
use crate::fault::Fault;
use crate::ingest::Submission;
use crate::journal::{Encoding, Source};
use crate::limits;
use crate::wire::batch::Batch;
use crate::wire::entries;
use crate::wire::json_lines::{self, LineKind};

const JSON_LINES: &str = "JSON lines (application/x-ndjson, application/json or text/plain)";
const FLATBUFFER: &str =
    "a Batch FlatBuffer (application/x-flatbuffers or application/octet-stream)";

/// What an endpoint takes.
#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Events,
    Logs,
    Ingest,
}

/// The key of the last request, for closing the connection when it is revoked.
type LastKey = Arc<Mutex<Option<StreamingKey>>>;

/// The versions that TLS may agree on (ALPN).
pub const ALPN: &[&[u8]] = &[b"http/1.1"];

/// Serves one connection.
pub async fn serve(stream: Stream, peer: SocketAddr, _slot: Slot, door: Door) {
    // Answers are small and awaited: they must not wait for company.
    stream.set_nodelay();
    let last_key = LastKey::default();
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let (door, last_key) = (&door, &last_key);
        async move { Ok::<_, Infallible>(answer(request, peer, door, last_key).await) }
    });
    let mut may_close = pin!(may_close(&door, &asked));
    let mut replacements = door.ingest.keys().replacements();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_buf_size(limits::HTTP_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut draining = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "HTTP connection ended");
                }
                return;
            }
            () = &mut may_close, if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            Ok(()) = replacements.changed(), if !draining => {
                let revoked = lock(&last_key).is_some_and(|key| !door.ingest.knows(&key));
                if revoked {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Resolves when the server drains; on a connection without a request so far only after a moment, since one
/// may be on its way.
async fn may_close(door: &Door, asked: &AtomicBool) {
    door.drain.cancelled().await;
    if !asked.load(Ordering::Relaxed) {
        tokio::time::sleep(limits::DRAIN_READ).await;
    }
}

fn lock(last_key: &LastKey) -> std::sync::MutexGuard<'_, Option<StreamingKey>> {
    last_key.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    door: &Door,
    last_key: &LastKey,
) -> Response<Full<Bytes>> {
    let request_id = respond::RequestId::next();
    let peer = forwarded::client(request.headers(), peer, &door.trusted_proxies);
    let endpoint = match route(request.method(), request.uri().path()) {
        Ok(Route::Ingest(endpoint)) => endpoint,
        Ok(Route::Health) => return observe::health(),
        Ok(Route::Ready) => return observe::ready(&door.health),
        Err(fault) => return refuse(fault, peer, door, &request_id).await,
    };
    match take(endpoint, request, peer, door, last_key).await {
        Ok(taken) => respond::taken(&taken, &request_id),
        Err(fault) => refuse(fault, peer, door, &request_id).await,
    }
}

async fn refuse(
    fault: Fault,
    peer: SocketAddr,
    door: &Door,
    request_id: &respond::RequestId,
) -> Response<Full<Bytes>> {
    door.refuse(Source::Http, peer, &fault).await;
    respond::refused(&fault, request_id)
}

/// What a path leads to.
enum Route {
    Ingest(Endpoint),
    Health,
    Ready,
}

fn route(method: &Method, path: &str) -> Result<Route, Fault> {
    let (route, allowed, is_allowed) = match path {
        "/v1/events" => (
            Route::Ingest(Endpoint::Events),
            "POST",
            method == Method::POST,
        ),
        "/v1/logs" => (
            Route::Ingest(Endpoint::Logs),
            "POST",
            method == Method::POST,
        ),
        "/v1/ingest" => (
            Route::Ingest(Endpoint::Ingest),
            "POST",
            method == Method::POST,
        ),
        "/health" => (Route::Health, "GET, HEAD", is_read(method)),
        "/ready" => (Route::Ready, "GET, HEAD", is_read(method)),
        _ => return Err(Fault::NotFound),
    };
    if is_allowed {
        Ok(route)
    } else {
        Err(Fault::Method(allowed))
    }
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// What was accepted of a request, durably, and what was not.
#[derive(Debug)]
struct Taken {
    accepted: u64,
    rejected: u64,
    errors: Vec<json_lines::LineError>,
}

async fn take(
    endpoint: Endpoint,
    request: Request<Incoming>,
    peer: SocketAddr,
    door: &Door,
    last_key: &LastKey,
) -> Result<Taken, Fault> {
    let key = key::of(&request).ok_or(Fault::Unauthorized)?;
    if !door.ingest.knows(&key) {
        return Err(Fault::Unauthorized);
    }
    *lock(last_key) = Some(key);
    check_media_type(
        endpoint,
        request.headers().get(CONTENT_TYPE).map(|v| v.as_bytes()),
    )?;
    let coding = body::coding(
        request
            .headers()
            .get(CONTENT_ENCODING)
            .map(|v| v.as_bytes()),
    )?;
    let body = body::read(request.into_body(), door.max_body_bytes).await?;
    let body = body::decode(coding, body, door.max_body_bytes)?;
    match endpoint {
        Endpoint::Events => take_lines(LineKind::Event, &body, key, peer, door).await,
        Endpoint::Logs => take_lines(LineKind::Log, &body, key, peer, door).await,
        Endpoint::Ingest => take_batch(&body, key, peer, door).await,
    }
}

async fn take_lines(
    kind: LineKind,
    body: &Bytes,
    key: StreamingKey,
    peer: SocketAddr,
    door: &Door,
) -> Result<Taken, Fault> {
    let checked = json_lines::check(kind, body);
    if checked.accepted == 0 {
        return Err(match checked.errors.into_iter().next() {
            Some(first) => Fault::AllLinesRejected {
                lines: checked.rejected,
                first_line: first.line,
                first_error: first.error,
            },
            None => Fault::EmptyBody(JSON_LINES),
        });
    }
    let submission = Submission {
        key,
        encoding: match kind {
            LineKind::Event => Encoding::JsonEvents,
            LineKind::Log => Encoding::JsonLogs,
        },
        payload: &checked.kept,
        events: checked.accepted,
        peer,
    };
    door.ingest.submit_durably(Source::Http, submission).await?;
    Ok(Taken {
        accepted: checked.accepted,
        rejected: checked.rejected,
        errors: checked.errors,
    })
}

async fn take_batch(
    body: &Bytes,
    key: StreamingKey,
    peer: SocketAddr,
    door: &Door,
) -> Result<Taken, Fault> {
    if body.is_empty() {
        return Err(Fault::EmptyBody(FLATBUFFER));
    }
    let batch = Batch::parse(body)?;
    if batch.api_key != key {
        return Err(Fault::KeyMismatch);
    }
    let events = entries::count(batch.data);
    let submission = Submission {
        key,
        encoding: Encoding::FlatBuffer {
            schema_type: batch.schema_type,
        },
        payload: batch.data,
        events,
        peer: Sender::new(peer, door).origin(batch.source_ip),
    };
    door.ingest.submit_durably(Source::Http, submission).await?;
    Ok(Taken {
        accepted: events,
        rejected: 0,
        errors: Vec::new(),
    })
}

fn check_media_type(endpoint: Endpoint, value: Option<&[u8]>) -> Result<(), Fault> {
    let essence = value.map(|value| {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        value[..end].trim_ascii()
    });
    let is_one_of = |accepted: &[&str]| {
        essence.is_some_and(|essence| {
            accepted
                .iter()
                .any(|a| essence.eq_ignore_ascii_case(a.as_bytes()))
        })
    };
    match endpoint {
        Endpoint::Ingest
            if is_one_of(&["application/x-flatbuffers", "application/octet-stream"]) =>
        {
            Ok(())
        }
        Endpoint::Ingest => Err(Fault::MediaType(FLATBUFFER)),
        // Lines are judged one by one, so a missing type or that of `curl --data-binary` does no harm.
        Endpoint::Events | Endpoint::Logs
            if essence.is_none()
                || is_one_of(&[
                    "application/x-ndjson",
                    "application/ndjson",
                    "application/jsonl",
                    "application/json",
                    "text/plain",
                    "application/x-www-form-urlencoded",
                ]) =>
        {
            Ok(())
        }
        Endpoint::Events | Endpoint::Logs => Err(Fault::MediaType(JSON_LINES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_compared_without_case_and_parameters() {
        let json = |v: &str| check_media_type(Endpoint::Events, Some(v.as_bytes())).is_ok();
        assert!(json("Application/JSON; charset=utf-8"));
        assert!(json("text/plain;charset=UTF-8"));
        assert!(!json("multipart/form-data; boundary=x"));
        assert!(check_media_type(Endpoint::Logs, None).is_ok());
        assert!(check_media_type(Endpoint::Ingest, None).is_err());
        assert!(check_media_type(Endpoint::Ingest, Some(b"application/json")).is_err());
        assert!(check_media_type(Endpoint::Ingest, Some(b"application/octet-stream")).is_ok());
    }
}
