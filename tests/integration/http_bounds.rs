//! What peers make HTTP hold stays within its bounds, and good senders are answered meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{KEY, KEY_2, SOON, Server, Setup, connect_as_a_stranger, wait_for};
use crate::http::{base64, gzip};
use crate::http2::Frames;
use crate::memory::peak_mb;

/// What the server under test may hold of what is unfinished, and what it takes besides.
const IN_FLIGHT_MB: u64 = 32;
const BESIDES_MB: u64 = 64;

fn bounded() -> Server {
    let in_flight = format!("{IN_FLIGHT_MB}MiB");
    Setup::new()
        .args(["--max-in-flight-bytes", &in_flight])
        .args(["--max-frame-size", "1MiB", "--max-body-size", "1MiB"])
        .start()
}

/// Sends what is taken of the bytes on each connection, until all have it or nothing is taken any more.
fn push(streams: &mut [(TcpStream, usize)], bytes: &[u8]) {
    for (stream, _) in streams.iter() {
        stream.set_nonblocking(true).unwrap();
    }
    let mut idle_rounds = 0;
    while idle_rounds < 10 {
        let mut taken = 0;
        for (stream, sent) in streams.iter_mut() {
            match stream.write(&bytes[*sent..]) {
                Ok(n) => {
                    *sent += n;
                    taken += n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *sent = bytes.len(),
            }
        }
        idle_rounds = if taken == 0 { idle_rounds + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn assert_answers(server: &Server) {
    let response = server.http("GET", "/health", &[], b"");
    assert_eq!(response.status, 200);
    let response = server.post_events("{\"event\":\"good\"}");
    assert_eq!(response.status, 202, "{response:?}");
}

fn assert_bounded(server: &Server) {
    let peak = peak_mb(server);
    assert!(peak < IN_FLIGHT_MB + BESIDES_MB, "{peak} MB were resident");
}

/// So many strangers each send what is taken of the bytes: good senders are answered, and memory is bounded.
fn withstands(server: &Server, strangers: usize, bytes: &[u8]) {
    let mut streams: Vec<(TcpStream, usize)> = (0..strangers)
        .map(|_| (connect_as_a_stranger(server.at().http), 0))
        .collect();
    push(&mut streams, bytes);
    assert_answers(server);
    assert_bounded(server);
}

/// A frame of HTTP/2 as bytes.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn heads_of_http2_that_grow_when_they_are_decoded_stay_within_the_bound() {
    let server = bounded();
    // Their windows are empty: no answer can be sent, and every request stays open.
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
    for n in 0..100 {
        let mut fields = [&[0x83, 0x86, 0x04, 10][..], b"/v1/events"].concat();
        if n == 0 {
            // A field for the table: one byte names it from now on.
            fields.extend([0x40, 1, b'a', 0]);
        }
        fields.resize(1_890, 0xbe);
        bytes.extend(frame(1, 4, 2 * n + 1, &fields));
    }
    withstands(&server, 60, &bytes);
}

#[test]
fn unfinished_heads_of_http1_stay_within_the_bound() {
    let server = bounded();
    let bytes = [
        &b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Long: "[..],
        &vec![b'x'; 63 << 10],
    ]
    .concat();
    withstands(&server, 2_000, &bytes);
}

#[test]
fn a_long_head_that_is_finished_is_taken() {
    let server = bounded();
    for kib in [1, 8, 20, 60] {
        let long = "x".repeat(kib << 10);
        let headers = [("X-API-Key", KEY), ("X-Long", &long)];
        let response = server.http("POST", "/v1/events", &headers, b"{\"event\":\"e\"}");
        assert_eq!(response.status, 202, "{kib} KiB: {response:?}");
    }
}

#[test]
fn a_stranger_on_http2_has_few_requests_at_once_until_its_first_good_key() {
    let server = Server::new();
    let mut frames = Frames::open(&server);
    // More than a stranger has at once, all of them sent before any is answered.
    for n in 0..30u32 {
        frames.send_post(2 * n + 1, KEY, format!("{{\"event\":\"e{n}\"}}").as_bytes());
    }
    let mut accepted = 0;
    while accepted < 30 {
        let (_, body) = frames.wait_for(0);
        if !body.is_empty() {
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["accepted"], 1, "{body}");
            accepted += 1;
        }
    }
    assert_eq!(server.export(1, "events").len(), 30);
}

#[test]
fn more_fields_than_may_be_get_a_431_on_http2_too() {
    let server = Server::new();
    let mut frames = Frames::open(&server);
    let mut fields = [&[0x82, 0x86, 0x04, 7][..], b"/health", &[0x40, 1, b'a', 0]].concat();
    fields.resize(fields.len() + 120, 0xbe);
    frames.send(1, 5, 1, &fields);
    let (_, body) = frames.wait_for(0);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"], "head_too_large", "{body}");
}

/// 64 MiB of blanks, as Node.js 20 compresses them.
const BR_BLANKS: &str = "y///P/glQOKxQCD3/o///3/wSwDEYRGA7v0f////4JcAiMMCAN37P/7//8EvARCHBQC693/8//+DXwIgDgsAdO//+P//B78EQBwWAOje//H//w9+CYA4LADQvf/L//8//BIAcVgAoHv/Bw==";

#[test]
fn a_good_body_does_not_stand_behind_all_the_bombs_of_another_key() {
    const BOMBS: usize = 40;
    let server = Server::new();
    let bomb = base64(BR_BLANKS);
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Encoding: br\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    let answered = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..BOMBS)
        .map(|_| {
            let mut stream = TcpStream::connect(server.at().http).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream
                .write_all(&[head.as_bytes(), &bomb].concat())
                .unwrap();
            let answered = Arc::clone(&answered);
            std::thread::spawn(move || {
                let mut answer = [0; 512];
                let n = stream.read(&mut answer).unwrap();
                assert!(answer[..n].starts_with(b"HTTP/1.1 413"));
                answered.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    wait_for("the first bomb to be refused", || {
        (answered.load(Ordering::SeqCst) > 0).then_some(())
    });
    // Too much to be inflated at once, like each of them.
    let lines = format!(
        "{{\"event\":\"e\",\"padding\":\"{}\"}}\n",
        "x".repeat(1_000)
    )
    .repeat(300);
    let headers = [("X-API-Key", KEY_2), ("Content-Encoding", "gzip")];
    let before = answered.load(Ordering::SeqCst);
    let response = server.http("POST", "/v1/events", &headers, &gzip(lines.as_bytes()));
    let after = answered.load(Ordering::SeqCst);
    assert_eq!(response.status, 202, "{response:?}");
    assert!(
        after - before < BOMBS / 2,
        "{before} bombs were done before it was sent, {after} before it was answered"
    );
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn bombs_at_once_stay_within_the_bound() {
    let server = bounded();
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    let bytes = [head.as_bytes(), &bomb].concat();
    let mut streams: Vec<(TcpStream, usize)> = (0..300)
        .map(|_| (TcpStream::connect(server.at().http).unwrap(), 0))
        .collect();
    push(&mut streams, &bytes);
    assert_answers(&server);
    for (stream, _) in &mut streams {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = [0; 512];
        let n = stream.read(&mut answer).unwrap();
        assert!(
            answer[..n].starts_with(b"HTTP/1.1 413"),
            "{:?}",
            &answer[..n]
        );
    }
    assert_bounded(&server);
}
