//! The table of settings: what can be set, under which names, with which default and bounds.
//!
//! Everything that knows settings is driven by it: the command line's flags, the variables, the
//! file's keys, the error texts and the README's reference.

use std::fmt;
use std::time::Duration;

use tracing::Level;

use super::LogFormat;
use super::kind::{
    Accepts, Address, Count, DiskLimit, FilePath, Memory, NetworkList, OneOf, Origins, Period,
    Size, Switch,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// One setting. `K` is the kind of its values: `Setting<Address>` reads as an address only.
pub struct Setting<K: ?Sized> {
    /// Its name in the TOML file, and in errors.
    pub key: &'static str,
    /// Its flag, without the dashes.
    pub flag: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// What stands for a value in the help.
    pub value_name: &'static str,
    /// The default as one would write it, or in angle brackets what it is derived from.
    pub default: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// Where the help lists it.
    pub section: Section,
    /// What it accepts.
    pub kind: K,
}

/// A setting of whatever kind.
pub type AnySetting = Setting<dyn Accepts>;

impl<K: ?Sized> fmt::Debug for Setting<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setting").field(&self.key).finish()
    }
}

impl<K: ?Sized> Setting<K> {
    /// What the default is derived from, in words, where it cannot be written as a value.
    #[must_use]
    pub fn derived_default(&self) -> Option<&'static str> {
        self.default.strip_prefix('<')?.strip_suffix('>')
    }
}

/// Settings that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Where files are. Every command takes these.
    Files,
    /// Where the server listens.
    Listeners,
    /// Bounds.
    Limits,
    /// The log.
    Logging,
}

impl Section {
    /// The heading in the help.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Files => "Files",
            Self::Listeners => "Listeners",
            Self::Limits => "Limits",
            Self::Logging => "Logging",
        }
    }
}

/// Every setting, in the order of the help and the README.
pub static SETTINGS: [&AnySetting; 26] = [
    &CONFIG,
    &DATA_DIR,
    &KEYS,
    &TCP,
    &HTTP,
    &SYSLOG_TCP,
    &SYSLOG_UDP,
    &METRICS,
    &ALLOW_NETWORK_ACCESS,
    &TRUSTED_PROXIES,
    &FORWARDERS,
    &CORS_ORIGINS,
    &STRICT_PERMISSIONS,
    &LOG_FORMAT,
    &LOG_LEVEL,
    &JOURNAL_LIMIT,
    &SEGMENT_SIZE,
    &MAX_CONNECTIONS,
    &MAX_CONNECTIONS_PER_SOURCE,
    &STALL_TIMEOUT,
    &MAX_FRAME_SIZE,
    &MAX_BODY_SIZE,
    &MAX_QUEUED_BYTES,
    &MAX_IN_FLIGHT_BYTES,
    &SHUTDOWN_TIMEOUT,
    &WORKER_THREADS,
];

/// The settings that a TOML file may hold: all but the one that names it.
pub fn in_file() -> impl Iterator<Item = &'static AnySetting> {
    SETTINGS
        .into_iter()
        .filter(|setting| setting.key != CONFIG.key)
}

/// The TOML file.
pub static CONFIG: Setting<FilePath> = Setting {
    key: "config",
    flag: "config",
    variable: "TELL_CONFIG",
    value_name: "FILE",
    default: "<./tell.toml, if it exists>",
    help: "Configuration file (TOML)",
    section: Section::Files,
    kind: FilePath,
};

/// See [`Config::data_dir`](super::Config::data_dir).
pub static DATA_DIR: Setting<FilePath> = Setting {
    key: "data_dir",
    flag: "data-dir",
    variable: "TELL_DATA_DIR",
    value_name: "DIR",
    default: "./tell-data",
    help: "Directory of everything that is kept",
    section: Section::Files,
    kind: FilePath,
};

