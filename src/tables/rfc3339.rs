//! Times as the tables show them: RFC 3339 in UTC.

use crate::tables::row::TimeNs;

const NS_A_SECOND: i64 = 1_000_000_000;
const NS_A_DAY: i64 = 86_400 * NS_A_SECOND;

/// Digits after the seconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fraction {
    /// Three digits; the rest is cut.
    Millis,
    /// Nine digits.
    Nanos,
}

/// Appends for example `2026-01-31T23:59:59.000Z`.
pub(super) fn write_time(out: &mut Vec<u8>, time_ns: TimeNs, fraction: Fraction) {
    let (year, month, day) = civil(time_ns.div_euclid(NS_A_DAY));
    let of_day = time_ns.rem_euclid(NS_A_DAY);
    let second = of_day / NS_A_SECOND;
    let ns = of_day % NS_A_SECOND;
    digits(out, year, 1000);
    out.push(b'-');
    digits(out, month, 10);
    out.push(b'-');
    digits(out, day, 10);
    out.push(b'T');
    digits(out, second / 3600, 10);
    out.push(b':');
    digits(out, second / 60 % 60, 10);
    out.push(b':');
    digits(out, second % 60, 10);
    out.push(b'.');
    match fraction {
        Fraction::Millis => digits(out, ns / 1_000_000, 100),
        Fraction::Nanos => digits(out, ns, 100_000_000),
    }
    out.push(b'Z');
}

/// Appends the decimal digits of `value`, the first of the place `place`.
fn digits(out: &mut Vec<u8>, value: i64, mut place: i64) {
    while place > 0 {
        out.push(b'0' + (value / place % 10).unsigned_abs() as u8);
        place /= 10;
    }
}

const DAYS_IN_400_YEARS: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
///
/// Years are counted from March here, so that the leap day is the last day of a year, and months have
/// 30.6 days on average, which 153 days in 5 months make exact.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + DAYS_BEFORE_1970;
    let cycle = day.div_euclid(DAYS_IN_400_YEARS);
    let day = day.rem_euclid(DAYS_IN_400_YEARS);
    let leap_days = day / 1_460 - day / 36_524 + day / 146_096;
    let year = (day - leap_days) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (cycle * 400 + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    use super::*;

    fn shown(time_ns: i64, fraction: Fraction) -> String {
        let mut out = Vec::new();
        write_time(&mut out, time_ns, fraction);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn leap_days_and_the_ends_of_the_range_are_right() {
        for (time_ns, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400 * NS_A_SECOND, "2000-02-29T00:00:00.000000000Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(shown(time_ns, Fraction::Nanos), expected);
        }
    }

    proptest! {
        #[test]
        fn every_time_is_shown_as_chrono_shows_it(time_ns: i64) {
            let time = DateTime::from_timestamp_nanos(time_ns);
            let expected = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
            prop_assert_eq!(shown(time_ns, Fraction::Nanos), expected);
            let expected = time.to_rfc3339_opts(SecondsFormat::Millis, true);
            prop_assert_eq!(shown(time_ns, Fraction::Millis), expected);
        }
    }
}
