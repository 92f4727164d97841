//! The syslog daemons that Tell replaces: the real ones, with the same load, into a file on the same disk.
//!
//! Both parse each message as a receiver has to, both write through the page cache and never sync: they
//! promise less than the server does. Each is measured twice: as its manual's first example has it, and told
//! to do many messages at a time.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::disk;
use super::process::Process;

const RSYSLOGD: &str = "/usr/sbin/rsyslogd";

/// Where `.ci/unpack-syslog-ng` puts it.
const SYSLOG_NG: &str = "/opt/tell-tests/syslog-ng";

const LISTENS_WITHIN: Duration = Duration::from_secs(10);

/// A daemon that writes nothing for so long will not write any more.
const WRITES_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Rsyslogd,
    SyslogNg,
}

/// How a daemon is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// A listener, a file, and the settings that it has by itself; but senders are held back, where else
    /// messages would be lost.
    Plain,
    /// The least CPU that was found.
    Fast,
}

impl Tuning {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Fast => "tuned",
        }
    }
}

impl Daemon {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsyslogd => "rsyslogd",
            Self::SyslogNg => "syslog-ng",
        }
    }

    /// Starts it; why not, where it cannot be.
    pub fn start(self, tuning: Tuning) -> Result<Process, String> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let address = free_address();
        let mut command = match self {
            Self::Rsyslogd => rsyslogd(tuning, directory.path(), address)?,
            Self::SyslogNg => syslog_ng(tuning, directory.path(), address)?,
        };
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("it does not start: {error}"))?;
        let mut process = Process::new(child, directory, address);
        let end = Instant::now() + LISTENS_WITHIN;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.ended() {
                return Err(format!("it ended at its start: {status}"));
            }
            if Instant::now() > end {
                return Err("it does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }
}

/// What it writes to.
fn file(directory: &Path) -> PathBuf {
    directory.join("messages")
}

/// Waits until so many messages are in the file, or until no more come; how many there are.
pub fn wait_for_messages(process: &mut Process, expected: u64) -> u64 {
    let Ok(mut file) = File::open(file(process.directory())) else {
        return 0;
    };
    let mut found = 0;
    let mut end = Instant::now() + WRITES_WITHIN;
    while found < expected && Instant::now() < end && process.ended().is_none() {
        // From where the last look ended.
        let more = disk::lines(&mut file);
        if more > 0 {
            found += more;
            end = Instant::now() + WRITES_WITHIN;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    found
}

/// Tuned, with imptcp, its fast receiver of plain TCP. The rule set is run by the receiving threads: with a
/// queue of its own (tried with batches of 2,048 and 16,384) it spends a fifth more. The file is written by a
/// thread of its own, when 256 KB are full or after a second, so that up to a second of what it takes is
/// waiting.
fn rsyslogd(tuning: Tuning, directory: &Path, address: SocketAddr) -> Result<Command, String> {
    if !Path::new(RSYSLOGD).is_file() {
        return Err(format!("{RSYSLOGD} is not there: install rsyslog"));
    }
    let (work, file) = (directory.display(), file(directory));
    let (ip, port, file) = (address.ip(), address.port(), file.display());
    let configuration = match tuning {
        Tuning::Plain => format!(
            "global(workDirectory=\"{work}\")\n\
             module(load=\"imtcp\")\n\
             input(type=\"imtcp\" address=\"{ip}\" port=\"{port}\")\n\
             *.* action(type=\"omfile\" file=\"{file}\")\n"
        ),
        Tuning::Fast => format!(
            "global(workDirectory=\"{work}\")\n\
             module(load=\"imptcp\" threads=\"2\")\n\
             input(type=\"imptcp\" address=\"{ip}\" port=\"{port}\" ruleset=\"all\")\n\
             ruleset(name=\"all\" parser=\"rsyslog.rfc5424\" queue.type=\"Direct\") {{\n\
             action(type=\"omfile\" file=\"{file}\" ioBufferSize=\"256k\" asyncWriting=\"on\" \
             flushOnTXEnd=\"off\" flushInterval=\"1\")\n}}\n"
        ),
    };
    let path = directory.join("rsyslog.conf");
    std::fs::write(&path, configuration).expect("the configuration");
    let mut command = Command::new(RSYSLOGD);
    command.arg("-n").arg("-f").arg(path);
    command.arg("-i").arg(directory.join("pid"));
    Ok(command)
}

/// Tuned, with a thread a connection, 1,000 messages a read and a write, and room for all that may be on the
/// way. Of 100, 1,000 and 10,000 messages it does best with 1,000.
fn syslog_ng(tuning: Tuning, directory: &Path, address: SocketAddr) -> Result<Command, String> {
    let program = Path::new(SYSLOG_NG).join("usr/sbin/syslog-ng");
    if !program.is_file() {
        let program = program.display();
        return Err(format!("{program} is not there: run .ci/unpack-syslog-ng"));
    }
    let modules = Path::new(SYSLOG_NG).join("usr/lib/syslog-ng");
    // The directory with its modules is named after its release, as the configuration has to be.
    let (modules, version) = std::fs::read_dir(&modules)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .find_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
        .ok_or_else(|| format!("it has no modules in {}", modules.display()))?;
    let (options, source, destination) = match tuning {
        Tuning::Plain => ("", "", ""),
        Tuning::Fast => (
            "options { threaded(yes); use-dns(no); dns-cache(no); keep-hostname(yes); stats-freq(0); \
             flush-lines(1000); };\n",
            "max-connections(10) log-fetch-limit(1000) log-iw-size(100000)",
            "log-fifo-size(200000)",
        ),
    };
    let configuration = format!(
        "@version: {version}\n{options}\
         source all {{ network(ip(\"{ip}\") port({port}) transport(\"tcp\") flags(syslog-protocol) \
         {source}); }};\n\
         destination file {{ file(\"{file}\" {destination}); }};\n\
         log {{ source(all); destination(file); flags(flow-control); }};\n",
        ip = address.ip(),
        port = address.port(),
        file = file(directory).display(),
    );
    let path = directory.join("syslog-ng.conf");
    std::fs::write(&path, configuration).expect("the configuration");
    let architecture = std::env::consts::ARCH;
    let libraries = [
        format!("{SYSLOG_NG}/usr/lib/{architecture}-linux-gnu"),
        format!("{SYSLOG_NG}/lib/{architecture}-linux-gnu"),
        format!("{SYSLOG_NG}/usr/lib/syslog-ng"),
    ];
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut command = Command::new(program);
    command
        .args(["--foreground", "--no-caps"])
        .arg(option("cfgfile", &path))
        .arg(option("persist-file", &directory.join("persist")))
        .arg(option("pidfile", &directory.join("pid")))
        .arg(option("control", &directory.join("control")))
        .arg(option("module-path", &modules))
        .env("LD_LIBRARY_PATH", libraries.join(":"));
    Ok(command)
}

/// One that nothing listens on.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address")
}
