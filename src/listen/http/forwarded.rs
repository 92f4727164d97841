//! Who sent a request that came through proxies.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

use crate::network::Networks;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The sender: the peer, or where that is a trusted proxy, the last address of `X-Forwarded-For` that is
/// none. Every proxy appends the address that it sees, so that from the right each entry is as good as the
/// proxy that wrote it; what stands left of the first address we do not trust may be made up.
pub(super) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &Networks) -> SocketAddr {
    if !trusted.contains(peer.ip()) {
        return peer;
    }
    let values: Vec<&[u8]> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .map(|value| value.as_bytes())
        .collect();
    let hops = values
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','));
    let mut client = peer;
    for hop in hops {
        let Some(address) = address(hop) else {
            // Nobody knows what this hop wrote: the proxy behind it is the last one known.
            return client;
        };
        client = address;
        if !trusted.contains(address.ip()) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port. Port 0 where there is none.
fn address(hop: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_ascii();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, 0),
        Err(_) => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted = "10.0.0.0/8, ::1".parse().unwrap();
        client(
            &headers,
            SocketAddr::new(peer.parse().unwrap(), 1),
            &trusted,
        )
        .to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_sender() {
        assert_eq!(from("10.0.0.1", &["192.0.2.1"]), "192.0.2.1:0");
        assert_eq!(
            from("10.0.0.1", &["203.0.113.9, 192.0.2.1, 10.0.0.2"]),
            "192.0.2.1:0"
        );
        assert_eq!(
            from("::1", &["203.0.113.9", "192.0.2.1,10.0.0.2"]),
            "192.0.2.1:0"
        );
        assert_eq!(from("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3:0");
    }

    #[test]
    fn a_stranger_speaks_for_himself() {
        assert_eq!(from("192.0.2.7", &["203.0.113.9"]), "192.0.2.7:1");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1:1");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(
            from("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"]),
            "10.0.0.2:0"
        );
        assert_eq!(from("10.0.0.1", &[""]), "10.0.0.1:1");
    }

    #[test]
    fn ports_and_brackets_are_read() {
        for (text, expected) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ] {
            assert_eq!(from("10.0.0.1", &[text]), expected);
        }
    }
}
