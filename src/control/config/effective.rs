//! Every setting as it counts, and where it comes from.

use super::settings::{self, in_file};
use super::{Config, Environment, Faults, Flags, Listen, Raw, WrittenAt};
use crate::origin::Source;

/// One setting as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its key in the file.
    pub key: &'static str,
    /// Its value, as a flag would say it.
    pub value: String,
    /// Where that was written.
    pub place: WrittenAt,
}

/// Every setting, in the order of the help, then the listeners of the file.
///
/// # Errors
///
/// Every fault of every layer: what is at fault does not count.
pub fn effective(flags: Flags, environment: Environment) -> Result<Vec<Effective>, Faults> {
    let raw = Raw::load(flags, environment);
    let written: Vec<_> = in_file()
        .map(|setting| (setting, raw.first(setting).map(|v| v.text.clone())))
        .map(|(setting, text)| (setting, text, raw.place_of(setting)))
        .collect();
    let listeners: Vec<_> = raw
        .listeners
        .iter()
        .map(|raw| {
            let tls = if raw.listener.tls.is_some() {
                " (TLS)"
            } else {
                ""
            };
            Effective {
                key: raw.listener.setting,
                value: format!("{}{tls}", raw.listener.address),
                place: raw.place.clone(),
            }
        })
        .collect();
    let config = Config::validate(raw)?;
    let settings = written.into_iter().map(|(setting, text, place)| {
        let value = match text {
            Some(text) => text.to_string_lossy().into_owned(),
            None => default(setting.key, setting.default, &config),
        };
        let key = setting.key;
        Effective { key, value, place }
    });
    Ok(settings.chain(listeners).collect())
}

/// What counts where nothing is written: the default of the table, or what it was derived from.
fn default(key: &str, default: &str, config: &Config) -> String {
    let address = |listen: Listen| listen.map_or_else(|| "off".to_owned(), |a| a.to_string());
    if key == Source::Tcp.as_str() {
        address(config.tcp)
    } else if key == Source::Http.as_str() {
        address(config.http)
    } else if key == Source::SyslogTcp.as_str() {
        address(config.syslog_tcp)
    } else if key == Source::SyslogUdp.as_str() {
        address(config.syslog_udp)
    } else if key == settings::KEYS.key {
        config.keys.display().to_string()
    } else if key == settings::WORKER_THREADS.key {
        config.worker_threads.to_string()
    } else {
        default.to_owned()
    }
}
