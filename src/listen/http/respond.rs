//! The answers: statuses, bodies and headers.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::Taken;
use crate::fault::Fault;
use crate::limits;

/// Tells one request from all others: random bits of the process, and a counter.
#[derive(Debug)]
pub(super) struct RequestId(u64);

impl RequestId {
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        static PROCESS: LazyLock<u32> =
            LazyLock::new(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
        write!(f, "{:08x}-{:x}", *PROCESS, self.0)
    }
}

#[derive(Serialize)]
struct RejectedLines<'a> {
    accepted: u64,
    rejected: u64,
    errors: Vec<RejectedLine<'a>>,
    request_id: String,
}

#[derive(Serialize)]
struct RejectedLine<'a> {
    line: u64,
    error: &'a str,
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    message: String,
    request_id: String,
}

pub(super) fn taken(taken: &Taken, request_id: &RequestId) -> Response<Full<Bytes>> {
    if taken.rejected == 0 {
        let body = format!(
            "{{\"accepted\":{},\"request_id\":\"{request_id}\"}}",
            taken.accepted
        );
        return json(StatusCode::ACCEPTED, body.into());
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
        request_id: request_id.to_string(),
    };
    json(StatusCode::MULTI_STATUS, encode(&body))
}

pub(super) fn refused(fault: &Fault, request_id: &RequestId) -> Response<Full<Bytes>> {
    let answer = fault.answer();
    let body = Refusal {
        error: answer.code,
        message: fault.to_string(),
        request_id: request_id.to_string(),
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, encode(&body));
    let headers = response.headers_mut();
    match fault {
        Fault::Unauthorized => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Fault::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        fault if fault.is_transient() => {
            headers.insert(RETRY_AFTER, limits::RETRY_AFTER_SECS.into());
        }
        _ => {}
    }
    response
}

/// Writing plain structs as JSON to memory does not fail.
fn encode(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).unwrap_or_default().into()
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
