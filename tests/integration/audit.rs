//! The audit log of the keys, and `tell audit verify` over it.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{KEY, KEY_2, Server, wait_for, write_private};

fn verify(server: &Server) -> (Output, Value) {
    let output = server.tell(&["audit", "verify", "--json"]);
    let report = serde_json::from_slice(&output.stdout).expect("one JSON object");
    (output, report)
}

#[test]
fn the_audit_log_verifies_until_somebody_changes_or_removes_a_line() {
    let server = Server::new();
    let (output, report) = verify(&server);
    assert!(output.status.success());
    let nothing = json!({"entries": 0, "last": "0".repeat(64), "faults": []});
    assert_eq!(report, nothing);

    for name in ["web", "app", "jobs"] {
        let made = server.tell(&["apikeys", "new", name, "--workspace", "3", "-q"]);
        assert!(made.status.success());
    }
    assert!(
        server
            .tell(&["apikeys", "delete", "app", "--yes"])
            .status
            .success()
    );
    // What the server adds for its reloads follows on; the last of them may still be on its way.
    wait_for("the server to note a reload", || {
        let log = fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
        log.lines().last()?.contains("keys.reloaded").then_some(())
    });
    let (output, report) = verify(&server);
    assert!(output.status.success(), "{report}");
    assert!(report["entries"].as_u64().unwrap() >= 5);
    assert_eq!(report["last"].as_str().unwrap().len(), 64);

    let path = server.data_dir().join("audit.jsonl");
    let log = fs::read_to_string(&path).unwrap();
    fs::write(&path, log.replacen("\"web\"", "\"wob\"", 1)).unwrap();
    let (output, report) = verify(&server);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["faults"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["faults"][0]["line"], 2);
    let output = server.tell(&["audit", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.starts_with("line 2: the entry does not follow"),
        "{shown}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("has 1 fault"));

    let without_second: String = log
        .split_inclusive('\n')
        .enumerate()
        .filter(|(n, _)| *n != 1)
        .map(|(_, line)| line)
        .collect();
    fs::write(&path, without_second).unwrap();
    assert_eq!(verify(&server).0.status.code(), Some(1));
    fs::write(&path, log).unwrap();
    assert!(verify(&server).0.status.success());
}

#[test]
fn an_audit_log_that_is_not_there_is_no_good_one() {
    let server = Server::new();
    assert!(
        verify(&server).0.status.success(),
        "a server has one from the start"
    );
    fs::remove_file(server.data_dir().join("audit.jsonl")).unwrap();
    let elsewhere = ["audit", "verify", "--data-dir", "nowhere"];
    for args in [&["audit", "verify"][..], &elsewhere] {
        let output = server.tell(args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("has no audit log") && said.contains("--data-dir"),
            "{said}"
        );
    }
    assert!(!server.directory().join("nowhere").exists());
}

#[test]
fn a_reload_of_twenty_thousand_keys_goes_live_and_is_noted_without_a_key() {
    const KEYS: u128 = 20_000;
    let server = Server::new();
    let key = |n: u128| {
        format!(
            "{:032x}",
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        )
    };
    let post = |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str())];
        server
            .http("POST", "/v1/events", &headers, b"{\"event\":\"e\"}\n")
            .status
    };
    let mut file = format!("{KEY}:1:one\n");
    for n in 1..=KEYS {
        file.push_str(&format!("{}:{}:key {n}\n", key(n), n % 5_000 + 1));
    }
    write_private(&server.key_file(), &file);
    wait_for("the keys to be live", || {
        (server.metric("tell_keys") == (KEYS + 1) as f64).then_some(())
    });
    for n in [1, 2, KEYS / 2, KEYS - 1, KEYS] {
        assert_eq!(post(&key(n)), 202, "key {n}");
    }
    assert_eq!(post(KEY), 202);
    assert_eq!(post(KEY_2), 401);
    assert_eq!(post(&key(KEYS + 1)), 401);
    assert_eq!(server.export(3, "events").len(), 1, "of the second key");

    // And back: all but one are revoked at once.
    write_private(&server.key_file(), &format!("{KEY}:1:one\n"));
    wait_for("the keys to be gone", || {
        (server.metric("tell_keys") == 1.0).then_some(())
    });
    assert_eq!(post(&key(KEYS)), 401);
    assert_eq!(post(KEY), 202);

    let named = |what: &str| {
        let log = fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
        assert!(!log.contains(KEY) && !log.contains(&key(1)));
        let entries = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries
            .filter_map(|entry| Some(entry["details"][what].as_array()?.len()))
            .sum::<usize>()
    };
    wait_for("the differences to be noted", || {
        (named("added") == KEYS as usize && named("removed") == KEYS as usize + 1).then_some(())
    });
    assert!(verify(&server).0.status.success());
}
