//! From what senders send to rows: the SDK's encoder, hand-made buffers, JSON lines.

use proptest::prelude::*;
use tell_encoding::{
    EventParams, EventType, HistogramParams, LabelParam, LogEntryParams, LogEventType, LogLevel,
    MetricEntryParams, MetricType, Temporality, encode_event_data_into, encode_log_data_into,
    encode_metric_data_into,
};

use super::*;
use crate::journal::Facts;
use crate::origin::{KeyId, Source, Workspace};
use crate::tables::json;
use crate::wire::testing::{Field, table};

const RECEIVED_NS: u64 = 1_700_000_000_000_000_000;

/// The rows as text: rows borrow from buffers that are reused.
fn rows(encoding: Encoding, payload: &[u8]) -> Vec<String> {
    let record = Record {
        mark: None,
        sequence: 1,
        facts: Facts {
            workspace: Workspace::new(1).unwrap(),
            key_id: KeyId(1),
            source: Source::Tcp,
            encoding,
            received_at_ns: RECEIVED_NS,
            peer: "192.0.2.1:5000".parse().unwrap(),
        },
        payload,
    };
    let mut shown = Vec::new();
    decode(&record, &mut |row| {
        let mut line = Vec::new();
        json::write_row(&mut line, &json::Common::of(&record.facts), &row);
        let line = String::from_utf8(line).unwrap();
        let (time, columns) = line
            .trim_end()
            .split_once("\"k-0000000000000001\",")
            .unwrap();
        let time = time
            .strip_prefix("{\"time\":\"")
            .map(|t| &t[..t.find('"').unwrap()]);
        shown.push(format!("{} {columns}", time.unwrap_or_default()));
    });
    shown
}

fn flat(schema_type: u8, payload: &[u8]) -> Vec<String> {
    rows(Encoding::FlatBuffer { schema_type }, payload)
}

fn event<'a>(payload: Option<&'a [u8]>) -> EventParams<'a> {
    EventParams {
        event_type: EventType::Track,
        timestamp: 1_000,
        service: Some("web"),
        device_id: Some(&[0xAB; 16]),
        session_id: None,
        event_name: Some("Signed Up"),
        payload,
    }
}

