//! The server before, after and between its work: starting, idling, recovering, and reading back.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::disk;
use super::figure::{Figure, seconds};
use super::load::{self, Load, request};
use super::process::{self, Process, Setup};
use super::protocol::Protocol;

/// What `tell export` reads back.
const EXPORTED_EVENTS: u64 = 1_000_000;

/// How long an idle server is watched.
const IDLE: Duration = Duration::from_secs(20);
/// Until then it still has threads of its start.
const SETTLED: Duration = Duration::from_secs(12);

/// Journal to recover, bytes on disk.
const JOURNAL_BYTES: u64 = 10_000_000_000;
/// With what is sent until the kill.
const JOURNAL_SPACE_BYTES: u64 = 11_500_000_000;
/// A disk that takes longer than this is too slow for the bench.
const FILL_WITHIN: Duration = Duration::from_secs(300);

/// The events of one workspace, read back after the server has stopped, into a file on the same disk.
pub fn export() -> Vec<Figure> {
    let mut server = Process::server(&Setup::default());
    let load = Load::new(Protocol::Tcp, 100, EXPORTED_EVENTS);
    let senders = load.prepare(server.address(load.protocol));
    let sent = load::run(senders, &AtomicBool::new(false));
    server.stop();
    let path = server.directory().join("rows");
    let start = Instant::now();
    let child = Command::new(process::binary())
        .args(["export", "--workspace", "1", "--data-dir"])
        .arg(server.data_directory())
        .stdout(File::create(&path).expect("a file"))
        .stdin(Stdio::null())
        .spawn()
        .expect("start export");
    let (cpu, status) = process::cpu_seconds_of_life(child);
    let took = start.elapsed();
    assert!(status.success(), "export failed: {status}");
    let rows = disk::lines(File::open(&path).expect("the rows"));
    let bytes = path.metadata().expect("the rows").len();
    vec![Figure {
        what: format!("export: {rows} events of {} sent, to a file", sent.events),
        measured: format!("{:.0} /CPU s", rows as f64 / cpu),
        yardstick: format!(
            "{cpu:.2} CPU s, {} in all, {:.0} MB",
            seconds(took),
            bytes as f64 / 1e6
        ),
        ratio: None,
    }]
}

/// A server with one key that nobody sends to.
pub fn idle() -> Vec<Figure> {
    let server = Process::server(&Setup::default());
    std::thread::sleep(SETTLED);
    let start = Instant::now();
    let mut before = server.nanoseconds_by_thread();
    let mut spent = 0;
    while start.elapsed() < IDLE {
        // What a thread that ends has spent is lost since the last look.
        std::thread::sleep(Duration::from_secs(1));
        let after = server.nanoseconds_by_thread();
        spent += after
            .iter()
            .map(|(thread, spent)| spent - before.get(thread).unwrap_or(&0))
            .sum::<u64>();
        before = after;
    }
    let share = spent as f64 / start.elapsed().as_nanos() as f64;
    vec![
        Figure {
            what: "idle server: share of one core".to_owned(),
            measured: format!("{:.4} %", share * 100.0),
            yardstick: format!("over {} s, {} threads", IDLE.as_secs(), before.len()),
            ratio: None,
        },
        Figure {
            what: "idle server: resident memory, one key".to_owned(),
            measured: format!("{:.1} MB", server.resident_mb()),
            yardstick: format!(
                "at most {:.1} MB since its start",
                server.peak_resident_mb()
            ),
            ratio: None,
        },
    ]
}

/// From exec to readiness, without a journal.
pub fn starts() -> Vec<Figure> {
    let median = |keys: u64| {
        let mut servers: Vec<_> = (0..5)
            .map(|_| {
                let server = Process::server(&Setup {
                    keys,
                    ..Setup::default()
                });
                (server.ready_after, server.peak_resident_mb())
            })
            .collect();
        servers.sort_by_key(|(took, _)| *took);
        servers[servers.len() / 2]
    };
    let (one, one_mb) = median(1);
    let (many, many_mb) = median(1_000_000);
    vec![
        Figure {
            what: "start: 1 key, median of 5".to_owned(),
            measured: seconds(one),
            yardstick: format!("{one_mb:.1} MB"),
            ratio: None,
        },
        Figure {
            what: "start: 1000000 keys, median of 5".to_owned(),
            measured: seconds(many),
            yardstick: format!("{many_mb:.1} MB"),
            ratio: Some(many.as_secs_f64() / one.as_secs_f64()),
        },
    ]
}

/// Killed in the middle of a load, with a journal of 10 GB, and started again. The journal is written past
/// the page cache, and what is in it nevertheless is dropped before.
pub fn recovery() -> Vec<Figure> {
    let mut server = Process::server(&Setup::default());
    let empty = server.ready_after;
    let free = disk::free_bytes(server.directory());
    if free < JOURNAL_SPACE_BYTES {
        return vec![Figure {
            what: format!("recovery: ERROR: not measured, {free} bytes are free"),
            measured: String::new(),
            yardstick: format!("{JOURNAL_SPACE_BYTES} are needed"),
            ratio: None,
        }];
    }
    let load = Load::new(Protocol::Tcp, 500, u64::MAX);
    let address = server.address(load.protocol);
    let data = server.data_directory();
    let stop = AtomicBool::new(false);
    let senders = load.prepare(address);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load::run(senders, &stop));
        let start = Instant::now();
        while disk::directory_bytes(&data) < JOURNAL_BYTES
            && start.elapsed() < FILL_WITHIN
            && !load.is_finished()
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
    });
    let bytes = disk::directory_bytes(&data);
    disk::drop_cached(&data);
    server.start_again(&Setup::default());
    let ready = server.ready_after;
    let one = Load::new(Protocol::HttpBatch, 1, 1);
    let address = server.address(one.protocol);
    let answered = Instant::now();
    Client::new(address).time(&request(&one, address));
    let first = ready + answered.elapsed();
    let (read_bytes, peak_mb) = (server.read_bytes(), server.peak_resident_mb());
    server.stop();
    // Afterwards, as the host of a virtual machine remembers what was read once: not to the server's favor.
    disk::drop_cached(&data);
    let read = disk::time_to_read(&data);
    let figure = |what: &str, took: Duration| Figure {
        what: format!(
            "recovery after SIGKILL, {:.2} GB: {what}",
            bytes as f64 / 1e9
        ),
        measured: format!("{}, {peak_mb:.1} MB", seconds(took)),
        yardstick: format!(
            "{} bare read ({} with no journal)",
            seconds(read),
            seconds(empty)
        ),
        ratio: Some(took.as_secs_f64() / read.as_secs_f64()),
    };
    vec![
        figure("ready", ready),
        figure("first 202", first),
        Figure {
            what: "recovery after SIGKILL: read from the disk".to_owned(),
            measured: format!("{:.2} GB", read_bytes as f64 / 1e9),
            yardstick: String::new(),
            ratio: Some(read_bytes as f64 / bytes as f64),
        },
    ]
}
