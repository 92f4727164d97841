//! Faults of the key file, one a line, in errors and beside what works without the lines at fault.

use std::fmt::Write as _;

use super::Streams;
use crate::cli::output::{WARNING, write_json};
use crate::control::Files;
use crate::control::keys::edit::EditError;
use crate::control::keys::file::{KeyFault, KeyFileError};

/// Faults that a message lists; `tell apikeys check` lists all.
const LISTED: usize = 20;

/// An error of the key file, with a line for each of its faults.
pub(in crate::cli) fn explained(error: &KeyFileError) -> String {
    match error {
        KeyFileError::Faults { path, faults } => {
            let faults = listed(&faults.0);
            format!("the key file {} has faults:\n{faults}", path.display())
        }
        other => other.to_string(),
    }
}

/// Why the key file was not changed, with a line for each reason.
pub(super) fn explained_edit(error: &EditError) -> String {
    match error {
        EditError::File(error) => explained(error),
        EditError::Result(faults) => {
            format!("the key file would have faults:\n{}", listed(&faults.0))
        }
        EditError::Import(conflicts) => {
            let mut text = error.to_string();
            for (line, conflict) in conflicts.iter().take(LISTED) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\nline {line}: {conflict}");
            }
            if conflicts.len() > LISTED {
                let _ = write!(text, "\nand {} more", conflicts.len() - LISTED);
            }
            text
        }
        other => other.to_string(),
    }
}

fn listed(faults: &[KeyFault]) -> String {
    let mut lines: Vec<String> = faults
        .iter()
        .take(LISTED)
        .map(ToString::to_string)
        .collect();
    if faults.len() > LISTED {
        let more = faults.len() - LISTED;
        lines.push(format!("and {more} more, which `tell apikeys check` lists"));
    }
    lines.join("\n")
}

/// Says which lines were left out.
pub(super) fn note(faults: &[KeyFault], files: &Files, json: bool, streams: &mut Streams<'_>) {
    if faults.is_empty() {
        return;
    }
    let lines = listed(faults);
    for line in lines.lines() {
        say(&format!("{}: {line}", files.keys.display()), json, streams);
    }
}

/// Says that a change has to wait.
pub(super) fn note_not_in_force(json: bool, streams: &mut Streams<'_>) {
    say(
        "the new key is in the file and not in force: a running server keeps the keys that it has, and none \
         starts, until the lines above are mended",
        json,
        streams,
    );
}

fn say(text: &str, json: bool, streams: &mut Streams<'_>) {
    // Nowhere is left to report that standard error cannot be written.
    let _ = match json {
        true => write_json(streams.err, &serde_json::json!({ "warning": text })),
        false => writeln!(streams.err, "{WARNING}warning:{WARNING:#} {text}"),
    };
}
