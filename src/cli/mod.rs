//! The command line: one file a command, and here the root that they hang on.
//!
//! The root turns the settings' flags, the environment and the file into a
//! [`Config`](crate::control::config::Config) before any command runs, so that all commands mean the same
//! files.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::control::Files;
use crate::control::config::{Config as Settings, Environment, Flags, Setting};

pub mod apikeys;
mod arguments;
mod audit;
mod client;
mod config;
mod error;
mod export;
mod first_start;
mod flags;
mod kept;
mod manual;
mod numbers;
mod output;
mod ports;
mod program;
pub mod serve;
mod status;
mod storage;
mod table;
mod version;

pub use arguments::main;
pub use error::Error;

use flags::{OfRoot, OfServer, SettingFlags};
use output::Output;

const LONG_ABOUT: &str = "\
Tell takes in what SDKs, HTTP clients and syslog senders send, checks every streaming key, and keeps \
it durably, apart for each workspace.

Without a command it serves, as `tell serve` does, and takes the flags of that.";

const AFTER_HELP: &str = "\
Every setting's flag can be given in the environment (--data-dir is TELL_DATA_DIR) and, but for --config, in \
the configuration file (data_dir = \"…\"). A flag wins over the environment, the environment over the file.

Example: HTTP on all addresses, no syslog, data in /var/lib/tell

  tell serve --data-dir /var/lib/tell --http 0.0.0.0:8080 --syslog-tcp off --syslog-udp off";

/// The command line as typed.
#[derive(Debug, Parser)]
#[command(
    name = "tell",
    version,
    about = "Self-hosted streaming ingestion server",
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingFlags<OfRoot>,
    /// Write JSON: what is printed, and errors too
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server (also without a command)
    #[command(after_help = AFTER_HELP, visible_alias = "start", alias = "run")]
    Serve(SettingFlags<OfServer>),
    Status(status::Status),
    /// Manage the streaming keys of the key file
    #[command(aliases = ["apikey", "api-keys", "api-key", "keys", "key"])]
    Apikeys(apikeys::Apikeys),
    #[command(alias = "settings")]
    Config(config::Config),
    Export(export::Export),
    Storage(storage::Storage),
    Audit(audit::Audit),
    Completions(manual::Completions),
    Man(manual::Man),
    /// Print the version
    Version,
}

impl Cli {
    /// Parses a command line, of which the first word is the program's name.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or the help or version that it asks for.
    pub fn from_args<T>(args: impl IntoIterator<Item = T>) -> Result<Self, clap::Error>
    where
        T: Into<OsString> + Clone,
    {
        let mut cli = Self::try_parse_from(args)?;
        let root = cli.settings.given().clone();
        let command = cli
            .command
            .get_or_insert_with(|| Command::Serve(SettingFlags::default()));
        if let Err(setting) = command.inherit(&root) {
            let text = format!(
                "--{} is a flag of `serve`: `{}` has no use for it",
                setting.flag,
                command.name()
            );
            return Err(Self::command().error(ErrorKind::ArgumentConflict, text));
        }
        Ok(cli)
    }

    /// Runs the command, with the environment's settings.
    ///
    /// # Errors
    ///
    /// Every fault of the settings, or what the command failed at.
    pub fn run(
        self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), Error> {
        let output = Output { json: self.json };
        let environment: Environment = environment.into_iter().collect();
        let load = |flags: &Flags| Settings::load(flags.clone(), environment.clone());
        let command = match self.command {
            Some(command) => command,
            None => Command::Serve(SettingFlags::default()),
        };
        match command {
            Command::Serve(flags) => serve::run(&load(flags.given())?),
            Command::Status(status) => status.run(&load(status.settings.given())?, output),
            Command::Apikeys(apikeys) => {
                let config = load(apikeys.settings.given())?;
                let http = client::http_address(&config);
                apikeys::main(apikeys, &Files::from(&config.files), http, output)
            }
            Command::Config(config) => {
                let flags = config.settings.given().clone();
                config.run(flags, environment, output)
            }
            Command::Export(export) => export.run(&load(export.settings.given())?, output),
            Command::Storage(storage) => storage.run(&load(storage.settings.given())?, output),
            Command::Audit(audit) => audit.run(&load(audit.settings.given())?, output),
            Command::Completions(completions) => completions.run(Self::command()),
            Command::Man(man) => man.run(Self::command()),
            Command::Version => version::run(output),
        }
    }
}

impl Command {
    /// Takes over the flags in front of it; the first that it does not take is returned.
    fn inherit(&mut self, root: &Flags) -> Result<(), &'static Setting> {
        match self {
            Self::Serve(flags) => flags.inherit(root),
            Self::Status(status) => status.settings.inherit(root),
            Self::Apikeys(apikeys) => apikeys.settings.inherit(root),
            Self::Config(config) => config.settings.inherit(root),
            Self::Export(export) => export.settings.inherit(root),
            Self::Storage(storage) => storage.settings.inherit(root),
            Self::Audit(audit) => audit.settings.inherit(root),
            Self::Completions(_) | Self::Man(_) | Self::Version => {
                root.first().map_or(Ok(()), |(setting, _)| Err(*setting))
            }
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Status(_) => "status",
            Self::Apikeys(_) => "apikeys",
            Self::Config(_) => "config",
            Self::Export(_) => "export",
            Self::Storage(_) => "storage",
            Self::Audit(_) => "audit",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Version => "version",
        }
    }
}

#[cfg(test)]
mod tests;
