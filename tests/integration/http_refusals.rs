//! What HTTP refuses: the status, the body, and that nothing of it is kept.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::frames::event_batch;
use crate::harness::{
    KEY, KEY_2, Response, SOON, Server, UNKNOWN_KEY, next_response, read_response,
};
use crate::http::{base64, gzip, zlib};
use crate::rows::column;

/// 64 MiB of blanks, as Node.js 20 compresses them.
const BR_BLANKS: &str = "y///P/glQOKxQCD3/o///3/wSwDEYRGA7v0f////4JcAiMMCAN37P/7//8EvARCHBQC693/8//+DXwIgDgsAdO//+P//B78EQBwWAOje//H//w9+CYA4LADQvf/L//8//BIAcVgAoHv/Bw==";

/// The default of `max_body_size`.
const BODY_BYTES: usize = 10 << 20;

fn post(server: &Server, target: &str, body: &[u8]) -> Response {
    server.http("POST", target, &[("X-API-Key", KEY)], body)
}

/// Asserts a refusal: its status and code, and the shape that all refusals have.
fn assert_refused(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{response:?}");
    let body = response.json();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["error", "message", "request_id"]);
    assert_eq!(body["error"], code);
    assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()));
}

#[test]
fn bad_lines_are_named_by_number_and_the_others_are_kept() {
    let server = Server::new();
    let lines: String = (1..=1000)
        .map(|n| match n {
            500 => "{\"event\":\n".to_owned(),
            _ => format!("{{\"event\":\"e{n}\"}}\n"),
        })
        .collect();
    let response = post(&server, "/v1/events", lines.as_bytes());
    assert_eq!(response.status, 207, "{response:?}");
    let body = response.json();
    assert_eq!(
        (&body["accepted"], &body["rejected"]),
        (&json!(999), &json!(1))
    );
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);
    assert_eq!(body["errors"][0]["line"], 500);
    assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()));
    let expected: Vec<String> = (1..=1000)
        .filter(|n| *n != 500)
        .map(|n| format!("e{n}"))
        .collect();
    assert_eq!(column(&server.export(1, "events"), "name"), expected);
    assert!(server.export(1, "rejected").is_empty());
}

#[test]
fn lines_of_every_bad_kind_are_refused_one_by_one() {
    let server = Server::new();
    let deep = format!(
        "{{\"event\":\"deep\",\"a\":{}1{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let lines: [(&[u8], bool); 10] = [
        (b"{\"event\":\"first\"}", true),
        (b"{\"event\":\"nul \0\"}", false),
        (b"{\"event\":\"utf8 \xFF\"}", false),
        (deep.as_bytes(), false),
        (b"", true),
        (b"{\"event\":\"escaped nul \\u0000\"}", true),
        (b"{\"type\":\"track\"}", false),
        (b"[1]", false),
        (b"{\"type\":\"nothing\",\"event\":\"\"}", false),
        (b"{\"event\":\"no final newline\"}", true),
    ];
    let body: Vec<&[u8]> = lines.iter().map(|(line, _)| *line).collect();
    let response = post(&server, "/v1/events", &body.join(&b'\n'));
    assert_eq!(response.status, 207, "{response:?}");
    let answer = response.json();
    assert_eq!(answer["accepted"], 3);
    assert_eq!(answer["rejected"], 6);
    let refused: Vec<&Value> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["line"])
        .collect();
    let expected = (1..)
        .zip(&lines)
        .filter(|(_, (_, good))| !good)
        .map(|(n, _)| n);
    assert_eq!(json!(refused), json!(expected.collect::<Vec<u64>>()));
    let rows = server.export(1, "events");
    assert_eq!(
        column(&rows, "name"),
        ["first", "escaped nul \u{0}", "no final newline"]
    );
}

#[test]
fn a_body_without_a_good_line_is_refused_whole() {
    let server = Server::new();
    assert_refused(
        &post(&server, "/v1/events", b"{\"event\":\n{}\n"),
        400,
        "invalid_lines",
    );
    assert_refused(
        &post(&server, "/v1/logs", b"{\"level\":\"info\"}"),
        400,
        "invalid_lines",
    );
    let array = b"[\n{\"event\":\"a\"},\n{\"event\":\"b\"}\n";
    assert_refused(&post(&server, "/v1/events", array), 400, "invalid_lines");
    assert_refused(&post(&server, "/v1/events", b"[]"), 400, "empty_body");
    assert_refused(&post(&server, "/v1/events", b""), 400, "empty_body");
    assert_refused(&post(&server, "/v1/events", b"\n \r\n"), 400, "empty_body");
    let headers = [
        ("X-API-Key", KEY),
        ("Content-Type", "application/octet-stream"),
    ];
    for (body, code) in [
        (&b""[..], "empty_body"),
        (b"no batch at all", "invalid_batch"),
    ] {
        let response = server.http("POST", "/v1/ingest", &headers, body);
        assert_refused(&response, 400, code);
    }
    let headers = [("X-API-Key", KEY), ("Content-Encoding", "gzip")];
    let response = server.http("POST", "/v1/events", &headers, b"{\"event\":\"no gzip\"}");
    assert_refused(&response, 400, "invalid_compression");
    for table in ["events", "logs", "rejected"] {
        assert!(server.export(1, table).is_empty());
    }
}

