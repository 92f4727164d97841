//! Log entries.

use super::{Entry, Fields};
use crate::wire::flatbuffer::FlatBufferError;

/// Names of the log types, from the wire's 1 on.
pub const LOG_TYPES: [&str; 2] = ["log", "enrich"];

/// Names of the levels, from the wire's 0 on: RFC 5424 table 2, and trace.
pub const LOG_LEVELS: [&str; 9] = [
    "emergency",
    "alert",
    "critical",
    "error",
    "warning",
    "notice",
    "info",
    "debug",
    "trace",
];

/// One log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// 0 unknown, 1 log, 2 enrich.
    pub event_type: u8,
    /// A UUID.
    pub session_id: Option<[u8; 16]>,
    /// 0 emergency to 7 debug as in RFC 5424, 8 trace; 0 if absent, the default of FlatBuffers.
    pub level: u8,
    /// Milliseconds since 1970; 0 if absent.
    pub timestamp_ms: u64,
    /// The host, or the component where the application names one.
    pub source: Option<&'a str>,
    /// The logging service.
    pub service: Option<&'a str>,
    /// A JSON object; the text is under "message".
    pub payload: Option<&'a [u8]>,
}

impl<'a> Entry<'a> for LogEntry<'a> {
    const VECTOR: &'static str = "logs";

    fn read(fields: &mut Fields<'_, 'a>) -> Result<Self, FlatBufferError> {
        Ok(Self {
            event_type: fields.table.u8(0, "event_type")?,
            session_id: fields.id(1, "session_id")?,
            level: fields.table.u8(2, "level")?,
            timestamp_ms: fields.table.u64(3, "timestamp")?,
            source: fields.text(4, "source")?,
            service: fields.text(5, "service")?,
            payload: fields.bytes(6, "payload")?,
        })
    }
}
