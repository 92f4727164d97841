//! `tell audit`: whether the audit log is as it was written.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::error::Error;
use super::flags::{OfData, SettingFlags};
use super::numbers::grouped;
use super::output::Output;
use crate::control::audit::{self, Verification};
use crate::control::config::Config;

/// Check the audit log of the keys
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(super) settings: SettingFlags<OfData>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow its chain of hashes from the first line to the last; exit with 1 if that is broken
    Verify,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// Lines that are entries.
    entries: u64,
    /// SHA-256 of the last line, which the next entry will carry; zeros where there is none.
    last: String,
    /// What is wrong, in the order of the lines.
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Fault {
    /// From 1.
    line: u64,
    fault: String,
}

impl Audit {
    /// Prints what was found to standard output.
    pub(super) fn run(&self, config: &Config, output: Output) -> Result<(), Error> {
        let Command::Verify = self.command;
        // No log is no proof that nothing happened: somebody may have taken it away.
        if !audit::exists(&config.files.data_dir).map_err(Error::Audit)? {
            return Err(Error::NoAudit(config.files.data_dir.clone()));
        }
        let found = audit::verify(&config.files.data_dir).map_err(Error::Audit)?;
        output.show(&report(&found), |out| print(out, &found))?;
        match found.faults.len() {
            0 => Ok(()),
            faults => Err(Error::AuditFaults(faults)),
        }
    }
}

fn report(found: &Verification) -> Report {
    let faults = found.faults.iter().map(|fault| Fault {
        line: fault.line,
        fault: fault.fault.to_string(),
    });
    Report {
        entries: found.entries,
        last: found.last.clone(),
        faults: faults.collect(),
    }
}

fn print(out: &mut dyn Write, found: &Verification) -> io::Result<()> {
    for fault in &found.faults {
        writeln!(out, "{fault}")?;
    }
    writeln!(out, "entries  {}", grouped(found.entries))?;
    writeln!(out, "last     {}", found.last)
}
