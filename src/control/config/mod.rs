//! Configuration: raw settings of three layers become one validated [`Config`], or every fault of all layers at
//! once.
//!
//! - [`settings`]: what can be set, each declared once; how they fit together.
//! - [`setting`], [`kind`]: what a setting is, and what values are.
//! - [`raw`], [`environment`], [`file`], [`table`]: the layers, and which value counts.
//! - [`fault`]: what can be wrong, where, and what would be right.
//! - [`effective`], [`edit`], [`mod@reference`]: the settings shown, changed and documented.
//!
//! Nothing here opens a socket; [`edit`] alone writes a file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

pub mod edit;
mod effective;
mod environment;
mod fault;
mod file;
#[doc(hidden)]
pub mod fuzz;
mod kind;
mod raw;
mod reference;
mod setting;
pub mod settings;
mod table;
mod text;

pub use effective::{Effective, effective};
pub use environment::UnknownVariable;
pub use fault::{Faults, Problem, SettingFault, WrittenAt};
pub use kind::{Accepts, Toml, ValueFault};
pub use raw::Raw;
pub use reference::reference;
pub use setting::{Field, Setting};
pub use settings::{BoundWorkspace, Config, Listener, LogFormat};
pub use text::{show_duration, show_size};

/// Where a listener binds, or `None` where it is off.
pub type Listen = Option<SocketAddr>;

/// Variables with their values.
pub type Environment = Vec<(OsString, OsString)>;

/// Settings as flags, in the order given.
pub type Flags = Vec<(&'static Setting, OsString)>;

impl Config {
    /// Reads all layers: the flags given here, the environment given here, and the file that they name, or
    /// the default one where there is one and they name none.
    ///
    /// # Errors
    ///
    /// Every fault of every layer.
    pub fn load(
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Faults> {
        let environment = environment.into_iter().collect();
        Self::validate(Raw::load(flags, environment, &file::defaults()))
    }
}

/// The file that flags and environment name, or the default one; it may not exist.
#[must_use]
pub fn file_path(flags: Flags, environment: Environment) -> PathBuf {
    let mut raw = Raw::default();
    raw.add_flags(flags);
    raw.add_environment(environment);
    raw.first(&settings::FilesConfig::config).map_or_else(
        || file::default_of(&file::defaults()),
        |value| (&value.text).into(),
    )
}

/// What is wrong with a name that no setting of the file has.
#[must_use]
pub fn unknown_setting(key: &str) -> Problem {
    Problem::UnknownKey {
        key: text::shown(key),
        nearest: text::nearest(key, settings::in_file().map(|setting| setting.key)),
    }
}

#[cfg(test)]
mod tests;
