//! How HTTP connections end: that a refusal reaches a client which is still sending, and who is closed when.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{
    KEY, SOON, Server, UNKNOWN_KEY, next_response, read_response, wait_for_close,
};

const MEGABYTE: usize = 1 << 20;

fn head(key: &str, rest: &str) -> String {
    format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{rest}\r\n")
}

/// Sends a body of this many megabytes to its end, then reads the answer, as simple clients do.
fn send_all_then_read(server: &Server, key: &str, headers: &str, megabytes: usize) -> u16 {
    let mut stream = TcpStream::connect(server.at().http).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream.write_all(head(key, headers).as_bytes()).unwrap();
    let mut piece = vec![b'x'; MEGABYTE];
    if headers.contains("chunked") {
        piece = [b"100000\r\n", &piece[..], b"\r\n"].concat();
    }
    for n in 0..megabytes {
        stream
            .write_all(&piece)
            .unwrap_or_else(|error| panic!("after {n} MiB: {error}"));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .read_to_end(&mut answer)
        .expect("the answer, not a reset");
    next_response(&mut &answer[..]).status
}

#[test]
fn a_client_that_sends_on_sees_the_refusal_and_not_a_reset() {
    let server = Server::new();
    let eleven = format!("Content-Length: {}\r\n", 11 * MEGABYTE);
    assert_eq!(send_all_then_read(&server, KEY, &eleven, 11), 413);
    assert_eq!(send_all_then_read(&server, UNKNOWN_KEY, &eleven, 11), 401);
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(send_all_then_read(&server, UNKNOWN_KEY, chunked, 11), 401);
    assert_eq!(send_all_then_read(&server, KEY, chunked, 12), 413);
    let xml = format!("{eleven}Content-Type: application/xml\r\n");
    assert_eq!(send_all_then_read(&server, KEY, &xml, 11), 415);
    assert!(server.export(1, "events").is_empty());
}

#[test]
fn a_client_that_sends_without_end_is_cut_off() {
    let server = Server::new();
    let mut stream = TcpStream::connect(server.at().http).unwrap();
    let endless = "Transfer-Encoding: chunked\r\n";
    stream
        .write_all(head(UNKNOWN_KEY, endless).as_bytes())
        .unwrap();
    assert_eq!(read_response(&mut stream).status, 401);
    stream.set_write_timeout(Some(SOON)).unwrap();
    let started = Instant::now();
    // A byte now and then, far less than is thrown away: time alone ends it.
    let cut = loop {
        if stream.write_all(b"1\r\nx\r\n").is_err() {
            break started.elapsed();
        }
        assert!(started.elapsed() < SOON, "it may go on for ever");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(cut < Duration::from_secs(10), "{cut:?}");
}

#[test]
fn a_refusal_comes_without_a_word_to_go_on() {
    let server = Server::new();
    let too_long = format!("Content-Length: {}\r\n", 11 * MEGABYTE);
    for (key, headers, status) in [
        (UNKNOWN_KEY, "Content-Length: 5\r\n", 401),
        (KEY, &too_long, 413),
        (
            KEY,
            "Content-Length: 5\r\nContent-Encoding: snappy\r\n",
            415,
        ),
    ] {
        let mut stream = TcpStream::connect(server.at().http).unwrap();
        let head = head(key, &format!("{headers}Expect: 100-continue\r\n"));
        stream.write_all(head.as_bytes()).unwrap();
        // The first answer is the last: no 100 before it.
        assert_eq!(read_response(&mut stream).status, status);
        wait_for_close(&mut stream);
    }
}

#[test]
fn chunked_bodies_are_put_together() {
    let server = Server::new();
    let stream = TcpStream::connect(server.at().http).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answers = BufReader::new(&stream);
    for n in 0..3 {
        let chunks =
            format!("9;x=y\r\n{{\"event\":\r\n6\r\n\"e{n}\"}}\n\r\n0\r\nX-Trailer: t\r\n\r\n");
        let head = head(KEY, "Transfer-Encoding: chunked\r\n");
        (&stream)
            .write_all(format!("{head}{chunks}").as_bytes())
            .unwrap();
        assert_eq!(next_response(&mut answers).status, 202);
    }
    assert_eq!(server.export(1, "events").len(), 3);
}
