//! HTTP, as `curl` and the SDKs speak it: what is accepted, and how it comes back.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::harness::{KEY, KEY_2, SOON, Server, Setup, next_response, request};
use crate::rows::{Since, column, key_id, row};

const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn base64(text: &str) -> Vec<u8> {
    data_encoding::BASE64.decode(text.as_bytes()).unwrap()
}

#[test]
fn an_event_that_was_answered_with_202_is_read_back() {
    let server = Server::new();
    let response =
        server.post_events(r#"{"type":"track","event":"Signed Up","user_id":"u1","plan":"pro"}"#);
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.json()["accepted"], 1);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let rows = server.export(1, "events");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["name"], "Signed Up");
    assert_eq!(rows[0]["user_id"], "u1");
    assert_eq!(rows[0]["properties"]["plan"], "pro");
    assert_eq!(rows[0]["source"], "http");
    assert!(server.export(2, "events").is_empty());
    assert!(!server.log().contains(KEY));
}

#[test]
fn the_key_is_taken_from_each_of_its_three_places() {
    let server = Server::new();
    let upper = KEY.to_uppercase();
    let bearer = format!("Bearer {KEY}");
    let lower_scheme = format!("bearer {upper}");
    let query = format!("/v1/events?token={KEY}");
    let last_of_query = format!("/v1/events?v=1&token={upper}");
    let escaped = format!("/v1/events?token=%61{}", &KEY[1..]);
    let requests: [(&str, &[(&str, &str)]); 6] = [
        ("/v1/events", &[("Authorization", &bearer)]),
        ("/v1/events", &[("authorization", &lower_scheme)]),
        ("/v1/events", &[("X-API-Key", KEY)]),
        (&query, &[("Content-Type", "text/plain;charset=UTF-8")]),
        (&last_of_query, &[]),
        (&escaped, &[]),
    ];
    for (n, (target, headers)) in requests.iter().enumerate() {
        let line = format!("{{\"event\":\"e{n}\"}}\n");
        let response = server.http("POST", target, headers, line.as_bytes());
        assert_eq!(response.status, 202, "{n}: {response:?}");
    }
    let rows = server.export(1, "events");
    let expected: Vec<String> = (0..requests.len()).map(|n| format!("e{n}")).collect();
    assert_eq!(column(&rows, "name"), expected);
    let log = server.log();
    assert!(!log.contains(KEY) && !log.contains(&upper) && !log.contains(&KEY[1..]));
}

