//! The first start, which makes the key file, and starts with a key file that cannot be used.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{KEY, KEY_2, program, tell_in, write_private};
use crate::terminal::{Ended, FREE_PORTS, Terminal, free_address};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A line that was printed, by how it begins.
fn printed<'a>(stdout: &'a str, beginning: &str) -> &'a str {
    stdout
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with(beginning))
        .unwrap_or_else(|| panic!("no line begins with {beginning:?}:\n{stdout}"))
}

/// Runs a line as a shell does that does not know where `tell` is: it was started by its path.
fn shell(directory: &Path, line: &str) -> Output {
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(directory)
        .output()
        .expect("sh runs");
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn key_in(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let [line] = lines[..] else {
        panic!("not one key: {} lines", lines.len());
    };
    let key = line
        .strip_suffix(":1:default")
        .expect("workspace 1, named default");
    assert_eq!(key.len(), 32);
    key.to_owned()
}

#[test]
fn the_first_start_makes_a_key_and_prints_it_once_with_lines_that_work() {
    program("curl", "curl");
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let http = free_address().to_string();
    let args = || FREE_PORTS.into_iter().chain(["--http", http.as_str()]);

    let mut first = Terminal::serve(at, args());
    first.wait_until_ready();
    let file = at.join("tell-data/keys");
    let key = key_in(&file);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&at.join("tell-data")), 0o700);

    // What is printed is known only when the server has ended, but for the key: that is in the file.
    let curl = format!("curl http://{http}/v1/events -H 'Authorization: Bearer {key}'");
    let before = first.stop();
    assert!(before.status.success(), "{before:?}");
    assert!(before.stdout.contains("First start"), "{}", before.stdout);
    assert_eq!(
        before.stdout.matches(&key).count(),
        2,
        "the key, and the line with it"
    );
    assert!(before.stdout.lines().any(|line| line.trim() == key));
    assert!(!before.stderr.contains(&key), "the key is in the log");

    let mut second = Terminal::serve(at, args());
    second.wait_until_ready();
    let answer = shell(at, printed(&before.stdout, &curl));
    let answer: Value = serde_json::from_slice(&answer.stdout).expect("the answer is JSON");
    assert_eq!(answer["accepted"], 1);
    let export = format!("{} export", env!("CARGO_BIN_EXE_tell"));
    let rows = shell(at, printed(&before.stdout, &export));
    let row: Value = serde_json::from_slice(&rows.stdout).expect("one row");
    assert_eq!(row["name"], "hello");

    let after = second.stop();
    assert_eq!(after.stdout, "", "the second start prints nothing");
    assert!(!after.stderr.contains(&key), "the key is in the log");
    assert_eq!(key_in(&file), key, "the key file is as it was");
}

#[test]
fn a_first_start_whose_output_is_kept_prints_the_public_id_and_how_to_see_the_key() {
    let directory = TempDir::new().unwrap();
    let mut command = tell_in(directory.path());
    command
        .arg("serve")
        .args(FREE_PORTS)
        .args(["--http", "127.0.0.1:0"]);
    let mut first = Terminal::piped(command);
    first.wait_until_ready();
    let key = key_in(&directory.path().join("tell-data/keys"));
    let ended = first.stop();
    assert!(!ended.stdout.contains(&key), "{}", ended.stdout);
    assert!(!ended.stderr.contains(&key), "{}", ended.stderr);
    let show = format!("{} apikeys show", env!("CARGO_BIN_EXE_tell"));
    let shown = shell(directory.path(), printed(&ended.stdout, &show));
    assert!(String::from_utf8(shown.stdout).unwrap().contains(&key));
}

#[test]
fn a_first_start_on_a_free_port_prints_the_address_that_it_listens_on() {
    program("curl", "curl");
    let directory = TempDir::new().unwrap();
    let args = FREE_PORTS.into_iter().chain(["--http", "127.0.0.1:0"]);
    let mut first = Terminal::serve(directory.path(), args);
    let ready = first.wait_until_ready();
    let ended = first.stop();
    let (_, address) = ready.split_once(" http=").expect("the address of HTTP");
    let address = address.split(' ').next().unwrap().trim_matches('"');
    assert!(
        printed(&ended.stdout, "curl").contains(&format!("http://{address}/")),
        "{ready}\n{}",
        ended.stdout
    );
}

