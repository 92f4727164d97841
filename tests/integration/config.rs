//! Settings from flags, environment and file, and what the commands make of them.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{KEY, Server, Setup, tell_in, wait_for, write_private};
use crate::terminal::{FREE_PORTS, Terminal, free_address};

fn run(directory: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tell_in(directory);
    command.args(args).envs(environment.iter().copied());
    command.output().expect("tell runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_fault_of_every_layer_is_reported_at_once_with_its_place() {
    let directory = TempDir::new().unwrap();
    let file = "# settings\nhttp = \"nowhere\"\n\nhtpp = \"127.0.0.1:1\"\nsegment_size = true\n";
    fs::write(directory.path().join("tell.toml"), file).unwrap();
    let output = run(
        directory.path(),
        &["serve", "--max-connections", "0", "--tcp", "127.0.0.1"],
        &[("TELL_LOG_LEVEL", "loud")],
    );
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    let expected = [
        "error: --tcp: `127.0.0.1` is not accepted: expected ",
        "error: --max-connections: `0` is out of range: expected ",
        "error: TELL_LOG_LEVEL: `loud` is not accepted: expected ",
        "error: tell.toml:2:8: http: `nowhere` is not accepted: expected ",
        "error: tell.toml:4:1: unknown setting `htpp`: did you mean `http`?",
        "error: tell.toml:5:16: segment_size: a TOML boolean is not accepted: expected ",
    ];
    for line in expected {
        assert!(
            said.lines().any(|l| l.starts_with(line)),
            "{line}\n--- of\n{said}"
        );
    }
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    assert!(
        !directory.path().join("tell-data").exists(),
        "nothing was made"
    );
}

#[test]
fn a_fault_of_the_settings_stops_every_command_with_exit_code_2() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("tell.toml"), "nonsense = 1\n").unwrap();
    for command in [
        &["serve"][..],
        &[],
        &["export", "--workspace", "1"],
        &["storage"],
        &["apikeys"],
        &["apikeys", "new", "x", "--workspace", "1"],
    ] {
        let output = run(directory.path(), command, &[]);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let said = stderr(&output);
        assert!(said.contains("tell.toml:1:1: unknown setting"), "{said}");
    }
    for wrong in [
        &["--config", "elsewhere.toml", "storage"][..],
        &["serve", "--no-such-flag"],
        &["no-such-command"],
        &["export"],
    ] {
        assert_eq!(
            run(directory.path(), wrong, &[]).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_key_in_the_place_of_a_setting_is_not_shown() {
    let directory = TempDir::new().unwrap();
    let file = format!("http = \"{KEY}\"\n{KEY} = 1\n");
    fs::write(directory.path().join("tell.toml"), file).unwrap();
    let environment = [("TELL_LOG_LEVEL", KEY)];
    let output = run(directory.path(), &["serve", "--tcp", KEY], &environment);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(!said.contains(KEY), "{said}");
}

#[test]
fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("tell.toml"), "data_dir = \"file\"\n").unwrap();
    fs::write(
        directory.path().join("other.toml"),
        "data_dir = \"other\"\n",
    )
    .unwrap();
    let new = ["apikeys", "new", "x", "--workspace", "1"];
    let environment = [("TELL_DATA_DIR", "environment")];
    let with_flag = [&new[..], &["--data-dir", "flag"]].concat();
    for (made, args, environment) in [
        ("flag", &with_flag[..], &environment[..]),
        ("environment", &new[..], &environment[..]),
        ("other", &new[..], &[("TELL_CONFIG", "other.toml")][..]),
        ("file", &new[..], &[][..]),
    ] {
        let keys = directory.path().join(made).join("keys");
        assert!(!keys.exists(), "{made}");
        stdout(&run(directory.path(), args, environment));
        assert!(keys.exists(), "{made}");
    }
}

