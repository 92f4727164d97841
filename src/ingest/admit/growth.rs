//! Growing while holding: bodies whose length nobody announced.
//!
//! Who waits while it holds could wait for others who wait for it. So there is a slot, apart from all shares,
//! which has room for all that one body can grow to, and which one body has at a time until it is done. When
//! nothing else is free, the oldest that waits gets the slot when it falls free, and never waits again. So all
//! come to their end, the oldest first.
//!
//! Synchronous, without locks, like [`share`](super::share).

use std::collections::BTreeMap;

/// The slot, and who waits to grow, by age.
#[derive(Debug)]
pub(super) struct Growth<W> {
    slot_bytes: usize,
    /// Who has the slot.
    owner: Option<u64>,
    waiting: BTreeMap<u64, (usize, W)>,
}

impl<W> Growth<W> {
    /// A free slot of so many bytes.
    pub fn new(slot_bytes: usize) -> Self {
        Self {
            slot_bytes,
            owner: None,
            waiting: BTreeMap::new(),
        }
    }

    /// How large the slot is.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Whether the slot is this one's.
    pub fn is_owner(&self, id: u64) -> bool {
        self.owner == Some(id)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Waits to grow by so many bytes. The lower the id, the older.
    pub fn wait(&mut self, id: u64, bytes: usize, token: W) {
        self.waiting.insert(id, (bytes, token));
    }

    /// Waits no longer. `false`: it does not wait.
    pub fn leave(&mut self, id: u64) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// Gives the slot back, if it is this one's.
    pub fn give_back(&mut self, id: u64) {
        if self.is_owner(id) {
            self.owner = None;
        }
    }

    /// The oldest that waits gets the slot, if it is free.
    pub fn next_owner(&mut self) -> Option<(usize, W)> {
        if self.owner.is_some() {
            return None;
        }
        let (id, waiter) = self.waiting.pop_first()?;
        self.owner = Some(id);
        Some(waiter)
    }

    /// The oldest that waits, if what it waits for fits elsewhere.
    pub fn next_if(&mut self, fits: impl FnOnce(usize) -> bool) -> Option<(usize, W)> {
        let (_, (bytes, _)) = self.waiting.first_key_value()?;
        if !fits(*bytes) {
            return None;
        }
        self.waiting.pop_first().map(|(_, waiter)| waiter)
    }
}
