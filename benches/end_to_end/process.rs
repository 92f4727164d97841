//! The processes under load, and what they spend.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::load::{Protocol, hex};
use super::yardstick;

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Keys in the key file; each has a workspace of its own up to 10,000, then they share them.
    pub keys: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { keys: 1 }
    }
}

/// The key with this number.
pub fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A running server or yardstick; killed when dropped.
pub struct Process {
    child: Child,
    directory: TempDir,
    addresses: Vec<(String, SocketAddr)>,
}

impl Process {
    pub fn server(setup: &Setup) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let keys = directory.path().join("keys");
        let mut text = String::new();
        for number in 0..setup.keys {
            writeln!(text, "{}:{}", hex(&key(number)), number % 10_000 + 1).expect("a string");
        }
        std::fs::write(&keys, text).expect("the key file");
        let free = "127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_tell"))
            .args([
                "serve",
                "--log-format",
                "json",
                "--tcp",
                free,
                "--http",
                free,
            ])
            .args([
                "--syslog-tcp",
                free,
                "--syslog-udp",
                free,
                "--metrics",
                "off",
            ])
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .arg("--keys")
            .arg(&keys)
            // All clients share one address here.
            .args(["--max-connections-per-source", "20000"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the server");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("tell is ready"))
            .expect("the server is ready");
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
        let addresses = ["tcp", "http", "syslog_tcp", "syslog_udp"].map(|name| {
            (
                name.to_owned(),
                ready[name]
                    .as_str()
                    .expect("an address")
                    .parse()
                    .expect("an address"),
            )
        });
        // What it logs further must not block it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self {
            child,
            directory,
            addresses: addresses.into(),
        }
    }

    pub fn yardstick(role: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg(format!("{}{role}", yardstick::ARGUMENT))
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a yardstick");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("its address");
        Self {
            child,
            directory,
            addresses: vec![(String::new(), line.trim().parse().expect("an address"))],
        }
    }

    pub fn address(&self, protocol: Protocol) -> SocketAddr {
        let name = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::HttpBatch | Protocol::HttpJson => "http",
            Protocol::SyslogTcp => "syslog_tcp",
            Protocol::SyslogUdp => "syslog_udp",
        };
        let named = self.addresses.iter().find(|(n, _)| n == name);
        named.or(self.addresses.first()).expect("an address").1
    }

    /// User and system time so far, of all threads, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }

    /// The most memory that was resident, MB.
    pub fn peak_resident_mb(&self) -> f64 {
        peak_resident_mb(self.child.id())
    }

    /// Waits until it spends nothing any more.
    pub fn wait_until_quiet(&self) {
        let mut last = self.cpu_seconds();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.cpu_seconds();
            if now - last < 0.015 {
                return;
            }
            last = now;
        }
    }

    /// What the server kept for workspace 1, counted from its journal.
    pub fn events_kept(&self) -> u64 {
        let output = Command::new(env!("CARGO_BIN_EXE_tell"))
            .args([
                "export",
                "--workspace",
                "1",
                "--table",
                "logs",
                "--data-dir",
            ])
            .arg(self.directory.path().join("data"))
            .output()
            .expect("export");
        output.stdout.iter().filter(|&&b| b == b'\n').count() as u64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the bare writer to its end; returns its CPU seconds and its peak memory in MB.
pub fn run_writer(bytes: u64) -> (f64, f64) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg(format!("{}writer", yardstick::ARGUMENT))
        .arg(bytes.to_string())
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the writer");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout"))
        .read_line(&mut line)
        .expect("word that it is done");
    let spent = (cpu_seconds(child.id()), peak_resident_mb(child.id()));
    child.kill().expect("end the writer");
    child.wait().expect("end the writer");
    spent
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("a name")
        .1
        .split_whitespace()
        .collect();
    let ticks = |n: usize| fields[n].parse::<f64>().expect("ticks");
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("VmHWM");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse::<f64>()
        .expect("kB")
        / 1024.0
}
