//! Keeps a message that anybody can cause again and again from filling the log.

use std::time::{Duration, Instant};

use crate::limits;

/// Lets a log line through at most once in [`limits::LOG_INTERVAL`].
#[derive(Debug, Default)]
pub struct LogGate {
    last: Option<Instant>,
}

impl LogGate {
    /// Whether the line may be logged now.
    pub fn open(&mut self) -> bool {
        self.open_at(Instant::now(), limits::LOG_INTERVAL)
    }

    fn open_at(&mut self, now: Instant, interval: Duration) -> bool {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < interval)
        {
            return false;
        }
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gate_opens_once_an_interval() {
        let mut gate = LogGate::default();
        let start = Instant::now();
        let interval = Duration::from_secs(5);
        assert!(gate.open_at(start, interval));
        assert!(!gate.open_at(start + Duration::from_millis(4999), interval));
        assert!(gate.open_at(start + interval, interval));
        assert!(!gate.open_at(start + interval, interval));
    }
}
