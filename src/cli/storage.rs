//! `tell storage`: what the journal holds, for whom, and how much room is left.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::error::Error;
use super::flags::{OfData, SettingFlags};
use super::kept::Kept;
use super::numbers::{grouped, sized};
use super::output::{self, Output};
use super::table::{Table, number, text};
use crate::control::config::Config;
use crate::journal::JournalLimit;
use crate::journal::read::{self, Found};
use crate::journal::storage::Storage as _;
use crate::origin::Workspace;

/// Show segments, bytes and records per workspace, and what is left
#[derive(Debug, Args)]
pub struct Storage {
    #[command(flatten)]
    pub(super) settings: SettingFlags<OfData>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// Journal segment files.
    segments: usize,
    /// Disk that they take, with the space reserved ahead, bytes.
    disk_bytes: u64,
    /// What may be added before ingest pushes back, bytes.
    left_bytes: u64,
    /// Records in all.
    records: u64,
    /// Places that hold neither a record nor nothing.
    damaged: u64,
    /// By workspace, in the order of their numbers.
    workspaces: Vec<OfWorkspace>,
}

#[derive(Debug, Default, Serialize)]
struct OfWorkspace {
    workspace: String,
    records: u64,
    /// Records with their headers, bytes.
    bytes: u64,
}

impl Storage {
    /// Prints the report to standard output.
    pub(super) fn run(&self, config: &Config, output: Output) -> Result<(), Error> {
        let report = report(config)?;
        let width = output::width();
        output.show(&report, |out| print(out, &report, width))
    }
}

fn report(config: &Config) -> Result<Report, Error> {
    let kept = Kept::open(config)?;
    let segments = read::segments(&kept.disk)?;
    let disk_bytes = segments.iter().map(|s| s.disk_bytes).sum();
    let left_bytes = match config.journal.journal_limit {
        JournalLimit::Bytes(limit) => limit.saturating_sub(disk_bytes),
        JournalLimit::TenthFree => {
            let space = kept.disk.space().map_err(Error::Space)?;
            space.available.saturating_sub(space.total / 10)
        }
    };
    let mut workspaces: BTreeMap<Workspace, OfWorkspace> = BTreeMap::new();
    let (mut records, mut damaged) = (0, 0);
    read::through(kept.cursor()?, |found| {
        match found {
            Found::Record(record) => {
                records += 1;
                let of = workspaces.entry(record.facts.workspace).or_default();
                of.records += 1;
                of.bytes += read::disk_bytes(&record);
            }
            Found::DamagedPayload(_) | Found::DamagedBytes { .. } | Found::Missing { .. } => {
                damaged += 1;
            }
        }
        true
    })?;
    Ok(Report {
        segments: segments.len(),
        disk_bytes,
        left_bytes,
        records,
        damaged,
        workspaces: workspaces
            .into_iter()
            .map(|(workspace, of)| OfWorkspace {
                workspace: format!("{workspace:?}"),
                ..of
            })
            .collect(),
    })
}

fn print(out: &mut dyn Write, report: &Report, width: Option<usize>) -> io::Result<()> {
    writeln!(out, "segments  {}", grouped(report.segments as u64))?;
    writeln!(out, "on disk   {}", sized(report.disk_bytes))?;
    writeln!(out, "left      {}", sized(report.left_bytes))?;
    writeln!(out, "records   {}", grouped(report.records))?;
    writeln!(out, "damaged   {}", grouped(report.damaged))?;
    let mut table = Table::new([text("WORKSPACE"), number("RECORDS"), number("BYTES")]);
    for of in &report.workspaces {
        table.row([of.workspace.clone(), grouped(of.records), sized(of.bytes)]);
    }
    if table.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table.write(out, width)
}
