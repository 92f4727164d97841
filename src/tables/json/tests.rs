//! Each table's line, to the byte.

use proptest::prelude::*;

use super::*;
use crate::journal::Encoding;
use crate::origin::{KeyId, Source, Workspace};
use crate::tables::row::{
    EventRow, LogRow, MetricRow, RejectedRow, SnapshotRow, SpanRow, SyslogColumns,
};
use crate::wire::testing::{Field, table};

fn line(row: &Row<'_>) -> String {
    let facts = Facts {
        workspace: Workspace::new(7).unwrap(),
        key_id: KeyId(0xab),
        source: Source::Http,
        encoding: Encoding::JsonEvents,
        received_at_ns: 1_700_000_000_123_456_789,
        peer: "192.0.2.1:5000".parse().unwrap(),
    };
    let mut out = Vec::new();
    write_row(&mut out, &Common::of(&facts), row);
    String::from_utf8(out).unwrap()
}

const COMMON: &str = r#""received_at":"2023-11-14T22:13:20.123Z","source":"http","peer":"192.0.2.1:5000","key_id":"k-00000000000000ab""#;

#[test]
fn an_event_has_all_its_columns_in_order() {
    let mut row = EventRow {
        time_ns: 1_000_000,
        kind: Some("track"),
        name: Some("say \"hi\"\n".into()),
        properties: Some("{\"a\":\r\n1.50}".into()),
        ..EventRow::default()
    };
    let rest = r#""name":"say \"hi\"\n","user_id":null,"device_id":null,"session_id":null,"group_id":null,"service":null,"properties":{"a":1.50}}"#;
    assert_eq!(
        line(&Row::Event(row.clone())),
        format!("{{\"time\":\"1970-01-01T00:00:00.001Z\",{COMMON},\"type\":\"track\",{rest}\n")
    );
    row.kind = None;
    assert!(line(&Row::Event(row)).contains("\"type\":null"));
}

