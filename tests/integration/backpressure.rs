//! A journal that takes no more, for now or for good: HTTP answers 503, TCP stops reading, and nothing
//! that was taken is lost.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::frames::{connect, event_batch, frame, is_open, send};
use crate::harness::{KEY, KEY_2, Response, Server, Setup, wait_for};
use crate::memory::peak_mb;
use crate::rows::column;

/// Few megabytes of journal, so that a test fills it at once.
const SMALL: &str = "segment_size = \"1MiB\"\njournal_limit = \"4MiB\"\nmax_frame_size = \"64KiB\"\n\
                     max_body_size = \"64KiB\"\nshutdown_timeout = \"1s\"\n";
const LARGER: &str = "segment_size = \"1MiB\"\njournal_limit = \"64MiB\"\nmax_frame_size = \"64KiB\"\n\
                      max_body_size = \"64KiB\"\n";

fn padding() -> String {
    "x".repeat(20_000)
}

fn post(server: &Server, name: &str) -> Response {
    server.post_events(&format!(
        "{{\"event\":\"{name}\",\"padding\":\"{}\"}}\n",
        padding()
    ))
}

/// A server that is started again with this configuration file.
fn restart(server: &mut Server, settings: &str) {
    fs::write(server.directory().join("tell.toml"), settings).unwrap();
    server.start();
}

/// A server with a small journal, and the names of the events that filled it.
fn full_server() -> (Server, Vec<String>) {
    let mut server = Server::new();
    assert!(server.stop().success());
    restart(&mut server, SMALL);
    let mut taken = Vec::new();
    loop {
        let name = format!("e{}", taken.len());
        match post(&server, &name).status {
            202 => taken.push(name),
            503 => return (server, taken),
            other => panic!("status {other}"),
        }
        assert!(taken.len() < 1000, "the limit is not kept");
    }
}

#[test]
fn a_full_journal_is_answered_with_503_and_what_was_taken_stays() {
    let (mut server, mut taken) = full_server();
    assert!(taken.len() > 50, "{} events filled 4 MiB", taken.len());
    for _ in 0..3 {
        let response = post(&server, "refused");
        assert_eq!(response.status, 503, "{response:?}");
        assert_eq!(response.json()["error"], "journal_full");
        let seconds = response.header("retry-after").map(str::parse::<u32>);
        assert!(matches!(seconds, Some(Ok(1..))), "{response:?}");
    }
    assert_eq!(server.http("GET", "/health", &[], b"").status, 200);
    let ready = server.http("GET", "/ready", &[], b"");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reasons"][0]["component"], "journal");
    assert_eq!(column(&server.export(1, "events"), "name"), taken);
    let bytes: u64 = fs::read_dir(server.data_dir().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= 4 << 20, "{bytes}");

    assert!(server.stop().success());
    restart(&mut server, LARGER);
    assert_eq!(server.http("GET", "/ready", &[], b"").status, 200);
    assert_eq!(post(&server, "there is room again").status, 202);
    taken.push("there is room again".to_owned());
    assert_eq!(column(&server.export(1, "events"), "name"), taken);
}

