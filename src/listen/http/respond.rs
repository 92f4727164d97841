//! The answers: statuses, bodies and headers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::coding;
use super::endpoint::Outcome;
use super::request_id::RequestId;
use super::visit::Open;
use crate::fault::Refusal;
use crate::limits;

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The body of an answer. The request counts as open until the connection has taken it, or dropped it.
pub(super) struct Answer {
    body: Full<Bytes>,
    _open: Open,
}

impl Answer {
    pub fn new(body: Full<Bytes>, open: Open) -> Self {
        Self { body, _open: open }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Serialize)]
struct AcceptedLines<'a> {
    accepted: u64,
    request_id: &'a str,
}

#[derive(Serialize)]
struct RejectedLines<'a> {
    accepted: u64,
    rejected: u64,
    errors: Vec<RejectedLine<'a>>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct RejectedLine<'a> {
    line: u64,
    error: &'a str,
}

#[derive(Serialize)]
struct RefusedBody<'a> {
    error: &'a str,
    message: String,
    request_id: &'a str,
}

pub(super) fn taken(taken: &Outcome, request_id: &RequestId) -> Response<Full<Bytes>> {
    let mut response = accepted(taken, request_id);
    if taken.replayed {
        response
            .headers_mut()
            .insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn accepted(taken: &Outcome, request_id: &RequestId) -> Response<Full<Bytes>> {
    if taken.rejected == 0 {
        let body = AcceptedLines {
            accepted: taken.accepted,
            request_id: request_id.as_str(),
        };
        return json(StatusCode::ACCEPTED, encode(&body));
    }
    let body = RejectedLines {
        accepted: taken.accepted,
        rejected: taken.rejected,
        errors: taken
            .errors
            .iter()
            .map(|e| RejectedLine {
                line: e.line,
                error: &e.error,
            })
            .collect(),
        request_id: request_id.as_str(),
    };
    json(StatusCode::MULTI_STATUS, encode(&body))
}

pub(super) fn refused(fault: &Refusal, request_id: &RequestId) -> Response<Full<Bytes>> {
    let answer = fault.answer();
    let body = RefusedBody {
        error: answer.code,
        message: fault.to_string(),
        request_id: request_id.as_str(),
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, encode(&body));
    let headers = response.headers_mut();
    match fault {
        Refusal::Unauthorized => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Refusal::ContentEncoding => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding::ACCEPTED));
        }
        fault if fault.is_transient() => {
            headers.insert(RETRY_AFTER, limits::RETRY_AFTER_SECS.into());
        }
        _ => {}
    }
    response
}

/// What a path takes, for who asks with OPTIONS.
pub(super) fn options(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// One line.
fn encode(body: &impl Serialize) -> Bytes {
    // Writing plain structs as JSON to memory does not fail.
    let mut line = serde_json::to_vec(body).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
