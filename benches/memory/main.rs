//! What peers can make the server hold: each load against a fresh server with default settings, with the most
//! memory that was resident, the most of `/health`'s answer times meanwhile, and what is resident a minute after
//! the peers are gone.
//!
//! `cargo bench --bench memory [-- FILTER]`. It reports and asserts nothing; `BENCH_PROGRAM` names another
//! binary to compare with, `BENCH_REST_SECS` another time than a minute.
#![allow(clippy::unwrap_used)]

mod loads;
#[path = "../serving/mod.rs"]
mod serving;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serving::{Server, connect};

/// The key that some of the loads have.
const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

/// How long a load is held after the last of its connections has sent what it could.
const HELD: Duration = Duration::from_secs(3);

fn main() {
    let filter = std::env::args().skip(1).find(|a| a != "--bench");
    let rest = std::env::var("BENCH_REST_SECS").map_or(60, |s| s.parse().unwrap());
    println!(
        "{:<44}{:>10}{:>10}{:>12}{:>14}",
        "load", "before MB", "peak MB", "after MB", "slowest health"
    );
    for load in loads::all() {
        if filter.as_ref().is_some_and(|f| !load.name.contains(f)) {
            continue;
        }
        let server = Server::start(&format!("{KEY}:1:one\n"));
        let before = server.memory("VmRSS");
        let probe = Probe::start(server.http);
        let held = (load.run)(&server);
        std::thread::sleep(HELD);
        let resident = server.memory("VmRSS");
        drop(held);
        let slowest = probe.stop();
        let peak = server.memory("VmHWM");
        std::thread::sleep(Duration::from_secs(rest));
        println!(
            "{:<44}{:>10}{:>10}{:>12}{:>14.1?}   (held {} MB)",
            load.name,
            before >> 20,
            peak >> 20,
            server.memory("VmRSS") >> 20,
            slowest,
            resident >> 20,
        );
    }
}

/// Asks for `/health` again and again, from an address of its own.
struct Probe {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Duration>,
}

impl Probe {
    fn start(http: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let mut slowest = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let mut stream = connect(Ipv4Addr::new(127, 9, 9, 9), http);
                    let _ = stream
                        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
                    slowest = slowest.max(start.elapsed());
                    std::thread::sleep(Duration::from_millis(50));
                }
                slowest
            })
        };
        Self { over, thread }
    }

    fn stop(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
