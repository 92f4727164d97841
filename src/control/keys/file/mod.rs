//! The key file: bytes to entries, or to every fault in it.
//!
//! One key a line, `{32 hex}:{workspace}[:{name}]`; `#` starts a comment line, blank lines are
//! skipped. CRLF, a UTF-8 byte order mark, blanks around a line and upper-case digits are accepted.
//! What comments hold is not looked at.
//!
//! No fault quotes the file: whatever stands in a line may be a key, or one with a typing error.
//! Editing is left to [`super::edit`].

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};

use crate::control::keys::lines::lines;
use crate::control::keys::name::{NameFault, check_name};
use crate::files::Place;
use crate::files::read::ReadError;
use crate::origin::Workspace;
use crate::wire::key::StreamingKey;

/// The longest file that is read: over 3,000,000 keys without names, 300,000 with the longest ones.
pub const KEY_FILE_LEN_MAX: usize = 128 << 20;

/// The longest line with a key, in bytes: more than twice the key, `ws-` with the largest number
/// and a name of 100 four-byte characters.
pub const KEY_LINE_LEN_MAX: usize = 1024;

/// Faults are listed up to this many, so that a file of something else costs no memory.
pub const FAULTS_MAX: usize = 10_000;

/// How many faults a message of one line quotes; `tell apikeys check` lists all.
const FAULTS_SHOWN: usize = 10;

/// The shortest line: a key, a colon, one digit, a newline.
const SHORTEST_LINE_LEN: usize = 35;

/// A line of the file that grants a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key; unique in the file.
    pub key: StreamingKey,
    /// Where it writes to.
    pub workspace: Workspace,
    /// Its name, if it has one; unique in the file, see [`check_name`].
    pub name: Option<Box<str>>,
    /// The line it stands on, from 1.
    pub line: u32,
}

/// The entries of a key file without faults, in the order of its lines. There may be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFile {
    /// The entries.
    pub entries: Vec<KeyEntry>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Not 32 hex digits before the first colon.
    #[error(
        "the key is malformed; a line is KEY:WORKSPACE or KEY:WORKSPACE:NAME, the key 32 hexadecimal digits"
    )]
    KeyMalformed,
    /// A key and nothing else.
    #[error("the workspace is missing; write KEY:WORKSPACE, such as KEY:1")]
    WorkspaceMissing,
    /// Not an integer from 1 to 2^32-1.
    #[error("the workspace is malformed; it is an integer from 1 to 4294967295, such as 1 or ws-1")]
    WorkspaceMalformed,
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// The key stands on an earlier line, for the same workspace.
    #[error("the key is on line {line} already; a key stands on one line")]
    KeyTwice {
        /// The earlier line.
        line: u32,
    },
    /// The key stands on an earlier line, for another workspace (or for one that cannot be read).
    #[error("the key is on line {line} already, for another workspace; a key has one workspace")]
    KeyInTwoWorkspaces {
        /// The earlier line.
        line: u32,
    },
    /// The name stands on an earlier line.
    #[error("the name is on line {line} already; a name is used once")]
    NameTwice {
        /// The earlier line.
        line: u32,
    },
    /// Bytes that are not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// Longer than [`KEY_LINE_LEN_MAX`].
    #[error("the line is longer than 1024 bytes")]
    LineTooLong,
    /// Longer than [`KEY_FILE_LEN_MAX`].
    #[error("the file is longer than 128 MiB")]
    FileTooLong,
    /// After [`FAULTS_MAX`] others.
    #[error("too many faults; the rest of the file was not read")]
    TooManyFaults,
}

/// A fault and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFault {
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// What is wrong there.
    pub fault: LineFault,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.fault),
            line => write!(f, "line {line}: {}", self.fault),
        }
    }
}

const TOO_LONG: KeyFault = KeyFault {
    line: 0,
    fault: LineFault::FileTooLong,
};

/// All faults of a file, in the order of its lines; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFileFaults(pub Vec<KeyFault>);

impl std::error::Error for KeyFileFaults {}

/// The first few faults, on one line.
impl fmt::Display for KeyFileFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().take(FAULTS_SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        match self.0.len().saturating_sub(FAULTS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more, which `tell apikeys check` lists"),
        }
    }
}

/// Why a key file gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Read {
        /// The file as it was asked for.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is no regular file.
    #[error("the key file {} is not a regular file", path.display())]
    NotAFile {
        /// The file as it was asked for.
        path: PathBuf,
    },
    /// It has faults.
    #[error("the key file {} has faults: {faults}", path.display())]
    Faults {
        /// The file as it was asked for.
        path: PathBuf,
        /// What is wrong with it.
        faults: KeyFileFaults,
    },
}

