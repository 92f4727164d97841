//! HTTP/2 without TLS (prior knowledge): by `curl`, and frame by frame where a connection has to stay open.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{KEY, KEY_2, SOON, Server, UNKNOWN_KEY, program, wait_for_close};
use crate::listeners::{Authority, of_file, with_file};
use crate::rows::column;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// A connection that speaks frames.
pub struct Frames(TcpStream);

impl Frames {
    pub fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.at().http).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut frames = Self(stream);
        frames.send(SETTINGS, 0, 0, b"");
        frames
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).unwrap();
    }

    /// The kind, the stream and the payload of the next frame.
    fn next(&mut self) -> (u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0
            .read_exact(&mut payload)
            .expect("the frame's payload");
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        (head[3], stream, payload)
    }

    /// Waits for a frame of this kind, and answers what has to be answered until then.
    pub fn wait_for(&mut self, kind: u8) -> (u32, Vec<u8>) {
        loop {
            let (found, stream, payload) = self.next();
            if found == kind {
                return (stream, payload);
            }
            if found == PING {
                self.send(PING, 1, 0, &payload);
            }
        }
    }

    /// Posts one event and returns the body of the answer.
    fn post(&mut self, stream: u32, key: &str, line: &[u8]) -> Value {
        self.send_post(stream, key, line);
        let (answered, body) = self.wait_for(DATA);
        assert_eq!(answered, stream);
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Posts one event.
    pub fn send_post(&mut self, stream: u32, key: &str, line: &[u8]) {
        // Fields as literals without indexing, names and values as they are (RFC 7541, 6.2.2).
        let mut fields = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/v1/events"),
            (":authority", "localhost"),
            ("x-api-key", key),
        ] {
            fields.push(0);
            for text in [name, value] {
                fields.push(u8::try_from(text.len()).unwrap());
                fields.extend(text.as_bytes());
            }
        }
        self.send(HEADERS, 0x4, stream, &fields);
        self.send(DATA, 0x1, stream, line);
    }
}

/// Runs `curl` with HTTP/2 from the first byte; returns the status, the version and the body.
fn curl(server: &Server, key: &str, data: &str) -> (u16, String, String) {
    let url = format!("http://{}/v1/events", server.at().http);
    curl_at(server, key, data, &["--http2-prior-knowledge", &url])
}

/// The same of an address that is among the arguments.
fn curl_at(server: &Server, key: &str, data: &str, more: &[&str]) -> (u16, String, String) {
    let output = Command::new(program("curl", "curl"))
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args([
            "--header",
            &format!("X-API-Key: {key}"),
            "--data-binary",
            data,
        ])
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .args(more)
        .current_dir(server.directory())
        .output()
        .expect("curl runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, last) = text.rsplit_once('\n').unwrap();
    let (status, version) = last.split_once(' ').unwrap();
    (status.parse().unwrap(), version.to_owned(), body.to_owned())
}

#[test]
fn curl_delivers_over_http2_and_reads_every_refusal() {
    let server = Server::new();
    let (status, version, body) = curl(&server, KEY, "{\"event\":\"by two\"}");
    assert_eq!((status, version.as_str()), (202, "2"));
    assert!(body.contains("\"accepted\":1"), "{body}");

    // 11 MiB, of which the server reads nothing.
    fs::write(server.directory().join("big"), vec![b'x'; 11 << 20]).unwrap();
    for (key, expected) in [(UNKNOWN_KEY, 401), (KEY, 413)] {
        let (status, _, body) = curl(&server, key, "@big");
        assert_eq!(status, expected, "{body}");
        assert!(body.contains("\"request_id\""), "{body}");
    }
    assert_eq!(column(&server.export(1, "events"), "name"), ["by two"]);
}

#[test]
fn tls_agrees_on_http2_where_the_client_knows_it() {
    let authority = Authority::new();
    authority.issue("server");
    let tls = authority.settings("server");
    let file = format!("[[listen.http]]\naddress = \"127.0.0.1:0\"\n{tls}");
    let server = with_file(&authority.path(""), &file).start();
    let port = of_file(&server, "http")[0].port();
    let ca = authority.path("ca.pem").display().to_string();
    let url = format!("https://localhost:{port}/v1/events");
    let resolve = format!("localhost:{port}:127.0.0.1");
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let line = format!("{{\"event\":\"by {version}\"}}");
        let more = [flag, "--cacert", &ca, "--resolve", &resolve, &url];
        let (status, spoken, body) = curl_at(&server, KEY, &line, &more);
        assert_eq!((status, spoken.as_str()), (202, version), "{body}");
    }
    let rows = server.export(1, "events");
    assert_eq!(column(&rows, "name"), ["by 2", "by 1.1"]);
}

#[test]
fn one_connection_carries_many_requests_at_once() {
    let server = Server::new();
    let mut frames = Frames::open(&server);
    for n in 0..30u32 {
        let key = [KEY, KEY_2][n as usize % 2];
        let line = format!("{{\"event\":\"e{n}\"}}");
        assert_eq!(frames.post(2 * n + 1, key, line.as_bytes())["accepted"], 1);
    }
    assert_eq!(server.export(1, "events").len(), 15);
    assert_eq!(server.export(2, "events").len(), 15);
}

#[test]
fn a_revoked_key_ends_its_http2_connection() {
    let server = Server::new();
    let mut frames = Frames::open(&server);
    assert_eq!(frames.post(1, KEY, b"{\"event\":\"e\"}")["accepted"], 1);
    fs::write(server.key_file(), format!("{KEY_2}:2:two\n")).unwrap();
    frames.wait_for(GOAWAY);
    // It says so twice, and closes when the client has answered its ping.
    frames.wait_for(GOAWAY);
    wait_for_close(&mut frames.0);
}

#[test]
fn a_drain_does_not_wait_for_idle_http2_connections() {
    let mut server = Server::new();
    let mut idle = Frames::open(&server);
    assert_eq!(idle.post(1, KEY, b"{\"event\":\"e\"}")["accepted"], 1);
    // This one says nothing more, not even that it heard that it is over.
    let mut silent = Frames::open(&server);
    silent.wait_for(SETTINGS);
    let started = Instant::now();
    assert!(server.stop().success());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(server.export(1, "events")[0]["name"], json!("e"));
}
