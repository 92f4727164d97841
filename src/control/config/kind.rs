//! Kinds of values: what a setting accepts, said for people and read for the program.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use super::Listen;
use super::text::{parse_duration, parse_listen, parse_size, show_duration, show_size};
use crate::journal::JournalLimit;
use crate::network::{CorsOrigins, Networks};
use crate::origin::Workspace;

/// What a setting accepts, for people.
pub trait Accepts: Sync {
    /// What would be right, as the end of "expected …".
    fn right(&self) -> String;

    /// Whether a TOML integer is as good as a string.
    fn takes_integers(&self) -> bool {
        false
    }

    /// Whether a TOML array of strings is as good as a string with commas.
    fn takes_lists(&self) -> bool {
        false
    }

    /// Whether a TOML boolean is as good as a string, and the flag alone means `true`.
    fn takes_booleans(&self) -> bool {
        false
    }
}

/// A kind of value that can be read from text.
pub trait Reads: Accepts {
    /// What is read.
    type Value;

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// Says why the text is no such value.
    fn read(&self, text: &OsStr) -> Result<Self::Value, ValueFault>;
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

fn within<T: PartialOrd>(value: T, min: &T, max: &T) -> Result<T, ValueFault> {
    if value < *min || value > *max {
        return Err(ValueFault::OutOfRange);
    }
    Ok(value)
}

/// A path; what is there is not looked at.
#[derive(Debug)]
pub struct FilePath;

impl Accepts for FilePath {
    fn right(&self) -> String {
        "a path".to_owned()
    }
}

impl Reads for FilePath {
    type Value = PathBuf;

    fn read(&self, text: &OsStr) -> Result<PathBuf, ValueFault> {
        // No path holds a NUL, and TOML can write one.
        if text.is_empty() || text.as_encoded_bytes().contains(&0) {
            return Err(ValueFault::Unreadable);
        }
        Ok(PathBuf::from(text))
    }
}

/// Where a listener binds.
#[derive(Debug)]
pub struct Address;

impl Accepts for Address {
    fn right(&self) -> String {
        "an IP address and port (`127.0.0.1:5000`, `[::1]:5000`; port 0: any free one) or `off`"
            .to_owned()
    }
}

impl Reads for Address {
    type Value = Listen;

    fn read(&self, text: &OsStr) -> Result<Listen, ValueFault> {
        parse_listen(utf8(text)?).ok_or(ValueFault::Unreadable)
    }
}

/// Origins of pages.
#[derive(Debug)]
pub struct Origins;

impl Accepts for Origins {
    fn right(&self) -> String {
        "`*` (any), `off`, or origins between commas (`https://shop.example,http://localhost:3000`)"
            .to_owned()
    }
}

impl Reads for Origins {
    type Value = CorsOrigins;

