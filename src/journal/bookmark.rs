//! Where a named reader stands, durably: a small file for each, replaced whole.
//!
//! A bookmark holds number and salt of its segment. Numbers are of one data directory only; what comes back
//! after a restore is told apart by the salt.
//!
//! | offset | field of `NAME.cursor` |
//! |---|---|
//! | 0 | magic `TELLCUR` and a newline |
//! | 8 | version u32, 1 |
//! | 12 | what the reader is to the data: 1 answers for it, 2 holds it, 3 follows |
//! | 16 | position: number u32, salt u64, offset u64, sequence u64; number 0 before the first record |
//! | 44 | CRC32C of all before |

use std::fmt;
use std::io;

use super::committed::Position;
use super::format::{crc32c, read_u32};
use super::storage::{self, Storage};

const SUFFIX: &str = ".cursor";
const MAGIC: &[u8; 8] = b"TELLCUR\n";
const VERSION: u32 = 1;
const BYTES: usize = 48;

/// The longest name: file names end at 255 bytes.
const NAME_BYTES: usize = 64;

/// What a reader is to the data that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What it has read is safe elsewhere: only such a reader lets segments go.
    Answers,
    /// What it has not read yet has to stay.
    Holds,
    /// It takes what there is, and stops where that is gone.
    Follows,
}

impl Role {
    /// As `tell storage` shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Holds => "holds",
            Self::Follows => "follows",
        }
    }

    const fn code(self) -> u32 {
        match self {
            Self::Answers => 1,
            Self::Holds => 2,
            Self::Follows => 3,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Answers, Self::Holds, Self::Follows]
            .into_iter()
            .find(|role| role.code() == code)
    }
}

/// The name of a reader: 1 to 64 of a to z, 0 to 9, `-` and `_`, so that it is a file name everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReaderName(String);

impl ReaderName {
    /// Takes a name that is one.
    pub fn parse(name: &str) -> Option<Self> {
        let is_taken = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        let is_name = (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(is_taken);
        is_name.then(|| Self(name.to_owned()))
    }

    fn file_name(&self) -> String {
        format!("{}{SUFFIX}", self.0)
    }

    fn of_file(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(SUFFIX)?)
    }
}

impl fmt::Display for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// What the reader is to the data.
    pub role: Role,
    /// Everything before it was read; `None` before the first record of all.
    pub position: Option<Position>,
}

impl Bookmark {
    fn encode(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.role.code().to_le_bytes());
        if let Some(position) = self.position {
            out[16..44].copy_from_slice(&position.encode());
        }
        let check = crc32c(&out[..44]);
        out[44..].copy_from_slice(&check.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let is_sound = &bytes[..8] == MAGIC
            && read_u32(bytes, 8) == VERSION
            && read_u32(bytes, 44) == crc32c(&bytes[..44]);
        let role = Role::from_code(read_u32(bytes, 12))?;
        let position = bytes[16..].first_chunk()?;
        is_sound.then(|| Self {
            role,
            position: Position::decode(position),
        })
    }

    /// The bookmark of this name, if there is one.
    pub fn read(storage: &dyn Storage, name: &ReaderName) -> io::Result<Option<Self>> {
        let Some(bytes) = storage::read_small(storage, &name.file_name())? else {
            return Ok(None);
        };
        match Self::decode(&bytes) {
            Some(bookmark) => Ok(Some(bookmark)),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the cursor of reader {name} is damaged: where it stood is not known; remove {} to let it begin anew",
                    name.file_name()
                ),
            )),
        }
    }

    /// Puts it in the place of the one before, durably.
    pub fn save(&self, storage: &dyn Storage, name: &ReaderName) -> io::Result<()> {
        storage.replace(&name.file_name(), &self.encode())
    }

    /// Forgets the reader of this name, durably.
    pub fn remove(storage: &dyn Storage, name: &ReaderName) -> io::Result<()> {
        storage.remove(&name.file_name())?;
        storage.sync_directory()
    }
}

