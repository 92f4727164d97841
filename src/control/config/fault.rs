//! What is wrong with a configuration, where, and what would be right.
//!
//! Foreign text in a fault has passed [`shown`](super::text::shown): one line, and never a key.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;

use super::text::{show_size, shown};
use super::{ValueFault, settings};

/// Where a value was written. Ordered as the layers are, highest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WrittenAt {
    /// A flag, without its dashes.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A file; line and column, in characters, count from 1.
    File {
        /// The file's path, as it may be shown.
        path: String,
        /// Line and column, unless the whole file is meant.
        position: Option<(usize, usize)>,
    },
    /// The default.
    Default,
}

impl fmt::Display for WrittenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => f.write_str(name),
            Self::File {
                path,
                position: None,
            } => f.write_str(path),
            Self::File {
                path,
                position: Some((line, column)),
            } => write!(f, "{path}:{line}:{column}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The value cannot be read.
    #[error("`{value}` is not accepted: expected {right}")]
    Unreadable {
        /// The value, as it may be shown.
        value: String,
        /// What would be right.
        right: String,
    },
    /// The value is less or more than is accepted.
    #[error("`{value}` is out of range: expected {right}")]
    OutOfRange {
        /// The value, as it may be shown.
        value: String,
        /// What would be right.
        right: String,
    },
    /// The value is not UTF-8.
    #[error("the value is not UTF-8: expected {right}")]
    NotUtf8 {
        /// What would be right.
        right: String,
    },
    /// The value in the file has a type that the setting does not take.
    #[error("a TOML {found} is not accepted: expected {right}")]
    WrongType {
        /// The type found.
        found: &'static str,
        /// What would be right.
        right: String,
    },
    /// The file has a key that is no setting.
    #[error("unknown setting `{key}`{}", suggestion(*.nearest))]
    UnknownKey {
        /// The key, as it may be shown.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// The file is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// The file is not UTF-8.
    #[error("not UTF-8, as TOML has to be")]
    FileNotUtf8,
    /// The file is too large to be a configuration.
    #[error("the file is larger than {}: expected a configuration file", show_size(*.max))]
    FileTooLarge {
        /// The most that is read, in bytes.
        max: u64,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file `{path}`: {source}")]
    Unopened {
        /// The path, as it may be shown.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Two listeners of one transport have one address.
    #[error(
        "`{addr}` meets the address of `{by}`: expected an address or a port of its own for each"
    )]
    AddressTaken {
        /// The address.
        addr: SocketAddr,
        /// The setting it meets.
        by: &'static str,
    },
    /// A listener lacks what it, or another of its fields, needs.
    #[error("`{needs}` is required")]
    Missing {
        /// The field that is needed.
        needs: &'static str,
    },
    /// A listener waits for PROXY headers, and nobody may send them.
    #[error(
        "nobody may send PROXY headers: expected `trusted_proxies` with the networks of the proxies"
    )]
    NoTrustedProxies,
    /// A bound is smaller than one of the things it has to hold.
    #[error(
        "`{whole}` ({}) cannot hold one `{part}` ({}): expected at least as much",
        show_size(*.whole_bytes),
        show_size(*.part_bytes)
    )]
    TooSmall {
        /// The bound that holds.
        whole: &'static str,
        /// Its value.
        whole_bytes: u64,
        /// The bound on what it holds.
        part: &'static str,
        /// Its value.
        part_bytes: u64,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || "; see the settings in `tell serve --help`".to_owned(),
        |name| format!(": did you mean `{name}`?"),
    )
}

impl Problem {
    pub(super) fn refused(fault: ValueFault, text: &OsStr, right: String) -> Self {
        let value = shown(&text.to_string_lossy());
        match fault {
            ValueFault::NotUtf8 => Self::NotUtf8 { right },
            ValueFault::Unreadable => Self::Unreadable { value, right },
            ValueFault::OutOfRange => Self::OutOfRange { value, right },
        }
    }
}

/// One fault: where, of which setting, and what.
#[derive(Debug)]
pub struct SettingFault {
    /// Where it was written.
    pub place: WrittenAt,
    /// The setting, if it is one.
    pub key: Option<&'static str>,
    /// What is wrong and what would be right.
    pub problem: Problem,
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        // A flag and a variable name their setting; a line and column do not.
        if let (WrittenAt::File { .. } | WrittenAt::Default, Some(key)) = (&self.place, self.key) {
            write!(f, "{key}: ")?;
        }
        write!(f, "{}", self.problem)
    }
}

/// Every fault of a configuration, a line each: by layer, then as the settings are listed, then by
/// line. Never empty.
#[derive(Debug)]
pub struct Faults(Vec<SettingFault>);

impl Faults {
    pub(super) fn new(mut faults: Vec<SettingFault>) -> Self {
        let rank = |fault: &SettingFault| {
            settings::all().position(|setting| Some(setting.key) == fault.key)
        };
        faults.sort_by_cached_key(|fault| match &fault.place {
            WrittenAt::Flag(_) => (0, rank(fault), None),
            WrittenAt::Variable(name) => (1, rank(fault), Some(WrittenAt::Variable(name.clone()))),
            place @ WrittenAt::File { .. } => (2, None, Some(place.clone())),
            WrittenAt::Default => (3, rank(fault), None),
        });
        Self(faults)
    }
}

impl std::ops::Deref for Faults {
    type Target = [SettingFault];

    fn deref(&self) -> &[SettingFault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
