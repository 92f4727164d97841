//! What a scrape of `/metrics` gets: by the conventions, bounded, right, and without a key.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use tell_server::limits;

use crate::frames::{connect, event_batch, event_frame, frame, send};
use crate::harness::{
    KEY, KEY_2, Server, Setup, UNKNOWN_KEY, program, wait_for, wait_for_close, write_private,
};

const METERED_DOORS: [&str; 4] = ["tcp", "http", "syslog_tcp", "syslog_udp"];

/// Some of everything: each door, accepted and refused, with keys in every place they can stand in.
fn traffic(server: &Server) {
    send(&mut connect(server), &event_frame(KEY, "framed"));
    assert_eq!(
        server
            .post_events("{\"type\":\"track\",\"event\":\"posted\"}\n")
            .status,
        202
    );
    let unknown = format!("/v1/events?token={UNKNOWN_KEY}");
    assert_eq!(server.http("POST", &unknown, &[], b"{}").status, 401);
    let mut stream = TcpStream::connect(server.at().syslog_tcp).unwrap();
    writeln!(stream, "{KEY_2} <134>1 - host app - - - streamed").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for key in [KEY, UNKNOWN_KEY] {
        let message = format!("<134>1 - host app - - [tell@32473 key=\"{key}\"] sent");
        socket
            .send_to(message.as_bytes(), server.at().syslog_udp)
            .unwrap();
    }
    wait_for("the traffic to be counted", || {
        let refused = "tell_refused_total{source=\"syslog_udp\",reason=\"unauthorized\"}";
        let all = METERED_DOORS
            .iter()
            .all(|door| server.metric(&events(door)) == 1.0);
        (all && server.metric(refused) == 1.0).then_some(())
    });
}

fn events(door: &str) -> String {
    format!("tell_events_total{{source=\"{door}\"}}")
}

/// The names of the families that samples belong to.
fn sampled_families(text: &str) -> BTreeSet<&str> {
    let samples = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    samples
        .map(|line| {
            let name = line.split(['{', ' ']).next().unwrap();
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name)
        })
        .collect()
}

#[test]
fn promtool_finds_nothing_to_correct_in_the_metrics() {
    let promtool = program("promtool", "prometheus");
    let server = Server::new();
    traffic(&server);
    let mut child = std::process::Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let text = server.metrics();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}\n{text}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn every_family_has_a_help_text_and_a_type() {
    let server = Server::new();
    traffic(&server);
    let text = server.metrics();
    let described = |what: &str| -> BTreeSet<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(what));
        lines
            .map(|line| {
                let (name, said) = line.trim_start().split_once(' ').expect("a text");
                assert!(!said.trim().is_empty(), "{name}");
                name
            })
            .collect()
    };
    let sampled = sampled_families(&text);
    assert!(sampled.len() > 15, "{sampled:?}");
    assert_eq!(described("# HELP"), sampled);
    assert_eq!(described("# TYPE"), sampled);
    assert!(sampled.iter().all(|name| name.starts_with("tell_")));
}

#[test]
fn what_comes_in_and_what_is_refused_is_counted_once_by_door_and_reason() {
    let server = Server::new();
    let counted = |name: &str, door: &str| server.metric(&format!("{name}{{source=\"{door}\"}}"));
    let refused = |door: &str, reason: &str| {
        server.metric(&format!(
            "tell_refused_total{{source=\"{door}\",reason=\"{reason}\"}}"
        ))
    };
    let mut stream = connect(&server);
    let batch = event_batch(KEY, &[("a", "{}"), ("b", "{}"), ("c", "{}")]);
    send(&mut stream, &frame(&batch));
    send(&mut stream, &event_frame(KEY_2, "d"));
    wait_for("the frames to be counted", || {
        (counted("tell_frames_total", "tcp") == 2.0).then_some(())
    });
    assert_eq!(counted("tell_events_total", "tcp"), 4.0);
    // The payload is the Batch's data: what is around it is counted by nobody.
    let bytes = counted("tell_payload_bytes_total", "tcp");
    let whole = (batch.len() + event_frame(KEY_2, "d").len()) as f64;
    assert!(bytes > whole / 2.0 && bytes < whole, "{bytes} of {whole}");
    assert_eq!(counted("tell_connections", "tcp"), 1.0);
    send(&mut stream, &event_frame(UNKNOWN_KEY, "e"));
    wait_for_close(&mut stream);
    wait_for("the connection to be gone", || {
        (counted("tell_connections", "tcp") == 0.0).then_some(())
    });
    assert_eq!(counted("tell_connections_opened_total", "tcp"), 1.0);
    assert_eq!(refused("tcp", "unauthorized"), 1.0);

    let lines = "{\"event\":\"f\"}\n{\"type\":\"nope\"}\n{\"event\":\"g\"}\n";
    assert_eq!(server.post_events(lines).status, 207);
    assert_eq!(counted("tell_frames_total", "http"), 1.0);
    assert_eq!(counted("tell_events_total", "http"), 2.0);
    assert_eq!(server.post_events("{}\n").status, 400);
    assert_eq!(server.http("GET", "/v1/events", &[], b"").status, 405);
    assert_eq!(server.http("POST", "/v1/logs", &[], b"{}").status, 401);
    assert_eq!(refused("http", "invalid_lines"), 1.0);
    assert_eq!(refused("http", "method_not_allowed"), 1.0);
    assert_eq!(refused("http", "unauthorized"), 1.0);
    assert_eq!(counted("tell_events_total", "http"), 2.0);

    // An answered request was committed; the connection for frames may have shared a commit.
    let commits = server.metric("tell_commit_duration_seconds_count");
    assert!((1.0..=3.0).contains(&commits), "{commits} commits");
    assert_eq!(server.metric("tell_commit_size_bytes_count"), commits);
    assert!(server.metric("tell_commit_size_bytes_sum") > bytes);
    assert!(server.metric("tell_journal_size_bytes") >= 1024.0 * 1024.0);
    assert_eq!(server.metric("tell_journal_queued_bytes"), 0.0);
}

