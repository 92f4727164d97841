//! Batches over HTTP: entries of all five schemas come back as complete rows.

use serde_json::{Value, json};

use crate::frames::{Field, batch_of, event_batch, table};
use crate::harness::{KEY, Server};
use crate::http::gzip;
use crate::rows::{Since, column, key_id, row};

const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";
const UUID_BYTES: [u8; 16] = [
    0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
];

/// The tables that batches of all five schemas land in, with an entry each and the row it becomes.
fn entries() -> [(&'static str, u8, Vec<u8>, Value); 5] {
    let ms = Field::U64(1_700_000_000_123);
    let ns = || Field::U64(1_700_000_000_123_456_789);
    let ms_text = "2023-11-14T22:13:20.123Z";
    let ns_text = "2023-11-14T22:13:20.123456789Z";
    let event = table(&[
        Field::U8(2),
        ms,
        Field::Absent,
        Field::Bytes(&UUID_BYTES),
        Field::Absent,
        Field::Absent,
        Field::Bytes(br#"{"user_id":"u1","a":1}"#),
    ]);
    let log = table(&[
        Field::U8(2),
        Field::Bytes(&UUID_BYTES),
        Field::U8(8),
        Field::U64(1_700_000_000_123),
        Field::Bytes(b"web-1"),
        Field::Bytes(b"shop"),
        Field::Bytes(br#"{"message":"m","b":2}"#),
    ]);
    let label = table(&[Field::Bytes(b"route"), Field::Bytes(b"/a")]);
    let int_label = table(&[Field::Bytes(b"shard"), Field::I64(-3)]);
    let bucket = table(&[Field::F64(0.5), Field::U64(2)]);
    let histogram = table(&[
        Field::U64(2),
        Field::F64(0.75),
        Field::Tables(&[bucket]),
        Field::F64(0.25),
        Field::F64(0.5),
    ]);
    let metric = table(&[
        Field::U8(3),
        ns(),
        Field::Bytes(b"latency"),
        Field::Absent,
        Field::Bytes(b"web-1"),
        Field::Bytes(b"shop"),
        Field::Tables(&[label]),
        Field::U8(2),
        Field::Table(&histogram),
        Field::Bytes(&UUID_BYTES),
        Field::Tables(&[int_label]),
    ]);
    let span = table(&[
        Field::Bytes(&UUID_BYTES),
        Field::Bytes(&[0xAA; 8]),
        Field::Bytes(&[0xBB; 8]),
        ns(),
        Field::U64(1_500),
        Field::Bytes(b"GET /"),
        Field::U8(2),
        Field::U8(2),
        Field::Bytes(b"web-1"),
        Field::Bytes(b"shop"),
        Field::Bytes(&UUID_BYTES),
        Field::Bytes(br#"{"status":500}"#),
    ]);
    let snapshot = table(&[
        Field::U64(1_700_000_000_123),
        Field::Bytes(b"github"),
        Field::Bytes(b"repo/x"),
        Field::Bytes(br#"{"stars":7}"#),
    ]);
    [
        (
            "events",
            1,
            event,
            json!({
                "time": ms_text, "type": "identify", "user_id": "u1", "device_id": UUID,
                "properties": {"a": 1},
            }),
        ),
        (
            "logs",
            2,
            log,
            json!({
                "time": ms_text, "type": "enrich", "level": "trace", "message": "m", "host": "web-1",
                "service": "shop", "session_id": UUID, "attributes": {"b": 2},
            }),
        ),
        (
            "metrics",
            3,
            metric,
            json!({
                "time": ns_text, "type": "histogram", "name": "latency",
                "labels": {"route": "/a", "shard": -3}, "temporality": "delta", "count": 2, "sum": 0.75,
                "min": 0.25, "max": 0.5, "buckets": [{"upper_bound": 0.5, "count": 2}], "host": "web-1",
                "service": "shop", "session_id": UUID,
            }),
        ),
        (
            "spans",
            4,
            span,
            json!({
                "time": ns_text, "duration_ns": 1500, "trace_id": "0123456789abcdef0123456789abcdef",
                "span_id": "aaaaaaaaaaaaaaaa", "parent_span_id": "bbbbbbbbbbbbbbbb", "name": "GET /",
                "kind": "server", "status": "error", "host": "web-1", "service": "shop",
                "session_id": UUID, "attributes": {"status": 500},
            }),
        ),
        (
            "snapshots",
            5,
            snapshot,
            json!({
                "time": ms_text, "connector": "github", "entity": "repo/x", "properties": {"stars": 7},
            }),
        ),
    ]
}

#[test]
fn batches_of_all_five_schemas_come_back_as_rows_of_their_tables() {
    let server = Server::new();
    let since = Since::now();
    for (name, schema_type, entry, columns) in entries() {
        let body = batch_of(KEY, schema_type, &[entry]);
        for media_type in ["application/x-flatbuffers", "application/octet-stream"] {
            let headers = [("X-API-Key", KEY), ("Content-Type", media_type)];
            let response = server.http("POST", "/v1/ingest", &headers, &body);
            assert_eq!(response.status, 202, "{name}: {response:?}");
            assert_eq!(response.json()["accepted"], 1, "{name}");
        }
        let mut expected = row(name, columns);
        expected["source"] = json!("http");
        expected["key_id"] = json!(key_id(&server, "one"));
        let rows = server.export(1, name);
        assert_eq!(rows.len(), 2, "{name}");
        assert_eq!(since.settle(&rows[0], true), expected);
        assert_eq!(since.settle(&rows[1], true), expected);
    }
    assert!(server.export(1, "rejected").is_empty());
}

#[test]
fn a_batch_of_the_sdks_encoder_is_accepted_over_http_too() {
    let server = Server::new();
    let body = gzip(&event_batch(KEY, &[("a", "{}"), ("b", "{}")]));
    let headers = [
        ("X-API-Key", KEY),
        ("Content-Type", "application/x-flatbuffers"),
        ("Content-Encoding", "gzip"),
    ];
    let response = server.http("POST", "/v1/ingest", &headers, &body);
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.json()["accepted"], 2);
    assert_eq!(column(&server.export(1, "events"), "name"), ["a", "b"]);
}