#[test]
fn the_server_takes_its_addresses_from_all_layers() {
    let directory = TempDir::new().unwrap();
    let [tcp, http, syslog] = [(); 3].map(|()| free_address().to_string());
    let elsewhere = "127.0.0.1:1";
    let file = format!(
        "tcp = \"{tcp}\"\nhttp = \"{elsewhere}\"\nsyslog_tcp = \"{elsewhere}\"\nlog_format = \"json\"\n"
    );
    fs::write(directory.path().join("tell.toml"), file).unwrap();
    let mut command = tell_in(directory.path());
    command
        .args(["--http", &http, "--syslog-udp", "off", "--metrics", "off"])
        .env("TELL_SYSLOG_TCP", &syslog)
        .env("TELL_HTTP", elsewhere);
    let mut server = Terminal::run(command);
    let ready: Value = serde_json::from_str(&server.wait_until_ready()).expect("a JSON line");
    assert_eq!(ready["tcp"], tcp.as_str());
    assert_eq!(ready["http"], http.as_str());
    assert_eq!(ready["syslog_tcp"], syslog.as_str());
    assert_eq!(ready["syslog_udp"], "off");
    assert_eq!(ready["metrics"], "off");
    for address in [tcp, http, syslog] {
        TcpStream::connect(address).expect("it listens where it says");
    }
    let ended = server.stop();
    assert!(ended.status.success());
    for line in ended.stderr.lines() {
        let line: Value = serde_json::from_str(line).expect("every line is JSON");
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn the_log_is_text_unless_it_is_set_and_says_when_and_where_the_server_is_ready() {
    let directory = TempDir::new().unwrap();
    let http = free_address().to_string();
    let args = FREE_PORTS.into_iter().chain(["--http", &http]);
    let mut server = Terminal::serve(directory.path(), args);
    let ready = server.wait_until_ready();
    assert!(serde_json::from_str::<Value>(&ready).is_err(), "{ready}");
    assert!(
        ready.contains(" INFO ") && ready.contains(&format!("http=\"{http}\"")),
        "{ready}"
    );
    drop(server);

    let quiet = ["--log-level", "warn", "--http", &http];
    let quiet = Terminal::serve(directory.path(), FREE_PORTS.into_iter().chain(quiet));
    wait_for("the quiet server to listen", || {
        TcpStream::connect(&http).ok()
    });
    let ended = quiet.stop();
    assert_eq!(ended.stderr, "", "nothing is worth a warning");
}

#[test]
fn health_is_answered_and_needs_no_key() {
    let server = Server::new();
    let health = server.http("GET", "/health", &[], b"");
    assert_eq!(health.status, 200);
    let refused = server.http("POST", "/health", &[], b"");
    assert_eq!(refused.status, 405);
}

#[test]
fn an_address_or_a_data_directory_that_is_taken_is_named() {
    let server = Server::new();
    let taken = server.at().http.to_string();
    let directory = TempDir::new().unwrap();
    let args = FREE_PORTS.into_iter().chain(["--http", &taken]);
    let ended = Terminal::serve(directory.path(), args).wait();
    assert_eq!(ended.status.code(), Some(1));
    let said: Vec<&str> = ended.stderr.lines().rev().take(2).collect();
    assert!(
        said[1].starts_with("error: ") && said[1].contains(&taken),
        "{said:?}"
    );
    let holder = format!("error: process {} (tell) has the port", server.pid());
    assert!(
        said[0].starts_with(&holder) && said[0].contains("--http (`http` in the file)"),
        "{said:?}"
    );

    let args = FREE_PORTS.into_iter().chain(["--http", "127.0.0.1:0"]);
    let ended = Terminal::serve(server.directory(), args).wait();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("in use by another tell server"),
        "{}",
        ended.stderr
    );
}

#[test]
fn all_commands_mean_the_same_files() {
    let places = TempDir::new().unwrap();
    let at = |name: &str| places.path().join(name).display().to_string();
    let file = format!("data_dir = '{}'\nkeys = '{}'\n", at("data"), at("keys"));
    fs::write(at("tell.toml"), file).unwrap();
    write_private(Path::new(&at("keys")), &format!("{KEY}:9:mine\n"));
    let config = at("tell.toml");
    let server = Setup::new().keys(None).args(["--config", &config]).start();
    let event = r#"{"type":"track","event":"here","user_id":"u"}"#;
    assert_eq!(server.post_events(event).status, 202);

    let elsewhere = TempDir::new().unwrap();
    let (data, keys) = (at("data"), at("keys"));
    let by_config = ["--config", config.as_str()];
    let by_flags = ["--data-dir", data.as_str(), "--keys", keys.as_str()];
    for (command, expected) in [
        (&["export", "--workspace", "9"][..], "\"here\""),
        (&["storage"], "ws-9"),
        (&["apikeys"], "mine"),
        (&["apikeys", "check"], "1 key, no faults"),
    ] {
        let variable = [("TELL_CONFIG", config.as_str())];
        for output in [
            run(elsewhere.path(), &[&by_config, command].concat(), &[]),
            run(elsewhere.path(), &[command, &by_config].concat(), &[]),
            run(elsewhere.path(), &[command, &by_flags].concat(), &[]),
            run(elsewhere.path(), command, &variable),
        ] {
            let said = stdout(&output);
            assert!(said.contains(expected), "{command:?}: {said}");
        }
    }
    let left = fs::read_dir(elsewhere.path()).unwrap().count();
    assert_eq!(left, 0, "a command made files where none are meant");
}

#[test]
fn storage_tells_what_the_journal_holds_with_the_server_running_or_not() {
    let mut server = Setup::new().args(["--journal-limit", "1GiB"]).start();
    let json = |server: &Server| -> Value {
        let output = server.tell(&["storage", "--json"]);
        serde_json::from_str(&stdout(&output)).expect("one JSON object")
    };
    assert_eq!(json(&server)["records"], 0);
    for n in 1..=3 {
        let line = format!(r#"{{"type":"track","event":"e{n}","user_id":"u"}}"#);
        assert_eq!(server.post_events(&line).status, 202);
    }
    let running = json(&server);
    assert!(server.stop().success());
    let stopped = json(&server);
    for report in [&running, &stopped] {
        let mut members: Vec<_> = report.as_object().unwrap().keys().collect();
        members.sort();
        let expected = [
            "damaged",
            "disk_bytes",
            "left_bytes",
            "records",
            "segments",
            "workspaces",
        ];
        assert_eq!(members, expected);
        assert_eq!(report["records"], 3);
        assert_eq!(report["damaged"], 0);
        assert!(report["segments"].as_u64() >= Some(1));
        assert!(report["disk_bytes"].as_u64() >= Some(3 * 60));
        assert!(report["left_bytes"].as_u64() > Some(0));
        let workspaces = report["workspaces"].as_array().unwrap();
        assert_eq!(workspaces.len(), 1);
        assert_eq!(workspaces[0]["workspace"], "ws-1");
        assert_eq!(workspaces[0]["records"], 3);
        assert!(workspaces[0]["bytes"].as_u64() > Some(3 * 40));
    }
    let table = stdout(&server.tell(&["storage"]));
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = table.lines().map(words).collect();
    assert!(
        lines.contains(&vec!["records".to_owned(), "3".to_owned()]),
        "{table}"
    );
    assert!(
        lines.iter().any(|l| l.first().is_some_and(|w| w == "ws-1")),
        "{table}"
    );
}

#[test]
fn a_data_directory_without_a_journal_is_named() {
    let directory = TempDir::new().unwrap();
    for command in [&["storage"][..], &["export", "--workspace", "1"]] {
        let output = run(directory.path(), command, &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(
            said.contains("./tell-data") && said.contains("--data-dir"),
            "{said}"
        );
    }
}

#[test]
fn a_variable_that_is_no_setting_stops_no_command_and_the_server_warns_of_it() {
    let server = Setup::new()
        .env("TELL_SEGMENTSIZE", "64MiB")
        .env("TELL_KEY", KEY)
        .env("TELL_API_URL", "http://127.0.0.1:8080")
        .start();
    let log = server.log();
    let warned = log.matches("did you mean TELL_SEGMENT_SIZE?").count();
    assert_eq!(warned, 1, "{log}");
    assert!(
        !log.contains("TELL_KEY") && !log.contains("TELL_API_URL"),
        "{log}"
    );
    let variables = [("TELL_SEGMENTSIZE", "64MiB"), ("TELL_KEY", KEY)];
    for command in [
        &["apikeys"][..],
        &["status"],
        &["storage"],
        &["config", "list"],
    ] {
        let output = run(server.directory(), command, &variables);
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let directory = TempDir::new().unwrap();
    for args in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["apikeys", "--help"],
        &["help", "apikeys", "new"],
        &["version"],
    ] {
        let output = run(directory.path(), args, &[]);
        let said = stdout(&output);
        assert!(!said.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
}
