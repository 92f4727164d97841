//! Starts the real server on free ports of 127.0.0.1 in a directory of its own, and reads back what it kept.
//!
//! Everything waits with a deadline and says what it waited for. A server that is dropped is killed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

pub use crate::http_client::{Response, next_response, read_response, request};

/// The key of workspace 1 in every test's key file.
pub const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
/// The key of workspace 2.
pub const KEY_2: &str = "b2c3d4e5f6071829304a5b6c7d8e9f01";
/// A well-formed key that no key file has.
pub const UNKNOWN_KEY: &str = "ffffffffffffffffffffffffffffffff";

/// Longest wait for anything that should happen soon; generous, because two cores run all tests at once.
pub const SOON: Duration = Duration::from_secs(20);

/// How a server is to be started.
#[derive(Debug, Clone)]
pub struct Setup {
    keys: Option<String>,
    args: Vec<String>,
    open_files: Option<u32>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// Two keys: [`KEY`] named `one` in workspace 1, [`KEY_2`] named `two` in workspace 2.
    pub fn new() -> Self {
        Self {
            keys: Some(format!("# test keys\n{KEY}:1:one\n{KEY_2}:2:two\n")),
            args: Vec::new(),
            open_files: None,
            environment: Vec::new(),
        }
    }

    /// Lets the server have so many files open.
    pub fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    /// Another key file; `None` for none, as at the first start.
    pub fn keys(mut self, keys: Option<&str>) -> Self {
        self.keys = keys.map(ToOwned::to_owned);
        self
    }

    /// Further arguments of `tell serve`.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(ToOwned::to_owned));
        self
    }

    /// A variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server and waits until it is ready.
    pub fn start(self) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data_dir = directory.path().join("tell-data");
        fs::create_dir(&data_dir).expect("the data directory");
        if let Some(keys) = &self.keys {
            write_private(&data_dir.join("keys"), keys);
        }
        let mut server = Server {
            directory,
            args: self.args,
            open_files: self.open_files,
            environment: self.environment,
            running: None,
            logs: String::new(),
        };
        server.start();
        server
    }
}

/// Exit code of `tell export` for a workspace that has neither keys nor rows.
const UNKNOWN_WORKSPACE: i32 = 4;

/// A server in its own directory, running or not.
pub struct Server {
    directory: TempDir,
    args: Vec<String>,
    open_files: Option<u32>,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    /// What earlier runs logged.
    logs: String,
}

struct Running {
    child: Child,
    addresses: Addresses,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub tcp: SocketAddr,
    pub http: SocketAddr,
    pub syslog_tcp: SocketAddr,
    pub syslog_udp: SocketAddr,
    pub metrics: SocketAddr,
}

impl Server {
    /// A server with two keys and otherwise default settings.
    pub fn new() -> Self {
        Setup::new().start()
    }

