//! Syslog as bytes on sockets: both TCP framings, UDP, and every place a key can stand.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    KEY, KEY_2, Server, Setup, UNKNOWN_KEY, wait_for, wait_for_close, write_private,
};
use crate::secrets::assert_no_key_kept;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.at().syslog_tcp).expect("connect");
    stream.set_nodelay(true).unwrap();
    stream
}

fn send(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).expect("send");
}

/// An RFC 5424 message with its key in structured data.
fn keyed(key: &str, text: &str) -> String {
    format!("<134>1 2026-01-02T03:04:05.678Z web01 api 42 ID7 [tell@32473 key=\"{key}\"] {text}")
}

/// An RFC 5424 message without a key.
fn bare(text: &str) -> String {
    format!("<134>1 2026-01-02T03:04:05.678Z web01 api 42 ID7 - {text}")
}

/// A message with its octet count (RFC 6587).
fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

fn texts(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .filter_map(|row| row["message"].as_str())
        .collect()
}

/// The texts of the logs of a workspace once there are as many as are expected.
#[track_caller]
fn assert_logs(server: &Server, workspace: u32, expected: &[&str]) {
    let rows = server.wait_for_rows(workspace, "logs", expected.len());
    assert_eq!(texts(&rows), expected);
}

#[test]
fn keys_that_alternate_in_every_message_fit_the_smallest_segment() {
    let server = Setup::new()
        .args(["--segment-size", "1MiB", "--max-frame-size", "64KiB"])
        .args(["--max-body-size", "64KiB"])
        .start();
    let mut stream = connect(&server);
    let messages = 20_000;
    let pair = format!("{KEY} <14>a\n{KEY_2} <14>b\n");
    stream
        .write_all(pair.repeat(messages).as_bytes())
        .expect("send");
    server.wait_for_rows(1, "logs", messages);
    server.wait_for_rows(2, "logs", messages);
}

#[test]
fn both_framings_mix_on_one_connection() {
    let server = Server::new();
    let mut stream = connect(&server);
    let stream_of_all = [
        keyed(KEY, "by newline") + "\n",
        counted(&keyed(KEY, "by count,\nwith a newline")),
        keyed(KEY, "by CR LF") + "\r\n",
        counted(&keyed(KEY, "by count")),
        counted(&keyed(KEY, "by count again")),
        keyed(KEY, "by NUL") + "\0",
        keyed(KEY, "by the end of the stream"),
    ]
    .concat();
    send(&mut stream, stream_of_all);
    drop(stream);
    assert_logs(
        &server,
        1,
        &[
            "by newline",
            "by count,\nwith a newline",
            "by CR LF",
            "by count",
            "by count again",
            "by NUL",
            "by the end of the stream",
        ],
    );
}

#[test]
fn no_stored_record_holds_a_key_that_the_keyring_knows() {
    let server = Server::new();
    let stars = "*".repeat(KEY.len());
    let encoded: String = KEY_2.bytes().map(|digit| format!("%{digit:02X}")).collect();
    let (upper, hidden) = (KEY_2.to_ascii_uppercase(), "*".repeat(encoded.len()));
    let messages = [
        (format!("<13>{KEY} {KEY_2} hi"), format!("{stars} hi")),
        (
            keyed(KEY, &format!("twice {upper}{KEY}, checksum {UNKNOWN_KEY}")),
            format!("twice {stars}{stars}, checksum {UNKNOWN_KEY}"),
        ),
        (
            keyed(KEY, &format!("GET /v1/logs?token={encoded}")),
            format!("GET /v1/logs?token={hidden}"),
        ),
    ];
    let mut stream = connect(&server);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (message, _) in &messages {
        send(&mut stream, format!("{message}\n"));
        socket
            .send_to(message.as_bytes(), server.at().syslog_udp)
            .unwrap();
    }
    // Without a key of its own, on a connection that has one.
    send(&mut stream, bare(&format!("other={KEY_2}\n")));
    let rows = server.wait_for_rows(1, "logs", 2 * messages.len() + 1);
    for source in ["syslog_tcp", "syslog_udp"] {
        for (_, kept) in &messages {
            let is_it = |row: &&Value| row["source"] == source && row["message"] == **kept;
            assert_eq!(rows.iter().filter(is_it).count(), 1, "{kept}: {rows:?}");
        }
    }
    assert_eq!(
        rows.iter()
            .filter(|row| row["message"] == format!("other={stars}"))
            .count(),
        1
    );
    assert_no_key_kept(&server, &[KEY, KEY_2]);
}

