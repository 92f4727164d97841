//! The text of a TOML file, and reading the tables in it: every fault with its place.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, Key, TableLike, Value};

use super::kind::{Accepts, Kind, Toml};
use super::text::{nearest, shown};
use super::{Problem, SettingFault, WrittenAt};

/// A file that is TOML.
#[derive(Debug)]
pub struct TomlFile {
    path: PathBuf,
    document: Document<String>,
}

impl TomlFile {
    /// Reads the text of a file; `path` only says where a fault is. Text that is not TOML is one fault: what
    /// follows it means nothing.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, SettingFault> {
        match Document::parse(text.to_owned()) {
            Ok(document) => Ok(Self {
                path: path.to_owned(),
                document,
            }),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                Err(SettingFault {
                    place: at(path, text, offset),
                    key: None,
                    problem: Problem::Syntax(shown(error.message())),
                })
            }
        }
    }

    /// What stands at the top level.
    pub(super) fn root(&self) -> &dyn TableLike {
        self.document.as_table()
    }

    /// The place of a value, or of its key where it is a table.
    pub(super) fn place_of_value(&self, table: &dyn TableLike, key: &str) -> WrittenAt {
        let value = table.get(key).and_then(Item::span);
        self.place(value.or_else(|| table.key(key).and_then(Key::span)))
    }

    /// The place of a key.
    pub(super) fn place_of_key(&self, table: &dyn TableLike, key: &str) -> WrittenAt {
        let name = table.key(key).and_then(Key::span);
        self.place(name.or_else(|| table.get(key).and_then(Item::span)))
    }

    fn place(&self, span: Option<Range<usize>>) -> WrittenAt {
        let offset = span.map_or(0, |span| span.start);
        at(&self.path, self.document.raw(), offset)
    }

    /// The tables of an array, `[[name]]` or inline, with the place of each; `None` where the item is no such
    /// array.
    pub(super) fn array<'a>(
        &self,
        item: &'a Item,
        place: &WrittenAt,
    ) -> Option<Vec<(&'a dyn TableLike, WrittenAt)>> {
        let header = |span: Option<Range<usize>>| {
            span.map_or_else(|| place.clone(), |s| self.place(Some(s)))
        };
        if let Item::ArrayOfTables(tables) = item {
            let tables = tables.iter();
            return Some(tables.map(|t| (t as _, header(t.span()))).collect());
        }
        let inline = item.as_array()?.iter().map(Value::as_inline_table);
        inline
            .map(|table| table.map(|t| (t as _, header(t.span()))))
            .collect()
    }
}

/// The place of a byte of a file's text.
pub(super) fn at(path: &Path, text: &str, offset: usize) -> WrittenAt {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    WrittenAt::File {
        path: shown(&path.to_string_lossy()),
        position: Some((before.matches('\n').count() + 1, line.chars().count() + 1)),
    }
}

/// A value as a flag would say it, where its type is one that the kind takes.
pub(super) fn text_of(item: &Item, kind: &dyn Accepts) -> Option<String> {
    match (item.as_value()?, kind.toml()) {
        (Value::String(string), _) => Some(string.value().clone()),
        (Value::Integer(number), Toml::Integer) => Some(number.value().to_string()),
        (Value::Boolean(switch), Toml::Boolean) => Some(switch.value().to_string()),
        (Value::Array(array), Toml::List) => {
            let parts: Option<Vec<&str>> = array.iter().map(Value::as_str).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => None,
    }
}

/// A key that means nothing where it stands.
pub(super) fn unknown(
    key: &str,
    place: WrittenAt,
    known: impl Iterator<Item = &'static str>,
) -> SettingFault {
    SettingFault {
        place,
        key: None,
        problem: Problem::UnknownKey {
            key: shown(key),
            nearest: nearest(key, known),
        },
    }
}

/// A value of a type that is not taken where it stands.
pub(super) fn wrong_type(
    key: &'static str,
    place: WrittenAt,
    item: &Item,
    right: String,
) -> SettingFault {
    SettingFault {
        place,
        key: Some(key),
        problem: Problem::WrongType {
            found: item.type_name(),
            right,
        },
    }
}

/// One table, read field by field.
pub struct Table<'a> {
    file: &'a TomlFile,
    table: &'a dyn TableLike,
    known: Vec<&'static str>,
    faults: &'a mut Vec<SettingFault>,
}

impl<'a> Table<'a> {
    /// A table that takes these fields; each other one is a fault.
    pub(super) fn new(
        file: &'a TomlFile,
        table: &'a dyn TableLike,
        known: Vec<&'static str>,
        faults: &'a mut Vec<SettingFault>,
    ) -> Self {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(key)) {
            let place = file.place_of_key(table, key);
            faults.push(unknown(key, place, known.iter().copied()));
        }
        Self {
            file,
            table,
            known,
            faults,
        }
    }

    /// Whether the field is there, with or without a fault.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A field's value and where it stands; `None` where it is absent or at fault.
    pub(super) fn field<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<(T, WrittenAt)> {
        // A field that the table does not take is reported as unknown, and nothing else about it.
        let item = self.table.get(key).filter(|_| self.known.contains(&key))?;
        let place = self.file.place_of_value(self.table, key);
        let Some(text) = text_of(item, kind) else {
            let fault = wrong_type(key, place, item, kind.right());
            self.faults.push(fault);
            return None;
        };
        match kind.read(OsStr::new(&text)) {
            Ok(value) => Some((value, place)),
            Err(refusal) => {
                let problem = Problem::refused(refusal, OsStr::new(&text), kind.right());
                self.fault(key, place, problem);
                None
            }
        }
    }

    /// Says that `key` needs another field, which is not there.
    pub(super) fn missing(&mut self, key: &'static str, needs: &'static str, place: &WrittenAt) {
        self.fault(key, place.clone(), Problem::Missing { needs });
    }

    fn fault(&mut self, key: &'static str, place: WrittenAt, problem: Problem) {
        self.faults.push(SettingFault {
            place,
            key: Some(key),
            problem,
        });
    }

    /// How many faults were found so far, in this table and before it.
    pub(super) fn faults(&self) -> usize {
        self.faults.len()
    }
}
