//! Rows as `tell export` prints them: one JSON object a line, with every column of its table.
//!
//! `time` comes first (`rejected` has none), then the columns common to all tables, then the table's own in the
//! order of [`schema`](super::schema). Absent is null, and so is a float that JSON cannot write.

use std::io::Write;

use data_encoding::BASE64;
use memchr::memchr2;

use crate::journal::Facts;
use crate::tables::object::escape;
use crate::tables::rfc3339::{Fraction, write_time};
use crate::tables::row::{Row, TimeNs};
use crate::tables::schema::{COMMON, Column, Kind, Unit};
use crate::tables::values::Value;

/// The columns common to all rows of a record, written once for all of them.
#[derive(Clone, Debug)]
pub struct Common {
    text: Vec<u8>,
}

impl Common {
    /// Those of a record with these facts.
    pub fn of(facts: &Facts) -> Self {
        let received_at_ns = TimeNs::try_from(facts.received_at_ns).unwrap_or(TimeNs::MAX);
        let (peer, key_id) = (facts.peer.to_string(), facts.key_id.to_string());
        let values = [
            Value::Time(received_at_ns),
            Value::Text(facts.source.as_str()),
            Value::Text(&peer),
            Value::Text(&key_id),
        ];
        let mut text = Vec::new();
        for (column, value) in COMMON.iter().zip(values) {
            write_column(&mut text, column, value);
        }
        Self { text }
    }
}

/// Appends `row` and a newline to `out`.
pub fn write_row(out: &mut Vec<u8>, common: &Common, row: &Row<'_>) {
    let start = out.len();
    let mut has_common = false;
    row.values(|column, value| {
        if !has_common && !matches!(value, Value::Time(_)) {
            out.extend_from_slice(&common.text);
            has_common = true;
        }
        write_column(out, column, value);
    });
    // Each column begins with a comma, of which the first is the object's brace.
    if let Some(first) = out.get_mut(start) {
        *first = b'{';
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a comma, the name and the value.
#[inline]
fn write_column(out: &mut Vec<u8>, column: &Column, value: Value<'_>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(column.name.as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        Value::Text(text) => {
            out.push(b'"');
            escape(text, |piece| out.extend_from_slice(piece.as_bytes()));
            out.push(b'"');
        }
        Value::Time(time_ns) => {
            let fraction = match column.kind {
                Kind::Time(Unit::Nanos) => Fraction::Nanos,
                _ => Fraction::Millis,
            };
            out.push(b'"');
            write_time(out, time_ns, fraction);
            out.push(b'"');
        }
        Value::Json(text) => write_json(out, text),
        // Writing to a Vec does not fail. The form of `{:?}` is JSON: shortest digits, with an exponent where they
        // would be many.
        Value::Float(value) if value.is_finite() => _ = write!(out, "{value:?}"),
        Value::Integer(value) => _ = write!(out, "{value}"),
        Value::Bytes(bytes) => write_base64(out, bytes),
        Value::Null | Value::Float(_) => out.extend_from_slice(b"null"),
    }
}

/// JSON text as it is, without the line breaks that may stand between its tokens: inside a string JSON has none.
fn write_json(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr2(b'\n', b'\r', rest) {
        let (piece, after) = rest.split_at(at);
        out.extend_from_slice(piece);
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + BASE64.encode_len(bytes.len()), 0);
    if let Some(encoded) = out.get_mut(start..) {
        BASE64.encode_mut(bytes, encoded);
    }
    out.push(b'"');
}

/// What the fuzzer checks.
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod tests;
