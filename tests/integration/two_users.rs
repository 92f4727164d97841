//! Root runs the command line over a data directory that belongs to another account, which plants things in it
//! (CASES.md 30): nothing outside the directory is created, written, read or given away, and nothing hangs.
//!
//! Needs root: an account can be tempted only by one that may do more.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::harness::{program, tell_in};

/// Debian's `nobody`.
const NOBODY: u32 = 65534;

const KEYS: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90:1:web\n";

/// A directory of root's with a data directory of `nobody`'s in it, and what is root's beside that.
struct House {
    directory: TempDir,
}

impl House {
    fn new() -> Self {
        assert!(
            is_root(),
            "this test plays two accounts against each other: run it as root"
        );
        let directory = TempDir::new().unwrap();
        let house = Self { directory };
        fs::set_permissions(house.root(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(house.data()).unwrap();
        chown(house.data(), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::create_dir(house.root().join("outside")).unwrap();
        fs::write(house.outside("secret"), "root's own\n").unwrap();
        fs::set_permissions(house.outside("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        house
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.root().join("outside").join(name)
    }

    fn as_nobody(&self, program_name: &str, args: &[&str]) {
        let done = Command::new(program("setpriv", "util-linux"))
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(program_name)
            .args(args)
            .current_dir(self.data())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program_name} {args:?}: {said}");
    }

    fn write_keys(&self) {
        self.as_nobody(
            "sh",
            &["-c", &format!("umask 077; echo '{}' > keys", KEYS.trim())],
        );
    }

    /// Root's command, which may fail but has to end.
    fn tell(&self, args: &[&str]) -> Output {
        let mut tell = tell_in(self.root());
        tell.args(args).arg("--data-dir").arg(self.data());
        let mut ended = Command::new("timeout");
        ended
            .arg("60")
            .arg(tell.get_program())
            .args(tell.get_args());
        ended.current_dir(self.root());
        let output = ended.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(124), "{args:?} hangs: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        output
    }

    /// Fails if anything of root's was changed, given away, shown or created.
    fn assert_untouched(&self, what: &str, output: &Output) {
        let secret = fs::metadata(self.outside("secret")).unwrap();
        assert_eq!((secret.uid(), secret.mode() & 0o7777), (0, 0o600), "{what}");
        let text = fs::read_to_string(self.outside("secret")).unwrap();
        assert_eq!(text, "root's own\n", "{what}");
        let names: Vec<_> = fs::read_dir(self.root().join("outside"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secret"], "{what}");
        for said in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(said);
            assert!(!said.contains("root's own"), "{what}: {said}");
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

const COMMANDS: [&[&str]; 7] = [
    &["apikeys", "new", "app", "--workspace", "2"],
    &["apikeys", "list"],
    &["apikeys", "rotate", "web"],
    &["apikeys", "check"],
    &["audit", "verify"],
    &["status"],
    &["storage"],
];

/// What commands open in a data directory.
const NAMES: [&str; 8] = [
    "keys",
    ".keys.lock",
    ".keys.tmp",
    "audit.jsonl",
    "key-usage.jsonl",
    "lock",
    "server.json",
    ".server.json.tmp",
];

#[test]
fn symlinks_pipes_and_hard_links_in_anothers_directory_neither_lead_out_of_it_nor_hang() {
    let plants: [(&str, &[&str]); 4] = [
        ("a symlink", &["ln", "-s", "../outside/secret"]),
        ("a dangling symlink", &["ln", "-s", "../outside/new"]),
        ("an absolute symlink", &["ln", "-s"]),
        ("a pipe", &["mkfifo"]),
    ];
    for (kind, make) in plants {
        for name in NAMES {
            let house = House::new();
            if name != "keys" {
                house.write_keys();
            }
            let absolute = house.outside("new/er");
            let mut args: Vec<&str> = make[1..].to_vec();
            if kind == "an absolute symlink" {
                args.push(absolute.to_str().unwrap());
            }
            args.push(name);
            house.as_nobody(make[0], &args);
            for command in COMMANDS {
                let output = house.tell(command);
                house.assert_untouched(&format!("{kind} at {name}: {command:?}"), &output);
            }
        }
    }
}

#[test]
fn a_hard_link_to_a_file_of_roots_is_neither_read_nor_written() {
    for name in ["keys", "audit.jsonl", "key-usage.jsonl", "server.json"] {
        let house = House::new();
        if name != "keys" {
            house.write_keys();
        }
        // The kernel forbids this to the account where fs.protected_hardlinks is set, as it should be.
        fs::hard_link(house.outside("secret"), house.data().join(name)).unwrap();
        for command in COMMANDS {
            let output = house.tell(command);
            house.assert_untouched(&format!("a hard link at {name}: {command:?}"), &output);
        }
    }
}

#[test]
fn what_root_makes_in_anothers_directory_is_theirs_and_nobody_elses() {
    let house = House::new();
    let made = house.tell(&["apikeys", "new", "web", "--workspace", "1"]);
    assert!(made.status.success(), "{made:?}");
    for name in ["keys", "audit.jsonl"] {
        let metadata = fs::metadata(house.data().join(name)).unwrap();
        assert_eq!(metadata.uid(), NOBODY, "{name}");
        assert_eq!(metadata.mode() & 0o7777, 0o600, "{name}");
    }
    assert!(!house.data().join(".keys.lock").exists());
    assert!(
        house
            .tell(&["apikeys", "delete", "web", "--yes"])
            .status
            .success()
    );
}

#[test]
fn a_symlink_that_root_set_up_is_followed_and_one_of_the_account_only_to_what_is_its_own() {
    let house = House::new();
    let conf = house.root().join("conf");
    fs::create_dir_all(conf.join("v1")).unwrap();
    fs::write(conf.join("v1/keys"), KEYS).unwrap();
    fs::set_permissions(conf.join("v1/keys"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("v1", conf.join("..data")).unwrap();
    symlink("..data/keys", conf.join("keys")).unwrap();
    let at = conf.join("keys");
    let with_keys = |path: &Path, args: &[&str]| {
        let mut args = args.to_vec();
        args.extend(["--keys", path.to_str().unwrap()]);
        house.tell(&args)
    };
    let new = ["apikeys", "new", "app", "--workspace", "2"];
    let made = with_keys(&at, &new);
    assert!(made.status.success(), "{made:?}");
    assert!(fs::symlink_metadata(&at).unwrap().is_symlink());
    assert!(
        fs::read_to_string(conf.join("v1/keys"))
            .unwrap()
            .contains(":2:app")
    );

    // The account's own symlink to its own file is as good as the file.
    house.write_keys();
    house.as_nobody("ln", &["-s", "keys", "link"]);
    let made = with_keys(&house.data().join("link"), &new);
    assert!(made.status.success(), "{made:?}");
    // To root's, it is not followed, though root could.
    house.as_nobody("ln", &["-s", "../conf/v1/keys", "out"]);
    let before = fs::read(conf.join("v1/keys")).unwrap();
    let refused = with_keys(
        &house.data().join("out"),
        &["apikeys", "delete", "app", "--yes"],
    );
    assert!(!refused.status.success());
    assert_eq!(fs::read(conf.join("v1/keys")).unwrap(), before);
}
