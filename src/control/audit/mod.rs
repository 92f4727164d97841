//! The audit log: `audit.jsonl` in the data directory, appended to by the server and the CLI.
//!
//! One JSON object a line: `time` (RFC 3339), `actor` (`server`, or `cli:` and the user of the operating
//! system), `action`, `key_id`, `name`, `workspace` and `details` where they apply, and `prev`, the
//! SHA-256 of the line above without its line end (64 zeros on the first line). A line that is changed,
//! removed or put in between breaks the chain below it. Who can write the file can also forge a whole
//! chain or cut its end: keep the last hash elsewhere where that matters.
//!
//! An append takes a lock, is one write and is fsynced. A line that a crash tore is left as it is, and
//! the next one starts below it; [`verify`] reports it.

pub mod recorder;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::timestamp::Timestamp;
use crate::control::keys::name::is_printable;
use crate::files::{Place, create_private_dir, read};
use crate::origin::{KeyId, Workspace};

const FILE_NAME: &str = "audit.jsonl";

/// More than any entry has: a reload that changes a million keys lists only some of them.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// How much is read at a time on the way back to the start of the last line.
const TAIL_BLOCK_LEN: u64 = 4096;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A key was made.
    KeyCreated,
    /// A key came from another file.
    KeyImported,
    /// A key took the place of another.
    KeyRotated,
    /// A key was taken away.
    KeyDeleted,
    /// A key was shown in clear to somebody who asked for it.
    KeyShown,
    /// The server took up a changed key file; `details` has the difference.
    KeysReloaded,
}

impl Action {
    const CREATIONS: [Self; 3] = [Self::KeyCreated, Self::KeyImported, Self::KeyRotated];

    /// As the log shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyCreated => "key.created",
            Self::KeyImported => "key.imported",
            Self::KeyRotated => "key.rotated",
            Self::KeyDeleted => "key.deleted",
            Self::KeyShown => "key.shown",
            Self::KeysReloaded => "keys.reloaded",
        }
    }
}

/// One entry, but for what the log itself adds: the time and the chain.
#[derive(Clone, Debug)]
pub struct AuditEntry<'a> {
    /// Who did it: `server`, or `cli:` and a user.
    pub actor: &'a str,
    /// What was done.
    pub action: Action,
    /// The key it was done to (after a rotation the new one).
    pub key_id: Option<KeyId>,
    /// The name of that key.
    pub name: Option<&'a str>,
    /// The workspace of that key.
    pub workspace: Option<Workspace>,
    /// What else there is to say; never a key.
    pub details: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct LineOut<'a> {
    time: Timestamp,
    actor: &'a str,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a serde_json::Value>,
    prev: &'a str,
}

#[derive(Deserialize)]
struct LineIn<'a> {
    time: Timestamp,
    action: &'a str,
    key_id: Option<&'a str>,
    prev: &'a str,
}

/// The audit log of a data directory.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    /// Creates the log if there is none, and checks that it can be written: better before the change
    /// that is to be noted than after it.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        create_private_dir(data_dir)?;
        let path = data_dir.join(FILE_NAME);
        Place::of(&path)?.open_private()?;
        Ok(Self { path })
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends entries, all with one fsync and the same time, which it returns. When this returns they
    /// survive a loss of power.
    pub fn append(&self, entries: &[AuditEntry<'_>]) -> io::Result<Timestamp> {
        // Opened anew each time, so that a log that was moved away is not written to.
        let mut file = Place::of(&self.path)?.open_private()?;
        file.lock()?;
        let mut lines = Vec::new();
        let mut prev = match last_line(&mut file)? {
            None => LineHash::NONE,
            Some(last) => {
                if !last.ends_with(b"\n") {
                    lines.push(b'\n');
                }
                LineHash::of(&last)
            }
        };
        let time = Timestamp::now();
        for entry in entries {
            let start = lines.len();
            let line = LineOut {
                time,
                actor: entry.actor,
                action: entry.action.as_str(),
                key_id: entry.key_id.map(|id| id.to_string()),
                name: entry.name,
                workspace: entry.workspace.map(Workspace::get),
                details: entry.details.as_ref(),
                prev: &prev.hex(),
            };
            let mut json = serde_json::Serializer::with_formatter(&mut lines, Printable);
            line.serialize(&mut json)?;
            prev = LineHash::of(lines.get(start..).unwrap_or_default());
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        Ok(time)
    }
}

/// Whether a data directory has an audit log.
pub fn exists(data_dir: &Path) -> io::Result<bool> {
    match data_dir.join(FILE_NAME).metadata() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        found => found.map(|_| true),
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Lines that are entries.
    pub entries: u64,
    /// What is wrong, in the order of the lines. Empty if the log is as it was written.
    pub faults: Vec<AuditFault>,
    /// SHA-256 of the last line, as the next one will carry it. Kept elsewhere, it shows whether the end of
    /// the log was cut off later.
    pub last: String,
}

/// A fault of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditFault {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: ChainFault,
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

/// What can be wrong with a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Torn by a crash, or damaged.
    #[error("the line is not an entry: torn by a crash, or damaged")]
    NotAnEntry,
    /// The line above is not the one that was there when this one was written.
    #[error(
        "the entry does not follow from the line above: that line was changed, or lines were removed or added between them"
    )]
    ChainBroken,
}

