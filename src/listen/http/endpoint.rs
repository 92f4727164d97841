//! What the ingest endpoints make of a request: key, headers, body, content, journal, in this order.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::http::request::Parts;

use super::coding::Coding;
use super::connection::Visit;
use super::{body, key};
use crate::auth::StreamingKey;
use crate::fault::Fault;
use crate::idempotency::{Begin, IdempotencyKey};
use crate::ingest::{Submission, now_ns};
use crate::journal::{Encoding, Mark, Source};
use crate::listen::{Door, Sender};
use crate::meters;
use crate::wire::batch::Batch;
use crate::wire::entries;
use crate::wire::json_lines::{self, LineKind};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

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
    /// Whether this request came before, and nothing was stored now.
    pub replayed: bool,
    pub errors: Vec<json_lines::LineError>,
}

pub(super) async fn take(
    endpoint: Endpoint,
    request: &Parts,
    body: &mut Incoming,
    peer: SocketAddr,
    visit: &Visit,
) -> Result<Taken, Fault> {
    let door = &visit.door;
    let key = key::of(request).ok_or(Fault::Unauthorized)?;
    if !door.ingest.knows(&key) {
        return Err(Fault::Unauthorized);
    }
    visit.authenticated(key);
    check_media_type(
        endpoint,
        request.headers.get(CONTENT_TYPE).map(|v| v.as_bytes()),
    )?;
    let idempotency_key = idempotency_key(&request.headers)?;
    let coding = Coding::of(&request.headers)?;
    // What is held is given back when the request is answered.
    let mut held = door.in_flight.account();
    let raw = body::read(body, door.max_body_bytes, door.stall_timeout, &mut held).await?;
    visit.body_read();
    let mut judge = |raw: Bytes| {
        let body = coding.decode(raw, door.max_body_bytes)?;
        if !held.hold(body.len()) {
            return Err(Fault::Busy);
        }
        let mark = idempotency_key.map(|name| name.mark(key.id(), request.uri.path(), &body));
        Ok::<_, Fault>((judge(endpoint, body, &key)?, mark))
    };
    let (judged, mark) = if body::is_heavy(coding, raw.len()) {
        // Unlike on a thread of the blocking pool, the work is not waited for by a task that could be
        // dropped meanwhile, and the runtime's other tasks go on elsewhere.
        tokio::task::block_in_place(|| judge(raw))
    } else {
        judge(raw)
    }?;
    let submission = Submission {
        credential: key.into(),
        encoding: judged.encoding,
        payload: &judged.payload,
        events: judged.taken.accepted,
        peer: Sender::new(peer, door).origin(judged.source_ip),
    };
    let replayed = match mark {
        Some(mark) => submit_once(door, submission, mark).await?,
        None => {
            door.ingest.submit_durably(Source::Http, submission).await?;
            false
        }
    };
    Ok(Taken {
        replayed,
        ..judged.taken
    })
}

/// Takes a request that may come again, and returns whether it came before.
async fn submit_once(door: &Door, submission: Submission<'_>, mark: Mark) -> Result<bool, Fault> {
    let claim = loop {
        match door.idempotency.begin(mark, now_ns()) {
            Begin::First(claim) => break claim,
            Begin::Repeated => {
                meters::replayed();
                return Ok(true);
            }
            Begin::Other => return Err(Fault::IdempotencyMismatch),
            // Nothing is sent on it: it closes when the first request is done with, well or not.
            Begin::Running(mut first) => {
                let _ = first.changed().await;
            }
        }
    };
    let submitted = door
        .ingest
        .submit_acked(Source::Http, submission, Some(mark));
    let ticket = submitted.await?;
    // What was appended will be there, also if the client does not wait for it and this task is dropped. So
    // the commit is waited for in a task of its own, without a gap before it.
    let committing = door.tasks.spawn(async move {
        let committed = ticket.await;
        if committed.is_ok() {
            claim.taken(now_ns());
        }
        committed
    });
    match committing.await {
        Ok(Ok(())) => Ok(false),
        Ok(Err(_)) | Err(_) => Err(Fault::CommitFailed),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey<'_>>, Fault> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (IdempotencyKey::parse(value.as_bytes()), values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Fault::IdempotencyKey),
    }
}

/// What a body is worth: what is to be kept of it, and the answer once it is.
struct Judged {
    encoding: Encoding,
    payload: Bytes,
    /// Where the Batch says it came from.
    source_ip: Option<IpAddr>,
    taken: Taken,
}

fn judge(endpoint: Endpoint, body: Bytes, key: &StreamingKey) -> Result<Judged, Fault> {
    match endpoint {
        Endpoint::Events => judge_lines(LineKind::Event, Encoding::JsonEvents, &body),
        Endpoint::Logs => judge_lines(LineKind::Log, Encoding::JsonLogs, &body),
        Endpoint::Ingest => judge_batch(&body, key),
    }
}

fn judge_lines(kind: LineKind, encoding: Encoding, body: &Bytes) -> Result<Judged, Fault> {
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
    Ok(Judged {
        encoding,
        payload: checked.kept,
        source_ip: None,
        taken: Taken {
            accepted: checked.accepted,
            rejected: checked.rejected,
            replayed: false,
            errors: checked.errors,
        },
    })
}

fn judge_batch(body: &Bytes, key: &StreamingKey) -> Result<Judged, Fault> {
    if body.is_empty() {
        return Err(Fault::EmptyBody(FLATBUFFER));
    }
    let batch = Batch::parse(body)?;
    if batch.api_key != *key {
        return Err(Fault::KeyMismatch);
    }
    Ok(Judged {
        encoding: Encoding::FlatBuffer {
            schema_type: batch.schema_type,
        },
        payload: body.slice_ref(batch.data),
        source_ip: batch.source_ip,
        taken: Taken {
            accepted: entries::count(batch.data),
            rejected: 0,
            replayed: false,
            errors: Vec::new(),
        },
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
