//! Whether the time of a refusal tells anything about the keys: answers to unknown keys, to keys one bit off
//! a good one and to good keys, over the real listeners for HTTP and frames, against each other.
//!
//! `cargo bench --bench timing`. It reports Welch's t and asserts nothing. What two kinds of refusals differ
//! by is what would leak; a good key may well take another time, since more is done with it. Refusals come
//! from ever other addresses of 127.0.0.0/8, because repeated ones from one are delayed.
#![allow(clippy::unwrap_used)]

mod sample;
mod serving;

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sample::Random;
use serving::{Server, connect, hex, source};
use tell_server::limits;

/// Answers of each kind and door, and so few that no source has more failures than cost nothing.
const SAMPLES: usize = 8_000;

const _: () = assert!(
    DOORS * 2 * SAMPLES < limits::FAILURE_SOURCES / 10 * 9 * limits::FAILURES_FREE as usize,
    "refusals that are delayed say nothing"
);

/// Keys in the file: enough for lookups to leave the cache.
const KEYS: u128 = 100_000;

/// Beyond this |t| a difference is taken for one (as dudect does).
const T_BOUND: f64 = 4.5;

const DOORS: usize = 2;

/// How long the answer to a key took, from an address.
type Ask = fn(&Server, &[u8; 16], Ipv4Addr) -> Duration;

fn main() {
    let file: String = (0..KEYS).map(|n| format!("{}:1\n", hex(&key(n)))).collect();
    let server = Server::start(&file);
    println!("{KEYS} keys, {SAMPLES} answers of each kind, interleaved");
    let doors: [(&str, Ask); DOORS] = [("http", http), ("tcp", frame)];
    let mut random = Random(11);
    let mut refused = 0;
    for (door, ask) in doors {
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..SAMPLES * 3 {
            let good = key(u128::from(random.next()) % KEYS);
            // In a random order, so that drift of the machine falls on all alike.
            let kind = random.next() as usize % 3;
            let key = match kind {
                0 => key(KEYS + u128::from(random.next())),
                1 => near_miss(good, random.next()),
                _ => good,
            };
            let took = ask(&server, &key, source(refused));
            refused += u32::from(kind != 2);
            times[kind].push(took.as_secs_f64() * 1e6);
        }
        let [unknown, near, known] = &mut times;
        for (name, kind) in [
            ("unknown", &*unknown),
            ("near miss", near),
            ("known", known),
        ] {
            let stats = Stats::of(kind);
            println!(
                "{door:<5} {name:<10} mean {:8.2} us, sd {:7.2}",
                stats.mean,
                stats.sd()
            );
        }
        verdict(door, "unknown", unknown, "near miss", near);
        verdict(door, "unknown", unknown, "known", known);
    }
}

fn verdict(door: &str, a_name: &str, a: &[f64], b_name: &str, b: &[f64]) {
    let t = welch(&Stats::of(&cropped(a)), &Stats::of(&cropped(b)));
    let verdict = if t.abs() < T_BOUND {
        "not told apart"
    } else {
        "told apart"
    };
    println!("{door:<5} {a_name} against {b_name}: t = {t:.2}, {verdict}");
}

/// Without the slowest twentieth: those waited for the machine, not for the server.
fn cropped(times: &[f64]) -> Vec<f64> {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.truncate(times.len() / 20 * 19);
    times
}

struct Stats {
    n: f64,
    mean: f64,
    variance: f64,
}

impl Stats {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self {
            n,
            mean,
            variance: squares / (n - 1.0),
        }
    }

    fn sd(&self) -> f64 {
        self.variance.sqrt()
    }
}

fn welch(a: &Stats, b: &Stats) -> f64 {
    (a.mean - b.mean) / (a.variance / a.n + b.variance / b.n).sqrt()
}

/// From the head of a request to the status line.
fn http(server: &Server, key: &[u8; 16], source: Ipv4Addr) -> Duration {
    let mut stream = connect(source, server.http);
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
        hex(key)
    );
    let start = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    // An empty body is refused as well, after the key: nothing is written to the disk.
    stream.read_exact(&mut [0; 12]).unwrap();
    start.elapsed()
}

/// From a frame to the close of the connection, which a malformed frame behind it brings about for good keys.
fn frame(server: &Server, key: &[u8; 16], source: Ipv4Addr) -> Duration {
    let mut stream = connect(source, server.tcp);
    let batch = tell_encoding::encode_batch(&tell_encoding::BatchParams {
        api_key: key,
        schema_type: tell_encoding::SchemaType::Event,
        version: tell_encoding::DEFAULT_VERSION,
        batch_id: 1,
        data: &[0; 16],
    });
    let mut bytes = (batch.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&batch);
    bytes.extend_from_slice(&[0; 4]);
    let start = Instant::now();
    stream.write_all(&bytes).unwrap();
    // Closed or reset: either is the answer.
    let _ = stream.read(&mut [0; 1]);
    start.elapsed()
}

fn key(n: u128) -> [u8; 16] {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .wrapping_add(1)
        .to_be_bytes()
}

fn near_miss(mut key: [u8; 16], random: u64) -> [u8; 16] {
    let bit = random as usize % 128;
    key[bit / 8] ^= 1 << (bit % 8);
    key
}
