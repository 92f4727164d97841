//! HTTP: events and log lines as JSON, Batches as they come over TCP; each answered when it is durable.
//!
//! A request passes in this order: path and method, key, headers, body, content, journal. A bad key gets its
//! 401 before a byte of the body is read.

mod body;
mod cors;
mod endpoint;
mod key;
mod request_id;
mod respond;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::{Door, Slot, observe};
use crate::auth::StreamingKey;
use crate::fault::Fault;
use crate::journal::Source;
use crate::limits;
use endpoint::{Endpoint, take};
use request_id::RequestId;

/// The key of the last request, for closing the connection when it is revoked.
type LastKey = Arc<Mutex<Option<StreamingKey>>>;

/// Serves one connection.
pub async fn serve(stream: TcpStream, peer: SocketAddr, _slot: Slot, door: Door) {
    // Answers are small and awaited: they must not wait for company.
    let _ = stream.set_nodelay(true);
    let last_key = LastKey::default();
    let service = service_fn(|request| {
        let (door, last_key) = (&door, &last_key);
        async move { Ok::<_, Infallible>(answer(request, peer, door, last_key).await) }
    });
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
            () = door.drain.cancelled(), if !draining => {
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

fn lock(last_key: &LastKey) -> std::sync::MutexGuard<'_, Option<StreamingKey>> {
    last_key.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    door: &Door,
    last_key: &LastKey,
) -> Response<Full<Bytes>> {
    let request_id = RequestId::of(request.headers());
    let page = cors::Grant::of(&door.cors_origins, request.headers());
    let mut response = match route(request.method(), request.uri().path()) {
        Ok(Route::Ingest(endpoint)) => match take(endpoint, request, peer, door, last_key).await {
            Ok(taken) => respond::taken(&taken, &request_id),
            Err(fault) => refuse(fault, peer, door, &request_id).await,
        },
        Ok(Route::Health) => observe::health(),
        Ok(Route::Ready) => observe::ready(&door.health),
        Ok(Route::Options(allowed)) => {
            let mut response = respond::options(allowed);
            page.add_preflight(allowed, response.headers_mut());
            response
        }
        Err(fault) => refuse(fault, peer, door, &request_id).await,
    };
    page.add_to(response.headers_mut());
    request_id.add_to(response.headers_mut());
    response
}

async fn refuse(
    fault: Fault,
    peer: SocketAddr,
    door: &Door,
    request_id: &RequestId,
) -> Response<Full<Bytes>> {
    door.refuse(Source::Http, peer, &fault).await;
    respond::refused(&fault, request_id)
}

/// What a method and path lead to.
#[derive(Debug, PartialEq)]
enum Route {
    Ingest(Endpoint),
    Health,
    Ready,
    /// What the path takes.
    Options(&'static str),
}

const INGEST_METHODS: &str = "POST, OPTIONS";
const READ_METHODS: &str = "GET, HEAD, OPTIONS";

fn route(method: &Method, path: &str) -> Result<Route, Fault> {
    let (route, methods) = match path {
        "/v1/events" => (Route::Ingest(Endpoint::Events), INGEST_METHODS),
        "/v1/logs" => (Route::Ingest(Endpoint::Logs), INGEST_METHODS),
        "/v1/ingest" => (Route::Ingest(Endpoint::Ingest), INGEST_METHODS),
        "/health" => (Route::Health, READ_METHODS),
        "/ready" => (Route::Ready, READ_METHODS),
        _ => return Err(Fault::NotFound),
    };
    if method == Method::OPTIONS {
        Ok(Route::Options(methods))
    } else if methods.split(", ").any(|m| m == method.as_str()) {
        Ok(route)
    } else {
        Err(Fault::Method(methods))
    }
}
