//! What the ingest endpoints make of a request: key, headers, body, content, journal, in this order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use hyper::Version;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::http::request::Parts;

use super::coding::Coding;
use super::turns::{self, Turn};
use super::visit::Visit;
use super::{body, key};
use crate::fault::Refusal;
use crate::ingest::admit::{BodyLength, Reservation};
use crate::ingest::idempotency::{Begin, IdempotencyKey};
use crate::ingest::{Submission, now_ns};
use crate::journal::{Encoding, Mark};
use crate::listen::ListenerContext;
use crate::listen::context::Sender;
use crate::origin::{KeyId, Source, SourceAddress};
use crate::wire::batch::Batch;
use crate::wire::entries;
use crate::wire::json_lines::{self, LineKind};
use crate::wire::key::StreamingKey;
use crate::{limits, meters};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const JSON_LINES: &str = "JSON lines, as any type but those of other formats";
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
pub(super) struct Outcome {
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
    number: u64,
    visit: &Visit,
) -> Result<Outcome, Refusal> {
    let context = &visit.context;
    let key = key::of(request).ok_or(Refusal::Unauthorized)?;
    if !context.ingest.knows(&key) {
        return Err(Refusal::Unauthorized);
    }
    visit.authenticated(key);
    check_media_type(
        endpoint,
        request.headers.get(CONTENT_TYPE).map(|v| v.as_bytes()),
    )?;
    let idempotency_key = idempotency_key(&request.headers)?;
    let coding = Coding::of(&request.headers)?;
    let most = context.max_body_bytes;
    let length = body::length(body, most)?;
    let source = SourceAddress::of(peer.ip());
    // Given back when the request is answered.
    let buffers = body::buffer_bytes(length, request.version);
    let mut reserved = admit(&key, source, length, buffers, request.version, visit).await?;
    let raw = body::read(
        body,
        length,
        buffers,
        most,
        context.stall_timeout,
        &mut reserved,
        visit,
    )
    .await?;
    visit.body_read(number);
    reserved.shrink_to(buffers + raw.len());
    let turns = Turns::of(context, key.id(), source);
    let (body, turn) = inflated(coding, raw, most, buffers, &turns, &mut reserved).await?;
    // What is kept of a body may be a copy.
    let with_copy = buffers + 2 * body.len();
    reserved.shrink_to(with_copy);
    let is_heavy = body.len() > limits::HEAVY_BODY_BYTES;
    let turn = match turn {
        Some(turn) if body::grows_now(&mut reserved, with_copy).await => Some(turn),
        turn => {
            drop(turn);
            reserved.grow_to(with_copy).await;
            if is_heavy {
                Some(turns.next().await)
            } else {
                None
            }
        }
    };
    let check = || {
        let mark = idempotency_key.map(|name| name.mark(key.id(), request.uri.path(), &body));
        Ok::<_, Refusal>((check_body(endpoint, body, &key)?, mark))
    };
    let (checked, mark) = if is_heavy {
        // Unlike on a thread of the blocking pool, the work is not waited for by a task that could be
        // dropped meanwhile, and the runtime's other tasks go on elsewhere.
        tokio::task::block_in_place(check)
    } else {
        check()
    }?;
    drop(turn);
    reserved.shrink_to(buffers + checked.payload.len());
    let submission = Submission {
        credential: key.into(),
        encoding: checked.encoding,
        payload: &checked.payload,
        events: checked.taken.accepted,
        replaced: checked.replaced,
        peer: Sender::new(peer, context).origin(checked.source_ip),
    };
    let replayed = match mark {
        Some(mark) => submit_once(context, submission, mark).await?,
        None => {
            context
                .ingest
                .submit_durably(Source::Http, submission)
                .await?;
            false
        }
    };
    Ok(Outcome {
        replayed,
        ..checked.taken
    })
}

/// Whose turns a request waits for.
///
/// Who has the memory may wait for a turn, but who has a turn must not wait for memory: all who have memory could
/// be waiting for the turn.
struct Turns<'a> {
    of: &'a Arc<turns::Turns>,
    key: KeyId,
    source: SourceAddress,
}