#[test]
fn flat_and_nested_events_come_back_as_the_same_row() {
    let server = Server::new();
    let since = Since::now();
    let columns = format!(
        r#""event":"Bought","user_id":"u1","device_id":"{UUID}","session_id":"s-1","group_id":7,"service":"shop","timestamp":1700000000123"#
    );
    let lines = [
        format!(r#"{{"type":"track",{columns},"price":1.5,"tags":["a"],"context":{{"ip":"x"}}}}"#),
        format!(
            r#"{{{columns},"properties":{{"price":1.5,"tags":["a"]}},"context":{{"ip":"x"}}}}"#
        ),
    ]
    .join("\n");
    assert_eq!(server.post_events(&lines).json()["accepted"], 2);
    let rows = server.export(1, "events");
    let expected = row(
        "events",
        json!({
            "time": "2023-11-14T22:13:20.123Z", "source": "http", "key_id": key_id(&server, "one"),
            "type": "track", "name": "Bought", "user_id": "u1", "device_id": UUID,
            "session_id": "s-1", "group_id": "7", "service": "shop",
            "properties": {"price": 1.5, "tags": ["a"], "context": {"ip": "x"}},
        }),
    );
    assert_eq!(since.settle(&rows[0], true), expected);
    assert_eq!(since.settle(&rows[1], true), expected);
}

#[test]
fn bodies_are_taken_as_clients_write_and_name_them() {
    let server = Server::new();
    let bodies = [
        ("application/octet-stream", "{\"event\":\"0\"}\n"),
        ("text/json", "{\"event\":\"1\"}\n"),
        ("application/json-lines", "{\"event\":\"2\"}\n"),
        (
            "application/json",
            "[{\"event\":\"3\"},\n {\"event\":\"4\"}]",
        ),
        (
            "application/json",
            "{\n  \"event\": \"5\",\n  \"a\": [\n    1\n  ]\n}\n",
        ),
        // A property that the SDK spread over the `type`.
        ("application/json", "{\"type\":\"click\",\"event\":\"6\"}"),
        (
            "application/json",
            "{\"type\":\"TRACK\",\"event\":\"7\",\"cut\":\"a \\ud83d\",\"big\":1e999}",
        ),
    ];
    for (media_type, body) in bodies {
        let headers = [("X-API-Key", KEY), ("Content-Type", media_type)];
        let response = server.http("POST", "/v1/events", &headers, body.as_bytes());
        assert_eq!(response.status, 202, "{body}: {response:?}");
    }
    let rows = server.export(1, "events");
    let expected: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    assert_eq!(column(&rows, "name"), expected);
    assert!(column(&rows, "type").iter().all(|kind| *kind == "track"));
    let properties = |n: usize| &rows[n]["properties"];
    assert_eq!(*properties(5), json!({"a": [1]}));
    assert_eq!(*properties(6), json!({"type": "click"}));
    assert_eq!(*properties(7), json!({"cut": "a \u{fffd}", "big": "1e999"}));
    for media_type in ["multipart/form-data", "application/x-protobuf"] {
        let headers = [("X-API-Key", KEY), ("Content-Type", media_type)];
        let response = server.http("POST", "/v1/events", &headers, b"{\"event\":\"no\"}");
        assert_eq!(response.status, 415, "{media_type}");
    }
}

#[test]
fn what_is_no_unicode_is_counted_for_its_key() {
    let mut server = Server::new();
    let lines = r#"{"event":"\ud83d","a":"\ude00 \ud83d\ude00"}"#;
    assert_eq!(server.post_events(lines).status, 202);
    let message = [KEY.as_bytes(), b" <13>a \xff\xfe b"].concat();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&message, server.at().syslog_udp).unwrap();
    let rows = server.wait_for_rows(1, "logs", 1);
    assert_eq!(rows[0]["message"], "a \u{fffd}\u{fffd} b");
    let series = |source: &str| format!("tell_replaced_characters_total{{source=\"{source}\"}}");
    assert_eq!(server.metric(&series("http")), 2.0);
    assert_eq!(server.metric(&series("syslog_udp")), 2.0);
    server.stop();
    for (name, count) in [("one", 4), ("two", 0)] {
        let shown = server.tell(&["apikeys", "show", name, "--masked", "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown["replaced_characters"], count, "{shown}");
    }
}

#[test]
fn every_type_of_event_and_log_lines_come_back_with_all_their_fields() {
    let server = Server::new();
    let since = Since::now();
    let headers = [
        ("X-API-Key", KEY_2),
        ("Content-Type", "application/x-ndjson"),
    ];
    let events = concat!(
        r#"{"type":"identify","user_id":"u1","traits":{"name":"J"}}"#,
        "\r\n\n",
        r#"{"type":"group","user_id":"u1","group_id":"g1"}"#,
        "\n",
        r#"{"type":"alias","user_id":"u1","previous_id":"a1"}"#,
        "\n",
        r#"{"type":"enrich","device_id":"d"}"#,
        "\n",
        r#"{"type":"context"}"#,
    );
    let response = server.http("POST", "/v1/events", &headers, events.as_bytes());
    assert_eq!(
        (response.status, &response.json()["accepted"]),
        (202, &json!(5))
    );
    let logs = concat!(
        r#"{"message":"it \"broke\"\n","level":"WARN","timestamp":1700000000123,"source":"web-1","service":"shop","session_id":"s","data":{"code":5},"extra":true}"#,
        "\n",
        r#"{"type":"enrich","message":"m"}"#,
        "\n",
    );
    let response = server.http("POST", "/v1/logs", &headers, logs.as_bytes());
    assert_eq!(
        (response.status, &response.json()["accepted"]),
        (202, &json!(2))
    );

    let common = |mut row: Value| {
        row["source"] = json!("http");
        row["key_id"] = json!(key_id(&server, "two"));
        row
    };
    let events: Vec<Value> = server.export(2, "events");
    let events: Vec<Value> = events.iter().map(|row| since.settle(row, false)).collect();
    let expected = [
        json!({"type": "identify", "user_id": "u1", "properties": {"name": "J"}}),
        json!({"type": "group", "user_id": "u1", "group_id": "g1"}),
        json!({"type": "alias", "user_id": "u1", "properties": {"previous_id": "a1"}}),
        json!({"type": "enrich", "device_id": "d"}),
        json!({"type": "context"}),
    ];
    assert_eq!(
        events,
        expected.map(|columns| common(row("events", columns)))
    );
    let logs = server.export(2, "logs");
    let first = row(
        "logs",
        json!({
            "time": "2023-11-14T22:13:20.123Z", "type": "log", "level": "warning",
            "message": "it \"broke\"\n", "host": "web-1", "service": "shop", "session_id": "s",
            "attributes": {"code": 5, "extra": true},
        }),
    );
    assert_eq!(since.settle(&logs[0], true), common(first));
    let second = row(
        "logs",
        json!({"type": "enrich", "level": "info", "message": "m"}),
    );
    assert_eq!(since.settle(&logs[1], false), common(second));
    assert!(server.export(1, "events").is_empty() && server.export(1, "logs").is_empty());
}

#[test]
fn gzip_bodies_are_inflated() {
    let server = Server::new();
    let lines: String = (0..1000)
        .map(|n| format!("{{\"event\":\"e{n}\"}}\n"))
        .collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    for body in [gzip(lines.as_bytes()), members] {
        let headers = [("X-API-Key", KEY), ("Content-Encoding", "gzip")];
        let response = server.http("POST", "/v1/events", &headers, &body);
        assert_eq!(response.status, 202, "{response:?}");
        assert_eq!(response.json()["accepted"], 1000);
    }
    let rows = server.export(1, "events");
    let expected: Vec<String> = (0..2000).map(|n| format!("e{}", n % 1000)).collect();
    assert_eq!(column(&rows, "name"), expected);
}

#[test]
fn bodies_of_every_coding_are_inflated() {
    let server = Server::new();
    let lines: String = (0..3)
        .map(|n| format!("{{\"event\":\"e{n}\"}}\n"))
        .collect();
    // As Node.js 20 compresses them.
    let br = base64("GywA+B0HuTnyJlyk3Te1iE7Z3lLoS5gYmVZiElHwUQLk4F0ZgVo=");
    let bodies = [
        ("identity", lines.clone().into_bytes()),
        ("x-gzip", gzip(lines.as_bytes())),
        ("Deflate", zlib(lines.as_bytes())),
        ("br", br),
        ("zstd", zstd::encode_all(lines.as_bytes(), 3).unwrap()),
    ];
    for (coding, body) in &bodies {
        let headers = [("X-API-Key", KEY), ("Content-Encoding", *coding)];
        let response = server.http("POST", "/v1/events", &headers, body);
        assert_eq!(response.status, 202, "{coding}: {response:?}");
    }
    let rows = server.export(1, "events");
    assert_eq!(
        column(&rows, "name"),
        ["e0", "e1", "e2"].repeat(bodies.len())
    );
}

#[test]
fn a_heavy_body_does_not_keep_others_waiting() {
    let server = Setup::new().args(["--worker-threads", "1"]).start();
    // 10 MiB that are sent at once, because they are small until they are inflated.
    let line = "{\"event\":\"e\",\"a\":[1,2,3]}\n";
    let body = gzip(line.repeat((10 << 20) / line.len()).as_bytes());
    let done = AtomicBool::new(false);
    let (heavy, slowest) = std::thread::scope(|scope| {
        let heavy = scope.spawn(|| {
            let started = Instant::now();
            let headers = [("X-API-Key", KEY), ("Content-Encoding", "gzip")];
            let response = server.http("POST", "/v1/events", &headers, &body);
            done.store(true, Ordering::Relaxed);
            assert_eq!(response.status, 202, "{response:?}");
            started.elapsed()
        });
        let mut slowest = Duration::ZERO;
        let mut stream = TcpStream::connect(server.at().http).unwrap();
        while !done.load(Ordering::Relaxed) {
            let started = Instant::now();
            assert_eq!(request(&mut stream, "GET", "/health", &[], b"").status, 200);
            slowest = slowest.max(started.elapsed());
        }
        (heavy.join().unwrap(), slowest)
    });
    assert!(slowest < heavy / 2, "{slowest:?} of {heavy:?}");
}

#[test]
fn one_connection_carries_many_requests_with_keys_of_two_workspaces() {
    let server = Server::new();
    let mut stream = TcpStream::connect(server.at().http).unwrap();
    let mut ids = BTreeSet::new();
    for n in 0..30 {
        let line = format!("{{\"event\":\"e{n}\"}}");
        let key = [KEY, KEY_2][n % 2];
        // Refusals in between leave the connection usable.
        let (target, body) = match n % 5 {
            3 => ("/v1/nothing", &b""[..]),
            4 => ("/v1/events", &b"no line\n"[..]),
            _ => ("/v1/events", line.as_bytes()),
        };
        let response = request(&mut stream, "POST", target, &[("X-API-Key", key)], body);
        assert_eq!(
            response.status,
            [202, 202, 202, 404, 400][n % 5],
            "{n} {response:?}"
        );
        let id = response.json()["request_id"].as_str().unwrap().to_owned();
        assert!(!id.is_empty() && ids.insert(id));
    }
    let other = server.post_events("{\"event\":\"other\"}");
    assert!(ids.insert(other.json()["request_id"].as_str().unwrap().to_owned()));
    let sent = |of: usize| {
        let mine = move |n: &usize| n % 2 == of && n % 5 < 3;
        (0..30).filter(mine).map(|n| format!("e{n}"))
    };
    let one: Vec<String> = sent(0).chain(["other".to_owned()]).collect();
    assert_eq!(column(&server.export(1, "events"), "name"), one);
    assert_eq!(
        column(&server.export(2, "events"), "name"),
        sent(1).collect::<Vec<_>>()
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::new();
    let mut bytes = String::new();
    for n in 0..50 {
        let lines = "{\"event\":\"e\"}\n".repeat(n + 1);
        write!(
            bytes,
            "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{lines}",
            lines.len(),
        )
        .unwrap();
    }
    let mut stream = TcpStream::connect(server.at().http).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let sender = std::thread::spawn(move || stream.write_all(bytes.as_bytes()).unwrap());
    for n in 0..50 {
        let response = next_response(&mut answers);
        assert_eq!(response.status, 202, "{n} {response:?}");
        assert_eq!(response.json()["accepted"], n + 1);
    }
    sender.join().unwrap();
    assert_eq!(server.export(1, "events").len(), 50 * 51 / 2);
}

#[test]
fn health_needs_no_key() {
    let server = Server::new();
    let response = server.http("GET", "/health", &[], b"");
    assert_eq!(
        (response.status, response.json()),
        (200, json!({"status": "ok"}))
    );
}
