//! Rows of the entries in a Batch's data.

use std::borrow::Cow;
use std::fmt::Write;

use crate::journal::Record;
use crate::tables::decode::payload::{EVENT_OBJECTS, Payload};
use crate::tables::decode::{reject, time_ms, time_ns};
use crate::tables::id::{hex, uuid};
use crate::tables::object::{Label, append_object};
use crate::tables::row::{EventRow, LogRow, MetricRow, Row, SnapshotRow, SpanRow};
use crate::wire::entries::{
    Bucket, EVENT_TYPES, Entries, Entry, Event, LOG_LEVELS, LOG_TYPES, LogEntry, METRIC_TYPES,
    MetricEntry, SPAN_KINDS, SPAN_STATUSES, Snapshot, Span, TEMPORALITIES,
};
use crate::wire::json::JsonError;
use crate::wire::surrogates::replace_lone;

pub(super) fn decode(record: &Record<'_>, schema_type: u8, each: &mut dyn FnMut(Row<'_>)) {
    match schema_type {
        1 => rows::<Event<'_>>(record, each),
        2 => rows::<LogEntry<'_>>(record, each),
        3 => rows::<MetricEntry<'_>>(record, each),
        4 => rows::<Span<'_>>(record, each),
        5 => rows::<Snapshot<'_>>(record, each),
        other => {
            let reason = format!("schema_type: expected 1 (event) to 5 (snapshot), found {other}");
            reject(each, "unknown", reason, record.payload);
        }
    }
}

/// An entry that becomes a row.
trait IntoRow<'a>: Entry<'a> {
    /// The schema's name in `rejected`.
    const SCHEMA: &'static str;

    /// The JSON object that comes with it.
    fn payload(&self) -> Option<&'a [u8]>;

    /// Gives `each` the row; the members of the JSON object are in `payload`.
    fn row(&self, record: &Record<'_>, payload: &mut Payload<'_>, each: &mut dyn FnMut(Row<'_>));
}

fn rows<'a, E: IntoRow<'a>>(record: &Record<'a>, each: &mut dyn FnMut(Row<'_>)) {
    let entries = match Entries::<E>::parse(record.payload) {
        Ok(entries) => entries,
        Err(error) => return reject(each, E::SCHEMA, error.to_string(), record.payload),
    };
    let total = entries.len();
    let mut payload = Payload::default();
    let mut sound = 0;
    let mut first_error = None;
    for (index, entry) in entries.enumerate() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                first_error.get_or_insert((index + 1, error));
                continue;
            }
        };
        sound += 1;
        let written = match entry.payload().and_then(replace_lone) {
            None => payload
                .read(entry.payload())
                .map(|()| entry.row(record, &mut payload, each)),
            Some(replaced) => {
                let mut payload = Payload::default();
                payload
                    .read(Some(&replaced))
                    .map(|()| entry.row(record, &mut payload, each))
            }
        };
        if let Err(error) = written {
            let reason = payload_reason(index + 1, total, &error);
            reject(each, E::SCHEMA, reason, entry.payload().unwrap_or_default());
        }
    }
    if let Some((number, error)) = first_error {
        let broken = total - sound;
        let reason = format!(
            "{broken} of {total} entries not decoded, the first is number {number}: {error}"
        );
        reject(each, E::SCHEMA, reason, record.payload);
    }
}

fn payload_reason(number: usize, total: usize, error: &JsonError) -> String {
    format!("payload of entry {number} of {total}: {error}")
}

impl<'a> IntoRow<'a> for Event<'a> {
    const SCHEMA: &'static str = "event";

    fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    fn row(&self, record: &Record<'_>, payload: &mut Payload<'_>, each: &mut dyn FnMut(Row<'_>)) {
        let user_id = payload.take_id("user_id").filter(|id| !id.is_empty());
        let group_id = payload.take_id("group_id").filter(|id| !id.is_empty());
        payload.unnest(EVENT_OBJECTS);
        each(Row::Event(EventRow {
            time_ns: time_ms(self.timestamp_ms, record),
            kind: from_1(&EVENT_TYPES, self.event_type),
            name: self.event_name.map(Cow::Borrowed),
            user_id,
            device_id: uuid(self.device_id),
            session_id: uuid(self.session_id),
            group_id,
            service: self.service.map(Cow::Borrowed),
            properties: payload.object(),
        }));
    }
}

