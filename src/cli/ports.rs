//! Who has a port that is in use, as far as this user may know: from `/proc`.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::apikeys::faults;
use super::program::user_name;
use crate::control::config::settings;
use crate::control::keys::reload::KeysError;
use crate::server::error::ServeError;

/// Ports below this one are the system's.
const PRIVILEGED_PORTS_END: u16 = 1024;

/// A socket that listens, or takes datagrams, in a table of `/proc/net`.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

/// A transport with ports of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    const fn tables(self) -> [&'static str; 2] {
        match self {
            Self::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
            Self::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        }
    }
}

/// Why the server did not start or end well, with what helps against it.
pub(super) fn explained(error: &ServeError) -> String {
    match error {
        ServeError::Keys(KeysError::File(error)) => faults::explained(error),
        ServeError::Listen {
            what,
            address,
            error: cause,
        } => {
            let transport = match what.contains("udp") {
                true => Transport::Udp,
                false => Transport::Tcp,
            };
            match advice(setting_of(what), *address, transport, cause.kind()) {
                Some(advice) => format!("{error}\n{advice}"),
                None => error.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// The setting in a listener's name, of which a table's is `[[listen.http]]`.
fn setting_of(what: &str) -> &str {
    what.split(' ').next().unwrap_or(what)
}

/// What helps where an address cannot be listened on.
pub(super) fn advice(
    setting: &str,
    address: SocketAddr,
    transport: Transport,
    kind: ErrorKind,
) -> Option<String> {
    let flag = settings::all().find(|known| known.key == setting);
    let flag = flag.map_or_else(
        || format!("the address in `{setting}`"),
        |known| format!("--{} (`{setting}` in the file)", known.flag),
    );
    match kind {
        ErrorKind::AddrInUse => Some(format!(
            "{} has the port; stop it, or choose another port with {flag}",
            holder(transport, address).unwrap_or_else(|| "another process".to_owned())
        )),
        ErrorKind::AddrNotAvailable => Some(format!(
            "this machine has no such address; choose one that it has with {flag}"
        )),
        ErrorKind::PermissionDenied if address.port() < PRIVILEGED_PORTS_END => Some(format!(
            "ports below {PRIVILEGED_PORTS_END} need a privilege (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE); grant it, or choose another port with {flag}"
        )),
        _ => None,
    }
}

/// Who has the port of this address.
pub(super) fn holder(transport: Transport, address: SocketAddr) -> Option<String> {
    let socket = transport.tables().into_iter().find_map(|path| {
        let table = fs::read_to_string(path).ok()?;
        sockets(&table, transport).find(|socket| meets(socket.address, address))
    })?;
    Some(match process_of(socket.inode) {
        Some((pid, name)) => format!("process {pid} ({name})"),
        None => format!("a process of user {}", user_name(socket.uid)),
    })
}

/// Whether two sockets cannot have these addresses at once.
fn meets(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// The sockets of a table that take what comes to their address (proc(5), "/proc/net/tcp").
fn sockets(table: &str, transport: Transport) -> impl Iterator<Item = Socket> {
    const LISTENING: &str = "0A";
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if transport == Transport::Tcp && *fields.get(3)? != LISTENING {
            return None;
        }
        Some(Socket {
            address: parse_address(fields.get(1)?)?,
            uid: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    })
}

/// An address as the kernel writes it: words of 32 bits in the machine's order, in hexadecimal digits.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip: IpAddr = match *bytes.as_slice() {
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        ref bytes => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
    };
    Some(SocketAddr::new(ip, port))
}

/// The process that has a socket, and its name.
fn process_of(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // Those of other users are closed to this one.
        let Ok(open) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let has = open.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        });
        if has {
            return Some((pid, name_of(pid)));
        }
    }
    None
}

/// What a process calls itself.
pub(super) fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_process_that_has_a_port_is_found() {
        let this = format!("process {} ", std::process::id());
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let tcp = TcpListener::bind(address).unwrap();
            let found = holder(Transport::Tcp, tcp.local_addr().unwrap()).unwrap();
            assert!(found.starts_with(&this), "{address}: {found}");
            let udp = UdpSocket::bind(address).unwrap();
            let found = holder(Transport::Udp, udp.local_addr().unwrap()).unwrap();
            assert!(found.starts_with(&this), "{address}: {found}");
        }
        // A socket on all addresses stands in the way of one on each.
        let all = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap();
        let one = SocketAddr::from((Ipv4Addr::LOCALHOST, all.port()));
        assert!(meets(all, one) && meets(one, all));
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        if cfg!(target_endian = "little") {
            let address = |text: &str| parse_address(text).map(|a| a.to_string());
            assert_eq!(address("0100007F:1F90").unwrap(), "127.0.0.1:8080");
            assert_eq!(
                address("B80D01200000000067452301EFCDAB89:0050").unwrap(),
                "[2001:db8::123:4567:89ab:cdef]:80"
            );
        }
        for text in ["", "0100007F", "01:1F90", "é100007F:1F90"] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }

    #[test]
    fn advice_names_the_flag_and_the_setting() {
        let address = ([127, 0, 0, 1], 80).into();
        let said = |kind| advice("syslog_tcp", address, Transport::Tcp, kind).unwrap();
        for kind in [
            ErrorKind::AddrInUse,
            ErrorKind::AddrNotAvailable,
            ErrorKind::PermissionDenied,
        ] {
            let said = said(kind);
            assert!(
                said.contains("--syslog-tcp (`syslog_tcp` in the file)"),
                "{said}"
            );
        }
    }
}