#[test]
fn a_full_journal_stops_the_reading_of_frames_and_loses_none_that_was_taken() {
    let (mut server, taken) = full_server();
    let mut stream = connect(&server);
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let padding = format!("{{\"padding\":\"{}\"}}", padding());
    let mut sent = 0;
    // Socket buffers take some megabytes more; then the sender has to wait.
    let error = loop {
        let name = format!("frame-{sent}");
        match stream.write_all(&frame(&event_batch(KEY, &[(&name, &padding)]))) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "the server goes on reading");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    assert!(is_open(&stream));
    assert_eq!(server.http("GET", "/health", &[], b"").status, 200);

    let rows = server.export(1, "events");
    let names = column(&rows, "name");
    let (first, frames) = names.split_at(taken.len());
    assert_eq!(first, taken);
    let expected: Vec<String> = (0..frames.len()).map(|n| format!("frame-{n}")).collect();
    assert_eq!(
        frames, expected,
        "what was taken of the connection is its beginning"
    );

    // What is still waiting in front of a full journal cannot be saved: that is said, not passed over.
    let status = server.stop();
    assert_eq!(status.code(), Some(1));
    assert!(server.log().contains("not drained within shutdown_timeout"));
    restart(&mut server, LARGER);
    assert_eq!(server.export(1, "events"), rows);
    let mut stream = connect(&server);
    for n in frames.len()..sent {
        let name = format!("frame-{n}");
        stream
            .write_all(&frame(&event_batch(KEY, &[(&name, &padding)])))
            .unwrap();
    }
    let rows = wait_for("the rest of the frames", || {
        let rows = server.export(1, "events");
        (rows.len() == taken.len() + sent).then_some(rows)
    });
    let expected = (0..sent).map(|n| format!("frame-{n}"));
    assert!(
        column(&rows[taken.len()..], "name")
            .into_iter()
            .eq(expected)
    );
}

#[test]
fn connections_in_front_of_a_full_journal_leave_what_they_bring_in_the_kernel() {
    const CONNECTIONS: usize = 400;
    let (server, _) = full_server();
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
    // One that is served behind them all.
    assert_eq!(server.http("GET", "/health", &[], b"").status, 200);
    std::thread::sleep(Duration::from_millis(500));
    let before = peak_mb(&server);
    let padding = format!("{{\"padding\":\"{}\"}}", padding());
    let frames = frame(&event_batch(KEY, &[("e", &padding)])).repeat(3);
    for stream in &mut streams {
        send(stream, &frames);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(streams.iter().all(is_open));
    let sent = (CONNECTIONS * frames.len()) as u64 >> 20;
    let held = peak_mb(&server) - before;
    assert!(held < sent / 3, "{held} of {sent} MB are held");
}

#[test]
fn a_connection_in_front_of_a_full_journal_ends_with_its_peer_or_with_the_server() {
    let (mut server, _) = full_server();
    let mut leaving = connect(&server);
    let _staying = connect(&server);
    std::thread::sleep(Duration::from_millis(200));
    leaving.shutdown(Shutdown::Write).unwrap();
    leaving
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    // Unlike one read, this goes on when a signal to the tests interrupts it.
    let read = leaving.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(read, 0, "the server closes too");
    // Nothing waits on the other one: no reason not to end well.
    assert!(server.stop().success(), "{}", server.log());
}

#[test]
fn senders_faster_than_the_queue_are_slowed_and_lose_nothing() {
    let server = Setup::new()
        .args(["--max-queued-bytes", "64KiB", "--max-frame-size", "64KiB"])
        .args(["--max-body-size", "64KiB"])
        .start();
    let frames = 4000;
    let senders: Vec<_> = [(KEY, 1), (KEY, 2), (KEY_2, 3)]
        .map(|(key, sender)| {
            let mut stream = connect(&server);
            std::thread::spawn(move || {
                let padding = format!("{{\"padding\":\"{}\"}}", "x".repeat(1000));
                for n in 0..frames {
                    let name = format!("{sender}-{n}");
                    send(&mut stream, &frame(&event_batch(key, &[(&name, &padding)])));
                }
            })
        })
        .into();
    for sender in senders {
        sender.join().unwrap();
    }
    let one = server.wait_for_rows(1, "events", 2 * frames);
    let two = server.wait_for_rows(2, "events", frames);
    for (rows, sender) in [(&one, 1), (&one, 2), (&two, 3)] {
        let prefix = format!("{sender}-");
        let names = column(rows, "name")
            .into_iter()
            .filter(|name| name.starts_with(&prefix));
        let expected = (0..frames).map(|n| format!("{sender}-{n}"));
        assert!(
            names.eq(expected),
            "frames of sender {sender} are missing, doubled or out of order"
        );
    }
}
