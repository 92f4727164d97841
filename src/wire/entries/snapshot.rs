//! Snapshots: state that connectors read.

use super::{Entry, Fields};
use crate::wire::flatbuffer::FlatBufferError;

/// One snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// Milliseconds since 1970; 0 if absent.
    pub timestamp_ms: u64,
    /// The connector that read it.
    pub source: Option<&'a str>,
    /// What it is about.
    pub entity: Option<&'a str>,
    /// A JSON object.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Entry<'a> for Snapshot<'a> {
    const VECTOR: &'static str = "snapshots";

    fn read(fields: &mut Fields<'_, 'a>) -> Result<Self, FlatBufferError> {
        Ok(Self {
            timestamp_ms: fields.table.u64(0, "timestamp")?,
            source: fields.text(1, "source")?,
            entity: fields.text(2, "entity")?,
            payload: fields.bytes(3, "payload")?,
        })
    }
}
