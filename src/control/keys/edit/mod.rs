//! Edits of the key file, one at a time over all processes, each all or nothing.
//!
//! An edit holds the lock of the file from reading to publishing; a symlinked key file is locked and edited at
//! its target. Only the line concerned changes. What is to be
//! published is parsed first, so no edit can publish a file that the server would refuse.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use crate::control::keys::file::{
    self, KeyEntry, KeyFault, KeyFile, KeyFileError, KeyFileFaults, render_line,
};
use crate::control::keys::lines;
use crate::control::keys::name::{NameFault, check_name};
use crate::control::keys::selector::{KeySelector, SelectError};
use crate::files::EditLock;
use crate::origin::Workspace;
use crate::wire::key::StreamingKey;

/// What a key file that Tell creates starts with.
const HEADER: &str = "\
# Streaming keys of this Tell server, one a line: KEY:WORKSPACE or KEY:WORKSPACE:NAME
# KEY is 32 hexadecimal digits, WORKSPACE an integer from 1; lines that start with # are comments.
# Keep this file secret. A running server takes up changes by itself; `tell apikeys` edits it safely.
";

/// The name of the key that the first start creates.
pub const DEFAULT_KEY_NAME: &str = "default";

/// The workspace that it writes to.
pub const DEFAULT_WORKSPACE: Workspace = Workspace::new(1).unwrap();

/// What an edit collides with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The key is there for this workspace.
    #[error("the key is on line {line} of the key file already")]
    Key {
        /// The line it is on.
        line: u32,
    },
    /// The key is there for another workspace.
    #[error(
        "the key is on line {line} of the key file already, for another workspace; a key has one workspace"
    )]
    KeyOfAnotherWorkspace {
        /// The line it is on.
        line: u32,
    },
    /// The name is there.
    #[error("the name is on line {line} of the key file already; a name is used once")]
    Name {
        /// The line it is on.
        line: u32,
    },
}

