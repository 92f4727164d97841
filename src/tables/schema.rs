//! The columns of the tables, once: their names, types, units, whether they may be null, and where their values are
//! from. What is written of a row, in whatever format (by the table's values), and `docs/tables.md` follow from here.

use super::row::Table;
use crate::origin::Source;
use crate::wire::entries::{
    EVENT_TYPES, LOG_LEVELS, LOG_TYPES, METRIC_TYPES, SPAN_KINDS, SPAN_STATUSES, TEMPORALITIES,
};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in every format.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Whether there may be none.
    pub nullable: bool,
    /// Where its values are from.
    pub from: &'static str,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An instant, in UTC.
    Time(Unit),
    /// Text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A JSON object.
    Object,
    /// A JSON array of objects.
    Array,
    /// A double.
    Float,
    /// An integer from 0 to 2^64-1.
    Integer,
    /// An integer of nanoseconds.
    Nanoseconds,
    /// Bytes.
    Bytes,
}

/// How exact times are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a second.
    Millis,
    /// Billionths of a second.
    Nanos,
}

const fn column(name: &'static str, kind: Kind, from: &'static str) -> Column {
    Column {
        name,
        kind,
        nullable: true,
        from,
    }
}

const fn required(name: &'static str, kind: Kind, from: &'static str) -> Column {
    Column {
        name,
        kind,
        nullable: false,
        from,
    }
}

const SOURCES: [&str; 4] = [
    Source::Tcp.as_str(),
    Source::Http.as_str(),
    Source::SyslogTcp.as_str(),
    Source::SyslogUdp.as_str(),
];

/// What a payload of `rejected` claims to be.
pub const SCHEMAS: [&str; 9] = [
    "event",
    "log",
    "metric",
    "trace",
    "snapshot",
    "unknown",
    "json_events",
    "json_logs",
    "syslog",
];

const TIME: Column = required(
    "time",
    Kind::Time(Unit::Millis),
    "the sender; `received_at` where it gives none",
);

const TIME_NANOS: Column = required(
    "time",
    Kind::Time(Unit::Nanos),
    "the sender; `received_at` where it gives none",
);

const SESSION_ID: Column = column(
    "session_id",
    Kind::Text,
    "the sender; a UUID in lower case with hyphens where it is one, else as it came",
);

/// The columns of every table. In a row they stand behind `time`.
pub const COMMON: [Column; 4] = [
    required(
        "received_at",
        Kind::Time(Unit::Millis),
        "the server's clock",
    ),
    required("source", Kind::Word(&SOURCES), "the kind of listener"),
    required(
        "peer",
        Kind::Text,
        "address and port of the sender; what a trusted proxy or forwarder says it is for",
    ),
    required(
        "key_id",
        Kind::Text,
        "public id of the streaming key, `k-…`, or of the listener that stands for one",
    ),
];

/// The columns of `events` besides the common ones.
pub const EVENTS: [Column; 9] = [
    TIME,
    column(
        "type",
        Kind::Word(&EVENT_TYPES),
        "`type`; null for a number that a Batch has and that is none",
    ),
    column("name", Kind::Text, "`event`; the name in a Batch"),
    column(
        "user_id",
        Kind::Text,
        "the payload: text, or an integer as text",
    ),
    column(
        "device_id",
        Kind::Text,
        "the sender; a UUID in lower case with hyphens where it is one, else as it came",
    ),
    SESSION_ID,
    column(
        "group_id",
        Kind::Text,
        "the payload: text, or an integer as text",
    ),
    column("service", Kind::Text, "the sender"),
    column(
        "properties",
        Kind::Object,
        "all that is left of the payload; the members of `properties` and `traits` among it",
    ),
];

/// The columns of `logs` besides the common ones.
pub const LOGS: [Column; 13] = [
    TIME,
    column("type", Kind::Word(&LOG_TYPES), "`type`; `log` for syslog"),
    column(
        "level",
        Kind::Word(&LOG_LEVELS),
        "`level`; the severity in syslog's PRI",
    ),
    column(
        "message",
        Kind::Text,
        "`message`; the text of a syslog message",
    ),
    column("service", Kind::Text, "the sender; `app` of syslog"),
    column(
        "host",
        Kind::Text,
        "`source`, which the SDKs call component; HOSTNAME of syslog",
    ),
    SESSION_ID,
    column(
        "attributes",
        Kind::Object,
        "all that is left of the payload; of syslog what its columns cannot show",
    ),
    column("facility", Kind::Text, "syslog's PRI"),
    column("app", Kind::Text, "APP-NAME, or the tag of RFC 3164"),
    column("procid", Kind::Text, "PROCID, or the pid in the tag"),
    column("msgid", Kind::Text, "MSGID"),
    column(
        "structured_data",
        Kind::Object,
        "STRUCTURED-DATA: `{\"id\": {\"name\": \"value\"}}`, a list where a name comes again",
    ),
];