#[test]
fn reloads_of_the_key_file_are_counted_by_result_with_the_time_of_the_last_good_one() {
    let server = Server::new();
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap().as_secs_f64()
    };
    let loaded_at = || server.metric("tell_key_reload_timestamp_seconds");
    let reloads =
        |result: &str| server.metric(&format!("tell_key_reloads_total{{result=\"{result}\"}}"));
    let first = loaded_at();
    assert!(now() - first < 60.0 && first <= now());
    assert_eq!(server.metric("tell_keys"), 2.0);

    write_private(&server.key_file(), "not a key\n");
    wait_for("the broken file to be counted", || {
        (reloads("kept") >= 1.0).then_some(())
    });
    assert_eq!(loaded_at(), first);
    assert_eq!(server.metric("tell_keys"), 2.0);

    write_private(&server.key_file(), &format!("{KEY}:1:one\n"));
    wait_for("the good file to be counted", || {
        (reloads("loaded") >= 1.0).then_some(())
    });
    assert!(loaded_at() > first && loaded_at() <= now());
    assert_eq!(server.metric("tell_keys"), 1.0);
}

#[test]
fn many_keys_and_workspaces_do_not_make_the_metrics_grow() {
    let keys = limits::BUSIEST_SHOWN * 3;
    let key = |n: usize| format!("{n:032x}");
    let file: String = (1..=keys)
        .map(|n| format!("{}:{n}:k{n}\n", key(n)))
        .collect();
    let server = Setup::new().keys(Some(&file)).start();
    let mut stream = connect(&server);
    let mut busy = |from: usize, to: usize, total: usize| {
        for n in from..=to {
            // Later keys are busier: those shown are not simply the first.
            let events = vec![("e", "{}"); n];
            send(&mut stream, &frame(&event_batch(&key(n), &events)));
        }
        wait_for("the events to be counted", || {
            (server.metric(&events("tcp")) == total as f64).then_some(())
        });
        server.metrics()
    };
    let sum = |n: usize| n * (n + 1) / 2;
    let some = busy(1, keys / 2, sum(keys / 2));
    let all = busy(keys / 2 + 1, keys, sum(keys));
    for text in [&some, &all] {
        let series = |family: &str| text.lines().filter(|l| l.starts_with(family)).count();
        assert_eq!(series("tell_key_events_total{"), limits::BUSIEST_SHOWN);
        assert_eq!(
            series("tell_workspace_events_total{"),
            limits::BUSIEST_SHOWN
        );
    }
    // A series of a histogram comes with its first sample.
    let steady = |text: &str| {
        let series = text
            .lines()
            .filter(|line| !line.starts_with("tell_commit_"));
        series.count()
    };
    assert_eq!(steady(&some), steady(&all));
    let busiest = format!("tell_workspace_events_total{{workspace=\"{keys}\"}} {keys}");
    assert!(all.lines().any(|line| line == busiest), "{all}");
    let idlest = format!("workspace=\"{}\"", keys - limits::BUSIEST_SHOWN);
    assert!(!all.contains(&idlest));
}

#[test]
fn no_key_is_in_what_those_who_watch_the_server_see() {
    let server = Server::new();
    traffic(&server);
    for target in ["/metrics", "/ready", "/health"] {
        let response = server.observe(target);
        assert_eq!(response.status, 200, "{target}");
        let text = String::from_utf8(response.body).unwrap().to_lowercase();
        for key in [KEY, KEY_2, UNKNOWN_KEY] {
            assert!(!text.contains(key), "{target}: {text}");
            // Nor enough of one to make guessing the rest easier.
            assert!(!text.contains(&key[..12]), "{target}: {text}");
        }
    }
}
