//! The key file while the server runs: every way to save it, and what a bad one does.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    KEY, KEY_2, Response, Server, Setup, connect_as_a_stranger, request, wait_for, write_private,
};

/// How soon good content has to be live.
pub const LIVE: Duration = Duration::from_secs(2);

/// A key of its own for every number.
pub fn key(n: u32) -> String {
    format!("{:032x}", 0xfeed_0000_0000_0000_u128 << 64 | u128::from(n))
}

/// A key file with one key.
fn file_with(key: &str) -> String {
    format!("# the key of the day\n{key}:1:today\n")
}

/// Whether the server takes a key: an empty body is refused for what it is only once the key is known.
pub fn knows(server: &Server, key: &str) -> bool {
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", bearer.as_str())];
    let mut stream = connect_as_a_stranger(server.at().http);
    match request(&mut stream, "POST", "/v1/events", &headers, b"").status {
        400 => true,
        401 => false,
        other => panic!("status {other}"),
    }
}

/// Waits until the server takes `key`, and fails where that is later than it has to be.
#[track_caller]
pub fn assert_live(server: &Server, since: Instant, what: &str, key: &str) {
    wait_for(&format!("the new key: {what}"), || {
        knows(server, key).then_some(())
    });
    let took = since.elapsed();
    assert!(took < LIVE, "{what}: live after {took:?}");
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    path.with_file_name(format!("{name}{suffix}"))
}

/// Writes a text to a path.
type Save = fn(&Path, &str);

