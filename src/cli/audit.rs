//! `tell audit`: whether the audit log is as it was written.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Error;
use crate::control::audit::{self, Verification};
use crate::control::config::Config;

/// Check the audit log of the keys
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow its chain of hashes from the first line to the last; exit with 1 if that is broken
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
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
    pub fn run(&self, config: &Config) -> Result<(), Error> {
        let Command::Verify(verify) = &self.command;
        let found = audit::verify(&config.files.data_dir).map_err(Error::Audit)?;
        let mut out = io::stdout().lock();
        let printed = if verify.json {
            serde_json::to_writer(&mut out, &report(&found))
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        } else {
            print(&mut out, &found)
        };
        printed.map_err(Error::Output)?;
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

fn print(out: &mut impl Write, found: &Verification) -> io::Result<()> {
    for fault in &found.faults {
        writeln!(out, "{fault}")?;
    }
    writeln!(out, "entries  {}", found.entries)?;
    writeln!(out, "last     {}", found.last)
}
