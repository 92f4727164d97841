//! The commands that change nothing: `list`, `show` and `check`.

use std::cmp::Reverse;
use std::io::{self, Write};

use serde_json::json;

use super::change::actor;
use super::report::{KeyReport, Memory, NONE};
use super::{CheckArgs, Failure, ListArgs, ShowArgs, Sort, Streams, faults};
use crate::cli::numbers::{counted, grouped, sized};
use crate::cli::output::write_json;
use crate::cli::table::{Table, number, text};
use crate::control::Files;
use crate::control::audit::{Action, AuditEntry, AuditLog};
use crate::control::keys::file::{KeyEntry, KeyFile, KeyFileError};
use crate::control::keys::selector::KeySelector;
use crate::control::timestamp::Timestamp;

pub(super) fn list(
    files: &Files,
    args: &ListArgs,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let (file, faulty) = KeyFile::read_beside_faults(&files.keys)?;
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
        write_table(streams, &reports)?;
    }
    faults::note(&faulty, files, json, streams);
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

fn write_table(streams: &mut Streams<'_>, reports: &[KeyReport]) -> io::Result<()> {
    let time = |time: Option<Timestamp>| time.map_or(NONE.to_owned(), Timestamp::to_seconds);
    let mut table = Table::new([
        text("NAME"),
        text("KEY"),
        text("ID"),
        text("WORKSPACE"),
        text("CREATED"),
        text("LAST USED"),
        number("EVENTS"),
    ]);
    for report in reports {
        table.row([
            report.name.clone().unwrap_or(NONE.to_owned()),
            report.masked.clone(),
            report.id.clone(),
            format!("ws-{}", report.workspace),
            time(report.created_at),
            time(report.last_used_at),
            grouped(report.accepted.events),
        ]);
    }
    table.write(streams.out, streams.width)
}

pub(super) fn show(
    files: &Files,
    args: &ShowArgs,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let (file, faulty) = KeyFile::read_beside_faults(&files.keys)?;
    let entry = KeySelector::parse(&args.which).find(&file.entries)?;
    let mut report = Memory::load(files)?.report(entry);
    if !args.masked {
        // Whoever sees a key can use it: nobody sees it without a trace.
        note_shown(files, entry)?;
        report.key = Some(entry.key.reveal());
    }
    if json {
        write_json(streams.out, &report)?;
    } else {
        write_facts(streams.out, &report)?;
    }
    faults::note(&faulty, files, json, streams);
    Ok(())
}

fn note_shown(files: &Files, entry: &KeyEntry) -> Result<(), Failure> {
    let shown = AuditEntry {
        actor: &actor(),
        action: Action::KeyShown,
        key_id: Some(entry.key.id()),
        name: entry.name.as_deref(),
        workspace: Some(entry.workspace),
        details: None,
    };
    AuditLog::open(&files.data_dir)
        .and_then(|log| log.append(&[shown]))
        .map(drop)
        .map_err(|source| Failure::Audit {
            doing: "write (as a key is shown to nobody without; --masked needs no entry)",
            data_dir: files.data_dir.clone(),
            source,
        })
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
    writeln!(out, "workspace  ws-{}", report.workspace)?;
    writeln!(out, "created    {}", time(report.created_at))?;
    writeln!(out, "last used  {}{used}", time(report.last_used_at))?;
    writeln!(
        out,
        "accepted   {}, {} in {}",
        counted(accepted.events, "event"),
        sized(accepted.bytes),
        counted(accepted.frames, "frame")
    )?;
    writeln!(out, "refused    {}", grouped(report.refused))?;
    match report.replaced_characters {
        0 => Ok(()),
        characters => writeln!(
            out,
            "no Unicode {}, which are U+FFFD",
            counted(characters, "character")
        ),
    }
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
        let keys = counted(keys as u64, "key");
        writeln!(streams.out, "{shown}: {keys}, no faults")?;
    } else {
        for fault in &faults {
            writeln!(streams.out, "{shown}: {fault}")?;
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::Checked(faults.len()))
    }
}
