//! The snippets for syslog senders in `docs/syslog.md`, run as they stand there: only the key, the port and the
//! place of the sender's own files are this test's.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{KEY, Server, program, wait_for};
use crate::secrets::assert_no_key_kept;

/// Where `.ci/unpack-syslog-ng` puts it.
const SYSLOG_NG: &str = "/opt/tell-tests/syslog-ng";

/// The snippet of a language, with the key and the port of a server.
fn snippet(language: &str, port: u16) -> String {
    let page = include_str!("../../docs/syslog.md");
    let fence = format!("\n```{language}\n");
    let mut parts = page.split(&fence);
    let (Some(_), Some(from), None) = (parts.next(), parts.next(), parts.next()) else {
        panic!("the page has not exactly one snippet of {language}");
    };
    let (snippet, _) = from.split_once("\n```").expect("the snippet ends");
    assert!(snippet.contains("KEY") && snippet.contains("1514"));
    snippet
        .replace("KEY", KEY)
        .replace("1514", &port.to_string())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A syslog daemon, killed when it is dropped.
pub struct Daemon(Child);

impl Daemon {
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.expect("the daemon runs"))
    }

    /// Sends bytes to its input, once it listens.
    fn log(&mut self, port: u16, bytes: &str) {
        let mut stream = wait_for("the daemon to listen", || {
            if let Some(status) = self.0.try_wait().unwrap() {
                panic!("the daemon ended at its start: {status}");
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        stream.write_all(bytes.as_bytes()).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LINE: &str = "<27>1 2026-01-02T03:04:05.678901+01:00 web01 cron 815 RUN - from the machine\n";

fn assert_line(server: &Server) {
    let row = only_row(server);
    assert_columns(
        &row,
        &[
            ("time", "2026-01-02T02:04:05.678Z"),
            ("message", "from the machine"),
            ("level", "error"),
            ("facility", "daemon"),
            ("host", "web01"),
            ("app", "cron"),
            ("procid", "815"),
            ("msgid", "RUN"),
        ],
    );
    assert!(row["structured_data"].get("tell@32473").is_none(), "{row}");
}

fn only_row(server: &Server) -> Value {
    let mut rows = server.wait_for_rows(1, "logs", 1);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_no_key_kept(server, &[KEY]);
    rows.remove(0)
}

#[track_caller]
fn assert_columns(row: &Value, columns: &[(&str, &str)]) {
    for (column, expected) in columns {
        assert_eq!(row[column], *expected, "{column} of {row}");
    }
}

#[test]
fn the_line_for_logger_delivers() {
    let server = Server::new();
    program("logger", "bsdutils");
    let script = snippet("sh", server.at().syslog_tcp.port());
    let status = Command::new("sh").args(["-euc", &script]).status().unwrap();
    assert!(status.success());
    assert_columns(
        &only_row(&server),
        &[
            ("message", "disk almost full"),
            ("level", "warning"),
            ("facility", "local3"),
            ("app", "backup"),
        ],
    );
}

#[test]
fn the_lines_for_rsyslog_deliver() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let input = free_port();
    let configuration = format!(
        "global(workDirectory=\"{}\")\nmodule(load=\"imtcp\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{input}\")\n{}\n",
        directory.path().display(),
        snippet("rsyslog", server.at().syslog_tcp.port())
    );
    let file = write(directory.path(), "rsyslog.conf", &configuration);
    let mut rsyslogd = Daemon::start(
        Command::new(program("rsyslogd", "rsyslog"))
            .args(["-n", "-f"])
            .arg(file)
            .arg("-i")
            .arg(directory.path().join("pid")),
    );
    rsyslogd.log(input, &format!("{LINE}\n"));
    assert_line(&server);
}

#[test]
fn the_lines_for_syslog_ng_deliver() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let input = free_port();
    let (mut command, version) = syslog_ng_command(directory.path(), "syslog-ng.conf");
    let configuration = format!(
        "@version: {version}\nsource s_src {{ syslog(ip(\"127.0.0.1\") port({input}) \
         transport(\"tcp\") keep-hostname(yes)); }};\n{}\n",
        snippet("syslog-ng", server.at().syslog_tcp.port())
    );
    write(directory.path(), "syslog-ng.conf", &configuration);
    let mut syslog_ng = Daemon::start(&mut command);
    syslog_ng.log(input, &format!("{} {LINE}", LINE.len()));
    assert_line(&server);
}

/// Starts syslog-ng in the foreground, with this file of a directory for its configuration and everything else there
/// too; also the version that the configuration has to name.
pub fn syslog_ng_command(directory: &Path, configuration: &str) -> (Command, String) {
    let (program, version, libraries) = syslog_ng();
    let in_directory =
        |option: &str, name: &str| format!("{option}={}", directory.join(name).display());
    let mut command = Command::new(program);
    command
        .args(["--foreground", "--no-caps"])
        .arg(in_directory("--cfgfile", configuration))
        .arg(in_directory("--persist-file", "persist"))
        .arg(in_directory("--pidfile", "pid"))
        .arg(in_directory("--control", "control"));
    if let Some(libraries) = libraries {
        command
            .arg(format!("--module-path={}", modules().display()))
            .env("LD_LIBRARY_PATH", libraries);
    }
    (command, version)
}

/// The directory with its modules, which is named after its release.
fn modules() -> PathBuf {
    let directory = fs::read_dir(Path::new(SYSLOG_NG).join("usr/lib/syslog-ng")).unwrap();
    directory
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .expect("syslog-ng has modules")
}

/// The program and the version of its configuration; where it is not installed but unpacked, also where its libraries are.
fn syslog_ng() -> (PathBuf, String, Option<String>) {
    let unpacked = Path::new(SYSLOG_NG).join("usr/sbin/syslog-ng");
    let (program, libraries) = if unpacked.is_file() {
        let architecture = std::env::consts::ARCH;
        let libraries = [
            format!("{SYSLOG_NG}/usr/lib/{architecture}-linux-gnu"),
            format!("{SYSLOG_NG}/lib/{architecture}-linux-gnu"),
            format!("{SYSLOG_NG}/usr/lib/syslog-ng"),
        ];
        (unpacked, Some(libraries.join(":")))
    } else {
        (
            program(
                "syslog-ng",
                "syslog-ng-core (or run .ci/unpack-syslog-ng, which keeps rsyslog)",
            ),
            None,
        )
    };
    let output = Command::new(&program)
        .arg("--version")
        .env("LD_LIBRARY_PATH", libraries.as_deref().unwrap_or_default())
        .output()
        .expect("syslog-ng runs");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = output
        .lines()
        .find_map(|line| line.strip_prefix("Config version: "))
        .unwrap_or_else(|| panic!("syslog-ng tells no version: {output}"));
    (program, version.trim().to_owned(), libraries)
}

#[test]
fn the_lines_for_python_deliver() {
    let server = Server::new();
    let script = format!(
        "{}\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.getLogger('jobs').exception('job failed')\n",
        snippet("python", server.at().syslog_udp.port())
    );
    let output = Command::new(program("python3", "python3"))
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let row = only_row(&server);
    assert_columns(
        &row,
        &[
            ("level", "error"),
            ("facility", "user"),
            ("app", "myapp"),
            ("msgid", "jobs"),
        ],
    );
    let message = row["message"].as_str().unwrap();
    assert!(message.starts_with("job failed\nTraceback"), "{message}");
    assert!(message.contains("ZeroDivisionError"), "{message}");
}

/// Logs locally, as programs do: into the socket of a daemon.
fn log_locally(socket: &Path) {
    let logger = program("logger", "bsdutils");
    wait_for("the daemon's socket", || {
        let sent = Command::new(&logger)
            .args(["--socket-errors=on", "--tag", "cron", "--id=815"])
            .args(["--priority", "daemon.err"])
            .arg("--socket")
            .arg(socket)
            .args(["--", "from the machine"])
            .stderr(Stdio::null())
            .status();
        sent.is_ok_and(|status| status.success()).then_some(())
    });
}

fn assert_local(server: &Server) {
    let row = only_row(server);
    assert_columns(
        &row,
        &[
            ("message", "from the machine"),
            ("level", "error"),
            ("facility", "daemon"),
            ("app", "cron"),
            ("procid", "815"),
        ],
    );
    assert!(
        row["host"].is_string() && row["structured_data"].get("tell@32473").is_none(),
        "{row}"
    );
}

#[test]
fn the_lines_for_rsyslog_deliver_local_messages() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("log");
    let configuration = format!(
        "global(workDirectory=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imuxsock\" Socket=\"{}\")\n{}\n",
        directory.path().display(),
        socket.display(),
        snippet("rsyslog", server.at().syslog_tcp.port())
    );
    let file = write(directory.path(), "rsyslog.conf", &configuration);
    let _rsyslogd = Daemon::start(
        Command::new(program("rsyslogd", "rsyslog"))
            .args(["-n", "-f"])
            .arg(file)
            .arg("-i")
            .arg(directory.path().join("pid")),
    );
    log_locally(&socket);
    assert_local(&server);
}

#[test]
fn the_lines_for_syslog_ng_deliver_local_messages() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("log");
    let (mut command, version) = syslog_ng_command(directory.path(), "syslog-ng.conf");
    // What Debian's `system()` reads, elsewhere.
    let configuration = format!(
        "@version: {version}\nsource s_src {{ unix-dgram(\"{}\"); }};\n{}\n",
        socket.display(),
        snippet("syslog-ng", server.at().syslog_tcp.port())
    );
    write(directory.path(), "syslog-ng.conf", &configuration);
    let _syslog_ng = Daemon::start(&mut command);
    log_locally(&socket);
    assert_local(&server);
}