#[test]
fn lines_that_start_with_a_number_are_lines() {
    let server = Server::new();
    let mut stream = connect(&server);
    let lines = ["200 OK done", "404 <html> not found", "12 monkeys", "7 "];
    send(&mut stream, keyed(KEY, "first") + "\n");
    for line in lines {
        send(&mut stream, format!("{line}\n"));
    }
    send(&mut stream, bare("last") + "\n");
    let mut expected = vec!["first"];
    expected.extend(lines);
    expected.push("last");
    assert_logs(&server, 1, &expected);
}

#[test]
fn a_count_that_lies_leaves_no_row() {
    let server = Server::new();
    let whole = counted(&keyed(KEY, "whole"));
    for lie in [-3, 5] {
        let mut stream = connect(&server);
        let message = bare("never seen");
        let count = message.len().saturating_add_signed(lie);
        let rest = counted(&bare("nor this"));
        send(&mut stream, format!("{whole}{count} {message}{rest}"));
        wait_for_close(&mut stream);
    }
    assert_logs(&server, 1, &["whole", "whole"]);
}

#[test]
fn a_message_that_arrives_byte_by_byte_is_whole() {
    let server = Server::new();
    let mut stream = connect(&server);
    let bytes = [
        keyed(KEY, "one") + "\n",
        counted(&keyed(KEY, "two\ntwo")),
        format!("{KEY} <134>three\n"),
    ]
    .concat();
    for byte in bytes.bytes() {
        send(&mut stream, [byte]);
        // Paces the sender, so that the server reads pieces; what is asserted does not depend on it.
        std::thread::sleep(Duration::from_micros(300));
    }
    assert_logs(&server, 1, &["one", "two\ntwo", "three"]);
}

