//! What browsers are told of who may send from where (CORS, as the Fetch standard has it).
//!
//! Ingest keys are write-only and public in every page that uses one, and nothing here depends on cookies,
//! so any origin may send unless the operator says otherwise. What browsers are told is no access control:
//! other clients, and `sendBeacon`, send without asking.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, ORIGIN, VARY,
};

use crate::limits;
use crate::network::CorsOrigins;

/// The headers of requests that a page may set.
const ALLOWED_HEADERS: &str =
    "authorization, content-encoding, content-type, idempotency-key, x-api-key, x-request-id";

/// The headers of answers that a page may read.
const EXPOSED_HEADERS: &str = "idempotent-replayed, retry-after, x-request-id";

/// What the page that sent a request may know of its answer.
#[derive(Debug)]
pub(super) struct CorsHeaders {
    /// The value of `Access-Control-Allow-Origin`.
    origin: Option<HeaderValue>,
    /// Whether the answer would be another for another origin, which caches have to know.
    varies: bool,
}

impl CorsHeaders {
    /// Decides by the `Origin` of a request.
    pub fn of(origins: &CorsOrigins, request: &HeaderMap) -> Self {
        let sent = request.get(ORIGIN);
        match origins {
            CorsOrigins::Off => Self {
                origin: None,
                varies: false,
            },
            CorsOrigins::Any => Self {
                origin: sent.map(|_| HeaderValue::from_static("*")),
                varies: false,
            },
            CorsOrigins::These(origins) => Self {
                origin: sent
                    .filter(|sent| {
                        let sent = sent.as_bytes();
                        origins
                            .iter()
                            .any(|o| sent.eq_ignore_ascii_case(o.as_bytes()))
                    })
                    .cloned(),
                varies: true,
            },
        }
    }

    /// Adds what every answer carries, refusals too: without it a page cannot even read the status.
    pub fn add_to(&self, answer: &mut HeaderMap) {
        if self.varies {
            answer.insert(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = &self.origin {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED_HEADERS),
            );
        }
    }

    /// Adds what the answer to a preflight says, of a path that takes these methods.
    pub fn add_preflight(&self, methods: &'static str, answer: &mut HeaderMap) {
        if self.origin.is_none() {
            return;
        }
        answer.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(methods),
        );
        answer.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(ALLOWED_HEADERS),
        );
        answer.insert(ACCESS_CONTROL_MAX_AGE, limits::PREFLIGHT_SECS.into());
    }
}