impl<'a> Turns<'a> {
    fn of(context: &'a ListenerContext, key: KeyId, source: SourceAddress) -> Self {
        let of = &context.turns;
        Self { of, key, source }
    }

    async fn next(&self) -> Turn {
        self.of.turn(self.key, self.source).await
    }
}

/// The body without its coding, with the turn in which it was inflated, if it took one.
async fn inflated(
    coding: Coding,
    raw: Bytes,
    most: usize,
    buffers: usize,
    turns: &Turns<'_>,
    reserved: &mut Reservation,
) -> Result<(Bytes, Option<Turn>), Refusal> {
    if coding == Coding::Identity {
        return Ok((raw, None));
    }
    if let Some(body) = body::inflate_quickly(coding, &raw, most, buffers, reserved).await? {
        return Ok((body, None));
    }
    loop {
        let turn = turns.next().await;
        if let Some(body) = body::inflate(coding, raw.clone(), most, buffers, reserved).await? {
            return Ok((body, Some(turn)));
        }
        drop(turn);
        // All that it can grow to, so that it does not begin a third time.
        reserved.grow_to(buffers + raw.len() + most + 1).await;
    }
}

/// Waits for room for a body. A request of HTTP/2 beside others does not: they may need what comes behind its
/// body on the same connection.
async fn admit(
    key: &StreamingKey,
    source: SourceAddress,
    length: BodyLength,
    buffers: usize,
    version: Version,
    visit: &Visit,
) -> Result<Reservation, Refusal> {
    let context = &visit.context;
    let length = match length {
        BodyLength::Announced(bytes) => BodyLength::Announced(bytes + buffers),
        BodyLength::Unknown => length,
    };
    let room = context
        .ingest
        .admit_body(key, source, length, &context.drain);
    if version < Version::HTTP_2 {
        return room.await;
    }
    match visit.wait_for_room() {
        Some(_waits) => room.await,
        None => tokio::select! {
            biased;
            reserved = room => reserved,
            () = std::future::ready(()) => Err(Refusal::Busy),
        },
    }
}

/// Takes a request that may come again, and returns whether it came before.
async fn submit_once(
    context: &ListenerContext,
    submission: Submission<'_>,
    mark: Mark,
) -> Result<bool, Refusal> {
    let claim = loop {
        match context.idempotency.begin(mark, now_ns()) {
            Begin::First(claim) => break claim,
            Begin::Repeated => {
                meters::replayed();
                return Ok(true);
            }
            Begin::Other => return Err(Refusal::IdempotencyMismatch),
            // Nothing is sent on it: it closes when the first request is done with, well or not.
            Begin::Running(mut first) => {
                let _ = first.changed().await;
            }
        }
    };
    let submitted = context
        .ingest
        .submit_acked(Source::Http, submission, Some(mark));
    let ticket = submitted.await?;
    // What was appended will be there, also if the client does not wait for it and this task is dropped. So
    // the commit is waited for in a task of its own, without a gap before it.
    let committing = context.tasks.spawn(async move {
        let committed = ticket.await;
        if committed.is_ok() {
            claim.taken(now_ns());
        }
        committed
    });
    match committing.await {
        Ok(Ok(())) => Ok(false),
        Ok(Err(_)) | Err(_) => Err(Refusal::CommitFailed),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey<'_>>, Refusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (IdempotencyKey::parse(value.as_bytes()), values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Refusal::IdempotencyKey),
    }
}

/// What a body is worth: what is to be kept of it, and the answer once it is.
struct CheckedBody {
    encoding: Encoding,
    payload: Bytes,
    /// Where the Batch says it came from.
    source_ip: Option<IpAddr>,
    /// U+FFFD in the payload that stands for what is no Unicode.
    replaced: u64,
    taken: Outcome,
}

fn check_body(endpoint: Endpoint, body: Bytes, key: &StreamingKey) -> Result<CheckedBody, Refusal> {
    match endpoint {
        Endpoint::Events => judge_lines(LineKind::Event, Encoding::JsonEvents, &body),
        Endpoint::Logs => judge_lines(LineKind::Log, Encoding::JsonLogs, &body),
        Endpoint::Ingest => judge_batch(&body, key),
    }
}

