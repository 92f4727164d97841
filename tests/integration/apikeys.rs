//! `tell apikeys` as a program: its output, its exit codes, and the running server behind it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{KEY, KEY_2, Server, tell_in, wait_for, write_private};
use crate::key_reload::{assert_live, knows};

/// What a run of `tell apikeys` said.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Of a finished command.
    pub fn of(mut command: Command) -> Self {
        let output = command.output().expect("tell runs");
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What was printed by a run that has to have worked.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.err);
        assert_eq!(self.err, "");
        &self.out
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(self.ok()).expect("one JSON document")
    }

    /// A run that has to have failed: nothing on standard output, and what is said on the other.
    #[track_caller]
    fn fails(&self, code: i32, said: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        assert!(self.err.contains(said), "{said:?} in: {}", self.err);
    }
}

/// A directory with a key file and no server.
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// With this key file; `None` for none.
    pub fn new(keys: Option<&str>) -> Self {
        let directory = TempDir::new().unwrap();
        let place = Self { directory };
        if let Some(keys) = keys {
            fs::create_dir(place.at("tell-data")).unwrap();
            write_private(&place.keys(), keys);
        }
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn keys(&self) -> PathBuf {
        self.at("tell-data/keys")
    }

    /// `tell apikeys` with these arguments, not run yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = tell_in(self.directory.path());
        command.arg("apikeys").args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args))
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.keys()).unwrap()
    }
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

const TWO: &str = "# Production\na1b2c3d4e5f60718293a4b5c6d7e8f90:1:one\n\n# Staging\nb2c3d4e5f6071829304a5b6c7d8e9f01:2\n";

fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<_> = value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    members
}

const MEMBERS: [&str; 12] = [
    "accepted",
    "created_at",
    "id",
    "last_peer",
    "last_source",
    "last_used_at",
    "line",
    "masked",
    "name",
    "refused",
    "replaced_characters",
    "workspace",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut members = [&MEMBERS[..], more].concat();
    members.sort_unstable();
    members
}

#[test]
fn the_json_of_every_command_has_its_documented_members() {
    let place = Place::new(Some(TWO));
    let list = place.run(&["--json"]).json();
    assert_eq!(list, place.run(&["list", "--json"]).json());
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(members(&list[0]), MEMBERS);
    assert_eq!(members(&list[0]["accepted"]), ["bytes", "events", "frames"]);
    assert_eq!(list[0]["name"], "one");
    assert_eq!(list[0]["workspace"], 1);
    assert_eq!(list[0]["line"], 2);
    assert_eq!(list[1]["name"], Value::Null);
    assert!(list[0]["masked"].as_str().unwrap().starts_with(&KEY[..8]));
    let id = list[0]["id"].as_str().unwrap();

    let shown = place.run(&["show", id, "--json", "--masked"]).json();
    assert_eq!(shown, list[0]);
    let revealed = place.run(&["show", "one", "--reveal", "--json"]).json();
    assert_eq!(members(&revealed), with(&["key"]));
    assert_eq!(revealed["key"], KEY);

    let new = place
        .run(&["new", "three", "--workspace", "ws-3", "--json"])
        .json();
    assert_eq!(members(&new), with(&["key"]));
    assert_eq!(
        (&new["name"], &new["workspace"]),
        (&json!("three"), &json!(3))
    );
    assert!(new["created_at"].is_string());

    let rotated = place.run(&["rotate", "three", "--json"]).json();
    assert_eq!(members(&rotated), with(&["key", "replaced"]));
    assert_eq!(rotated["replaced"]["id"], new["id"]);
    assert_eq!(rotated["replaced"]["line"], Value::Null);
    assert_eq!(members(&rotated["replaced"]), MEMBERS);

    let deleted = place.run(&["delete", "three", "--yes", "--json"]).json();
    assert_eq!(members(&deleted), MEMBERS);
    assert_eq!(deleted["id"], rotated["id"]);
    assert_eq!(
        place.text(),
        TWO,
        "what was added and taken away left no trace"
    );

    write_private(
        &place.at("more"),
        "c3d4e5f60718293a4b5c6d7e8f90a1b2:3:new\n",
    );
    let imported = place.run(&["import", "more", "--json"]).json();
    assert_eq!(imported, json!({"imported": 1}));
    let checked = place.run(&["check", "--json"]).json();
    assert_eq!(
        checked,
        json!({"file": "./tell-data/keys", "keys": 3, "faults": []})
    );
}

