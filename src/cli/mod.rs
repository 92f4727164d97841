//! The command line: one file a command, and here the root that they hang on.
//!
//! The root turns the settings' flags, the environment and the file into a
//! [`Config`] before any command runs, so that all commands mean the same files.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use tracing::subscriber::SetGlobalDefaultError;

use crate::control::Files;
use crate::control::config::edit::EditError;
use crate::control::config::{Config, Faults, Problem};
use crate::journal::recovery::OpenError;
use crate::server::error::ServeError;

pub mod apikeys;
mod audit;
mod config;
mod export;
mod first_start;
mod flags;
pub mod serve;
mod status;
mod storage;

use flags::{FileFlags, ServeFlags};

const LONG_ABOUT: &str = "\
Tell takes in what SDKs, HTTP clients and syslog senders send, checks every streaming key, and keeps \
it durably, apart for each workspace.

Without a command it serves, as `tell serve` does.";

const AFTER_HELP: &str = "\
Every flag can be set in the environment (--data-dir is TELL_DATA_DIR) and, but for --config, in the \
configuration file (data_dir = \"…\"). A flag wins over the environment, the environment over the file.

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
    disable_help_subcommand = true,
)]
pub struct Cli {
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    serve: ServeFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server (also without a command)
    #[command(after_help = AFTER_HELP)]
    Serve(ServeFlags),
    /// Manage the streaming keys of the key file
    Apikeys(apikeys::Apikeys),
    Audit(audit::Audit),
    Config(config::Config),
    Export(export::Export),
    Status(status::Status),
    Storage(storage::Storage),
}

/// Why a command ended without having done what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are at fault.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The configuration file was not changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// `tell config` was asked for what is no setting.
    #[error("{0}")]
    UnknownSetting(Problem),
    /// The log could not be started.
    #[error("cannot start the log: {0}")]
    Logging(SetGlobalDefaultError),
    /// The server could not start, or did not end well.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// There is no journal to read.
    #[error("{0} holds no journal; name the data directory of the server with --data-dir")]
    NoJournal(PathBuf),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// There is no server to ask, or none that answers.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// The audit log cannot be read.
    #[error("cannot read the audit log: {0}")]
    Audit(io::Error),
    /// The audit log is not as it was written.
    #[error("the audit log has {0} faults")]
    AuditFaults(usize),
    /// Standard output does not take what is printed.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// The file system does not tell how much room there is.
    #[error("cannot tell how much room the disk has: {0}")]
    Space(io::Error),
    /// `tell apikeys` said itself what is wrong, and with which exit code.
    #[error("")]
    Apikeys(u8),
}

/// A remark on standard error, where what is asked for goes to standard output.
fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "note: {text}");
}

impl Error {
    /// The exit code: 2 where the settings are at fault, as for a command line that is, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::UnknownSetting(_) | Self::Edit(EditError::Faults(_)) => 2,
            Self::Apikeys(code) => *code,
            Self::Edit(EditError::Io { .. })
            | Self::Logging(_)
            | Self::Serve(_)
            | Self::NoJournal(_)
            | Self::Journal(_)
            | Self::Status(_)
            | Self::Audit(_)
            | Self::AuditFaults(_)
            | Self::Output(_)
            | Self::Space(_) => 1,
        }
    }
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
        let cli = Self::try_parse_from(args)?;
        // `tell --tcp off serve` would leave open whose flag it is, and `tell --tcp off apikeys` would
        // drop it unsaid.
        if let (Some(_), Some((setting, _))) = (&cli.command, cli.serve.0.first()) {
            let text = format!(
                "--{} is a flag of `serve`: expected it after that command",
                setting.flag
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
        let command = self.command.unwrap_or(Command::Serve(self.serve));
        let mut flags = self.files.0;
        match command {
            Command::Serve(serve) => {
                flags.extend(serve.0);
                serve::run(&Config::load(flags, environment)?)
            }
            Command::Apikeys(apikeys) => apikeys::main(
                apikeys,
                &Files::from(&Config::load(flags, environment)?.files),
            ),
            Command::Audit(audit) => audit.run(&Config::load(flags, environment)?),
            Command::Config(config) => config.run(flags, environment.into_iter().collect()),
            Command::Export(export) => export.run(&Config::load(flags, environment)?),
            Command::Status(status) => status.run(&Config::load(flags, environment)?),
            Command::Storage(storage) => storage.run(&Config::load(flags, environment)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Cli, clap::Error> {
        Cli::from_args(line.split(' '))
    }

    fn flags_of(cli: &Cli) -> Vec<(&str, &str)> {
        let serve = match &cli.command {
            Some(Command::Serve(serve)) => serve,
            _ => &cli.serve,
        };
        let all = cli.files.0.iter().chain(&serve.0);
        all.map(|(setting, text)| (setting.key, text.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_takes_the_flags_of_serve() {
        let expected = [("data_dir", "d"), ("tcp", "off")];
        assert_eq!(
            flags_of(&typed("tell --tcp off --data-dir d").unwrap()),
            expected
        );
        assert_eq!(
            flags_of(&typed("tell serve --tcp off --data-dir d").unwrap()),
            expected
        );
        assert_eq!(
            flags_of(&typed("tell --data-dir d serve --tcp off").unwrap()),
            expected
        );
    }

    #[test]
    fn the_example_of_the_help_is_accepted() {
        let example = AFTER_HELP.lines().last().unwrap().trim();
        let cli = typed(example).unwrap();
        assert_eq!(flags_of(&cli).len(), 4);
    }

    #[test]
    fn a_flag_of_serve_before_a_command_is_refused() {
        let error = typed("tell --tcp off serve").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("--tcp is a flag of `serve`"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_flag_exits_with_2_and_help_with_0() {
        assert_eq!(typed("tell --bogus").unwrap_err().exit_code(), 2);
        assert_eq!(typed("tell --help").unwrap_err().exit_code(), 0);
        assert_eq!(typed("tell --version").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn every_fault_of_the_settings_is_a_line_of_the_error() {
        let cli = typed("tell --tcp nowhere --worker-threads 0").unwrap();
        let error = cli.run([("TELL_HTTP".into(), "8080".into())]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error.to_string().lines().count(), 3, "{error}");
    }
}
