//! A lookup in the keyring: hits, misses and near misses (one bit off) over 1 to 1,000,000 keys, and beside it the
//! same in `hashbrown::HashTable`, with the same hash and the same comparison in constant time. The keyring keeps a
//! table of its own only where it is at least 1.3 times as fast as that at 1,000,000 keys used in turn.
//!
//! `cargo bench --bench keyring`. Probes go through the ring in random order, so that a large ring is as
//! cold in the cache as it is with as many senders.
#![allow(clippy::unwrap_used)]

mod sample;

use std::hash::{BuildHasher, RandomState};

use divan::{Bencher, black_box};
use hashbrown::HashTable;
use sample::Random;
use subtle::ConstantTimeEq;
use tell_server::auth::{KeySpec, Keyring};
use tell_server::origin::Workspace;
use tell_server::wire::key::StreamingKey;

const SIZES: [usize; 4] = [1, 1_000, 100_000, 1_000_000];

/// Probes of a bench: more than a second-level cache holds.
const PROBES: usize = 1 << 20;

fn main() {
    for keys in SIZES {
        let before = resident_bytes();
        let ring = ring(keys);
        let each = (resident_bytes().saturating_sub(before)) as f64 / keys as f64;
        if keys > 1_000 {
            println!(
                "memory of a ring of {} keys: {each:.0} bytes a key",
                ring.len()
            );
        }
    }
    divan::main();
}

fn keys(n: usize) -> Vec<[u8; 16]> {
    let mut random = Random(42);
    (0..n).map(|_| random.key()).collect()
}

fn ring(n: usize) -> Keyring {
    let specs = keys(n).into_iter().enumerate().map(|(i, key)| KeySpec {
        key: StreamingKey::from_bytes(key),
        workspace: Workspace::new(i as u32 % 10_000 + 1).unwrap(),
        name: Some(format!("key-{i}").into()),
    });
    Keyring::new(specs.collect(), None)
}

/// The yardstick: each key in a slot with its place, found by the first hash that fits.
struct Hashbrown {
    table: HashTable<([u8; 16], u32)>,
    hasher: RandomState,
}

impl Hashbrown {
    fn new(n: usize) -> Self {
        let hasher = RandomState::new();
        let hash = |key: &[u8; 16]| hasher.hash_one(u128::from_ne_bytes(*key));
        let mut table = HashTable::with_capacity(n);
        for (key, place) in keys(n).into_iter().zip(0..) {
            table.insert_unique(hash(&key), (key, place), |(key, _)| hash(key));
        }
        Self { table, hasher }
    }

    fn lookup(&self, key: &StreamingKey) -> Option<u32> {
        let hash = self.hasher.hash_one(u128::from_ne_bytes(*key.as_bytes()));
        let found = self
            .table
            .find(hash, |(here, _)| bool::from(here.ct_eq(key.as_bytes())));
        found.map(|(_, place)| *place)
    }
}

fn lookups(bencher: Bencher, n: usize, probe: impl Fn(&mut Random, [u8; 16]) -> [u8; 16]) {
    let ring = ring(n);
    measure(bencher, n, probe, |key| ring.lookup(key).is_some());
}

fn hashbrown_lookups(
    bencher: Bencher,
    n: usize,
    probe: impl Fn(&mut Random, [u8; 16]) -> [u8; 16],
) {
    let ring = Hashbrown::new(n);
    measure(bencher, n, probe, |key| ring.lookup(key).is_some());
}

fn measure(
    bencher: Bencher,
    n: usize,
    probe: impl Fn(&mut Random, [u8; 16]) -> [u8; 16],
    lookup: impl Fn(&StreamingKey) -> bool,
) {
    let keys = keys(n);
    let mut random = Random(7);
    let probes: Vec<StreamingKey> = (0..PROBES)
        .map(|_| {
            let key = keys[random.next() as usize % n];
            StreamingKey::from_bytes(probe(&mut random, key))
        })
        .collect();
    let mut i = 0;
    bencher.bench_local(|| {
        i = (i + 1) % PROBES;
        lookup(black_box(&probes[i]))
    });
}

#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1000)]
fn hit(bencher: Bencher, n: usize) {
    lookups(bencher, n, |_, key| key);
}

#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1000)]
fn miss(bencher: Bencher, n: usize) {
    lookups(bencher, n, |random, _| random.key());
}

#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1000)]
fn near_miss(bencher: Bencher, n: usize) {
    lookups(bencher, n, |random, mut key| {
        let bit = random.next() as usize % 128;
        key[bit / 8] ^= 1 << (bit % 8);
        key
    });
}

#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1000)]
fn hashbrown_hit(bencher: Bencher, n: usize) {
    hashbrown_lookups(bencher, n, |_, key| key);
}

#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 1000)]
fn hashbrown_miss(bencher: Bencher, n: usize) {
    hashbrown_lookups(bencher, n, |random, _| random.key());
}

/// Resident memory of this process, bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
