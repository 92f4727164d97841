//! What a peer can do wrong, or be refused for, and what each protocol makes of it: one table.

use std::fmt;

use crate::journal::Refused;
use crate::limits;
use crate::wire::batch::BatchError;
use crate::wire::frame::FrameFault;
use crate::wire::proxy::ProxyFault;
use crate::wire::syslog::{FramingError, KeyError};

/// One variant per fault. The text tells the peer what is wrong and what would be right; it never holds
/// anything the peer sent.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The key is missing, malformed or unknown. The same for all three, so that it tells nothing.
    #[error(
        "a valid streaming key is required: Authorization: Bearer <32 hex>, X-API-Key: <32 hex> or ?token=<32 hex>"
    )]
    Unauthorized,
    /// A key that was good when it was used on this connection no longer is.
    #[error("the streaming key was revoked")]
    Revoked,
    /// The Batch carries another key than the request.
    #[error("the batch carries another key than the request")]
    KeyMismatch,
    /// The length prefix of a frame.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// The envelope of a frame.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A connection ended inside a frame or message.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// Nothing authenticated came in time, or a body stopped.
    #[error("nothing came for {0} seconds")]
    TimedOut(u64),
    /// The handshake of TLS failed: no common version, no client certificate, or no TLS at all.
    #[error("the TLS handshake failed")]
    TlsHandshake,
    /// A connection to a listener behind proxies came from somewhere else.
    #[error("this listener is for the proxies of trusted_proxies")]
    ProxyUntrusted,
    /// The PROXY header in front of a connection.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    /// A syslog stream that cannot be followed.
    #[error(transparent)]
    SyslogFraming(#[from] FramingError),
    /// A syslog message with a malformed key, or with several.
    #[error(transparent)]
    SyslogKey(KeyError),
    /// A syslog message without a key, on a connection that none came on before.
    #[error(
        "the message has no streaming key: put [tell@32473 key=\"<32 hex>\"] into its structured data, or the key and a space in front of it"
    )]
    SyslogNoKey,
    /// A listener that is bound to a workspace, and a sender that is not among those who may use it.
    #[error("this listener takes messages from the networks in its allow list only")]
    SourceNotAllowed,
    /// A datagram without anything in it.
    #[error("the datagram is empty")]
    SyslogEmpty,
    /// The body has nothing in it.
    #[error("the body is empty: expected {0}")]
    EmptyBody(&'static str),
    /// No line of the body is good.
    #[error("all {lines} lines were rejected; line {first_line}: {first_error}")]
    AllLinesRejected {
        /// How many.
        lines: u64,
        /// Number of the first, from 1.
        first_line: u64,
        /// What is wrong with it.
        first_error: String,
    },
    /// The body is over the limit.
    #[error("the body is larger than {0} bytes; send less at a time")]
    BodyTooLarge(usize),
    /// The content type.
    #[error("the content type is not supported: expected {0}")]
    MediaType(&'static str),
    /// The content encoding.
    #[error(
        "the content encoding is not supported: expected none, or one of gzip, deflate, br and zstd"
    )]
    ContentEncoding,
    /// The body does not decompress.
    #[error("the body is no valid {0}")]
    Compression(&'static str),
    /// The body could not be read to its end.
    #[error("the body ended before its announced length")]
    BodyCut,
    /// The `Idempotency-Key`.
    #[error(
        "the Idempotency-Key is not accepted: expected one, of 1 to 255 printable ASCII characters"
    )]
    IdempotencyKey,
    /// The `Idempotency-Key` was used for something else.
    #[error(
        "the Idempotency-Key was used for a request with another body or path within the last 24 hours; nothing was kept, send this one with a key of its own"
    )]
    IdempotencyMismatch,
    /// The head of a request.
    #[error("the request is no valid HTTP: its first line or a header field is malformed")]
    HeadMalformed,
    /// The head of a request did not come to its end.
    #[error("the head of the request did not end within {0} seconds")]
    HeadLate(u64),
    /// The head is over the limit.
    #[error(
        "the head of the request is too large: {} KiB and {} header fields at most",
        limits::HTTP_BUFFER_BYTES >> 10,
        limits::HTTP_FIELDS
    )]
    HeadTooLarge,
    /// The target is over hyper's limit.
    #[error("the target of the request is too long")]
    TargetTooLong,
    /// The version of HTTP.
    #[error("the version of HTTP is not supported; use HTTP/1.1 or HTTP/2")]
    HttpVersion,
    /// A request of HTTP/1.1 names no host, or several.
    #[error("a request of HTTP/1.1 needs one Host header field")]
    Host,
    /// The transfer coding.
    #[error(
        "the transfer coding is not supported: expected chunked alone; how a body is compressed belongs into Content-Encoding"
    )]
    TransferCoding,
    /// Something else than TLS came where TLS is spoken.
    #[error("this port speaks TLS: use https://")]
    NoTls,
    /// No such path.
    #[error("no such path; there are /v1/events, /v1/logs, /v1/ingest, /health and /ready")]
    NotFound,
    /// The path exists, the method does not.
    #[error("the method is not allowed here; use {0}")]
    Method(&'static str),
    /// More is queued than may be.
    #[error("the server is busy; nothing was kept, send it again")]
    Busy,
    /// Disk or limit.
    #[error("the server's journal is full; nothing was kept, send it again later")]
    Full,
    /// The journal stopped or the server is shutting down.
    #[error("the server is stopping; nothing was kept, send it again")]
    Stopping,
    /// The commit failed.
    #[error("the data could not be written; whether it was kept is unknown, send it again")]
    CommitFailed,
}