/// The columns of `metrics` besides the common ones.
pub const METRICS: [Column; 14] = [
    TIME_NANOS,
    column("type", Kind::Word(&METRIC_TYPES), "the sender"),
    column("name", Kind::Text, "the sender"),
    column("value", Kind::Float, "the sender; null for a histogram"),
    column(
        "labels",
        Kind::Object,
        "labels, with text or integers for values",
    ),
    column("temporality", Kind::Word(&TEMPORALITIES), "the sender"),
    column("count", Kind::Integer, "histogram: number of observations"),
    column("sum", Kind::Float, "histogram: their sum"),
    column("min", Kind::Float, "histogram: the smallest"),
    column("max", Kind::Float, "histogram: the largest"),
    column(
        "buckets",
        Kind::Array,
        "histogram: `[{\"upper_bound\": 0.5, \"count\": 3}]`, an infinite bound as null",
    ),
    column("service", Kind::Text, "the sender"),
    column(
        "host",
        Kind::Text,
        "`source`, which the SDKs call component",
    ),
    SESSION_ID,
];

/// The columns of `spans` besides the common ones.
pub const SPANS: [Column; 12] = [
    TIME_NANOS,
    column("duration_ns", Kind::Nanoseconds, "the sender"),
    column("trace_id", Kind::Text, "lower-case hex; null for zeros"),
    column("span_id", Kind::Text, "lower-case hex; null for zeros"),
    column(
        "parent_span_id",
        Kind::Text,
        "lower-case hex; null for zeros",
    ),
    column("name", Kind::Text, "the sender"),
    column("kind", Kind::Word(&SPAN_KINDS), "the sender"),
    column("status", Kind::Word(&SPAN_STATUSES), "the sender"),
    column("service", Kind::Text, "the sender"),
    column(
        "host",
        Kind::Text,
        "`source`, which the SDKs call component",
    ),
    SESSION_ID,
    column("attributes", Kind::Object, "the payload"),
];

/// The columns of `snapshots` besides the common ones.
pub const SNAPSHOTS: [Column; 4] = [
    TIME,
    column("connector", Kind::Text, "`source`"),
    column("entity", Kind::Text, "the sender"),
    column("properties", Kind::Object, "the payload"),
];

/// The columns of `rejected` besides the common ones. It has no time of its own.
pub const REJECTED: [Column; 3] = [
    required("reason", Kind::Text, "why it cannot be decoded"),
    required("schema", Kind::Word(&SCHEMAS), "what it claims to be"),
    required(
        "payload",
        Kind::Bytes,
        "the payload, or the line or entry at fault",
    ),
];

impl Table {
    /// What the table holds, in a line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Events => "What people and devices did.",
            Self::Logs => "Log lines of applications and of syslog.",
            Self::Metrics => "Measured values.",
            Self::Spans => "Parts of traces.",
            Self::Snapshots => "State that connectors read.",
            Self::Rejected => {
                "What could not be decoded, with the reason. Nothing that was accepted is dropped."
            }
        }
    }

    /// The columns besides the [`COMMON`] ones, in order; `time` is the first where the table has it.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Events => &EVENTS,
            Self::Logs => &LOGS,
            Self::Metrics => &METRICS,
            Self::Spans => &SPANS,
            Self::Snapshots => &SNAPSHOTS,
            Self::Rejected => &REJECTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::{env, fs};

    use super::*;

    #[test]
    fn names_are_unique_in_a_table_and_time_comes_first() {
        for table in Table::ALL {
            let columns = table.columns().iter().chain(&COMMON);
            let mut names: Vec<&str> = columns.map(|column| column.name).collect();
            let has_time = table.columns()[0].name == "time";
            assert_eq!(has_time, table != Table::Rejected);
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{table:?}");
        }
    }

    /// A kind as the page names it.
    fn kind(kind: Kind) -> String {
        match kind {
            Kind::Time(Unit::Millis) => "time, ms".to_owned(),
            Kind::Time(Unit::Nanos) => "time, ns".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Word(words) => format!("one of `{}`", words.join("`, `")),
            Kind::Object => "object".to_owned(),
            Kind::Array => "array".to_owned(),
            Kind::Float => "double".to_owned(),
            Kind::Integer => "integer, 64 bits".to_owned(),
            Kind::Nanoseconds => "integer, 64 bits, ns".to_owned(),
            Kind::Bytes => "bytes".to_owned(),
        }
    }

    fn listed(columns: &[Column]) -> String {
        let mut list = "| Column | Type | Null | From |\n|---|---|---|---|\n".to_owned();
        for column in columns {
            let (name, kind, from) = (column.name, kind(column.kind), column.from);
            let null = if column.nullable { "yes" } else { "" };
            writeln!(list, "| `{name}` | {kind} | {null} | {from} |").unwrap();
        }
        list
    }

    #[test]
    fn docs_tables_md_is_what_the_schema_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tables.md");
        let written = fs::read_to_string(path).unwrap();
        let (prose, _) = written.split_once("## Common to all\n").unwrap();
        let mut page = format!("{prose}## Common to all\n\n{}", listed(&COMMON));
        for table in Table::ALL {
            let (name, about) = (table.as_str(), table.about());
            let columns = listed(table.columns());
            write!(page, "\n## {name}\n\n{about}\n\n{columns}").unwrap();
        }
        if env::var_os("TELL_WRITE_DOCS").is_some() {
            fs::write(path, &page).unwrap();
        }
        assert!(
            fs::read_to_string(path).unwrap() == page,
            "docs/tables.md is out of date: TELL_WRITE_DOCS=1 cargo test --lib tables_md"
        );
    }
}
