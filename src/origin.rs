//! Who sent something, and through which listener: what every record says of its origin.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

/// The kind of listener that something came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// Length-prefixed FlatBuffers frames.
    Tcp = 1,
    /// The HTTP endpoints.
    Http = 2,
    /// Syslog over TCP.
    SyslogTcp = 3,
    /// Syslog over UDP.
    SyslogUdp = 4,
}

impl Source {
    /// All of them, in the order that they are shown in.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Http, Self::SyslogTcp, Self::SyslogUdp];

    /// As the `source` column shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::SyslogTcp => "syslog_tcp",
            Self::SyslogUdp => "syslog_udp",
        }
    }

    pub(crate) const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Tcp,
            2 => Self::Http,
            3 => Self::SyslogTcp,
            4 => Self::SyslogUdp,
            _ => return None,
        })
    }
}

/// Whom the bounds per source and the counts of failures are for: an IPv4 address, or the /64 of an IPv6
/// address, which is the least that one customer is given and could otherwise hide in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceAddress {
    address: IpAddr,
    /// 0, or the number of a connection that stands for itself.
    connection: u64,
}

impl SourceAddress {
    /// The source of an address.
    pub fn of(address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 @ IpAddr::V4(_) => v4,
        };
        Self {
            address,
            connection: 0,
        }
    }

    /// A connection that is a source of its own, because many senders share its address. The number is not 0.
    pub fn alone(address: IpAddr, connection: u64) -> Self {
        Self {
            connection,
            ..Self::of(address)
        }
    }
}

impl fmt::Display for SourceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.address, f)
    }
}

/// The public id of a streaming key: 64 bits of a SHA-256 over it, written `k-` and 16 hex digits.
///
/// One way: the id does not tell the key. Two of a million keys share an id with a chance of 3 in 10^8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u64);

impl KeyId {
    /// The id of a listener that is bound to a workspace: it depends on these three alone, so that what came
    /// through the listener has the same id for as long as its configuration says the same.
    pub fn of_listener(source: &str, address: SocketAddr, workspace: Workspace) -> Self {
        let text = format!("tell bound listener\0{source}\0{address}\0{workspace}");
        Self::from_digest(&Sha256::digest(text.as_bytes()))
    }

    pub(crate) fn from_digest(digest: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// Parses `k-` and 16 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("k-")?;
        if digits.len() != 16 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k-{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A workspace: an integer from 1 to 2^32-1. `ws-1` is read wherever `1` is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workspace(NonZeroU32);

impl Workspace {
    /// The workspace with this number; `None` for 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Parses `1` or `ws-1`: ASCII digits only, no sign, no leading zero.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("ws-").unwrap_or(text);
        if digits.starts_with('0') || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().and_then(Self::new)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_and_the_64_bits_of_an_ipv6_customer_are_one_source() {
        let source = |text: &str| SourceAddress::of(text.parse().unwrap());
        assert_eq!(source("10.0.0.1"), source("::ffff:10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::2:ffff"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        let shared = "10.0.0.1".parse().unwrap();
        assert_ne!(
            SourceAddress::alone(shared, 1),
            SourceAddress::alone(shared, 2)
        );
    }

    #[test]
    fn a_workspace_is_an_integer_from_1_with_or_without_its_prefix() {
        assert_eq!(Workspace::parse("ws-12"), Workspace::new(12));
        assert_eq!(Workspace::parse("4294967295"), Workspace::new(u32::MAX));
        for text in [
            "",
            "0",
            "01",
            "+1",
            "-1",
            "4294967296",
            "ws-",
            "WS-1",
            "1 ",
            "１",
        ] {
            assert_eq!(Workspace::parse(text), None, "{text:?}");
        }
    }
}