/// See [`Config::keys`](super::Config::keys).
pub static KEYS: Setting<FilePath> = Setting {
    key: "keys",
    flag: "keys",
    variable: "TELL_KEYS",
    value_name: "FILE",
    default: "<data_dir>/keys",
    help: "Key file, with the streaming keys and their workspaces",
    section: Section::Files,
    kind: FilePath,
};

/// See [`Config::tcp`](super::Config::tcp).
pub static TCP: Setting<Address> = Setting {
    key: "tcp",
    flag: "tcp",
    variable: "TELL_TCP",
    value_name: "ADDR:PORT|off",
    default: "127.0.0.1:50000",
    help: "Listen for the SDKs' frames over TCP",
    section: Section::Listeners,
    kind: Address,
};

/// See [`Config::http`](super::Config::http).
pub static HTTP: Setting<Address> = Setting {
    key: "http",
    flag: "http",
    variable: "TELL_HTTP",
    value_name: "ADDR:PORT|off",
    default: "127.0.0.1:8080",
    help: "Listen for HTTP requests",
    section: Section::Listeners,
    kind: Address,
};

/// See [`Config::syslog_tcp`](super::Config::syslog_tcp).
pub static SYSLOG_TCP: Setting<Address> = Setting {
    key: "syslog_tcp",
    flag: "syslog-tcp",
    variable: "TELL_SYSLOG_TCP",
    value_name: "ADDR:PORT|off",
    default: "127.0.0.1:1514",
    help: "Listen for syslog over TCP",
    section: Section::Listeners,
    kind: Address,
};

/// See [`Config::syslog_udp`](super::Config::syslog_udp).
pub static SYSLOG_UDP: Setting<Address> = Setting {
    key: "syslog_udp",
    flag: "syslog-udp",
    variable: "TELL_SYSLOG_UDP",
    value_name: "ADDR:PORT|off",
    default: "127.0.0.1:1514",
    help: "Listen for syslog over UDP",
    section: Section::Listeners,
    kind: Address,
};

/// See [`Config::metrics`](super::Config::metrics).
pub static METRICS: Setting<Address> = Setting {
    key: "metrics",
    flag: "metrics",
    variable: "TELL_METRICS",
    value_name: "ADDR:PORT|off",
    default: "127.0.0.1:9464",
    help: "Listen for scrapes of /metrics, and for /status, /health and /ready",
    section: Section::Listeners,
    kind: Address,
};

/// See [`Config::allow_network_access`](super::Config::allow_network_access).
pub static ALLOW_NETWORK_ACCESS: Setting<Switch> = Setting {
    key: "allow_network_access",
    flag: "allow-network-access",
    variable: "TELL_ALLOW_NETWORK_ACCESS",
    value_name: "BOOL",
    default: "false",
    help: "Listen on all addresses (`[::]`, IPv4 too) where no address is given; not for `metrics`",
    section: Section::Listeners,
    kind: Switch,
};

/// See [`Config::trusted_proxies`](super::Config::trusted_proxies).
pub static TRUSTED_PROXIES: Setting<NetworkList> = Setting {
    key: "trusted_proxies",
    flag: "trusted-proxies",
    variable: "TELL_TRUSTED_PROXIES",
    value_name: "NETWORKS",
    default: "none",
    help: "Networks whose X-Forwarded-For and PROXY headers are believed",
    section: Section::Listeners,
    kind: NetworkList,
};

/// See [`Config::forwarders`](super::Config::forwarders).
pub static FORWARDERS: Setting<NetworkList> = Setting {
    key: "forwarders",
    flag: "forwarders",
    variable: "TELL_FORWARDERS",
    value_name: "NETWORKS",
    default: "none",
    help: "Networks whose batches may say which address they came from",
    section: Section::Listeners,
    kind: NetworkList,
};

