//! What the ingest endpoints make of a request: key, headers, body, content, journal, in this order.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::{LastKey, body, key, lock};
use crate::auth::StreamingKey;
use crate::fault::Fault;
use crate::ingest::Submission;
use crate::journal::{Encoding, Source};
use crate::listen::Door;
use crate::wire::batch::Batch;
use crate::wire::entries;
use crate::wire::json_lines::{self, LineKind};

const JSON_LINES: &str = "JSON lines (application/x-ndjson, application/json or text/plain)";
const FLATBUFFER: &str =
    "a Batch FlatBuffer (application/x-flatbuffers or application/octet-stream)";

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Endpoint {
    Events,
    Logs,
    Ingest,
}

/// What was accepted of a request, durably, and what was not.
#[derive(Debug)]
pub(super) struct Taken {
    pub accepted: u64,
    pub rejected: u64,
    pub errors: Vec<json_lines::LineError>,
}

pub(super) async fn take(
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
        peer,
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
