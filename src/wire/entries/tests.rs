//! Entries as the SDK's encoder writes them, hand-made ones for what it does not write, and hostile ones.

use proptest::prelude::*;
use tell_encoding::{
    EventParams, EventType, HistogramParams, LabelParam, LogEntryParams, LogEventType, LogLevel,
    MetricEntryParams, MetricType, Temporality, encode_event_data_into, encode_log_data_into,
    encode_metric_data_into,
};

use super::*;
use crate::wire::testing::{Field, table};

fn sole<'a, E: Entry<'a>>(data: &'a [u8]) -> E {
    let mut entries = Entries::<E>::parse(data).unwrap();
    assert_eq!(entries.len(), 1);
    entries.next().unwrap().unwrap()
}

proptest! {
    #[test]
    fn an_event_of_the_sdk_is_read_back(
        kind in 0u8..7,
        timestamp: u64,
        service in proptest::option::of(".{0,20}"),
        device_id: Option<[u8; 16]>,
        session_id: Option<[u8; 16]>,
        event_name in proptest::option::of(".{0,20}"),
        payload in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..40)),
    ) {
        let types = [
            EventType::Unknown, EventType::Track, EventType::Identify, EventType::Group,
            EventType::Alias, EventType::Enrich, EventType::Context,
        ];
        let mut data = Vec::new();
        encode_event_data_into(&mut data, &[EventParams {
            event_type: types[usize::from(kind)],
            timestamp,
            service: service.as_deref(),
            device_id: device_id.as_ref(),
            session_id: session_id.as_ref(),
            event_name: event_name.as_deref(),
            payload: payload.as_deref(),
        }]);
        prop_assert_eq!(sole::<Event<'_>>(&data), Event {
            event_type: kind,
            timestamp_ms: timestamp,
            service: service.as_deref(),
            device_id,
            session_id,
            event_name: event_name.as_deref(),
            payload: payload.as_deref(),
        });
    }

    #[test]
    fn a_log_entry_of_the_sdk_is_read_back(
        timestamp: u64,
        session_id: Option<[u8; 16]>,
        source in proptest::option::of(".{0,20}"),
        service in proptest::option::of(".{0,20}"),
        payload in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..40)),
    ) {
        let mut data = Vec::new();
        encode_log_data_into(&mut data, &[LogEntryParams {
            event_type: LogEventType::Enrich,
            session_id: session_id.as_ref(),
            level: LogLevel::Trace,
            timestamp,
            source: source.as_deref(),
            service: service.as_deref(),
            payload: payload.as_deref(),
        }]);
        prop_assert_eq!(sole::<LogEntry<'_>>(&data), LogEntry {
            event_type: 2,
            session_id,
            level: 8,
            timestamp_ms: timestamp,
            source: source.as_deref(),
            service: service.as_deref(),
            payload: payload.as_deref(),
        });
    }

    #[test]
    fn a_metric_of_the_sdk_is_read_back(
        timestamp: u64,
        name in ".{1,20}",
        value in -1e300..1e300,
        source in proptest::option::of(".{0,20}"),
        labels in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..5),
        buckets in proptest::option::of(proptest::collection::vec((-1e9..1e9, any::<u64>()), 0..5)),
        session_id: Option<[u8; 16]>,
    ) {
        let label_params: Vec<LabelParam<'_>> =
            labels.iter().map(|(key, value)| LabelParam { key, value }).collect();
        let histogram = buckets.clone().map(|buckets| HistogramParams {
            count: 5, sum: 1.5, min: -2.0, max: 9.25, buckets,
        });
        let mut data = Vec::new();
        encode_metric_data_into(&mut data, &[MetricEntryParams {
            metric_type: MetricType::Histogram,
            timestamp,
            name: &name,
            value,
            source: source.as_deref(),
            service: Some("api"),
            labels: &label_params,
            temporality: Temporality::Delta,
            histogram: histogram.as_ref(),
            session_id: session_id.as_ref(),
        }]);
        let buckets = buckets.map(|list| {
            list.into_iter().map(|(upper_bound, count)| Bucket { upper_bound, count }).collect()
        });
        prop_assert_eq!(sole::<MetricEntry<'_>>(&data), MetricEntry {
            metric_type: 3,
            timestamp_ns: timestamp,
            name: &name,
            value,
            source: source.as_deref(),
            service: Some("api"),
            labels: labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            temporality: 2,
            histogram: buckets.map(|buckets| Histogram {
                count: 5, sum: 1.5, buckets, min: -2.0, max: 9.25,
            }),
            session_id,
            int_labels: Vec::new(),
        });
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        data in proptest::collection::vec(prop_oneof![0u8..16, any::<u8>()], 0..300)
    ) {
        fuzz::fuzz_entries(&data);
    }

    #[test]
    fn a_changed_byte_never_panics(at: usize, byte: u8) {
        let mut data = Vec::new();
        let labels = [LabelParam { key: "k", value: "v" }];
        encode_metric_data_into(&mut data, &[MetricEntryParams {
            metric_type: MetricType::Histogram,
            timestamp: 1,
            name: "m",
            value: 1.0,
            source: None,
            service: None,
            labels: &labels,
            temporality: Temporality::Delta,
            histogram: Some(&HistogramParams {
                count: 1, sum: 1.0, min: 1.0, max: 1.0, buckets: vec![(1.0, 1)],
            }),
            session_id: None,
        }]);
        let at = at % data.len();
        data[at] = byte;
        fuzz::fuzz_entries(&data);
    }
}

