//! Kinds of values: what a setting accepts, said for people and read for the program.
//!
//! A kind is a value of [`Kind`]; one that has bounds is a function of them.

use std::ffi::OsStr;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::Listen;
use super::text::{parse_duration, parse_listen, parse_size, show_duration, show_size};
use crate::journal::JournalLimit;
use crate::network::{CorsOrigins, Networks};
use crate::origin::Workspace;

/// Which TOML type is as good as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toml {
    /// No other.
    Text,
    /// An integer.
    Integer,
    /// A boolean; the flag alone means `true`.
    Boolean,
    /// An array of strings, in place of a string with commas.
    List,
}

/// A kind of value.
pub struct Kind<T> {
    /// What stands for a value in the help.
    name: &'static str,
    toml: Toml,
    /// What would be right, as the end of "expected …".
    right: fn() -> String,
    read: fn(&OsStr) -> Result<T, ValueFault>,
    /// A value as a flag would say it.
    show: fn(&T) -> String,
    /// What a value amounts to, where it is compared with those of other settings.
    amount: fn(&T) -> Option<u64>,
}

/// A kind of value whose type does not matter.
pub trait Accepts: Sync {
    /// What stands for a value in the help.
    fn name(&self) -> &'static str;

    /// What would be right, as the end of "expected …".
    fn right(&self) -> String;

    /// Which TOML type is as good as a string.
    fn toml(&self) -> Toml;

    /// What the text amounts to, if it is a value and can be compared with those of other settings.
    fn amount_of(&self, text: &OsStr) -> Option<u64>;
}

impl<T> Accepts for Kind<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn right(&self) -> String {
        (self.right)()
    }

    fn toml(&self) -> Toml {
        self.toml
    }

    fn amount_of(&self, text: &OsStr) -> Option<u64> {
        (self.amount)(&self.read(text).ok()?)
    }
}

impl<T> Kind<T> {
    const fn new(
        name: &'static str,
        right: fn() -> String,
        read: fn(&OsStr) -> Result<T, ValueFault>,
        show: fn(&T) -> String,
    ) -> Self {
        Self {
            name,
            toml: Toml::Text,
            right,
            read,
            show,
            amount: |_| None,
        }
    }

    const fn or_toml(mut self, toml: Toml) -> Self {
        self.toml = toml;
        self
    }

    /// The same under another name in the help.
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// Says why the text is no such value.
    pub fn read(&self, text: &OsStr) -> Result<T, ValueFault> {
        (self.read)(text)
    }

    /// A value as a flag would say it.
    pub fn show(&self, value: &T) -> String {
        (self.show)(value)
    }
}

/// Why a text is not a value of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFault {
    /// It is not UTF-8.
    NotUtf8,
    /// It cannot be read as the kind.
    Unreadable,
    /// It can be read, but is less or more than is accepted.
    OutOfRange,
}

fn utf8(text: &OsStr) -> Result<&str, ValueFault> {
    text.to_str().ok_or(ValueFault::NotUtf8)
}

fn parsed<T: FromStr>(text: &OsStr) -> Result<T, ValueFault> {
    utf8(text)?.parse().map_err(|_| ValueFault::Unreadable)
}

fn within<T: PartialOrd>(value: T, min: T, max: T) -> Result<T, ValueFault> {
    if value < min || value > max {
        return Err(ValueFault::OutOfRange);
    }
    Ok(value)
}

fn bytes_within(text: &OsStr, min: u64, max: u64) -> Result<u64, ValueFault> {
    let bytes = parse_size(utf8(text)?).ok_or(ValueFault::Unreadable)?;
    within(bytes, min, max)
}

fn written<T: Display>(value: &T) -> String {
    value.to_string()
}

/// A path; what is there is not looked at.
pub const FILE: Kind<PathBuf> = Kind::new(
    "FILE",
    || "a path".to_owned(),
    |text| {
        // No path holds a NUL, and TOML can write one.
        if text.is_empty() || text.as_encoded_bytes().contains(&0) {
            return Err(ValueFault::Unreadable);
        }
        Ok(PathBuf::from(text))
    },
    |path| path.display().to_string(),
);

/// Where a listener binds.
pub const ADDRESS: Kind<Listen> = Kind::new(
    "ADDR:PORT|off",
    || {
        "an address and port (`127.0.0.1:5000`, `[::1]:5000`, `localhost:5000`; `:5000`: all addresses; \
         port 0: any free one) or `off`"
            .to_owned()
    },
    |text| parse_listen(utf8(text)?).ok_or(ValueFault::Unreadable),
    |listen| listen.map_or_else(|| "off".to_owned(), |address| address.to_string()),
);

/// A time zone. `local` is what the server itself goes by: `TZ`, or `/etc/localtime`.
pub const TIME_ZONE: Kind<TimeZone> = Kind::new(
    "ZONE",
    || "`local` (the server's own) or the name of a time zone (`Europe/Berlin`, `UTC`)".to_owned(),
    |text| match utf8(text)? {
        "local" => Ok(TimeZone::system()),
        name => TimeZone::get(name).map_err(|_| ValueFault::Unreadable),
    },
    |zone| zone.iana_name().unwrap_or("local").to_owned(),
);

