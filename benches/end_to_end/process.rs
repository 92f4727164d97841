//! The processes under load, and what they spend.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::connect;
use super::protocol::{Protocol, key};
use super::sample::hex;
use super::{disk, yardstick};

/// A process that takes longer to come to rest or to its end is stuck.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// The server that is measured: this package's, or in `TELL_BENCH_SERVER` another one, to set two versions side by
/// side with the same loads.
pub fn binary() -> OsString {
    std::env::var_os("TELL_BENCH_SERVER").unwrap_or_else(|| env!("CARGO_BIN_EXE_tell").into())
}

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Keys in the key file; each has a workspace of its own up to 10,000, then they share them.
    pub keys: u64,
    /// Whether metrics can be asked for.
    pub metrics: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            keys: 1,
            metrics: false,
        }
    }
}

/// A running server or yardstick; killed when dropped.
pub struct Process {
    child: Child,
    directory: TempDir,
    addresses: Addresses,
    /// From exec until the server said so.
    pub ready_after: Duration,
}

/// Where it listens, by name; a yardstick has one place without.
type Addresses = Vec<(String, SocketAddr)>;

impl Process {
    pub fn server(setup: &Setup) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut text = String::new();
        for number in 0..setup.keys {
            writeln!(text, "{}:{}", hex(&key(number)), number % 10_000 + 1).expect("a string");
        }
        std::fs::write(directory.path().join("keys"), text).expect("the key file");
        let (child, addresses, ready_after) = serve(directory.path(), setup);
        Self {
            child,
            directory,
            addresses,
            ready_after,
        }
    }

    /// Another program that listens at one place.
    pub fn new(child: Child, directory: TempDir, address: SocketAddr) -> Self {
        Self {
            child,
            directory,
            addresses: vec![(String::new(), address)],
            ready_after: Duration::ZERO,
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its state")
    }

    /// The server again, with the keys and the journal that it had.
    pub fn start_again(&mut self, setup: &Setup) {
        (self.child, self.addresses, self.ready_after) = serve(self.directory.path(), setup);
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill it");
        self.child.wait().expect("its end");
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("stop it");
        let end = Instant::now() + ENDS_WITHIN;
        while self.ended().is_none() {
            assert!(Instant::now() < end, "the server did not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
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
        Self::new(child, directory, line.trim().parse().expect("an address"))
    }

    pub fn address(&self, protocol: Protocol) -> SocketAddr {
        let name = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::HttpBatch | Protocol::HttpJson => "http",
            Protocol::SyslogTcp | Protocol::PlainSyslogTcp => "syslog_tcp",
            Protocol::SyslogUdp => "syslog_udp",
        };
        let named = self.addresses.iter().find(|(n, _)| n == name);
        named.or(self.addresses.first()).expect("an address").1
    }

    /// The datagrams that the kernel and the server itself dropped, as the server's metrics have them.
    pub fn dropped_datagrams(&self) -> [u64; 2] {
        let (_, address) = self
            .addresses
            .iter()
            .find(|(name, _)| name == "metrics")
            .expect("metrics");
        let mut stream = connect(*address);
        let request = "GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("ask");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("metrics");
        ["by=\"kernel\"", "by=\"server\""].map(|by| {
            let dropped = text
                .lines()
                .filter(|line| line.starts_with("tell_udp_dropped_total{") && line.contains(by))
                .map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()));
            dropped.sum::<Option<u64>>().expect("a number")
        })
    }

    /// User and system time so far, of all threads, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }

    /// The most memory that was resident, MB.
    pub fn peak_resident_mb(&self) -> f64 {
        peak_resident_mb(self.child.id())
    }

    /// Memory that is resident now, MB.
    pub fn resident_mb(&self) -> f64 {
        status_mb(self.child.id(), "VmRSS")
    }

    /// What was read from disk for it.
    pub fn read_bytes(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("io");
        let bytes = io
            .lines()
            .find_map(|line| line.strip_prefix("read_bytes: "));
        bytes.expect("read_bytes").parse().expect("a number")
    }

    /// What each of its threads has spent. Those that ended are not in it.
    pub fn nanoseconds_by_thread(&self) -> HashMap<OsString, u64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("threads");
        tasks
            .filter_map(|task| {
                let task = task.ok()?;
                // A thread may end right now.
                let spent = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
                Some((task.file_name(), spent.split(' ').next()?.parse().ok()?))
            })
            .collect()
    }

    /// Waits until it spends nothing any more.
    pub fn wait_until_quiet(&self) {
        let end = Instant::now() + ENDS_WITHIN;
        let mut last = self.cpu_seconds();
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.cpu_seconds();
            if now - last < 0.015 {
                return;
            }
            last = now;
        }
        println!("    ERROR: it does not come to rest");
    }

    /// What the server kept for workspace 1, counted from its journal.
    pub fn events_kept(&self) -> u64 {
        let mut export = Command::new(binary())
            .args(["export", "--workspace", "1", "--table", "logs"])
            .arg("--data-dir")
            .arg(self.data_directory())
            .stdout(Stdio::piped())
            .spawn()
            .expect("export");
        let kept = disk::lines(export.stdout.take().expect("stdout"));
        assert!(export.wait().expect("its end").success(), "export failed");
        kept
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

/// Starts the server in this directory; returns where it listens, and how long it took to get ready.
fn serve(directory: &Path, setup: &Setup) -> (Child, Addresses, Duration) {
    let free = "127.0.0.1:0";
    let start = Instant::now();
    let mut child = Command::new(binary())
        .args(["serve", "--log-format", "json"])
        .args(["--tcp", free, "--http", free])
        .args(["--syslog-tcp", free, "--syslog-udp", free])
        .args(["--metrics", if setup.metrics { free } else { "off" }])
        .arg("--data-dir")
        .arg(directory.join("data"))
        .arg("--keys")
        .arg(directory.join("keys"))
        // All clients share one address here.
        .args(["--max-connections-per-source", "20000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the server");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let mut said = String::new();
    let ready = lines.by_ref().map_while(Result::ok).find(|line| {
        said.push_str(line);
        line.contains("tell is ready")
    });
    let after = start.elapsed();
    let ready =
        ready.unwrap_or_else(|| panic!("the server ended instead of getting ready: {said}"));
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    let addresses = ["tcp", "http", "syslog_tcp", "syslog_udp", "metrics"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), ready[name].as_str()?.parse().ok()?)))
        .collect();
    // What it logs further must not block it.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (child, addresses, after)
}

/// Waits until the process has ended; what it spent in its life, and how it ended.
pub fn cpu_seconds_of_life(mut child: Child) -> (f64, ExitStatus) {
    // What it spent can be read as long as nobody has asked how it ended.
    while !stat(child.id())[0].starts_with('Z') {
        std::thread::sleep(Duration::from_millis(2));
    }
    let cpu = cpu_seconds(child.id());
    (cpu, child.wait().expect("its end"))
}

fn cpu_seconds(pid: u32) -> f64 {
    let fields = stat(pid);
    let ticks = |n: usize| fields[n].parse::<f64>().expect("ticks");
    (ticks(11) + ticks(12)) / 100.0
}

/// The columns of `/proc/PID/stat` from the state on.
fn stat(pid: u32) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    fields.split_whitespace().map(ToOwned::to_owned).collect()
}

fn peak_resident_mb(pid: u32) -> f64 {
    status_mb(pid, "VmHWM")
}

fn status_mb(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.expect(name).parse::<f64>().expect("kB") / 1024.0
}