/// Every way in which programs write a file: what it is called, and the same system calls.
const WAYS: [(&str, Save); 8] = [
    ("written in place", write_private),
    (
        "vim, `backupcopy=no`: renamed to a backup, written anew, backup deleted",
        |path, text| {
            let backup = beside(path, "~");
            fs::rename(path, &backup).unwrap();
            write_private(path, text);
            fs::remove_file(backup).unwrap();
        },
    ),
    (
        "vim, `backupcopy=yes`: copied to a backup, written in place, backup deleted",
        |path, text| {
            let (swap, backup) = (beside(path, ".swp"), beside(path, "~"));
            write_private(&swap, "vim's own");
            fs::copy(path, &backup).unwrap();
            write_private(path, text);
            fs::remove_file(backup).unwrap();
            fs::remove_file(swap).unwrap();
        },
    ),
    (
        "nano: a lock file beside it, truncated and written in place",
        |path, text| {
            let lock = beside(path, ".swp");
            write_private(&lock, "nano's own");
            let mut file = File::options()
                .write(true)
                .truncate(true)
                .open(path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.sync_all().unwrap();
            drop(file);
            fs::remove_file(lock).unwrap();
        },
    ),
    ("mv over it", |path, text| {
        let new = beside(path, ".new");
        write_private(&new, text);
        fs::rename(new, path).unwrap();
    }),
    ("mv over it from another directory", |path, text| {
        let elsewhere = tempfile::tempdir_in(path.ancestors().nth(2).unwrap()).unwrap();
        let new = elsewhere.path().join("prepared");
        write_private(&new, text);
        fs::rename(new, path).unwrap();
    }),
    ("cp over it", |path, text| {
        let new = beside(path, ".new");
        write_private(&new, text);
        fs::copy(&new, path).unwrap();
        fs::remove_file(new).unwrap();
    }),
    ("deleted and created again", |path, text| {
        fs::remove_file(path).unwrap();
        write_private(path, text);
    }),
];

#[test]
fn every_way_of_saving_is_live_within_two_seconds_the_hundredth_time_as_the_first() {
    let server = Server::new();
    let mut old = KEY.to_owned();
    for n in 0..100 {
        let (what, save) = WAYS[n as usize % WAYS.len()];
        let new = key(n);
        save(&server.key_file(), &file_with(&new));
        assert_live(&server, Instant::now(), what, &new);
        assert!(!knows(&server, &old), "{what}: the old key is good");
        old = new;
    }
}

#[test]
fn a_file_written_in_two_halves_is_read_whole() {
    let server = Server::new();
    let new = key(1);
    let first = format!("# written slowly\n{KEY}:1:one\n");
    let second = format!("{KEY_2}:2:two\n{new}:1:new\n");
    // The first half ends where a line does: read by itself it would be good, and revoke a key.
    let mut file = File::create(server.key_file()).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    let until = Instant::now() + Duration::from_secs(1);
    let mut n = 0;
    while Instant::now() < until {
        assert!(
            knows(&server, KEY_2),
            "the first half was taken for the file"
        );
        // Others write into the directory meanwhile.
        n += 1;
        write_private(&server.data_dir().join("other"), &n.to_string());
        fs::rename(
            server.data_dir().join("other"),
            server.data_dir().join("moved"),
        )
        .unwrap();
    }
    file.write_all(second.as_bytes()).unwrap();
    drop(file);
    assert_live(&server, Instant::now(), "the second half", &new);
    assert!(knows(&server, KEY) && knows(&server, KEY_2));
    assert!(!server.log().contains("not usable"), "{}", server.log());
}

/// A server whose key file is outside of its data directory, in one that the test can replace.
fn server_with_key_file(path: &Path) -> Server {
    Setup::new()
        .keys(None)
        .args(["--keys", path.to_str().unwrap()])
        .start()
}

#[test]
fn the_swap_of_a_kubernetes_volume_is_live_within_two_seconds() {
    let volume = TempDir::new().unwrap();
    let at = |name: &str| volume.path().join(name);
    let version = |n: u32| {
        let directory = format!("..2026_{n}");
        fs::create_dir(at(&directory)).unwrap();
        write_private(&at(&directory).join("keys"), &file_with(&key(n)));
        directory
    };
    let mut current = version(0);
    symlink(&current, at("..data")).unwrap();
    symlink("..data/keys", at("keys")).unwrap();
    let server = server_with_key_file(&at("keys"));
    assert!(knows(&server, &key(0)));
    for n in 1..=10 {
        let next = version(n);
        symlink(&next, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        let since = Instant::now();
        fs::remove_dir_all(at(&current)).unwrap();
        assert_live(&server, since, "..data swapped", &key(n));
        assert!(!knows(&server, &key(n - 1)), "the old key is good");
        current = next;
    }
}

#[test]
fn the_directory_of_the_key_file_can_be_replaced() {
    let parent = TempDir::new().unwrap();
    let at = |name: &str| parent.path().join(name);
    let prepare = |directory: &str, n: u32| {
        fs::create_dir(at(directory)).unwrap();
        write_private(&at(directory).join("keys"), &file_with(&key(n)));
    };
    prepare("live", 0);
    let server = server_with_key_file(&at("live/keys"));
    for n in 1..=3 {
        prepare("next", n);
        fs::rename(at("live"), at("old")).unwrap();
        fs::rename(at("next"), at("live")).unwrap();
        let since = Instant::now();
        fs::remove_dir_all(at("old")).unwrap();
        assert_live(&server, since, "directory replaced", &key(n));
    }
    // And a change inside of the new one is still seen.
    write_private(&at("live/keys"), &file_with(&key(4)));
    assert_live(&server, Instant::now(), "written in the new one", &key(4));
}

#[test]
fn a_change_that_the_file_system_reports_nowhere_near_is_found_by_polling() {
    let parent = TempDir::new().unwrap();
    let at = |name: &str| parent.path().join(name);
    for n in 0..=1 {
        fs::create_dir(at(&n.to_string())).unwrap();
        write_private(&at(&n.to_string()).join("keys"), &file_with(&key(n)));
    }
    // The link is turned in a directory that holds neither the file nor its target.
    symlink("0", at("link")).unwrap();
    let server = server_with_key_file(&at("link/keys"));
    symlink("1", at("link.new")).unwrap();
    fs::rename(at("link.new"), at("link")).unwrap();
    assert_live(&server, Instant::now(), "a link above it turned", &key(1));
    assert!(!knows(&server, &key(0)));
}

#[test]
fn sighup_reads_the_key_file_and_ends_nothing() {
    let server = Server::new();
    server.signal("HUP");
    server.wait_for_log("key file reloaded");
    assert!(knows(&server, KEY) && knows(&server, KEY_2));
    write_private(&server.key_file(), &file_with(&key(1)));
    server.signal("HUP");
    assert_live(&server, Instant::now(), "SIGHUP", &key(1));
}

/// Makes the file at a path unusable.
type Damage = fn(&Path);

/// What can be wrong with the file, how it comes to be so, and what the log says of it.
const FAULTS: [(&str, Damage, &str); 8] = [
    ("emptied", |path| write_private(path, ""), "is empty"),
    ("blank", |path| write_private(path, " \n\n\t\n"), "is empty"),
    (
        "half-written",
        |path| write_private(path, &format!("# test keys\n{KEY}:1:one\n{}", &KEY_2[..20])),
        "line 3: the key is malformed",
    ),
    (
        "a workspace that is none",
        |path| write_private(path, &format!("{KEY}:1:one\n\n{KEY_2}:zero:two\n")),
        "line 3: the workspace is malformed",
    ),
    (
        "a key in two workspaces",
        |path| write_private(path, &format!("{KEY}:1\n{KEY}:2\n")),
        "line 2: the key is on line 1 already, for another workspace",
    ),
    (
        "a directory",
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        "is not a regular file",
    ),
    (
        "vanished",
        |path| fs::remove_file(path).unwrap(),
        "cannot read the key file",
    ),
    (
        "a link to nothing",
        |path| {
            fs::remove_file(path).unwrap();
            symlink("nowhere", path).unwrap();
        },
        "cannot read the key file",
    ),
];

fn readiness(server: &Server) -> Response {
    let mut stream = TcpStream::connect(server.at().metrics).unwrap();
    request(&mut stream, "GET", "/ready", &[], b"")
}

#[test]
fn a_bad_key_file_keeps_the_last_good_keys_and_is_reported() {
    for (what, damage, said) in FAULTS {
        let server = Server::new();
        let path = server.key_file();
        damage(&path);
        server.wait_for_log("the last good keys stay in force");
        let log = server.log();
        let line = log.lines().find(|line| line.contains("last good")).unwrap();
        assert!(
            line.contains("\"ERROR\"") && line.contains(said),
            "{what}: {line}"
        );
        for key in [KEY, KEY_2] {
            assert!(knows(&server, key), "{what}: a good key is refused");
            assert!(!log.contains(&key[..20]), "{what}: a key is in the log");
        }
        let ready = readiness(&server);
        let reason = ready.json()["degraded"][0].clone();
        assert_eq!(
            (ready.status, &reason["component"]),
            (200, &json!("key_file"))
        );
        assert!(
            !reason.to_string().contains(&KEY[..20]),
            "{what}: a key is shown"
        );

        // Good content is taken up again, whatever was there before.
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        } else if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        }
        write_private(&path, &file_with(&key(1)));
        assert_live(&server, Instant::now(), what, &key(1));
        assert!(!knows(&server, KEY), "{what}: a removed key is good");
        wait_for("the server to be ready again", || {
            (readiness(&server).json()["status"] == "ready").then_some(())
        });
    }
}

#[test]
fn comments_alone_revoke_every_key_on_purpose() {
    let server = Server::new();
    write_private(&server.key_file(), "# all revoked\n");
    wait_for("both keys to be refused", || {
        (!knows(&server, KEY) && !knows(&server, KEY_2)).then_some(())
    });
}
