//! What is counted for a key while the server runs: on the hot path, without waiting for anybody.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::key::KeyId;
use crate::journal::Source;

/// Counters of one key; they survive reloads of the key file. 72 bytes, because there may be a million.
#[derive(Debug)]
pub struct Usage {
    key_id: KeyId,
    frames: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    last: Mutex<Option<LastUse>>,
}

const _: () = assert!(
    size_of::<Usage>() <= 72,
    "memory per key is stated and bounded"
);

/// The last accepted use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Seconds since 1970; enough until 2106, and half the size of milliseconds.
    pub at_secs: u32,
    /// The door.
    pub source: Source,
    /// The sender.
    pub peer: Ipv6Addr,
}

impl LastUse {
    /// A use at this time, nanoseconds since 1970. An IPv4 address is kept as IPv4-mapped.
    pub fn new(at_ns: u64, source: Source, peer: IpAddr) -> Self {
        Self {
            at_secs: u32::try_from(at_ns / 1_000_000_000).unwrap_or(u32::MAX),
            source,
            peer: match peer {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            },
        }
    }
}

/// A reading of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageReading {
    /// Accepted frames, requests or messages.
    pub frames: u64,
    /// Accepted events, log lines, metrics, spans and snapshots.
    pub events: u64,
    /// Accepted payload bytes.
    pub bytes: u64,
    /// Frames, requests or messages with this key that were not accepted.
    pub refused: u64,
    /// The last accepted use.
    pub last: Option<LastUse>,
}

impl Usage {
    /// Counters of the key with this id, all zero.
    pub fn new(key_id: KeyId) -> Self {
        Self {
            key_id,
            frames: AtomicU64::new(0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }

    /// Public id of the key.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Adds what was counted earlier, before this process or before the key went and came back.
    pub fn add(&self, earlier: &UsageReading) {
        self.frames.fetch_add(earlier.frames, Ordering::Relaxed);
        self.events.fetch_add(earlier.events, Ordering::Relaxed);
        self.bytes.fetch_add(earlier.bytes, Ordering::Relaxed);
        self.refused.fetch_add(earlier.refused, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.or(earlier.last);
    }

    /// Counts what was accepted.
    pub fn accepted(&self, frames: u64, events: u64, bytes: u64, last: LastUse) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Another connection is noting its use of the same moment: as good as ours.
        if let Ok(mut slot) = self.last.try_lock() {
            *slot = Some(last);
        }
    }

    /// Counts what was refused although the key is good.
    pub fn refused(&self, frames: u64) {
        self.refused.fetch_add(frames, Ordering::Relaxed);
    }

    /// Reads all counters.
    pub fn read(&self) -> UsageReading {
        UsageReading {
            frames: self.frames.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            last: *self.last.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_counts_are_added_and_the_last_use_is_the_latest() {
        let last = LastUse::new(5_000_000_000, Source::Http, [127, 0, 0, 1].into());
        let usage = Usage::new(KeyId(1));
        usage.accepted(1, 100, 2000, last);
        usage.refused(3);
        let resumed = Usage::new(KeyId(1));
        resumed.accepted(1, 1, 1, LastUse { at_secs: 6, ..last });
        resumed.add(&usage.read());
        assert_eq!(
            resumed.read(),
            UsageReading {
                frames: 2,
                events: 101,
                bytes: 2001,
                refused: 3,
                last: Some(LastUse { at_secs: 6, ..last }),
            }
        );
    }
}
