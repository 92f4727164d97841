//! The zone that times without one are in, as a payload keeps it.
//!
//! Only what was in force around the time of receipt is kept, not the name of a zone: rules change, and a row must
//! be the same whenever and wherever it is read.

/// The most changes of a zone's offset that are kept: half a year to both sides, of a zone that also changes for
/// Ramadan.
pub const MAX_CHANGES: usize = 8;

/// The version of the form on disk.
const VERSION: u8 = 1;

/// Offsets over a span of time. UTC is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    first_offset_secs: i32,
    changes: [Change; MAX_CHANGES],
    len: u8,
}

/// From a second of UTC on, another offset holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Seconds since 1970.
    pub at_secs: i64,
    /// Seconds east of UTC.
    pub offset_secs: i32,
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self {
        first_offset_secs: 0,
        changes: [Change {
            at_secs: 0,
            offset_secs: 0,
        }; MAX_CHANGES],
        len: 0,
    };

    /// A zone of this offset and of these changes, which come in order; what is too many is left out.
    pub fn new(first_offset_secs: i32, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut zone = Self {
            first_offset_secs,
            ..Self::UTC
        };
        for (place, change) in zone.changes.iter_mut().zip(changes) {
            *place = change;
            zone.len += 1;
        }
        zone
    }

    /// Whether times without a zone are UTC.
    pub fn is_utc(&self) -> bool {
        *self == Self::UTC
    }

    fn changes(&self) -> &[Change] {
        self.changes
            .get(..usize::from(self.len))
            .unwrap_or_default()
    }

    /// The second of UTC at which clocks of the zone show `local`, counted as if it were UTC.
    ///
    /// Of two, as in the hour that comes twice, the one nearer to `near_secs` is meant; a time that no clock shows
    /// is read with the offset before the change.
    pub fn to_utc(&self, local: i64, near_secs: i64) -> i64 {
        let mut best: Option<i64> = None;
        let mut before_change = local - i64::from(self.first_offset_secs);
        let mut from = i64::MIN;
        let mut offset = self.first_offset_secs;
        let ends = self.changes().iter().map(|change| change.at_secs);
        let next = self.changes().iter().map(|change| change.offset_secs);
        for (end, next) in ends.chain([i64::MAX]).zip(next.chain([offset])) {
            let utc = local - i64::from(offset);
            if utc >= from {
                before_change = utc;
                let is_nearer = |best: i64| utc.abs_diff(near_secs) < best.abs_diff(near_secs);
                if utc < end && best.is_none_or(is_nearer) {
                    best = Some(utc);
                }
            }
            (from, offset) = (end, next);
        }
        best.unwrap_or(before_change)
    }

    /// Appends the form on disk.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, self.len]);
        out.extend_from_slice(&self.first_offset_secs.to_le_bytes());
        for change in self.changes() {
            out.extend_from_slice(&change.at_secs.to_le_bytes());
            out.extend_from_slice(&change.offset_secs.to_le_bytes());
        }
    }

    /// Reads the form on disk, and its length.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[version, len], rest) = bytes.split_first_chunk()?;
        if version != VERSION || usize::from(len) > MAX_CHANGES {
            return None;
        }
        let (first, mut rest) = rest.split_first_chunk()?;
        let mut zone = Self::new(i32::from_le_bytes(*first), []);
        for place in zone.changes.iter_mut().take(usize::from(len)) {
            let (at, behind) = rest.split_first_chunk()?;
            let (offset, behind) = behind.split_first_chunk()?;
            *place = Change {
                at_secs: i64::from_le_bytes(*at),
                offset_secs: i32::from_le_bytes(*offset),
            };
            rest = behind;
        }
        zone.len = len;
        Some((zone, bytes.len() - rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Berlin in 2026: an hour ahead, two from March 29 to October 25, each at 01:00 UTC.
    const SPRING: i64 = 1_774_746_000;
    const AUTUMN: i64 = 1_792_890_000;

    fn berlin() -> Zone {
        let change = |at_secs, offset_secs| Change {
            at_secs,
            offset_secs,
        };
        Zone::new(3600, [change(SPRING, 7200), change(AUTUMN, 3600)])
    }

    #[test]
    fn local_times_are_read_with_the_offset_of_their_own_time() {
        let zone = berlin();
        for (local, near, expected) in [
            (SPRING, 0, SPRING - 3600),
            // 01:59:59 and 03:00:00 are a second apart, 02:30 never is.
            (SPRING + 3599, 0, SPRING - 1),
            (SPRING + 7200, 0, SPRING),
            (SPRING + 5400, 0, SPRING + 1800),
            (AUTUMN, 0, AUTUMN - 7200),
            // 02:30 comes twice.
            (AUTUMN + 5400, AUTUMN - 1900, AUTUMN - 1800),
            (AUTUMN + 5400, AUTUMN + 1900, AUTUMN + 1800),
            (AUTUMN + 7200, 0, AUTUMN + 3600),
        ] {
            assert_eq!(zone.to_utc(local, near), expected, "{local} near {near}");
        }
        assert_eq!(Zone::UTC.to_utc(5, 0), 5);
    }

    #[test]
    fn a_zone_is_read_back_and_what_is_cut_or_of_another_version_is_none() {
        let change = Change {
            at_secs: -1,
            offset_secs: -1,
        };
        for zone in [
            Zone::UTC,
            berlin(),
            Zone::new(-5, [change; MAX_CHANGES + 1]),
        ] {
            let mut bytes = Vec::new();
            zone.write(&mut bytes);
            let len = bytes.len();
            assert_eq!(Zone::read(&bytes[..len - 1]), None);
            bytes.push(7);
            assert_eq!(Zone::read(&bytes), Some((zone, len)));
            bytes[0] = VERSION + 1;
            assert_eq!(Zone::read(&bytes), None);
        }
        let mut bytes = vec![0; 200];
        bytes[..2].copy_from_slice(&[VERSION, MAX_CHANGES as u8 + 1]);
        assert_eq!(Zone::read(&bytes), None);
    }
}
