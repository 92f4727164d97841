//! Rows as `tell export` prints them: one JSON object a line, with every column of its table.
//!
//! `time` comes first (`rejected` has none), then the columns common to all tables, `received_at`,
//! `source`, `peer` and `key_id`, then the table's own in the order of TABLES. Absent is null, and so is
//! a float that JSON cannot write.

use std::borrow::Cow;
use std::io::Write;

use data_encoding::BASE64;
use memchr::memchr2;

use crate::journal::Facts;
use crate::tables::object::escape;
use crate::tables::rfc3339::{Fraction, write_time};
use crate::tables::row::{
    EventRow, LogRow, MetricRow, RejectedRow, Row, SnapshotRow, SpanRow, SyslogColumns, TimeNs,
};

/// The columns common to all rows of a record, written once for all of them.
#[derive(Clone, Debug)]
pub struct Common {
    text: Vec<u8>,
}

impl Common {
    /// Those of a record with these facts.
    pub fn of(facts: &Facts) -> Self {
        let mut text = b"\"received_at\":\"".to_vec();
        let received_at_ns = TimeNs::try_from(facts.received_at_ns).unwrap_or(TimeNs::MAX);
        write_time(&mut text, received_at_ns, Fraction::Millis);
        let (source, peer, key_id) = (facts.source.as_str(), facts.peer, facts.key_id);
        // Writing to a Vec does not fail. None of these has anything to escape.
        let _ = write!(
            text,
            "\",\"source\":\"{source}\",\"peer\":\"{peer}\",\"key_id\":\"{key_id}\""
        );
        Self { text }
    }
}

/// Appends `row` and a newline to `out`.
pub fn write_row(out: &mut Vec<u8>, common: &Common, row: &Row<'_>) {
    out.push(b'{');
    let mut line = Line { out };
    match row {
        Row::Event(row) => event(&mut line, common, row),
        Row::Log(row) => log(&mut line, common, row),
        Row::Metric(row) => metric(&mut line, common, row),
        Row::Span(row) => span(&mut line, common, row),
        Row::Snapshot(row) => snapshot(&mut line, common, row),
        Row::Rejected(row) => rejected(&mut line, common, row),
    }
    out.extend_from_slice(b"}\n");
}

fn event(line: &mut Line<'_>, common: &Common, row: &EventRow<'_>) {
    line.times(row.time_ns, Fraction::Millis, common);
    line.keyword("type", row.kind);
    line.text("name", &row.name);
    line.text("user_id", &row.user_id);
    line.text("device_id", &row.device_id);
    line.text("session_id", &row.session_id);
    line.text("group_id", &row.group_id);
    line.text("service", &row.service);
    line.json("properties", &row.properties);
}

fn log(line: &mut Line<'_>, common: &Common, row: &LogRow<'_>) {
    line.times(row.time_ns, Fraction::Millis, common);
    line.keyword("type", row.kind);
    line.keyword("level", row.level);
    line.text("message", &row.message);
    line.text("service", &row.service);
    line.text("host", &row.host);
    line.text("session_id", &row.session_id);
    line.json("attributes", &row.attributes);
    const NOT_SYSLOG: &SyslogColumns<'_> = &SyslogColumns {
        facility: None,
        app: None,
        procid: None,
        msgid: None,
        structured_data: None,
    };
    let syslog = row.syslog.as_ref().unwrap_or(NOT_SYSLOG);
    line.keyword("facility", syslog.facility);
    line.text("app", &syslog.app);
    line.text("procid", &syslog.procid);
    line.text("msgid", &syslog.msgid);
    line.json("structured_data", &syslog.structured_data);
}

