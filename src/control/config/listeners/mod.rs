//! Listeners in the file: `[[listen.tcp]]` and its kin, as many of a kind as are wanted.
//!
//! They add up with the flat settings (`tcp`, `http`, …). A kind that has listeners here loses its default
//! address, so that the file says all there is.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use toml_edit::{Item, TableLike};

use super::file::{TomlFile, start, text_of};
use super::kind::{Address, Count, FilePath, NetworkList, Switch, WorkspaceId};
use super::text::{nearest, shown};
use super::{Listen, Problem, Raw, Reads, Setting, SettingFault, WrittenAt};
use crate::control::tls::TlsFiles;
use crate::network::Networks;
use crate::origin::{Source, Workspace};

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
    /// The setting that it comes from.
    pub setting: &'static str,
}

/// A syslog listener for devices that cannot send a key: who may send without one, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundWorkspace {
    /// The workspace.
    pub workspace: Workspace,
    /// The networks that may send; never empty.
    pub allow: Networks,
}

impl Listener {
    /// A listener as the flat settings say it.
    pub(super) fn flat(source: Source, address: SocketAddr) -> Self {
        Self {
            source,
            address,
            tls: None,
            max_connections: None,
            proxy_protocol: false,
            bound: None,
            setting: source.as_str(),
        }
    }
}

/// A listener of the file, and where its address stands.
#[derive(Debug)]
pub(super) struct RawListener {
    pub listener: Listener,
    pub place: WrittenAt,
    /// Where it says that it needs `trusted_proxies`, if it does.
    pub proxy_place: Option<WrittenAt>,
}

/// The kind in the file, and in errors.
fn setting(source: Source) -> &'static str {
    match source {
        Source::Tcp => "listen.tcp",
        Source::Http => "listen.http",
        Source::SyslogTcp => "listen.syslog_tcp",
        Source::SyslogUdp => "listen.syslog_udp",
    }
}

/// What a listener of the kind takes.
fn fields(source: Source) -> &'static [&'static str] {
    match source {
        Source::Tcp | Source::Http => &[
            "address",
            "tls_cert",
            "tls_key",
            "tls_client_ca",
            "max_connections",
            "proxy_protocol",
        ],
        Source::SyslogTcp => &[
            "address",
            "tls_cert",
            "tls_key",
            "tls_client_ca",
            "max_connections",
            "proxy_protocol",
            "workspace",
            "allow",
        ],
        // A datagram has no connection to count, to encrypt or to speak for.
        Source::SyslogUdp => &["address", "workspace", "allow"],
    }
}

/// Reads the table `listen`.
pub(super) fn parse(file: &TomlFile<'_>, item: &Item, place: WrittenAt, raw: &mut Raw) {
    let Some(table) = item.as_table_like() else {
        raw.faults.push(wrong_type("listen", place, item));
        return;
    };
    for (key, item) in table.iter() {
        let place = file.at(start(
            table
                .key(key)
                .and_then(toml_edit::Key::span)
                .or(item.span()),
        ));
        let Some(source) = Source::ALL
            .into_iter()
            .find(|source| source.as_str() == key)
        else {
            let known = Source::ALL.into_iter().map(Source::as_str);
            raw.faults.push(unknown(key, place, known));
            continue;
        };
        let tables: Vec<(&dyn TableLike, Option<Range<usize>>)> = match item {
            Item::ArrayOfTables(tables) => tables
                .iter()
                .map(|table| (table as &dyn TableLike, table.span()))
                .collect(),
            other => match other.as_array() {
                Some(array) if array.iter().all(toml_edit::Value::is_inline_table) => array
                    .iter()
                    .filter_map(toml_edit::Value::as_inline_table)
                    .map(|table| (table as &dyn TableLike, table.span()))
                    .collect(),
                _ => {
                    raw.faults.push(wrong_type(setting(source), place, item));
                    continue;
                }
            },
        };
        for (table, span) in tables {
            let header = span.map_or_else(|| place.clone(), |span| file.at(span.start));
            let fields = fields(source);
            Reader {
                file,
                table,
                fields,
                raw,
            }
            .listener(source, header);
        }
    }
}

struct Reader<'a> {
    file: &'a TomlFile<'a>,
    table: &'a dyn TableLike,
    fields: &'static [&'static str],
    raw: &'a mut Raw,
}

/// A field's value and where it stands.
type Found<T> = Option<(T, WrittenAt)>;

