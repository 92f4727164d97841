//! The commands that change the key file: `new`, `delete`, `rotate` and `import`.
//!
//! The order is the same in all: the audit log is opened and everything that can fail is read; then the
//! edit is published; then it is noted, still under the lock of the edit; then printed, also if the note
//! failed, because a new key must reach its owner. A process that is killed before the note leaves a
//! change that the server's own entry about the reload tells of.

use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::report::{KeyReport, Memory, title};
use super::{DeleteArgs, Failure, ImportArgs, NewArgs, RotateArgs, Streams, curl_line, faults};
use crate::cli::numbers::counted;
use crate::cli::output::write_json;
use crate::cli::program::user_name;
use crate::control::Files;
use crate::control::audit::{Action, AuditEntry, AuditLog};
use crate::control::keys::edit::{EditError, KeyFileEdit};
use crate::control::keys::file::{KeyEntry, KeyFile};
use crate::control::keys::name::check_name;
use crate::control::keys::selector::KeySelector;
use crate::control::timestamp::Timestamp;
use crate::wire::key::StreamingKey;

pub(super) fn new(
    files: &Files,
    args: &NewArgs,
    http: Option<SocketAddr>,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    if args.name.is_empty() {
        return Err(Failure::Usage(
            "the name is empty: expected 1 to 100 printable characters without a colon",
        ));
    }
    check_name(&args.name).map_err(EditError::from)?;
    // A new key collides with no line, also with none that cannot be read.
    let mut change = Change::begin(files, KeyFileEdit::begin_beside_faults)?;
    let key = StreamingKey::generate().map_err(EditError::from)?;
    let entry = change.edit.add(key, args.workspace, Some(&args.name))?;
    change.edit.commit()?;
    let faulty = change.edit.faults().to_vec();
    let noted = change.note(&[(Action::KeyCreated, &entry, None)]);
    let report = revealed(&entry, &noted);
    if args.quiet {
        writeln!(streams.out, "{}", key.reveal())?;
    } else if json {
        write_json(streams.out, &report)?;
    } else {
        writeln!(
            streams.out,
            "Made the key {} for workspace ws-{}:",
            title(&report),
            report.workspace
        )?;
        write_key(streams, &key, http)?;
    }
    if !faulty.is_empty() {
        faults::note(&faulty, files, json, streams);
        faults::note_not_in_force(json, streams);
    }
    noted.map(drop)
}

pub(super) fn delete(
    files: &Files,
    args: &DeleteArgs,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    if !args.yes && streams.terminal.is_none() {
        return Err(Failure::Usage(
            "there is no terminal to ask for a confirmation; give --yes to delete without one",
        ));
    }
    // Asked without the lock: other edits must not wait for the answer.
    let file = KeyFile::read(&files.keys)?;
    let memory = Memory::load(files)?;
    let mut entries: Vec<KeyEntry> = Vec::new();
    for which in &args.which {
        let entry = KeySelector::parse(which).find(&file.entries)?;
        // A key that is named twice, by its name and by its id, is deleted once.
        if !entries.contains(entry) {
            entries.push(entry.clone());
        }
    }
    let reports: Vec<KeyReport> = entries.iter().map(|entry| memory.report(entry)).collect();
    if !args.yes && !confirm(&reports, streams)? {
        return Err(Failure::Declined);
    }
    let mut change = Change::begin(files, KeyFileEdit::begin)?;
    let removed = entries
        .iter()
        .map(|entry| change.edit.remove(&KeySelector::Key(entry.key)))
        .collect::<Result<Vec<_>, _>>()?;
    change.edit.commit()?;
    let notes: Vec<_> = removed
        .iter()
        .map(|entry| (Action::KeyDeleted, entry, None))
        .collect();
    let noted = change.note(&notes);
    match (&reports[..], json) {
        ([report], true) => write_json(streams.out, report)?,
        (reports, true) => write_json(streams.out, &reports)?,
        (reports, false) => {
            for report in reports {
                writeln!(streams.out, "Deleted the key {}.", title(report))?;
            }
        }
    }
    noted.map(drop)
}

