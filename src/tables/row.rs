//! The tables and their columns: one shape per table, whatever listener the data came through.
//!
//! Rows borrow from the record they were decoded from. `None` is null. A column that holds an object is
//! JSON text here ([`Cow<str>`], one valid JSON value), an object in `tell export`.

use std::borrow::Cow;

/// A table of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// What people and devices did.
    Events,
    /// Log lines of applications and of syslog.
    Logs,
    /// Measured values.
    Metrics,
    /// Parts of traces.
    Spans,
    /// State read by connectors.
    Snapshots,
    /// Payloads that could not be decoded, with the reason.
    Rejected,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Logs,
        Self::Metrics,
        Self::Spans,
        Self::Snapshots,
        Self::Rejected,
    ];

    /// Its name, as commands, files and sinks write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Spans => "spans",
            Self::Snapshots => "snapshots",
            Self::Rejected => "rejected",
        }
    }

    /// The table of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == name)
    }
}

/// One row, without the columns common to all tables (those are the record's facts).
#[derive(Clone, Debug, PartialEq)]
pub enum Row<'a> {
    /// A row of `events`.
    Event(EventRow<'a>),
    /// A row of `logs`.
    Log(LogRow<'a>),
    /// A row of `metrics`.
    Metric(MetricRow<'a>),
    /// A row of `spans`.
    Span(SpanRow<'a>),
    /// A row of `snapshots`.
    Snapshot(SnapshotRow<'a>),
    /// A row of `rejected`.
    Rejected(RejectedRow<'a>),
}

impl Row<'_> {
    /// The table that the row belongs to.
    #[must_use]
    pub const fn table(&self) -> Table {
        match self {
            Self::Event(_) => Table::Events,
            Self::Log(_) => Table::Logs,
            Self::Metric(_) => Table::Metrics,
            Self::Span(_) => Table::Spans,
            Self::Snapshot(_) => Table::Snapshots,
            Self::Rejected(_) => Table::Rejected,
        }
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z; the tables show milliseconds except in metrics and spans.
pub type TimeNs = i64;

/// A row of `events`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventRow<'a> {
    /// When it happened, by the sender's clock; the time of receipt where the payload has none.
    pub time_ns: TimeNs,
    /// track, identify, group, alias, enrich, context; `None` for the wire's 0 and for unknown numbers.
    pub kind: Option<&'static str>,
    /// Name of the event.
    pub name: Option<Cow<'a, str>>,
    /// Who, as the sender's application knows them.
    pub user_id: Option<Cow<'a, str>>,
    /// UUID form where it is one, else the text as it came.
    pub device_id: Option<Cow<'a, str>>,
    /// UUID form where it is one, else the text as it came.
    pub session_id: Option<Cow<'a, str>>,
    /// The group that the user belongs to.
    pub group_id: Option<Cow<'a, str>>,
    /// The sending service.
    pub service: Option<Cow<'a, str>>,
    /// A JSON object: all that is left of the payload.
    pub properties: Option<Cow<'a, str>>,
}

/// A row of `logs`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogRow<'a> {
    /// When it was logged.
    pub time_ns: TimeNs,
    /// log or enrich.
    pub kind: Option<&'static str>,
    /// emergency, alert, critical, error, warning, notice, info, debug, trace.
    pub level: Option<&'static str>,
    /// The text.
    pub message: Option<Cow<'a, str>>,
    /// The logging service.
    pub service: Option<Cow<'a, str>>,
    /// Where it ran.
    pub host: Option<Cow<'a, str>>,
    /// UUID form where it is one, else the text as it came.
    pub session_id: Option<Cow<'a, str>>,
    /// A JSON object: all that is left of the payload.
    pub attributes: Option<Cow<'a, str>>,
    /// Only from syslog.
    pub syslog: Option<SyslogColumns<'a>>,
}

/// The columns of `logs` that only syslog fills.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyslogColumns<'a> {
    /// Facility keyword, for example `local0`.
    pub facility: Option<&'static str>,
    /// APP-NAME, or the TAG of RFC 3164.
    pub app: Option<Cow<'a, str>>,
    /// PROCID.
    pub procid: Option<Cow<'a, str>>,
    /// MSGID.
    pub msgid: Option<Cow<'a, str>>,
    /// A JSON object: `{"id": {"param": "value"}}`.
    pub structured_data: Option<Cow<'a, str>>,
}

/// A row of `metrics`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricRow<'a> {
    /// When it was measured.
    pub time_ns: TimeNs,
    /// gauge, counter, histogram.
    pub kind: Option<&'static str>,
    /// Name of the metric.
    pub name: Option<Cow<'a, str>>,
    /// The value; null for a histogram.
    pub value: Option<f64>,
    /// A JSON object of label to text or integer.
    pub labels: Option<Cow<'a, str>>,
    /// unspecified, cumulative, delta.
    pub temporality: Option<&'static str>,
    /// Histogram: number of observations.
    pub count: Option<u64>,
    /// Histogram: sum of the observations.
    pub sum: Option<f64>,
    /// Histogram: smallest observation.
    pub min: Option<f64>,
    /// Histogram: largest observation.
    pub max: Option<f64>,
    /// Histogram: a JSON array of `{"upper_bound": 0.5, "count": 3}`; an infinite bound is null.
    pub buckets: Option<Cow<'a, str>>,
    /// The measuring service.
    pub service: Option<Cow<'a, str>>,
    /// Where it ran.
    pub host: Option<Cow<'a, str>>,
    /// UUID form where it is one.
    pub session_id: Option<Cow<'a, str>>,
}

/// A row of `spans`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanRow<'a> {
    /// Start of the span.
    pub time_ns: TimeNs,
    /// Its length, nanoseconds.
    pub duration_ns: Option<u64>,
    /// Lower-case hex.
    pub trace_id: Option<Cow<'a, str>>,
    /// Lower-case hex.
    pub span_id: Option<Cow<'a, str>>,
    /// Lower-case hex.
    pub parent_span_id: Option<Cow<'a, str>>,
    /// Name of the operation.
    pub name: Option<Cow<'a, str>>,
    /// unspecified, internal, server, client, producer, consumer.
    pub kind: Option<&'static str>,
    /// unset, ok, error.
    pub status: Option<&'static str>,
    /// The service.
    pub service: Option<Cow<'a, str>>,
    /// Where it ran.
    pub host: Option<Cow<'a, str>>,
    /// UUID form where it is one.
    pub session_id: Option<Cow<'a, str>>,
    /// A JSON object.
    pub attributes: Option<Cow<'a, str>>,
}

/// A row of `snapshots`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotRow<'a> {
    /// When the state was read.
    pub time_ns: TimeNs,
    /// The connector that read it (the wire's `source`).
    pub connector: Option<Cow<'a, str>>,
    /// What it is about.
    pub entity: Option<Cow<'a, str>>,
    /// A JSON object.
    pub properties: Option<Cow<'a, str>>,
}

/// A row of `rejected`.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRow<'a> {
    /// Why it could not be decoded, in words.
    pub reason: String,
    /// What it claimed to be: event, log, metric, trace, snapshot, unknown, json_events, json_logs, syslog.
    pub schema: Cow<'a, str>,
    /// The bytes that could not be decoded: the whole payload, or the one line or element at fault.
    pub payload: &'a [u8],
}
