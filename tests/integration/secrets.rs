//! No key is kept or logged, whatever way it came in.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::frames::{event_batch, event_frame};
use crate::harness::{
    KEY, KEY_2, Server, UNKNOWN_KEY, connect_as_a_stranger, key_bytes, request, wait_for_close,
};

/// Fails if a file of the data directory, but for the key file, or the log holds one of the keys: as hex of
/// either case or as its 16 bytes.
pub fn assert_no_key_kept(server: &Server, keys: &[&str]) {
    let log = server.log();
    assert_no_key("the log", log.into_bytes(), keys);
    for path in files_below(&server.data_dir()) {
        if path != server.key_file() {
            let bytes = fs::read(&path).expect("a file of the data directory");
            assert_no_key(&path.display().to_string(), bytes, keys);
        }
    }
}

fn assert_no_key(place: &str, mut bytes: Vec<u8>, keys: &[&str]) {
    // Segments are reserved ahead: most of one is zeros.
    const ZEROS: [u8; 4096] = [0; 4096];
    while bytes.ends_with(&ZEROS) {
        bytes.truncate(bytes.len() - ZEROS.len());
    }
    for key in keys {
        let at = memmem::find(&bytes, &key_bytes(key));
        assert_eq!(at, None, "{place} holds the bytes of a key");
    }
    bytes.make_ascii_lowercase();
    for key in keys {
        if let Some(at) = memmem::find(&bytes, key.as_bytes()) {
            let around = &bytes[at.saturating_sub(200)..(at + 100).min(bytes.len())];
            let around = String::from_utf8_lossy(around);
            panic!("{place} holds a key: {around}");
        }
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_search_finds_a_key_in_every_form() {
    let found = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        std::panic::catch_unwind(|| assert_no_key("it", bytes, &[UNKNOWN_KEY, KEY])).is_err()
    };
    let mut padded = KEY.as_bytes().to_vec();
    padded.resize(20_000, 0);
    assert!(found(&padded));
    assert!(found(format!("x{}x", KEY.to_uppercase()).as_bytes()));
    assert!(found(&key_bytes(KEY)));
    assert!(!found(KEY_2.as_bytes()));
}

/// Every character as `%41`.
fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Sends over HTTP with the key in every place, good and bad. Returns how many were accepted.
fn over_http(server: &Server, key: &str) -> usize {
    const EVENT: &[u8] =
        br#"{"type":"track","event":"http","device_id":"550e8400-e29b-41d4-a716-446655440000"}"#;
    let upper = key.to_uppercase();
    let bearer = format!("Bearer {key}");
    let good = [
        (
            "/v1/events".to_owned(),
            vec![("Authorization", bearer.clone())],
        ),
        (
            "/v1/events".to_owned(),
            vec![("Authorization", format!("bearer {upper}"))],
        ),
        ("/v1/events".to_owned(), vec![("X-API-Key", key.to_owned())]),
        (format!("/v1/events?token={key}"), vec![]),
        (format!("/v1/events?a=b&token={upper}&c=d"), vec![]),
        (format!("/v1/events?token={}", percent_encoded(key)), vec![]),
        (format!("/v1/events?%74oken=%61{}", &key[1..]), vec![]),
    ];
    let bad = [
        (
            "/v1/events".to_owned(),
            vec![("Authorization", key.to_owned())],
        ),
        (
            "/v1/events".to_owned(),
            vec![("Authorization", format!("Basic {key}"))],
        ),
        (
            "/v1/events".to_owned(),
            vec![("Authorization", format!("{bearer}0"))],
        ),
        (
            "/v1/events".to_owned(),
            vec![("X-API-Key", format!("\"{key}\""))],
        ),
        (
            "/v1/events".to_owned(),
            vec![("Cookie", format!("token={key}"))],
        ),
        (format!("/v1/events?token={key}%"), vec![]),
        (
            format!("/v1/events?token=%20{}", percent_encoded(key)),
            vec![],
        ),
        (format!("/v1/events?key={key}"), vec![]),
        (format!("/v1/events/{key}"), vec![]),
        (
            format!("/{}", percent_encoded(key)),
            vec![("X-API-Key", key.to_owned())],
        ),
        (format!("http://{key}@localhost/v1/events"), vec![]),
    ];
    let post = |target: &str, headers: &[(&str, String)], body: &[u8]| {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut stream = connect_as_a_stranger(server.at().http);
        request(&mut stream, "POST", target, &headers, body).status
    };
    let mut accepted = 0;
    for (target, headers) in &good {
        accepted += usize::from(post(target, headers, EVENT) == 202);
    }
    for (target, headers) in &bad {
        let status = post(target, headers, EVENT);
        assert!((400..500).contains(&status), "{status}");
    }
    // The key where an event should be, a wrong encoding, a wrong type.
    let authorization = ("Authorization", bearer);
    for (body, header) in [
        (key.as_bytes(), ("X", String::new())),
        (EVENT, ("Content-Encoding", key.to_owned())),
        (EVENT, ("Content-Type", format!("image/{key}"))),
    ] {
        let status = post("/v1/events", &[authorization.clone(), header], body);
        assert!((400..500).contains(&status), "{status}");
    }
    let fbs = ("Content-Type", "application/octet-stream".to_owned());
    let batch = |key| event_batch(key, &[("batch", "{}")]);
    for batch in [batch(key), batch(KEY_2), batch(key)[..60].to_vec()] {
        let headers = [authorization.clone(), fbs.clone()];
        accepted += usize::from(post("/v1/ingest", &headers, &batch) == 202);
    }
    accepted
}

/// Messages with the key in every place that can be nothing but a key's, good and bad.
fn explicit_messages(key: &str) -> Vec<String> {
    let upper = key.to_uppercase();
    let head = "<134>1 2026-01-02T03:04:05Z web01 api 42 ID7";
    vec![
        format!("{head} [tell@32473 key=\"{key}\"] text"),
        format!("{head} [tell@32473 a=\"b\" key=\"{upper}\" c=\"d\"][x@1 y=\"z\"] text"),
        format!("{head} [tell@32473 key=\"{key}\" key=\"{key}\"] text with {key}"),
        format!("{head} [tell@32473 key=\"{key}\" broken] text with {key}"),
        format!("{head} [{key}@41058 a=\"b\"] text"),
        format!("{key} {head} - text"),
        format!("{upper} {key} {head} - text"),
        format!("{key} <34>Oct 11 22:14:15 web01 su: text"),
        format!("{head} [tell@32473 key={key}] unquoted"),
        format!("{head} [tell@32473 broken key=\"{key}\"] broken"),
        format!("{head} [tell@32473 key=\"{key}0\"] a digit more"),
        format!("{head} [tell@32473 key=\"{key}] unterminated"),
        format!("{head} [tell@32473 key=\"\\{key}\"] escaped"),
    ]
}

/// Messages that begin with what is a key only because the key file has it, or that repeat their key.
fn tentative_messages(key: &str) -> Vec<String> {
    let upper = key.to_uppercase();
    let head = "<134>1 2026-01-02T03:04:05Z web01 api 42 ID7";
    vec![
        format!("{head} - {key} text"),
        format!("{head} - \u{feff}{key}"),
        format!("<34>Oct 11 22:14:15 web01 su: {key} text"),
        format!("<34>Oct 11 22:14:15 web01 {key} text"),
        format!("<34>{key} text"),
        format!("<134>{key}"),
        format!("{key} <34>{key} text that repeats {key}, also as {upper}"),
        format!("{key}{head} - no blank between"),
        format!("{head} - text, and the key {key} of its connection"),
    ]
}

/// Every message in a datagram, on a connection of its own, and on one that a good key opened.
fn over_syslog(tcp: SocketAddr, udp: SocketAddr, opened_with: &str, messages: &[String]) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for message in messages {
        socket.send_to(message.as_bytes(), udp).unwrap();
        for first in ["", &format!("{opened_with} <134>opens\n")] {
            let mut stream = connect_as_a_stranger(tcp);
            let sent = format!("{first}{message}\n");
            stream.write_all(sent.as_bytes()).unwrap();
            // The server may close before it is told the end.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            wait_for_close(&mut stream);
        }
    }
}

