//! Configuration: raw settings of three layers become one validated [`Config`], or every fault of
//! all layers at once.
//!
//! Flags win over the environment, the environment over the TOML file, the file over the default. A
//! value that a higher layer overrides is checked all the same, so that removing a flag never uncovers
//! a fault. What the settings are stands in [`settings`]; this file decides which value counts and
//! whether the values fit together. It opens no socket and creates no file.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod edit;
mod effective;
mod environment;
mod fault;
mod file;
#[doc(hidden)]
pub mod fuzz;
mod kind;
mod listeners;
mod reference;
pub mod settings;
mod text;

pub use effective::{Effective, effective};
pub use fault::{Faults, Problem, SettingFault, WrittenAt};
pub use kind::{Accepts, Reads, ValueFault};
pub use listeners::{BoundWorkspace, Listener};
pub use reference::reference;
pub use settings::{AnySetting, SETTINGS, Section, Setting};
pub use text::{show_duration, show_size};

use kind::Address;
use listeners::RawListener;

use crate::control::Files;
use crate::journal::{self, JournalLimit};
use crate::network::{CorsOrigins, Networks};
use crate::origin::Source;

/// Where a listener binds, or `None` where it is off.
pub type Listen = Option<SocketAddr>;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the process was told to do: every value checked, every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory of the journal and the tables. It may not exist yet.
    pub data_dir: PathBuf,
    /// The key file. It may not exist yet.
    pub keys: PathBuf,
    /// Frames over TCP.
    pub tcp: Listen,
    /// HTTP ingest and health.
    pub http: Listen,
    /// Syslog over TCP.
    pub syslog_tcp: Listen,
    /// Syslog over UDP.
    pub syslog_udp: Listen,
    /// Scrapes, liveness and readiness.
    pub metrics: Listen,
    /// Further listeners, of the file.
    pub listen: Vec<Listener>,
    /// Whether a listener without an address is open to the network.
    pub allow_network_access: bool,
    /// Whose `X-Forwarded-For` and PROXY headers are believed.
    pub trusted_proxies: Networks,
    /// Whose batches may name the address that they came from.
    pub forwarders: Networks,
    /// Origins whose pages may send over HTTP.
    pub cors_origins: CorsOrigins,
    /// Whether a key file that others may read or write is refused.
    pub strict_permissions: bool,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// The least severe level that is logged.
    pub log_level: tracing::Level,
    /// How large the journal may grow; never less than one segment.
    pub journal_limit: JournalLimit,
    /// Bytes of one journal segment.
    pub segment_size: u64,
    /// Connections open at once, all TCP listeners together.
    pub max_connections: usize,
    /// Connections open at once from one source, all TCP listeners together.
    pub max_connections_per_source: usize,
    /// How long a connection may make no progress.
    pub stall_timeout: Duration,
    /// Bytes of one frame's payload, over TCP.
    pub max_frame_size: usize,
    /// Bytes of one HTTP request body, after inflation.
    pub max_body_size: usize,
    /// Bytes taken in but not yet committed; never less than one frame or one body.
    pub max_queued_bytes: usize,
    /// How much unfinished frames and bodies may take over all connections, bytes.
    pub max_in_flight_bytes: usize,
    /// How long a drain may take.
    pub shutdown_timeout: Duration,
    /// Threads of the runtime.
    pub worker_threads: usize,
}

