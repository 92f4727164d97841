//! One share of the memory: what is held of it, and who waits for room in it, first come first served by source.
//!
//! Synchronous, without locks and without a clock: [`Memory`](super::Memory) has those.
//!
//! Sources take turns, one reservation a turn; within a source the first comes first. The head of the turn waits
//! until it fits, and nobody overtakes it, so that what is large is not passed over for ever. Only a source that
//! is at its own bound is passed over, until it gives something back.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::origin::SourceAddress;

/// A share of so many bytes, of which each source may hold so many.
#[derive(Debug)]
pub(super) struct Share<W> {
    bytes: usize,
    bytes_per_source: usize,
    held: usize,
    waiting: usize,
    /// The sources that hold something or wait.
    sources: HashMap<SourceAddress, OfSource<W>>,
    /// The sources whose first waiter lacks nothing but room in the share, in the order of their turns.
    turns: BTreeMap<u64, SourceAddress>,
    next_turn: u64,
}

#[derive(Debug)]
struct OfSource<W> {
    held: usize,
    waiting: VecDeque<Waiter<W>>,
    turn: Option<u64>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter<W> {
    /// Grows with the time of coming.
    pub id: u64,
    /// What it waits for.
    pub bytes: usize,
    /// How it is told.
    pub token: W,
}

impl<W> Share<W> {
    /// An empty share.
    pub fn new(bytes: usize, bytes_per_source: usize) -> Self {
        Self {
            bytes,
            bytes_per_source,
            held: 0,
            waiting: 0,
            sources: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
        }
    }

    /// The bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many bytes, or the most that one reservation can ever get.
    pub fn most(&self, bytes: usize) -> usize {
        bytes.min(self.bytes).min(self.bytes_per_source)
    }

    /// What is held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits whose turn it is, and so many bytes fit.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.turns.is_empty() && self.fits(bytes)
    }

    fn fits(&self, bytes: usize) -> bool {
        self.held + bytes <= self.bytes
    }

    /// Takes bytes if there is room, nobody waits in front, and the source stays below its bound.
    pub fn take(&mut self, source: SourceAddress, bytes: usize) -> bool {
        if !self.has_room(bytes) {
            return false;
        }
        let of_source = self.sources.get(&source);
        if of_source.is_some_and(|of_source| {
            !of_source.waiting.is_empty() || of_source.held + bytes > self.bytes_per_source
        }) {
            return false;
        }
        self.hold(source, bytes);
        true
    }

    /// Takes bytes, whoever waits.
    pub fn hold(&mut self, source: SourceAddress, bytes: usize) {
        self.held += bytes;
        self.of(source).held += bytes;
    }

    fn of(&mut self, source: SourceAddress) -> &mut OfSource<W> {
        self.sources.entry(source).or_insert_with(|| OfSource {
            held: 0,
            waiting: VecDeque::new(),
            turn: None,
        })
    }

    /// Waits behind all others of its source. Ids grow.
    pub fn wait(&mut self, source: SourceAddress, waiter: Waiter<W>) {
        self.waiting += 1;
        self.of(source).waiting.push_back(waiter);
        self.queue_up(source);
    }

    /// Gives bytes back. Who can go on now is what [`next`](Self::next) returns.
    pub fn give_back(&mut self, source: SourceAddress, bytes: usize) {
        self.held -= bytes;
        self.of(source).held -= bytes;
        self.queue_up(source);
        self.forget(source);
    }

    /// Waits no longer. `false`: it does not wait here.
    pub fn leave(&mut self, source: SourceAddress, id: u64) -> bool {
        let Some(of_source) = self.sources.get_mut(&source) else {
            return false;
        };
        let Ok(at) = of_source.waiting.binary_search_by_key(&id, |w| w.id) else {
            return false;
        };
        of_source.waiting.remove(at);
        self.waiting -= 1;
        // Another one stands first now, who may fit where this one did not, or the other way round.
        if at == 0 {
            self.queue_up(source);
        }
        self.forget(source);
        true
    }

    /// The next one who fits, and holds its bytes from now on.
    pub fn next(&mut self) -> Option<Waiter<W>> {
        let (_, &source) = self.turns.first_key_value()?;
        let bytes = self.sources.get(&source)?.waiting.front()?.bytes;
        if !self.fits(bytes) {
            return None;
        }
        self.turns.pop_first();
        let of_source = self.of(source);
        of_source.turn = None;
        let waiter = of_source.waiting.pop_front();
        self.waiting -= 1;
        self.hold(source, bytes);
        self.queue_up(source);
        waiter
    }

    /// Gives a source its turn behind the others, or takes it away, by what its first waiter lacks.
    fn queue_up(&mut self, source: SourceAddress) {
        let Some(of_source) = self.sources.get_mut(&source) else {
            return;
        };
        let is_ready = of_source
            .waiting
            .front()
            .is_some_and(|first| of_source.held + first.bytes <= self.bytes_per_source);
        match of_source.turn {
            None if is_ready => {
                of_source.turn = Some(self.next_turn);
                self.turns.insert(self.next_turn, source);
                self.next_turn += 1;
            }
            Some(turn) if !is_ready => {
                of_source.turn = None;
                self.turns.remove(&turn);
            }
            _ => {}
        }
    }

    fn forget(&mut self, source: SourceAddress) {
        if let Some(of_source) = self.sources.get(&source)
            && of_source.held == 0
            && of_source.waiting.is_empty()
        {
            self.sources.remove(&source);
        }
        if self.sources.is_empty() {
            self.sources.shrink_to_fit();
        }
    }

    /// Checks what must hold at every moment.
    #[cfg(test)]
    pub fn check(&self) {
        assert!(self.held <= self.bytes);
        let held: usize = self.sources.values().map(|s| s.held).sum();
        assert_eq!(held, self.held);
        let waiting: usize = self.sources.values().map(|s| s.waiting.len()).sum();
        assert_eq!(waiting, self.waiting);
        for (source, of_source) in &self.sources {
            assert!(of_source.held <= self.bytes_per_source);
            assert!(of_source.held > 0 || !of_source.waiting.is_empty());
            let is_ready = of_source
                .waiting
                .front()
                .is_some_and(|first| of_source.held + first.bytes <= self.bytes_per_source);
            assert_eq!(of_source.turn.is_some(), is_ready, "{source}");
        }
        let in_turn = self.sources.values().filter(|s| s.turn.is_some()).count();
        assert_eq!(in_turn, self.turns.len());
        // No lost wake-up: whose turn it is does not fit.
        if let Some(source) = self.turns.values().next() {
            let first = self.sources[source].waiting.front().unwrap();
            assert!(!self.fits(first.bytes), "somebody waits who fits");
        }
    }
}
