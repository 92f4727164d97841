//! How long one client waits for its 202: on an idle server, and while the server is kept busy.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;
use super::figure::{Figure, milliseconds};
use super::load::{self, Load, request};
use super::process::{Process, Setup};
use super::protocol::Protocol;
use super::yardstick::{BLOCK_BYTES, Block};

/// The disk of a virtual machine drifts within seconds, tenfold: what is compared takes turns, in short ones.
const ROUNDS: usize = 100;
const PER_ROUND: usize = 20;

/// Space that the server reserves at a time too.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Under load there are as many requests as fit in this time, for a load of several GB.
const UNDER_LOAD: Duration = Duration::from_secs(8);
const WARM_UP: Duration = Duration::from_secs(1);

/// One event a request.
const ONE: Load = Load {
    protocol: Protocol::HttpBatch,
    batch: 1,
    events: 1,
    connections: 1,
    keys: 1,
    rate: 0,
};

/// One request after the other, against a bare append and sync of one block and a bare answer.
pub fn idle() -> Vec<Figure> {
    let server = Process::server(&Setup::default());
    let hyper = Process::yardstick("hyper");
    let mut server = Waits::new(server.address(ONE.protocol));
    let mut hyper = Waits::new(hyper.address(ONE.protocol));
    let mut appends = Appends::new();
    for _ in 0..ROUNDS {
        server.measure(PER_ROUND);
        appends.measure(PER_ROUND);
        hyper.measure(PER_ROUND);
    }
    let [server, appends, hyper] = [server.took, appends.took, hyper.took].map(Quantiles::of);
    let figure = |name: &str, pick: fn(&Quantiles) -> Duration| {
        let (server, append, hyper) = (pick(&server), pick(&appends), pick(&hyper));
        Figure {
            what: format!("latency: idle, one http client, {name}"),
            measured: milliseconds(server),
            yardstick: format!(
                "{} append + {} hyper",
                milliseconds(append),
                milliseconds(hyper)
            ),
            ratio: Some(server.as_secs_f64() / (append + hyper).as_secs_f64()),
        }
    };
    vec![figure("median", |q| q.median), figure("p99", |q| q.p99)]
}

/// One client on a connection of its own, while others send as fast as they can. It shares its core with
/// them, so that it waits for its turn as well: what that costs shows against the bare server.
pub fn under_load() -> Vec<Figure> {
    let endless = |protocol, batch, connections| Load {
        connections,
        ..Load::new(protocol, batch, u64::MAX)
    };
    let tcp = endless(Protocol::Tcp, 100, 4);
    let http = endless(Protocol::HttpBatch, 1, 64);
    let server = || Process::server(&Setup::default());
    vec![
        while_busy("tcp batch 100 on 4 connections", &server(), tcp),
        while_busy("64 http clients", &server(), http),
        while_busy(
            "64 http clients: bare hyper",
            &Process::yardstick("hyper"),
            http,
        ),
    ]
}

fn while_busy(name: &str, process: &Process, load: Load) -> Figure {
    let stop = AtomicBool::new(false);
    let mut waits = Waits::new(process.address(ONE.protocol));
    let senders = load.prepare(process.address(load.protocol));
    let start = Instant::now();
    let sent = std::thread::scope(|scope| {
        let _stops = StopAtEnd(&stop);
        let others = scope.spawn(|| load::run(senders, &stop));
        std::thread::sleep(WARM_UP);
        let end = Instant::now() + UNDER_LOAD;
        while Instant::now() < end && !others.is_finished() {
            waits.measure(1);
        }
        stop.store(true, Ordering::Relaxed);
        others.join().expect("the load")
    });
    let rate = sent.events as f64 / start.elapsed().as_secs_f64();
    let requests = waits.took.len();
    let quantiles = Quantiles::of(waits.took);
    Figure {
        what: format!("latency: during {name}, p99 to median"),
        measured: format!("{} p99", milliseconds(quantiles.p99)),
        yardstick: format!(
            "{} median of {requests}, at {rate:.0} events/s",
            milliseconds(quantiles.median)
        ),
        ratio: Some(quantiles.p99.as_secs_f64() / quantiles.median.as_secs_f64()),
    }
}

/// Ends the load also where a request of the client fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Requests one after the other.
struct Waits {
    client: Client,
    request: Vec<u8>,
    took: Vec<Duration>,
}

impl Waits {
    fn new(address: SocketAddr) -> Self {
        let mut waits = Self {
            client: Client::new(address),
            request: request(&ONE, address),
            took: Vec::new(),
        };
        // The first ones set things up.
        waits.measure(20);
        waits.took.clear();
        waits
    }

    fn measure(&mut self, times: usize) {
        for _ in 0..times {
            self.took.push(self.client.time(&self.request));
        }
    }
}

/// Appends of one block to a file whose space is reserved, each followed by a sync.
struct Appends {
    _directory: TempDir,
    file: File,
    block: Block,
    at: u64,
    took: Vec<Duration>,
}

impl Appends {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
            .open(directory.path().join("blocks"))
            .expect("a file system with direct I/O");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES)
            .expect("space");
        file.sync_all().expect("sync");
        Self {
            _directory: directory,
            file,
            block: Block::new(BLOCK_BYTES),
            at: 0,
            took: Vec::new(),
        }
    }

    fn measure(&mut self, times: usize) {
        for _ in 0..times {
            let start = Instant::now();
            self.file
                .write_all_at(self.block.bytes(BLOCK_BYTES), self.at)
                .expect("write");
            self.file.sync_data().expect("sync");
            self.took.push(start.elapsed());
            self.at += BLOCK_BYTES as u64;
        }
    }
}

struct Quantiles {
    median: Duration,
    p99: Duration,
}

impl Quantiles {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        assert!(!took.is_empty(), "nothing was measured");
        Self {
            median: took[took.len() / 2],
            p99: took[took.len() * 99 / 100],
        }
    }
}
