//! Failed authentications, counted per source address in bounded memory.
//!
//! The offender's own answer is delayed the more it fails; a request with a good key is never looked up
//! here, so nobody is refused or slowed for what others behind the same address do. The log gets at most
//! one line a source a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;
use crate::origin::SourceAddress;

/// Counts failures of the recent past.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<SourceAddress, Window>,
    /// Failures from sources that found no place in the table.
    others: u64,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    failures: u64,
    /// Failures that no log line told of yet.
    untold: u64,
}

/// What a log line tells.
#[derive(Debug, PartialEq, Eq)]
struct FailureSummary {
    source: SourceAddress,
    failures: u64,
}

impl Failures {
    /// Notes a failure and returns how long to delay the answer to it.
    pub fn note(&self, peer: IpAddr) -> Duration {
        let (delay, told) = self.note_at(peer, Instant::now());
        if let Some(told) = told {
            told.log();
        }
        delay
    }

    fn note_at(&self, peer: IpAddr, now: Instant) -> (Duration, Option<FailureSummary>) {
        let source = SourceAddress::of(peer);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.sources.len() >= limits::FAILURE_SOURCES && !table.sources.contains_key(&source) {
            table.others += 1;
            return (delay(limits::FAILURE_SOURCES as u64), None);
        }
        let window = table.sources.entry(source).or_insert(Window {
            since: now,
            failures: 0,
            untold: 0,
        });
        window.failures += 1;
        window.untold += 1;
        // The first failure is told at once; what follows within the minute, by the sweep at its end.
        let told = (window.failures == 1).then(|| window.tell(source));
        (delay(window.failures), told)
    }

    /// Ends the windows that are over, and logs what they hold. To be called every few seconds.
    pub fn sweep(&self) {
        let (told, others) = self.sweep_at(Instant::now());
        told.iter().for_each(FailureSummary::log);
        if others > 0 {
            tracing::warn!(
                failures = others,
                "failed authentications from further sources"
            );
        }
    }

    fn sweep_at(&self, now: Instant) -> (Vec<FailureSummary>, u64) {
        let mut told = Vec::new();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.sources.retain(|source, window| {
            if now.duration_since(window.since) < limits::FAILURE_WINDOW {
                return true;
            }
            if window.untold == 0 {
                return false;
            }
            told.push(window.tell(*source));
            *window = Window {
                since: now,
                failures: 1,
                untold: 0,
            };
            true
        });
        if table.sources.is_empty() {
            table.sources.shrink_to_fit();
        }
        (told, std::mem::take(&mut table.others))
    }
}

impl Window {
    fn tell(&mut self, source: SourceAddress) -> FailureSummary {
        FailureSummary {
            source,
            failures: std::mem::take(&mut self.untold),
        }
    }
}

impl FailureSummary {
    fn log(&self) {
        tracing::warn!(source = %self.source, failures = self.failures, "failed authentications");
    }
}

/// A typing error or two cost nothing; guessing does.
fn delay(failures: u64) -> Duration {
    let beyond = u32::try_from(failures.saturating_sub(limits::FAILURES_FREE)).unwrap_or(u32::MAX);
    limits::FAILURE_DELAY_STEP
        .saturating_mul(beyond)
        .min(limits::FAILURE_DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_logged_once_a_minute_with_all_its_failures() {
        let failures = Failures::default();
        let start = Instant::now();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let told = |failures| FailureSummary {
            source: SourceAddress::of(peer),
            failures,
        };
        assert_eq!(failures.note_at(peer, start).1, Some(told(1)));
        for _ in 0..99 {
            assert_eq!(failures.note_at(peer, start).1, None);
        }
        assert_eq!(failures.sweep_at(start + limits::FAILURE_WINDOW / 2).0, []);
        assert_eq!(
            failures.sweep_at(start + limits::FAILURE_WINDOW).0,
            [told(99)]
        );
        assert_eq!(
            failures.note_at(peer, start + limits::FAILURE_WINDOW).1,
            None,
            "its line was just written"
        );
        assert_eq!(
            failures.sweep_at(start + limits::FAILURE_WINDOW * 2).0,
            [told(1)]
        );
        assert_eq!(failures.sweep_at(start + limits::FAILURE_WINDOW * 3).0, []);
        assert!(
            failures.0.lock().unwrap().sources.is_empty(),
            "a quiet source is forgotten"
        );
    }

    #[test]
    fn the_delay_grows_with_failures_and_is_bounded() {
        let failures = Failures::default();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let delays: Vec<Duration> = (0..1000).map(|_| failures.note(peer)).collect();
        assert_eq!(delays[0], Duration::ZERO);
        assert!(delays.is_sorted());
        assert_eq!(delays[999], limits::FAILURE_DELAY_MAX);
        assert_eq!(
            failures.note(IpAddr::from([192, 0, 2, 2])),
            Duration::ZERO,
            "others are not slowed"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::default();
        for n in 0..3 * limits::FAILURE_SOURCES as u32 {
            failures.note_at(IpAddr::from(n.to_be_bytes()), Instant::now());
        }
        assert_eq!(
            failures.0.lock().unwrap().sources.len(),
            limits::FAILURE_SOURCES
        );
        assert_eq!(
            failures.sweep_at(Instant::now()).1,
            2 * limits::FAILURE_SOURCES as u64
        );
    }
}
