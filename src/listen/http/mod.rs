//! HTTP: events and log lines as JSON, Batches as they come over TCP; each answered when it is durable.
//!
//! A request passes in this order: path and method, key, headers, body, content, journal. A bad key gets its
//! 401 before a byte of the body is read.

mod body;
mod coding;
mod connection;
mod cors;
mod endpoint;
mod forwarded;
mod key;
mod linger;
pub(crate) mod probes;
mod request_id;
mod respond;

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::{Method, Request, Response, Version};

use crate::fault::Refusal;
use crate::origin::Source;
use connection::Visit;
pub use connection::{ALPN, serve};
use endpoint::{Endpoint, take};
use request_id::RequestId;

async fn answer(request: Request<Incoming>, visit: &Visit) -> Response<Full<Bytes>> {
    let context = &visit.context;
    let (request, mut body) = request.into_parts();
    let request_id = RequestId::of(&request.headers);
    let peer = forwarded::client(&request.headers, visit.peer, &context.trusted_proxies);
    let page = cors::CorsHeaders::of(&context.cors_origins, &request.headers);
    let mut response = match route(&request.method, request.uri.path()) {
        Ok(Route::Ingest(endpoint)) => match take(endpoint, &request, &mut body, peer, visit).await
        {
            Ok(taken) => respond::taken(&taken, &request_id),
            Err(fault) => refuse(fault, peer, visit, &request_id).await,
        },
        Ok(Route::Health) => probes::health(),
        Ok(Route::Ready) => probes::ready(context.readiness.as_ref()),
        Ok(Route::Options(allowed)) => {
            let mut response = respond::options(allowed);
            page.add_preflight(allowed, response.headers_mut());
            response
        }
        Err(fault) => refuse(fault, peer, visit, &request_id).await,
    };
    if request.version == Version::HTTP_2 && !body.is_end_stream() {
        tokio::spawn(linger::discard(body));
    }
    page.add_to(response.headers_mut());
    request_id.add_to(response.headers_mut());
    response
}

async fn refuse(
    fault: Refusal,
    peer: SocketAddr,
    visit: &Visit,
    request_id: &RequestId,
) -> Response<Full<Bytes>> {
    visit.context.refuse(Source::Http, peer, &fault).await;
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

fn route(method: &Method, path: &str) -> Result<Route, Refusal> {
    let (route, methods) = match path {
        "/v1/events" => (Route::Ingest(Endpoint::Events), INGEST_METHODS),
        "/v1/logs" => (Route::Ingest(Endpoint::Logs), INGEST_METHODS),
        "/v1/ingest" => (Route::Ingest(Endpoint::Ingest), INGEST_METHODS),
        "/health" => (Route::Health, READ_METHODS),
        "/ready" => (Route::Ready, READ_METHODS),
        _ => return Err(Refusal::NotFound),
    };
    if method == Method::OPTIONS {
        Ok(Route::Options(methods))
    } else if methods.split(", ").any(|m| m == method.as_str()) {
        Ok(route)
    } else {
        Err(Refusal::Method(methods))
    }
}
