//! Reloads of a key file with a million keys: how long until the new keys are live, what a running load
//! feels of it, and what a key takes in memory.
//!
//! `cargo bench --bench reload`. It reports and asserts nothing.
#![allow(clippy::unwrap_used)]

mod serving;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serving::{Server, connect, hex, source};

const KEYS: u128 = 1_000_000;
const RELOADS: u128 = 5;
const CLIENTS: usize = 4;

/// How long the load runs undisturbed, to compare with.
const UNDISTURBED: Duration = Duration::from_secs(10);

fn main() {
    let server = Server::start(&line(0));
    let before = server.memory("VmRSS");
    let mut file = KeyFile::new();
    let mut asked = 0;
    let first = reload(&server, file.version(0), 0, &mut asked);
    let each = server.memory("VmRSS").saturating_sub(before) as f64 / KEYS as f64;
    println!("{KEYS} keys, {} MB", file.0.len() / 1_000_000);
    println!("from 1 key to all: live {first:.0?} after the write");
    println!("resident memory: {each:.0} bytes a key");

    let load = Load::start(server.http);
    std::thread::sleep(UNDISTURBED);
    let without = load.take();
    let mut took = Vec::new();
    for version in 1..=RELOADS {
        took.push(reload(&server, file.version(version), version, &mut asked));
    }
    let during = load.stop();
    took.sort_unstable();
    println!(
        "{RELOADS} reloads under load: live {:.0?} to {:.0?} after the write",
        took[0],
        took[took.len() - 1]
    );
    let (without, during) = (p99(without), p99(during));
    println!(
        "p99 of a request: {without:.1?} without, {during:.1?} during reloads, {:.2} times",
        during.as_secs_f64() / without.as_secs_f64()
    );
    let peak = server.memory("VmHWM") / 1_000_000;
    println!("most memory, two keyrings and a file at once: {peak} MB");
}

/// The keys, made beforehand: making them must not be taken for the work of the server.
struct KeyFile(String);

impl KeyFile {
    fn new() -> Self {
        Self((0..KEYS).map(line).collect())
    }

    /// With another last key each time.
    fn version(&mut self, version: u128) -> &str {
        let last = line(KEYS + version);
        self.0.truncate(self.0.len() - last.len());
        self.0.push_str(&last);
        &self.0
    }
}

fn line(n: u128) -> String {
    format!("{}:1\n", hex(&key(n)))
}

/// Writes the file in place and waits until its last key is live.
fn reload(server: &Server, file: &str, version: u128, asked: &mut u32) -> Duration {
    let last = key(KEYS + version);
    std::fs::write(server.key_file(), file).unwrap();
    let written = Instant::now();
    loop {
        // From another address each time: repeated failures of one are delayed.
        let mut stream = connect(source(*asked), server.http);
        *asked += 1;
        if post(&mut stream, &last) == *b"202" {
            return written.elapsed();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn post(stream: &mut TcpStream, key: &[u8; 16]) -> [u8; 3] {
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 13\r\n\r\n{{\"event\":\"e\"}}",
        hex(key)
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let mut n = 0;
    while !answer[..n].ends_with(b"}") {
        n += stream.read(&mut answer[n..]).unwrap();
    }
    [answer[9], answer[10], answer[11]]
}

/// Clients that post one event after the other, and their times.
struct Load {
    done: Arc<AtomicBool>,
    times: Arc<Mutex<Vec<Duration>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(server: SocketAddr) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let times = Arc::new(Mutex::new(Vec::new()));
        let client = |_| {
            let (done, times) = (Arc::clone(&done), Arc::clone(&times));
            std::thread::spawn(move || {
                let mut stream = connect(Ipv4Addr::LOCALHOST, server);
                while !done.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    assert_eq!(post(&mut stream, &key(0)), *b"202");
                    times.lock().unwrap().push(start.elapsed());
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self {
            done,
            times,
            clients,
        }
    }

    /// The times so far.
    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.times.lock().unwrap())
    }

    fn stop(self) -> Vec<Duration> {
        self.done.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        std::mem::take(&mut self.times.lock().unwrap())
    }
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

fn key(n: u128) -> [u8; 16] {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .wrapping_add(1)
        .to_be_bytes()
}
