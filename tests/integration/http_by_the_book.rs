//! HTTP by the book: what no request came of is answered in the documented form too, and an answer behind which
//! the connection ends says so.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::harness::{
    KEY, Response, SOON, Server, Setup, UNKNOWN_KEY, next_response, wait_for_close,
};
use crate::listeners::{Authority, of_file, with_file};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.at().http).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Sends these bytes and reads one answer; returns what is left of the connection.
fn send(server: &Server, bytes: &[u8]) -> (Response, BufReader<TcpStream>) {
    let mut stream = connect(server);
    // The answer may come before all of it is sent.
    let _ = stream.write_all(bytes);
    let mut answers = BufReader::new(stream);
    (next_response(&mut answers), answers)
}

/// Asserts the form that every refusal has.
fn assert_documented(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["error", "message", "request_id"]);
    assert_eq!(body["error"], code);
    assert_eq!(response.header("x-request-id"), body["request_id"].as_str());
    assert!(response.header("date").is_some());
    assert_eq!(response.body.last(), Some(&b'\n'));
}

fn assert_ends(response: &Response, rest: BufReader<TcpStream>) {
    assert_eq!(response.header("connection"), Some("close"), "{response:?}");
    let mut stream = rest.into_inner();
    // Our half is closed, so that nobody waits for more.
    let _ = stream.shutdown(Shutdown::Write);
    wait_for_close(&mut stream);
}

#[test]
fn what_is_no_request_is_answered_in_the_documented_form() {
    let server = Server::new();
    let many_fields = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: b\r\n".repeat(120)
    );
    let long_field = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "b".repeat(70_000)
    );
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "b".repeat(65_600));
    for (request, status, code) in [
        ("nonsense\r\n\r\n", 400, "malformed_request"),
        (
            "GET / with blanks HTTP/1.1\r\nHost: x\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            400,
            "malformed_request",
        ),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "http_version"),
        ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505, "http_version"),
        (
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}",
            400,
            "malformed_request",
        ),
        (&many_fields, 431, "head_too_large"),
        (&long_field, 431, "head_too_large"),
        (&long_target, 431, "head_too_large"),
    ] {
        let (response, rest) = send(&server, request.as_bytes());
        assert_documented(&response, status, code);
        assert_ends(&response, rest);
    }
    let refused = server.metric_sum("tell_refused_total", &["source=\"http\"", "head_too_large"]);
    assert_eq!(refused, 3);
}

#[test]
fn requests_that_hyper_takes_are_refused_by_the_book() {
    let server = Server::new();
    let chunked = "0\r\n\r\n";
    for (head, body, status, code) in [
        ("GET /health HTTP/1.1\r\n\r\n", "", 400, "invalid_host"),
        (
            "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "",
            400,
            "invalid_host",
        ),
        (
            "POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            chunked,
            501,
            "unsupported_transfer_coding",
        ),
        (
            "POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunked,
            501,
            "unsupported_transfer_coding",
        ),
    ] {
        let (response, mut rest) = send(&server, format!("{head}{body}").as_bytes());
        assert_documented(&response, status, code);
        // All of it was read: the connection stays.
        assert_eq!(response.header("connection"), None, "{response:?}");
        let again = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        rest.get_mut().write_all(again).unwrap();
        assert_eq!(next_response(&mut rest).status, 200);
    }
    // HTTP/1.0 names no host.
    assert_eq!(send(&server, b"GET /health HTTP/1.0\r\n\r\n").0.status, 200);
}