impl<'a> IntoRow<'a> for LogEntry<'a> {
    const SCHEMA: &'static str = "log";

    fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    fn row(&self, record: &Record<'_>, payload: &mut Payload<'_>, each: &mut dyn FnMut(Row<'_>)) {
        let message = payload.take_text("message");
        each(Row::Log(LogRow {
            time_ns: time_ms(self.timestamp_ms, record),
            kind: from_1(&LOG_TYPES, self.event_type),
            level: from_0(&LOG_LEVELS, self.level),
            message,
            service: self.service.map(Cow::Borrowed),
            host: self.source.map(Cow::Borrowed),
            session_id: uuid(self.session_id),
            attributes: payload.object(),
            syslog: None,
        }));
    }
}

impl<'a> IntoRow<'a> for MetricEntry<'a> {
    const SCHEMA: &'static str = "metric";

    fn payload(&self) -> Option<&'a [u8]> {
        None
    }

    fn row(&self, record: &Record<'_>, _: &mut Payload<'_>, each: &mut dyn FnMut(Row<'_>)) {
        let kind = from_1(&METRIC_TYPES, self.metric_type);
        let histogram = self.histogram.as_ref();
        each(Row::Metric(MetricRow {
            time_ns: time_ns(self.timestamp_ns, record),
            kind,
            name: Some(Cow::Borrowed(self.name)),
            value: (kind != Some("histogram")).then_some(self.value),
            labels: labels(self).map(Cow::Owned),
            temporality: from_0(&TEMPORALITIES, self.temporality),
            count: histogram.map(|h| h.count),
            sum: histogram.map(|h| h.sum),
            min: histogram.map(|h| h.min),
            max: histogram.map(|h| h.max),
            buckets: histogram.map(|h| Cow::Owned(buckets(&h.buckets))),
            service: self.service.map(Cow::Borrowed),
            host: self.source.map(Cow::Borrowed),
            session_id: uuid(self.session_id),
        }));
    }
}

impl<'a> IntoRow<'a> for Span<'a> {
    const SCHEMA: &'static str = "trace";

    fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    fn row(&self, record: &Record<'_>, payload: &mut Payload<'_>, each: &mut dyn FnMut(Row<'_>)) {
        each(Row::Span(SpanRow {
            time_ns: time_ns(self.timestamp_ns, record),
            duration_ns: Some(self.duration_ns),
            trace_id: hex(self.trace_id),
            span_id: hex(self.span_id),
            parent_span_id: hex(self.parent_span_id),
            name: self.name.map(Cow::Borrowed),
            kind: from_0(&SPAN_KINDS, self.kind),
            status: from_0(&SPAN_STATUSES, self.status),
            service: self.service.map(Cow::Borrowed),
            host: self.source.map(Cow::Borrowed),
            session_id: uuid(self.session_id),
            attributes: payload.object(),
        }));
    }
}

impl<'a> IntoRow<'a> for Snapshot<'a> {
    const SCHEMA: &'static str = "snapshot";

    fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    fn row(&self, record: &Record<'_>, payload: &mut Payload<'_>, each: &mut dyn FnMut(Row<'_>)) {
        each(Row::Snapshot(SnapshotRow {
            time_ns: time_ms(self.timestamp_ms, record),
            connector: self.source.map(Cow::Borrowed),
            entity: self.entity.map(Cow::Borrowed),
            properties: payload.object(),
        }));
    }
}

/// The name of a number of the wire, where names start at 0.
fn from_0(names: &[&'static str], number: u8) -> Option<&'static str> {
    names.get(usize::from(number)).copied()
}

/// The name of a number of the wire, where 0 is unknown.
fn from_1(names: &[&'static str], number: u8) -> Option<&'static str> {
    from_0(names, number.checked_sub(1)?)
}

fn labels(metric: &MetricEntry<'_>) -> Option<String> {
    let text = metric.labels.iter();
    let text = text.map(|(name, value)| (Cow::Borrowed(*name), Label::Text(value)));
    let integers = metric.int_labels.iter();
    let integers = integers.map(|(name, value)| (Cow::Borrowed(*name), Label::Integer(*value)));
    let labels: Vec<_> = text.chain(integers).collect();
    if labels.is_empty() {
        return None;
    }
    let mut object = String::new();
    append_object(&mut object, &labels);
    Some(object)
}

/// JSON has no infinity: the last bucket's bound is null.
fn buckets(buckets: &[Bucket]) -> String {
    let mut array = "[".to_owned();
    for Bucket { upper_bound, count } in buckets {
        if array.len() > 1 {
            array.push(',');
        }
        array.push_str("{\"upper_bound\":");
        if upper_bound.is_finite() {
            // The form of `{:?}` is JSON: shortest digits, with an exponent where they would be many.
            let _ = write!(array, "{upper_bound:?}");
        } else {
            array.push_str("null");
        }
        let _ = write!(array, ",\"count\":{count}}}");
    }
    array.push(']');
    array
}
