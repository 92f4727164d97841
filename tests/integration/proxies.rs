//! Who sent something that came through a proxy or a forwarder, and who cannot make it up.

use std::io::Write;
use std::net::{Ipv6Addr, TcpStream};

use crate::frames::{Field, event_batch, event_frame, frame, table};
use crate::harness::{KEY, Server, Setup, key_bytes, wait_for, wait_for_close};
use crate::listeners::{of_file, with_file};

fn peers(server: &Server, n: usize) -> Vec<String> {
    let rows = server.wait_for_rows(1, "events", n);
    rows.iter()
        .map(|row| row["peer"].as_str().unwrap().to_owned())
        .collect()
}

fn post_forwarded(server: &Server, forwarded_for: &str) {
    let headers = [("X-API-Key", KEY), ("X-Forwarded-For", forwarded_for)];
    let body = b"{\"type\":\"track\",\"event\":\"e\"}";
    let response = server.http("POST", "/v1/events", &headers, body);
    assert_eq!(response.status, 202);
}

#[test]
fn a_stranger_cannot_make_up_where_a_request_came_from() {
    let server = Setup::new()
        .args(["--trusted-proxies", "192.0.2.0/24"])
        .start();
    post_forwarded(&server, "203.0.113.9");
    assert!(peers(&server, 1)[0].starts_with("127.0.0.1:"));
}

#[test]
fn a_trusted_proxy_says_where_a_request_came_from() {
    let server = Setup::new()
        .args(["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"])
        .start();
    // The first address is what the client made up.
    post_forwarded(&server, "198.51.100.1, 203.0.113.9, 10.0.0.2");
    assert_eq!(peers(&server, 1), ["203.0.113.9:0"]);
}

/// A Batch with a source address.
fn batch_from(source_ip: Ipv6Addr) -> Vec<u8> {
    let sdk = event_batch(KEY, &[("forwarded", "{}")]);
    let data = tell_server::wire::batch::Batch::parse(&sdk)
        .unwrap()
        .data
        .to_vec();
    table(&[
        Field::Bytes(&key_bytes(KEY)),
        Field::U8(1),
        Field::U8(100),
        Field::U64(1),
        Field::Bytes(&data),
        Field::Bytes(&source_ip.octets()),
    ])
}

#[test]
fn a_forwarder_says_where_a_batch_came_from_and_nobody_else_does() {
    let claimed = "::ffff:203.0.113.9".parse().unwrap();
    for (args, expected) in [
        (["--forwarders", "127.0.0.1"], "203.0.113.9:0"),
        (["--forwarders", "192.0.2.1"], "127.0.0.1:"),
        // A proxy speaks for connections, not for batches.
        (["--trusted-proxies", "127.0.0.1"], "127.0.0.1:"),
    ] {
        let server = Setup::new().args(args).start();
        let batch = batch_from(claimed);
        let mut stream = TcpStream::connect(server.at().tcp).unwrap();
        stream.write_all(&frame(&batch)).unwrap();
        let headers = [
            ("X-API-Key", KEY),
            ("Content-Type", "application/octet-stream"),
        ];
        let response = server.http("POST", "/v1/ingest", &headers, &batch);
        assert_eq!(response.status, 202);
        for peer in peers(&server, 2) {
            assert!(peer.starts_with(expected), "{args:?}: {peer}");
        }
    }
}

const LISTENERS: &str = "[[listen.tcp]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n\
                         [[listen.http]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";

#[test]
fn a_proxy_header_of_either_version_says_where_a_connection_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_file(dir.path(), LISTENERS)
        .args(["--trusted-proxies", "127.0.0.1"])
        .start();
    let address = of_file(&server, "tcp")[0];

    // The header in pieces, the last together with the first frame.
    let line = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 50000\r\n";
    let mut first = TcpStream::connect(address).unwrap();
    first.set_nodelay(true).unwrap();
    for piece in [&line[..3], &line[3..20]] {
        first.write_all(piece).unwrap();
        // The server has to see the pieces apart: it has read all when it looks for more.
        wait_for("the piece to be read", || {
            let queues = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let local = format!(":{:04X} ", address.port());
            let pending = queues.lines().any(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                columns
                    .get(1)
                    .is_some_and(|at| format!("{at} ").ends_with(&local))
                    && columns.get(3) == Some(&"01")
                    && columns
                        .get(4)
                        .is_some_and(|queue| !queue.ends_with(":00000000"))
            });
            (!pending).then_some(())
        });
    }
    first
        .write_all(&[&line[20..], &event_frame(KEY, "v1")].concat())
        .unwrap();
    assert_eq!(peers(&server, 1), ["203.0.113.9:4711"]);

    let mut second = TcpStream::connect(address).unwrap();
    let mut block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10".to_vec();
    block.extend([198, 51, 100, 7, 192, 0, 2, 1, 0x12, 0x67, 0, 80]);
    // A field behind the addresses, which is skipped.
    block.extend([4, 0, 1, 0]);
    block.extend(event_frame(KEY, "v2"));
    second.write_all(&block).unwrap();
    assert_eq!(peers(&server, 2)[1], "198.51.100.7:4711");

    // A proxy that speaks for itself.
    let mut own = TcpStream::connect(address).unwrap();
    own.write_all(&[b"PROXY UNKNOWN\r\n".as_slice(), &event_frame(KEY, "own")].concat())
        .unwrap();
    assert!(peers(&server, 3)[2].starts_with("127.0.0.1:"));
}

#[test]
fn what_has_no_proxy_header_is_closed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_file(dir.path(), LISTENERS)
        .args(["--trusted-proxies", "127.0.0.1"])
        .start();
    let mut stream = TcpStream::connect(of_file(&server, "tcp")[0]).unwrap();
    stream.write_all(&event_frame(KEY, "no header")).unwrap();
    wait_for_close(&mut stream);
    let mut stream = TcpStream::connect(of_file(&server, "http")[0]).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    wait_for_close(&mut stream);
    for door in ["tcp", "http"] {
        let series = format!("tell_refused_total{{source=\"{door}\",reason=\"proxy_header\"}}");
        assert_eq!(server.metric(&series), 1.0, "{door}");
    }
    assert!(server.export(1, "events").is_empty());
}

#[test]
fn a_proxy_header_of_a_stranger_is_not_even_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = with_file(dir.path(), LISTENERS)
        .args(["--trusted-proxies", "192.0.2.0/24"])
        .start();
    let mut stream = TcpStream::connect(of_file(&server, "tcp")[0]).unwrap();
    let line = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 50000\r\n".as_slice();
    let _ = stream.write_all(&[line, &event_frame(KEY, "made up")].concat());
    wait_for_close(&mut stream);
    let series = "tell_refused_total{source=\"tcp\",reason=\"proxy_untrusted\"}";
    assert_eq!(server.metric(series), 1.0);
    assert!(server.export(1, "events").is_empty());
}