impl Reader<'_> {
    fn listener(mut self, source: Source, header: WrittenAt) {
        for (key, item) in self.table.iter() {
            if !self.fields.contains(&key) {
                let span = self.table.key(key).and_then(toml_edit::Key::span);
                let place = self.file.at(start(span.or(item.span())));
                let fault = unknown(key, place, self.fields.iter().copied());
                self.raw.faults.push(fault);
            }
        }
        let before = self.raw.faults.len();
        let address = self.field("address", &Address);
        let cert = self.field("tls_cert", &FilePath);
        let key = self.field("tls_key", &FilePath);
        let client_ca = self.field("tls_client_ca", &FilePath);
        let max_connections = self.field(
            "max_connections",
            &Count {
                min: 1,
                max: 1 << 20,
            },
        );
        let proxy_protocol = self.field("proxy_protocol", &Switch);
        let workspace = self.field("workspace", &WorkspaceId);
        let allow = self.field("allow", &NetworkList);

        if self.table.get("address").is_none() {
            self.missing("address", "address", header);
        }
        match (&cert, &key) {
            (Some((_, place)), None) if !self.table.contains_key("tls_key") => {
                self.missing("tls_cert", "tls_key", place.clone());
            }
            (None, Some((_, place))) if !self.table.contains_key("tls_cert") => {
                self.missing("tls_key", "tls_cert", place.clone());
            }
            _ => {}
        }
        if let (Some((_, place)), false) = (&client_ca, self.table.contains_key("tls_cert")) {
            self.missing("tls_client_ca", "tls_cert", place.clone());
        }
        match (&workspace, &allow) {
            (Some((_, place)), None) if !self.table.contains_key("allow") => {
                self.missing("workspace", "allow", place.clone());
            }
            (Some((_, place)), Some((allow, _))) if allow.is_empty() => {
                self.missing("workspace", "allow", place.clone());
            }
            (None, Some((_, place))) if !self.table.contains_key("workspace") => {
                self.missing("allow", "workspace", place.clone());
            }
            _ => {}
        }
        if self.raw.faults.len() > before {
            return;
        }
        // `off` keeps a listener in the file and switches it off.
        let Some((Some(address), place)) = address else {
            return;
        };
        let tls = cert.zip(key).map(|((cert, _), (key, _))| TlsFiles {
            cert,
            key,
            client_ca: client_ca.map(|(path, _)| path),
        });
        let bound = workspace
            .zip(allow)
            .map(|((workspace, _), (allow, _))| BoundWorkspace { workspace, allow });
        let proxy_place = proxy_protocol.and_then(|(is_on, place)| is_on.then_some(place));
        self.raw.listeners.push(RawListener {
            listener: Listener {
                source,
                address,
                tls,
                max_connections: max_connections.map(|(n, _)| n),
                proxy_protocol: proxy_place.is_some(),
                bound,
                setting: setting(source),
            },
            place,
            proxy_place,
        });
    }

    fn field<K: Reads>(&mut self, key: &'static str, kind: &K) -> Found<K::Value> {
        // What a kind does not take is reported as unknown, and nothing else about it.
        let item = self.table.get(key).filter(|_| self.fields.contains(&key))?;
        let span = item
            .span()
            .or_else(|| self.table.key(key).and_then(toml_edit::Key::span));
        let place = self.file.at(start(span));
        let fault = |problem| SettingFault {
            place: place.clone(),
            key: Some(key),
            problem,
        };
        let Some(text) = text_of(item, kind) else {
            self.raw.faults.push(fault(Problem::WrongType {
                found: item.type_name(),
                right: kind.right(),
            }));
            return None;
        };
        let text = OsStr::new(&text);
        match kind.read(text) {
            Ok(value) => Some((value, place)),
            Err(refusal) => {
                let problem = Problem::refused(refusal, text, kind.right());
                self.raw.faults.push(fault(problem));
                None
            }
        }
    }

    fn missing(&mut self, key: &'static str, needs: &'static str, place: WrittenAt) {
        self.raw.faults.push(SettingFault {
            place,
            key: Some(key),
            problem: Problem::Missing { needs },
        });
    }
}

impl Raw {
    /// Listeners of one transport on one address: the second could not bind.
    pub(super) fn check_addresses(&mut self, flat: &[(&'static Setting<Address>, Listen)]) {
        let flat = flat.iter().filter_map(|(setting, address)| {
            Some((setting.key, self.place_of(setting), (*address)?))
        });
        let of_file = self
            .listeners
            .iter()
            .map(|l| (l.listener.setting, l.place.clone(), l.listener.address));
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
                self.faults.push(SettingFault {
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
}

/// Whether two TCP sockets could not listen on these addresses together. `[::]` is dual-stack and
/// takes the port of IPv4 too; port 0 is a different free port each time.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

fn unknown(key: &str, place: WrittenAt, known: impl Iterator<Item = &'static str>) -> SettingFault {
    SettingFault {
        place,
        key: None,
        problem: Problem::UnknownKey {
            key: shown(key),
            nearest: nearest(key, known),
        },
    }
}

fn wrong_type(key: &'static str, place: WrittenAt, item: &Item) -> SettingFault {
    SettingFault {
        place,
        key: Some(key),
        problem: Problem::WrongType {
            found: item.type_name(),
            right: "an array of tables: [[listen.tcp]], [[listen.http]], [[listen.syslog_tcp]] or \
                    [[listen.syslog_udp]]"
                .to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
