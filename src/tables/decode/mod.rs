//! Journal records to rows: what senders sent, in the columns of the tables.
//!
//! Nothing is dropped: what cannot be decoded becomes a row of `rejected` with its reason.
//!
//! - A payload whose FlatBuffer is broken at its root is rejected whole.
//! - Entries of a FlatBuffer are decoded one by one. Sound entries become rows, also after a broken
//!   one. Where a broken entry ends is not known, so one row of `rejected` with the whole payload
//!   stands for all broken entries of a record, and its reason counts them.
//! - An entry whose JSON payload is no object is rejected alone, with that JSON payload.
//! - JSON lines are decoded one by one; a broken one is rejected alone.

mod entries;
mod lines;
mod payload;

use crate::journal::{Encoding, Record};
use crate::tables::row::{RejectedRow, Row, TimeNs};
use crate::tables::syslog;
use crate::wire::json_lines::LineKind;

/// Gives `each` the rows of `record`, in the order of its entries.
///
/// Rows borrow from the record and from buffers that live until `each` returns.
pub fn decode<'a>(record: &Record<'a>, each: &mut dyn FnMut(Row<'_>)) {
    match record.facts.encoding {
        Encoding::FlatBuffer { schema_type } => entries::decode(record, schema_type, each),
        Encoding::JsonEvents => lines::decode(record, LineKind::Event, each),
        Encoding::JsonLogs => lines::decode(record, LineKind::Log, each),
        Encoding::Syslog => syslog::decode(record, each),
    }
}

/// What a payload claims to be, as the `schema` column of `rejected` shows it.
#[must_use]
pub const fn schema_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::FlatBuffer { schema_type: 1 } => "event",
        Encoding::FlatBuffer { schema_type: 2 } => "log",
        Encoding::FlatBuffer { schema_type: 3 } => "metric",
        Encoding::FlatBuffer { schema_type: 4 } => "trace",
        Encoding::FlatBuffer { schema_type: 5 } => "snapshot",
        Encoding::FlatBuffer { .. } => "unknown",
        Encoding::JsonEvents => "json_events",
        Encoding::JsonLogs => "json_logs",
        Encoding::Syslog => "syslog",
    }
}

fn reject(each: &mut dyn FnMut(Row<'_>), schema: &'static str, reason: String, payload: &[u8]) {
    each(Row::Rejected(RejectedRow {
        reason,
        schema: schema.into(),
        payload,
    }));
}

/// The sender's time, or that of receipt where the sender gives none (0). Saturates in the year 2262.
fn time_ns(sender_ns: u64, record: &Record<'_>) -> TimeNs {
    let ns = match sender_ns {
        0 => record.facts.received_at_ns,
        ns => ns,
    };
    TimeNs::try_from(ns).unwrap_or(TimeNs::MAX)
}

/// As [`time_ns`], of milliseconds.
fn time_ms(sender_ms: u64, record: &Record<'_>) -> TimeNs {
    time_ns(sender_ms.saturating_mul(1_000_000), record)
}

#[cfg(test)]
mod tests;
