//! What the command line knows of itself and of who uses it, and how it reads words that several commands take.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::control::config::Config;
use crate::origin::{Source, Workspace};

/// Parses `1` or `ws-1`.
pub(super) fn parse_workspace(text: &str) -> Result<Workspace, &'static str> {
    Workspace::parse(text)
        .ok_or("a workspace is an integer from 1 to 4294967295, such as 1 or ws-1")
}

/// How this program was called, so that a line with it can be typed again: `tell` where the shell found it,
/// else its path.
pub(super) fn called() -> String {
    let word = std::env::args_os().next();
    match word.as_deref().map(OsStr::to_string_lossy) {
        Some(word) if word.contains('/') => shell_word(&word),
        _ => "tell".to_owned(),
    }
}

/// The word as a shell reads it back.
pub(super) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A user of the operating system: by name, or by number where there is none here.
pub(super) fn user_name(uid: u32) -> String {
    let uid = uid.to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    });
    name.unwrap_or(&uid).to_owned()
}

/// Who listens on all addresses is asked on this machine's own.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Where the configured server takes HTTP in the clear: over TLS a client has to know the name and the
/// authority of the certificate, so that no one command line does for all.
pub(super) fn plain_http(config: &Config) -> Option<SocketAddr> {
    config
        .listeners
        .iter()
        .filter(|listener| listener.source == Source::Http)
        .find(|listener| listener.tls.is_none() && !listener.proxy_protocol)
        .map(|listener| reachable(listener.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        assert_eq!(shell_word("./tell-data"), "./tell-data");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_server_on_all_addresses_is_asked_on_the_loopback_one() {
        let asked = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(asked("[::]:9464"), "[::1]:9464");
        assert_eq!(asked("192.0.2.7:9464"), "192.0.2.7:9464");
    }
}