/// Checks the log of a data directory from its first line to its last. A missing one has no entries.
pub fn verify(data_dir: &Path) -> io::Result<Verification> {
    let mut verification = Verification::default();
    let mut prev = LineHash::NONE;
    let mut number = 0;
    each_line(data_dir, |line| {
        number += 1;
        let fault = match serde_json::from_slice::<LineIn<'_>>(line) {
            Ok(entry) => {
                verification.entries += 1;
                (entry.prev != prev.hex()).then_some(ChainFault::ChainBroken)
            }
            Err(_) => Some(ChainFault::NotAnEntry),
        };
        if let Some(fault) = fault {
            verification.faults.push(AuditFault {
                line: number,
                fault,
            });
        }
        prev = LineHash::of(line);
    })?;
    verification.last = prev.hex();
    Ok(verification)
}

/// When each key was created, imported or rotated in, as far as the log tells. Lines that are no
/// entries are passed over.
pub fn key_creations(data_dir: &Path) -> io::Result<HashMap<KeyId, Timestamp>> {
    let mut creations = HashMap::new();
    each_line(data_dir, |line| {
        let Ok(entry) = serde_json::from_slice::<LineIn<'_>>(line) else {
            return;
        };
        if Action::CREATIONS.iter().any(|a| a.as_str() == entry.action)
            && let Some(id) = entry.key_id.and_then(KeyId::parse)
        {
            creations.insert(id, entry.time);
        }
    })?;
    Ok(creations)
}

fn each_line(data_dir: &Path, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    match Place::of(&data_dir.join(FILE_NAME)).and_then(|place| place.open()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        opened => read::each_line(opened?, LINE_BYTES_MAX, &mut see),
    }
}

/// The last line of a file with its line end, if it has one; `None` of an empty file.
fn last_line(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut start = file.seek(SeekFrom::End(0))?;
    if start == 0 {
        return Ok(None);
    }
    let mut tail = Vec::new();
    while start > 0 {
        let block_start = start.saturating_sub(TAIL_BLOCK_LEN);
        file.seek(SeekFrom::Start(block_start))?;
        let mut block = Vec::new();
        Read::by_ref(file)
            .take(start - block_start)
            .read_to_end(&mut block)?;
        block.append(&mut tail);
        tail = block;
        start = block_start;
        let before_end = tail.strip_suffix(b"\n").unwrap_or(&tail);
        if let Some(newline) = memchr::memrchr(b'\n', before_end) {
            tail.drain(..=newline);
            break;
        }
    }
    Ok(Some(tail))
}

/// The hash of a line, as the next one carries it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct LineHash([u8; 32]);

impl LineHash {
    /// What the first line carries.
    const NONE: Self = Self([0; 32]);

    fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line.strip_suffix(b"\n").unwrap_or(line)).into())
    }

    fn hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// JSON in which every character shows: also those that JSON itself lets through, such as the control
/// characters above ASCII and those that turn the direction of text.
struct Printable;

impl serde_json::ser::Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| !is_printable(c)) {
            let (shown, from) = rest.split_at(at);
            writer.write_all(shown.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = from.strip_prefix(c).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests;
