//! Where the server listens: one setting for each kind of listener, and in the file `[[listen.tcp]]` and its
//! kin, as many of a kind as are wanted.
//!
//! They add up. A kind that has tables loses the default address of its setting, so that the file says all
//! there is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use jiff::tz::TimeZone;

use crate::control::config::kind::{
    ADDRESS, FILE, Kind, NETWORKS, ORIGINS, SWITCH, TIME_ZONE, WORKSPACE, count,
};
use crate::control::config::setting::{Field, Setting, settings, table_fields};
use crate::control::config::table::{Table, TomlFile, unknown, wrong_type};
use crate::control::config::{Listen, Problem, Raw, SettingFault, WrittenAt};
use crate::control::tls::TlsFiles;
use crate::network::{CorsOrigins, Networks};
use crate::origin::{Source, Workspace};

settings! {
    /// The listeners of one setting each, and what holds for all listeners.
    ListenConfig in "Listeners" {
        /// Listen for the SDKs' frames over TCP
        tcp: Listen = "127.0.0.1:50000", ADDRESS;
        /// Listen for HTTP requests
        http: Listen = "127.0.0.1:8080", ADDRESS;
        /// Listen for syslog over TCP
        syslog_tcp: Listen = "127.0.0.1:1514", ADDRESS;
        /// Listen for syslog over UDP
        syslog_udp: Listen = "127.0.0.1:1514", ADDRESS;
        /// Listen for scrapes of /metrics, and for /status, /health and /ready
        metrics: Listen = "127.0.0.1:9464", ADDRESS;
        /// Listen on all addresses (`[::]`, IPv4 too) where no address is given; not for `metrics`
        allow_network_access: bool = "false", SWITCH;
        /// Networks whose X-Forwarded-For and PROXY headers are believed
        trusted_proxies: Networks = "none", NETWORKS;
        /// Networks whose batches may say which address they came from
        forwarders: Networks = "none", NETWORKS;
        /// Origins whose pages may send over HTTP, as browsers are told (CORS)
        cors_origins: CorsOrigins = "*", ORIGINS;
        /// Time zone of syslog times that have none; `timezone` in a listener's table goes before it
        syslog_timezone: TimeZone = "local", TIME_ZONE;
    }
}

impl ListenConfig {
    /// The settings of listeners for data.
    const FLAT: [(Source, Setting); 4] = [
        (Source::Tcp, Self::tcp),
        (Source::Http, Self::http),
        (Source::SyslogTcp, Self::syslog_tcp),
        (Source::SyslogUdp, Self::syslog_udp),
    ];

    /// Puts the addresses that count in the place of defaults that do not.
    pub(super) fn settle(&mut self, raw: &Raw) {
        for (source, setting) in &Self::FLAT {
            let address = match source {
                Source::Tcp => &mut self.tcp,
                Source::Http => &mut self.http,
                Source::SyslogTcp => &mut self.syslog_tcp,
                Source::SyslogUdp => &mut self.syslog_udp,
            };
            *address = flat_address(raw, *source, setting).flatten();
        }
    }

    /// The listeners of one setting each.
    pub(super) fn listeners(&self) -> impl Iterator<Item = Listener> {
        let flat = [
            (Source::Tcp, self.tcp),
            (Source::Http, self.http),
            (Source::SyslogTcp, self.syslog_tcp),
            (Source::SyslogUdp, self.syslog_udp),
        ];
        flat.into_iter()
            .filter_map(|(source, address)| Some(Listener::flat(source, address?)))
    }
}

/// Where a setting's listener binds; `None` after a fault. The default gives way to tables of the file, and
/// is on all addresses where the network is let in.
fn flat_address(raw: &Raw, source: Source, setting: &Setting) -> Option<Listen> {
    let mut address = raw.peek(setting, &ADDRESS)?;
    if raw.first(setting).is_some() {
        return Some(address);
    }
    let of_file = raw.file.as_ref().map(|file| tables(file, &mut Vec::new()));
    if of_file.is_some_and(|tables| tables.iter().any(|t| t.listener.source == source)) {
        return Some(None);
    }
    let open = raw.peek(&ListenConfig::allow_network_access, &SWITCH);
    if let (Some(address), Some(true)) = (&mut address, open) {
        address.set_ip(Ipv6Addr::UNSPECIFIED.into());
    }
    Some(address)
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What it speaks.
    pub source: Source,
    /// Where it binds.
    pub address: SocketAddr,
    /// Its certificate and key, or `None` in the clear.
    pub tls: Option<TlsFiles>,
    /// Connections open at once on this listener; those of all listeners are bounded besides.
    pub max_connections: Option<usize>,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The workspace that messages without a key go to.
    pub bound: Option<BoundWorkspace>,
    /// Time zone of syslog times that have none, where it is not that of all listeners.
    pub timezone: Option<TimeZone>,
    /// The setting that it comes from.
    pub setting: &'static str,
}

