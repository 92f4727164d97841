//! The command line as scripts and terminals see it: closed pipes, JSON, colours, widths, completions, manual pages.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{KEY, Server, program, tell_in, write_private};

fn run(directory: &Path, args: &[&str]) -> Output {
    tell_in(directory).args(args).output().expect("tell runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Runs a command on a terminal of so many columns, and returns what that shows.
fn on_a_terminal(directory: &Path, columns: u32, variables: &str, args: &str) -> String {
    let tell = env!("CARGO_BIN_EXE_tell");
    // Where CI is set, a terminal that shows no colours is taken for a log that does.
    let line = format!("stty cols {columns}; env --unset=CI TERM=xterm {variables} {tell} {args}");
    let output = Command::new(program("script", "bsdutils"))
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("script runs");
    text(&output.stdout).replace("\r\n", "\n")
}

#[test]
fn a_reader_that_leaves_ends_every_command_quietly() {
    let server = Server::new();
    let many = "{\"event\":\"e\",\"text\":\"0123456789\"}\n".repeat(20_000);
    assert_eq!(server.post_events(&many).status, 202);
    for args in [
        &["export", "--workspace", "1"][..],
        &["status"],
        &["status", "--json"],
        &["storage"],
        &["config", "list"],
        &["config", "list", "--json"],
        &["apikeys"],
        &["apikeys", "show", "one"],
        &["audit", "verify"],
        &["help", "serve"],
        &["serve", "--help"],
        &["--version"],
        &["version"],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut child = server
            .command()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tell runs");
        drop(child.stdout.take());
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        let status = child.wait().unwrap();
        assert!(
            status.success() && said.is_empty(),
            "{args:?}: {status}\n{said}"
        );
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let directory = TempDir::new().unwrap();
    write_private(&directory.path().join("keys"), &format!("{KEY}:1:one\n"));
    for args in [
        &["config", "list"][..],
        &["apikeys", "--keys", "keys"],
        &["--help"],
        &["man"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = tell_in(directory.path())
            .args(args)
            .stdout(full)
            .output()
            .expect("tell runs");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains("cannot write"), "{args:?}");
    }
}

#[test]
fn with_json_an_error_is_json_too() {
    let directory = TempDir::new().unwrap();
    write_private(&directory.path().join("tell.toml"), "metrics = \"off\"\n");
    for (args, code, error, word) in [
        (
            &["status", "--json"][..],
            1,
            "not_running",
            "no server runs",
        ),
        (&["--json", "status"], 1, "not_running", "no server runs"),
        (&["storage", "--json"], 1, "no_journal", "holds no journal"),
        (
            &["export", "--workspace", "1", "--json"],
            1,
            "no_journal",
            "holds no journal",
        ),
        (
            &["audit", "verify", "--json"],
            1,
            "no_audit_log",
            "no audit log",
        ),
        (&["apikeys", "--json"], 4, "not_found", "key file"),
        (
            &["apikeys", "show", "x", "--json"],
            4,
            "not_found",
            "key file",
        ),
        (
            &["config", "get", "htpp", "--json"],
            2,
            "unknown_setting",
            "`http`",
        ),
        (
            &["config", "set", "http", "x", "--json"],
            2,
            "invalid_settings",
            "http",
        ),
        (
            &["serve", "--http", "x", "--json"],
            2,
            "invalid_settings",
            "--http",
        ),
        (&["statsu", "--json"], 2, "usage", "'status'"),
        (&["export", "--json"], 2, "usage", "--workspace"),
    ] {
        let output = run(directory.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        let said: Value = serde_json::from_slice(&output.stderr)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"));
        assert_eq!(said["error"], error, "{args:?}");
        assert_eq!(said["exit_code"], code, "{args:?}");
        let message = said["message"].as_str().unwrap();
        assert!(
            message.contains(word) && !message.starts_with("error"),
            "{said}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_key_that_is_typed_in_the_wrong_place_is_not_repeated() {
    let directory = TempDir::new().unwrap();
    for args in [
        &[KEY][..],
        &["apikeys", KEY],
        &["apikeys", "list", KEY],
        &["export", "--workspace", KEY],
        &["config", "get", KEY],
        &["status", KEY, "--json"],
    ] {
        let output = run(directory.path(), args);
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!said.contains(&KEY[..24]), "{args:?}: {said}");
    }
}

#[test]
fn a_table_is_shortened_to_the_terminal_and_whole_in_a_pipe() {
    let directory = TempDir::new().unwrap();
    let name = "a name that is much longer than the others are";
    write_private(&directory.path().join("keys"), &format!("{KEY}:1:{name}\n"));
    let list = "apikeys list --keys keys";
    for columns in [40, 80, 100] {
        let shown = on_a_terminal(directory.path(), columns, "NO_COLOR=1", list);
        assert!(shown.contains('…'), "{shown}");
        for line in shown.lines() {
            assert!(
                line.chars().count() <= columns as usize,
                "{columns}: {line}"
            );
        }
        assert_eq!(shown.lines().count(), 2, "nothing wraps: {shown}");
    }
    let piped = run(directory.path(), &list.split(' ').collect::<Vec<_>>());
    assert!(text(&piped.stdout).contains(name));
}

#[test]
fn colours_are_for_terminals_that_did_not_say_no() {
    let directory = TempDir::new().unwrap();
    write_private(&directory.path().join("keys"), &format!("{KEY}:1:one\n"));
    for args in ["apikeys --keys keys", "status", "bogus", "--help"] {
        let shown = |variables| on_a_terminal(directory.path(), 80, variables, args);
        assert!(shown("").contains("\x1b["), "{args}");
        assert!(!shown("NO_COLOR=1").contains('\x1b'), "{args}");
        assert!(!shown("TERM=dumb").contains('\x1b'), "{args}");
        let piped = run(directory.path(), &args.split(' ').collect::<Vec<_>>());
        let piped = text(&piped.stdout) + &text(&piped.stderr);
        assert!(!piped.is_empty() && !piped.contains('\x1b'), "{args}");
    }
}

#[test]
fn completions_are_made_for_every_shell_and_bash_takes_them() {
    let directory = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(directory.path(), &["completions", shell]);
        assert!(output.status.success(), "{shell}");
        assert!(text(&output.stdout).contains("apikeys"), "{shell}");
    }
    let script = run(directory.path(), &["completions", "bash"]).stdout;
    let tries =
        "\nCOMP_WORDS=(tell apik); COMP_CWORD=1; _tell tell apik tell; echo \"${COMPREPLY[@]}\"\n";
    fs::write(directory.path().join("try"), text(&script) + tries).unwrap();
    let output = Command::new("bash")
        .arg(directory.path().join("try"))
        .output()
        .expect("bash runs");
    assert_eq!(text(&output.stdout).trim(), "apikeys", "{output:?}");
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let directory = TempDir::new().unwrap();
    let page = text(&run(directory.path(), &["man"]).stdout);
    assert!(page.contains(".TH tell 1"), "{page}");
    let output = run(directory.path(), &["man", "--dir", "pages"]);
    assert!(output.status.success(), "{output:?}");
    for (page, word) in [
        ("tell.1", "apikeys"),
        ("tell-serve.1", "max\\-body\\-size"),
        ("tell-apikeys-new.1", "workspace"),
        ("tell-config-set.1", "setting"),
    ] {
        let text = fs::read_to_string(directory.path().join("pages").join(page)).unwrap();
        assert!(text.contains(word), "{page}: {text}");
    }
}

#[test]
fn what_a_user_may_not_read_is_told_apart_from_what_is_not_there() {
    // Root reads everything.
    if fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
        return as_nobody();
    }
    let server = Server::new();
    fs::set_permissions(server.data_dir(), fs::Permissions::from_mode(0o000)).unwrap();
    let output = server.tell(&["export", "--workspace", "1"]);
    fs::set_permissions(server.data_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_denied(&output);
}

/// As root: the command is run as a user who may not.
fn as_nobody() {
    let server = Server::new();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(server.directory());
    let binary = server.directory().join("tell");
    fs::copy(env!("CARGO_BIN_EXE_tell"), &binary).unwrap();
    for command in ["export --workspace 1", "storage"] {
        let output = Command::new(program("setpriv", "util-linux"))
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&binary)
            .args(command.split(' '))
            .current_dir(server.directory())
            .output()
            .expect("setpriv runs");
        assert_denied(&output);
    }
}

fn assert_denied(output: &Output) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert!(said.contains("run it as the user it belongs to"), "{said}");
    assert!(!said.contains("no journal"), "{said}");
}

#[test]
fn a_workspace_that_nobody_knows_is_an_error_and_an_empty_one_is_not() {
    let server = Server::new();
    assert_eq!(server.post_events("{\"event\":\"e\"}\n").status, 202);
    let output = server.tell(&["export", "--workspace", "2"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stderr).contains("nothing was kept of workspace ws-2 so far"));
    let output = server.tell(&["export", "-w", "ws-12"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.contains("ws-12 is not known") && said.contains("ws-1, ws-2"),
        "{said}"
    );
}
