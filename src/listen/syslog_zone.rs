//! The zone of senders' clocks, where their times have none: decided at receipt, and kept with the messages.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::ingest::now_ns;
use crate::wire::syslog::Zone;
use crate::wire::syslog::zone::{Change, MAX_CHANGES};

/// Dates without a year are at most half a year away. Longer than that, and a day until the next look.
const SPAN: SignedDuration = SignedDuration::from_hours(200 * 24);

/// How old what was looked up may be, seconds.
const FRESH_SECS: u64 = 24 * 3600;

/// A zone by its rules, and what they come to around now.
#[derive(Debug)]
pub struct ReceiptZone {
    rules: TimeZone,
    around: ArcSwap<Around>,
}

#[derive(Debug)]
struct Around {
    looked_up_secs: i64,
    zone: Zone,
}

impl Default for ReceiptZone {
    fn default() -> Self {
        Self::new(TimeZone::UTC)
    }
}

impl ReceiptZone {
    /// The zone of these rules.
    pub fn new(rules: TimeZone) -> Self {
        let around = ArcSwap::from_pointee(Around::of(&rules, now_secs()));
        Self { rules, around }
    }

    /// What is in force around now.
    pub(super) fn now(&self) -> Zone {
        self.at(now_secs())
    }

    fn at(&self, now_secs: i64) -> Zone {
        let around = self.around.load();
        if around.looked_up_secs.abs_diff(now_secs) < FRESH_SECS {
            return around.zone;
        }
        let around = Around::of(&self.rules, now_secs);
        let zone = around.zone;
        self.around.store(Arc::new(around));
        zone
    }
}

impl Around {
    fn of(rules: &TimeZone, now_secs: i64) -> Self {
        let now = Timestamp::from_second(now_secs).unwrap_or_default();
        let (first, last) = (now.saturating_sub(SPAN), now.saturating_add(SPAN));
        let (first, last) = (first.unwrap_or(now), last.unwrap_or(now));
        let changes = rules.following(first).map(|change| Change {
            at_secs: change.timestamp().as_second(),
            offset_secs: change.offset().seconds(),
        });
        let offset_secs = rules.to_offset(first).seconds();
        let in_span = changes.take_while(|change| change.at_secs < last.as_second());
        Self {
            looked_up_secs: now_secs,
            zone: Zone::new(offset_secs, in_span.take(MAX_CHANGES)),
        }
    }
}

fn now_secs() -> i64 {
    i64::try_from(now_ns() / 1_000_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn the_changes_around_now_are_known_and_looked_up_anew_after_a_day() {
        let zone = ReceiptZone::new(TimeZone::get("Europe/Berlin").unwrap());
        for (now, local, expected) in [
            (
                "2026-11-25T06:00:03Z",
                "2026-11-25T07:00:03Z",
                "2026-11-25T06:00:03Z",
            ),
            (
                "2026-11-25T06:00:03Z",
                "2026-07-01T07:00:03Z",
                "2026-07-01T05:00:03Z",
            ),
            (
                "2026-11-25T06:00:03Z",
                "2027-05-01T07:00:03Z",
                "2027-05-01T05:00:03Z",
            ),
            (
                "2030-07-01T00:00:00Z",
                "2030-03-31T03:00:00Z",
                "2030-03-31T01:00:00Z",
            ),
            (
                "1970-01-01T00:00:00Z",
                "1970-01-01T01:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            let now = secs(now);
            assert_eq!(
                zone.at(now).to_utc(secs(local), now),
                secs(expected),
                "{local}"
            );
        }
        assert!(ReceiptZone::default().now().is_utc());
        let looked_up = zone.around.load().looked_up_secs;
        zone.at(looked_up + 1000);
        assert_eq!(zone.around.load().looked_up_secs, looked_up);
    }

    #[test]
    fn every_zone_that_there_is_keeps_all_its_changes_of_a_year() {
        let now = secs("2026-11-25T00:00:00Z");
        for name in jiff::tz::db().available() {
            let rules = TimeZone::get(name.as_str()).unwrap();
            let around = Around::of(&rules, now);
            for day in -180..180 {
                let at = now + day * 86_400;
                let offset = rules
                    .to_offset(Timestamp::from_second(at).unwrap())
                    .seconds();
                let local = at + i64::from(offset);
                assert_eq!(around.zone.to_utc(local, at), at, "{name} on day {day}");
            }
        }
    }
}
