//! Networks in CIDR notation, and lists of them: who may do what by where it comes from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// One network: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its bits behind the prefix are zero.
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no network. It is refused rather than guessed at: a network that is wider than was meant
/// lets somebody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl Network {
    /// Whether the address lies in it. An IPv4-mapped IPv6 address counts as the IPv4 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask(self.prefix, 32) as u32 == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask(self.prefix, 128) == 0
            }
            _ => false,
        }
    }
}

/// The first `prefix` of the lowest `width` bits.
fn mask(prefix: u8, width: u8) -> u128 {
    let host_bits = width - prefix;
    let all = u128::MAX >> (128 - width);
    all.checked_shl(host_bits.into()).unwrap_or(0) & all
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let mut first: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let width: u8 = if first.is_ipv4() { 32 } else { 128 };
        let mut prefix = match prefix {
            None => width,
            Some(digits) if is_prefix(digits) => digits.parse().map_err(|_| NotANetwork)?,
            Some(_) => return Err(NotANetwork),
        };
        if prefix > width {
            return Err(NotANetwork);
        }
        if let IpAddr::V6(v6) = first
            && let Some(v4) = v6.to_ipv4_mapped()
            && prefix >= 96
        {
            (first, prefix) = (v4.into(), prefix - 96);
        }
        let network = Self { first, prefix };
        let host_bits_are_zero = match first {
            IpAddr::V4(v4) => v4.to_bits() & !(mask(prefix, 32) as u32) == 0,
            IpAddr::V6(v6) => v6.to_bits() & !mask(prefix, 128) == 0,
        };
        host_bits_are_zero.then_some(network).ok_or(NotANetwork)
    }
}

fn is_prefix(digits: &str) -> bool {
    !digits.is_empty()
        && digits.bytes().all(|c| c.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A list of networks, shared by those who ask it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Arc<[Network]>);

impl Networks {
    /// Whether one of them contains the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Networks {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if i > 0 { "," } else { "" })?;
        }
        f.write_str(if self.is_empty() { "none" } else { "" })
    }
}

impl FromStr for Networks {
    type Err = NotANetwork;

    /// Networks with commas between them, or `none`.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        if text == "none" {
            return Ok(Self::default());
        }
        let networks: Result<Vec<Network>, _> = text.split(',').map(|n| n.trim().parse()).collect();
        Ok(Self(networks?.into()))
    }
}

/// Whether only this machine reaches a socket that is bound to the address.
pub fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST || v6.to_canonical().is_loopback(),
    }
}

/// The pages that browsers let send over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All.
    Any,
    /// None.
    Off,
    /// Those of these origins, each as browsers write it: `https://shop.example`, `http://localhost:3000`.
    These(Vec<String>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
        ] {
            assert!(network(text).contains(address(inside)), "{text} {inside}");
            assert!(
                !network(text).contains(address(outside)),
                "{text} {outside}"
            );
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert!(network("10.0.0.0/8").contains(address("::ffff:10.1.2.3")));
    }

    #[test]
    fn what_is_no_network_or_has_host_bits_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.1/8",
            "2001:db8::1/32",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0/8",
            "10.0.0.0 /8",
            "localhost",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text:?}");
        }
    }

    #[test]
    fn a_list_has_commas_and_none_is_the_empty_one() {
        let list: Networks = "10.0.0.0/8, ::1".parse().unwrap();
        assert!(list.contains(address("10.0.0.1")) && list.contains(address("::1")));
        assert!(!list.contains(address("192.0.2.1")));
        assert!("none".parse::<Networks>().unwrap().is_empty());
        for text in ["", ",", "10.0.0.0/8,", "none,::1"] {
            assert!(text.parse::<Networks>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_told_from_what_others_reach() {
        for text in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(address(text)), "{text}");
        }
        for text in ["0.0.0.0", "::", "10.0.0.1", "fe80::1"] {
            assert!(!is_loopback(address(text)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_network_contains_what_shares_its_prefix(bits: u128, other: u128, prefix in 0u8..=128) {
            // Mapped addresses are IPv4 ones: tested by themselves.
            let first = Ipv6Addr::from_bits(bits & mask(prefix, 128));
            let other = Ipv6Addr::from_bits(other);
            prop_assume!(first.to_ipv4_mapped().is_none() && other.to_ipv4_mapped().is_none());
            let network = network(&format!("{first}/{prefix}"));
            let shared = (first.to_bits() ^ other.to_bits()).leading_zeros() >= prefix.into();
            prop_assert_eq!(network.contains(other.into()), shared);
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }

        #[test]
        fn any_text_is_a_network_or_refused(text in "\\PC{0,40}") {
            let _ = (text.parse::<Network>(), text.parse::<Networks>());
        }
    }
}