/// Why an edit was not made.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The key file cannot be read, or has faults, which an edit must not carry along.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The key file is a symlink to nothing.
    #[error("the key file {} is a symlink to a file that is not there", path.display())]
    DanglingSymlink {
        /// The symlink.
        path: PathBuf,
    },
    /// The lock cannot be taken.
    #[error("cannot lock the key file {}: {source}", path.display())]
    Lock {
        /// The key file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The new file cannot be written.
    #[error("cannot write the key file {}: {source}{}", path.display(), mount_hint(source))]
    Write {
        /// The key file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file would be one that the server refuses.
    #[error("the key file would have faults: {0}")]
    Result(KeyFileFaults),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// The old key cannot be kept under this name.
    #[error("the old key cannot be kept as NAME-old: {0}")]
    OldName(NameFault),
    /// The key or the name is there already.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Keys or names of an imported file are there already; nothing was imported.
    #[error("nothing was imported: {} of the lines collide with the key file", .0.len())]
    Import(Vec<(u32, Conflict)>),
    /// No key, or more than one, is meant.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The key file is there already.
    #[error("the key file {} is there already", path.display())]
    Exists {
        /// The key file.
        path: PathBuf,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system's random source failed: {0}")]
    Random(#[from] getrandom::Error),
}

/// A file that is mounted by itself, as containers do, cannot be renamed over.
fn mount_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::ResourceBusy => {
            "; if the file is mounted by itself, mount its directory instead"
        }
        _ => "",
    }
}

/// A key file that is locked for an edit. Dropping it gives up what was not committed.
#[derive(Debug)]
pub struct KeyFileEdit {
    path: PathBuf,
    bytes: Vec<u8>,
    file: KeyFile,
    /// Faults of lines that were there before, which the edit leaves as they are.
    faults: Vec<KeyFault>,
    is_new: bool,
    lock: EditLock,
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The entry as it was.
    pub old: KeyEntry,
    /// The entry as it is.
    pub new: KeyEntry,
    /// The entry of the old key, if it was kept.
    pub kept: Option<KeyEntry>,
}

impl KeyFileEdit {
    /// Waits for other edits, then locks, reads and parses the file. If there is none, the edit starts
    /// from one with comments only, which committing creates.
    pub fn begin(path: &Path) -> Result<Self, EditError> {
        let edit = Self::begin_beside_faults(path)?;
        if edit.faults.is_empty() {
            return Ok(edit);
        }
        Err(EditError::File(KeyFileError::Faults {
            path: path.to_owned(),
            faults: KeyFileFaults(edit.faults),
        }))
    }

    /// As [`begin`](Self::begin), and for edits that only [`add`](Self::add) also where lines are at fault: they
    /// stay as they are.
    pub fn begin_beside_faults(path: &Path) -> Result<Self, EditError> {
        let lock = EditLock::take(path).map_err(|source| EditError::Lock {
            path: path.to_owned(),
            source,
        })?;
        let (bytes, is_new) = match file::read_at(lock.file(), path) {
            Ok(bytes) => (bytes, false),
            Err(KeyFileError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                if lock.file().is_target_of_a_symlink() {
                    let path = path.to_owned();
                    return Err(EditError::DanglingSymlink { path });
                }
                (HEADER.as_bytes().to_vec(), true)
            }
            Err(error) => return Err(error.into()),
        };
        let (file, faults) =
            KeyFile::parse_beside_faults(&bytes).map_err(|faults| KeyFileError::Faults {
                path: path.to_owned(),
                faults,
            })?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
            file,
            faults,
            is_new,
            lock,
        })
    }

    /// The entries as the edit has them so far.
    pub fn entries(&self) -> &[KeyEntry] {
        &self.file.entries
    }

    /// What is wrong with lines that were there before.
    pub fn faults(&self) -> &[KeyFault] {
        &self.faults
    }

    /// Adds a key at the end.
    pub fn add(
        &mut self,
        key: StreamingKey,
        workspace: Workspace,
        name: Option<&str>,
    ) -> Result<KeyEntry, EditError> {
        name.map_or(Ok(()), check_name)?;
        let new = KeyEntry {
            key,
            workspace,
            name: name.map(Box::from),
            line: 0,
        };
        match self.append(std::slice::from_ref(&new)) {
            Err(EditError::Import(conflicts)) => match conflicts.first() {
                Some((_, conflict)) => Err((*conflict).into()),
                None => Err(EditError::Import(conflicts)),
            },
            done => done,
        }?;
        Ok(KeySelector::Key(key).find(self.entries())?.clone())
    }

    /// Adds all entries of another file at the end, without its comments, or none of them.
    pub fn import(&mut self, other: &KeyFile) -> Result<(), EditError> {
        self.append(&other.entries)
    }

    /// Removes the line of a key.
    pub fn remove(&mut self, selector: &KeySelector) -> Result<KeyEntry, EditError> {
        let old = selector.find(self.entries())?.clone();
        let mut bytes = self.bytes.clone();
        lines::remove(&mut bytes, old.line);
        self.take(bytes)?;
        Ok(old)
    }

    /// Puts a new key in the place of another, in its line. With `keep_old` the old key stays valid on
    /// the line below, as `NAME-old` (without a name, if it has none), until it is removed.
    pub fn rotate(
        &mut self,
        selector: &KeySelector,
        key: StreamingKey,
        keep_old: bool,
    ) -> Result<Rotated, EditError> {
        let old = selector.find(self.entries())?.clone();
        if let Ok(there) = KeySelector::Key(key).find(self.entries()) {
            return Err(Conflict::Key { line: there.line }.into());
        }
        let mut bytes = self.bytes.clone();
        lines::overwrite(&mut bytes, old.line, key.reveal().as_bytes());
        if keep_old {
            let name = old.name.as_ref().map(|name| format!("{name}-old"));
            name.as_deref()
                .map_or(Ok(()), check_name)
                .map_err(EditError::OldName)?;
            if let Some(name) = &name
                && let Ok(there) = KeySelector::Name(name.clone()).find(self.entries())
            {
                return Err(Conflict::Name { line: there.line }.into());
            }
            let line = render_line(&old.key, old.workspace, name.as_deref());
            lines::insert_below(&mut bytes, old.line, &line);
        }
        self.take(bytes)?;
        let entry = |key| KeySelector::Key(key).find(self.entries()).cloned();
        Ok(Rotated {
            new: entry(key)?,
            kept: if keep_old {
                Some(entry(old.key)?)
            } else {
                None
            },
            old,
        })
    }

    /// Publishes the edit. The lock is held on until the edit is dropped, so that what follows from it
    /// (an audit entry) is in the order of the edits.
    pub fn commit(&mut self) -> Result<(), EditError> {
        let fill = |out: &mut dyn Write| out.write_all(&self.bytes);
        let written = if self.is_new {
            self.lock.file().create_new(fill)
        } else {
            self.lock.file().replace(fill)
        };
        written.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => EditError::Exists {
                path: self.path.clone(),
            },
            _ => EditError::Write {
                path: self.path.clone(),
                source,
            },
        })?;
        self.is_new = false;
        Ok(())
    }

    fn append(&mut self, new: &[KeyEntry]) -> Result<(), EditError> {
        let conflicts = conflicts(self.entries(), new);
        if !conflicts.is_empty() {
            return Err(EditError::Import(conflicts));
        }
        let lines: Vec<String> = new
            .iter()
            .map(|entry| render_line(&entry.key, entry.workspace, entry.name.as_deref()))
            .collect();
        let mut bytes = self.bytes.clone();
        lines::append(&mut bytes, &lines);
        self.take(bytes)
    }

    /// Takes over edited bytes if the server would, but for the faults of before.
    fn take(&mut self, bytes: Vec<u8>) -> Result<(), EditError> {
        let (file, mut faults) = KeyFile::parse_beside_faults(&bytes).map_err(EditError::Result)?;
        faults.retain(|fault| !self.faults.contains(fault));
        if !faults.is_empty() {
            return Err(EditError::Result(KeyFileFaults(faults)));
        }
        self.file = file;
        self.bytes = bytes;
        Ok(())
    }
}

