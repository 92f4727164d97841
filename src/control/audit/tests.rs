//! The chain of the audit log: appended to, torn, forged and verified.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use serde_json::{Value, json};

use super::*;

fn entry(name: &str) -> AuditEntry<'_> {
    AuditEntry {
        actor: "cli:root",
        action: Action::KeyCreated,
        key_id: Some(KeyId(1)),
        name: Some(name),
        workspace: Workspace::new(7),
        details: None,
    }
}

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join(FILE_NAME)
}

fn lines(dir: &tempfile::TempDir) -> Vec<Value> {
    let text = fs::read_to_string(path(dir)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn faults(dir: &tempfile::TempDir) -> Vec<(u64, ChainFault)> {
    let verification = verify(dir.path()).unwrap();
    verification
        .faults
        .iter()
        .map(|f| (f.line, f.fault))
        .collect()
}

#[test]
fn an_entry_is_one_json_object_with_its_documented_members() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let mut second = entry("b");
    second.details = Some(json!({"old": "k-0"}));
    log.append(&[entry("a"), second]).unwrap();
    let lines = lines(&dir);
    assert!(Timestamp::parse(lines[0]["time"].as_str().unwrap()).is_some());
    assert_eq!(lines[0]["actor"], "cli:root");
    assert_eq!(lines[0]["action"], "key.created");
    assert_eq!(lines[0]["key_id"], "k-0000000000000001");
    assert_eq!(lines[0]["name"], "a");
    assert_eq!(lines[0]["workspace"], 7);
    assert_eq!(lines[0]["details"], Value::Null);
    assert_eq!(lines[0]["prev"], "0".repeat(64));
    assert_eq!(lines[1]["details"]["old"], "k-0");
    let mode = fs::metadata(path(&dir)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn no_name_can_forge_a_line_or_steer_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let name = "a\n{\"b\":1}\r\u{1b}[2J\u{9b}2J\u{7f}\u{2028}\u{202e}\u{e0001}é\"\\";
    log.append(&[entry(name)]).unwrap();
    let text = fs::read_to_string(path(&dir)).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.trim_end().chars().all(is_printable), "{text:?}");
    assert_eq!(lines(&dir)[0]["name"], name);
}

#[test]
fn the_chain_holds_over_concurrent_appends() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            let log = AuditLog::open(dir.path()).unwrap();
            scope.spawn(move || {
                for _ in 0..10 {
                    log.append(&[entry("a"), entry("b")]).unwrap();
                }
            });
        }
    });
    let verification = verify(dir.path()).unwrap();
    assert_eq!((verification.entries, verification.faults), (160, vec![]));
}

#[test]
fn a_missing_log_has_no_entries() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = Verification {
        last: "0".repeat(64),
        ..Verification::default()
    };
    assert_eq!(verify(dir.path()).unwrap(), nothing);
    assert!(key_creations(dir.path()).unwrap().is_empty());
}

#[test]
fn a_torn_last_line_is_left_and_reported_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    log.append(&[entry("a"), entry("b")]).unwrap();
    let whole = fs::read(path(&dir)).unwrap();
    fs::write(path(&dir), &whole[..whole.len() - 10]).unwrap();
    assert_eq!(faults(&dir), [(2, ChainFault::NotAnEntry)]);
    log.append(&[entry("c")]).unwrap();
    assert_eq!(faults(&dir), [(2, ChainFault::NotAnEntry)]);
    assert_eq!(verify(dir.path()).unwrap().entries, 2);
    // Only the line end was lost: nothing is wrong once the next line is there.
    let whole = whole.strip_suffix(b"\n").unwrap();
    fs::write(path(&dir), whole).unwrap();
    log.append(&[entry("c")]).unwrap();
    assert_eq!(faults(&dir), []);
    assert_eq!(verify(dir.path()).unwrap().entries, 3);
}

#[test]
fn a_changed_a_removed_and_an_added_line_break_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    log.append(&[entry("a"), entry("b"), entry("c")]).unwrap();
    let text = fs::read_to_string(path(&dir)).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();

    fs::write(path(&dir), text.replace("\"b\"", "\"x\"")).unwrap();
    assert_eq!(faults(&dir), [(3, ChainFault::ChainBroken)]);
    fs::write(path(&dir), [lines[0], lines[2]].concat()).unwrap();
    assert_eq!(faults(&dir), [(2, ChainFault::ChainBroken)]);
    fs::write(path(&dir), &text[lines[0].len()..]).unwrap();
    assert_eq!(faults(&dir), [(1, ChainFault::ChainBroken)]);
    fs::write(
        path(&dir),
        [lines[0], lines[0], lines[1], lines[2]].concat(),
    )
    .unwrap();
    assert_eq!(faults(&dir), [(2, ChainFault::ChainBroken)]);
}

#[test]
fn lines_longer_than_a_block_are_chained_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    for len in [0, 4095, 4096, 4097, 20_000] {
        let long = "x".repeat(len);
        log.append(&[entry(&long)]).unwrap();
        log.append(&[entry("short")]).unwrap();
    }
    let verification = verify(dir.path()).unwrap();
    assert_eq!((verification.entries, verification.faults), (10, vec![]));
}

#[test]
fn the_log_tells_when_a_key_was_created() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let mut deleted = entry("b");
    deleted.action = Action::KeyDeleted;
    deleted.key_id = Some(KeyId(2));
    let before = Timestamp::now();
    log.append(&[entry("a"), deleted]).unwrap();
    let creations = key_creations(dir.path()).unwrap();
    assert_eq!(creations.len(), 1);
    assert!(creations[&KeyId(1)] >= before);
}
