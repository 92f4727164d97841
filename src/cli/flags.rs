//! The settings' flags on the command line, made from the table of settings.
//!
//! Values are taken as they are typed: [`Config`](crate::control::config::Config) judges them, together
//! with the other layers.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::control::config::settings::{self, FilesConfig};
use crate::control::config::{Flags, Setting, Toml};

/// Flags that say where files are; every command takes them.
#[derive(Debug, Default)]
pub struct FileFlags(pub Flags);

/// Flags of the server alone.
#[derive(Debug, Default)]
pub struct ServeFlags(pub Flags);

fn of_files() -> impl Iterator<Item = &'static Setting> {
    FilesConfig::SETTINGS.iter()
}

fn of_serve() -> impl Iterator<Item = &'static Setting> {
    let of_files = |key| of_files().any(|setting| setting.key == key);
    settings::all().filter(move |setting| !of_files(setting.key))
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

fn given(settings: impl Iterator<Item = &'static Setting>, matches: &ArgMatches) -> Flags {
    settings
        .filter_map(|setting| {
            let text = matches.get_one::<OsString>(setting.key)?;
            Some((setting, text.clone()))
        })
        .collect()
}

impl Args for FileFlags {
    fn augment_args(command: Command) -> Command {
        command.args(of_files().map(|setting| arg(setting).global(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FileFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(of_files(), matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ServeFlags {
    fn augment_args(command: Command) -> Command {
        command.args(of_serve().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(of_serve(), matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
