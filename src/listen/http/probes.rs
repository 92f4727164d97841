//! The answers to probes: liveness and readiness.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::listen::context::{Readiness, Unready};

/// Alive: it answers.
pub(crate) fn health() -> Response<Full<Bytes>> {
    text("{\"status\":\"ok\"}\n".to_owned(), "application/json")
}

/// Ready, or not and why. A last good file in force is said in a 200: one typo in a file that many servers share must
/// not take all of them out of their load balancer.
pub(crate) fn ready(readiness: &dyn Readiness) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Body {
        status: &'static str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<Unready>,
        /// What does not keep the server from its work.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        degraded: Vec<Unready>,
    }
    let (reasons, degraded) = (readiness.unready(), readiness.degraded());
    let ready = reasons.is_empty();
    let body = Body {
        status: match (ready, degraded.is_empty()) {
            (false, _) => "unready",
            (true, false) => "degraded",
            (true, true) => "ready",
        },
        reasons,
        degraded,
    };
    let mut response = json(&body);
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// A body of JSON.
pub(crate) fn json(body: &impl Serialize) -> Response<Full<Bytes>> {
    // Writing a plain struct as JSON to memory does not fail.
    let mut line = serde_json::to_string(body).unwrap_or_default();
    line.push('\n');
    text(line, "application/json")
}

/// A body of text.
pub(crate) fn text(body: String, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A status without a body.
pub(crate) fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
