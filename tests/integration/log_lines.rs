//! A log that cannot be written stops, slows and falsifies nothing, at the start and later (CASES.md 26).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write, pipe};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{KEY, KEY_2, request, tell_in, wait_for, write_private};
use crate::http_client::Response;

/// A server whose standard error is what the test says. Where it listens is read in its data directory, because
/// its log may be lost.
struct Server {
    directory: TempDir,
    child: Child,
    http: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    fn start(stderr: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = "127.0.0.1:0";
        std::fs::create_dir(directory.path().join("tell-data")).unwrap();
        let keys = directory.path().join("tell-data/keys");
        write_private(&keys, &format!("{KEY}:1:one\n{KEY_2}:2:two\n"));
        let child = tell_in(directory.path())
            .args([
                "serve",
                "--log-level",
                "trace",
                "--http",
                free,
                "--metrics",
                free,
            ])
            .args(["--tcp", free, "--syslog-tcp", "off", "--syslog-udp", "off"])
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("tell starts");
        let told = directory.path().join("tell-data/server.json");
        let told: Value = wait_for("server.json", || {
            serde_json::from_slice(&std::fs::read(&told).ok()?).ok()
        });
        let address = |name: &str| -> SocketAddr {
            let listeners = told["listeners"].as_array().expect("listeners");
            let listener = listeners.iter().find(|l| l["name"] == name).expect(name);
            listener["address"].as_str().unwrap().parse().unwrap()
        };
        Self {
            http: address("http"),
            metrics: address("metrics"),
            directory,
            child,
        }
    }

    fn ask(&self, to: SocketAddr, method: &str, target: &str, body: &[u8]) -> Response {
        let mut stream = std::net::TcpStream::connect(to).expect("connect");
        let bearer = format!("Bearer {KEY}");
        request(
            &mut stream,
            method,
            target,
            &[("Authorization", &bearer)],
            body,
        )
    }

    fn post(&self) -> u16 {
        self.ask(self.http, "POST", "/v1/events", b"{\"event\":\"e\"}\n")
            .status
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.ask(self.metrics, "GET", "/metrics", b"").body;
        let text = String::from_utf8(text).unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        assert!(kill.expect("kill runs").success());
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("tell-data/keys")
    }

    /// All that an operator relies on: requests are taken, a revoked key is refused, SIGHUP reloads, readiness is
    /// told, lost lines are counted, and SIGTERM ends the server well.
    fn does_its_work(mut self, loses_lines: bool) {
        assert_eq!(self.post(), 202);
        let reloads = "tell_key_reloads_total{result=\"loaded\"}";
        let before = self.metric(reloads);
        self.signal("HUP");
        wait_for("the reload that SIGHUP asked for", || {
            (self.metric(reloads) > before).then_some(())
        });
        assert_eq!(self.post(), 202);
        write_private(&self.keys(), &format!("{KEY_2}:2:two\n"));
        wait_for("the revoked key to be refused", || {
            (self.post() == 401).then_some(())
        });
        assert_eq!(self.ask(self.metrics, "GET", "/ready", b"").status, 200);
        if loses_lines {
            wait_for("lost lines to be counted", || {
                (self.metric("tell_log_lines_lost_total") > 0).then_some(())
            });
        }
        assert_eq!(self.metric("tell_panics_total"), 0);
        self.signal("TERM");
        assert!(self.end().success());
    }

    fn end(&mut self) -> ExitStatus {
        wait_for("the server to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_whose_reader_is_gone_at_the_start_harms_nothing() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    Server::start(writer).does_its_work(true);
}

#[test]
fn a_log_whose_reader_goes_later_harms_nothing() {
    let (mut reader, writer) = pipe().unwrap();
    let server = Server::start(writer);
    assert!(
        reader.read(&mut [0; 64]).unwrap() > 0,
        "something was logged"
    );
    drop(reader);
    server.does_its_work(true);
}

#[test]
fn a_log_on_a_full_disk_harms_nothing() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    Server::start(full).does_its_work(true);
}

#[test]
fn a_log_whose_reader_does_not_read_harms_nothing() {
    let (reader, mut writer) = pipe().unwrap();
    // What a pipe takes at most without being read, so that the first line of the server finds no room.
    let filled = File::from(std::os::fd::OwnedFd::from(writer.try_clone().unwrap()));
    let flags = rustix::fs::fcntl_getfl(&filled).unwrap();
    rustix::fs::fcntl_setfl(&filled, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&filled, flags).unwrap();
    drop(filled);
    // Lines wait in their queue: it takes long until that is full, and nothing is lost before.
    Server::start(writer).does_its_work(false);
    drop(reader);
}

#[test]
fn a_log_that_is_closed_at_the_start_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0";
    std::fs::create_dir(directory.path().join("tell-data")).unwrap();
    let keys = directory.path().join("tell-data/keys");
    write_private(&keys, &format!("{KEY}:1:one\n"));
    // A shell closes the descriptor; the next file that is opened must not become the log.
    let tell = env!("CARGO_BIN_EXE_tell");
    let line = format!(
        "exec {tell} serve --http {free} --tcp {free} --syslog-tcp off --syslog-udp off --metrics {free} >&- 2>&-"
    );
    let mut child = std::process::Command::new("sh")
        .args(["-c", &line])
        .current_dir(directory.path())
        .spawn()
        .unwrap();
    let told = directory.path().join("tell-data/server.json");
    wait_for("server.json", || std::fs::read(&told).ok());
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-s", "TERM", &pid])
        .status();
    assert!(kill.unwrap().success());
    let ended = wait_for("the server to end", || child.try_wait().unwrap());
    assert!(ended.success());
    let kept = std::fs::read(directory.path().join("tell-data/keys")).unwrap();
    assert_eq!(kept, format!("{KEY}:1:one\n").as_bytes());
}
