//! A wall-clock time in milliseconds, written as RFC 3339 in files and output.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970-01-01T00:00:00Z, at most the end of the year 9999: RFC 3339 has four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The system's clock; a clock before 1970 counts as 1970.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// This many milliseconds since 1970, at most [`Timestamp::MAX`].
    pub const fn from_ms(ms: u64) -> Self {
        if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since 1970.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Parses an RFC 3339 time from 1970 on; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let ms = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
        u64::try_from(ms).ok().map(Self::from_ms)
    }

    fn rfc3339(self, precision: SecondsFormat) -> String {
        i64::try_from(self.0)
            .ok()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or(DateTime::UNIX_EPOCH)
            .to_rfc3339_opts(precision, true)
    }

    /// To the second, for tables that people read.
    pub fn to_seconds(self) -> String {
        self.rfc3339(SecondsFormat::Secs)
    }
}

/// RFC 3339 in UTC, to the millisecond.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339(SecondsFormat::Millis))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time from 1970 on")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_and_read_back() {
        let time = Timestamp::from_ms(1_735_787_045_006);
        assert_eq!(time.to_string(), "2025-01-02T03:04:05.006Z");
        assert_eq!(time.to_seconds(), "2025-01-02T03:04:05Z");
        assert_eq!(
            Timestamp::parse("2025-01-02T04:04:05.006+01:00"),
            Some(time)
        );
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn a_time_out_of_range_is_cut_to_four_digit_years() {
        let time = Timestamp::from_ms(u64::MAX);
        assert_eq!(time.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
    }
}
