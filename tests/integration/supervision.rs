//! A thread or task that ends is noticed; the audit log, a stalled writer and the rest of the control plane hold up
//! neither ingest nor revocation (CASES.md 20, 21, 28, 29).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{KEY, KEY_2, Server, Setup, wait_for, write_private};

fn post(server: &Server) -> u16 {
    server.post_events("{\"event\":\"e\"}\n").status
}

#[test]
fn a_key_is_revoked_while_somebody_holds_the_audit_log_and_the_stop_ends_in_its_deadline() {
    let mut server = Setup::new().args(["--shutdown-timeout", "2s"]).start();
    let log = File::open(server.data_dir().join("audit.jsonl")).unwrap();
    log.lock().unwrap();
    assert_eq!(post(&server), 202);
    write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
    wait_for("the revoked key to be refused", || {
        (post(&server) == 401).then_some(())
    });
    wait_for("readiness to say it", || {
        let ready = server.observe("/ready");
        assert_eq!(ready.status, 200);
        (ready.json()["degraded"][0]["component"] == "audit").then_some(())
    });
    assert_eq!(server.metric("tell_audit_entries_waiting"), 1.0);
    assert_eq!(server.stop().code(), Some(1));
    let said = server.log();
    assert!(said.contains("not saved: audit entries"), "{said}");
}

#[test]
fn an_entry_that_waited_for_the_audit_log_is_appended_once_it_is_free() {
    let mut server = Server::new();
    let path = server.data_dir().join("audit.jsonl");
    let log = File::open(&path).unwrap();
    log.lock().unwrap();
    write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
    wait_for("the revoked key to be refused", || {
        (post(&server) == 401).then_some(())
    });
    drop(log);
    assert!(server.stop().success());
    let entries = std::fs::read_to_string(path).unwrap();
    assert!(entries.contains("keys.reloaded"), "{entries}");
}

#[test]
fn a_key_is_revoked_although_the_key_file_never_comes_to_rest() {
    let server = Server::new();
    assert_eq!(post(&server), 202);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
            let mut file = OpenOptions::new()
                .append(true)
                .mode(0o600)
                .open(server.key_file())
                .unwrap();
            while !ends.load(Ordering::Relaxed) {
                file.write_all(b"# not done yet\n").unwrap();
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("the revoked key to be refused", || {
                (post(&server) == 401).then_some(())
            });
        }));
        ends.store(true, Ordering::Relaxed);
        refused.expect("the key is revoked while the writer goes on");
    });
}

fn panicking(part: &str) -> Server {
    Setup::new().env("TELL_DEBUG_PANIC", part).start()
}

#[test]
fn a_server_whose_essential_part_panics_stops_with_exit_1_and_loses_nothing_acknowledged() {
    for part in ["key-reload", "listener-tcp", "listener-syslog-udp"] {
        let mut server = panicking(part);
        let mut taken = 0;
        // Until its part panics, and while it drains, it may take more.
        for _ in 0..5 {
            taken += usize::from(post(&server) == 202);
        }
        assert_eq!(server.wait().code(), Some(1), "{part}");
        assert!(
            server.log().contains(&format!("{part} panicked")),
            "{}",
            server.log()
        );
        assert_eq!(server.export(1, "events").len(), taken);
    }
}

#[test]
fn a_server_goes_on_without_a_part_that_it_can_do_without_and_says_so() {
    for part in ["rates", "key-usage"] {
        let server = panicking(part);
        wait_for("readiness to say it", || {
            let ready = server.observe("/ready");
            assert_eq!(ready.status, 200);
            (ready.json()["degraded"][0]["component"] == part).then_some(())
        });
        let failed = format!("tell_part_failures_total{{part=\"{part}\"}}");
        assert_eq!(server.metric(&failed), 1.0);
        assert_eq!(server.metric("tell_panics_total"), 1.0);
        assert_eq!(post(&server), 202);
        write_private(&server.key_file(), &format!("{KEY_2}:2:two\n{KEY}:1:one\n"));
        assert_eq!(post(&server), 202);
    }
}
