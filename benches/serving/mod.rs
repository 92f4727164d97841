//! The server under a bench, and connections to it from ever other addresses.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tell_server::limits;

/// A connection from this address.
pub fn connect(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    // Gone at once, so that tens of thousands do not linger.
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// As many addresses as failures are counted for one by one, in turn.
pub fn source(refused: u32) -> Ipv4Addr {
    let [_, _, c, d] = (refused % limits::FAILURE_SOURCES as u32).to_be_bytes();
    Ipv4Addr::new(127, 1, c, d)
}

/// A key as the key file has it.
pub fn hex(key: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*key))
}

/// A server with its key file, killed when dropped.
pub struct Server {
    child: Child,
    pub http: SocketAddr,
    pub tcp: SocketAddr,
    directory: tempfile::TempDir,
}

impl Server {
    pub fn start(keys: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(directory.path().join("keys"), keys).unwrap();
        let program =
            std::env::var_os("BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_tell").into());
        let mut child = Command::new(program)
            .args(["serve", "--log-format", "json", "--log-level", "info"])
            .args(["--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args([
                "--syslog-tcp",
                "off",
                "--syslog-udp",
                "off",
                "--metrics",
                "off",
            ])
            .arg("--data-dir")
            .arg(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("tell is ready"))
            .unwrap();
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        // What it logs further must not block it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Self {
            child,
            http: address("http"),
            tcp: address("tcp"),
            directory,
        }
    }
}

impl Server {
    /// Its key file.
    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// A line of its `/proc/PID/status`, in bytes.
    pub fn memory(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kb * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
