//! Layers, precedence and the reporting of faults.

use proptest::prelude::*;

use std::path::Path;
use std::time::Duration;

use super::settings::listen::collide;
use super::settings::{
    FilesConfig, JournalConfig, LimitsConfig, ListenConfig, LoggingConfig, ProcessConfig,
};
use super::*;
use crate::control::Files;
use crate::journal::JournalLimit;
use crate::network::{CorsOrigins, Networks};

fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn config(
    flags: &[(&'static Setting, &str)],
    variables: &[(&str, &str)],
    file: &str,
) -> Result<Config, Faults> {
    let mut raw = Raw::default();
    raw.add_flags(
        flags
            .iter()
            .map(|(setting, text)| (*setting, OsString::from(text)))
            .collect(),
    );
    raw.add_environment(vars(variables));
    raw.add_file(Path::new("tell.toml"), file);
    Config::validate(raw)
}

/// Reads all layers, with the directory in the role of the working directory.
fn load_in(directory: &Path, flags: Flags, variables: Environment) -> Result<Config, Faults> {
    let defaults = [directory.join("tell.toml"), directory.join("etc/tell.toml")];
    Config::validate(Raw::load(flags, variables, &defaults))
}

fn faults(
    flags: &[(&'static Setting, &str)],
    variables: &[(&str, &str)],
    file: &str,
) -> Vec<String> {
    let faults = config(flags, variables, file).expect_err("a fault");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_set_gives_the_defaults() {
    let config = config(&[], &[], "").unwrap();
    let expected = Config {
        files: FilesConfig {
            config: PathBuf::new(),
            data_dir: "./tell-data".into(),
            keys: "./tell-data/keys".into(),
            strict_permissions: false,
        },
        listen: ListenConfig {
            tcp: "127.0.0.1:50000".parse().ok(),
            http: "127.0.0.1:8080".parse().ok(),
            syslog_tcp: "127.0.0.1:1514".parse().ok(),
            syslog_udp: "127.0.0.1:1514".parse().ok(),
            metrics: "127.0.0.1:9464".parse().ok(),
            allow_network_access: false,
            trusted_proxies: Networks::default(),
            forwarders: Networks::default(),
            cors_origins: CorsOrigins::Any,
            syslog_timezone: jiff::tz::TimeZone::system(),
        },
        listeners: config.listeners.clone(),
        limits: LimitsConfig {
            max_connections: 16384,
            max_connections_per_source: 1024,
            stall_timeout: Duration::from_secs(30),
            max_frame_size: 16 << 20,
            max_body_size: 10 << 20,
            max_queued_bytes: 32 << 20,
            max_in_flight_bytes: 128 << 20,
        },
        journal: JournalConfig {
            journal_limit: JournalLimit::TenthFree,
            segment_size: 64 << 20,
        },
        logging: LoggingConfig {
            log_format: LogFormat::Text,
            log_level: tracing::Level::INFO,
        },
        process: ProcessConfig {
            shutdown_timeout: Duration::from_secs(30),
            worker_threads: std::thread::available_parallelism().unwrap().get(),
        },
        unknown_variables: Vec::new(),
    };
    assert_eq!(config.listeners.len(), 4);
    assert_eq!(config, expected);
}

#[test]
fn a_file_sets_everything() {
    let config = config(
        &[],
        &[],
        r#"
        data_dir = "/var/lib/tell"
        keys = "/etc/tell/keys"
        tcp = "0.0.0.0:1"
        http = "[::1]:2"
        syslog_tcp = "off"
        syslog_udp = "127.0.0.1:0"
        metrics = "127.0.0.1:3"
        allow_network_access = true
        trusted_proxies = "10.0.0.0/8"
        forwarders = ["::1", "192.0.2.0/24"]
        cors_origins = "https://shop.example, http://localhost:3000"
        syslog_timezone = "Europe/Berlin"
        strict_permissions = true
        log_format = "json"
        log_level = "debug"
        journal_limit = "500MB"
        segment_size = 4194304
        max_connections = 5
        max_frame_size = "1MiB"
        max_body_size = "2MiB"
        max_queued_bytes = "3MiB"
        max_in_flight_bytes = "5MiB"
        shutdown_timeout = "500ms"
        worker_threads = 3
        "#,
    );
    let config = config.unwrap();
    let expected = Config {
        files: FilesConfig {
            config: PathBuf::new(),
            data_dir: "/var/lib/tell".into(),
            keys: "/etc/tell/keys".into(),
            strict_permissions: true,
        },
        listen: ListenConfig {
            tcp: "0.0.0.0:1".parse().ok(),
            http: "[::1]:2".parse().ok(),
            syslog_tcp: None,
            syslog_udp: "127.0.0.1:0".parse().ok(),
            metrics: "127.0.0.1:3".parse().ok(),
            allow_network_access: true,
            trusted_proxies: "10.0.0.0/8".parse().unwrap(),
            forwarders: "::1,192.0.2.0/24".parse().unwrap(),
            cors_origins: CorsOrigins::These(vec![
                "https://shop.example".to_owned(),
                "http://localhost:3000".to_owned(),
            ]),
            syslog_timezone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap(),
        },
        listeners: config.listeners.clone(),
        limits: LimitsConfig {
            max_connections: 5,
            max_connections_per_source: 1024,
            stall_timeout: Duration::from_secs(30),
            max_frame_size: 1 << 20,
            max_body_size: 2 << 20,
            max_queued_bytes: 3 << 20,
            max_in_flight_bytes: 5 << 20,
        },
        journal: JournalConfig {
            journal_limit: JournalLimit::Bytes(500_000_000),
            segment_size: 4 << 20,
        },
        logging: LoggingConfig {
            log_format: LogFormat::Json,
            log_level: tracing::Level::DEBUG,
        },
        process: ProcessConfig {
            shutdown_timeout: Duration::from_millis(500),
            worker_threads: 3,
        },
        unknown_variables: Vec::new(),
    };
    assert_eq!(config, expected);
}

#[test]
fn the_key_file_is_in_the_data_directory_unless_named() {
    let config = config(&[(&FilesConfig::data_dir, "/srv/tell")], &[], "").unwrap();
    assert_eq!(config.files.keys, Path::new("/srv/tell/keys"));
    assert_eq!(Files::from(&config.files).data_dir, Path::new("/srv/tell"));
}

#[test]
fn every_setting_is_read_from_every_layer() {
    // No setting takes an empty value, so each layer has to object to each.
    for setting in settings::all() {
        let found = faults(&[(setting, "")], &[(setting.variable, "")], "");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with(&format!("--{}: ", setting.flag)),
            "{found:?}"
        );
        assert!(
            found[1].starts_with(&format!("{}: ", setting.variable)),
            "{found:?}"
        );
    }
    for setting in settings::in_file() {
        let found = faults(&[], &[], &format!("{} = ''", setting.key));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn a_fault_says_where_it_is_and_what_would_be_right() {
    assert_eq!(
        faults(
            &[
                (&LimitsConfig::max_connections, "0"),
                (&ListenConfig::tcp, "example.org:50000")
            ],
            &[("TELL_LOG_LEVEL", "loud")],
            "\nsegment_size = \"2GiB\"\nshutdown_timeout = \"30\"\n",
        ),
        [
            "--tcp: `example.org:50000` is not accepted: expected an address and port (`127.0.0.1:5000`, \
             `[::1]:5000`, `localhost:5000`; `:5000`: all addresses; port 0: any free one) or `off`",
            "--max-connections: `0` is out of range: expected a number from 1 to 1048576",
            "TELL_LOG_LEVEL: `loud` is not accepted: expected `error`, `warn`, `info`, `debug` or `trace`",
            "tell.toml:2:16: segment_size: `2GiB` is out of range: expected a size from 1MiB to 1GiB",
            "tell.toml:3:20: shutdown_timeout: `30` is not accepted: expected a duration from 100ms to \
             1h, with its unit (`500ms`, `30s`, `2m`)",
        ]
    );
}

#[test]
fn an_origin_that_no_browser_sends_is_a_fault() {
    let origins = |text: &str| config(&[(&ListenConfig::cors_origins, text)], &[], "").is_ok();
    assert!(origins("off") && origins("https://[::1]:8443") && origins("app+x://a,http://b:1"));
    for bad in [
        "any",
        "shop.example",
        "https://shop.example/",
        "https://a,",
        "https://*",
        "*,off",
    ] {
        assert!(!origins(bad), "{bad}");
    }
}

#[test]
fn a_fault_that_a_higher_layer_overrides_is_reported() {
    let found = faults(
        &[(&ListenConfig::tcp, "off")],
        &[("TELL_TCP", "nowhere")],
        "tcp = \"nowhere\"",
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn faults_of_all_layers_and_between_settings_come_together() {
    let found = faults(
        &[(&ListenConfig::http, "127.0.0.1:50000")],
        &[("TELL_BOGUS", "1")],
        "max_queued_bytes = \"1MiB\"\ntcq = \"off\"\nlog_format = \"xml\"\n",
    );
    assert_eq!(
        found,
        [
            "--http: `127.0.0.1:50000` meets the address of `tcp`: expected an address or a port of its own for each",
            "tell.toml:1:20: max_queued_bytes: `max_queued_bytes` (1MiB) cannot hold one `max_frame_size` (16MiB): \
             expected at least as much",
            "tell.toml:1:20: max_queued_bytes: `max_queued_bytes` (1MiB) cannot hold one `max_body_size` (10MiB): \
             expected at least as much",
            "tell.toml:2:1: unknown setting `tcq`: did you mean `tcp`?",
            "tell.toml:3:14: log_format: `xml` is not accepted: expected `text` or `json`",
        ]
    );
}

#[test]
fn a_bound_is_blamed_on_the_setting_that_was_written() {
    let found = faults(&[], &[], "max_body_size = \"100MiB\"");
    assert!(
        matches!(found.as_slice(), [queue, segment]
            if queue.starts_with("tell.toml:1:17: max_body_size: `max_queued_bytes`")
            && segment.starts_with("tell.toml:1:17: max_body_size: `segment_size`")),
        "{found:?}"
    );
    let found = faults(&[(&JournalConfig::journal_limit, "2MiB")], &[], "");
    assert!(
        matches!(found.as_slice(), [fault] if fault.starts_with("--journal-limit: ")),
        "{found:?}"
    );
}

#[test]
fn tcp_listeners_need_addresses_of_their_own() {
    let collides = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
    assert!(collides("127.0.0.1:1", "127.0.0.1:1"));
    assert!(collides("0.0.0.0:1", "127.0.0.1:1"));
    assert!(collides("127.0.0.1:1", "[::]:1"));
    assert!(!collides("127.0.0.1:1", "127.0.0.1:2"));
    assert!(!collides("127.0.0.1:1", "127.0.0.2:1"));
    assert!(!collides("0.0.0.0:1", "[::1]:1"));
    assert!(!collides("127.0.0.1:0", "127.0.0.1:0"));
    // UDP has ports of its own.
    assert!(config(&[(&ListenConfig::syslog_udp, "127.0.0.1:50000")], &[], "").is_ok());
}

#[test]
fn a_file_that_is_named_has_to_exist() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.toml");
    let flags: Flags = vec![(&FilesConfig::config, absent.clone().into())];
    let found = load_in(dir.path(), flags, vec![]).unwrap_err().to_string();
    assert!(
        found.starts_with("--config: cannot read the configuration file `"),
        "{found}"
    );
    let found = load_in(
        dir.path(),
        vec![],
        vec![("TELL_CONFIG".into(), absent.into())],
    )
    .unwrap_err();
    assert!(found.to_string().starts_with("TELL_CONFIG: "), "{found}");
}

#[test]
fn tell_toml_of_the_working_directory_is_read_unless_another_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let connections = || {
        load_in(dir.path(), vec![], vec![])
            .unwrap()
            .limits
            .max_connections
    };
    assert_eq!(connections(), 16384);
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    std::fs::write(dir.path().join("etc/tell.toml"), "max_connections = 5").unwrap();
    assert_eq!(connections(), 5, "that of an installed server");
    std::fs::write(dir.path().join("tell.toml"), "max_connections = 7").unwrap();
    assert_eq!(connections(), 7, "that of the working directory");
    let other = dir.path().join("other.toml");
    std::fs::write(&other, "worker_threads = 2").unwrap();
    let flags: Flags = vec![(&FilesConfig::config, other.clone().into())];
    let config = load_in(dir.path(), flags, vec![]).unwrap();
    assert_eq!(config.limits.max_connections, 16384);
    assert_eq!(config.process.worker_threads, 2);
    assert_eq!(config.files.config, other);
}

#[cfg(unix)]
#[test]
fn a_path_need_not_be_utf8_but_everything_else_has_to() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(b"/srv/\xff".to_vec());
    let mut raw = Raw::default();
    raw.add_flags(vec![(&FilesConfig::data_dir, odd())]);
    assert_eq!(
        Config::validate(raw).unwrap().files.data_dir,
        PathBuf::from(odd())
    );
    let mut raw = Raw::default();
    raw.add_flags(vec![(&ListenConfig::tcp, odd())]);
    assert!(
        Config::validate(raw)
            .unwrap_err()
            .to_string()
            .starts_with("--tcp: the value is not UTF-8")
    );
}

proptest! {
    #[test]
    fn the_highest_layer_that_has_a_value_wins(
        flag in proptest::option::of(1usize..1000),
        variable in proptest::option::of(1usize..1000),
        file in proptest::option::of(1usize..1000),
    ) {
        let mut raw = Raw::default();
        raw.add_flags(flag.iter().map(|n| (&LimitsConfig::max_connections, n.to_string().into())).collect());
        raw.add_environment(variable.map(|n| ("TELL_MAX_CONNECTIONS".into(), n.to_string().into())));
        raw.add_file(Path::new("tell.toml"), &file.map(|n| format!("max_connections = {n}")).unwrap_or_default());
        let expected = flag.or(variable).or(file).unwrap_or(16384);
        prop_assert_eq!(Config::validate(raw).unwrap().limits.max_connections, expected);
    }

    #[test]
    fn a_file_with_n_broken_settings_has_n_faults(broken in proptest::collection::vec(any::<bool>(), settings::in_file().count())) {
        let mut text = String::new();
        let mut lines = Vec::new();
        for (i, (setting, broken)) in settings::in_file().zip(broken).enumerate() {
            if broken {
                lines.push(i + 1);
                text.push_str(&format!("{} = []\n", setting.key));
            } else {
                text.push_str("# whole\n");
            }
        }
        let found = match config(&[], &[], &text) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(|fault| match fault.place {
                WrittenAt::File { position: Some((line, _)), .. } => line,
                _ => 0,
            }).collect(),
        };
        prop_assert_eq!(found, lines);
    }
}