#[test]
fn no_command_but_those_that_make_or_reveal_a_key_shows_one() {
    let place = Place::new(Some(TWO));
    for args in [
        &["list"][..],
        &["show", "one", "--masked"],
        &["show", KEY, "--masked"],
        &["check"],
        &["delete", KEY_2, "--yes"],
    ] {
        for json in [&[][..], &["--json"]] {
            let done = place.run(&[args, json].concat());
            let said = done.out + &done.err;
            assert!(!said.contains(KEY) && !said.contains(KEY_2), "{args:?}");
        }
    }
    for reveals in [&["show", "one"][..], &["show", "one", "--reveal"]] {
        assert!(place.run(reveals).ok().contains(KEY));
    }
}

#[test]
fn a_key_is_made_with_its_name_under_every_name_of_the_command() {
    let place = Place::new(None);
    for (n, command) in ["new", "generate"].into_iter().enumerate() {
        let done = place.run(&[command, command, "--workspace", "1", "--quiet"]);
        let key = done.ok().strip_suffix('\n').unwrap();
        assert_eq!(key.len(), 32);
        assert!(place.text().contains(&format!("{key}:1:{command}\n")));
        let names = ["revoke", "disable"];
        place.run(&[names[n], command, "--yes"]).ok();
        assert!(!place.text().contains(key));
    }
    assert_eq!(mode(&place.keys()), 0o600);
    assert_eq!(mode(&place.at("tell-data")), 0o700);
}

#[test]
fn exit_codes_tell_the_kinds_of_failure_apart() {
    let place = Place::new(Some(TWO));
    place
        .run(&["list", "--no-such-flag"])
        .fails(2, "--no-such-flag");
    place
        .run(&["new", "x", "--workspace", "0"])
        .fails(2, "4294967295");
    place
        .run(&["new", "a:b", "--workspace", "1"])
        .fails(2, "colon");
    place.run(&["delete", "one"]).fails(2, "--yes");
    place
        .run(&["show", "nobody"])
        .fails(4, "no key has this name");
    place
        .run(&["delete", &"9".repeat(32), "--yes"])
        .fails(4, "no key");
    place
        .run(&["rotate", "k-0123456789abcdef"])
        .fails(4, "no key");
    place
        .run(&["new", "one", "--workspace", "7"])
        .fails(5, "name");
    assert_eq!(place.text(), TWO);
    Place::new(None).run(&["list"]).fails(4, "tell-data/keys");

    let broken = Place::new(Some("not a key\n"));
    broken
        .run(&["new", "x", "--workspace", "1"])
        .fails(1, "line 1");
    broken.run(&["list"]).fails(1, "line 1");
    assert_eq!(broken.text(), "not a key\n");
}

#[test]
fn what_the_system_does_not_allow_exits_3() {
    // Nobody, not even root, makes a file there.
    let place = Place::new(Some(TWO));
    let args = ["new", "x", "--workspace", "1", "--keys", "/sys/tell-keys"];
    place.run(&args).fails(3, "/sys/tell-keys");
}

