//! Requests with an `Idempotency-Key`: one that comes again is answered as the first time and stores nothing.
//!
//! That a request was taken is part of its journal record ([`Mark`]), so that the two cannot come apart. Here
//! is the index over those records: in memory, bounded, and saved beside the journal with the position that
//! it covers, so that a start reads only what was appended after it ([`saved`]).
//!
//! Only what was accepted is remembered, also in part. The answer is not: the same body is judged the same
//! way again, down to the numbers of its bad lines.

pub mod saved;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::journal::Mark;
use crate::limits;
use crate::origin::KeyId;

/// The `Idempotency-Key` of a request.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKey<'a>(&'a [u8]);

impl<'a> IdempotencyKey<'a> {
    /// Takes visible ASCII and blanks inside it, of a length within the limit.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let fits = (1..=limits::IDEMPOTENCY_KEY_BYTES).contains(&value.len());
        let is_printable = value.iter().all(|b| (b' '..=b'~').contains(b));
        (fits && is_printable).then_some(Self(value))
    }

    /// The mark of a request with this key. Half a SHA-256 is enough: to find two that are alike takes 2^64
    /// tries, and would only spoil the finder's own requests, because the streaming key is in it.
    pub fn mark(self, key_id: KeyId, endpoint: &str, body: &[u8]) -> Mark {
        Mark {
            request: digest(&[
                b"tell idempotent request\0",
                &key_id.0.to_le_bytes(),
                self.0,
            ]),
            body: digest(&[b"tell idempotent body\0", endpoint.as_bytes(), b"\0", body]),
        }
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&digest.finalize()[..16]);
    half
}

/// A request that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Which, and what it said.
    pub mark: Mark,
    /// The server's clock then, nanoseconds since 1970.
    pub at_ns: u64,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Begin {
    /// It is the first: do it.
    First(Claim),
    /// It was taken before.
    Repeated,
    /// Another with this key was taken before.
    Other,
    /// It is being done: ask again when this changes or closes.
    Running(watch::Receiver<()>),
}

/// The index.
#[derive(Debug, Default)]
pub struct Index(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: HashMap<[u8; 16], Remembered>,
    /// The same, in the order that they were taken in.
    order: VecDeque<Remembered>,
    running: HashMap<[u8; 16], watch::Receiver<()>>,
}

impl Index {
    /// Judges a request that comes now.
    pub fn begin(self: &Arc<Self>, mark: Mark, now_ns: u64) -> Begin {
        let mut state = self.lock();
        if let Some(taken) = state.taken.get(&mark.request)
            && !is_over(taken, now_ns)
        {
            return if taken.mark.body == mark.body {
                Begin::Repeated
            } else {
                Begin::Other
            };
        }
        if let Some(running) = state.running.get(&mark.request) {
            return Begin::Running(running.clone());
        }
        let (ended, running) = watch::channel(());
        state.running.insert(mark.request, running);
        Begin::First(Claim {
            index: Arc::clone(self),
            mark,
            _ended: ended,
        })
    }

    /// Adds what was taken, unless it is known.
    pub fn add(&self, taken: Remembered) {
        self.lock().add(taken);
    }

    /// Resolves when everything that is being done now is done.
    pub async fn quiet(&self) {
        let running: Vec<_> = self.lock().running.values().cloned().collect();
        for mut running in running {
            // Nothing is ever sent: it closes.
            let _ = running.changed().await;
        }
    }

    /// All that is remembered, the oldest first.
    pub fn snapshot(&self) -> Vec<Remembered> {
        self.lock().order.iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, taken: Remembered) {
        if let Some(known) = self.taken.get(&taken.mark.request)
            && !is_over(known, taken.at_ns)
        {
            return;
        }
        self.taken.insert(taken.mark.request, taken);
        self.order.push_back(taken);
        while let Some(oldest) = self.order.front()
            && (self.order.len() > limits::IDEMPOTENT_REQUESTS || is_over(oldest, taken.at_ns))
        {
            if self.taken.get(&oldest.mark.request) == Some(oldest) {
                self.taken.remove(&oldest.mark.request);
            }
            self.order.pop_front();
        }
    }
}

fn is_over(taken: &Remembered, now_ns: u64) -> bool {
    u128::from(now_ns.saturating_sub(taken.at_ns)) > limits::IDEMPOTENCY_WINDOW.as_nanos()
}

/// The right to do a request, and to be the only one. Dropped, it lets the next one try.
#[derive(Debug)]
pub struct Claim {
    index: Arc<Index>,
    mark: Mark,
    _ended: watch::Sender<()>,
}

impl Claim {
    /// The request was taken, and is durable.
    pub fn taken(self, at_ns: u64) {
        let mark = self.mark;
        self.index.add(Remembered { mark, at_ns });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Who waits is told when the sender goes, after this.
        self.index.lock().running.remove(&self.mark.request);
    }
}
