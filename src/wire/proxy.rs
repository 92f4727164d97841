//! The PROXY protocol, versions 1 and 2: the line or block in front of a connection in which a proxy says
//! whom it speaks for.
//!
//! Source: haproxy's `doc/proxy-protocol.txt`, sections 2.1 and 2.2. What a proxy tells besides the source
//! address (the destination, the fields behind the addresses of version 2) is skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest line of version 1, with its CR LF (section 2.1).
const LINE_BYTES: usize = 107;

const LINE_START: &[u8] = b"PROXY ";

/// How version 2 begins (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const BLOCK_HEAD_BYTES: usize = 16;

/// What the bytes of a connection begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The beginning of a header; all of the bytes belong to it.
    Incomplete,
    /// A header.
    Complete {
        /// Whom the proxy speaks for; `None` where it speaks for itself or does not know.
        source: Option<SocketAddr>,
        /// Bytes of the header.
        consumed: usize,
    },
    /// No header.
    Malformed(ProxyFault),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// They begin with neither version.
    #[error("expected a PROXY header of version 1 or 2 in front of everything else")]
    NotAHeader,
    /// The line of version 1.
    #[error("no PROXY header: expected `PROXY TCP4|TCP6|UNKNOWN`, two addresses, two ports, CR LF")]
    Line,
    /// Version or command of version 2.
    #[error("no PROXY header: version 2 with command 0 or 1 is expected")]
    Command,
    /// Address family or transport of version 2.
    #[error("no PROXY header: unknown address family or transport")]
    Family,
    /// The addresses of version 2 do not fit the length.
    #[error("no PROXY header: the length is too short for the addresses")]
    TooShort,
    /// Version 2 announces more than is taken.
    #[error("the PROXY header is longer than {max} bytes")]
    TooLong {
        /// The most that is taken.
        max: usize,
    },
}

/// Reads the header that the bytes begin with, if it is whole. One of version 2 may have `max` bytes.
pub fn header(bytes: &[u8], max: usize) -> Header {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(a, b)| a == b);
    let read = if begins(SIGNATURE) {
        block(bytes, max)
    } else if begins(LINE_START) {
        line(bytes)
    } else {
        Err(ProxyFault::NotAHeader)
    };
    match read {
        Ok(Some((source, consumed))) => Header::Complete { source, consumed },
        Ok(None) => Header::Incomplete,
        Err(fault) => Header::Malformed(fault),
    }
}

type Read = Result<Option<(Option<SocketAddr>, usize)>, ProxyFault>;

fn line(bytes: &[u8]) -> Read {
    let window = &bytes[..bytes.len().min(LINE_BYTES)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == LINE_BYTES {
            Err(ProxyFault::Line)
        } else {
            Ok(None)
        };
    };
    let text = window[..end]
        .strip_suffix(b"\r")
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(ProxyFault::Line)?;
    let mut words = text.split(' ').skip(1);
    let source = match words.next() {
        // What stands behind it is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?),
        _ => return Err(ProxyFault::Line),
    };
    Ok(Some((source, end + 1)))
}

/// Source and destination address, source and destination port.
fn addresses<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<SocketAddr, ProxyFault> {
    let mut next = || words.next().ok_or(ProxyFault::Line);
    let address = |text: &str| text.parse::<A>().map_err(|_| ProxyFault::Line);
    let source = address(next()?)?;
    address(next()?)?;
    let port = port(next()?)?;
    self::port(next()?)?;
    match words.next() {
        None => Ok(socket_address(source.into(), port)),
        Some(_) => Err(ProxyFault::Line),
    }
}

fn port(text: &str) -> Result<u16, ProxyFault> {
    let is_number =
        text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| is_number)
        .ok_or(ProxyFault::Line)
}

fn block(bytes: &[u8], max: usize) -> Read {
    let Some((head, rest)) = bytes.split_at_checked(BLOCK_HEAD_BYTES) else {
        return Ok(None);
    };
    let &[.., version_command, family, high, low] = head else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if BLOCK_HEAD_BYTES + length > max {
        return Err(ProxyFault::TooLong { max });
    }
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyFault::Command),
    };
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let source = match family {
        // The sender does not know, or speaks for itself: whatever it says besides is skipped.
        _ if is_local => None,
        0x00 => None,
        0x11 | 0x12 => {
            let addresses = body.first_chunk::<12>().ok_or(ProxyFault::TooShort)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            Some(socket_address(Ipv4Addr::new(a, b, c, d).into(), port))
        }
        0x21 | 0x22 => {
            let addresses = body.first_chunk::<36>().ok_or(ProxyFault::TooShort)?;
            let mut source = [0; 16];
            source.copy_from_slice(&addresses[..16]);
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Some(socket_address(Ipv6Addr::from(source).into(), port))
        }
        // A Unix socket has no address to keep.
        0x31 | 0x32 if body.len() >= 216 => None,
        0x31 | 0x32 => return Err(ProxyFault::TooShort),
        _ => return Err(ProxyFault::Family),
    };
    Ok(Some((source, BLOCK_HEAD_BYTES + length)))
}