/// See [`Config::cors_origins`](super::Config::cors_origins).
pub static CORS_ORIGINS: Setting<Origins> = Setting {
    key: "cors_origins",
    flag: "cors-origins",
    variable: "TELL_CORS_ORIGINS",
    value_name: "*|off|ORIGIN,…",
    default: "*",
    help: "Origins whose pages may send over HTTP, as browsers are told (CORS)",
    section: Section::Listeners,
    kind: Origins,
};

/// See [`Config::strict_permissions`](super::Config::strict_permissions).
pub static STRICT_PERMISSIONS: Setting<Switch> = Setting {
    key: "strict_permissions",
    flag: "strict-permissions",
    variable: "TELL_STRICT_PERMISSIONS",
    value_name: "BOOL",
    default: "false",
    help: "Refuse a key file that others may read or write, instead of warning",
    section: Section::Files,
    kind: Switch,
};

/// See [`Config::log_format`](super::Config::log_format).
pub static LOG_FORMAT: Setting<OneOf<LogFormat>> = Setting {
    key: "log_format",
    flag: "log-format",
    variable: "TELL_LOG_FORMAT",
    value_name: "FORMAT",
    default: "text",
    help: "How log lines are written, to standard error",
    section: Section::Logging,
    kind: OneOf(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
};

/// See [`Config::log_level`](super::Config::log_level).
pub static LOG_LEVEL: Setting<OneOf<Level>> = Setting {
    key: "log_level",
    flag: "log-level",
    variable: "TELL_LOG_LEVEL",
    value_name: "LEVEL",
    default: "info",
    help: "The least severe level that is logged",
    section: Section::Logging,
    kind: OneOf(&[
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ]),
};

/// See [`Config::journal_limit`](super::Config::journal_limit).
pub static JOURNAL_LIMIT: Setting<DiskLimit> = Setting {
    key: "journal_limit",
    flag: "journal-limit",
    variable: "TELL_JOURNAL_LIMIT",
    value_name: "SIZE",
    default: "auto",
    help: "How large the journal may grow before senders are held back",
    section: Section::Limits,
    kind: DiskLimit {
        min: SEGMENT_SIZE.kind.min,
    },
};

/// See [`Config::segment_size`](super::Config::segment_size). Smaller segments are files without end;
/// larger ones make the unit in which space is given back too coarse.
pub static SEGMENT_SIZE: Setting<Size> = Setting {
    key: "segment_size",
    flag: "segment-size",
    variable: "TELL_SEGMENT_SIZE",
    value_name: "SIZE",
    default: "64MiB",
    help: "Size of one journal segment",
    section: Section::Limits,
    kind: Size { min: MIB, max: GIB },
};

/// See [`Config::max_connections`](super::Config::max_connections). The most is what a Linux process
/// may have open at all (`fs.nr_open`, 1,048,576 as shipped).
pub static MAX_CONNECTIONS: Setting<Count> = Setting {
    key: "max_connections",
    flag: "max-connections",
    variable: "TELL_MAX_CONNECTIONS",
    value_name: "N",
    default: "16384",
    help: "Connections open at once, all listeners together",
    section: Section::Limits,
    kind: Count {
        min: 1,
        max: 1 << 20,
    },
};

/// See [`Config::max_connections_per_source`](super::Config::max_connections_per_source).
pub static MAX_CONNECTIONS_PER_SOURCE: Setting<Count> = Setting {
    key: "max_connections_per_source",
    flag: "max-connections-per-source",
    variable: "TELL_MAX_CONNECTIONS_PER_SOURCE",
    value_name: "N",
    default: "1024",
    help: "Connections open at once from one address (IPv6: one /64), trusted proxies excepted",
    section: Section::Limits,
    kind: Count {
        min: 1,
        max: 1 << 20,
    },
};

/// See [`Config::stall_timeout`](super::Config::stall_timeout). The most is what nothing may hold a
/// connection longer for.
pub static STALL_TIMEOUT: Setting<Period> = Setting {
    key: "stall_timeout",
    flag: "stall-timeout",
    variable: "TELL_STALL_TIMEOUT",
    value_name: "DURATION",
    default: "30s",
    help: "How long a connection may go without a good key, or pause inside a frame, head or body",
    section: Section::Limits,
    kind: Period {
        min: Duration::from_millis(100),
        max: Duration::from_secs(30),
    },
};

/// See [`Config::max_frame_size`](super::Config::max_frame_size). The most is the protocol's limit; the
/// least leaves room for an envelope and one short event.
pub static MAX_FRAME_SIZE: Setting<Memory> = Setting {
    key: "max_frame_size",
    flag: "max-frame-size",
    variable: "TELL_MAX_FRAME_SIZE",
    value_name: "SIZE",
    default: "16MiB",
    help: "Size of one frame over TCP",
    section: Section::Limits,
    kind: Memory(Size {
        min: KIB,
        max: 16 * MIB,
    }),
};

/// See [`Config::max_body_size`](super::Config::max_body_size). A body is held in memory whole.
pub static MAX_BODY_SIZE: Setting<Memory> = Setting {
    key: "max_body_size",
    flag: "max-body-size",
    variable: "TELL_MAX_BODY_SIZE",
    value_name: "SIZE",
    default: "10MiB",
    help: "Size of one HTTP request body, after inflation",
    section: Section::Limits,
    kind: Memory(Size {
        min: KIB,
        max: 256 * MIB,
    }),
};

/// See [`Config::max_queued_bytes`](super::Config::max_queued_bytes).
pub static MAX_QUEUED_BYTES: Setting<Memory> = Setting {
    key: "max_queued_bytes",
    flag: "max-queued-bytes",
    variable: "TELL_MAX_QUEUED_BYTES",
    value_name: "SIZE",
    default: "32MiB",
    help: "Bytes taken in and not yet on disk, before senders are held back",
    section: Section::Limits,
    kind: Memory(Size { min: KIB, max: TIB }),
};

/// See [`Config::max_in_flight_bytes`](super::Config::max_in_flight_bytes).
pub static MAX_IN_FLIGHT_BYTES: Setting<Memory> = Setting {
    key: "max_in_flight_bytes",
    flag: "max-in-flight-bytes",
    variable: "TELL_MAX_IN_FLIGHT_BYTES",
    value_name: "SIZE",
    default: "128MiB",
    help: "Bytes of unfinished frames and bodies over all connections, before more are refused",
    section: Section::Limits,
    kind: Memory(Size { min: KIB, max: TIB }),
};

/// See [`Config::shutdown_timeout`](super::Config::shutdown_timeout).
pub static SHUTDOWN_TIMEOUT: Setting<Period> = Setting {
    key: "shutdown_timeout",
    flag: "shutdown-timeout",
    variable: "TELL_SHUTDOWN_TIMEOUT",
    value_name: "DURATION",
    default: "30s",
    help: "How long finishing what is in flight may take",
    section: Section::Limits,
    kind: Period {
        min: Duration::from_millis(100),
        max: Duration::from_secs(3600),
    },
};

/// See [`Config::worker_threads`](super::Config::worker_threads).
pub static WORKER_THREADS: Setting<Count> = Setting {
    key: "worker_threads",
    flag: "worker-threads",
    variable: "TELL_WORKER_THREADS",
    value_name: "N",
    default: "<number of cores>",
    help: "Threads that serve connections",
    section: Section::Limits,
    kind: Count { min: 1, max: 1024 },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_names_of_a_setting_agree() {
        for setting in SETTINGS {
            assert_eq!(setting.flag, setting.key.replace('_', "-"));
            assert_eq!(
                setting.variable,
                format!("TELL_{}", setting.key.to_uppercase())
            );
        }
    }

    #[test]
    fn no_setting_is_listed_twice() {
        let mut keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), SETTINGS.len());
    }
}
