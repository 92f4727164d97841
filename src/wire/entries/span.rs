//! Spans: the entries of traces.

use super::{Entry, Fields};
use crate::wire::flatbuffer::FlatBufferError;

/// Names of the kinds of span, from the wire's 0 on.
pub const SPAN_KINDS: [&str; 6] = [
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
];

/// Names of the states of a span, from the wire's 0 on.
pub const SPAN_STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// One span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<'a> {
    /// The trace it belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// The span itself.
    pub span_id: Option<[u8; 8]>,
    /// The span that caused it.
    pub parent_span_id: Option<[u8; 8]>,
    /// Start, nanoseconds since 1970; 0 if absent.
    pub timestamp_ns: u64,
    /// Nanoseconds; 0 if absent.
    pub duration_ns: u64,
    /// Name of the operation.
    pub name: Option<&'a str>,
    /// 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: u8,
    /// 0 unset, 1 ok, 2 error.
    pub status: u8,
    /// The host.
    pub source: Option<&'a str>,
    /// The service.
    pub service: Option<&'a str>,
    /// A UUID.
    pub session_id: Option<[u8; 16]>,
    /// A JSON object.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Entry<'a> for Span<'a> {
    const VECTOR: &'static str = "spans";

    fn read(fields: &mut Fields<'_, 'a>) -> Result<Self, FlatBufferError> {
        Ok(Self {
            trace_id: fields.id(0, "trace_id")?,
            span_id: fields.id(1, "span_id")?,
            parent_span_id: fields.id(2, "parent_span_id")?,
            timestamp_ns: fields.table.u64(3, "timestamp")?,
            duration_ns: fields.table.u64(4, "duration")?,
            name: fields.text(5, "name")?,
            kind: fields.table.u8(6, "kind")?,
            status: fields.table.u8(7, "status")?,
            source: fields.text(8, "source")?,
            service: fields.text(9, "service")?,
            session_id: fields.id(10, "session_id")?,
            payload: fields.bytes(11, "payload")?,
        })
    }
}
