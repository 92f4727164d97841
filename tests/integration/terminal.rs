//! `tell serve` as somebody types it: own flags and environment, standard output a terminal, both outputs caught.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::harness::{tell_in, wait_for};

/// Listeners on free ports, all but the one for HTTP.
pub const FREE_PORTS: [&str; 8] = [
    "--tcp",
    "127.0.0.1:0",
    "--syslog-tcp",
    "127.0.0.1:0",
    "--syslog-udp",
    "127.0.0.1:0",
    "--metrics",
    "127.0.0.1:0",
];

/// An address of this machine that nothing listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// A `tell serve` that runs; killed when it is dropped.
pub struct Terminal {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    stdout: Option<JoinHandle<String>>,
}

/// How one ended and what it printed.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Terminal {
    /// Starts `tell serve` with these arguments in a directory.
    pub fn serve<'a>(directory: &Path, args: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = tell_in(directory);
        command.arg("serve").args(args);
        Self::run(command)
    }

    /// Starts a command whose standard output is a terminal.
    pub fn run(mut command: Command) -> Self {
        let terminal = nix::pty::openpty(None, None).expect("a terminal");
        command.stdout(terminal.slave);
        Self::spawn(command, File::from(terminal.master))
    }

    /// Starts a command whose standard output is a pipe.
    pub fn piped(mut command: Command) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdout(writer);
        Self::spawn(command, File::from(std::os::fd::OwnedFd::from(reader)))
    }

    fn spawn(mut command: Command, mut printed: File) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("tell runs");
        // The ends that the child has are its own now: what it prints ends with it.
        drop(command);
        let stdout = std::thread::spawn(move || {
            let mut text = Vec::new();
            // The end of a terminal that nobody has open any more is an error.
            let _ = printed.read_to_end(&mut text);
            String::from_utf8(text)
                .expect("UTF-8")
                .replace("\r\n", "\n")
        });
        let pipe = child.stderr.take().expect("stderr is piped");
        let stderr = Arc::new(Mutex::new(String::new()));
        let reader = {
            let stderr = Arc::clone(&stderr);
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut stderr = stderr.lock().unwrap();
                    stderr.push_str(&line);
                    stderr.push('\n');
                }
            })
        };
        Self {
            child,
            stderr,
            reader: Some(reader),
            stdout: Some(stdout),
        }
    }

    /// Waits until it is ready and returns the line that says so.
    pub fn wait_until_ready(&mut self) -> String {
        wait_for("tell to be ready", || {
            let stderr = self.stderr.lock().unwrap().clone();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("tell ended at its start: {status}\n{stderr}");
            }
            let ready = stderr.lines().find(|line| line.contains("tell is ready"));
            ready.map(ToOwned::to_owned)
        })
    }

    /// SIGTERM, and the end.
    pub fn stop(self) -> Ended {
        let kill = Command::new("kill")
            .args(["-s", "TERM", &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(kill.success(), "kill -s TERM");
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Ended {
        let status = wait_for("tell to end", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let stdout = self.stdout.take().expect("read once").join().unwrap();
        let stderr = self.stderr.lock().unwrap().clone();
        Ended {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