/// What a fault means to each protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// `error` in the HTTP body, and the `reason` label of metrics.
    pub code: &'static str,
}

impl Refusal {
    /// The table.
    pub const fn answer(&self) -> Answer {
        let (status, code) = match self {
            Self::Unauthorized => (401, "unauthorized"),
            Self::Revoked => (401, "revoked"),
            Self::KeyMismatch => (403, "key_mismatch"),
            Self::Frame(FrameFault::Empty) => (400, "frame_empty"),
            Self::Frame(FrameFault::TooLong { .. }) => (413, "frame_too_long"),
            Self::Batch(_) => (400, "invalid_batch"),
            Self::Truncated => (400, "truncated"),
            Self::TimedOut(_) => (408, "timeout"),
            Self::TlsHandshake => (400, "tls_handshake"),
            Self::ProxyUntrusted => (403, "proxy_untrusted"),
            Self::Proxy(_) => (400, "proxy_header"),
            Self::SyslogFraming(_) => (400, "syslog_framing"),
            Self::SyslogKey(_) => (401, "invalid_key"),
            Self::SyslogNoKey => (401, "no_key"),
            Self::SourceNotAllowed => (403, "source_not_allowed"),
            Self::SyslogEmpty => (400, "empty_message"),
            Self::EmptyBody(_) => (400, "empty_body"),
            Self::AllLinesRejected { .. } => (400, "invalid_lines"),
            Self::BodyTooLarge(_) => (413, "payload_too_large"),
            Self::MediaType(_) => (415, "unsupported_media_type"),
            Self::ContentEncoding => (415, "unsupported_encoding"),
            Self::Compression(_) => (400, "invalid_compression"),
            Self::BodyCut => (400, "incomplete_body"),
            Self::IdempotencyKey => (400, "invalid_idempotency_key"),
            Self::IdempotencyMismatch => (422, "idempotency_mismatch"),
            Self::HeadMalformed => (400, "malformed_request"),
            Self::HeadLate(_) => (408, "timeout"),
            Self::HeadTooLarge => (431, "head_too_large"),
            Self::TargetTooLong => (414, "target_too_long"),
            Self::HttpVersion => (505, "http_version"),
            Self::Host => (400, "invalid_host"),
            Self::TransferCoding => (501, "unsupported_transfer_coding"),
            Self::NoTls => (400, "tls_needed"),
            Self::NotFound => (404, "not_found"),
            Self::Method(_) => (405, "method_not_allowed"),
            Self::Busy => (503, "busy"),
            Self::Full => (503, "journal_full"),
            Self::Stopping => (503, "stopping"),
            Self::CommitFailed => (503, "commit_failed"),
        };
        Answer { status, code }
    }

    /// Whether somebody tried to get in without a good key. A malformed frame is no such attempt, nor is a
    /// key that was good a moment ago.
    pub const fn is_failed_authentication(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized | Self::SyslogKey(_) | Self::SyslogNoKey
        )
    }

    /// Whether the same thing sent again later may well be accepted.
    pub const fn is_transient(&self) -> bool {
        self.answer().status == 503
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::Unauthorized,
            other => Self::SyslogKey(other),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => Self::Busy,
            Refused::Full(_) => Self::Full,
            // The configuration keeps the limits of the listeners below the size of a segment.
            Refused::TooLarge | Refused::Failed(_) | Refused::Closed => Self::Stopping,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.code)
    }
}
