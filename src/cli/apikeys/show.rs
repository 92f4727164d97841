//! The commands that change nothing: `list`, `show` and `check`.

use std::cmp::Reverse;
use std::io::{self, Write};

use serde_json::json;

use super::report::{KeyReport, Memory, NONE, write_json};
use super::{CheckArgs, Failure, ListArgs, ShowArgs, Sort, Streams};
use crate::control::Files;
use crate::control::keys::file::{KeyFile, KeyFileError};
use crate::control::keys::selector::KeySelector;
use crate::control::timestamp::Timestamp;

const HEADINGS: [&str; 7] = [
    "NAME",
    "KEY",
    "ID",
    "WORKSPACE",
    "CREATED",
    "LAST USED",
    "EVENTS",
];

/// Headings of columns with numbers, which stand at the right.
const NUMBERS: [&str; 2] = ["WORKSPACE", "EVENTS"];

pub(super) fn list(
    files: &Files,
    args: &ListArgs,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let file = KeyFile::read(&files.keys)?;
    let memory = Memory::load(files)?;
    let mut reports: Vec<_> = file
        .entries
        .iter()
        .filter(|entry| {
            args.workspace
                .is_none_or(|wanted| entry.workspace == wanted)
        })
        .map(|entry| memory.report(entry))
        .collect();
    if let Some(sort) = args.sort {
        sort_by(&mut reports, sort);
    }
    if json {
        write_json(streams.out, &reports)?;
    } else if reports.is_empty() {
        writeln!(
            streams.out,
            "No keys. `tell apikeys new NAME --workspace N` makes one."
        )?;
    } else {
        write_table(streams.out, &reports)?;
    }
    Ok(())
}

/// Stable: equals stay in the order of the file.
fn sort_by(reports: &mut [KeyReport], sort: Sort) {
    let by_name = |report: &KeyReport| (report.name.is_none(), report.name.clone());
    match sort {
        Sort::Name => reports.sort_by_cached_key(by_name),
        Sort::Workspace => {
            reports.sort_by_cached_key(|report| (report.workspace, by_name(report)));
        }
        Sort::Created => reports.sort_by_key(|report| Reverse(report.created_at)),
        Sort::LastUsed => reports.sort_by_key(|report| Reverse(report.last_used_at)),
        Sort::Events => reports.sort_by_key(|report| Reverse(report.accepted.events)),
    }
}

fn write_table(out: &mut dyn Write, reports: &[KeyReport]) -> io::Result<()> {
    let time = |time: Option<Timestamp>| time.map_or(NONE.to_owned(), Timestamp::to_seconds);
    let rows: Vec<[String; HEADINGS.len()]> = reports
        .iter()
        .map(|report| {
            [
                report.name.clone().unwrap_or(NONE.to_owned()),
                report.masked.clone(),
                report.id.clone(),
                report.workspace.to_string(),
                time(report.created_at),
                time(report.last_used_at),
                report.accepted.events.to_string(),
            ]
        })
        .collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings = HEADINGS.map(str::to_owned);
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for ((cell, width), heading) in row.iter().zip(widths).zip(HEADINGS) {
            line += &if NUMBERS.contains(&heading) {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:<width$}  ")
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

pub(super) fn show(
    files: &Files,
    args: &ShowArgs,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let file = KeyFile::read(&files.keys)?;
    let entry = KeySelector::parse(&args.which).find(&file.entries)?;
    let mut report = Memory::load(files)?.report(entry);
    if args.reveal {
        report.key = Some(entry.key.reveal());
    }
    if json {
        write_json(streams.out, &report)?;
    } else {
        write_facts(streams.out, &report)?;
    }
    Ok(())
}

fn write_facts(out: &mut dyn Write, report: &KeyReport) -> io::Result<()> {
    let time = |time: Option<Timestamp>| time.map_or(NONE.to_owned(), |time| time.to_string());
    let used = match (report.last_source, report.last_peer) {
        (Some(source), Some(peer)) => format!(" over {source} from {peer}"),
        (Some(source), None) => format!(" over {source}"),
        _ => String::new(),
    };
    let accepted = &report.accepted;
    writeln!(out, "name       {}", report.name.as_deref().unwrap_or(NONE))?;
    writeln!(
        out,
        "key        {}",
        report.key.as_ref().unwrap_or(&report.masked)
    )?;
    writeln!(out, "id         {}", report.id)?;
    writeln!(out, "workspace  {}", report.workspace)?;
    writeln!(out, "created    {}", time(report.created_at))?;
    writeln!(out, "last used  {}{used}", time(report.last_used_at))?;
    writeln!(
        out,
        "accepted   {} events, {} bytes in {} frames",
        accepted.events, accepted.bytes, accepted.frames
    )?;
    writeln!(out, "refused    {}", report.refused)
}

pub(super) fn check(
    files: &Files,
    args: &CheckArgs,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let path = args.file.as_ref().unwrap_or(&files.keys);
    let (keys, faults) = match KeyFile::read(path) {
        Ok(file) => (file.entries.len(), Vec::new()),
        Err(KeyFileError::Faults { faults, .. }) => (0, faults.0),
        Err(error) => return Err(error.into()),
    };
    let shown = path.display().to_string();
    if json {
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| json!({"line": fault.line, "fault": fault.fault.to_string()}))
            .collect();
        write_json(
            streams.out,
            &json!({"file": shown, "keys": keys, "faults": faults}),
        )?;
    } else if faults.is_empty() {
        writeln!(streams.out, "{shown}: {keys} keys, no faults")?;
    } else {
        for fault in &faults {
            writeln!(streams.out, "{shown}: {fault}")?;
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::Told)
    }
}