#[test]
fn an_event_without_a_service_slot_is_the_layout_of_sdk_0_1() {
    let event = table(&[
        Field::U8(1),
        Field::U64(77),
        Field::Bytes(&[1; 16]),
        Field::Bytes(&[2; 16]),
        Field::Bytes(b"Order Completed"),
        Field::Bytes(b"{}"),
    ]);
    let data = table(&[Field::Tables(&[event])]);
    assert_eq!(
        sole::<Event<'_>>(&data),
        Event {
            event_type: 1,
            timestamp_ms: 77,
            service: None,
            device_id: Some([1; 16]),
            session_id: Some([2; 16]),
            event_name: Some("Order Completed"),
            payload: Some(b"{}"),
        }
    );
}

#[test]
fn a_span_is_read_whole() {
    let span = table(&[
        Field::Bytes(&[1; 16]),
        Field::Bytes(&[2; 8]),
        Field::Bytes(&[3; 8]),
        Field::U64(4),
        Field::U64(5),
        Field::Bytes(b"GET /"),
        Field::U8(2),
        Field::U8(1),
        Field::Bytes(b"web-1"),
        Field::Bytes(b"shop"),
        Field::Bytes(&[6; 16]),
        Field::Bytes(b"{}"),
    ]);
    let data = table(&[Field::Tables(&[span])]);
    assert_eq!(
        sole::<Span<'_>>(&data),
        Span {
            trace_id: Some([1; 16]),
            span_id: Some([2; 8]),
            parent_span_id: Some([3; 8]),
            timestamp_ns: 4,
            duration_ns: 5,
            name: Some("GET /"),
            kind: 2,
            status: 1,
            source: Some("web-1"),
            service: Some("shop"),
            session_id: Some([6; 16]),
            payload: Some(b"{}"),
        }
    );
}

#[test]
fn a_snapshot_is_read_whole() {
    let snapshot = table(&[
        Field::U64(9),
        Field::Bytes(b"stripe"),
        Field::Bytes(b"balance"),
        Field::Bytes(b"{\"eur\":1}"),
    ]);
    let data = table(&[Field::Tables(&[snapshot])]);
    assert_eq!(
        sole::<Snapshot<'_>>(&data),
        Snapshot {
            timestamp_ms: 9,
            source: Some("stripe"),
            entity: Some("balance"),
            payload: Some(b"{\"eur\":1}"),
        }
    );
}

