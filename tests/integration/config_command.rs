//! `tell config`: the settings as they count, and changing those of the file.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::tell_in;

fn run(directory: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tell_in(directory);
    command.arg("config").args(args);
    command.envs(environment.iter().copied());
    command.output().expect("tell runs")
}

fn good(directory: &Path, args: &[&str]) -> String {
    let output = run(directory, args, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code, standard error.
fn bad(directory: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = run(directory, args, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

fn list(directory: &Path, environment: &[(&str, &str)]) -> Vec<Value> {
    let output = run(directory, &["list", "--json"], environment);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn find<'a>(list: &'a [Value], key: &str) -> (&'a str, &'a str) {
    let found = list.iter().find(|setting| setting["key"] == key).unwrap();
    (
        found["value"].as_str().unwrap(),
        found["source"].as_str().unwrap(),
    )
}

#[test]
fn network_access_is_one_command_and_taken_back_by_another() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let said = good(at, &["set", "allow_network_access", "true"]);
    assert!(said.contains("tell.toml:1:24"), "{said}");
    let file = at.join("tell.toml");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "allow_network_access = true\n"
    );
    assert_eq!(good(at, &["get", "allow_network_access"]), "true\n");
    let open = list(at, &[]);
    assert_eq!(find(&open, "tcp"), ("[::]:50000", "default"));
    assert_eq!(find(&open, "metrics"), ("127.0.0.1:9464", "default"));

    good(at, &["unset", "allow_network_access"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    assert_eq!(good(at, &["get", "tcp"]), "127.0.0.1:50000\n");
}

#[test]
fn every_setting_is_listed_with_where_it_comes_from() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let text = "http = \"off\"\n[[listen.http]]\naddress = \"127.0.0.1:8081\"\n";
    fs::write(at.join("tell.toml"), text).unwrap();
    let all = list(at, &[("TELL_LOG_LEVEL", "warn")]);
    assert_eq!(find(&all, "http"), ("off", "tell.toml:1:8"));
    assert_eq!(
        find(&all, "listen.http"),
        ("127.0.0.1:8081", "tell.toml:3:11")
    );
    assert_eq!(find(&all, "log_level"), ("warn", "TELL_LOG_LEVEL"));
    assert_eq!(find(&all, "keys"), ("./tell-data/keys", "default"));
    assert!(find(&all, "worker_threads").0.parse::<usize>().is_ok());
    let table = good(at, &["list"]);
    assert_eq!(table.lines().count(), all.len(), "{table}");
}

#[test]
fn what_wins_over_the_file_is_said() {
    let directory = TempDir::new().unwrap();
    let output = run(
        directory.path(),
        &["set", "log_level", "debug"],
        &[("TELL_LOG_LEVEL", "warn")],
    );
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("TELL_LOG_LEVEL wins over tell.toml"),
        "{said}"
    );
}

#[test]
fn a_bad_value_and_an_unknown_setting_change_nothing() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let file = at.join("tell.toml");
    let text = "# ours\ntcp = \"off\" # for now\n";
    fs::write(&file, text).unwrap();
    for (args, says) in [
        (
            ["set", "http", "nowhere"],
            "http: `nowhere` is not accepted",
        ),
        (["set", "htpp", "off"], "did you mean `http`?"),
        (
            ["set", "max_queued_bytes", "1KiB"],
            "cannot hold one `max_frame_size`",
        ),
    ] {
        let (code, said) = bad(at, &args);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn edits_at_the_same_time_lose_nothing() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    fs::write(at.join("tell.toml"), "# kept\n").unwrap();
    let edits = [
        ["set", "tcp", "off"],
        ["set", "http", "off"],
        ["set", "syslog_tcp", "off"],
        ["set", "syslog_udp", "off"],
        ["set", "metrics", "off"],
        ["set", "worker_threads", "2"],
        ["set", "log_format", "json"],
        ["set", "strict_permissions", "true"],
    ];
    std::thread::scope(|scope| {
        for edit in &edits {
            scope.spawn(|| good(at, edit));
        }
    });
    let all = list(at, &[]);
    for [_, key, value] in edits {
        let (found, source) = find(&all, key);
        assert_eq!(found, value, "{key}");
        assert!(source.starts_with("tell.toml:"), "{key}: {source}");
    }
    let text = fs::read_to_string(at.join("tell.toml")).unwrap();
    assert_eq!(text.matches("# kept").count(), 1, "{text}");
}
