//! The settings: what can be set, under which names, with which default and bounds. One struct a concern.
//!
//! A new setting is a field here or in [`listen`]; see [`settings!`](super::setting).

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use super::kind::{FILE, SWITCH, Word, count, disk_limit, memory, one_of, period, size};
use super::setting::{Setting, settings};
use super::{Faults, Raw, UnknownVariable};
use crate::control::Files;
use crate::journal::{self, JournalLimit};

pub(super) mod listen;

pub use listen::{BoundWorkspace, ListenConfig, Listener};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Every setting, in the order of the help.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    [
        FilesConfig::SETTINGS,
        ListenConfig::SETTINGS,
        LimitsConfig::SETTINGS,
        JournalConfig::SETTINGS,
        LoggingConfig::SETTINGS,
        ProcessConfig::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

/// The settings that a TOML file may hold: all but the one that names it.
pub fn in_file() -> impl Iterator<Item = &'static Setting> {
    all().filter(|setting| setting.key != FilesConfig::config.key)
}

/// What the process was told to do: every value checked, every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where files are. Every command takes these settings.
    pub files: FilesConfig,
    /// The listeners of one setting each.
    pub listen: ListenConfig,
    /// Every listener but that for metrics: those of one setting each first, then those of the file's tables.
    pub listeners: Vec<Listener>,
    /// What bounds senders.
    pub limits: LimitsConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// The log.
    pub logging: LoggingConfig,
    /// The process.
    pub process: ProcessConfig,
    /// Variables that begin with `TELL_` and are no settings.
    pub unknown_variables: Vec<UnknownVariable>,
}

impl Config {
    /// Turns raw settings into a configuration; does no I/O.
    ///
    /// # Errors
    ///
    /// The faults already found while the layers were read, and every fault of a value.
    pub fn validate(mut raw: Raw) -> Result<Self, Faults> {
        let config = Self::read(&mut raw);
        match config {
            Some(config) if raw.faults.is_empty() => Ok(config),
            _ => Err(Faults::new(raw.faults)),
        }
    }

    fn read(raw: &mut Raw) -> Option<Self> {
        // All is read and checked before the first `?`, so that no fault hides another.
        let files = FilesConfig::read(raw);
        let listen = ListenConfig::read(raw);
        let limits = LimitsConfig::read(raw);
        let journal = JournalConfig::read(raw);
        let logging = LoggingConfig::read(raw);
        let process = ProcessConfig::read(raw);
        let listeners = listen::check(raw);
        check_sizes(raw);

        let mut listen = listen?;
        listen.settle(raw);
        Some(Self {
            files: files?,
            listeners: listen.listeners().chain(listeners).collect(),
            listen,
            limits: limits?,
            journal: journal?,
            logging: logging?,
            process: process?,
            unknown_variables: std::mem::take(&mut raw.unknown_variables),
        })
    }

    /// A setting's value as a flag would say it.
    pub(super) fn show(&self, key: &str) -> Option<String> {
        self.files
            .show(key)
            .or_else(|| self.listen.show(key))
            .or_else(|| self.limits.show(key))
            .or_else(|| self.journal.show(key))
            .or_else(|| self.logging.show(key))
            .or_else(|| self.process.show(key))
    }
}

/// What is bounded by one setting has to fit into what is bounded by another, or it could never be taken in.
fn check_sizes(raw: &mut Raw) {
    for payload in [LimitsConfig::max_frame_size, LimitsConfig::max_body_size] {
        raw.check_holds(&LimitsConfig::max_queued_bytes, &payload, 0);
        raw.check_holds(&LimitsConfig::max_in_flight_bytes, &payload, 0);
        // A record never crosses a segment.
        let overhead = journal::SEGMENT_OVERHEAD_BYTES as u64;
        raw.check_holds(&JournalConfig::segment_size, &payload, overhead);
    }
    raw.check_holds(
        &JournalConfig::journal_limit,
        &JournalConfig::segment_size,
        0,
    );
}