fn metric(line: &mut Line<'_>, common: &Common, row: &MetricRow<'_>) {
    line.times(row.time_ns, Fraction::Nanos, common);
    line.keyword("type", row.kind);
    line.text("name", &row.name);
    line.float("value", row.value);
    line.json("labels", &row.labels);
    line.keyword("temporality", row.temporality);
    line.integer("count", row.count);
    line.float("sum", row.sum);
    line.float("min", row.min);
    line.float("max", row.max);
    line.json("buckets", &row.buckets);
    line.text("service", &row.service);
    line.text("host", &row.host);
    line.text("session_id", &row.session_id);
}

fn span(line: &mut Line<'_>, common: &Common, row: &SpanRow<'_>) {
    line.times(row.time_ns, Fraction::Nanos, common);
    line.integer("duration_ns", row.duration_ns);
    line.text("trace_id", &row.trace_id);
    line.text("span_id", &row.span_id);
    line.text("parent_span_id", &row.parent_span_id);
    line.text("name", &row.name);
    line.keyword("kind", row.kind);
    line.keyword("status", row.status);
    line.text("service", &row.service);
    line.text("host", &row.host);
    line.text("session_id", &row.session_id);
    line.json("attributes", &row.attributes);
}

fn snapshot(line: &mut Line<'_>, common: &Common, row: &SnapshotRow<'_>) {
    line.times(row.time_ns, Fraction::Millis, common);
    line.text("connector", &row.connector);
    line.text("entity", &row.entity);
    line.json("properties", &row.properties);
}

fn rejected(line: &mut Line<'_>, common: &Common, row: &RejectedRow<'_>) {
    line.out.extend_from_slice(&common.text);
    line.keyword("reason", Some(&row.reason));
    line.keyword("schema", Some(&row.schema));
    line.base64("payload", row.payload);
}

/// The columns of one line, appended one after another.
struct Line<'o> {
    out: &'o mut Vec<u8>,
}

impl Line<'_> {
    /// `time`, and the columns common to all tables.
    fn times(&mut self, time_ns: TimeNs, fraction: Fraction, common: &Common) {
        self.out.extend_from_slice(b"\"time\":\"");
        write_time(self.out, time_ns, fraction);
        self.out.extend_from_slice(b"\",");
        self.out.extend_from_slice(&common.text);
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn text(&mut self, name: &str, text: &Option<Cow<'_, str>>) {
        self.keyword(name, text.as_deref());
    }

    fn keyword(&mut self, name: &str, text: Option<&str>) {
        self.name(name);
        let Some(text) = text else {
            return self.null();
        };
        self.out.push(b'"');
        escape(text, |piece| self.out.extend_from_slice(piece.as_bytes()));
        self.out.push(b'"');
    }

    fn float(&mut self, name: &str, value: Option<f64>) {
        self.name(name);
        match value.filter(|value| value.is_finite()) {
            // The form of `{:?}` is JSON: shortest digits, with an exponent where they would be many.
            Some(value) => {
                let _ = write!(self.out, "{value:?}");
            }
            None => self.null(),
        }
    }

    fn integer(&mut self, name: &str, value: Option<u64>) {
        self.name(name);
        match value {
            Some(value) => {
                let _ = write!(self.out, "{value}");
            }
            None => self.null(),
        }
    }

    /// JSON text as it is, without the line breaks that may stand between its tokens: inside a string
    /// JSON has none.
    fn json(&mut self, name: &str, text: &Option<Cow<'_, str>>) {
        self.name(name);
        let Some(text) = text else {
            return self.null();
        };
        let mut rest = text.as_bytes();
        while let Some(at) = memchr2(b'\n', b'\r', rest) {
            let (piece, after) = rest.split_at(at);
            self.out.extend_from_slice(piece);
            rest = after.get(1..).unwrap_or_default();
        }
        self.out.extend_from_slice(rest);
    }

    fn base64(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + BASE64.encode_len(bytes.len()), 0);
        if let Some(encoded) = self.out.get_mut(start..) {
            BASE64.encode_mut(bytes, encoded);
        }
        self.out.push(b'"');
    }
}

/// What the fuzzer checks.
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod tests;