#[test]
fn the_listener_for_devices_is_accepted() {
    let page = include_str!("../../docs/syslog.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (table, _) = rest.split_once("```").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "tell.toml", table);
    let output = Server::new().tell(&["config", "list", "--config", file.to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(table.contains("timezone = "));
}

#[test]
fn a_traceback_that_python_sends_over_tcp_is_one_message() {
    let server = Server::new();
    let script = snippet("python", server.at().syslog_tcp.port()).replace(
        "SysLogHandler(address=",
        "SysLogHandler(socktype=socket.SOCK_STREAM, address=",
    );
    assert!(script.contains("SOCK_STREAM"));
    let script = format!(
        "{script}\nfor text in ('first', 'second'):\n    try:\n        1 / 0\n    \
         except ZeroDivisionError:\n        logging.getLogger('jobs').exception(text)\n"
    );
    let status = Command::new(program("python3", "python3"))
        .args(["-c", &script])
        .status()
        .unwrap();
    assert!(status.success());
    let rows = server.wait_for_rows(1, "logs", 2);
    assert_eq!(rows.len(), 2, "{rows:?}");
    for (row, text) in rows.iter().zip(["first", "second"]) {
        let message = row["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{text}\nTraceback")),
            "{message}"
        );
        assert!(
            message.ends_with("ZeroDivisionError: division by zero"),
            "{message}"
        );
    }
}

#[test]
fn messages_as_docker_sends_them_are_taken() {
    let server = Server::new();
    // The format of its driver with syslog-format=rfc3164: time.Stamp, host, tag, the daemon's pid.
    let mut stream = TcpStream::connect(server.at().syslog_tcp).unwrap();
    let line = format!("<30>Jan  2 03:04:05 host1 {KEY} web[4711]: GET / 200\n");
    stream.write_all(line.as_bytes()).unwrap();
    assert_columns(
        &only_row(&server),
        &[
            ("message", "GET / 200"),
            ("level", "info"),
            ("facility", "daemon"),
            ("host", "host1"),
            ("app", "web"),
            ("procid", "4711"),
        ],
    );
}

pub fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    file
}