#[test]
fn a_first_start_without_http_prints_the_key_and_no_line_that_would_not_work() {
    let directory = TempDir::new().unwrap();
    let args = FREE_PORTS.into_iter().chain(["--http", "off"]);
    let mut first = Terminal::serve(directory.path(), args);
    first.wait_until_ready();
    let key = key_in(&directory.path().join("tell-data/keys"));
    let ended = first.stop();
    assert_eq!(ended.stdout.matches(&key).count(), 1, "{}", ended.stdout);
    assert!(!ended.stdout.contains("curl"), "{}", ended.stdout);
}

#[test]
fn the_first_start_makes_the_key_file_where_the_settings_say() {
    let directory = TempDir::new().unwrap();
    let files = [
        "--http",
        "off",
        "--data-dir",
        "a b/data",
        "--keys",
        "etc/tell/keys",
    ];
    let mut first = Terminal::serve(directory.path(), FREE_PORTS.into_iter().chain(files));
    first.wait_until_ready();
    key_in(&directory.path().join("etc/tell/keys"));
    assert!(!directory.path().join("a b/data/keys").exists());
    assert!(first.stop().stdout.contains("etc/tell/keys"));
    assert!(!directory.path().join("tell-data").exists());
}

/// Starts with a key file that somebody made, which has to be refused.
fn refused(make: impl FnOnce(&Path)) -> Ended {
    let directory = TempDir::new().unwrap();
    let data_dir = directory.path().join("tell-data");
    fs::create_dir(&data_dir).unwrap();
    make(&data_dir.join("keys"));
    let args = FREE_PORTS.into_iter().chain(["--http", "127.0.0.1:0"]);
    let ended = Terminal::serve(directory.path(), args).wait();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.stdout, "");
    assert!(!ended.stderr.contains("tell is ready"), "{}", ended.stderr);
    assert!(ended.stderr.contains("tell-data/keys"), "{}", ended.stderr);
    ended
}

#[test]
fn a_broken_key_file_refuses_to_start_and_names_every_fault_with_its_line() {
    let ended = refused(|path| {
        let text = format!("# keys\n{KEY}:1:one\n{KEY}:2:two\n\nx{KEY_2}:2\n{KEY_2}:many:2\n");
        write_private(path, &text);
    });
    for said in [
        "line 3: the key is on line 2 already, for another workspace",
        "line 5: the key is malformed",
        "line 6: the workspace is malformed",
    ] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
    for key in [KEY, KEY_2] {
        assert!(!ended.stderr.contains(&key[..16]), "a key is shown");
    }
}

#[test]
fn a_key_file_without_keys_or_that_is_none_refuses_to_start() {
    let empty = refused(|path| write_private(path, ""));
    assert!(empty.stderr.contains("holds no key"), "{}", empty.stderr);
    let comments = refused(|path| write_private(path, "# none yet\n"));
    assert!(
        comments.stderr.contains("holds no key"),
        "{}",
        comments.stderr
    );
    let directory = refused(|path| fs::create_dir(path).unwrap());
    assert!(
        directory.stderr.contains("not a regular file"),
        "{}",
        directory.stderr
    );
    let dangling = refused(|path| symlink("nowhere", path).unwrap());
    assert!(
        dangling.stderr.contains("cannot read"),
        "{}",
        dangling.stderr
    );
}

#[test]
fn a_key_file_that_the_cli_made_is_no_first_start() {
    let directory = TempDir::new().unwrap();
    let new = tell_in(directory.path())
        .args(["apikeys", "new", "mine", "--workspace", "5", "-q"])
        .output()
        .unwrap();
    assert!(new.status.success());
    let args = FREE_PORTS.into_iter().chain(["--http", "127.0.0.1:0"]);
    let mut server = Terminal::serve(directory.path(), args);
    server.wait_until_ready();
    assert_eq!(server.stop().stdout, "");
    let text = fs::read_to_string(directory.path().join("tell-data/keys")).unwrap();
    assert!(text.contains(":5:mine") && !text.contains(":default"));
}