/// A syslog listener for devices that cannot send a key: who may send without one, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundWorkspace {
    /// Where messages without a key go.
    pub workspace: Workspace,
    /// The networks that may send; never empty.
    pub allow: Networks,
}

impl Listener {
    fn flat(source: Source, address: SocketAddr) -> Self {
        Self {
            source,
            address,
            tls: None,
            max_connections: None,
            proxy_protocol: false,
            bound: None,
            timezone: None,
            setting: source.as_str(),
        }
    }
}

/// A listener of the file.
pub(in crate::control::config) struct ListenTable {
    pub listener: Listener,
    /// Where its address stands.
    pub place: WrittenAt,
    /// Where it says that it needs `trusted_proxies`, if it does.
    proxy_place: Option<WrittenAt>,
}

table_fields! {
    /// What a table of a listener says.
    ListenFields {
        /// Where it listens; `off` keeps the table and closes the listener
        address: Listen = ADDRESS;
        /// Certificate chain (PEM); TLS is spoken where it and `tls_key` are given
        tls_cert: PathBuf = FILE;
        /// Private key of the certificate (PEM)
        tls_key: PathBuf = FILE;
        /// Authorities whose certificates clients have to show (PEM)
        tls_client_ca: PathBuf = FILE;
        /// Connections open at once on this listener
        max_connections: usize = CONNECTIONS;
        /// Whether every connection begins with a PROXY header, from one of `trusted_proxies`
        proxy_protocol: bool = SWITCH;
        /// The workspace of messages without a key; wants `allow`
        workspace: Workspace = WORKSPACE;
        /// The networks that may send without a key
        allow: Networks = NETWORKS;
        /// Time zone of times that have none; without it that of `syslog_timezone`
        timezone: TimeZone = TIME_ZONE;
    }
}

/// The table of the file that the listeners stand in.
pub(in crate::control::config) const TABLE: &str = "listen";

const EXPECTED: &str = "an array of tables: [[listen.tcp]], [[listen.http]], [[listen.syslog_tcp]] or \
                        [[listen.syslog_udp]]";

const CONNECTIONS: Kind<usize> = count::<1, { 1 << 20 }>();

/// The name in the file, and in errors.
fn setting(source: Source) -> &'static str {
    match source {
        Source::Tcp => "listen.tcp",
        Source::Http => "listen.http",
        Source::SyslogTcp => "listen.syslog_tcp",
        Source::SyslogUdp => "listen.syslog_udp",
    }
}

/// What a listener of the kind takes.
pub(in crate::control::config) fn fields(source: Source) -> impl Iterator<Item = &'static Field> {
    ListenFields::FIELDS.iter().filter(move |field| {
        let is_syslog = matches!(source, Source::SyslogTcp | Source::SyslogUdp);
        match field.key {
            "address" => true,
            "workspace" | "allow" | "timezone" => is_syslog,
            // A datagram has no connection to count, to encrypt or to speak for.
            _ => source != Source::SyslogUdp,
        }
    })
}

/// The listeners of the file, with the faults of all of them.
pub(in crate::control::config) fn tables(
    file: &TomlFile,
    faults: &mut Vec<SettingFault>,
) -> Vec<ListenTable> {
    let mut listeners = Vec::new();
    let Some(item) = file.root().get(TABLE) else {
        return listeners;
    };
    let Some(kinds) = item.as_table_like() else {
        let place = file.place_of_value(file.root(), TABLE);
        faults.push(wrong_type(TABLE, place, item, EXPECTED.to_owned()));
        return listeners;
    };
    for (key, item) in kinds.iter() {
        let place = file.place_of_key(kinds, key);
        let Some(source) = Source::ALL.into_iter().find(|s| s.as_str() == key) else {
            let known = Source::ALL.into_iter().map(Source::as_str);
            faults.push(unknown(key, place, known));
            continue;
        };
        let Some(tables) = file.array(item, &place) else {
            let fault = wrong_type(setting(source), place, item, EXPECTED.to_owned());
            faults.push(fault);
            continue;
        };
        for (table, header) in tables {
            let known = fields(source).map(|field| field.key).collect();
            let table = Table::new(file, table, known, faults);
            listeners.extend(listener(source, table, &header));
        }
    }
    listeners
}

