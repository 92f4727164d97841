//! Clients that hold connections without using them, or open too many: they lose them, others notice nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::frames::event_frame;
use crate::harness::{KEY, SOON, Setup, wait_for, wait_for_close};

/// Connects from an address of this machine.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn is_closed(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    match stream.read(&mut [0; 512]) {
        Ok(0) => true,
        // An answer that says why, as HTTP has it.
        Ok(_) => is_closed(stream, within),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn one_source_cannot_take_all_connections() {
    let server = Setup::new()
        .args(["--max-connections-per-source", "3"])
        .start();
    let at = server.at();
    let own = Ipv4Addr::LOCALHOST;
    let mut open = [at.tcp, at.syslog_tcp, at.http].map(|to| connect_from(own, to));
    open[0].write_all(&event_frame(KEY, "first")).unwrap();
    server.wait_for_rows(1, "events", 1);
    wait_for_close(&mut connect_from(own, at.tcp));
    assert!(server.metric_sum("tell_connections_refused_total", &[]) >= 1);

    // Another source has places of its own.
    let mut other = connect_from(Ipv4Addr::new(127, 0, 0, 2), at.tcp);
    other.write_all(&event_frame(KEY, "of another")).unwrap();
    server.wait_for_rows(1, "events", 2);

    // And a place that is given back can be had again.
    drop(open);
    wait_for("a place to be free again", || {
        let mut again = connect_from(own, at.tcp);
        again.write_all(&event_frame(KEY, "again")).ok()?;
        (!is_closed(&mut again, Duration::from_millis(200))).then_some(())
    });
    server.wait_for_rows(1, "events", 3);
}

#[test]
fn a_client_that_sends_nothing_or_a_byte_now_and_then_is_closed_at_every_door() {
    let server = Setup::new().args(["--stall-timeout", "1s"]).start();
    let at = server.at();
    // Bytes that are the start of something good and never become it.
    let slow: [(&str, SocketAddr, &[u8]); 3] = [
        ("tcp", at.tcp, &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("http", at.http, b"POST /v1/events"),
        ("syslog_tcp", at.syslog_tcp, b"<13>1 - host app"),
    ];
    let clients = slow.map(|(door, to, bytes)| {
        std::thread::spawn(move || {
            let since = Instant::now();
            let mut silent = TcpStream::connect(to).unwrap();
            let mut trickling = TcpStream::connect(to).unwrap();
            for byte in bytes.iter().cycle() {
                // A closed connection refuses the write sooner or later.
                if trickling.write_all(&[*byte]).is_err()
                    || is_closed(&mut trickling, Duration::from_millis(300))
                {
                    break;
                }
                assert!(since.elapsed() < SOON, "{door}: a trickle is let go on");
            }
            assert!(is_closed(&mut silent, SOON), "{door}: silence is let go on");
        })
    });
    // Others are served meanwhile.
    assert_eq!(
        server
            .post_events("{\"type\":\"track\",\"event\":\"x\"}")
            .status,
        202
    );
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_client_with_a_good_key_may_be_idle_but_not_stop_inside_a_frame_or_body() {
    let server = Setup::new().args(["--stall-timeout", "1s"]).start();
    let at = server.at();
    let mut idle = TcpStream::connect(at.tcp).unwrap();
    idle.write_all(&event_frame(KEY, "idle")).unwrap();

    let mut inside = TcpStream::connect(at.tcp).unwrap();
    let frame = event_frame(KEY, "whole");
    inside.write_all(&frame).unwrap();
    inside.write_all(&frame[..frame.len() / 2]).unwrap();
    wait_for_close(&mut inside);

    let mut body = TcpStream::connect(at.http).unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 100\r\n\r\n{{"
    );
    body.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    body.set_read_timeout(Some(SOON)).unwrap();
    body.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");

    idle.write_all(&event_frame(KEY, "still there")).unwrap();
    server.wait_for_rows(1, "events", 3);
}

#[test]
fn connections_leave_the_store_its_file_descriptors() {
    let server = Setup::new()
        .open_files(160)
        .args(["--segment-size", "1MiB", "--max-frame-size", "512KiB"])
        .args(["--max-body-size", "512KiB"])
        .start();
    server.wait_for_log("the limit of open files is too low for max_connections");
    let at = server.at();
    let mut good = TcpStream::connect(at.tcp).unwrap();
    good.write_all(&event_frame(KEY, "first")).unwrap();
    server.wait_for_rows(1, "events", 1);
    // As many as fit are let in, the others closed.
    let crowd: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(at.tcp).unwrap())
        .collect();
    wait_for("connections to be refused", || {
        (server.metric_sum("tell_connections_refused_total", &[]) >= 300 - 160).then_some(())
    });
    // The journal makes new segments all the same: 3 MiB do not fit the one it has.
    let frame = event_frame(KEY, &"x".repeat(200_000));
    for _ in 0..15 {
        good.write_all(&frame).unwrap();
    }
    server.wait_for_rows(1, "events", 16);
    assert_eq!(server.metric_sum("tell_accept_errors_total", &[]), 0);
    let lines = server.log().matches("max_connections is reached").count();
    assert!((1..=4).contains(&lines), "{lines} log lines");

    drop(crowd);
    wait_for("new connections to be taken", || {
        let mut new = TcpStream::connect(at.tcp).ok()?;
        new.write_all(&event_frame(KEY, "after")).ok()?;
        (!is_closed(&mut new, Duration::from_millis(200))).then_some(())
    });
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_leave_room_for_new_ones() {
    const IDLE: usize = 10_000;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raise the limit of open files");
    assert!(
        maximum.is_none_or(|n| n >= IDLE as u64 + 1000),
        "this test needs 11,000 open files (ulimit -Hn)"
    );
    let server = Setup::new()
        .args(["--max-connections-per-source", "20000"])
        .start();
    let connect = || {
        let mut stream = TcpStream::connect(server.at().tcp).unwrap();
        stream.write_all(&event_frame(KEY, "hello")).unwrap();
        stream
    };
    let taken = |n: usize| {
        wait_for("the frames of all connections", || {
            let events = server.metric_sum("tell_events_total", &["source=\"tcp\""]);
            (events >= n as u64).then_some(())
        });
    };
    // What is allocated once is there by then.
    let mut idle: Vec<_> = (0..500).map(|_| connect()).collect();
    taken(500);
    let before = resident_bytes(server.pid());
    idle.extend((500..IDLE).map(|_| connect()));
    taken(IDLE);
    let each = (resident_bytes(server.pid()).saturating_sub(before)) / (IDLE - 500) as u64;
    assert!(each <= 8 << 10, "{each} bytes for each idle connection");
    println!("{each} bytes for each idle connection");
    let _new = connect();
    taken(IDLE + 1);
}

/// `VmRSS` of a process.
fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}
