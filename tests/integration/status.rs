//! `tell status`: what people see of a running server, and what they are told when there is none.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::frames::{connect, event_frame, send};
use crate::harness::{KEY, KEY_2, Server, Setup, UNKNOWN_KEY, wait_for, write_private};

fn report(server: &Server) -> Value {
    let output = server.tell(&["status", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let code = if report["ready"] == true { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    report
}

fn shown(server: &Server) -> String {
    let output = server.tell(&["status"]);
    String::from_utf8(output.stdout).unwrap()
}

fn assert_fails_with(output: &Output, text: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(text), "{said}");
}

fn door<'a>(report: &'a Value, source: &str) -> &'a Value {
    let doors = report["sources"].as_array().expect("sources");
    let found = doors.iter().find(|door| door["source"] == source);
    found.expect("the door")
}

#[test]
fn the_status_of_a_running_server_tells_where_it_listens_and_what_came_in() {
    let server = Server::new();
    let mut stream = connect(&server);
    for n in 0..5 {
        send(&mut stream, &event_frame(KEY, &format!("e{n}")));
    }
    assert_eq!(server.post_events("{\"event\":\"posted\"}\n").status, 202);
    let unknown = format!("Bearer {UNKNOWN_KEY}");
    let headers = [("Authorization", unknown.as_str())];
    assert_eq!(server.http("POST", "/v1/logs", &headers, b"{}").status, 401);
    wait_for("the frames to be counted", || {
        (server.metric("tell_events_total{source=\"tcp\"}") == 5.0).then_some(())
    });

    let report = report(&server);
    assert_eq!(report["pid"], server.pid());
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["ready"], true);
    assert_eq!(report["reasons"], serde_json::json!([]));
    let at = server.at();
    let listeners: Vec<(&str, &str)> = report["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (l["name"].as_str().unwrap(), l["address"].as_str().unwrap()))
        .collect();
    let bound = [at.tcp, at.http, at.syslog_tcp, at.syslog_udp, at.metrics];
    let bound = bound.map(|address| address.to_string());
    let names = ["tcp", "http", "syslog_tcp", "syslog_udp", "metrics"];
    assert!(
        names
            .into_iter()
            .zip(bound.iter().map(String::as_str))
            .eq(listeners)
    );
    let tcp = door(&report, "tcp");
    assert_eq!(tcp["events"], 5);
    assert_eq!(tcp["connections"], 1);
    assert_eq!(tcp["connections_opened"], 1);
    assert_eq!(door(&report, "http")["events"], 1);
    assert_eq!(door(&report, "http")["refused"], 1);
    assert_eq!(report["keys"], 2);
    assert_eq!(report["busiest_keys"][0]["name"], "one");
    assert_eq!(report["busiest_keys"][0]["workspace"], "ws-1");
    assert_eq!(report["busiest_keys"][0]["events"], 6);
    assert_eq!(report["busiest_workspaces"][0]["workspace"], "ws-1");
    let journal = &report["journal"];
    assert!(journal["segments"].as_u64().unwrap() >= 1);
    assert!(journal["disk_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(journal["left_bytes"].as_u64().is_some());
    assert_eq!(journal["limit_bytes"], Value::Null);

    let text = shown(&server);
    assert!(text.contains("\nready\n"), "{text}");
    for address in &bound {
        assert!(text.contains(address.as_str()), "{text}");
    }
    let whole = text + &report.to_string();
    for key in [KEY, KEY_2, UNKNOWN_KEY] {
        assert!(!whole.contains(&key[..12]), "{whole}");
    }
}

#[test]
fn the_status_shows_how_much_comes_in_a_second_and_again_nothing_when_that_ends() {
    let server = Server::new();
    let body = "{\"event\":\"e\"}\n".repeat(100);
    let rate = |server: &Server| {
        door(&report(server), "http")["events_per_s"]
            .as_f64()
            .unwrap()
    };
    wait_for("a rate", || {
        assert_eq!(server.post_events(&body).status, 202);
        (rate(&server) > 0.0).then_some(())
    });
    wait_for("the rate to fall to nothing", || {
        (rate(&server) == 0.0).then_some(())
    });
    let over = report(&server)["rates_over_s"].as_f64().unwrap();
    assert!((1.0..10.0).contains(&over), "rates over {over} s");
}

#[test]
fn the_status_of_a_server_that_is_degraded_says_so_and_why() {
    let server = Server::new();
    write_private(&server.key_file(), "nonsense\n");
    wait_for("the server to be degraded", || {
        (server.observe("/ready").json()["status"] == "degraded").then_some(())
    });
    let report = report(&server);
    assert_eq!(report["ready"], true);
    assert_eq!(report["degraded"][0]["component"], "key_file");
    let text = shown(&server);
    assert!(text.contains("\nDEGRADED\n  key_file: "), "{text}");
}

#[test]
fn without_a_server_the_status_says_so_also_after_one_was_killed() {
    let mut server = Server::new();
    let file = server.data_dir().join("server.json");
    assert!(file.exists());
    assert!(server.stop().success());
    assert!(!file.exists());
    assert_fails_with(&server.tell(&["status"]), "no server runs");
    assert_fails_with(&server.tell(&["status", "--json"]), "no server runs");

    server.start();
    server.kill();
    assert!(file.exists(), "nobody removes the file of a killed server");
    assert_fails_with(&server.tell(&["status"]), "no server runs");

    // The next server writes its own.
    server.start();
    assert_eq!(report(&server)["pid"], server.pid());

    let elsewhere = server.tell(&["status", "--data-dir", "nowhere"]);
    assert_fails_with(&elsewhere, "no server runs with data directory nowhere");
    assert!(!server.directory().join("nowhere").exists());
}

#[test]
fn a_server_that_stalls_or_has_no_listener_to_ask_is_told_apart_from_none() {
    let server = Setup::new().start();
    server.signal("STOP");
    let started = std::time::Instant::now();
    let output = server.tell(&["status"]);
    server.signal("CONT");
    assert_fails_with(&output, "does not answer");
    assert!(started.elapsed() < Duration::from_secs(15));

    let server = Setup::new().args(["--metrics", "off"]).start();
    assert_fails_with(&server.tell(&["status"]), "has no listener for metrics");
}
