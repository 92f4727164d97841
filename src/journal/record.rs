//! What one journal record says: the facts of its envelope, and the payload as it came.

use std::net::SocketAddr;

use crate::origin::{KeyId, Source, Workspace};

/// What kind of bytes the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The `data` of a Batch; the byte is the Batch's `schema_type` as it came, known or not.
    FlatBuffer {
        /// 0 unknown, 1 event, 2 log, 3 metric, 4 trace, 5 snapshot; others are kept too.
        schema_type: u8,
    },
    /// Event lines of POST /v1/events: JSON objects, each ended by a newline.
    JsonEvents,
    /// Log lines of POST /v1/logs.
    JsonLogs,
    /// Syslog messages without their keys, as [`crate::wire::syslog`] packs them.
    Syslog,
}

/// The envelope facts: what the server knew of a payload when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The workspace of the key that the payload came with.
    pub workspace: Workspace,
    /// Public id of that key.
    pub key_id: KeyId,
    /// The kind of listener it came through.
    pub source: Source,
    /// What kind of bytes it is.
    pub encoding: Encoding,
    /// The server's clock at receipt, nanoseconds since 1970-01-01T00:00:00Z.
    pub received_at_ns: u64,
    /// The sender. An IPv4-mapped address is kept as IPv4.
    pub peer: SocketAddr,
}

/// What a record of an idempotent request carries, so that the data and the word that it was taken are one
/// record: there or not there together, whenever the process or the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which request: a digest of the key's public id and the `Idempotency-Key`.
    pub request: [u8; 16],
    /// What it said: a digest of its endpoint and body.
    pub body: [u8; 16],
}

impl Mark {
    /// Length on disk, bytes.
    pub const BYTES: usize = 32;

    /// As it stands in front of a payload, and in the file of the index.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..16].copy_from_slice(&self.request);
        out[16..].copy_from_slice(&self.body);
        out
    }

    /// The mark at the start of `bytes`, and what is behind it.
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (request, rest) = bytes.split_first_chunk()?;
        let (body, rest) = rest.split_first_chunk()?;
        let mark = Self {
            request: *request,
            body: *body,
        };
        Some((mark, rest))
    }
}

/// One record as it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Position in the order of arrival: unique and growing over the life of a data directory.
    pub sequence: u64,
    /// The envelope facts.
    pub facts: Facts,
    /// Of an idempotent request: which.
    pub mark: Option<Mark>,
    /// The payload, byte for byte as it came (of a Batch its `data`; of syslog without the key).
    pub payload: &'a [u8],
}