fn events(events: &[EventParams<'_>]) -> Vec<u8> {
    let mut data = Vec::new();
    encode_event_data_into(&mut data, events);
    data
}

#[test]
fn an_event_of_the_sdk_becomes_a_row_with_its_ids_in_columns() {
    let payload = br#"{"user_id":"u1","plan":"a","n":1.50,"big":12345678901234567890123,"plan":"b","group_id":7,"context":{"ip":null}}"#;
    assert_eq!(
        flat(1, &events(&[event(Some(payload))])),
        [
            r#"1970-01-01T00:00:01.000Z "type":"track","name":"Signed Up","user_id":"u1","device_id":"abababab-abab-abab-abab-abababababab","session_id":null,"group_id":"7","service":"web","properties":{"n":1.50,"big":12345678901234567890123,"plan":"b","context":{"ip":null}}}"#
        ]
    );
}

#[test]
fn an_event_of_sdk_0_1_becomes_the_same_row_without_a_service() {
    let old = table(&[
        Field::U8(2),
        Field::U64(1_000),
        Field::Bytes(&[0xAB; 16]),
        Field::Bytes(&[0; 16]),
        Field::Absent,
        Field::Bytes(br#"{"user_id":"u1","traits":{"plan":"pro"}}"#),
    ]);
    assert_eq!(
        flat(1, &table(&[Field::Tables(&[old])])),
        [
            r#"1970-01-01T00:00:01.000Z "type":"identify","name":null,"user_id":"u1","device_id":"abababab-abab-abab-abab-abababababab","session_id":null,"group_id":null,"service":null,"properties":{"plan":"pro"}}"#
        ]
    );
}

#[test]
fn without_a_payload_or_a_time_columns_are_null_and_the_time_is_that_of_receipt() {
    let mut params = event(None);
    params.timestamp = 0;
    params.event_type = EventType::Unknown;
    let row = &flat(1, &events(&[params]))[0];
    assert!(
        row.starts_with("2023-11-14T22:13:20.000Z \"type\":null,"),
        "{row}"
    );
    assert!(row.ends_with("\"properties\":null}"), "{row}");
    let mut params = event(None);
    params.timestamp = u64::MAX;
    assert!(flat(1, &events(&[params]))[0].starts_with("2262-04-11T23:47:16.854Z"));
}

#[test]
fn an_id_that_is_no_text_and_no_integer_stays_a_property() {
    let row = &flat(
        1,
        &events(&[event(Some(br#"{"user_id":{"a":1},"group_id":1.5}"#))]),
    )[0];
    assert!(row.contains(r#""user_id":null"#), "{row}");
    assert!(
        row.ends_with(r#""properties":{"user_id":{"a":1},"group_id":1.5}}"#),
        "{row}"
    );
}

#[test]
fn an_entry_whose_payload_is_no_object_is_rejected_alone() {
    let data = events(&[event(Some(b"[1]")), event(Some(b"{}"))]);
    let rows = flat(1, &data);
    assert_eq!(
        rows[0],
        r#" "reason":"payload of entry 1 of 2: expected a JSON object, found an array","schema":"event","payload":"WzFd"}"#
    );
    assert!(rows[1].contains("Signed Up"));
    assert_eq!(rows.len(), 2);
}

#[test]
fn sound_entries_are_kept_and_one_row_stands_for_the_broken_ones() {
    let snapshot = |entity| table(&[Field::U64(1), Field::Absent, Field::Bytes(entity)]);
    let entries = [
        snapshot(b"a"),
        snapshot(b"\xff"),
        snapshot(b"c"),
        snapshot(b"\xfe"),
    ];
    let rows = flat(5, &table(&[Field::Tables(&entries)]));
    assert_eq!(rows.len(), 3);
    assert!(rows[0].contains(r#""entity":"a""#) && rows[1].contains(r#""entity":"c""#));
    assert!(
        rows[2].contains(
            r#""reason":"2 of 4 entries not decoded, the first is number 2: entity: expected UTF-8 text""#
        ),
        "{}",
        rows[2]
    );
}

#[test]
fn a_payload_that_is_no_flatbuffer_or_of_no_known_schema_is_rejected_whole() {
    assert_eq!(
        flat(3, b"junk"),
        [r#" "reason":"data: lies outside the buffer","schema":"metric","payload":"anVuaw=="}"#]
    );
    for schema_type in [0, 6, 255] {
        let expected = format!(
            r#" "reason":"schema_type: expected 1 (event) to 5 (snapshot), found {schema_type}","schema":"unknown","payload":"anVuaw=="}}"#
        );
        assert_eq!(flat(schema_type, b"junk"), [expected]);
    }
}

#[test]
fn a_log_entry_of_the_sdk_becomes_a_row() {
    let mut data = Vec::new();
    encode_log_data_into(
        &mut data,
        &[LogEntryParams {
            event_type: LogEventType::Log,
            session_id: Some(&[1; 16]),
            level: LogLevel::Warning,
            timestamp: 5,
            source: Some("web-1"),
            service: Some("shop"),
            payload: Some(b"{\"message\":\"disk \\\"full\\\"\",\n\"used\":\n[1,\n2]}"),
        }],
    );
    assert_eq!(
        flat(2, &data),
        [
            r#"1970-01-01T00:00:00.005Z "type":"log","level":"warning","message":"disk \"full\"","service":"shop","host":"web-1","session_id":"01010101-0101-0101-0101-010101010101","attributes":{"used":[1,2]},"facility":null,"app":null,"procid":null,"msgid":null,"structured_data":null}"#
        ]
    );
}

#[test]
fn a_histogram_becomes_a_row_without_a_value() {
    let mut data = Vec::new();
    let labels = [LabelParam {
        key: "route",
        value: "/a\"b",
    }];
    encode_metric_data_into(
        &mut data,
        &[MetricEntryParams {
            metric_type: MetricType::Histogram,
            timestamp: 1,
            name: "latency",
            value: 0.0,
            source: Some("web-1"),
            service: None,
            labels: &labels,
            temporality: Temporality::Cumulative,
            histogram: Some(&HistogramParams {
                count: 3,
                sum: 1.5,
                min: 0.25,
                max: 1.0,
                buckets: vec![(0.5, 2), (f64::INFINITY, 3)],
            }),
            session_id: None,
        }],
    );
    assert_eq!(
        flat(3, &data),
        [
            r#"1970-01-01T00:00:00.000000001Z "type":"histogram","name":"latency","value":null,"labels":{"route":"/a\"b"},"temporality":"cumulative","count":3,"sum":1.5,"min":0.25,"max":1.0,"buckets":[{"upper_bound":0.5,"count":2},{"upper_bound":null,"count":3}],"service":null,"host":"web-1","session_id":null}"#
        ]
    );
}

#[test]
fn a_counter_with_integer_labels_becomes_a_row() {
    let labels = [table(&[Field::Bytes(b"core"), Field::I64(-3)])];
    let mut fields: Vec<Field<'_>> = (0..11).map(|_| Field::Absent).collect();
    fields[0] = Field::U8(2);
    fields[2] = Field::Bytes(b"ticks");
    fields[3] = Field::F64(4.0);
    fields[10] = Field::Tables(&labels);
    let row = &flat(3, &table(&[Field::Tables(&[table(&fields)])]))[0];
    assert!(
        row.starts_with(
            r#"2023-11-14T22:13:20.000000000Z "type":"counter","name":"ticks","value":4.0,"labels":{"core":-3},"temporality":"unspecified","count":null"#
        ),
        "{row}"
    );
}

#[test]
fn a_span_becomes_a_row_with_hex_ids_and_no_parent_where_it_is_zero() {
    let span = table(&[
        Field::Bytes(&[0xAB; 16]),
        Field::Bytes(&[1; 8]),
        Field::Bytes(&[0; 8]),
        Field::U64(2),
        Field::U64(3),
        Field::Bytes(b"GET /"),
        Field::U8(2),
        Field::U8(9),
        Field::Absent,
        Field::Bytes(b"shop"),
        Field::Absent,
        Field::Bytes(br#"{"status":200}"#),
    ]);
    assert_eq!(
        flat(4, &table(&[Field::Tables(&[span])])),
        [
            r#"1970-01-01T00:00:00.000000002Z "duration_ns":3,"trace_id":"abababababababababababababababab","span_id":"0101010101010101","parent_span_id":null,"name":"GET /","kind":"server","status":null,"service":"shop","host":null,"session_id":null,"attributes":{"status":200}}"#
        ]
    );
}

#[test]
fn flat_and_nested_event_lines_land_in_the_same_columns() {
    let lines = concat!(
        r#"{"type":"track","event":"a","user_id":"u","device_id":"0123456789ABCDEF0123456789abcdef","timestamp":1000.9,"x":1,"context":{"y":2}}"#,
        "\r\n\n",
        r#"{"event":"a","user_id":"u","device_id":"01234567-89ab-cdef-0123-456789abcdef","timestamp":1000,"properties":{"x":1},"context":{"y":2}}"#,
        "\n",
    );
    let rows = rows(Encoding::JsonEvents, lines.as_bytes());
    assert_eq!(
        rows[0],
        r#"1970-01-01T00:00:01.000Z "type":"track","name":"a","user_id":"u","device_id":"01234567-89ab-cdef-0123-456789abcdef","session_id":null,"group_id":null,"service":null,"properties":{"x":1,"context":{"y":2}}}"#
    );
    assert_eq!(rows[1], rows[0]);
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_nested_object_that_shares_a_name_with_what_is_beside_it_stays_whole() {
    for (line, properties) in [
        (
            r#"{"event":"a","x":1,"properties":{"x":2,"y":3}}"#,
            r#"{"x":1,"properties":{"x":2,"y":3}}"#,
        ),
        (
            r#"{"event":"a","properties":{"x":2},"traits":{"x":3},"y":1}"#,
            r#"{"x":2,"traits":{"x":3},"y":1}"#,
        ),
    ] {
        let rows = rows(Encoding::JsonEvents, line.as_bytes());
        let expected = format!("\"properties\":{properties}}}");
        assert!(rows[0].ends_with(&expected), "{rows:?}");
    }
}

#[test]
fn a_nested_name_that_is_no_object_stays_a_property() {
    let line = br#"{"event":"a","properties":"flat","traits":[1]}"#;
    let rows = rows(Encoding::JsonEvents, line);
    assert!(rows[0].ends_with(r#""properties":{"properties":"flat","traits":[1]}}"#));
}

#[test]
fn a_users_member_with_the_name_of_a_column_is_a_property() {
    for (line, columns) in [
        (
            r#"{"type":"click","event":"X","a":1}"#,
            r#""type":"track","name":"X","user_id":null,"device_id":null,"session_id":null,"group_id":null,"service":null,"properties":{"a":1,"type":"click"}}"#,
        ),
        (
            r#"{"type":"Track","event":{"b":1.50},"timestamp":1e999,"user_id":7.5,"service":[1,1]}"#,
            r#""type":"track","name":null,"user_id":null,"device_id":null,"session_id":null,"group_id":null,"service":null,"properties":{"event":{"b":1.50},"timestamp":"1e999","user_id":7.5,"service":[1,1]}}"#,
        ),
    ] {
        let rows = rows(Encoding::JsonEvents, line.as_bytes());
        assert_eq!(rows, [format!("2023-11-14T22:13:20.000Z {columns}")]);
    }
    let line = br#"{"message":{"a":1},"level":"loud","type":"audit","data":{"message":"inner","level":1}}"#;
    let rows = rows(Encoding::JsonLogs, line);
    assert!(
        rows[0].contains(
            r#""type":"log","level":"info","message":null,"service":null,"host":null,"session_id":null,"attributes":{"data":{"message":"inner","level":1},"message":{"a":1},"level":"loud","type":"audit"}"#
        ),
        "{rows:?}"
    );
}

#[test]
fn rows_are_strict_whatever_the_payload_has() {
    let payload =
        br#"{"cut":"\ud83d","big":-1e999,"in":{"a":1,"\u0061":[1E400]},"\udc00":"\ud83d\ude00"}"#;
    let properties = r#""properties":{"cut":"\ufffd","big":"-1e999","in":{"a":["1E400"]},"\ufffd":"\ud83d\ude00"}}"#
        .replace(r#""\ufffd":"#, "\"\u{fffd}\":");
    let row = &flat(1, &events(&[event(Some(payload))]))[0];
    assert!(row.ends_with(&properties), "{row}");
    // As records of earlier versions hold it.
    let line = [br#"{"event":"\ud83d","#.as_slice(), &payload[1..]].concat();
    let row = &rows(Encoding::JsonEvents, &line)[0];
    assert!(row.ends_with(&properties), "{row}");
    assert!(row.contains("\"name\":\"\u{fffd}\""), "{row}");
}

#[test]
fn a_log_line_becomes_a_row_and_a_bad_line_is_rejected_alone() {
    let lines = concat!(
        r#"{"message":"m","level":"WARN","source":"h","session_id":"s","data":{"a":1},"b":2}"#,
        "\n{}\n",
    );
    assert_eq!(
        rows(Encoding::JsonLogs, lines.as_bytes()),
        [
            r#"2023-11-14T22:13:20.000Z "type":"log","level":"warning","message":"m","service":null,"host":"h","session_id":"s","attributes":{"a":1,"b":2},"facility":null,"app":null,"procid":null,"msgid":null,"structured_data":null}"#,
            r#" "reason":"message: required","schema":"json_logs","payload":"e30="}"#,
        ]
    );
}

proptest! {
    #[test]
    fn a_property_of_the_sdk_keeps_its_value(name in "[a-z\"\\\\]{1,5}", value: f64, text: String) {
        let mut object = serde_json::Map::new();
        object.insert(name, value.into());
        object.insert("text".to_owned(), text.into());
        let payload = serde_json::to_string(&object).unwrap();
        let row = &flat(1, &events(&[event(Some(payload.as_bytes()))]))[0];
        let expected = format!("\"properties\":{payload}}}");
        prop_assert!(row.ends_with(&expected), "{row} {expected}");
    }

    #[test]
    fn every_line_that_was_accepted_becomes_a_row(
        lines in proptest::collection::vec(proptest::sample::select(vec![
            r#"{"event":"a","timestamp":1e30}"#, r#"{"type":"group","group_id":-1}"#, "\n", "{",
            r#"{"event":"\ud800"}"#, r#"{"event":"a","properties":{"\ud800":1}}"#, "{\"event\":\"b\"}\r",
            r#"{"event":1e999,"type":7}"#, r#"{"type":"click","event":"a","user_id":{"a":1,"a":2}}"#,
        ]), 0..12),
    ) {
        let body = bytes::Bytes::from(lines.join("\n"));
        let checked = crate::wire::json_lines::check(LineKind::Event, &body);
        let rows = rows(Encoding::JsonEvents, &checked.kept);
        prop_assert_eq!(rows.len() as u64, checked.accepted);
        prop_assert!(rows.iter().all(|row| !row.contains("\"reason\"")));
    }
}
