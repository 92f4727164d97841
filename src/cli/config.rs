//! `tell config`: shows the settings as they count, and changes those of the file.

use std::io::{self, Write};
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::error::Error;
use super::flags::{OfFiles, SettingFlags};
use super::output::{Output, print, write_json};
use crate::control::config::settings::in_file;
use crate::control::config::{
    Effective, Environment, Faults, Flags, Setting, WrittenAt, edit, effective, file_path,
    unknown_setting,
};

/// Show the settings, and change those of the configuration file
#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(super) settings: SettingFlags<OfFiles>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set a setting in the file; a running server takes it up when it is started again
    Set {
        /// As in the file: allow_network_access, http, max_body_size
        key: String,
        /// As a flag would say it
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Print the value of a setting, wherever it comes from
    Get {
        /// As in the file
        key: String,
    },
    /// Print every setting with its value, and where it comes from; with --json one object a line
    #[command(visible_aliases = ["ls", "show"])]
    List,
    #[command(visible_alias = "rm")]
    /// Take a setting out of the file, so that the environment or the default counts
    Unset {
        /// As in the file
        key: String,
    },
}

/// A setting as `--json` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    key: &'a str,
    value: &'a str,
    source: String,
}

impl<'a> Shown<'a> {
    fn new(setting: &'a Effective) -> Self {
        Self {
            key: setting.key,
            value: &setting.value,
            source: setting.place.to_string(),
        }
    }
}

impl Config {
    /// Runs it, with the flags and the environment that the server would have.
    pub(super) fn run(
        self,
        flags: Flags,
        environment: Environment,
        output: Output,
    ) -> Result<(), Error> {
        let path = file_path(flags.clone(), environment.clone());
        match self.command {
            Command::Set { key, value } => {
                let setting = find(&key)?;
                edit::set(&path, setting, &value)?;
                said(setting, &path, effective(flags, environment), output)
            }
            Command::Unset { key } => {
                let setting = find(&key)?;
                if !edit::unset(&path, setting)? {
                    output.note(&format!("{} has no {key}", path.display()));
                }
                said(setting, &path, effective(flags, environment), output)
            }
            Command::Get { key } => {
                let setting = find(&key)?;
                let all = effective(flags, environment)?;
                let found = all.iter().find(|found| found.key == setting.key);
                print(|out| {
                    found.map_or(Ok(()), |found| match output.json {
                        true => write_json(out, &Shown::new(found)),
                        false => writeln!(out, "{}", found.value),
                    })
                })
            }
            Command::List => {
                let all = effective(flags, environment)?;
                print(|out| {
                    all.iter().try_for_each(|setting| match output.json {
                        true => write_json(out, &Shown::new(setting)),
                        false => print_line(out, setting),
                    })
                })
            }
        }
    }
}

fn find(key: &str) -> Result<&'static Setting, Error> {
    in_file()
        .find(|setting| setting.key == key)
        .ok_or_else(|| Error::UnknownSetting(unknown_setting(key)))
}

/// Says what counts after a change, and where that is not what the file says.
fn said(
    setting: &Setting,
    path: &Path,
    all: Result<Vec<Effective>, Faults>,
    output: Output,
) -> Result<(), Error> {
    let all = match all {
        Ok(all) => all,
        Err(faults) => {
            // The file is good: it was checked before it was written.
            output.note(&format!("{} is changed, but:\n{faults}", path.display()));
            return Ok(());
        }
    };
    let Some(found) = all.iter().find(|found| found.key == setting.key) else {
        return Ok(());
    };
    if matches!(found.place, WrittenAt::Flag(_) | WrittenAt::Variable(_)) {
        output.note(&format!("{} wins over {}", found.place, path.display()));
    }
    output.show(&Shown::new(found), |out| print_line(out, found))
}

fn print_line(out: &mut dyn Write, setting: &Effective) -> io::Result<()> {
    writeln!(
        out,
        "{:<22} {:<28} {}",
        setting.key, setting.value, setting.place
    )
}
