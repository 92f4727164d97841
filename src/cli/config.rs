//! `tell config`: shows the settings as they count, and changes those of the file.

use std::io::{self, Write};
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Error, note};
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
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print every setting with its value, and where it comes from
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
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
    pub fn run(self, flags: Flags, environment: Environment) -> Result<(), Error> {
        let path = file_path(flags.clone(), environment.clone());
        match self.command {
            Command::Set { key, value } => {
                let setting = find(&key)?;
                edit::set(&path, setting, &value)?;
                said(setting, &path, effective(flags, environment))
            }
            Command::Unset { key } => {
                let setting = find(&key)?;
                if !edit::unset(&path, setting)? {
                    note(&format!("{} has no {key}", path.display()));
                }
                said(setting, &path, effective(flags, environment))
            }
            Command::Get { key, json } => {
                let setting = find(&key)?;
                let all = effective(flags, environment)?;
                let found = all.iter().find(|found| found.key == setting.key);
                print(|out| {
                    found.map_or(Ok(()), |found| match json {
                        true => print_json(out, found),
                        false => writeln!(out, "{}", found.value),
                    })
                })
            }
            Command::List { json } => {
                let all = effective(flags, environment)?;
                print(|out| {
                    all.iter().try_for_each(|setting| match json {
                        true => print_json(out, setting),
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
fn said(setting: &Setting, path: &Path, all: Result<Vec<Effective>, Faults>) -> Result<(), Error> {
    let all = match all {
        Ok(all) => all,
        Err(faults) => {
            // The file is good: it was checked before it was written.
            note(&format!("{} is changed, but:\n{faults}", path.display()));
            return Ok(());
        }
    };
    let Some(found) = all.iter().find(|found| found.key == setting.key) else {
        return Ok(());
    };
    if matches!(found.place, WrittenAt::Flag(_) | WrittenAt::Variable(_)) {
        note(&format!("{} wins over {}", found.place, path.display()));
    }
    print(|out| print_line(out, found))
}

fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    write(&mut io::stdout().lock()).map_err(Error::Output)
}

fn print_line(out: &mut dyn Write, setting: &Effective) -> io::Result<()> {
    writeln!(
        out,
        "{:<22} {:<28} {}",
        setting.key, setting.value, setting.place
    )
}

fn print_json(out: &mut dyn Write, setting: &Effective) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Shown::new(setting))?;
    writeln!(out)
}