#[test]
fn missing_malformed_and_unknown_keys_get_the_same_answer() {
    let server = Server::new();
    let bearer = format!("Bearer {UNKNOWN_KEY}");
    let token = format!("/v1/events?token={UNKNOWN_KEY}");
    let short = format!("Bearer {}", &KEY[1..]);
    let basic = format!("Basic {KEY}");
    let requests: [(&str, &[(&str, &str)]); 8] = [
        ("/v1/events", &[]),
        ("/v1/events", &[("Authorization", &bearer)]),
        ("/v1/logs", &[("X-API-Key", UNKNOWN_KEY)]),
        (&token, &[]),
        ("/v1/events", &[("Authorization", &short)]),
        ("/v1/events", &[("Authorization", &basic)]),
        ("/v1/ingest", &[("X-API-Key", "")]),
        ("/v1/events?token=%zz", &[]),
    ];
    let mut answers = Vec::new();
    for (target, headers) in requests {
        let response = server.http("POST", target, headers, b"{\"event\":\"e\"}");
        assert_refused(&response, 401, "unauthorized");
        let mut body = response.json();
        body["request_id"] = Value::Null;
        answers.push(body);
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(server.export(1, "events").is_empty());
    let log = server.log();
    assert!(!log.contains(UNKNOWN_KEY) && !log.contains(&KEY[1..]));
}

/// Sends only the head of a request that announces a body.
fn send_head(server: &Server, key: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.at().http).unwrap();
    let head = format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_bad_key_is_answered_before_the_body_is_read() {
    let server = Server::new();
    for headers in [
        "Content-Length: 10000000\r\n",
        "Content-Length: 10000000\r\nExpect: 100-continue\r\n",
        "Content-Length: 99999999999\r\n",
        "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n",
    ] {
        let mut stream = send_head(&server, UNKNOWN_KEY, headers);
        assert_refused(&read_response(&mut stream), 401, "unauthorized");
    }
    // A good key is told to go on.
    let stream = send_head(
        &server,
        KEY,
        "Content-Length: 13\r\nExpect: 100-continue\r\n",
    );
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answers = BufReader::new(&stream);
    assert_eq!(next_response(&mut answers).status, 100);
    (&stream).write_all(b"{\"event\":\"e\"}").unwrap();
    assert_eq!(next_response(&mut answers).status, 202);
}

#[test]
fn a_batch_with_another_key_than_its_request_is_refused() {
    let server = Server::new();
    let headers = [
        ("X-API-Key", KEY),
        ("Content-Type", "application/octet-stream"),
    ];
    for key in [KEY_2, UNKNOWN_KEY] {
        let body = event_batch(key, &[("e", "{}")]);
        assert_refused(
            &server.http("POST", "/v1/ingest", &headers, &body),
            403,
            "key_mismatch",
        );
    }
    assert!(server.export(1, "events").is_empty());
    assert!(server.export(2, "events").is_empty());
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let server = Server::new();
    for path in ["/", "/v1", "/v1/events/", "/v2/events", "/V1/events"] {
        assert_refused(&post(&server, path, b""), 404, "not_found");
    }
    for (method, path, allow) in [
        ("GET", "/v1/events", "POST, OPTIONS"),
        ("PUT", "/v1/logs", "POST, OPTIONS"),
        ("DELETE", "/v1/ingest", "POST, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
    ] {
        let response = server.http(method, path, &[("X-API-Key", KEY)], b"");
        assert_refused(&response, 405, "method_not_allowed");
        assert_eq!(response.header("allow"), Some(allow));
    }
}

#[test]
fn wrong_media_types_and_encodings_are_refused() {
    let server = Server::new();
    let line = b"{\"event\":\"e\"}";
    let batch = event_batch(KEY, &[("e", "{}")]);
    let cases: [(&str, &str, &str, &[u8], &str); 7] = [
        (
            "/v1/events",
            "Content-Type",
            "multipart/form-data",
            line,
            "unsupported_media_type",
        ),
        (
            "/v1/logs",
            "Content-Type",
            "application/xml",
            line,
            "unsupported_media_type",
        ),
        (
            "/v1/ingest",
            "Content-Type",
            "application/json",
            &batch,
            "unsupported_media_type",
        ),
        (
            "/v1/ingest",
            "X-Nothing",
            "",
            &batch,
            "unsupported_media_type",
        ),
        (
            "/v1/events",
            "Content-Encoding",
            "snappy",
            line,
            "unsupported_encoding",
        ),
        (
            "/v1/events",
            "Content-Encoding",
            "gzip, br",
            line,
            "unsupported_encoding",
        ),
        (
            "/v1/events",
            "Content-Encoding",
            "gzip, gzip",
            line,
            "unsupported_encoding",
        ),
    ];
    for (target, name, value, body, code) in cases {
        let response = server.http("POST", target, &[("X-API-Key", KEY), (name, value)], body);
        assert_refused(&response, 415, code);
        let accepted = (code == "unsupported_encoding").then_some("gzip, deflate, br, zstd");
        assert_eq!(response.header("accept-encoding"), accepted);
    }
    assert!(server.export(1, "events").is_empty());
}

/// The most memory that the server had resident so far, bytes.
fn peak_memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}

#[test]
fn bodies_over_the_limit_are_refused_and_do_not_take_memory() {
    let server = Server::new();
    let before = peak_memory(&server);
    let mut announced = send_head(
        &server,
        KEY,
        &format!("Content-Length: {}\r\n", BODY_BYTES + 1),
    );
    assert_refused(&read_response(&mut announced), 413, "payload_too_large");

    let mut chunked = send_head(&server, KEY, "Transfer-Encoding: chunked\r\n");
    let chunk = [b"10000\r\n", &vec![b'x'; 1 << 16][..], b"\r\n"].concat();
    for _ in 0..=BODY_BYTES >> 16 {
        // The refusal comes, and the connection closes, while this is being sent.
        if chunked.write_all(&chunk).is_err() {
            break;
        }
    }
    assert_refused(&read_response(&mut chunked), 413, "payload_too_large");

    // Gigabytes in megabytes: members, each of a megabyte of blanks.
    let megabyte = vec![b' '; 1 << 20];
    let bombs = [
        ("gzip", gzip(&megabyte).repeat(1 << 10)),
        (
            "zstd",
            zstd::encode_all(&megabyte[..], 1).unwrap().repeat(1 << 10),
        ),
        ("deflate", zlib(&megabyte.repeat(64))),
        ("br", base64(BR_BLANKS)),
    ];
    for (coding, bomb) in &bombs {
        assert!(bomb.len() < BODY_BYTES);
        let send = |key: &str| {
            let headers = [("X-API-Key", key), ("Content-Encoding", *coding)];
            server.http("POST", "/v1/events", &headers, bomb)
        };
        assert_refused(&send(KEY), 413, "payload_too_large");
        assert_refused(&send(UNKNOWN_KEY), 401, "unauthorized");
    }
    let grown = peak_memory(&server) - before;
    assert!(grown < 6 * BODY_BYTES, "{grown} bytes");
    assert!(server.export(1, "events").is_empty());
}

#[test]
fn a_body_at_the_limit_is_accepted() {
    let server = Server::new();
    // Ten lines of a megabyte.
    let frame = "{\"event\":\"e\",\"padding\":\"\"}\n".len();
    let padding = "x".repeat(BODY_BYTES / 10 - frame);
    let lines = format!("{{\"event\":\"e\",\"padding\":\"{padding}\"}}\n").repeat(10);
    assert_eq!(lines.len(), BODY_BYTES);
    let response = post(&server, "/v1/events", lines.as_bytes());
    assert_eq!(response.status, 202, "{response:?}");
    let rows = server.export(1, "events");
    assert_eq!(rows.len(), 10);
    assert!(
        rows.iter()
            .all(|row| row["properties"]["padding"] == padding.as_str())
    );
}

#[test]
fn a_body_that_ends_early_is_not_kept() {
    let server = Server::new();
    let mut stream = send_head(&server, KEY, "Content-Length: 100\r\n");
    stream.write_all(b"{\"event\":\"cut\"}\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the connection ends");
    assert!(
        !answer.starts_with(b"HTTP/1.1 2"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(server.export(1, "events").is_empty());
}
