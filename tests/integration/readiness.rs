//! `/health` says that the server lives, `/ready` whether it can do its job and, if not, why.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{KEY, Response, Server, wait_for, write_private};

/// Both listeners that answer it say the same.
fn ready(server: &Server) -> Response {
    let (http, observed) = (
        server.http("GET", "/ready", &[], b""),
        server.observe("/ready"),
    );
    assert_eq!(http.status, observed.status);
    assert_eq!(http.json(), observed.json());
    observed
}

fn wait_until_unready(server: &Server, component: &str) -> Value {
    wait_for(&format!("{component} to be why it is not ready"), || {
        let response = server.observe("/ready");
        (response.status == 503).then(|| response.json())
    });
    let response = ready(server);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    assert_eq!(body["status"], "unready");
    let reasons = body["reasons"].as_array().expect("reasons");
    assert_eq!(reasons.len(), 1, "{body}");
    assert_eq!(reasons[0]["component"], component);
    reasons[0].clone()
}

fn wait_until_degraded(server: &Server, component: &str) -> Value {
    wait_for(&format!("{component} to be said"), || {
        let body = server.observe("/ready").json();
        (body["status"] == "degraded").then_some(())
    });
    let response = ready(server);
    assert_eq!(response.status, 200, "it does its work all the same");
    let body = response.json();
    let degraded = body["degraded"].as_array().expect("what is degraded");
    assert_eq!(degraded.len(), 1, "{body}");
    assert_eq!(degraded[0]["component"], component);
    degraded[0].clone()
}

fn wait_until_ready(server: &Server) {
    wait_for("the server to be ready again", || {
        (server.observe("/ready").json()["status"] == "ready").then_some(())
    });
    assert_eq!(ready(server).json(), json!({"status": "ready"}));
}

fn assert_alive(server: &Server) {
    for response in [
        server.http("GET", "/health", &[], b""),
        server.observe("/health"),
    ] {
        assert_eq!(response.status, 200);
        assert_eq!(response.json(), json!({"status": "ok"}));
    }
}

#[test]
fn a_server_with_a_broken_key_file_is_degraded_and_serves_with_the_last_good_keys() {
    let server = Server::new();
    wait_until_ready(&server);
    let secret = "0123456789abcdef0123456789abcdeX";
    write_private(&server.key_file(), &format!("{KEY}:1\n{secret}:1\n"));
    let reason = wait_until_degraded(&server, "key_file");
    let text = reason["reason"].as_str().unwrap();
    assert!(text.contains("line 2"), "{text}");
    assert!(
        !text.contains("0123456789abcdef") && !text.contains(KEY),
        "{text}"
    );
    // Whoever may ask learns nothing of the machine.
    assert!(!text.contains("tell-data"), "{text}");
    assert_alive(&server);
    assert_eq!(server.post_events("{\"event\":\"kept\"}\n").status, 202);

    fs::remove_file(server.key_file()).unwrap();
    wait_for("the missing file to be the reason", || {
        let body = server.observe("/ready").json();
        body["degraded"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("cannot be read"))
            .then_some(())
    });
    assert_eq!(server.post_events("{\"event\":\"kept\"}\n").status, 202);

    write_private(&server.key_file(), &format!("{KEY}:1:one\n"));
    wait_until_ready(&server);
    assert_alive(&server);
}

/// What the segments of the journal take.
fn disk_bytes(data_dir: &Path) -> u64 {
    let segments = fs::read_dir(data_dir.join("journal")).unwrap();
    segments.map(|s| s.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_server_with_a_full_journal_is_alive_and_not_ready_until_there_is_room() {
    let mut server = Server::new();
    assert!(server.stop().success());
    let limited = |limit: &str| {
        format!(
            "segment_size = \"1MiB\"\njournal_limit = \"{limit}\"\nmax_frame_size = \"64KiB\"\n\
             max_body_size = \"64KiB\"\n"
        )
    };
    let settings = server.directory().join("tell.toml");
    fs::write(&settings, limited("2MiB")).unwrap();
    server.start();
    let event = format!(
        "{{\"event\":\"e\",\"padding\":\"{}\"}}\n",
        "x".repeat(50_000)
    );
    let mut taken = 0;
    let refusal = loop {
        let response = server.post_events(&event);
        match response.status {
            202 => taken += 1,
            _ => break response,
        }
        assert!(taken < 100, "the limit is not kept");
    };
    assert_eq!(refusal.status, 503);
    let reason = wait_until_unready(&server, "journal");
    let text = reason["reason"].as_str().unwrap();
    assert!(text.contains("journal_limit"), "{text}");
    assert_alive(&server);
    let size = server.metric("tell_journal_size_bytes");
    assert!(disk_bytes(&server.data_dir()) <= 2 << 20);
    assert!(size > 0.0 && size <= f64::from(2 << 20), "{size}");

    assert!(server.stop().success());
    fs::write(&settings, limited("64MiB")).unwrap();
    server.start();
    wait_until_ready(&server);
    assert_eq!(server.post_events(&event).status, 202);
    assert_eq!(server.export(1, "events").len(), taken + 1);
}
