//! Stops, kills and restarts: what was acknowledged is there exactly once, and a stop is a stop.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::frames::{connect, event_frame, send};
use crate::harness::{KEY, SOON, Server, Setup, next_response, wait_for};
use crate::load::{Load, Sent, export, exported_ids};
use crate::rows::column;

#[test]
fn what_was_acknowledged_survives_a_stop_under_load_exactly_once() {
    let mut server = Server::new();
    let mut sent = Sent::default();
    for round in 0..3 {
        let load = Load::start(&server, &format!("r{round}"));
        load.wait_for_acknowledged(500);
        assert!(server.stop().success(), "a stop under load is a clean one");
        load.stop(&mut sent);
        server.start();
        sent.assert_kept(&server);
    }
    assert!(sent.acknowledged() >= 1500);
}

#[test]
fn what_was_acknowledged_survives_ten_kills_under_load_exactly_once() {
    let mut server = Server::new();
    let mut sent = Sent::default();
    for round in 0..10 {
        let load = Load::start(&server, &format!("r{round}"));
        // Kills early and late in the life of a segment and of a commit.
        load.wait_for_acknowledged(20 + 97 * round);
        server.kill();
        load.stop(&mut sent);
        let restarted = Instant::now();
        server.start();
        assert!(
            restarted.elapsed() < Duration::from_secs(10),
            "{:?}",
            restarted.elapsed()
        );
    }
    sent.assert_kept(&server);
    assert!(sent.acknowledged() >= 10 * 20);
    assert!(server.export(1, "rejected").is_empty());
    assert!(server.stop().success());
    sent.assert_kept(&server);
}

#[test]
fn frames_sent_before_an_interrupt_are_all_kept() {
    let mut server = Server::new();
    let load = Load::start(&server, "r");
    load.wait_for_acknowledged(200);
    let mut sent = Sent::default();
    load.stop(&mut sent);
    server.signal("INT");
    assert!(server.wait().success());
    sent.assert_kept(&server);
    sent.assert_streams_kept_whole(&server);
}

#[test]
fn a_second_server_on_the_same_data_directory_refuses_and_harms_nothing() {
    let server = Server::new();
    assert_eq!(server.post_events("{\"event\":\"before\"}").status, 202);
    let free = "127.0.0.1:0";
    let mut second = server
        .command()
        .args([
            "serve",
            "--tcp",
            free,
            "--http",
            free,
            "--syslog-tcp",
            free,
            "--syslog-udp",
            free,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + SOON;
    let status = loop {
        if let Some(status) = second.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            second.kill().unwrap();
            second.wait().unwrap();
            panic!("a second server runs on the same data directory");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1));
    let mut error = String::new();
    second
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert!(
        error.contains("is in use by another tell server"),
        "{error}"
    );
    assert_eq!(server.post_events("{\"event\":\"after\"}").status, 202);
    assert_eq!(
        column(&server.export(1, "events"), "name"),
        ["before", "after"]
    );
}

/// A request whose body is read by the server and not complete yet.
struct Unfinished {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Unfinished {
    fn start(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.at().http).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 21\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        // The server says this when it begins to read the body.
        assert_eq!(next_response(&mut answers).status, 100);
        stream.write_all(b"{\"event\":").unwrap();
        Self { stream, answers }
    }
}

#[test]
fn a_request_in_flight_is_finished_by_a_drain() {
    let mut server = Server::new();
    let mut unfinished = Unfinished::start(&server);
    let mut frames = connect(&server);
    send(&mut frames, &event_frame(KEY, "framed"));
    server.signal("TERM");
    server.wait_for_log("draining");
    wait_for("new connections to be refused", || {
        TcpStream::connect(server.at().http).is_err().then_some(())
    });
    unfinished.stream.write_all(b"\"in flight\"}").unwrap();
    let response = next_response(&mut unfinished.answers);
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.header("connection"), Some("close"));
    assert!(server.wait().success());
    let rows = server.export(1, "events");
    let mut names = column(&rows, "name");
    names.sort_unstable();
    assert_eq!(names, ["framed", "in flight"]);
}

#[test]
fn a_second_signal_ends_a_drain_that_hangs_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
        let mut server = Server::new();
        assert_eq!(server.post_events("{\"event\":\"kept\"}").status, 202);
        let unfinished = Unfinished::start(&server);
        server.signal(first);
        server.wait_for_log("draining");
        wait_for("new connections to be refused", || {
            TcpStream::connect(server.at().http).is_err().then_some(())
        });
        let signalled = Instant::now();
        server.signal(second);
        let status = server.wait();
        assert!(
            signalled.elapsed() < Duration::from_secs(5),
            "{:?}",
            signalled.elapsed()
        );
        assert_eq!(status.code(), Some(1));
        assert!(
            server.log().contains("second signal"),
            "the first one did not end it"
        );
        drop(unfinished);
        server.start();
        assert_eq!(column(&server.export(1, "events"), "name"), ["kept"]);
    }
}

#[test]
fn a_drain_past_its_deadline_says_so_and_fails() {
    let mut server = Setup::new().args(["--shutdown-timeout", "1s"]).start();
    assert_eq!(server.post_events("{\"event\":\"kept\"}").status, 202);
    let unfinished = Unfinished::start(&server);
    let status = server.stop();
    assert_eq!(status.code(), Some(1));
    assert!(
        server
            .log()
            .contains("not drained within shutdown_timeout (1s): 1 connections were cut")
    );
    drop(unfinished);
    server.start();
    assert_eq!(column(&server.export(1, "events"), "name"), ["kept"]);
}

#[test]
fn an_export_under_load_prints_whole_lines_of_all_that_was_acknowledged() {
    let mut server = Server::new();
    let load = Load::start(&server, "r");
    let mut before = Vec::new();
    for n in 1..=5 {
        load.wait_for_acknowledged(200 * n);
        assert_eq!(
            server
                .post_events(&format!("{{\"event\":\"mark-{n}\"}}"))
                .status,
            202
        );
        let (marks, text): (Vec<String>, Vec<String>) = export(&server, 1)
            .split_inclusive('\n')
            .map(str::to_owned)
            .partition(|line| line.contains("\"name\":\"mark-"));
        assert_eq!(
            marks.len() as u64,
            n,
            "a line that was acknowledged is missing"
        );
        let ids = exported_ids(&text.concat());
        assert!(
            ids.starts_with(&before),
            "an export is the beginning of the next"
        );
        before = ids;
    }
    let mut sent = Sent::default();
    load.stop(&mut sent);
    assert!(server.stop().success());
}