impl KeyFile {
    /// Reads and parses the file at `path`.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let bytes = read_bytes(path)?;
        Self::parse(&bytes).map_err(|faults| KeyFileError::Faults {
            path: path.to_owned(),
            faults,
        })
    }

    /// Reads the file at `path` for those who look at it or add to it: the entries of its good lines, and what
    /// is wrong with the others. A file that is at fault as a whole is an error as for [`read`](Self::read).
    pub fn read_beside_faults(path: &Path) -> Result<(Self, Vec<KeyFault>), KeyFileError> {
        Self::parse_beside_faults(&read_bytes(path)?).map_err(|faults| KeyFileError::Faults {
            path: path.to_owned(),
            faults,
        })
    }

    /// As [`read_beside_faults`](Self::read_beside_faults), of bytes.
    pub fn parse_beside_faults(bytes: &[u8]) -> Result<(Self, Vec<KeyFault>), KeyFileFaults> {
        let (file, faults) = Self::parse_all(bytes);
        let as_a_whole = faults
            .iter()
            .any(|fault| fault.line == 0 || matches!(fault.fault, LineFault::TooManyFaults));
        // A file without one good line is probably another file.
        if as_a_whole || (file.entries.is_empty() && !faults.is_empty()) {
            return Err(KeyFileFaults(faults));
        }
        Ok((file, faults))
    }

    /// Parses the bytes of a key file.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileFaults> {
        let (file, faults) = Self::parse_all(bytes);
        if faults.is_empty() {
            Ok(file)
        } else {
            Err(KeyFileFaults(faults))
        }
    }

    fn parse_all(bytes: &[u8]) -> (Self, Vec<KeyFault>) {
        if bytes.len() > KEY_FILE_LEN_MAX {
            return (Self::default(), vec![TOO_LONG]);
        }
        let mut parser = Parser::for_len(bytes.len());
        for line in lines(bytes) {
            if line.text.is_empty() || line.text.starts_with(b"#") {
                continue;
            }
            parser.line(line.number, line.text);
            if parser.faults.len() > FAULTS_MAX {
                break;
            }
        }
        parser.finish()
    }
}

/// The bytes of the file that `path` leads to. Anything but a regular file is refused unread: a pipe would
/// block for ever.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    match Place::target_of(path) {
        Ok(place) => read_at(&place, path),
        Err(source) => Err(KeyFileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The bytes of the file at a place, which `path` is said to be.
pub(super) fn read_at(place: &Place, path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let path = path.to_owned();
    place
        .read(KEY_FILE_LEN_MAX as u64)
        .map_err(|error| match error {
            ReadError::Io(source) if source.kind() == ErrorKind::InvalidInput => {
                KeyFileError::NotAFile { path }
            }
            ReadError::Io(source) => KeyFileError::Read { path, source },
            ReadError::TooLong { .. } => KeyFileError::Faults {
                path,
                faults: KeyFileFaults(vec![TOO_LONG]),
            },
        })
}

/// The line of the key file that grants `key`, without its line end.
pub fn render_line(key: &StreamingKey, workspace: Workspace, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{}:{workspace}:{name}", key.reveal()),
        None => format!("{}:{workspace}", key.reveal()),
    }
}

/// What is parsed so far. Keys and names are compared once all are there: a loop of nothing but table
/// look-ups waits for memory far less than one with the parsing of a line in between.
struct Parser<'a> {
    entries: Vec<KeyEntry>,
    faults: Vec<KeyFault>,
    /// Every well-formed key with its line, also those of lines that are faulty otherwise.
    keys: Vec<(u32, u128, Option<Workspace>)>,
    names: Vec<(u32, &'a str)>,
}

impl<'a> Parser<'a> {
    fn for_len(len: usize) -> Self {
        let keys = len / SHORTEST_LINE_LEN;
        Self {
            entries: Vec::with_capacity(keys),
            faults: Vec::new(),
            keys: Vec::with_capacity(keys),
            names: Vec::new(),
        }
    }

    fn fault(&mut self, line: u32, fault: LineFault) {
        self.faults.push(KeyFault { line, fault });
    }

