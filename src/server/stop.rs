//! The end of a server: everything that is waited for, within one deadline.

use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::limits;

/// Until when the server may take to stop.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// `shutdown_timeout`.
    pub allowed: Duration,
    at: Instant,
}

impl Deadline {
    /// The stop begins now, and may take so long.
    pub fn starting_now(allowed: Duration) -> Self {
        Self {
            allowed,
            at: Instant::now() + allowed,
        }
    }

    /// When it is reached.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// Does something that may take for ever, on a thread of its own; `None` where the deadline came first. Then the
    /// thread is left behind, and ends with the process.
    pub fn within<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, finished) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || {
            // Nobody waits any more where this fails.
            let _ = done.send(work());
        });
        started.ok()?;
        finished.recv_timeout(self.left()).ok()
    }

    /// Waits until a thread that was told to stop has ended; returns whether it did in time.
    pub fn join<T>(&self, thread: &JoinHandle<T>) -> bool {
        while !thread.is_finished() {
            if self.left().is_zero() {
                return false;
            }
            std::thread::sleep(limits::JOIN_POLL.min(self.left()));
        }
        true
    }

    fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_left_behind_and_what_ends_in_time_is_not() {
        let deadline = Deadline::starting_now(Duration::from_secs(30));
        assert_eq!(deadline.within("quick", || 7), Some(7));
        assert!(deadline.join(&std::thread::spawn(|| {})));
        let over = Deadline::starting_now(Duration::ZERO);
        let (_keep, never) = channel::<()>();
        let hangs = std::thread::spawn(move || never.recv());
        assert!(!over.join(&hangs));
        let (_keep, never) = channel::<()>();
        assert_eq!(over.within("slow", move || never.recv().is_ok()), None);
    }
}