settings! {
    /// Where files are.
    FilesConfig in "Files" {
        /// Configuration file (TOML)
        config: PathBuf = "<./tell.toml, or else /etc/tell/tell.toml, if it exists>"
            or |raw| Some(raw.default_file().to_owned()), FILE;
        /// Directory of everything that is kept
        data_dir: PathBuf = "./tell-data", FILE.named("DIR");
        /// Key file, with the streaming keys and their workspaces
        keys: PathBuf = "<data_dir>/keys"
            or |_| data_dir.as_ref().map(|data_dir| data_dir.join("keys")), FILE;
        /// Refuse a key file that others may read or write, instead of warning
        strict_permissions: bool = "false", SWITCH;
    }
}

impl From<&FilesConfig> for Files {
    fn from(files: &FilesConfig) -> Self {
        Self {
            data_dir: files.data_dir.clone(),
            keys: files.keys.clone(),
        }
    }
}

settings! {
    /// What bounds senders.
    LimitsConfig in "Limits" {
        // The most is what a Linux process may have open at all (`fs.nr_open`, 1,048,576 as shipped).
        /// Connections open at once, all listeners together
        max_connections: usize = "16384", count::<1, { 1 << 20 }>();
        /// Connections open at once from one address (IPv6: one /64), trusted proxies excepted
        max_connections_per_source: usize = "1024", count::<1, { 1 << 20 }>();
        // The most is what nothing may hold a connection longer for.
        /// How long a connection may go without a good key, or pause inside a frame, head or body
        stall_timeout: Duration = "30s", period::<100, 30_000>();
        // The most is the protocol's limit; the least leaves room for an envelope and one short event.
        /// Size of one frame over TCP
        max_frame_size: usize = "16MiB", memory::<KIB, { 16 * MIB }>();
        // A body is held in memory whole.
        /// Size of one HTTP request body, after inflation
        max_body_size: usize = "10MiB", memory::<KIB, { 256 * MIB }>();
        /// Bytes taken in and not yet on disk, before senders are held back
        max_queued_bytes: usize = "32MiB", memory::<KIB, TIB>();
        /// Bytes of unfinished frames and bodies over all connections, before more are refused
        max_in_flight_bytes: usize = "128MiB", memory::<KIB, TIB>();
    }
}

settings! {
    /// The journal.
    JournalConfig in "Journal" {
        /// How large the journal may grow before senders are held back
        journal_limit: JournalLimit = "auto", disk_limit::<MIB>();
        // Smaller segments are files without end; larger ones make the unit in which space is given back too
        // coarse.
        /// Size of one journal segment
        segment_size: u64 = "64MiB", size::<MIB, GIB>();
    }
}

settings! {
    /// The log.
    LoggingConfig in "Logging" {
        /// How log lines are written, to standard error
        log_format: LogFormat = "text", one_of::<LogFormat>().named("FORMAT");
        /// The least severe level that is logged
        log_level: Level = "info", one_of::<Level>().named("LEVEL");
    }
}

settings! {
    /// The process.
    ProcessConfig in "Process" {
        /// How long finishing what is in flight may take
        shutdown_timeout: Duration = "30s", period::<100, 3_600_000>();
        /// Threads that serve connections
        worker_threads: usize = "<number of cores>"
            or |_| Some(std::thread::available_parallelism().map_or(1, NonZero::get)),
            count::<1, 1024>();
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Word for Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("info", Self::INFO),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_names_of_a_setting_agree() {
        for setting in all() {
            assert_eq!(setting.flag, setting.key.replace('_', "-"));
            assert_eq!(
                setting.variable,
                format!("TELL_{}", setting.key.to_uppercase())
            );
        }
    }

    #[test]
    fn no_setting_is_listed_twice_and_each_says_what_it_does() {
        let mut keys: Vec<&str> = all().map(|setting| setting.key).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        for setting in all() {
            let ends = [setting.help.chars().next(), setting.help.chars().last()];
            assert!(ends[0].is_some_and(char::is_uppercase), "{setting:?}");
            assert_ne!(ends[1], Some('.'), "{setting:?}");
        }
    }
}
