//! The values of a row, with their columns: what every format is written from.

use super::row::{
    EventRow, LogRow, MetricRow, RejectedRow, Row, SnapshotRow, SpanRow, SyslogColumns,
};
use super::schema::{Column, EVENTS, Kind, LOGS, METRICS, REJECTED, SNAPSHOTS, SPANS};

/// The value of a column in one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// Nanoseconds since 1970.
    Time(i64),
    /// Text or a word.
    Text(&'a str),
    /// JSON text: an object or an array.
    Json(&'a str),
    /// A double.
    Float(f64),
    /// An integer, or nanoseconds.
    Integer(u64),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl Kind {
    /// Whether a value is of this kind.
    pub const fn admits(self, value: &Value<'_>) -> bool {
        match self {
            Self::Time(_) => matches!(value, Value::Null | Value::Time(_)),
            Self::Text | Self::Word(_) => matches!(value, Value::Null | Value::Text(_)),
            Self::Object | Self::Array => matches!(value, Value::Null | Value::Json(_)),
            Self::Float => matches!(value, Value::Null | Value::Float(_)),
            Self::Integer | Self::Nanoseconds => {
                matches!(value, Value::Null | Value::Integer(_))
            }
            Self::Bytes => matches!(value, Value::Null | Value::Bytes(_)),
        }
    }
}

/// Text, or none.
fn text(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Null, Value::Text)
}

fn json(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Null, Value::Json)
}

fn float(value: Option<f64>) -> Value<'static> {
    value.map_or(Value::Null, Value::Float)
}

fn integer(value: Option<u64>) -> Value<'static> {
    value.map_or(Value::Null, Value::Integer)
}

impl Row<'_> {
    /// Gives the values of the row to `each`, with their columns, in the order of [`Table::columns`](super::Table::columns).
    pub fn values<'r>(&'r self, each: impl FnMut(&'static Column, Value<'r>)) {
        match self {
            Self::Event(row) => zip(&EVENTS, row.values(), each),
            Self::Log(row) => zip(&LOGS, row.values(), each),
            Self::Metric(row) => zip(&METRICS, row.values(), each),
            Self::Span(row) => zip(&SPANS, row.values(), each),
            Self::Snapshot(row) => zip(&SNAPSHOTS, row.values(), each),
            Self::Rejected(row) => zip(&REJECTED, row.values(), each),
        }
    }
}

/// As many values as columns, or it does not compile.
fn zip<'r, const N: usize>(
    columns: &'static [Column; N],
    values: [Value<'r>; N],
    mut each: impl FnMut(&'static Column, Value<'r>),
) {
    for (column, value) in columns.iter().zip(values) {
        debug_assert!(column.kind.admits(&value), "{}: {value:?}", column.name);
        debug_assert!(column.nullable || value != Value::Null, "{}", column.name);
        each(column, value);
    }
}

impl EventRow<'_> {
    fn values(&self) -> [Value<'_>; EVENTS.len()] {
        [
            Value::Time(self.time_ns),
            text(self.kind),
            text(self.name.as_deref()),
            text(self.user_id.as_deref()),
            text(self.device_id.as_deref()),
            text(self.session_id.as_deref()),
            text(self.group_id.as_deref()),
            text(self.service.as_deref()),
            json(self.properties.as_deref()),
        ]
    }
}

impl LogRow<'_> {
    fn values(&self) -> [Value<'_>; LOGS.len()] {
        const NOT_SYSLOG: &SyslogColumns<'_> = &SyslogColumns {
            facility: None,
            app: None,
            procid: None,
            msgid: None,
            structured_data: None,
        };
        let syslog = self.syslog.as_ref().unwrap_or(NOT_SYSLOG);
        [
            Value::Time(self.time_ns),
            text(self.kind),
            text(self.level),
            text(self.message.as_deref()),
            text(self.service.as_deref()),
            text(self.host.as_deref()),
            text(self.session_id.as_deref()),
            json(self.attributes.as_deref()),
            text(syslog.facility),
            text(syslog.app.as_deref()),
            text(syslog.procid.as_deref()),
            text(syslog.msgid.as_deref()),
            json(syslog.structured_data.as_deref()),
        ]
    }
}

impl MetricRow<'_> {
    fn values(&self) -> [Value<'_>; METRICS.len()] {
        [
            Value::Time(self.time_ns),
            text(self.kind),
            text(self.name.as_deref()),
            float(self.value),
            json(self.labels.as_deref()),
            text(self.temporality),
            integer(self.count),
            float(self.sum),
            float(self.min),
            float(self.max),
            json(self.buckets.as_deref()),
            text(self.service.as_deref()),
            text(self.host.as_deref()),
            text(self.session_id.as_deref()),
        ]
    }
}

impl SpanRow<'_> {
    fn values(&self) -> [Value<'_>; SPANS.len()] {
        [
            Value::Time(self.time_ns),
            integer(self.duration_ns),
            text(self.trace_id.as_deref()),
            text(self.span_id.as_deref()),
            text(self.parent_span_id.as_deref()),
            text(self.name.as_deref()),
            text(self.kind),
            text(self.status),
            text(self.service.as_deref()),
            text(self.host.as_deref()),
            text(self.session_id.as_deref()),
            json(self.attributes.as_deref()),
        ]
    }
}

impl SnapshotRow<'_> {
    fn values(&self) -> [Value<'_>; SNAPSHOTS.len()] {
        [
            Value::Time(self.time_ns),
            text(self.connector.as_deref()),
            text(self.entity.as_deref()),
            json(self.properties.as_deref()),
        ]
    }
}

impl RejectedRow<'_> {
    fn values(&self) -> [Value<'_>; REJECTED.len()] {
        [
            Value::Text(&self.reason),
            Value::Text(&self.schema),
            Value::Bytes(self.payload),
        ]
    }
}