fn socket_address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// The body of the `proxy` fuzz target: whatever the bytes are, a header lies inside its bounds, and no
/// part of it already counts as another answer.
#[doc(hidden)]
pub fn fuzz_proxy(data: &[u8]) {
    const MAX: usize = 1024;
    match header(data, MAX) {
        Header::Complete { consumed, source } => {
            assert!(consumed <= data.len() && consumed <= MAX);
            assert!(source.is_none_or(|source| source.ip() == source.ip().to_canonical()));
            for end in 0..consumed {
                assert_eq!(header(&data[..end], MAX), Header::Incomplete, "{end}");
            }
        }
        Header::Incomplete => assert!(data.len() < MAX),
        Header::Malformed(fault) => assert!(!fault.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(bytes: &[u8]) -> Option<Option<String>> {
        match header(bytes, 1024) {
            Header::Complete { source, consumed } => {
                assert_eq!(consumed, bytes.len());
                Some(source.map(|source| source.to_string()))
            }
            _ => None,
        }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn v2_addresses(source: SocketAddr) -> (u8, Vec<u8>) {
        let mut body = Vec::new();
        let family = match source.ip() {
            IpAddr::V4(ip) => {
                body.extend(ip.octets());
                body.extend([127, 0, 0, 1]);
                0x11
            }
            IpAddr::V6(ip) => {
                body.extend(ip.octets());
                body.extend(Ipv6Addr::LOCALHOST.octets());
                0x21
            }
        };
        body.extend(source.port().to_be_bytes());
        body.extend([0, 80]);
        (family, body)
    }

    #[test]
    fn the_lines_of_the_specification_are_read() {
        for (line, expected) in [
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                Some("255.255.255.255:65535"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 1234 80\r\n",
                Some("[2001:db8::1]:1234"),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
                Some("192.0.2.1:1"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            (
                "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                None,
            ),
        ] {
            assert_eq!(
                source(line.as_bytes()),
                Some(expected.map(str::to_owned)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_that_is_not_as_specified_is_malformed() {
        for line in [
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "PROXY \r\n",
        ] {
            assert_eq!(
                header(line.as_bytes(), 1024),
                Header::Malformed(ProxyFault::Line),
                "{line}"
            );
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(header(&endless[..106], 1024), Header::Incomplete);
        assert_eq!(
            header(&endless[..107], 1024),
            Header::Malformed(ProxyFault::Line)
        );
    }

    #[test]
    fn what_is_no_header_is_told_at_its_first_byte() {
        for bytes in [b"GET / HTTP/1.1".as_slice(), b"\0\0\0\x10", b"P0", b"\r\nx"] {
            assert_eq!(
                header(bytes, 1024),
                Header::Malformed(ProxyFault::NotAHeader)
            );
        }
        assert_eq!(header(b"", 1024), Header::Incomplete);
    }

    #[test]
    fn a_local_or_unknown_block_has_no_source() {
        assert_eq!(source(&v2(0x20, 0x00, b"")), Some(None));
        assert_eq!(source(&v2(0x20, 0x11, &[9; 12])), Some(None));
        assert_eq!(source(&v2(0x21, 0x00, b"whatever")), Some(None));
        assert_eq!(source(&v2(0x21, 0x31, &[0; 216])), Some(None));
    }

    #[test]
    fn a_block_that_is_not_as_specified_is_malformed() {
        for (bytes, fault) in [
            (v2(0x11, 0x11, &[0; 12]), ProxyFault::Command),
            (v2(0x22, 0x11, &[0; 12]), ProxyFault::Command),
            (v2(0x21, 0x41, &[0; 12]), ProxyFault::Family),
            (v2(0x21, 0x11, &[0; 11]), ProxyFault::TooShort),
            (v2(0x21, 0x21, &[0; 35]), ProxyFault::TooShort),
            (v2(0x21, 0x31, &[0; 215]), ProxyFault::TooShort),
            (
                v2(0x21, 0x11, &[0; 1009]),
                ProxyFault::TooLong { max: 1024 },
            ),
        ] {
            assert_eq!(header(&bytes, 1024), Header::Malformed(fault));
        }
    }

    proptest! {
        #[test]
        fn a_source_round_trips_through_both_versions_with_anything_behind(
            ip: IpAddr, port: u16, extra in prop::collection::vec(any::<u8>(), 0..50),
            behind in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let expected = SocketAddr::new(ip.to_canonical(), port);
            let kind = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {kind} {ip} {ip} {port} 80\r\n").into_bytes();
            let (family, mut body) = v2_addresses(SocketAddr::new(ip, port));
            body.extend(&extra);
            for mut bytes in [line, v2(0x21, family, &body)] {
                let consumed = bytes.len();
                bytes.extend(&behind);
                prop_assert_eq!(
                    header(&bytes, 1024),
                    Header::Complete { source: Some(expected), consumed }
                );
                fuzz_proxy(&bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_proxy(&data);
            fuzz_proxy(&[SIGNATURE, &data].concat());
            fuzz_proxy(&[LINE_START, &data].concat());
        }
    }
}
