//! Events, in both layouts that are in the wild.

use super::{Entry, Fields};
use crate::wire::flatbuffer::FlatBufferError;

/// Names of the event types, from the wire's 1 on.
pub const EVENT_TYPES: [&str; 6] = ["track", "identify", "group", "alias", "enrich", "context"];

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// 0 unknown, 1 track, 2 identify, 3 group, 4 alias, 5 enrich, 6 context.
    pub event_type: u8,
    /// Milliseconds since 1970; 0 if absent.
    pub timestamp_ms: u64,
    /// The sending service; SDK 0.1 and 0.2 have none.
    pub service: Option<&'a str>,
    /// A UUID.
    pub device_id: Option<[u8; 16]>,
    /// A UUID.
    pub session_id: Option<[u8; 16]>,
    /// Name of the event.
    pub event_name: Option<&'a str>,
    /// A JSON object with the user's ids and properties.
    pub payload: Option<&'a [u8]>,
}

/// The vtable of SDK 0.1 and 0.2 has this many slots; that of SDK 0.3 and later has one more, because
/// `service` was put in at id 2. The SDKs write all slots, also of absent fields, so this tells.
const SLOTS_WITHOUT_SERVICE: usize = 6;

impl<'a> Entry<'a> for Event<'a> {
    const VECTOR: &'static str = "events";

    fn read(fields: &mut Fields<'_, 'a>) -> Result<Self, FlatBufferError> {
        let has_service = fields.table.slot_count() > SLOTS_WITHOUT_SERVICE;
        let (service, first) = if has_service {
            (fields.text(2, "service")?, 3)
        } else {
            (None, 2)
        };
        Ok(Self {
            event_type: fields.table.u8(0, "event_type")?,
            timestamp_ms: fields.table.u64(1, "timestamp")?,
            service,
            device_id: fields.id(first, "device_id")?,
            session_id: fields.id(first + 1, "session_id")?,
            event_name: fields.text(first + 2, "event_name")?,
            payload: fields.bytes(first + 3, "payload")?,
        })
    }
}
