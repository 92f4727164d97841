//! What is counted for a key while the server runs: on the hot path, without waiting for anybody.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::origin::Source;

/// Counters of one key. 64 bytes, because there may be a million, and one line of the processor's cache,
/// because with as many each use waits for it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Usage {
    frames: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    /// Half as wide as the others, to fit: it stays at its most.
    replaced: AtomicU32,
    last: Mutex<Option<LastUse>>,
}

const _: () = assert!(
    size_of::<Usage>() <= 64,
    "memory per key is stated and bounded"
);

/// The last accepted use of a key. Packed, because it stands in [`Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed)]
pub struct LastUse {
    /// Seconds since 1970; enough until 2106, and half the size of milliseconds.
    pub at_secs: u32,
    /// The kind of listener.
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
    /// U+FFFD put in the place of what is no Unicode, in JSON lines and syslog.
    pub replaced: u64,
    /// The last accepted use.
    pub last: Option<LastUse>,
}

impl Usage {
    /// Adds what was counted earlier, before this process or before the key went and came back.
    pub fn add(&self, earlier: &UsageReading) {
        self.frames.fetch_add(earlier.frames, Ordering::Relaxed);
        self.events.fetch_add(earlier.events, Ordering::Relaxed);
        self.bytes.fetch_add(earlier.bytes, Ordering::Relaxed);
        self.refused.fetch_add(earlier.refused, Ordering::Relaxed);
        self.replaced(earlier.replaced);
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

    /// Counts U+FFFD in the place of what is no Unicode.
    pub fn replaced(&self, characters: u64) {
        let more = u32::try_from(characters).unwrap_or(u32::MAX);
        if more > 0 {
            let add = |count: u32| Some(count.saturating_add(more));
            // The closure always gives a value.
            let _ = self
                .replaced
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// Reads all counters.
    pub fn read(&self) -> UsageReading {
        UsageReading {
            frames: self.frames.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            replaced: u64::from(self.replaced.load(Ordering::Relaxed)),
            last: *self.last.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Counters in a block.
const BLOCK_LEN: usize = 64;

/// Counters that have their memory once one of them is used.
type Block = OnceLock<Box<[Usage; BLOCK_LEN]>>;

/// Where the counters of a key are; stays the same over reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CounterIndex(u32);

impl CounterIndex {
    const fn block(self) -> usize {
        self.0 as usize / BLOCK_LEN
    }
}

/// The counters of a ring's keys, shared with the rings before and after it that hold the key. Of a million
/// keys most are seldom used: their counters take no memory before.
#[derive(Debug, Default)]
pub(super) struct Usages {
    blocks: Vec<Arc<Block>>,
    next: u32,
}

impl Usages {
    /// Those of a ring that follows, with all places of this one.
    pub fn follow(&self) -> Self {
        Self {
            blocks: self.blocks.clone(),
            next: self.next,
        }
    }

    /// A place that no key had before; `None` after 2^32.
    pub fn add(&mut self) -> Option<CounterIndex> {
        let place = CounterIndex(self.next);
        self.next = self.next.checked_add(1)?;
        if place.block() == self.blocks.len() {
            self.blocks.push(Arc::default());
        }
        Some(place)
    }

    /// Gives the blocks back in which no place is kept.
    pub fn keep_only(&mut self, places: impl Iterator<Item = CounterIndex>) {
        let mut kept = vec![false; self.blocks.len()];
        for place in places {
            if let Some(kept) = kept.get_mut(place.block()) {
                *kept = true;
            }
        }
        // Places to come must not share the one that stands for all that were given back.
        if kept.last() == Some(&false) {
            self.next = self.next.next_multiple_of(BLOCK_LEN as u32);
        }
        let nothing = Arc::default();
        for (block, _) in self.blocks.iter_mut().zip(kept).filter(|(_, kept)| !kept) {
            *block = Arc::clone(&nothing);
        }
    }

    /// The counters at a place.
    pub fn at(&self, place: CounterIndex) -> &Usage {
        let block = &self.blocks[place.block()];
        let counters = block.get_or_init(|| Box::new(std::array::from_fn(|_| Usage::default())));
        &counters[place.0 as usize % BLOCK_LEN]
    }

    /// Reads the counters at a place; they take no memory for it.
    pub fn read(&self, place: CounterIndex) -> UsageReading {
        match self.blocks[place.block()].get() {
            Some(_) => self.at(place).read(),
            None => UsageReading::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_shared_with_the_ring_that_follows_and_take_no_memory_unused() {
        let mut first = Usages::default();
        let places: Vec<_> = (0..200).map(|_| first.add().unwrap()).collect();
        first.at(places[0]).refused(1);
        first.at(places[199]).refused(2);
        assert_eq!(first.read(places[100]), UsageReading::default());
        assert!(first.blocks[1].get().is_none(), "nothing of it is used");

        let mut second = first.follow();
        second.keep_only([places[199]].into_iter());
        second.at(places[199]).refused(1);
        assert_eq!(first.read(places[199]).refused, 3);
        assert_eq!(Arc::strong_count(&first.blocks[0]), 1, "given back");
        let new = second.add().unwrap();
        second.at(new).refused(7);
        assert!(!places.contains(&new));
        assert_eq!(second.read(new).refused, 7);
        assert!(places.iter().all(|&place| first.read(place).refused < 4));
    }

    #[test]
    fn earlier_counts_are_added_and_the_last_use_is_the_latest() {
        let last = LastUse::new(5_000_000_000, Source::Http, [127, 0, 0, 1].into());
        let usage = Usage::default();
        usage.accepted(1, 100, 2000, last);
        usage.refused(3);
        usage.replaced(u64::from(u32::MAX) - 1);
        usage.replaced(5);
        let resumed = Usage::default();
        resumed.accepted(1, 1, 1, LastUse { at_secs: 6, ..last });
        resumed.add(&usage.read());
        assert_eq!(
            resumed.read(),
            UsageReading {
                frames: 2,
                events: 101,
                bytes: 2001,
                refused: 3,
                replaced: u64::from(u32::MAX),
                last: Some(LastUse { at_secs: 6, ..last }),
            }
        );
    }
}