#[test]
fn a_head_that_does_not_end_gets_a_408_and_a_silent_connection_is_closed() {
    let server = Setup::new().args(["--stall-timeout", "1s"]).start();
    let mut silent = connect(&server);
    for head in ["G", "GET /health HTTP/1.1\r\nHost: x\r\nA: "] {
        let (response, rest) = send(&server, head.as_bytes());
        assert_documented(&response, 408, "timeout");
        assert_ends(&response, rest);
    }
    wait_for_close(&mut silent);
    // A byte now and then does not help, also behind a request.
    let mut slow = connect(&server);
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answers = BufReader::new(slow.try_clone().unwrap());
    assert_eq!(next_response(&mut answers).status, 200);
    let trickle = std::thread::spawn(move || {
        while slow.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_documented(&next_response(&mut answers), 408, "timeout");
    trickle.join().unwrap();
}

#[test]
fn a_short_body_is_read_behind_its_refusal_and_the_connection_stays() {
    let server = Server::new();
    let stream = connect(&server);
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut send = |key: &str, head: &str, body: &str| {
        let head = format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{head}\r\n");
        (&stream).write_all(head.as_bytes()).unwrap();
        // Not together: the refusal comes first, or in the middle.
        std::thread::sleep(Duration::from_millis(2));
        (&stream).write_all(body.as_bytes()).unwrap();
        next_response(&mut answers)
    };
    let long = "x".repeat(100_000);
    let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let good = "{\"event\":\"e\"}";
    for n in 1..=5 {
        let bodies = [
            (UNKNOWN_KEY, length(good), good, 401),
            (UNKNOWN_KEY, length(&long), long.as_str(), 401),
            (
                KEY,
                format!("{}Content-Type: application/xml\r\n", length(&long)),
                &long,
                415,
            ),
            (
                UNKNOWN_KEY,
                "Transfer-Encoding: chunked\r\n".to_owned(),
                "1\r\nx\r\n0\r\n\r\n",
                401,
            ),
        ];
        for (key, head, body, status) in bodies {
            let refused = send(key, &head, body);
            assert_eq!(refused.status, status);
            if head.contains("chunked") && refused.header("connection") == Some("close") {
                // Its end had not come yet: then it is said.
                return;
            }
            assert_eq!(refused.header("connection"), None, "{refused:?}");
            let accepted = send(KEY, &length(good), good);
            assert_eq!(accepted.status, 202, "{accepted:?}");
        }
        assert!(server.export(1, "events").len() >= 3 * n);
    }
}

#[test]
fn an_answer_behind_which_the_connection_ends_says_so() {
    let server = Server::new();
    let key = |key: &str| format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n");
    let too_long = format!("Content-Length: {}\r\n\r\n", 11 << 20);
    let compressed = format!(
        "Content-Encoding: snappy\r\nContent-Length: {}\r\n\r\n",
        1 << 20
    );
    for (request, status) in [
        (format!("{}{too_long}", key(UNKNOWN_KEY)), 401),
        (format!("{}{too_long}", key(KEY)), 413),
        (format!("{}{compressed}", key(KEY)), 415),
        (
            format!(
                "{}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
                key(UNKNOWN_KEY)
            ),
            401,
        ),
        (
            format!(
                "{}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                key(UNKNOWN_KEY)
            ),
            401,
        ),
        (
            format!(
                "{}Content-Length: 5\r\n\r\n",
                key(KEY).replace("events", "nothing")
            ),
            404,
        ),
        (
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            200,
        ),
    ] {
        let (response, rest) = send(&server, request.as_bytes());
        assert_eq!(response.status, status, "{response:?}");
        if status == 404 {
            // Five bytes are waited for.
            assert_eq!(response.header("connection"), None);
            continue;
        }
        assert_ends(&response, rest);
    }
}

#[test]
fn http_in_the_clear_on_a_port_of_tls_gets_a_sentence() {
    let authority = Authority::new();
    authority.issue("server");
    let tls = authority.settings("server");
    let file = format!("[[listen.http]]\naddress = \"127.0.0.1:0\"\n{tls}");
    let server = with_file(&authority.path(""), &file).start();
    let mut stream = TcpStream::connect(of_file(&server, "http")[0]).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answers = BufReader::new(stream);
    let response = next_response(&mut answers);
    assert_documented(&response, 400, "tls_needed");
    let message = response.json()["message"].clone();
    assert_eq!(message, "this port speaks TLS: use https://");
    assert_ends(&response, answers);
    // What is neither is closed without a word.
    let mut noise = TcpStream::connect(of_file(&server, "http")[0]).unwrap();
    noise.write_all(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    let mut answer = Vec::new();
    noise.set_read_timeout(Some(SOON)).unwrap();
    let _ = noise.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"));
}

#[test]
fn a_connection_that_rested_goes_on_where_it_was() {
    let server = Server::new();
    let stream = connect(&server);
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let body = "{\"event\":\"rested\"}";
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let rest = Duration::from_millis(1_300);
    (&stream).write_all(request.as_bytes()).unwrap();
    assert_eq!(next_response(&mut answers).status, 202);
    std::thread::sleep(rest);
    // One and a half: the half is finished after another rest.
    let (half, other_half) = request.split_at(40);
    (&stream)
        .write_all(format!("{request}{half}").as_bytes())
        .unwrap();
    assert_eq!(next_response(&mut answers).status, 202);
    std::thread::sleep(rest);
    (&stream).write_all(other_half.as_bytes()).unwrap();
    assert_eq!(next_response(&mut answers).status, 202);
    std::thread::sleep(rest);
    // A revoked key ends it while it rests.
    fs::write(server.key_file(), "").unwrap();
    fs::write(server.key_file(), format!("{UNKNOWN_KEY}:1:other\n")).unwrap();
    wait_for_close(&mut answers.into_inner());
    assert_eq!(server.export(1, "events").len(), 3);
}