fn metric(labels: Field<'_>, int_labels: Field<'_>) -> Vec<u8> {
    let rest = || Field::Absent;
    table(&[
        Field::U8(1),
        rest(),
        Field::Bytes(b"m"),
        rest(),
        rest(),
        rest(),
        labels,
        rest(),
        rest(),
        rest(),
        int_labels,
    ])
}

#[test]
fn integer_labels_are_read_beside_text_labels() {
    let text = [table(&[Field::Bytes(b"host"), Field::Bytes(b"a")])];
    let integers = [
        table(&[Field::Bytes(b"core"), Field::I64(-3)]),
        table(&[Field::Bytes(b"zero"), Field::Absent]),
    ];
    let metric = metric(Field::Tables(&text), Field::Tables(&integers));
    let data = table(&[Field::Tables(&[metric])]);
    let entry = sole::<MetricEntry<'_>>(&data);
    assert_eq!(entry.labels, [("host", "a")]);
    assert_eq!(entry.int_labels, [("core", -3), ("zero", 0)]);
}

#[test]
fn a_broken_entry_does_not_hide_the_next() {
    let good = |name| {
        table(&[
            Field::Absent,
            Field::Bytes(b"src"),
            Field::Bytes(name),
            Field::Absent,
        ])
    };
    let entries = [good(b"first"), good(b"\xff"), good(b"third")];
    let data = table(&[Field::Tables(&entries)]);
    let read: Vec<_> = Entries::<Snapshot<'_>>::parse(&data).unwrap().collect();
    assert_eq!(read[0].unwrap().entity, Some("first"));
    assert_eq!(read[1], Err(FlatBufferError::NotUtf8 { field: "entity" }));
    assert_eq!(read[2].unwrap().entity, Some("third"));
}

#[test]
fn an_id_of_another_length_is_an_error_and_an_empty_one_is_none() {
    let span = |id| table(&[Field::Bytes(id)]);
    let data = table(&[Field::Tables(&[span(b""), span(b"12345")])]);
    let read: Vec<_> = Entries::<Span<'_>>::parse(&data).unwrap().collect();
    assert_eq!(read[0].unwrap().trace_id, None);
    let error = read[1].unwrap_err().to_string();
    assert_eq!(error, "trace_id: expected 16 bytes, found 5");
}

#[test]
fn a_payload_without_its_vector_is_refused() {
    let data = table(&[Field::Absent]);
    let error = Entries::<Event<'_>>::parse(&data).unwrap_err();
    assert_eq!(error, FlatBufferError::Missing { field: "events" });
}

#[test]
fn entries_that_all_claim_the_same_long_string_end_at_the_budget() {
    let long = vec![b'x'; 10_000];
    let snapshot = table(&[Field::Absent, Field::Absent, Field::Bytes(&long)]);
    let mut entries = vec![vec![0u8; 4]; 2_000];
    entries.push(snapshot);
    let mut data = table(&[Field::Tables(&entries)]);
    let root = Table::root(&data, "data").unwrap();
    assert_eq!(root.tables(0, "snapshots").unwrap().unwrap().len(), 2_001);
    // The vector follows the root: root offset, vtable of one slot, table, length, then the offsets.
    let slots = 4 + 6 + 8 + 4;
    let last = slots + 4 * 2_000;
    let offset = u32::from_le_bytes(*data[last..].first_chunk().unwrap()) as usize;
    for index in 0..2_000 {
        let at = slots + 4 * index;
        let to = u32::try_from(last + offset - at).unwrap();
        data[at..at + 4].copy_from_slice(&to.to_le_bytes());
    }
    let read: Vec<_> = Entries::<Snapshot<'_>>::parse(&data).unwrap().collect();
    assert!((8..100).contains(&read.len()), "{}", read.len());
    assert_eq!(
        read.last().unwrap(),
        &Err(FlatBufferError::Overlap { field: "entity" })
    );
}
