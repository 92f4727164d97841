//! A syslog listener that is bound to a workspace: for devices that can send no key, from allowed networks.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use serde_json::{Value, json};

use crate::harness::{KEY, KEY_2, Server, Setup, UNKNOWN_KEY, wait_for_close};

/// The address in the allow list, and one that is not.
const ALLOWED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

/// A server with bound listeners only; workspace 7 has no key.
fn bound() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tell.toml");
    let listener = |kind: &str| {
        format!(
            "[[listen.{kind}]]\naddress = \"127.0.0.1:0\"\nworkspace = 7\nallow = [\"127.0.0.7/32\"]\n"
        )
    };
    let text = listener("syslog_tcp") + &listener("syslog_udp");
    fs::write(&config, text).unwrap();
    Setup::new()
        .args(["--config", config.to_str().unwrap()])
        .args(["--syslog-tcp", "off", "--syslog-udp", "off"])
        .start()
}

/// Connects, or sends, from one address of this machine.
fn connect(server: &Server, from: Ipv4Addr) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&server.at().syslog_tcp.into()).unwrap();
    socket.into()
}

fn send(server: &Server, from: Ipv4Addr, text: &str) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket
        .send_to(text.as_bytes(), server.at().syslog_udp)
        .unwrap();
}

fn texts(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["message"].as_str().unwrap())
        .collect()
}

#[test]
fn messages_without_a_key_go_to_the_workspace_of_the_listener() {
    let server = bound();
    let mut stream = connect(&server, ALLOWED);
    stream
        .write_all(b"<13>Oct 11 22:14:15 switch1 ifmgr: port 3 up\n")
        .unwrap();
    send(
        &server,
        ALLOWED,
        "<13>Oct 11 22:14:16 switch1 ifmgr: port 4 up",
    );
    let rows = server.wait_for_rows(7, "logs", 2);
    let mut messages = texts(&rows);
    messages.sort_unstable();
    assert_eq!(messages, ["port 3 up", "port 4 up"]);
    // Each listener has an id of its own in the place of a key's.
    let ids: Vec<_> = rows.iter().map(|row| row["key_id"].clone()).collect();
    assert!(ids[0].as_str().unwrap().starts_with("k-"));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_message_with_a_key_is_routed_by_it_also_on_a_bound_listener() {
    let server = bound();
    send(&server, ALLOWED, &format!("{KEY} <13>1 - - - - - - of one"));
    send(
        &server,
        ALLOWED,
        &format!("{UNKNOWN_KEY} <13>1 - - - - - - unknown"),
    );
    send(&server, ALLOWED, "<13>1 - - - - - - of the listener");
    let mut stream = connect(&server, ALLOWED);
    stream
        .write_all(format!("{KEY_2} <13>1 - - - - - - of two\n").as_bytes())
        .unwrap();
    assert_eq!(texts(&server.wait_for_rows(1, "logs", 1)), ["of one"]);
    assert_eq!(texts(&server.wait_for_rows(2, "logs", 1)), ["of two"]);
    assert_eq!(
        texts(&server.wait_for_rows(7, "logs", 1)),
        ["of the listener"]
    );
}

#[test]
fn senders_outside_the_allow_list_are_refused_with_or_without_a_key() {
    let server = bound();
    let mut stream = connect(&server, OTHER);
    // The server may have closed it before this is sent.
    let _ = stream.write_all(b"<13>1 - - - - - - over tcp\n");
    wait_for_close(&mut stream);
    send(&server, OTHER, "<13>1 - - - - - - over udp");
    send(
        &server,
        OTHER,
        &format!("{KEY} <13>1 - - - - - - with a key"),
    );
    send(&server, ALLOWED, "<13>1 - - - - - - allowed");
    let rows = server.wait_for_rows(7, "logs", 1);
    assert_eq!(texts(&rows), ["allowed"]);
    assert_eq!(
        rows[0]["peer"].as_str().unwrap().split(':').next(),
        Some("127.0.0.7")
    );
    assert_eq!(json!(server.export(1, "logs")), json!([]));
    let refused = |source: &str| {
        server.metric_sum(
            "tell_refused_total",
            &[source, "reason=\"source_not_allowed\""],
        )
    };
    assert_eq!(refused("source=\"syslog_udp\""), 2);
    assert_eq!(refused("source=\"syslog_tcp\""), 1);
}