    fn read(&self, text: &OsStr) -> Result<CorsOrigins, ValueFault> {
        match utf8(text)? {
            "*" => Ok(CorsOrigins::Any),
            "off" => Ok(CorsOrigins::Off),
            list => list
                .split(',')
                .map(|origin| {
                    Some(origin.trim())
                        .filter(|o| is_origin(o))
                        .map(str::to_owned)
                })
                .collect::<Option<_>>()
                .map(CorsOrigins::These)
                .ok_or(ValueFault::Unreadable),
        }
    }
}

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

/// One of a few words.
#[derive(Debug)]
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Sync> Accepts for OneOf<T> {
    fn right(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        match words.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

impl<T: Sync + Copy> Reads for OneOf<T> {
    type Value = T;

    fn read(&self, text: &OsStr) -> Result<T, ValueFault> {
        let text = utf8(text)?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or(ValueFault::Unreadable)
    }
}

/// On or off.
#[derive(Debug)]
pub struct Switch;

impl Accepts for Switch {
    fn right(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn takes_booleans(&self) -> bool {
        true
    }
}

impl Reads for Switch {
    type Value = bool;

    fn read(&self, text: &OsStr) -> Result<bool, ValueFault> {
        utf8(text)?.parse().map_err(|_| ValueFault::Unreadable)
    }
}

/// A size on disk, in bytes.
#[derive(Debug)]
pub struct Size {
    /// The least that is accepted.
    pub min: u64,
    /// The most that is accepted.
    pub max: u64,
}

impl Accepts for Size {
    fn right(&self) -> String {
        format!(
            "a size from {} to {}",
            show_size(self.min),
            show_size(self.max)
        )
    }

    fn takes_integers(&self) -> bool {
        true
    }
}

impl Reads for Size {
    type Value = u64;

    fn read(&self, text: &OsStr) -> Result<u64, ValueFault> {
        let bytes = parse_size(utf8(text)?).ok_or(ValueFault::Unreadable)?;
        within(bytes, &self.min, &self.max)
    }
}

/// A size in memory, in bytes.
#[derive(Debug)]
pub struct Memory(pub Size);

impl Accepts for Memory {
    fn right(&self) -> String {
        self.0.right()
    }

    fn takes_integers(&self) -> bool {
        true
    }
}

impl Reads for Memory {
    type Value = usize;

    fn read(&self, text: &OsStr) -> Result<usize, ValueFault> {
        usize::try_from(self.0.read(text)?).map_err(|_| ValueFault::OutOfRange)
    }
}

/// A limit on disk: a size with a minimum, or left to the free space.
#[derive(Debug)]
pub struct DiskLimit {
    /// The least that is accepted.
    pub min: u64,
}

impl Accepts for DiskLimit {
    fn right(&self) -> String {
        format!(
            "a size of at least {} (`500MB`, `10GiB`), or `auto` (what leaves 10% of the disk free)",
            show_size(self.min)
        )
    }

    fn takes_integers(&self) -> bool {
        true
    }
}

impl Reads for DiskLimit {
    type Value = JournalLimit;

    fn read(&self, text: &OsStr) -> Result<JournalLimit, ValueFault> {
        if text == "auto" {
            return Ok(JournalLimit::TenthFree);
        }
        let bytes = parse_size(utf8(text)?).ok_or(ValueFault::Unreadable)?;
        within(bytes, &self.min, &u64::MAX).map(JournalLimit::Bytes)
    }
}

/// A duration.
#[derive(Debug)]
pub struct Period {
    /// The least that is accepted.
    pub min: Duration,
    /// The most that is accepted.
    pub max: Duration,
}

impl Accepts for Period {
    fn right(&self) -> String {
        format!(
            "a duration from {} to {}, with its unit (`500ms`, `30s`, `2m`)",
            show_duration(self.min),
            show_duration(self.max)
        )
    }
}

impl Reads for Period {
    type Value = Duration;

    fn read(&self, text: &OsStr) -> Result<Duration, ValueFault> {
        let duration = parse_duration(utf8(text)?).ok_or(ValueFault::Unreadable)?;
        within(duration, &self.min, &self.max)
    }
}

/// A number of things.
#[derive(Debug)]
pub struct Count {
    /// The least that is accepted.
    pub min: usize,
    /// The most that is accepted.
    pub max: usize,
}

impl Accepts for Count {
    fn right(&self) -> String {
        format!("a number from {} to {}", self.min, self.max)
    }

    fn takes_integers(&self) -> bool {
        true
    }
}

impl Reads for Count {
    type Value = usize;

    fn read(&self, text: &OsStr) -> Result<usize, ValueFault> {
        let text = utf8(text)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ValueFault::Unreadable);
        }
        // Only digits: what fails now is too large for the type.
        let number = text.parse().map_err(|_| ValueFault::OutOfRange)?;
        within(number, &self.min, &self.max)
    }
}

/// Networks.
#[derive(Debug)]
pub struct NetworkList;

impl Accepts for NetworkList {
    fn right(&self) -> String {
        "networks with commas between them, without host bits (`10.0.0.0/8, ::1`; an array in the file), or \
         `none`"
            .to_owned()
    }

    fn takes_lists(&self) -> bool {
        true
    }
}

impl Reads for NetworkList {
    type Value = Networks;

    fn read(&self, text: &OsStr) -> Result<Networks, ValueFault> {
        utf8(text)?.parse().map_err(|_| ValueFault::Unreadable)
    }
}

/// A workspace.
#[derive(Debug)]
pub struct WorkspaceId;

impl Accepts for WorkspaceId {
    fn right(&self) -> String {
        "a workspace (`1` or `ws-1`)".to_owned()
    }

    fn takes_integers(&self) -> bool {
        true
    }
}

impl Reads for WorkspaceId {
    type Value = Workspace;

    fn read(&self, text: &OsStr) -> Result<Workspace, ValueFault> {
        Workspace::parse(utf8(text)?).ok_or(ValueFault::Unreadable)
    }
}