/// Origins of pages.
pub const ORIGINS: Kind<CorsOrigins> = Kind::new(
    "*|off|ORIGIN,…",
    || {
        "`*` (any), `off`, or origins between commas (`https://shop.example,http://localhost:3000`)"
            .to_owned()
    },
    |text| match utf8(text)? {
        "*" => Ok(CorsOrigins::Any),
        "off" => Ok(CorsOrigins::Off),
        list => list
            .split(',')
            .map(|origin| Some(origin.trim().to_owned()).filter(|o| is_origin(o)))
            .collect::<Option<_>>()
            .map(CorsOrigins::These)
            .ok_or(ValueFault::Unreadable),
    },
    |origins| match origins {
        CorsOrigins::Any => "*".to_owned(),
        CorsOrigins::Off => "off".to_owned(),
        CorsOrigins::These(list) => list.join(","),
    },
);

/// Whether a browser would write an origin so: scheme and host, and a port where it is not the usual one.
/// A path, even a final `/`, never stands in one, so such an entry would never match.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

/// A value that is one of a few words.
pub trait Word: Copy + PartialEq + 'static {
    /// Each word with what it means.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of a few words.
pub const fn one_of<T: Word>() -> Kind<T> {
    Kind::new(
        "WORD",
        || {
            let words: Vec<String> = T::WORDS
                .iter()
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            match words.split_last() {
                Some((last, rest)) if !rest.is_empty() => {
                    format!("{} or {last}", rest.join(", "))
                }
                _ => words.concat(),
            }
        },
        |text| {
            let text = utf8(text)?;
            let found = T::WORDS.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or(ValueFault::Unreadable)
        },
        |value| {
            let found = T::WORDS.iter().find(|(_, of)| of == value);
            found.map_or_else(String::new, |(word, _)| (*word).to_owned())
        },
    )
}

/// On or off.
pub const SWITCH: Kind<bool> =
    Kind::new("BOOL", || "`true` or `false`".to_owned(), parsed, written).or_toml(Toml::Boolean);

/// A size on disk, in bytes.
pub const fn size<const MIN: u64, const MAX: u64>() -> Kind<u64> {
    let mut kind = Kind::new(
        "SIZE",
        || format!("a size from {} to {}", show_size(MIN), show_size(MAX)),
        |text| bytes_within(text, MIN, MAX),
        |bytes: &u64| show_size(*bytes),
    )
    .or_toml(Toml::Integer);
    kind.amount = |bytes| Some(*bytes);
    kind
}

/// A size in memory, in bytes.
pub const fn memory<const MIN: u64, const MAX: u64>() -> Kind<usize> {
    let mut kind = Kind::new(
        "SIZE",
        || format!("a size from {} to {}", show_size(MIN), show_size(MAX)),
        |text| usize::try_from(bytes_within(text, MIN, MAX)?).map_err(|_| ValueFault::OutOfRange),
        |bytes: &usize| show_size(*bytes as u64),
    )
    .or_toml(Toml::Integer);
    kind.amount = |bytes| Some(*bytes as u64);
    kind
}

/// A limit on disk: a size with a minimum, or left to the free space.
pub const fn disk_limit<const MIN: u64>() -> Kind<JournalLimit> {
    let mut kind = Kind::new(
        "SIZE",
        || {
            format!(
                "a size of at least {} (`500MB`, `10GiB`), or `auto` (what leaves 10% of the disk free)",
                show_size(MIN)
            )
        },
        |text| match text.to_str() {
            Some("auto") => Ok(JournalLimit::TenthFree),
            _ => bytes_within(text, MIN, u64::MAX).map(JournalLimit::Bytes),
        },
        |limit| match limit {
            JournalLimit::TenthFree => "auto".to_owned(),
            JournalLimit::Bytes(bytes) => show_size(*bytes),
        },
    )
    .or_toml(Toml::Integer);
    kind.amount = |limit| match limit {
        JournalLimit::TenthFree => None,
        JournalLimit::Bytes(bytes) => Some(*bytes),
    };
    kind
}

/// A duration, between bounds in milliseconds.
pub const fn period<const MIN_MS: u64, const MAX_MS: u64>() -> Kind<Duration> {
    Kind::new(
        "DURATION",
        || {
            format!(
                "a duration from {} to {}, with its unit (`500ms`, `30s`, `2m`)",
                show_duration(Duration::from_millis(MIN_MS)),
                show_duration(Duration::from_millis(MAX_MS))
            )
        },
        |text| {
            let duration = parse_duration(utf8(text)?).ok_or(ValueFault::Unreadable)?;
            let (min, max) = (Duration::from_millis(MIN_MS), Duration::from_millis(MAX_MS));
            within(duration, min, max)
        },
        |duration| show_duration(*duration),
    )
}

/// A number of things.
pub const fn count<const MIN: usize, const MAX: usize>() -> Kind<usize> {
    Kind::new(
        "N",
        || format!("a number from {MIN} to {MAX}"),
        |text| {
            let text = utf8(text)?;
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(ValueFault::Unreadable);
            }
            // Only digits: what fails now is too large for the type.
            let number = text.parse().map_err(|_| ValueFault::OutOfRange)?;
            within(number, MIN, MAX)
        },
        written,
    )
    .or_toml(Toml::Integer)
}

/// Networks, or none.
pub const NETWORKS: Kind<Networks> = Kind::new(
    "NETWORKS",
    || {
        "networks with commas between them, without host bits (`10.0.0.0/8, ::1`; an array in the file), or \
         `none`"
            .to_owned()
    },
    parsed,
    written,
)
.or_toml(Toml::List);

/// A workspace.
pub const WORKSPACE: Kind<Workspace> = Kind::new(
    "WORKSPACE",
    || "a workspace (`1` or `ws-1`)".to_owned(),
    |text| Workspace::parse(utf8(text)?).ok_or(ValueFault::Unreadable),
    |workspace| workspace.to_string(),
)
.or_toml(Toml::Integer);
