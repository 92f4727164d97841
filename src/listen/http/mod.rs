//! HTTP: events and log lines as JSON, Batches as they come over TCP; each answered when it is durable.
//!
//! A request passes in this order: path and method, key, headers, body, content, journal. A bad key gets its
//! 401 before a byte of the body is read.

mod body;
mod coding;
mod connection;
mod cors;
mod endpoint;
mod fields;
mod forwarded;
mod frames;
mod gate;
mod key;
mod linger;
pub(crate) mod probes;
mod refusal;
mod request_id;
mod respond;
mod rest;
pub mod turns;
mod visit;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};

use crate::fault::Refusal;
use crate::limits;
use crate::origin::Source;
pub use connection::{ALPN, serve};
use cors::CorsHeaders;
use endpoint::{Endpoint, take};
pub(super) use refusal::answer_in_the_clear;
use request_id::RequestId;
use respond::Answer;
use rest::Rest;
use visit::{Open, Visit};

async fn answer(
    request: Request<Incoming>,
    mut open: Open,
    visit: &Arc<Visit>,
) -> Response<Answer> {
    let context = &visit.context;
    let (request, mut body) = request.into_parts();
    let request_id = RequestId::of(&request.headers);
    let peer = forwarded::client(&request.headers, visit.peer, &context.trusted_proxies);
    let page = cors::CorsHeaders::of(&context.cors_origins, &request.headers);
    let version = request.version;
    let waits_for_word = request.headers.contains_key(EXPECT);
    let made = respond(&request, &request_id, &page, &mut body, peer, &open, visit).await;
    // An answer may be delayed, and what it is to is needed no longer.
    drop(request);
    let mut response = match made {
        Ok(response) => response,
        Err(fault) => {
            let rest = rest::leave(body, version, waits_for_word, open.number, visit).await;
            context.refuse(Source::Http, peer, &fault).await;
            let mut response = respond::refused(&fault, &request_id);
            if rest == Rest::Unread {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            response
        }
    };
    page.add_to(response.headers_mut());
    request_id.add_to(response.headers_mut());
    open.answered();
    response.map(|body| Answer::new(body, open))
}

async fn respond(
    request: &Parts,
    request_id: &RequestId,
    page: &CorsHeaders,
    body: &mut Incoming,
    peer: SocketAddr,
    open: &Open,
    visit: &Visit,
) -> Result<Response<Full<Bytes>>, Refusal> {
    open.check()?;
    by_the_book(request)?;
    Ok(match route(&request.method, request.uri.path())? {
        Route::Ingest(endpoint) => {
            let taken = take(endpoint, request, body, peer, open.number, visit).await?;
            respond::taken(&taken, request_id)
        }
        Route::Health => probes::health(),
        Route::Ready => probes::ready(visit.context.readiness.as_ref()),
        Route::Options(allowed) => {
            let mut response = respond::options(allowed);
            page.add_preflight(allowed, response.headers_mut());
            response
        }
    })
}

/// Refuses what RFC 9112 (sections 3.2, 6.1) and RFC 9110 want refused, and hyper lets pass.
fn by_the_book(request: &Parts) -> Result<(), Refusal> {
    if request.version == Version::HTTP_2 {
        // h2 bounds their bytes alone.
        if request.headers.len() > limits::HTTP_FIELDS {
            return Err(Refusal::HeadTooLarge);
        }
        return Ok(());
    }
    let hosts = request.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version == Version::HTTP_11) {
        return Err(Refusal::Host);
    }
    let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    if first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
    {
        return Err(Refusal::TransferCoding);
    }
    Ok(())
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