fn confirm(reports: &[KeyReport], streams: &mut Streams<'_>) -> Result<bool, Failure> {
    let Some(terminal) = streams.terminal.as_mut() else {
        return Ok(false);
    };
    let keys: Vec<String> = reports
        .iter()
        .map(|report| format!("{} of workspace ws-{}", title(report), report.workspace))
        .collect();
    let (what, who) = match &keys[..] {
        [key] => (format!("the key {key}"), "it"),
        keys => (format!("{} keys: {}", keys.len(), keys.join(", ")), "them"),
    };
    write!(
        streams.err,
        "Delete {what}? Clients that use {who} are refused at once. [y/N] "
    )?;
    streams.err.flush()?;
    let mut answer = String::new();
    terminal.read_line(&mut answer)?;
    let answer = answer.trim();
    Ok(answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes"))
}

#[derive(Serialize)]
struct RotatedReport {
    #[serde(flatten)]
    new: KeyReport,
    replaced: KeyReport,
}

pub(super) fn rotate(
    files: &Files,
    args: &RotateArgs,
    http: Option<SocketAddr>,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let old = select(files, &args.which)?;
    let memory = Memory::load(files)?;
    let mut change = Change::begin(files, KeyFileEdit::begin)?;
    let key = StreamingKey::generate().map_err(EditError::from)?;
    let rotated = change
        .edit
        .rotate(&KeySelector::Key(old.key), key, args.keep_old)?;
    let details = json!({
        "old_key_id": rotated.old.key.id().to_string(),
        "old_key_kept": rotated.kept.is_some(),
    });
    change.edit.commit()?;
    let noted = change.note(&[(Action::KeyRotated, &rotated.new, Some(details))]);
    let new = revealed(&rotated.new, &noted);
    let mut replaced = memory.report(rotated.kept.as_ref().unwrap_or(&rotated.old));
    if rotated.kept.is_none() {
        replaced.line = None;
    }
    if json {
        write_json(streams.out, &RotatedReport { new, replaced })?;
    } else {
        let fate = if rotated.kept.is_some() {
            "stays valid until it is deleted"
        } else {
            "is refused from now on"
        };
        writeln!(
            streams.out,
            "Made the key {} for workspace ws-{}; the old one, {}, {fate}:",
            title(&new),
            new.workspace,
            title(&replaced)
        )?;
        write_key(streams, &key, http)?;
    }
    noted.map(drop)
}

pub(super) fn import(
    files: &Files,
    args: &ImportArgs,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let other = KeyFile::read(&args.file)?;
    let mut change = Change::begin(files, KeyFileEdit::begin)?;
    change.edit.import(&other)?;
    change.edit.commit()?;
    let notes: Vec<_> = other
        .entries
        .iter()
        .map(|entry| (Action::KeyImported, entry, None))
        .collect();
    let noted = change.note(&notes);
    let imported = other.entries.len();
    if json {
        write_json(streams.out, &json!({"imported": imported}))?;
    } else {
        writeln!(streams.out, "Imported {}.", counted(imported as u64, "key"))?;
    }
    noted.map(drop)
}

/// An edit of the key file that goes to the audit log.
struct Change<'a> {
    files: &'a Files,
    log: AuditLog,
    edit: KeyFileEdit,
}

impl<'a> Change<'a> {
    fn begin(
        files: &'a Files,
        begin: impl FnOnce(&Path) -> Result<KeyFileEdit, EditError>,
    ) -> Result<Self, Failure> {
        let log = AuditLog::open(&files.data_dir).map_err(|source| Failure::Audit {
            doing: "open",
            data_dir: files.data_dir.clone(),
            source,
        })?;
        let edit = begin(&files.keys)?;
        Ok(Self { files, log, edit })
    }

    /// Notes what was committed, and lets the next edit in.
    fn note(self, notes: &[(Action, &KeyEntry, Option<Value>)]) -> Result<Timestamp, Failure> {
        let actor = actor();
        let entries: Vec<_> = notes
            .iter()
            .map(|(action, entry, details)| AuditEntry {
                actor: &actor,
                action: *action,
                key_id: Some(entry.key.id()),
                name: entry.name.as_deref(),
                workspace: Some(entry.workspace),
                details: details.clone(),
            })
            .collect();
        self.log
            .append(&entries)
            .map_err(|source| Failure::NotAudited {
                data_dir: self.files.data_dir.clone(),
                source,
            })
    }
}

/// Who works with the command line, for the audit log.
pub(super) fn actor() -> String {
    format!("cli:{}", user_name(rustix::process::getuid().as_raw()))
}

fn select(files: &Files, which: &str) -> Result<KeyEntry, Failure> {
    let file = KeyFile::read(&files.keys)?;
    Ok(KeySelector::parse(which).find(&file.entries)?.clone())
}

/// A key that was made just now, in clear.
fn revealed(entry: &KeyEntry, noted: &Result<Timestamp, Failure>) -> KeyReport {
    let mut report = Memory::default().report(entry);
    report.key = Some(entry.key.reveal());
    report.created_at = noted.as_ref().ok().copied();
    report
}

/// Prints a key to its owner, with how to use it.
fn write_key(
    streams: &mut Streams<'_>,
    key: &StreamingKey,
    http: Option<SocketAddr>,
) -> Result<(), Failure> {
    writeln!(
        streams.out,
        "\n    {}\n\nA running server takes it up by itself.",
        key.reveal()
    )?;
    if let Some(http) = http {
        let curl = curl_line(http, key);
        writeln!(streams.out, "To send a first event:\n\n    {curl}")?;
    }
    Ok(())
}