    fn line(&mut self, number: u32, text: &'a [u8]) {
        if text.len() > KEY_LINE_LEN_MAX {
            return self.fault(number, LineFault::LineTooLong);
        }
        let Ok(text) = str::from_utf8(text) else {
            return self.fault(number, LineFault::NotUtf8);
        };
        let mut fields = text.splitn(3, ':');
        let key = fields.next().unwrap_or_default();
        let key = StreamingKey::parse_hex(key.as_bytes());
        let workspace_text = fields.next();
        let workspace = workspace_text.and_then(Workspace::parse);
        let name = fields.next();

        let faults_before = self.faults.len();
        match key {
            Some(key) => {
                let number_of_key = u128::from_ne_bytes(*key.as_bytes());
                self.keys.push((number, number_of_key, workspace));
            }
            None => self.fault(number, LineFault::KeyMalformed),
        }
        match workspace_text {
            Some("") => self.fault(number, LineFault::WorkspaceMissing),
            Some(_) if workspace.is_none() => self.fault(number, LineFault::WorkspaceMalformed),
            // A line that is no key and nothing else has one fault, not two.
            None if key.is_some() => self.fault(number, LineFault::WorkspaceMissing),
            _ => {}
        }
        match name.map(|name| (name, check_name(name))) {
            Some((name, Ok(()))) => self.names.push((number, name)),
            Some((_, Err(fault))) => self.fault(number, fault.into()),
            None => {}
        }
        if let (Some(key), Some(workspace)) = (key, workspace)
            && self.faults.len() == faults_before
        {
            self.entries.push(KeyEntry {
                key,
                workspace,
                name: name.map(Box::from),
                line: number,
            });
        }
    }

    /// The entries of the lines without faults, and all faults, in the order of the lines.
    fn finish(mut self) -> (KeyFile, Vec<KeyFault>) {
        for (first, again) in repeats(&self.keys, |&(_, key, _)| key) {
            let ((line, _, workspace), (number, _, other)) = (first, again);
            let fault = if workspace.is_some() && workspace == other {
                LineFault::KeyTwice { line: *line }
            } else {
                LineFault::KeyInTwoWorkspaces { line: *line }
            };
            self.faults.push(KeyFault {
                line: *number,
                fault,
            });
        }
        for (&(line, _), &(number, _)) in repeats(&self.names, |&(_, name)| name) {
            self.faults.push(KeyFault {
                line: number,
                fault: LineFault::NameTwice { line },
            });
        }
        if !self.faults.is_empty() {
            self.faults.sort_by_key(|fault| fault.line);
            if let Some(line) = self.faults.get(FAULTS_MAX).map(|fault| fault.line) {
                self.faults.truncate(FAULTS_MAX);
                self.fault(line, LineFault::TooManyFaults);
            }
            let faults = &self.faults;
            let at_fault = |line| faults.binary_search_by_key(&line, |fault| fault.line);
            self.entries.retain(|entry| at_fault(entry.line).is_err());
        }
        self.entries.shrink_to_fit();
        let Self {
            entries, faults, ..
        } = self;
        (KeyFile { entries }, faults)
    }
}

/// The items whose `value` an earlier one has, each after the first that has it.
fn repeats<T, V: Hash + Eq>(items: &[T], value: impl Fn(&T) -> V) -> Vec<(&T, &T)> {
    let hasher = DefaultHashBuilder::default();
    let mut firsts: HashTable<&T> = HashTable::with_capacity(items.len());
    let mut repeats = Vec::new();
    for item in items {
        let this = value(item);
        let entry = firsts.entry(
            hasher.hash_one(&this),
            |first| value(first) == this,
            |first| hasher.hash_one(value(first)),
        );
        match entry {
            Entry::Occupied(first) => repeats.push((*first.get(), item)),
            Entry::Vacant(free) => {
                free.insert(item);
            }
        }
    }
    repeats
}

/// What the fuzzer asserts of the parser.
#[doc(hidden)]
pub mod fuzz {
    use super::{KeyFile, render_line};

    /// Any bytes parse to entries that render and parse to themselves, or to faults in line order.
    ///
    /// # Panics
    ///
    /// When that does not hold: this is the fuzzer's finding.
    pub fn fuzz_key_file(data: &[u8]) {
        match KeyFile::parse(data) {
            Ok(file) => {
                let mut text = String::new();
                for entry in &file.entries {
                    text += &render_line(&entry.key, entry.workspace, entry.name.as_deref());
                    text.push('\n');
                }
                let again = KeyFile::parse(text.as_bytes()).unwrap_or_default();
                assert_eq!(again.entries.len(), file.entries.len());
                for (number, (a, b)) in (1..).zip(file.entries.iter().zip(&again.entries)) {
                    assert_eq!(
                        (&a.key, a.workspace, &a.name),
                        (&b.key, b.workspace, &b.name)
                    );
                    assert_eq!(b.line, number);
                }
            }
            Err(faults) => {
                assert!(!faults.0.is_empty());
                assert!(faults.0.is_sorted_by_key(|fault| fault.line));
            }
        }
    }
}

#[cfg(test)]
mod tests;