    /// Starts it (again) on free ports and waits until it says that it is ready.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "the server runs already");
        // A test may say otherwise.
        let listen = [
            "--tcp",
            "--http",
            "--syslog-tcp",
            "--syslog-udp",
            "--metrics",
        ];
        let listen = listen
            .into_iter()
            .filter(|flag| !self.args.iter().any(|arg| arg == flag))
            .flat_map(|flag| [flag, "127.0.0.1:0"]);
        let mut child = self
            .command()
            .args(["serve", "--log-format", "json", "--log-level", "debug"])
            .args(listen)
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(String::new()));
        let reader = {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            })
        };
        let mut running = Running {
            child,
            addresses: Addresses {
                tcp: ([127, 0, 0, 1], 0).into(),
                http: ([127, 0, 0, 1], 0).into(),
                syslog_tcp: ([127, 0, 0, 1], 0).into(),
                syslog_udp: ([127, 0, 0, 1], 0).into(),
                metrics: ([127, 0, 0, 1], 0).into(),
            },
            log,
            reader: Some(reader),
        };
        let ready = wait_for("the server to be ready", || {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!(
                    "the server ended at its start: {status}\n{}",
                    running.log.lock().unwrap()
                );
            }
            running.log.lock().unwrap().lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == "tell is ready").then_some(line)
            })
        });
        let address = |name: &str| match ready[name].as_str() {
            Some("off") | None => ([127, 0, 0, 1], 0).into(),
            Some(all) => (all.split(", ").next())
                .and_then(|first| first.parse().ok())
                .expect("an address in the ready line"),
        };
        running.addresses = Addresses {
            tcp: address("tcp"),
            http: address("http"),
            syslog_tcp: address("syslog_tcp"),
            syslog_udp: address("syslog_udp"),
            metrics: address("metrics"),
        };
        self.running = Some(running);
    }

    /// The `tell` binary, with this server's directory as its working directory.
    pub fn command(&self) -> Command {
        match self.open_files {
            None => tell_in(self.directory.path()),
            Some(most) => {
                let mut limited =
                    in_directory(&program("prlimit", "util-linux"), self.directory.path());
                limited.arg(format!("--nofile={most}:{most}"));
                limited.arg(env!("CARGO_BIN_EXE_tell"));
                limited
            }
        }
    }

    /// Runs another command of `tell` to its end.
    pub fn tell(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("tell runs")
    }

    /// Where it listens.
    pub fn at(&self) -> Addresses {
        self.running.as_ref().expect("the server runs").addresses
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").child.id()
    }

    /// The directory it runs in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("tell-data")
    }

    /// The key file.
    pub fn key_file(&self) -> PathBuf {
        self.data_dir().join("keys")
    }

    /// All that was logged so far, by all runs.
    pub fn log(&self) -> String {
        let now = self.running.as_ref().map(|r| r.log.lock().unwrap().clone());
        format!("{}{}", self.logs, now.unwrap_or_default())
    }

    /// Waits until a line of the log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        wait_for(&format!("the log to say {text:?}"), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Sends a signal, by its name for `kill`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill -s {name}");
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the server runs");
        let status = wait_for("the server to end", || running.child.try_wait().unwrap());
        if let Some(reader) = running.reader.take() {
            reader.join().unwrap();
        }
        self.logs.push_str(&running.log.lock().unwrap());
        status
    }

    /// SIGTERM, and the end of the process.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// SIGKILL, and the end of the process.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.wait();
    }

    /// The rows of a table, as `tell export` prints them.
    pub fn export(&self, workspace: u32, table: &str) -> Vec<Value> {
        let output = self.tell(&[
            "export",
            "--workspace",
            &workspace.to_string(),
            "--table",
            table,
        ]);
        // No key is for the workspace of a bound listener: until something came, it is not known.
        if output.status.code() == Some(UNKNOWN_WORKSPACE) {
            return Vec::new();
        }
        assert!(
            output.status.success(),
            "export: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("export prints UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("export prints JSON lines"))
            .collect()
    }

    /// Waits until a table has at least `n` rows, and returns them.
    pub fn wait_for_rows(&self, workspace: u32, table: &str, n: usize) -> Vec<Value> {
        wait_for(
            &format!("{n} rows of {table} in workspace {workspace}"),
            || {
                let rows = self.export(workspace, table);
                (rows.len() >= n).then_some(rows)
            },
        )
    }

    /// Sends one HTTP request on a connection of its own.
    pub fn http(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut stream = TcpStream::connect(self.at().http).expect("connect");
        request(&mut stream, method, target, headers, body)
    }

    /// Asks the listener for those who watch the server.
    pub fn observe(&self, target: &str) -> Response {
        let mut stream = TcpStream::connect(self.at().metrics).expect("connect");
        request(&mut stream, "GET", target, &[], b"")
    }

    /// What a scrape gets.
    pub fn metrics(&self) -> String {
        String::from_utf8(self.observe("/metrics").body).expect("metrics are UTF-8")
    }

    /// The value of a metric, by its name and labels as `/metrics` writes them; 0 where it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let value = |line: &str| line.strip_prefix(series)?.trim().parse().ok();
        self.metrics().lines().find_map(value).unwrap_or(0.0)
    }

    /// The sum over the series of a metric that have all these labels, as `name="value"`.
    pub fn metric_sum(&self, name: &str, labels: &[&str]) -> u64 {
        self.metrics()
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter(|rest| labels.iter().all(|label| rest.contains(label)))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// Posts JSON lines with [`KEY`] and expects them to be accepted.
    pub fn post_events(&self, lines: &str) -> Response {
        let bearer = format!("Bearer {KEY}");
        self.http(
            "POST",
            "/v1/events",
            &[("Authorization", &bearer)],
            lines.as_bytes(),
        )
    }
}

/// The `tell` binary, with a working directory and no settings around.
pub fn tell_in(directory: &Path) -> Command {
    in_directory(Path::new(env!("CARGO_BIN_EXE_tell")), directory)
}

/// A program that works in this directory and finds no settings around.
fn in_directory(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TELL_") {
            command.env_remove(name);
        }
    }
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
            if std::thread::panicking() {
                eprintln!("--- log of the server\n{}", running.log.lock().unwrap());
            }
        }
    }
}

/// Connects from a loopback address that no connection came from before: for those that may be refused,
/// because the answer to a source that failed to authenticate again and again is delayed.
pub fn connect_as_a_stranger(to: SocketAddr) -> TcpStream {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let address = 0x7f01_0000 + NEXT.fetch_add(1, Ordering::Relaxed);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::from_bits(address), 0));
    socket.bind(&from.into()).expect("an address of loopback");
    socket.connect(&to.into()).expect("connect");
    socket.into()
}

/// Tries until `ready` has something, and fails with what was waited for.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {SOON:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the other end closes the connection.
pub fn wait_for_close(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    // Unlike one read, this goes on when a signal to the tests interrupts it.
    match stream.read_exact(&mut [0]) {
        Ok(()) => panic!("the server wrote something"),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(error) => assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "no close within {SOON:?}"
        ),
    }
}

/// Fails with what to install when a program that a test needs is absent.
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("this test needs {name}: apt-get install {package}"))
}

/// Writes a file with mode 0600.
pub fn write_private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("write a file");
}

/// The 16 bytes of a key.
pub fn key_bytes(hex: &str) -> [u8; 16] {
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}
