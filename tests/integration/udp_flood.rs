//! More datagrams than the server can take: it lives, and every one is accounted for.

use std::net::UdpSocket;

use crate::harness::{KEY, Server, wait_for};

/// Large datagrams fill the receive buffer of 8 MiB, which the kernel doubles, with few of them.
const DATAGRAM_BYTES: usize = 8192;

fn datagram(key: &str) -> Vec<u8> {
    let mut datagram = format!("<134>1 - web01 api - - [tell@32473 key=\"{key}\"] ").into_bytes();
    datagram.resize(DATAGRAM_BYTES, b'x');
    datagram
}

fn send(server: &Server, datagram: &[u8], times: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..times {
        let sent = socket.send_to(datagram, server.at().syslog_udp).unwrap();
        assert_eq!(sent, datagram.len());
    }
}

/// Received, not kept by the server, dropped by the kernel.
fn counts(server: &Server) -> (u64, u64, u64) {
    (
        server.metric_sum("tell_udp_received_total", &[]),
        server.metric_sum("tell_udp_dropped_total", &["by=\"server\""]),
        server.metric_sum("tell_udp_dropped_total", &["by=\"kernel\""]),
    )
}

#[test]
fn what_was_received_and_what_was_dropped_are_what_was_sent() {
    let server = Server::new();
    let (good, bad) = (datagram(KEY), datagram(crate::harness::UNKNOWN_KEY));
    // Nobody takes anything out of the buffer now: what it cannot hold, the kernel drops.
    server.signal("STOP");
    send(&server, &good, 4000);
    send(&server, &bad, 10);
    server.signal("CONT");
    wait_for("the first flood to be counted", || {
        let (received, _, by_kernel) = counts(&server);
        (received + by_kernel == 4010).then_some(())
    });
    let (received, _, by_kernel) = counts(&server);
    assert!(by_kernel > 0, "the buffer held all {received} datagrams");

    // And a flood while it runs.
    send(&server, &good, 2000);
    send(&server, &bad, 10);
    send(&server, b"", 5);
    let sent = 4010 + 2015;
    let (received, by_server, by_kernel) = wait_for("the second flood to be counted", || {
        let counts = counts(&server);
        (counts.0 + counts.2 == sent).then_some(counts)
    });
    let kept = server.metric_sum("tell_events_total", &["source=\"syslog_udp\""]);
    assert_eq!(received, kept + by_server);
    assert_eq!(received + by_kernel, sent);
    assert_eq!(
        server.http("GET", "/health", &[], b"").status,
        200,
        "the server lives"
    );
    assert_eq!(server.wait_for_rows(1, "logs", 1).len() as u64, kept);
}

#[test]
fn a_second_server_cannot_share_a_udp_address() {
    let server = Server::new();
    let address = server.at().syslog_udp.to_string();
    let output = server.tell(&[
        "serve",
        "--data-dir",
        "another",
        "--tcp",
        "off",
        "--http",
        "off",
        "--syslog-tcp",
        "off",
        "--metrics",
        "off",
        "--syslog-udp",
        &address,
    ]);
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("syslog_udp"), "{stderr}");
}