#[test]
fn a_log_has_the_columns_of_syslog_also_when_it_did_not_come_from_there() {
    let plain = line(&Row::Log(LogRow::default()));
    let nulls = r#""type":null,"level":null,"message":null,"service":null,"host":null,"session_id":null,"attributes":null,"facility":null,"app":null,"procid":null,"msgid":null,"structured_data":null}"#;
    assert_eq!(
        plain,
        format!("{{\"time\":\"1970-01-01T00:00:00.000Z\",{COMMON},{nulls}\n")
    );
    let syslog = line(&Row::Log(LogRow {
        syslog: Some(SyslogColumns {
            facility: Some("local0"),
            structured_data: Some(r#"{"id":{}}"#.into()),
            ..SyslogColumns::default()
        }),
        ..LogRow::default()
    }));
    assert!(syslog.contains(
        r#""facility":"local0","app":null,"procid":null,"msgid":null,"structured_data":{"id":{}}}"#
    ));
}

#[test]
fn a_metric_has_nanoseconds_and_no_number_that_json_lacks() {
    let shown = line(&Row::Metric(MetricRow {
        time_ns: 1,
        value: Some(f64::NAN),
        sum: Some(f64::INFINITY),
        min: Some(1e300),
        max: Some(-0.5),
        count: Some(u64::MAX),
        ..MetricRow::default()
    }));
    let columns = r#""type":null,"name":null,"value":null,"labels":null,"temporality":null,"count":18446744073709551615,"sum":null,"min":1e300,"max":-0.5,"buckets":null,"service":null,"host":null,"session_id":null}"#;
    assert_eq!(
        shown,
        format!("{{\"time\":\"1970-01-01T00:00:00.000000001Z\",{COMMON},{columns}\n")
    );
}

#[test]
fn a_span_and_a_snapshot_have_their_columns_in_order() {
    let columns = r#""duration_ns":5,"trace_id":null,"span_id":null,"parent_span_id":null,"name":null,"kind":null,"status":null,"service":null,"host":null,"session_id":null,"attributes":null}"#;
    let span = SpanRow {
        duration_ns: Some(5),
        ..SpanRow::default()
    };
    assert_eq!(
        line(&Row::Span(span)),
        format!("{{\"time\":\"1970-01-01T00:00:00.000000000Z\",{COMMON},{columns}\n")
    );
    let columns = r#""connector":null,"entity":null,"properties":null}"#;
    assert_eq!(
        line(&Row::Snapshot(SnapshotRow::default())),
        format!("{{\"time\":\"1970-01-01T00:00:00.000Z\",{COMMON},{columns}\n")
    );
}

#[test]
fn a_rejected_payload_is_base64_and_has_no_time_of_its_own() {
    let row = RejectedRow {
        reason: "say why".to_owned(),
        schema: "event".into(),
        payload: b"\x00\xff\x01\x02",
    };
    let columns = r#""reason":"say why","schema":"event","payload":"AP8BAg=="}"#;
    assert_eq!(line(&Row::Rejected(row)), format!("{{{COMMON},{columns}\n"));
}

proptest! {
    #[test]
    fn every_finite_float_is_read_back(bits: u64) {
        let value = f64::from_bits(bits);
        let shown = line(&Row::Metric(MetricRow { value: Some(value), ..MetricRow::default() }));
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        match value.is_finite() {
            // The reader of serde_json without its feature `float_roundtrip` may be one bit off.
            true => {
                let read = read["value"].as_f64().unwrap();
                prop_assert!((read - value).abs() <= value.abs() * 1e-15, "{read} {value}");
            }
            false => prop_assert!(read["value"].is_null()),
        }
    }

    #[test]
    fn arbitrary_payloads_give_valid_lines(
        data in proptest::collection::vec(prop_oneof![0u8..16, any::<u8>()], 0..200)
    ) {
        fuzz::fuzz_rows(&data);
    }

    #[test]
    fn a_changed_byte_in_entries_gives_valid_lines(at: usize, byte: u8) {
        let label = [table(&[Field::Bytes(b"k"), Field::Bytes(b"\"v\n")])];
        let payload = br#"{"user_id":"u","a":[1,"\n"],"properties":{"b":"\ud83d\ude00"}}"#;
        let text = || Field::Bytes(b"text");
        // Sound as an event; for the other schemas some fields are of another type.
        let entry = table(&[
            Field::U8(1), Field::U64(1), text(), Field::Bytes(&[7; 16]), Field::Bytes(&[7; 16]),
            text(), Field::Bytes(payload), Field::U8(1), Field::Table(&label[0]),
            Field::Bytes(&[7; 16]), Field::Tables(&label),
        ]);
        let entries = table(&[Field::Tables(&[entry.clone(), entry])]);
        for schema_type in 1..6 {
            let mut data = vec![schema_type];
            data.extend(&entries);
            let at = 1 + at % entries.len();
            data[at] = byte;
            fuzz::fuzz_rows(&data);
        }
    }

    #[test]
    fn what_is_accepted_comes_back(choice in 0u8..2, parts in proptest::collection::vec(
        prop_oneof![
            4 => proptest::sample::select(vec![
                "{\"event\":\"a\",", "{\"message\":", "\"type\":", "\"click\"", "\"level\":", "\"a\":", "\"\\u0061\":",
                "\"properties\":{", "\"data\":{", "{", "}", "[", "]", ",", "\n", "1e999", "1.50", "\"\\ud83d\"", "\"\\udc00",
                "\"\\\\ud83d\"", "null", "\"x\"", "\"x\":1", "\"x\":1}",
            ]).prop_map(str::to_owned),
            1 => "[ -~]{0,3}",
        ],
        0..16,
    )) {
        let mut data = vec![choice];
        data.extend(parts.concat().bytes());
        fuzz::fuzz_accepted(&data);
    }

    #[test]
    fn any_value_comes_back(name in "[a-c]{1,2}", text: String, number: i64, nested in "[ -~]{0,6}") {
        let line = serde_json::json!({
            "event": "e", "message": "m", name: {"text": text, "list": [number, {"in": nested}]},
        });
        for choice in [0, 1] {
            let mut data = vec![choice];
            data.extend(line.to_string().bytes());
            fuzz::fuzz_accepted(&data);
        }
    }

    #[test]
    fn arbitrary_lines_give_valid_lines(choice in 6u8..8, lines in proptest::collection::vec(
        proptest::sample::select(vec![
            r#"{"event":"a","properties":{"x":1,"\ud800":2},"traits":{"x":[1 , 2]}}"#,
            r#"{"message":"\u0000","data":{"a":"\ud800"}}"#,
            r#"{"event":"a","a\"b":1e400,"user_id":-5}"#,
            "{", "\n", "\r\n", "\u{2028}", "[]", r#"{"type":"alias","properties":[]}"#,
        ]),
        0..12,
    )) {
        let mut data = vec![choice];
        data.extend(lines.concat().bytes());
        fuzz::fuzz_rows(&data);
    }
}
