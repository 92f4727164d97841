//! Every setting as it counts, and where it comes from.

use super::settings::{in_file, listen};
use super::{Config, Environment, Faults, Flags, Raw, WrittenAt, file};

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
    let raw = Raw::load(flags, environment, &file::defaults());
    let written: Vec<_> = in_file()
        .map(|setting| {
            let text = raw.first(setting).map(|value| value.text.clone());
            (setting.key, text, raw.place_of(setting))
        })
        .collect();
    let tables = raw
        .file
        .as_ref()
        .map(|file| listen::tables(file, &mut Vec::new()));
    let listeners = tables.unwrap_or_default().into_iter().map(|table| {
        let tls = table.listener.tls.map_or("", |_| " (TLS)");
        Effective {
            key: table.listener.setting,
            value: format!("{}{tls}", table.listener.address),
            place: table.place,
        }
    });
    let config = Config::validate(raw)?;
    let settings = written.into_iter().map(|(key, text, place)| {
        let written = text.map(|text| text.to_string_lossy().into_owned());
        let value = written.or_else(|| config.show(key)).unwrap_or_default();
        Effective { key, value, place }
    });
    Ok(settings.chain(listeners).collect())
}
