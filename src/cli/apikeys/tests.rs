//! `tell apikeys`, run on key files in a directory of its own: output, JSON and exit codes.

use std::fs;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use super::*;
use crate::control::audit;
use crate::control::keys::file::KeyFile;
use crate::control::keys::usage::{self, KeyUsage};
use crate::control::timestamp::Timestamp;
use crate::origin::{KeyId, Source};

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const B: &str = "b2c3d4e5f6071829304a5b6c7d8e9f01";

#[derive(Parser)]
struct Tell {
    #[command(flatten)]
    apikeys: Apikeys,
    #[arg(long, global = true)]
    json: bool,
}

struct Done {
    code: u8,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

struct Setup {
    _dir: tempfile::TempDir,
    files: Files,
}

impl Setup {
    fn new(keys: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Files {
            data_dir: dir.path().join("data"),
            keys: dir.path().join("keys"),
        };
        fs::write(&files.keys, keys).unwrap();
        Self { _dir: dir, files }
    }

    fn run(&self, args: &[&str]) -> Done {
        self.answer(args, None)
    }

    fn answer(&self, args: &[&str], answer: Option<&str>) -> Done {
        let tell = Tell::try_parse_from([&["apikeys"], args].concat()).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut answer = answer.map(str::as_bytes);
        let terminal = answer.as_mut().map(|answer| answer as &mut dyn BufRead);
        let output = Output { json: tell.json };
        let streams = Streams {
            out: &mut out,
            err: &mut err,
            width: None,
            terminal,
        };
        let http = Some(([127, 0, 0, 1], 8080).into());
        let done = tell.apikeys.run(&self.files, http, output, streams);
        if let Err(failure) = &done
            && !failure.is_told()
        {
            writeln!(err, "error: {failure}").unwrap();
        }
        Done {
            code: done.map_or_else(|failure| failure.exit_code(), |()| 0),
            out: anstream::adapter::strip_str(str::from_utf8(&out).unwrap()).to_string(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    fn keys(&self) -> String {
        fs::read_to_string(&self.files.keys).unwrap()
    }

    fn audit(&self) -> Vec<Value> {
        assert_eq!(audit::verify(&self.files.data_dir).unwrap().faults, []);
        let text = fs::read_to_string(self.files.data_dir.join("audit.jsonl")).unwrap();
        assert!(!text.contains(A) && !text.contains(B));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn id(hex: &str) -> KeyId {
    StreamingKey::parse_hex(hex.as_bytes()).unwrap().id()
}

#[test]
fn the_command_line_is_well_formed() {
    Tell::command().debug_assert();
}

#[test]
fn the_list_is_aligned_and_shows_no_key() {
    let setup = Setup::new(&format!("{A}:1:größe\n{B}:4294967295\n"));
    let used = KeyUsage {
        created_at: Some(Timestamp::from_ms(0)),
        events: 12_345,
        ..KeyUsage::default()
    };
    usage::save(&setup.files.data_dir, [(id(A), &used)]).unwrap();
    let rows = [
        "NAME   KEY               ID                  WORKSPACE      CREATED               LAST USED  EVENTS",
        "größe  a1b2c3d4........  k-9f5850527defbc9e  ws-1           1970-01-01T00:00:00Z  -          12,345",
        "-      b2c3d4e5........  k-73547e822a3438e1  ws-4294967295  -                     -               0",
    ];
    for args in [&[][..], &["list"]] {
        let lines: Vec<_> = setup.run(args).out.lines().map(str::to_owned).collect();
        assert_eq!(lines, rows);
    }
}

#[test]
fn the_list_is_filtered_and_sorted() {
    let c = "c2c3d4e5f6071829304a5b6c7d8e9f01";
    let setup = Setup::new(&format!("{A}:2:b\n{B}:1\n{c}:2:a\n"));
    let of = |ms, events| KeyUsage {
        created_at: Some(Timestamp::from_ms(ms)),
        last_used_at: Some(Timestamp::from_ms(ms)),
        events,
        ..KeyUsage::default()
    };
    let (one, two) = (of(1, 9), of(2, 3));
    usage::save(&setup.files.data_dir, [(id(A), &one), (id(c), &two)]).unwrap();
    let lines = |args: &[&str]| -> Vec<u64> {
        let keys = setup.run(args).json();
        let keys = keys.as_array().unwrap().iter();
        keys.map(|key| key["line"].as_u64().unwrap()).collect()
    };
    assert_eq!(lines(&["--json"]), [1, 2, 3]);
    assert_eq!(lines(&["list", "--json", "--workspace", "ws-2"]), [1, 3]);
    assert_eq!(lines(&["--json", "--sort", "name"]), [3, 1, 2]);
    assert_eq!(lines(&["--json", "--sort", "workspace"]), [2, 3, 1]);
    assert_eq!(lines(&["--json", "--sort", "created"]), [3, 1, 2]);
    assert_eq!(lines(&["--json", "--sort", "last-used"]), [3, 1, 2]);
    assert_eq!(lines(&["--json", "--sort", "events"]), [1, 3, 2]);
    assert_eq!(setup.run(&["--sort", "name", "show", "b"]).code, 2);
}

#[test]
fn the_json_of_a_key_has_its_documented_members() {
    let setup = Setup::new(&format!("{A}:7:one\n"));
    let used = KeyUsage {
        created_at: Some(Timestamp::from_ms(0)),
        last_used_at: Some(Timestamp::from_ms(1000)),
        last_source: Some(Source::Http),
        last_peer: Some("192.0.2.1".parse().unwrap()),
        frames: 1,
        events: 2,
        bytes: 3,
        refused: 4,
        replaced: 5,
    };
    usage::save(&setup.files.data_dir, [(id(A), &used)]).unwrap();
    let mut expected = serde_json::json!({
        "name": "one", "id": id(A).to_string(), "masked": "a1b2c3d4........", "workspace": 7,
        "line": 1, "created_at": "1970-01-01T00:00:00.000Z",
        "last_used_at": "1970-01-01T00:00:01.000Z", "last_source": "http",
        "last_peer": "192.0.2.1", "accepted": {"frames": 1, "events": 2, "bytes": 3}, "refused": 4, "replaced_characters": 5,
    });
    let masked = ["show", "one", "--json", "--masked"];
    assert_eq!(setup.run(&masked).json(), expected);
    expected["key"] = A.into();
    assert_eq!(setup.run(&["show", "one", "--json"]).json(), expected);
}

#[test]
fn show_shows_the_key_unless_it_is_masked_and_leaves_a_trace() {
    let setup = Setup::new(&format!("{A}:7:one\n"));
    let id = id(A).to_string();
    for which in [A, &*id, "one"] {
        let done = setup.run(&["show", which, "--masked"]);
        assert_eq!(done.code, 0);
        let masked = done.out.contains("a1b2c3d4........") && !done.out.contains(A);
        assert!(masked, "{}", done.out);
    }
    assert!(!setup.files.data_dir.exists(), "nothing was shown");
    for args in [&["show", "one"][..], &["get", A, "--reveal"]] {
        let done = setup.run(args);
        assert!(done.out.contains(A), "{}", done.out);
    }
    let audit = setup.audit();
    assert_eq!(audit.len(), 2);
    for entry in audit {
        assert_eq!(entry["action"], "key.shown");
        assert_eq!(entry["key_id"], id);
        assert_eq!(entry["name"], "one");
    }
    fs::remove_dir_all(&setup.files.data_dir).unwrap();
    fs::write(&setup.files.data_dir, "no directory").unwrap();
    let done = setup.run(&["show", "one"]);
    assert!(
        done.code == 1 && !done.out.contains(&A[8..]),
        "{}",
        done.out
    );
}

#[test]
fn a_new_key_is_printed_with_how_to_use_it() {
    let setup = Setup::new("# mine\n");
    let done = setup.run(&["new", "checkout", "--workspace", "ws-3"]);
    let file = KeyFile::read(&setup.files.keys).unwrap();
    let key = file.entries[0].key;
    assert_eq!(file.entries[0].workspace.get(), 3);
    assert!(
        done.out
            .contains(&curl_line(([127, 0, 0, 1], 8080).into(), &key)),
        "{}",
        done.out
    );
    assert!(setup.keys().starts_with("# mine\n"));

    let audit = setup.audit();
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0]["action"], "key.created");
    assert_eq!(audit[0]["key_id"], key.id().to_string());
    assert_eq!(audit[0]["name"], "checkout");
    assert_eq!(audit[0]["workspace"], 3);
    assert!(audit[0]["actor"].as_str().unwrap().starts_with("cli:"));
    assert!(!audit[0].to_string().contains(&key.reveal()));
    let shown = setup
        .run(&["show", "checkout", "--json", "--masked"])
        .json();
    assert_eq!(shown["created_at"], audit[0]["time"]);
}

#[test]
fn quiet_prints_the_key_alone_and_json_all_of_it() {
    let setup = Setup::new("");
    let done = setup.run(&["generate", "a", "--workspace", "1", "-q"]);
    let first = KeyFile::read(&setup.files.keys).unwrap().entries[0].key;
    assert_eq!(done.out, format!("{}\n", first.reveal()));
    let json = setup
        .run(&["new", "b", "--workspace", "1", "--json"])
        .json();
    let second = KeyFile::read(&setup.files.keys).unwrap().entries[1].key;
    assert_eq!(json["key"], second.reveal());
    assert_eq!(json["id"], second.id().to_string());
    assert_eq!(json["created_at"], setup.audit()[1]["time"]);
}

#[test]
fn the_first_key_creates_the_key_file() {
    let setup = Setup::new("");
    fs::remove_file(&setup.files.keys).unwrap();
    assert_eq!(setup.run(&["list"]).code, 4);
    assert_eq!(setup.run(&["show", "a"]).code, 4);
    assert_eq!(setup.run(&["new", "a", "--workspace", "1"]).code, 0);
    assert_eq!(KeyFile::read(&setup.files.keys).unwrap().entries.len(), 1);
}

#[test]
fn a_name_that_is_taken_or_no_name_is_refused() {
    let setup = Setup::new(&format!("{A}:1:one\n"));
    assert_eq!(setup.run(&["new", "one", "--workspace", "2"]).code, 5);
    let done = setup.run(&["new", B, "--workspace", "2"]);
    assert_eq!(done.code, 2);
    assert!(!done.err.contains(&B[..8]), "{}", done.err);
    let done = setup.run(&["new", "", "--workspace", "2"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("the name is empty"), "{}", done.err);
    assert_eq!(setup.keys(), format!("{A}:1:one\n"));
}

#[test]
fn deleting_asks_on_a_terminal_and_refuses_without_one() {
    let setup = Setup::new(&format!("{A}:1:one\n{B}:2\n"));
    let before = setup.keys();
    let done = setup.run(&["delete", "one"]);
    assert_eq!((done.code, setup.keys()), (2, before.clone()));
    for no in ["", "\n", "n\n", "yess\n"] {
        let done = setup.answer(&["delete", "one"], Some(no));
        assert_eq!((done.code, setup.keys()), (1, before.clone()), "{no:?}");
        assert!(done.err.contains("Delete the key \"one\""), "{}", done.err);
    }
    let done = setup.answer(&["delete", "one"], Some("y\n"));
    assert_eq!((done.code, setup.keys()), (0, format!("{B}:2\n")));
    let done = setup.run(&["revoke", B, "--yes", "--json"]);
    assert_eq!(done.json()["id"], id(B).to_string());
    assert_eq!(setup.keys(), "");
    assert!(!done.out.contains(B));
    let actions: Vec<_> = setup.audit().iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions, ["key.deleted", "key.deleted"]);
}

#[test]
fn several_keys_are_deleted_together_or_none_of_them() {
    let c = "c2c3d4e5f6071829304a5b6c7d8e9f01";
    let setup = Setup::new(&format!("# top\n{A}:1:one\n{B}:2:two\n{c}:3\n"));
    let before = setup.keys();
    let done = setup.run(&["rm", "one", "three", "--yes"]);
    assert_eq!((done.code, setup.keys()), (4, before));
    let done = setup.answer(&["delete", "one", "two"], Some("n\n"));
    assert!(done.err.contains("Delete 2 keys: \"one\""), "{}", done.err);
    // The first is named twice.
    let json = setup
        .run(&["delete", "one", "two", A, "-y", "--json"])
        .json();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(json[1]["name"], "two");
    assert_eq!(setup.keys(), format!("# top\n{c}:3\n"));
    let actions: Vec<_> = setup.audit().iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions, ["key.deleted", "key.deleted"]);
}

#[test]
fn an_unknown_key_exits_4_and_what_was_typed_is_not_echoed() {
    let setup = Setup::new(&format!("{A}:1:one\n"));
    let unknown = id(B).to_string();
    for which in [B, &B[..31], &*unknown, "two"] {
        for args in [
            &["show", which][..],
            &["delete", which, "--yes"],
            &["disable", which, "--yes"],
            &["rotate", which],
        ] {
            let done = setup.run(args);
            assert_eq!(done.code, 4, "{args:?}");
            assert!(
                !done.err.contains(which) && done.out.is_empty(),
                "{}",
                done.err
            );
        }
    }
}

#[test]
fn rotating_prints_the_new_key_and_can_keep_the_old_one() {
    let setup = Setup::new(&format!("# top\n{A}:1:one\n"));
    let json = setup.run(&["rotate", "one", "--keep-old", "--json"]).json();
    let new = json["key"].as_str().unwrap().to_owned();
    assert_eq!(setup.keys(), format!("# top\n{new}:1:one\n{A}:1:one-old\n"));
    assert_eq!(json["name"], "one");
    assert_eq!(json["replaced"]["id"], id(A).to_string());
    assert_eq!(json["replaced"]["name"], "one-old");
    assert_eq!(json["replaced"]["line"], 3);
    assert_eq!(setup.run(&["rotate", "one", "--keep-old"]).code, 5);

    let done = setup.run(&["rotate", "one"]);
    let newest = KeyFile::read(&setup.files.keys).unwrap().entries[0].key;
    assert!(done.out.contains(&newest.reveal()) && !done.out.contains(&new));
    assert_eq!(
        setup.keys(),
        format!("# top\n{}:1:one\n{A}:1:one-old\n", newest.reveal())
    );
    let audit = setup.audit();
    assert_eq!(audit[0]["action"], "key.rotated");
    assert_eq!(audit[0]["details"]["old_key_id"], id(A).to_string());
    assert_eq!(audit[0]["details"]["old_key_kept"], true);
    assert_eq!(audit[1]["details"]["old_key_kept"], false);
}

#[test]
fn an_import_is_all_or_nothing() {
    let setup = Setup::new(&format!("{A}:1:one\n"));
    let other = setup.files.keys.with_file_name("other");
    let path = other.to_str().unwrap();
    fs::write(&other, format!("{B}:2:two\n{A}:2\n")).unwrap();
    let done = setup.run(&["import", path]);
    assert_eq!(done.code, 5);
    assert!(
        done.err.contains("line 2: the key is on line 1"),
        "{}",
        done.err
    );
    assert_eq!(setup.keys(), format!("{A}:1:one\n"));
    fs::write(&other, format!("{B}:2:two\n")).unwrap();
    assert_eq!(setup.run(&["import", path, "--json"]).json()["imported"], 1);
    assert_eq!(setup.keys(), format!("{A}:1:one\n{B}:2:two\n"));
    assert_eq!(setup.audit()[0]["action"], "key.imported");
    fs::write(&other, "nonsense\n").unwrap();
    assert_eq!(setup.run(&["import", path]).code, 1);
    assert_eq!(setup.run(&["import", "/nonexistent/keys"]).code, 4);
}

#[test]
fn check_lists_every_fault_and_exits_1() {
    let setup = Setup::new(&format!("{A}:1:one\n"));
    let done = setup.run(&["check"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(done.out.ends_with("1 key, no faults\n"), "{}", done.out);
    let other = setup.files.keys.with_file_name("other");
    fs::write(&other, format!("{A}:1\n{A}:2\n{}", "x\n".repeat(20))).unwrap();
    let path = other.to_str().unwrap();
    let done = setup.run(&["check", path]);
    assert_eq!(
        (done.code, done.out.lines().count(), &*done.err),
        (1, 21, "")
    );
    let done = setup.run(&["check", path, "--json"]);
    let json: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, json["keys"].as_u64()), (1, Some(0)));
    assert_eq!(json["faults"][0]["line"], 2);
    assert_eq!(setup.run(&["check", "/nonexistent/keys"]).code, 4);
}

#[test]
fn a_faulty_key_file_refuses_changes_of_what_it_holds() {
    let faulty = format!("{A}:1\n{A}:2\nnonsense\n");
    let setup = Setup::new(&faulty);
    for args in [&["delete", A, "--yes"][..], &["rotate", A]] {
        let done = setup.run(args);
        assert_eq!(done.code, 1, "{args:?}");
        let lines: Vec<&str> = done.err.lines().collect();
        assert_eq!(lines.len(), 3, "a line for each fault: {}", done.err);
        assert!(lines[1].starts_with("line 2: ") && lines[2].starts_with("line 3: "));
        assert!(!done.err.contains(&A[..8]), "{}", done.err);
    }
    assert_eq!(setup.keys(), faulty);
}

#[test]
fn keys_are_listed_shown_and_made_beside_a_line_at_fault() {
    let faulty = format!("{A}:1:one\nnonsense\n{B}:x:two\n");
    let setup = Setup::new(&faulty);
    let done = setup.run(&["list", "--json"]);
    assert_eq!(done.json().as_array().unwrap().len(), 1);
    for line in ["line 2: ", "line 3: "] {
        let warned = done.err.lines().any(|said| said.contains(line));
        assert!(warned && done.err.lines().count() == 2, "{}", done.err);
    }
    assert_eq!(setup.run(&["show", "one", "--masked"]).code, 0);

    let done = setup.run(&["new", "three", "--workspace", "3"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("line 2: ") && done.err.contains("not in force"));
    let key = setup.run(&["show", "three", "--json"]).json()["key"].clone();
    let key = key.as_str().unwrap();
    assert_eq!(setup.keys(), format!("{faulty}{key}:3:three\n"));
    // The name on a line at fault is taken all the same.
    let done = setup.run(&["new", "two", "--workspace", "3"]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert_eq!(setup.keys(), format!("{faulty}{key}:3:three\n"));
}

#[test]
fn without_a_writable_audit_log_nothing_is_changed() {
    let setup = Setup::new(&format!("{A}:1:one\n"));
    fs::write(&setup.files.data_dir, "no directory").unwrap();
    assert_eq!(setup.run(&["rotate", "one"]).code, 1);
    assert_eq!(setup.keys(), format!("{A}:1:one\n"));
}