impl Config {
    /// Reads all layers: the flags given here, the environment given here, and the file that they
    /// name, or `tell.toml` of the working directory where there is one and they name none.
    ///
    /// # Errors
    ///
    /// Every fault of every layer.
    pub fn load(
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Faults> {
        Self::load_in(Path::new(""), flags, environment)
    }

    /// As [`Config::load`], with `dir` in the role of the working directory for the default file.
    fn load_in(
        dir: &Path,
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Faults> {
        Self::validate(Raw::load_in(dir, flags, environment))
    }

    /// Turns raw settings into a configuration; does no I/O.
    ///
    /// # Errors
    ///
    /// The faults already found while the layers were read, and every fault of a value.
    pub fn validate(mut raw: Raw) -> Result<Self, Faults> {
        let config = raw.assemble();
        match config {
            Some(config) if raw.faults.is_empty() => Ok(config),
            _ => Err(Faults::new(raw.faults)),
        }
    }

    /// Every listener but that for metrics: those of the flat settings first.
    pub fn listeners(&self) -> impl Iterator<Item = Listener> {
        let flat = [
            (Source::Tcp, self.tcp),
            (Source::Http, self.http),
            (Source::SyslogTcp, self.syslog_tcp),
            (Source::SyslogUdp, self.syslog_udp),
        ];
        flat.into_iter()
            .filter_map(|(source, address)| Some(Listener::flat(source, address?)))
            .chain(self.listen.iter().cloned())
    }

    /// The two places every command works on.
    #[must_use]
    pub fn files(&self) -> Files {
        Files {
            data_dir: self.data_dir.clone(),
            keys: self.keys.clone(),
        }
    }
}

/// The file that flags and environment name, or the default one; it may not exist.
#[must_use]
pub fn file_path(flags: Flags, environment: Environment) -> PathBuf {
    let mut raw = Raw::default();
    raw.add_flags(flags);
    raw.add_environment(environment);
    raw.first(&settings::CONFIG)
        .map_or_else(|| file::DEFAULT_NAME.into(), |value| (&value.text).into())
}

/// What is wrong with a name that no setting of the file has.
#[must_use]
pub fn unknown_setting(key: &str) -> Problem {
    Problem::UnknownKey {
        key: text::shown(key),
        nearest: text::nearest(key, settings::in_file().map(|setting| setting.key)),
    }
}

/// Variables with their values.
pub type Environment = Vec<(OsString, OsString)>;

/// Settings as flags, in the order given.
pub type Flags = Vec<(&'static AnySetting, OsString)>;

/// One value as it was written, and where.
#[derive(Debug)]
struct RawValue {
    key: &'static str,
    place: WrittenAt,
    text: OsString,
}

/// Settings as they were written, highest layer first, with the faults found while reading them.
#[derive(Debug, Default)]
pub struct Raw {
    values: Vec<RawValue>,
    listeners: Vec<RawListener>,
    faults: Vec<SettingFault>,
}

impl Raw {
    /// Reads all layers.
    fn load(flags: Flags, environment: Environment) -> Self {
        Self::load_in(Path::new(""), flags, environment)
    }

    fn load_in(
        dir: &Path,
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut raw = Self::default();
        raw.add_flags(flags);
        raw.add_environment(environment);
        let named = raw
            .first(&settings::CONFIG)
            .map(|value| (PathBuf::from(&value.text), value.place.clone()));
        match file::read(named, &dir.join(file::DEFAULT_NAME)) {
            Ok(Some((path, text))) => raw.add_file(&path, &text),
            Ok(None) => {}
            Err(fault) => raw.faults.push(fault),
        }
        raw
    }

    /// Adds the command line.
    pub fn add_flags(&mut self, flags: Flags) {
        for (setting, text) in flags {
            self.add(setting, WrittenAt::Flag(setting.flag), text);
        }
    }

    /// Adds the `TELL_…` variables; others are not ours.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        environment::read(variables, self);
    }

    /// Adds the text of a TOML file; `path` only says where a fault is.
    pub fn add_file(&mut self, path: &Path, text: &str) {
        file::parse(path, text, self);
    }

    fn add(&mut self, setting: &'static AnySetting, place: WrittenAt, text: OsString) {
        self.values.push(RawValue {
            key: setting.key,
            place,
            text,
        });
    }

    fn first<K: ?Sized>(&self, setting: &Setting<K>) -> Option<&RawValue> {
        self.values.iter().find(|value| value.key == setting.key)
    }

    /// Where the value that counts was written.
    fn place_of<K: ?Sized>(&self, setting: &Setting<K>) -> WrittenAt {
        self.first(setting)
            .map_or(WrittenAt::Default, |value| value.place.clone())
    }

    /// The value that counts, or `default()` where no layer has one; `None` after a fault.
    fn take_or_else<K: Reads>(
        &mut self,
        setting: &Setting<K>,
        default: impl FnOnce(&mut Self) -> Option<K::Value>,
    ) -> Option<K::Value> {
        let mut winner = None;
        for value in self.values.iter().filter(|value| value.key == setting.key) {
            let read = read_value(setting, &value.place, &value.text);
            let read = read.map_err(|fault| self.faults.push(fault)).ok();
            winner.get_or_insert(read);
        }
        winner.unwrap_or_else(|| default(self))
    }

    /// The value that counts, or the default as the table of settings has it; `None` after a fault.
    fn take<K: Reads>(&mut self, setting: &Setting<K>) -> Option<K::Value> {
        self.take_or_else(setting, |raw| {
            read_value(setting, &WrittenAt::Default, OsStr::new(setting.default))
                .map_err(|fault| raw.faults.push(fault))
                .ok()
        })
    }

    fn assemble(&mut self) -> Option<Config> {
        // Every setting is taken before the first `?`, so that no fault hides another.
        self.take_or_else(&settings::CONFIG, |_| None);
        let data_dir = self.take(&settings::DATA_DIR);
        let keys = self.take_or_else(&settings::KEYS, |_| {
            data_dir.as_ref().map(|data_dir| data_dir.join("keys"))
        });
        let allow_network_access = self.take(&settings::ALLOW_NETWORK_ACCESS);
        let open = allow_network_access == Some(true);
        let tcp = self.take_flat(Source::Tcp, &settings::TCP, open);
        let http = self.take_flat(Source::Http, &settings::HTTP, open);
        let syslog_tcp = self.take_flat(Source::SyslogTcp, &settings::SYSLOG_TCP, open);
        let syslog_udp = self.take_flat(Source::SyslogUdp, &settings::SYSLOG_UDP, open);
        let trusted_proxies = self.take(&settings::TRUSTED_PROXIES);
        let forwarders = self.take(&settings::FORWARDERS);
        let metrics = self.take(&settings::METRICS);
        let cors_origins = self.take(&settings::CORS_ORIGINS);
        let strict_permissions = self.take(&settings::STRICT_PERMISSIONS);
        let log_format = self.take(&settings::LOG_FORMAT);
        let log_level = self.take(&settings::LOG_LEVEL);
        let journal_limit = self.take(&settings::JOURNAL_LIMIT);
        let segment_size = self.take(&settings::SEGMENT_SIZE);
        let max_connections = self.take(&settings::MAX_CONNECTIONS);
        let max_connections_per_source = self.take(&settings::MAX_CONNECTIONS_PER_SOURCE);
        let stall_timeout = self.take(&settings::STALL_TIMEOUT);
        let max_frame_size = self.take(&settings::MAX_FRAME_SIZE);
        let max_body_size = self.take(&settings::MAX_BODY_SIZE);
        let max_queued_bytes = self.take(&settings::MAX_QUEUED_BYTES);
        let max_in_flight_bytes = self.take(&settings::MAX_IN_FLIGHT_BYTES);
        let shutdown_timeout = self.take(&settings::SHUTDOWN_TIMEOUT);
        let worker_threads = self.take_or_else(&settings::WORKER_THREADS, |_| {
            Some(std::thread::available_parallelism().map_or(1, NonZero::get))
        });

        self.check_addresses(&[
            (&settings::TCP, tcp.flatten()),
            (&settings::HTTP, http.flatten()),
            (&settings::SYSLOG_TCP, syslog_tcp.flatten()),
            (&settings::METRICS, metrics.flatten()),
            (&settings::SYSLOG_UDP, syslog_udp.flatten()),
        ]);
        if trusted_proxies.as_ref().is_some_and(Networks::is_empty) {
            let places = self.listeners.iter().filter_map(|l| l.proxy_place.clone());
            self.faults.extend(places.map(|place| SettingFault {
                place,
                key: Some("proxy_protocol"),
                problem: Problem::NoTrustedProxies,
            }));
        }
        let widen = |bytes: Option<usize>| bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let (queued, in_flight) = (widen(max_queued_bytes), widen(max_in_flight_bytes));
        for (setting, payload) in [
            (&settings::MAX_FRAME_SIZE, widen(max_frame_size)),
            (&settings::MAX_BODY_SIZE, widen(max_body_size)),
        ] {
            // A record never crosses a segment.
            let record = payload.map(|bytes| bytes + journal::SEGMENT_OVERHEAD_BYTES as u64);
            self.check_holds(&settings::MAX_QUEUED_BYTES, queued, setting, payload);
            self.check_holds(&settings::MAX_IN_FLIGHT_BYTES, in_flight, setting, payload);
            self.check_holds(&settings::SEGMENT_SIZE, segment_size, setting, record);
        }
        if let Some(JournalLimit::Bytes(limit)) = journal_limit {
            self.check_holds(
                &settings::JOURNAL_LIMIT,
                Some(limit),
                &settings::SEGMENT_SIZE,
                segment_size,
            );
        }

        Some(Config {
            data_dir: data_dir?,
            keys: keys?,
            tcp: tcp?,
            http: http?,
            syslog_tcp: syslog_tcp?,
            syslog_udp: syslog_udp?,
            metrics: metrics?,
            listen: self.listeners.drain(..).map(|l| l.listener).collect(),
            allow_network_access: allow_network_access?,
            trusted_proxies: trusted_proxies?,
            forwarders: forwarders?,
            cors_origins: cors_origins?,
            strict_permissions: strict_permissions?,
            log_format: log_format?,
            log_level: log_level?,
            journal_limit: journal_limit?,
            segment_size: segment_size?,
            max_connections: max_connections?,
            max_connections_per_source: max_connections_per_source?,
            stall_timeout: stall_timeout?,
            max_frame_size: max_frame_size?,
            max_body_size: max_body_size?,
            max_queued_bytes: max_queued_bytes?,
            max_in_flight_bytes: max_in_flight_bytes?,
            shutdown_timeout: shutdown_timeout?,
            worker_threads: worker_threads?,
        })
    }

    /// An address of the flat settings. Its default gives way to listeners of the file.
    fn take_flat(
        &mut self,
        source: Source,
        setting: &Setting<Address>,
        open: bool,
    ) -> Option<Listen> {
        if self.first(setting).is_none()
            && self.listeners.iter().any(|l| l.listener.source == source)
        {
            return Some(None);
        }
        let is_default = self.first(setting).is_none();
        let mut address = self.take(setting)?;
        if let Some(address) = &mut address
            && is_default
            && open
        {
            address.set_ip(Ipv6Addr::UNSPECIFIED.into());
        }
        Some(address)
    }

    /// `whole` has to be large enough for one `part`, or that part could never be taken in.
    fn check_holds<W, P>(
        &mut self,
        whole: &Setting<W>,
        whole_bytes: Option<u64>,
        part: &Setting<P>,
        part_bytes: Option<u64>,
    ) {
        let (Some(whole_bytes), Some(part_bytes)) = (whole_bytes, part_bytes) else {
            return;
        };
        if whole_bytes < part_bytes {
            let (place, key) =
                (self.place_of(whole), whole.key).min((self.place_of(part), part.key));
            self.faults.push(SettingFault {
                place,
                key: Some(key),
                problem: Problem::TooSmall {
                    whole: whole.key,
                    whole_bytes,
                    part: part.key,
                    part_bytes,
                },
            });
        }
    }
}

fn read_value<K: Reads>(
    setting: &Setting<K>,
    place: &WrittenAt,
    text: &OsStr,
) -> Result<K::Value, SettingFault> {
    setting.kind.read(text).map_err(|refusal| SettingFault {
        place: place.clone(),
        key: Some(setting.key),
        problem: Problem::refused(refusal, text, setting.kind.right()),
    })
}

#[cfg(test)]
mod tests;
