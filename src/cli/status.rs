//! `tell status`: how the running server is, asked over its listener for metrics.

use std::io::{self, Write};

use clap::Args;

use super::client::Client;
use super::error::Error;
use super::flags::{OfData, SettingFlags};
use super::numbers::{grouped, lasted, sized};
use super::output::{self, BAD, GOOD, Output, styled};
use super::table::{Table, number, text};
use crate::control::config::Config;
use crate::server::status::{JournalReport, Report, SourceReport};

/// Show whether the server is ready, and what comes in; exit with 3 if it is not ready
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub(super) settings: SettingFlags<OfData>,
}

impl Status {
    /// Prints the report to standard output.
    pub(super) fn run(&self, config: &Config, output: Output) -> Result<(), Error> {
        let (body, report) = Client::find(&config.files.data_dir)?.ask("/status", pid_of)?;
        if output.json {
            output::print(|out| writeln!(out, "{body}"))?;
        } else {
            let width = output::width();
            output::print(|out| print(out, &report, width))?;
        }
        match report.ready {
            true => Ok(()),
            false => Err(Error::NotReady),
        }
    }
}

/// The process that a report is of.
pub(super) fn pid_of(report: &Report) -> u32 {
    report.pid
}

/// Writes the report for people.
pub(super) fn print(out: &mut dyn Write, report: &Report, width: Option<usize>) -> io::Result<()> {
    writeln!(
        out,
        "tell {}, process {}, up {}",
        report.version,
        report.pid,
        lasted(report.uptime_s)
    )?;
    match (report.ready, report.degraded.is_empty()) {
        (true, true) => writeln!(out, "{}", styled(GOOD, "ready"))?,
        (true, false) => writeln!(out, "{}", styled(BAD, "DEGRADED"))?,
        (false, _) => writeln!(out, "{}", styled(BAD, "NOT READY"))?,
    }
    for reason in report.reasons.iter().chain(&report.degraded) {
        for line in reason.reason.lines() {
            writeln!(out, "  {}: {line}", reason.component)?;
        }
    }
    writeln!(out)?;
    sources(report).write(out, width)?;
    writeln!(out, "(a second: over the last {} s)\n", report.rates_over_s)?;
    print_journal(out, &report.journal)?;
    writeln!(out, "keys      {} in force", grouped(report.keys))?;
    let mut keys = Table::new([
        text("BUSIEST KEYS"),
        text("NAME"),
        text("WORKSPACE"),
        number("EVENTS"),
    ]);
    for key in &report.busiest_keys {
        keys.row([
            key.key_id.clone(),
            key.name.clone().unwrap_or_else(|| "-".to_owned()),
            key.workspace.clone(),
            grouped(key.events),
        ]);
    }
    let mut workspaces = Table::new([text("BUSIEST WORKSPACES"), number("EVENTS")]);
    for of in &report.busiest_workspaces {
        workspaces.row([of.workspace.clone(), grouped(of.events)]);
    }
    if !keys.is_empty() {
        writeln!(out)?;
        keys.write(out, width)?;
    }
    if !workspaces.is_empty() {
        writeln!(out)?;
        workspaces.write(out, width)?;
    }
    Ok(())
}

fn sources(report: &Report) -> Table<8> {
    let mut table = Table::new([
        text("LISTENER"),
        text("ADDRESS"),
        number("CONNECTIONS"),
        number("EVENTS"),
        number("EVENTS/S"),
        number("BYTES"),
        number("BYTES/S"),
        number("REFUSED"),
    ]);
    let mut sources: Vec<&SourceReport> = report.sources.iter().collect();
    for listener in &report.listeners {
        // What came in is counted by the kind of listener: shown once, where there are several of a kind.
        let source = sources.iter().position(|of| of.source == listener.name);
        let source = source.map(|source| sources.remove(source));
        let cell = |cell: fn(&SourceReport) -> String| source.map_or_else(String::new, cell);
        table.row([
            listener.name.clone(),
            listener.address.clone(),
            cell(|source| grouped(source.connections)),
            cell(|source| grouped(source.events)),
            cell(|source| grouped(source.events_per_s.round() as u64)),
            cell(|source| sized(source.bytes)),
            cell(|source| sized(source.bytes_per_s as u64)),
            cell(|source| grouped(source.refused)),
        ]);
    }
    table
}

fn print_journal(out: &mut dyn Write, journal: &JournalReport) -> io::Result<()> {
    let unknown = || "unknown".to_owned();
    writeln!(
        out,
        "journal   {} in {} segments, {} left (journal_limit: {}), {} queued",
        sized(journal.disk_bytes),
        journal
            .segments
            .map_or_else(unknown, |segments| grouped(segments as u64)),
        journal.left_bytes.map_or_else(unknown, sized),
        journal.limit_bytes.map_or_else(|| "auto".to_owned(), sized),
        sized(journal.queued_bytes)
    )
}