/// The first start: creates the key file, and the directories to it, with one key for
/// [`DEFAULT_WORKSPACE`] named [`DEFAULT_KEY_NAME`], and returns the key. A file that is there is left alone ([`EditError::Exists`]).
///
/// The caller shows the key once and notes its creation in the audit log.
pub fn create_default(path: &Path) -> Result<StreamingKey, EditError> {
    let mut edit = KeyFileEdit::begin(path)?;
    if !edit.is_new {
        return Err(EditError::Exists {
            path: path.to_owned(),
        });
    }
    let key = StreamingKey::generate()?;
    edit.add(key, DEFAULT_WORKSPACE, Some(DEFAULT_KEY_NAME))?;
    edit.commit()?;
    Ok(key)
}

fn conflicts(there: &[KeyEntry], new: &[KeyEntry]) -> Vec<(u32, Conflict)> {
    let keys: HashMap<_, _> = there.iter().map(|entry| (entry.key, entry)).collect();
    let names: HashMap<_, _> = there
        .iter()
        .filter_map(|entry| Some((entry.name.as_deref()?, entry.line)))
        .collect();
    let mut conflicts = Vec::new();
    for entry in new {
        if let Some(old) = keys.get(&entry.key) {
            let line = old.line;
            conflicts.push((
                entry.line,
                if old.workspace == entry.workspace {
                    Conflict::Key { line }
                } else {
                    Conflict::KeyOfAnotherWorkspace { line }
                },
            ));
        }
        if let Some(&line) = entry.name.as_deref().and_then(|name| names.get(name)) {
            conflicts.push((entry.line, Conflict::Name { line }));
        }
    }
    conflicts
}

#[cfg(test)]
mod tests;
