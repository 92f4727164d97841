//! What arrives and is not whole adds up over all connections: it stays below its bound, whoever sends it.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{KEY, Server, Setup, wait_for};

/// The bounds of the server under test, and what a process takes besides.
const IN_FLIGHT_MB: u64 = 112;
const QUEUED_MB: u64 = 16;
const BESIDES_MB: u64 = 64;

/// Connections that each try to place this much: four times the bound.
const CONNECTIONS: usize = 60;
const EACH_BYTES: usize = 8 << 20;

fn bounded() -> Server {
    let in_flight = format!("{IN_FLIGHT_MB}MiB");
    let queued = format!("{QUEUED_MB}MiB");
    Setup::new()
        .args(["--max-in-flight-bytes", &in_flight])
        .args(["--max-queued-bytes", &queued])
        .start()
}

/// The most memory that the server had resident, MB.
pub fn peak_mb(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kb / 1024
}

/// Sends `head` and then filler on each of many connections, which stay open until all have tried.
fn flood(address: std::net::SocketAddr, head: &[u8]) {
    let filler = vec![b'x'; 1 << 20];
    let streams: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(head).unwrap();
            let patience = Duration::from_millis(100);
            stream.set_write_timeout(Some(patience)).unwrap();
            for _ in 0..EACH_BYTES / filler.len() {
                // What finds no room is not read.
                if stream.write_all(&filler).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    drop(streams);
}

fn assert_bounded(server: &Server) {
    let peak = peak_mb(server);
    assert!(
        peak < IN_FLIGHT_MB + QUEUED_MB + BESIDES_MB,
        "{peak} MB were resident"
    );
    // The connections are closed: once the server has noticed, there is room again.
    wait_for("a request to be accepted", || {
        let answer = server.post_events(r#"{"type":"track","event":"Still Here"}"#);
        (answer.status == 202).then_some(())
    });
}

#[test]
fn unfinished_frames_of_many_connections_stay_below_the_bound_on_memory() {
    let server = bounded();
    // A frame of 16 MiB is announced, without a key.
    flood(server.at().tcp, &(16u32 << 20).to_be_bytes());
    assert_bounded(&server);
    server.wait_for_log("senders wait until others are done");
}

#[test]
fn unfinished_bodies_of_many_requests_stay_below_the_bound_on_memory() {
    let server = bounded();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {}\r\n\r\n",
        EACH_BYTES + 1
    );
    flood(server.at().http, head.as_bytes());
    assert_bounded(&server);
}
