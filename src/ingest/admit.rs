//! Memory for what has arrived and is not whole yet: unfinished frames and HTTP bodies, over all connections.
//!
//! Whoever holds such bytes accounts for them here; when the bound is reached, what would take more is
//! refused. Anybody may announce 16 MiB, also without a key: this is what keeps them from adding up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound, and what is held of it.
#[derive(Debug)]
pub struct InFlight {
    max_bytes: usize,
    held_bytes: AtomicUsize,
}

impl InFlight {
    /// Room for so many bytes.
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            held_bytes: AtomicUsize::new(0),
        })
    }

    /// What is held right now, bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// An account of nothing yet.
    pub fn account(self: &Arc<Self>) -> Held {
        Held {
            of: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// What one connection or request holds; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    of: Arc<InFlight>,
    bytes: usize,
}

impl Held {
    /// Holds this many bytes from now on. `false`: there is no room for more, and nothing changed.
    #[must_use]
    pub fn hold(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let held = self.of.held_bytes.fetch_add(more, Ordering::Relaxed);
            if held.saturating_add(more) > self.of.max_bytes {
                self.of.held_bytes.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            self.of
                .held_bytes
                .fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_within_the_bound_and_is_given_back() {
        let in_flight = InFlight::new(100);
        let (mut one, mut two) = (in_flight.account(), in_flight.account());
        assert!(one.hold(60));
        assert!(!two.hold(41));
        assert_eq!(in_flight.held_bytes(), 60);
        assert!(two.hold(40));
        assert!(!one.hold(61), "refused, and what was held stays held");
        assert!(one.hold(10));
        assert!(two.hold(90));
        drop(two);
        drop(one);
        assert_eq!(in_flight.held_bytes(), 0);
    }
}
