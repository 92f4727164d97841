//! What a file may say about listeners, and every fault of it.

use std::path::Path;

use super::*;
use crate::control::config::Config;

fn config(text: &str) -> Result<Config, Vec<String>> {
    with_flags(&[], text)
}

fn with_flags(flags: &[(&'static Setting, &str)], text: &str) -> Result<Config, Vec<String>> {
    let mut raw = Raw::default();
    raw.add_flags(flags.iter().map(|(s, text)| (*s, text.into())).collect());
    raw.add_file(Path::new("t.toml"), text);
    Config::validate(raw).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn addresses(config: &Config, source: Source) -> Vec<String> {
    config
        .listeners
        .iter()
        .filter(|listener| listener.source == source)
        .map(|listener| listener.address.to_string())
        .collect()
}

#[test]
fn a_listener_has_all_that_the_file_says() {
    let config = config(
        r#"
            trusted_proxies = "10.0.0.0/8"
            [[listen.syslog_tcp]]
            address = "0.0.0.0:6514"
            tls_cert = "c.pem"
            tls_key = "k.pem"
            tls_client_ca = "ca.pem"
            max_connections = 9
            proxy_protocol = true
            workspace = "ws-3"
            allow = ["192.0.2.0/24", "2001:db8::/32"]
            timezone = "Europe/Berlin"
            "#,
    )
    .unwrap();
    let expected = Listener {
        source: Source::SyslogTcp,
        address: "0.0.0.0:6514".parse().unwrap(),
        tls: Some(TlsFiles {
            cert: "c.pem".into(),
            key: "k.pem".into(),
            client_ca: Some("ca.pem".into()),
        }),
        max_connections: Some(9),
        proxy_protocol: true,
        bound: Some(BoundWorkspace {
            workspace: Workspace::new(3).unwrap(),
            allow: "192.0.2.0/24,2001:db8::/32".parse().unwrap(),
        }),
        timezone: jiff::tz::TimeZone::get("Europe/Berlin").ok(),
        setting: "listen.syslog_tcp",
    };
    assert_eq!(config.listeners.last(), Some(&expected));
}

#[test]
fn listeners_add_to_a_flat_setting_and_replace_its_default() {
    let text =
        "[[listen.tcp]]\naddress = \"127.0.0.1:1\"\n[[listen.tcp]]\naddress = \"127.0.0.1:2\"\n";
    let alone = config(text).unwrap();
    assert_eq!(
        addresses(&alone, Source::Tcp),
        ["127.0.0.1:1", "127.0.0.1:2"]
    );
    assert_eq!(addresses(&alone, Source::Http), ["127.0.0.1:8080"]);
    let both = config(&format!("tcp = \"127.0.0.1:3\"\n{text}")).unwrap();
    assert_eq!(
        addresses(&both, Source::Tcp),
        ["127.0.0.1:3", "127.0.0.1:1", "127.0.0.1:2"]
    );
    let flag = with_flags(&[(&ListenConfig::tcp, "off")], text).unwrap();
    assert_eq!(addresses(&flag, Source::Tcp).len(), 2);
}

#[test]
fn a_listener_that_is_off_and_inline_tables_are_accepted() {
    let config = config(
        "listen.tcp = [{ address = \"off\" }]\nlisten.http = [{ address = \"127.0.0.1:1\" }]",
    )
    .unwrap();
    assert_eq!(addresses(&config, Source::Http), ["127.0.0.1:1"]);
}

#[test]
fn every_fault_of_every_listener_comes_with_its_line() {
    let found = config(
        r#"
tcq = "off"
[[listen.tcp]]
tls_cert = "c.pem"
worspace = 1
[[listen.http]]
address = "nowhere"
max_connections = 0
tls_client_ca = "ca.pem"
[[listen.syslog_tcp]]
address = "127.0.0.1:1"
workspace = 0
proxy_protocol = "perhaps"
[[listen.syslog_udp]]
address = 5
tls_cert = "c.pem"
[[listen.smtp]]
[listen.x]
"#,
    )
    .unwrap_err();
    let starts = [
        "t.toml:2:1: unknown setting `tcq`",
        "t.toml:3:1: address: `address` is required",
        "t.toml:4:12: tls_cert: `tls_key` is required",
        "t.toml:5:1: unknown setting `worspace`",
        "t.toml:7:11: address: `nowhere` is not accepted",
        "t.toml:8:19: max_connections: `0` is out of range",
        "t.toml:9:17: tls_client_ca: `tls_cert` is required",
        "t.toml:12:13: workspace: `0` is not accepted",
        "t.toml:13:18: proxy_protocol: `perhaps` is not accepted",
        "t.toml:15:11: address: a TOML integer is not accepted",
        "t.toml:16:1: unknown setting `tls_cert`",
        "t.toml:17:10: unknown setting `smtp`",
        "t.toml:18:9: unknown setting `x`",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (fault, start) in found.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault}\n  expected {start}");
    }
}

#[test]
fn a_bound_workspace_needs_its_networks_and_they_need_it() {
    let bound = |rest: &str| {
        config(&format!(
            "[[listen.syslog_udp]]\naddress = \"127.0.0.1:1\"\n{rest}"
        ))
    };
    for rest in ["workspace = 1", "workspace = 1\nallow = \"none\""] {
        let found = bound(rest).unwrap_err();
        assert_eq!(found, ["t.toml:3:13: workspace: `allow` is required"]);
    }
    let found = bound("allow = [\"10.0.0.0/8\"]").unwrap_err();
    assert_eq!(found, ["t.toml:3:9: allow: `workspace` is required"]);
    assert!(bound("workspace = 1\nallow = [\"10.1.0.0/8\"]").is_err());
    assert!(bound("workspace = 1\nallow = [\"10.0.0.0/8\"]").is_ok());
}

#[test]
fn proxy_headers_need_somebody_who_may_send_them() {
    let text = "[[listen.tcp]]\naddress = \"127.0.0.1:1\"\nproxy_protocol = true";
    let found = config(text).unwrap_err();
    assert!(
        matches!(found.as_slice(), [fault]
                if fault.starts_with("t.toml:3:18: proxy_protocol: nobody may send PROXY headers")),
        "{found:?}"
    );
    assert!(with_flags(&[(&ListenConfig::trusted_proxies, "127.0.0.1")], text).is_ok());
}

#[test]
fn addresses_meet_within_a_transport_only() {
    let found = config(
        r#"
[[listen.http]]
address = "127.0.0.1:50000"
[[listen.http]]
address = "0.0.0.0:9464"
[[listen.syslog_udp]]
address = "127.0.0.1:50000"
[[listen.syslog_udp]]
address = "127.0.0.1:50000"
"#,
    )
    .unwrap_err();
    let starts = [
        "t.toml:3:11: listen.http: `127.0.0.1:50000` meets the address of `tcp`",
        "t.toml:5:11: listen.http: `0.0.0.0:9464` meets the address of `metrics`",
        "t.toml:9:11: listen.syslog_udp: `127.0.0.1:50000` meets the address of `listen.syslog_udp`",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (fault, start) in found.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault}");
    }
}

#[test]
fn network_access_opens_the_defaults_and_nothing_else() {
    let config = config("allow_network_access = true\nhttp = \"127.0.0.1:8080\"").unwrap();
    assert_eq!(addresses(&config, Source::Tcp), ["[::]:50000"]);
    assert_eq!(addresses(&config, Source::SyslogUdp), ["[::]:1514"]);
    assert_eq!(addresses(&config, Source::Http), ["127.0.0.1:8080"]);
    assert_eq!(config.listen.metrics, "127.0.0.1:9464".parse().ok());
}

#[test]
fn the_example_of_the_readme_is_accepted() {
    let readme = include_str!("../../../../../README.md");
    let (_, section) = readme.split_once("## Network access and TLS").unwrap();
    let (_, rest) = section.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let config = config(example).unwrap();
    assert_eq!(config.listeners.len(), 6);
    assert_eq!(
        config.listeners.iter().filter(|l| l.tls.is_some()).count(),
        3
    );
}