/// All readers with a name, in the order of the names, each with its bookmark or what is wrong with it.
pub fn all(storage: &dyn Storage) -> io::Result<Vec<(ReaderName, io::Result<Bookmark>)>> {
    let names = storage.list()?;
    let mut readers: Vec<ReaderName> = names
        .iter()
        .filter_map(|name| ReaderName::of_file(name))
        .collect();
    readers.sort_unstable();
    let read = |name: ReaderName| match Bookmark::read(storage, &name) {
        Ok(None) => None,
        Ok(Some(bookmark)) => Some((name, Ok(bookmark))),
        Err(error) => Some((name, Err(error))),
    };
    Ok(readers.into_iter().filter_map(read).collect())
}

/// The highest number that a bookmark among these files names; 0 where there is none.
pub(super) fn highest_number(storage: &dyn Storage, names: &[String]) -> io::Result<u32> {
    let mut highest = 0;
    for name in names.iter().filter_map(|name| ReaderName::of_file(name)) {
        // A damaged one names nothing.
        if let Ok(Some(bookmark)) = Bookmark::read(storage, &name) {
            let number = bookmark.position.map_or(0, |at| at.segment.number);
            highest = highest.max(number);
        }
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::super::format::SegmentId;
    use super::super::simulated::SimulatedDisk;
    use super::*;

    fn bookmark(role: Role, number: u32) -> Bookmark {
        Bookmark {
            role,
            position: Some(Position {
                segment: SegmentId { number, salt: 9 },
                offset: 8192,
                sequence: 77,
            }),
        }
    }

    #[test]
    fn bookmarks_are_read_back_listed_replaced_and_removed() {
        let disk = SimulatedDisk::default();
        let name = |name| ReaderName::parse(name).unwrap();
        let new = Bookmark {
            role: Role::Follows,
            position: None,
        };
        new.save(&disk, &name("tail")).unwrap();
        bookmark(Role::Holds, 3)
            .save(&disk, &name("relay"))
            .unwrap();
        bookmark(Role::Holds, 5)
            .save(&disk, &name("relay"))
            .unwrap();
        let listed: Vec<_> = all(&disk)
            .unwrap()
            .into_iter()
            .map(|(name, read)| (name.to_string(), read.unwrap()))
            .collect();
        let expected = [
            ("relay".to_owned(), bookmark(Role::Holds, 5)),
            ("tail".to_owned(), new),
        ];
        assert_eq!(listed, expected);
        assert_eq!(highest_number(&disk, &disk.list().unwrap()).unwrap(), 5);
        Bookmark::remove(&disk, &name("relay")).unwrap();
        assert_eq!(Bookmark::read(&disk, &name("relay")).unwrap(), None);
    }

    #[test]
    fn a_damaged_bookmark_is_said_and_never_a_wrong_place() {
        let disk = SimulatedDisk::default();
        let name = ReaderName::parse("relay").unwrap();
        for bit in 0..BYTES * 8 {
            bookmark(Role::Answers, 5).save(&disk, &name).unwrap();
            disk.flip_bit(&name.file_name(), bit / 8, (bit % 8) as u8);
            let error = Bookmark::read(&disk, &name).unwrap_err().to_string();
            assert!(
                error.contains("relay") && error.contains("damaged"),
                "{error}"
            );
        }
        assert_eq!(highest_number(&disk, &disk.list().unwrap()).unwrap(), 0);
        assert_eq!(all(&disk).unwrap().len(), 1, "it is listed all the same");
    }

    #[test]
    fn names_that_are_no_file_names_everywhere_are_none() {
        for name in [
            "",
            "../x",
            "a/b",
            "A",
            "a.b",
            "a b",
            "\u{e9}",
            &"x".repeat(65),
        ] {
            assert_eq!(ReaderName::parse(name), None, "{name}");
        }
        assert!(ReaderName::parse(&"x".repeat(64)).is_some());
    }
}
