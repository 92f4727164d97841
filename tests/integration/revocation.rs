//! Keys that are revoked or moved while their connections are open. (Syslog over TCP: see `syslog.rs`.)

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use crate::frames::{event_frame, is_open};
use crate::harness::{KEY, KEY_2, Server, request, wait_for_close, write_private};
use crate::key_reload::{LIVE, assert_live, key};

/// An RFC 5424 message with a key.
fn log_line(key: &str, text: &str) -> String {
    format!("<134>1 - web01 api - - [tell@32473 key=\"{key}\"] {text}\n")
}

#[test]
fn a_changed_workspace_takes_every_later_frame() {
    let server = Server::new();
    let mut syslog = TcpStream::connect(server.at().syslog_tcp).unwrap();
    syslog
        .write_all(log_line(KEY, "before").as_bytes())
        .unwrap();
    server.wait_for_rows(1, "logs", 1);
    server.post_events(r#"{"type":"track","event":"before","user_id":"u"}"#);

    // The new key shows when the reload is in force.
    let new = key(1);
    write_private(&server.key_file(), &format!("{KEY}:3:one\n{new}:1:new\n"));
    assert_live(&server, Instant::now(), "moved", &new);
    let after = server.post_events(r#"{"type":"track","event":"after","user_id":"u"}"#);
    assert_eq!(after.status, 202);
    syslog.write_all(log_line(KEY, "after").as_bytes()).unwrap();
    syslog.write_all(b"<134>after, without a key\n").unwrap();

    let texts = |workspace, table, column: &str| -> Vec<String> {
        let rows = server.export(workspace, table);
        rows.iter()
            .map(|row| row[column].as_str().unwrap().to_owned())
            .collect()
    };
    server.wait_for_rows(3, "logs", 2);
    assert_eq!(
        texts(3, "logs", "message"),
        ["after", "after, without a key"]
    );
    assert_eq!(texts(1, "logs", "message"), ["before"]);
    assert_eq!(texts(3, "events", "name"), ["after"]);
    assert_eq!(texts(1, "events", "name"), ["before"]);
}

#[test]
fn an_idle_keep_alive_connection_of_a_revoked_key_is_closed_within_two_seconds() {
    let server = Server::new();
    let event = br#"{"type":"track","event":"before","user_id":"u"}"#;
    let send = |stream: &mut TcpStream, key: &str| {
        request(stream, "POST", "/v1/events", &[("X-API-Key", key)], event).status
    };
    let mut revoked = TcpStream::connect(server.at().http).unwrap();
    let mut other = TcpStream::connect(server.at().http).unwrap();
    assert_eq!(send(&mut revoked, KEY), 202);
    assert_eq!(send(&mut other, KEY_2), 202);

    write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
    let since = Instant::now();
    wait_for_close(&mut revoked);
    let took = since.elapsed();
    assert!(took < LIVE, "{took:?}");
    assert_eq!(
        send(&mut other, KEY_2),
        202,
        "another key's connection is open"
    );
    assert_eq!(
        server.export(1, "events").len(),
        1,
        "what was sent before is kept"
    );
}

#[test]
fn a_revoked_key_closes_its_open_tcp_connection_within_two_seconds() {
    let server = Server::new();
    let mut revoked = TcpStream::connect(server.at().tcp).unwrap();
    let mut other = TcpStream::connect(server.at().tcp).unwrap();
    revoked.write_all(&event_frame(KEY, "frame")).unwrap();
    other.write_all(&event_frame(KEY_2, "frame")).unwrap();
    server.wait_for_rows(1, "events", 1);
    server.wait_for_rows(2, "events", 1);

    write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
    let since = Instant::now();
    wait_for_close(&mut revoked);
    let took = since.elapsed();
    assert!(took < LIVE, "{took:?}");
    other.write_all(&event_frame(KEY_2, "frame")).unwrap();
    server.wait_for_rows(2, "events", 2);
    assert!(is_open(&other));
    assert_eq!(
        server.export(1, "events").len(),
        1,
        "what was sent before is kept"
    );
}
