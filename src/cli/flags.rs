//! The settings' flags on the command line, made from the table of settings. Each command takes those that do
//! something there.
//!
//! Values are taken as they are typed: [`Config`](crate::control::config::Config) judges them, together
//! with the other layers.

use std::ffi::OsString;
use std::fmt;
use std::marker::PhantomData;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::control::config::settings::{self, FilesConfig};
use crate::control::config::{Flags, Setting, Toml};

/// Which settings a command takes.
pub(super) trait Scope {
    /// Whether it takes this one.
    fn takes(setting: &Setting) -> bool;

    /// Whether the commands below it take it too.
    const IS_INHERITED: bool;

    /// Whether the help lists it.
    fn is_listed(_: &Setting) -> bool {
        true
    }
}

/// `tell` without a command: all of `serve`, which the help of that lists.
pub(super) enum OfRoot {}

/// What starts a server, or would: all.
pub(super) enum OfServer {}

/// What reads the data directory. The key file is no business of these, but who has it elsewhere gives the same
/// flags to every command.
pub(super) enum OfData {}

/// What works on the key file.
pub(super) enum OfKeys {}

/// What shows settings: those that say where files are.
pub(super) enum OfFiles {}

impl Scope for OfRoot {
    fn takes(_: &Setting) -> bool {
        true
    }

    const IS_INHERITED: bool = false;

    fn is_listed(setting: &Setting) -> bool {
        OfKeys::takes(setting)
    }
}

impl Scope for OfServer {
    fn takes(_: &Setting) -> bool {
        true
    }

    const IS_INHERITED: bool = false;
}

impl Scope for OfData {
    fn takes(setting: &Setting) -> bool {
        OfKeys::takes(setting)
    }

    const IS_INHERITED: bool = true;

    fn is_listed(setting: &Setting) -> bool {
        setting.key != FilesConfig::keys.key
    }
}

impl Scope for OfKeys {
    fn takes(setting: &Setting) -> bool {
        [
            FilesConfig::config.key,
            FilesConfig::data_dir.key,
            FilesConfig::keys.key,
        ]
        .contains(&setting.key)
    }

    const IS_INHERITED: bool = true;
}

impl Scope for OfFiles {
    fn takes(setting: &Setting) -> bool {
        FilesConfig::SETTINGS
            .iter()
            .any(|of_files| of_files.key == setting.key)
    }

    const IS_INHERITED: bool = true;
}

/// The flags that were given, of those that a command takes.
pub(super) struct SettingFlags<S> {
    given: Flags,
    scope: PhantomData<fn(S)>,
}

impl<S> Default for SettingFlags<S> {
    fn default() -> Self {
        Self {
            given: Flags::new(),
            scope: PhantomData,
        }
    }
}

impl<S> fmt::Debug for SettingFlags<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SettingFlags").field(&self.given).finish()
    }
}

impl<S: Scope> SettingFlags<S> {
    /// All of them.
    pub(super) fn given(&self) -> &Flags {
        &self.given
    }

    /// Adds what was given in front of the command. Returns the first that is no flag of the command: dropped
    /// unsaid, it would be missed only later.
    pub(super) fn inherit(&mut self, of_root: &Flags) -> Result<(), &'static Setting> {
        for (setting, text) in of_root {
            if !S::takes(setting) {
                return Err(setting);
            }
            if !self.given.iter().any(|(given, _)| given.key == setting.key) {
                self.given.push((setting, text.clone()));
            }
        }
        Ok(())
    }
}

fn taken<S: Scope>() -> impl Iterator<Item = &'static Setting> {
    settings::all().filter(|setting| S::takes(setting))
}

fn arg(setting: &'static Setting) -> Arg {
    let default = setting.derived_default().unwrap_or(setting.default);
    let help = setting.help;
    let arg = Arg::new(setting.key)
        .long(setting.flag)
        .value_name(setting.kind.name())
        .help(format!("{help} [default: {default}]"))
        .long_help(format!(
            "{help}: {} [default: {default}]",
            setting.kind.right()
        ))
        .help_heading(setting.section)
        .value_parser(value_parser!(OsString));
    if setting.kind.toml() == Toml::Boolean {
        return arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    arg
}

impl<S: Scope> Args for SettingFlags<S> {
    fn augment_args(command: Command) -> Command {
        let args = taken::<S>().map(|setting| {
            arg(setting)
                .global(S::IS_INHERITED)
                .hide(!S::is_listed(setting))
        });
        command.args(args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Scope> FromArgMatches for SettingFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = taken::<S>().filter_map(|setting| {
            let text = matches.get_one::<OsString>(setting.key)?;
            Some((setting, text.clone()))
        });
        Ok(Self {
            given: given.collect(),
            scope: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