#[test]
fn a_message_of_rfc_5424_fills_its_columns() {
    let server = Server::new();
    let mut stream = connect(&server);
    let message = format!(
        "<165>1 2026-10-11T22:14:15.003+02:00 web01 api 042 ID47 \
         [exampleSDID@32473 iut=\"3\" note=\"a \\\"b\\\"\"][tell@32473 key=\"{KEY}\"] \u{feff}grüße\n"
    );
    send(&mut stream, message);
    let row = server.wait_for_rows(1, "logs", 1).remove(0);
    for (column, expected) in [
        ("time", json!("2026-10-11T20:14:15.003Z")),
        ("type", json!("log")),
        ("level", json!("notice")),
        ("facility", json!("local4")),
        ("message", json!("grüße")),
        ("host", json!("web01")),
        ("service", json!("api")),
        ("app", json!("api")),
        ("procid", json!("042")),
        ("msgid", json!("ID47")),
        ("source", json!("syslog_tcp")),
        (
            "structured_data",
            json!({"exampleSDID@32473": {"iut": "3", "note": "a \"b\""}}),
        ),
    ] {
        assert_eq!(row[column], expected, "{column} of {row}");
    }
    assert!(row["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(row["key_id"].as_str().unwrap().starts_with("k-"));
}

#[test]
fn a_key_in_front_of_an_rfc_3164_message_is_cut_off() {
    let server = Server::new();
    let mut stream = connect(&server);
    send(
        &mut stream,
        format!("{KEY} <34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed for lonvick\n"),
    );
    let row = server.wait_for_rows(1, "logs", 1).remove(0);
    for (column, expected) in [
        ("level", json!("critical")),
        ("facility", json!("auth")),
        ("host", json!("mymachine")),
        ("app", json!("su")),
        ("procid", json!("230")),
        ("message", json!("'su root' failed for lonvick")),
        ("structured_data", Value::Null),
        ("attributes", Value::Null),
    ] {
        assert_eq!(row[column], expected, "{column} of {row}");
    }
    let time = row["time"].as_str().unwrap();
    assert!(time.ends_with("-10-11T22:14:15.000Z"), "{time}");
}

#[test]
fn a_key_of_digits_only_is_no_octet_count() {
    let digits = "12345678901234567890123456789012";
    let server = Setup::new().keys(Some(&format!("{digits}:7\n"))).start();
    let mut stream = connect(&server);
    let prefixed = format!("{digits} {}", bare("counted, after a key"));
    send(&mut stream, format!("{digits} {}\n", bare("after a key")));
    send(&mut stream, counted(&prefixed));
    send(&mut stream, format!("{digits} {}\n", bare("again")));
    assert_logs(
        &server,
        7,
        &["after a key", "counted, after a key", "again"],
    );
}

#[test]
fn a_key_holds_for_its_tcp_connection_and_for_no_other() {
    let server = Server::new();
    let mut stream = connect(&server);
    send(&mut stream, keyed(KEY, "with") + "\n");
    send(&mut stream, bare("without") + "\n");
    send(&mut stream, counted(&bare("without, counted")));
    assert_logs(&server, 1, &["with", "without", "without, counted"]);

    let mut other = connect(&server);
    send(&mut other, bare("on another connection") + "\n");
    wait_for_close(&mut other);
    send(&mut stream, bare("still") + "\n");
    assert_logs(
        &server,
        1,
        &["with", "without", "without, counted", "still"],
    );
}

#[test]
fn a_message_with_a_key_of_its_own_is_routed_by_it() {
    let server = Server::new();
    let mut stream = connect(&server);
    send(&mut stream, keyed(KEY, "first of one") + "\n");
    send(&mut stream, keyed(KEY_2, "first of two") + "\n");
    send(&mut stream, counted(&keyed(KEY, "second of one")));
    send(&mut stream, format!("{KEY_2} {}\n", bare("second of two")));
    assert_logs(&server, 1, &["first of one", "second of one"]);
    assert_logs(&server, 2, &["first of two", "second of two"]);
}

#[test]
fn an_unknown_key_closes_the_connection_and_what_came_before_is_kept() {
    let server = Server::new();
    let mut stream = connect(&server);
    let all = [
        keyed(KEY, "before"),
        keyed(UNKNOWN_KEY, "refused"),
        keyed(KEY, "after"),
    ];
    send(&mut stream, all.join("\n") + "\n");
    wait_for_close(&mut stream);
    assert_logs(&server, 1, &["before"]);
}

#[test]
fn a_malformed_key_and_two_that_differ_close_the_connection() {
    let server = Server::new();
    let short = &KEY[1..];
    for message in [
        keyed(short, "a digit is missing"),
        format!("{KEY} {}", keyed(KEY_2, "two keys")),
    ] {
        let mut stream = connect(&server);
        send(&mut stream, message + "\n");
        wait_for_close(&mut stream);
    }
    assert!(server.export(1, "logs").is_empty());
    assert!(server.export(2, "logs").is_empty());
}

#[test]
fn a_count_that_lies_closes_the_connection() {
    let server = Server::new();
    let mut expected = Vec::new();
    for (name, lie) in [
        ("too small", "10 <134>1 - - - - - - lie one".to_owned()),
        ("over the limit", format!("65537 {}", bare("lie two"))),
        (
            "beyond any number",
            format!("{} {}", "9".repeat(31), bare("lie three")),
        ),
    ] {
        let mut stream = connect(&server);
        send(&mut stream, keyed(KEY, name) + "\n" + &lie + "\n");
        wait_for_close(&mut stream);
        expected.push(name);
    }
    // A count beyond what the sender sends: nothing of that message is kept when the stream ends.
    let mut stream = connect(&server);
    let message = keyed(KEY, "cut short");
    send(&mut stream, format!("{} {message}", message.len() + 1));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    wait_for_close(&mut stream);

    // An export shows what is committed: once this is, so is all that came before it.
    assert_eq!(server.post_events("{\"event\":\"last\"}\n").status, 202);
    let rows = server.export(1, "logs");
    let kept: Vec<_> = texts(&rows);
    assert!(!kept.iter().any(|text| text.contains("lie")), "{kept:?}");
    assert!(!kept.contains(&"cut short"), "{kept:?}");
    for name in expected {
        assert!(kept.contains(&name), "{name}: {kept:?}");
    }
}

#[test]
fn a_line_over_the_limit_is_cut_and_the_next_message_is_whole() {
    let server = Server::new();
    let mut stream = connect(&server);
    send(&mut stream, keyed(KEY, &"x".repeat(200_000)) + "\n");
    send(&mut stream, keyed(KEY, "next") + "\n");
    let rows = server.wait_for_rows(1, "logs", 2);
    let long = rows[0]["message"].as_str().unwrap();
    assert!(long.len() > 64_000 && long.len() < 66_000, "{}", long.len());
    assert!(long.bytes().all(|byte| byte == b'x'));
    assert_eq!(rows[0]["attributes"], json!({"truncated": true}));
    assert_eq!(rows[1]["message"], "next");
    assert_eq!(rows[1]["attributes"], Value::Null);
}

#[test]
fn bytes_that_are_no_utf_8_are_kept() {
    let server = Server::new();
    let mut stream = connect(&server);
    let mut bytes = keyed(KEY, "caf").into_bytes();
    bytes.extend(b"\xe9 au lait\n");
    send(&mut stream, &bytes);
    send(&mut stream, keyed(KEY, "next") + "\n");
    let rows = server.wait_for_rows(1, "logs", 2);
    assert_eq!(rows[0]["message"], "caf\u{fffd} au lait");
    let raw = rows[0]["attributes"]["raw_base64"].as_str().unwrap();
    let raw = data_encoding::BASE64.decode(raw.as_bytes()).unwrap();
    assert!(raw.ends_with(b"caf\xe9 au lait"));
    assert_eq!(rows[1]["message"], "next");
}

#[test]
fn every_datagram_needs_a_key_of_its_own() {
    let server = Server::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [
        keyed(KEY, "one"),
        bare("no key"),
        keyed(UNKNOWN_KEY, "unknown key"),
        format!("{KEY_2} {}", bare("of two")),
        bare("no key, after one that had it"),
        String::new(),
        format!("{KEY} <34>Oct 11 22:14:15 mymachine su: last\n"),
    ] {
        let sent = socket.send_to(datagram.as_bytes(), server.at().syslog_udp);
        assert_eq!(sent.unwrap(), datagram.len());
    }
    assert_logs(&server, 1, &["one", "last"]);
    let rows = server.wait_for_rows(2, "logs", 1);
    assert_eq!(texts(&rows), ["of two"]);
    assert_eq!(rows[0]["source"], "syslog_udp");
    let own = socket.local_addr().unwrap().to_string();
    assert_eq!(rows[0]["peer"], own.as_str());
}

#[test]
fn the_largest_datagram_and_one_that_is_no_utf_8_are_kept() {
    let server = Server::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let head = keyed(KEY, "").len();
    // 65,535 less the headers of IP and UDP.
    let text = "y".repeat(65_507 - head);
    let mut not_utf8 = keyed(KEY, "").into_bytes();
    not_utf8.extend(b"\xff\xfe");
    for datagram in [keyed(KEY, &text).into_bytes(), not_utf8] {
        let sent = socket.send_to(&datagram, server.at().syslog_udp);
        assert_eq!(sent.unwrap(), datagram.len());
    }
    let rows = server.wait_for_rows(1, "logs", 2);
    assert!(rows[0]["message"] == text.as_str(), "the largest datagram");
    assert_eq!(rows[1]["message"], "\u{fffd}\u{fffd}");
}

#[test]
fn revoking_its_key_closes_an_idle_connection_and_refuses_datagrams() {
    let server = Server::new();
    let mut revoked = connect(&server);
    send(&mut revoked, keyed(KEY, "before") + "\n");
    let mut other = connect(&server);
    send(&mut other, keyed(KEY_2, "before") + "\n");
    assert_logs(&server, 1, &["before"]);
    assert_logs(&server, 2, &["before"]);

    write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
    let since = Instant::now();
    wait_for_close(&mut revoked);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [keyed(KEY, "revoked"), keyed(KEY_2, "by datagram")] {
        socket
            .send_to(datagram.as_bytes(), server.at().syslog_udp)
            .unwrap();
    }
    send(&mut other, bare("after") + "\n");
    wait_for("both messages of the other key", || {
        let rows = server.export(2, "logs");
        let texts = texts(&rows);
        (texts.contains(&"after") && texts.contains(&"by datagram")).then_some(())
    });
    assert_logs(&server, 1, &["before"]);
}

#[test]
fn a_message_without_a_key_belongs_to_the_first_key_of_its_connection() {
    let server = Server::new();
    let mut stream = TcpStream::connect(server.at().syslog_tcp).unwrap();
    let messages = format!(
        "{KEY} <134>1 - - - - - - first\n{KEY_2} <134>1 - - - - - - other\n<134>1 - - - - - - keyless\n"
    );
    stream.write_all(messages.as_bytes()).unwrap();
    let rows = server.wait_for_rows(1, "logs", 2);
    assert_eq!(
        [&rows[0]["message"], &rows[1]["message"]],
        ["first", "keyless"]
    );
    assert_eq!(server.wait_for_rows(2, "logs", 1)[0]["message"], "other");
}