fn listener(source: Source, mut table: Table<'_>, header: &WrittenAt) -> Option<ListenTable> {
    let before = table.faults();
    let fields = ListenFields::read(&mut table);
    if !table.has("address") {
        table.missing("address", "address", header);
    }
    let pairs = [
        ("tls_cert", place(&fields.tls_cert), "tls_key"),
        ("tls_key", place(&fields.tls_key), "tls_cert"),
        ("tls_client_ca", place(&fields.tls_client_ca), "tls_cert"),
        ("workspace", place(&fields.workspace), "allow"),
        ("allow", place(&fields.allow), "workspace"),
    ];
    for (key, place, needs) in pairs {
        let nobody = needs == "allow" && fields.allow.as_ref().is_some_and(|(a, _)| a.is_empty());
        if let Some(place) = place
            && (!table.has(needs) || nobody)
        {
            table.missing(key, needs, place);
        }
    }
    if table.faults() > before {
        return None;
    }
    // `off` keeps a listener in the file and switches it off.
    let (Some(address), place) = fields.address? else {
        return None;
    };
    let value = |found: Option<(PathBuf, WrittenAt)>| found.map(|(value, _)| value);
    let tls = value(fields.tls_cert)
        .zip(value(fields.tls_key))
        .map(|(cert, key)| TlsFiles {
            cert,
            key,
            client_ca: value(fields.tls_client_ca),
        });
    let bound = fields
        .workspace
        .zip(fields.allow)
        .map(|((workspace, _), (allow, _))| BoundWorkspace { workspace, allow });
    let proxy_place = fields
        .proxy_protocol
        .and_then(|(is_on, place)| is_on.then_some(place));
    Some(ListenTable {
        listener: Listener {
            source,
            address,
            tls,
            max_connections: fields.max_connections.map(|(n, _)| n),
            proxy_protocol: proxy_place.is_some(),
            bound,
            timezone: fields.timezone.map(|(zone, _)| zone),
            setting: setting(source),
        },
        place,
        proxy_place,
    })
}

fn place<T>(field: &Option<(T, WrittenAt)>) -> Option<&WrittenAt> {
    field.as_ref().map(|(_, place)| place)
}

/// Checks the listeners against each other and against the settings; returns those of the file.
pub(super) fn check(raw: &mut Raw) -> Vec<Listener> {
    let mut faults = Vec::new();
    let file = raw.file.as_ref();
    let of_file = file.map_or_else(Vec::new, |file| tables(file, &mut faults));
    let trusted = raw.peek(&ListenConfig::trusted_proxies, &NETWORKS);
    if trusted.is_some_and(|networks| networks.is_empty()) {
        let places = of_file.iter().filter_map(|t| t.proxy_place.clone());
        faults.extend(places.map(|place| SettingFault {
            place,
            key: Some("proxy_protocol"),
            problem: Problem::NoTrustedProxies,
        }));
    }
    check_addresses(raw, &of_file, &mut faults);
    raw.faults.append(&mut faults);
    of_file.into_iter().map(|table| table.listener).collect()
}

/// Listeners of one transport on one address: the second could not bind.
fn check_addresses(raw: &Raw, of_file: &[ListenTable], faults: &mut Vec<SettingFault>) {
    let flat = ListenConfig::FLAT
        .iter()
        .map(|(source, setting)| (setting, flat_address(raw, *source, setting)));
    let metrics = (
        &ListenConfig::metrics,
        raw.peek(&ListenConfig::metrics, &ADDRESS),
    );
    let flat = flat
        .chain([metrics])
        .filter_map(|(setting, listen)| Some((setting.key, raw.place_of(setting), listen??)));
    let of_file = of_file
        .iter()
        .map(|t| (t.listener.setting, t.place.clone(), t.listener.address));
    let bound: Vec<_> = flat.chain(of_file).collect();
    let is_udp = |key: &str| key.ends_with("udp");
    for (i, second) in bound.iter().enumerate() {
        for first in bound.iter().take(i) {
            if is_udp(first.0) != is_udp(second.0) || !collide(first.2, second.2) {
                continue;
            }
            // The address that was written is at fault, not the default it met; of two, the later.
            let (at_fault, other) = match (&first.1, &second.1) {
                (WrittenAt::File { .. }, WrittenAt::File { .. }) => (second, first),
                (a, b) if a < b => (first, second),
                _ => (second, first),
            };
            faults.push(SettingFault {
                place: at_fault.1.clone(),
                key: Some(at_fault.0),
                problem: Problem::AddressTaken {
                    addr: at_fault.2,
                    by: other.0,
                },
            });
        }
    }
}

/// Whether two sockets of one transport could not listen on these addresses together. `[::]` is dual-stack and
/// takes the port of IPv4 too; port 0 is a different free port each time.
pub(in crate::control::config) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

#[cfg(test)]
mod tests;