fn judge_lines(kind: LineKind, encoding: Encoding, body: &Bytes) -> Result<CheckedBody, Refusal> {
    let checked = json_lines::check(kind, body);
    if checked.accepted == 0 {
        return Err(match checked.errors.into_iter().next() {
            Some(first) => Refusal::AllLinesRejected {
                lines: checked.rejected,
                first_line: first.line,
                first_error: first.error,
            },
            None => Refusal::EmptyBody(JSON_LINES),
        });
    }
    Ok(CheckedBody {
        encoding,
        payload: checked.kept,
        source_ip: None,
        replaced: checked.replaced,
        taken: Outcome {
            accepted: checked.accepted,
            rejected: checked.rejected,
            replayed: false,
            errors: checked.errors,
        },
    })
}

fn judge_batch(body: &Bytes, key: &StreamingKey) -> Result<CheckedBody, Refusal> {
    if body.is_empty() {
        return Err(Refusal::EmptyBody(FLATBUFFER));
    }
    let batch = Batch::parse(body)?;
    if batch.api_key != *key {
        return Err(Refusal::KeyMismatch);
    }
    Ok(CheckedBody {
        encoding: Encoding::FlatBuffer {
            schema_type: batch.schema_type,
        },
        payload: body.slice_ref(batch.data),
        source_ip: batch.source_ip,
        replaced: 0,
        taken: Outcome {
            accepted: entries::count(batch.data),
            rejected: 0,
            replayed: false,
            errors: Vec::new(),
        },
    })
}

fn check_media_type(endpoint: Endpoint, value: Option<&[u8]>) -> Result<(), Refusal> {
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
        Endpoint::Ingest => Err(Refusal::MediaType(FLATBUFFER)),
        // Clients name JSON as they like, or not at all, and each line is judged. What a type of another format
        // announces would only be refused line by line.
        Endpoint::Events | Endpoint::Logs if essence.is_some_and(is_of_another_format) => {
            Err(Refusal::MediaType(JSON_LINES))
        }
        Endpoint::Events | Endpoint::Logs => Ok(()),
    }
}

/// Whether a media type is that of a format which no JSON is sent as.
fn is_of_another_format(essence: &[u8]) -> bool {
    const KINDS: [&str; 6] = [
        "audio/",
        "font/",
        "image/",
        "model/",
        "multipart/",
        "video/",
    ];
    const FORMATS: [&str; 10] = [
        "avro",
        "cbor",
        "flatbuffers",
        "grpc",
        "gzip",
        "msgpack",
        "protobuf",
        "thrift",
        "xml",
        "zip",
    ];
    let essence = essence.to_ascii_lowercase();
    // `application/vnd.google.protobuf`, `application/grpc+proto`, `application/x-msgpack`, `image/svg+xml`.
    let mut words = essence.split(|byte| matches!(byte, b'/' | b'.' | b'-' | b'+'));
    KINDS
        .iter()
        .any(|kind| essence.starts_with(kind.as_bytes()))
        || words.any(|word| FORMATS.iter().any(|format| format.as_bytes() == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_compared_without_case_and_parameters() {
        let json = |v: &str| check_media_type(Endpoint::Events, Some(v.as_bytes())).is_ok();
        assert!(json("Application/JSON; charset=utf-8"));
        assert!(json("text/plain;charset=UTF-8"));
        for other in [
            "application/octet-stream",
            "text/json",
            "application/json-lines",
            "application/vnd.api+json",
            "",
        ] {
            assert!(json(other), "{other}");
        }
        for other in [
            "multipart/form-data; boundary=x",
            "application/x-flatbuffers",
            "application/x-protobuf",
            "application/vnd.google.protobuf",
            "application/gRPC+proto",
            "application/msgpack",
            "text/xml; charset=utf-8",
            "image/png",
        ] {
            assert!(!json(other), "{other}");
        }
        assert!(check_media_type(Endpoint::Logs, None).is_ok());
        assert!(check_media_type(Endpoint::Ingest, None).is_err());
        assert!(check_media_type(Endpoint::Ingest, Some(b"application/json")).is_err());
        assert!(check_media_type(Endpoint::Ingest, Some(b"application/octet-stream")).is_ok());
    }
}