#[test]
fn one_key_in_two_workspaces_is_refused() {
    let place = Place::new(Some(TWO));
    write_private(
        &place.at("other"),
        &format!("c3d4e5f60718293a4b5c6d7e8f90a1b2:3\n{KEY}:7:moved\n"),
    );
    let done = place.run(&["import", "other"]);
    done.fails(5, "line 2");
    assert!(!done.err.contains(KEY), "{}", done.err);
    assert_eq!(place.text(), TWO, "all of an import or nothing");

    write_private(
        &place.at("both"),
        &format!("# both\n{KEY}:1\n{KEY}:2\nxyz\n"),
    );
    let done = place.run(&["check", "both"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.out
            .contains("both: line 3: the key is on line 2 already, for another workspace")
    );
    assert!(done.out.contains("both: line 4: the key is malformed"));
    assert!(!done.out.contains(KEY));
    let checked = place.run(&["check", "both", "--json"]);
    let report: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(checked.code, Some(1));
    assert_eq!(report["keys"], 0);
    let lines: Vec<_> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["line"])
        .collect();
    assert_eq!(lines, [3, 4]);
}

#[test]
fn a_symlinked_key_file_is_edited_at_its_target() {
    let place = Place::new(Some(TWO));
    let target = place.at("real-keys");
    fs::rename(place.keys(), &target).unwrap();
    symlink(&target, place.keys()).unwrap();
    place.run(&["new", "three", "--workspace", "3"]).ok();
    place.run(&["delete", "one", "--yes"]).ok();
    assert_eq!(fs::read_link(place.keys()).unwrap(), target);
    let text = fs::read_to_string(&target).unwrap();
    assert!(
        text.contains(":3:three") && !text.contains(KEY),
        "edited at the target"
    );
    assert!(text.starts_with("# Production\n\n# Staging\n"));
    assert_eq!(mode(&target), 0o600);
}

#[test]
fn an_open_key_file_is_private_after_an_edit() {
    let place = Place::new(Some(TWO));
    fs::set_permissions(place.keys(), fs::Permissions::from_mode(0o644)).unwrap();
    place.run(&["new", "three", "--workspace", "3"]).ok();
    assert_eq!(mode(&place.keys()), 0o600);
}

#[test]
fn a_running_server_takes_every_change_up_within_two_seconds() {
    let server = Server::new();
    let tell = |args: &[&str]| {
        let mut command = server.command();
        command.arg("apikeys").args(args);
        Done::of(command).ok().trim().to_owned()
    };
    let made = |args: &[&str]| {
        let report: Value = serde_json::from_str(&tell(args)).unwrap();
        report["key"].as_str().unwrap().to_owned()
    };
    let gone = |what: &str, key: &str| {
        let since = Instant::now();
        wait_for(what, || (!knows(&server, key)).then_some(()));
        let took = since.elapsed();
        assert!(took < crate::key_reload::LIVE, "{what}: {took:?}");
    };

    let new = tell(&["new", "three", "--workspace", "3", "-q"]);
    assert_live(&server, Instant::now(), "new", &new);
    let rotated = made(&["rotate", "three", "--json"]);
    assert_live(&server, Instant::now(), "rotate", &rotated);
    assert!(!knows(&server, &new), "the replaced key is good");
    let kept = made(&["rotate", "three", "--keep-old", "--json"]);
    assert_live(&server, Instant::now(), "rotate --keep-old", &kept);
    assert!(knows(&server, &rotated), "the kept key is refused");
    tell(&["delete", "three-old", "--yes"]);
    gone("the kept key to be refused", &rotated);
    tell(&["delete", &kept, "--yes"]);
    gone("the deleted key to be refused", &kept);
    let other = "c3d4e5f60718293a4b5c6d7e8f90a1b2";
    write_private(
        &server.directory().join("more"),
        &format!("{other}:4:four\n"),
    );
    tell(&["import", "more"]);
    assert_live(&server, Instant::now(), "import", other);
    for key in [KEY, KEY_2] {
        assert!(knows(&server, key), "a key that nobody touched is refused");
    }
    for key in [&new, &rotated, &kept] {
        assert!(!server.log().contains(key.as_str()), "a key is in the log");
    }
}