fn over_tcp(tcp: SocketAddr, key: &str) {
    let good = event_frame(key, "frame");
    let mut wrong_length = good.clone();
    wrong_length[3] ^= 1;
    for bytes in [
        good.clone(),
        [&good[..], &good[..good.len() - 7]].concat(),
        wrong_length,
        format!("{key}\n").into_bytes(),
        format!("POST /v1/events?token={key} HTTP/1.1\r\n\r\n").into_bytes(),
    ] {
        let mut stream = connect_as_a_stranger(tcp);
        // The server may close before all is sent.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        wait_for_close(&mut stream);
    }
}

#[test]
fn no_key_is_stored_or_logged_in_whatever_form_it_was_passed() {
    let mut server = Server::new();
    let at = server.at();
    for key in [KEY, UNKNOWN_KEY] {
        let accepted = over_http(&server, key);
        assert_eq!(accepted, if key == KEY { 8 } else { 0 });
        over_tcp(at.tcp, key);
    }
    let (tcp, udp) = (at.syslog_tcp, at.syslog_udp);
    over_syslog(tcp, udp, KEY_2, &explicit_messages(UNKNOWN_KEY));
    over_syslog(tcp, udp, KEY_2, &explicit_messages(KEY));
    over_syslog(tcp, udp, KEY, &tentative_messages(KEY));
    // 8 over HTTP, 2 of the TCP connections, the last of which is closed: all of it is on its way to disk.
    assert!(server.wait_for_rows(1, "events", 10).len() >= 10);
    assert!(server.wait_for_rows(1, "logs", 20).len() >= 20);
    assert_no_key_kept(&server, &[KEY, KEY_2, UNKNOWN_KEY]);
    for target in ["/metrics", "/ready", &format!("/metrics?token={KEY}")] {
        let mut stream = TcpStream::connect(at.metrics).unwrap();
        let answer = request(&mut stream, "GET", target, &[], b"");
        assert_no_key(target, answer.body, &[KEY, KEY_2, UNKNOWN_KEY]);
    }
    assert!(server.stop().success());
    assert_no_key_kept(&server, &[KEY, KEY_2, UNKNOWN_KEY]);
}
