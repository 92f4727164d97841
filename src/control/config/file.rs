//! The file's layer: TOML, one key a setting, at the top level, and the tables of listeners.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, Value};

use super::settings::in_file;
use super::text::{nearest, shown};
use super::{Accepts, Problem, Raw, SettingFault, WrittenAt, listeners};

/// The file that is read from the working directory where no other is named.
pub(super) const DEFAULT_NAME: &str = "tell.toml";

/// The table of listeners.
const LISTEN: &str = "listen";

/// A configuration is a few hundred lines; more is the wrong file, and `/dev/zero` must end.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// The text of the file that was named, or of the default file where none was. Only the default file
/// may be absent.
pub(super) fn read(
    named: Option<(PathBuf, WrittenAt)>,
    default: &Path,
) -> Result<Option<(PathBuf, String)>, SettingFault> {
    let is_named = named.is_some();
    let (path, named_at) = named.unwrap_or_else(|| (default.to_owned(), whole(default)));
    if path.as_os_str().is_empty() {
        // No path: reading the setting itself reports it.
        return Ok(None);
    }
    let bytes = match read_bytes(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => return Ok(None),
        Err(source) => {
            return Err(SettingFault {
                place: named_at,
                key: None,
                problem: Problem::Unopened {
                    path: shown(&path.to_string_lossy()),
                    source,
                },
            });
        }
    };
    let fault = |place, problem| SettingFault {
        place,
        key: None,
        problem,
    };
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_SIZE_MAX) {
        return Err(fault(
            whole(&path),
            Problem::FileTooLarge { max: FILE_SIZE_MAX },
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
            Err(fault(at(&path, &text, valid), Problem::FileNotUtf8))
        }
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_SIZE_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file's text, and where in it things are.
pub(super) struct TomlFile<'a> {
    path: &'a Path,
    text: &'a str,
}

impl TomlFile<'_> {
    /// The place of a byte of the text.
    pub(super) fn at(&self, offset: usize) -> WrittenAt {
        at(self.path, self.text, offset)
    }
}

/// Adds what the file sets. Text that is not TOML is one fault: what follows it means nothing.
pub(super) fn parse(path: &Path, text: &str, raw: &mut Raw) {
    let file = TomlFile { path, text };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            raw.faults.push(SettingFault {
                place: file.at(offset),
                key: None,
                problem: Problem::Syntax(shown(error.message())),
            });
            return;
        }
    };
    let root = document.as_table();
    for (key, item) in root {
        let key_span = root.key(key).and_then(toml_edit::Key::span);
        let place = file.at(start(item.span().or(key_span.clone())));
        if key == LISTEN {
            listeners::parse(&file, item, place, raw);
            continue;
        }
        let Some(setting) = in_file().find(|setting| setting.key == key) else {
            let known = in_file().map(|setting| setting.key).chain([LISTEN]);
            raw.faults.push(SettingFault {
                place: file.at(start(key_span)),
                key: None,
                problem: Problem::UnknownKey {
                    key: shown(key),
                    nearest: nearest(key, known),
                },
            });
            continue;
        };
        match text_of(item, &setting.kind) {
            Some(text) => raw.add(setting, place, text.into()),
            None => raw.faults.push(SettingFault {
                place,
                key: Some(setting.key),
                problem: Problem::WrongType {
                    found: item.type_name(),
                    right: setting.kind.right(),
                },
            }),
        }
    }
}

/// A value as a flag would say it, where its type is one that the kind takes.
pub(super) fn text_of(item: &Item, kind: &dyn Accepts) -> Option<String> {
    match item {
        Item::Value(Value::String(string)) => Some(string.value().clone()),
        Item::Value(Value::Integer(number)) if kind.takes_integers() => {
            Some(number.value().to_string())
        }
        Item::Value(Value::Boolean(switch)) if kind.takes_booleans() => {
            Some(switch.value().to_string())
        }
        Item::Value(Value::Array(array)) if kind.takes_lists() => {
            let parts: Option<Vec<&str>> = array.iter().map(Value::as_str).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => None,
    }
}

pub(super) fn start(span: Option<Range<usize>>) -> usize {
    span.map_or(0, |span| span.start)
}

pub(super) fn whole(path: &Path) -> WrittenAt {
    WrittenAt::File {
        path: shown(&path.to_string_lossy()),
        position: None,
    }
}

/// The place of a byte of the text.
fn at(path: &Path, text: &str, offset: usize) -> WrittenAt {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    WrittenAt::File {
        path: shown(&path.to_string_lossy()),
        position: Some((before.matches('\n').count() + 1, line.chars().count() + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut raw = Raw::default();
        parse(Path::new("t.toml"), text, &mut raw);
        raw.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_syntax_error_is_one_fault_with_its_line() {
        let faults = faults("tcp = \"off\"\n\nhttp = = 1\nbogus = 1\n");
        let [fault] = faults.as_slice() else {
            panic!("{faults:?}");
        };
        assert!(fault.starts_with("t.toml:3:"), "{fault}");
        assert!(fault.contains("not TOML"), "{fault}");
    }

    #[test]
    fn a_key_twice_is_a_fault_at_the_second() {
        let faults = faults("tcp = \"off\"\ntcp = \"off\"\n");
        assert!(
            matches!(faults.as_slice(), [fault] if fault.starts_with("t.toml:2:")),
            "{faults:?}"
        );
    }

    #[test]
    fn an_unknown_key_is_a_fault_with_a_suggestion() {
        assert_eq!(
            faults("# sizes\r\n  segmnt_size = 5\r\n[listeners]\r\nx = 1\r\n"),
            [
                "t.toml:2:3: unknown setting `segmnt_size`: did you mean `segment_size`?",
                "t.toml:3:2: unknown setting `listeners`; see the settings in `tell serve --help`",
            ]
        );
    }

    #[test]
    fn the_file_cannot_name_another_file() {
        assert_eq!(faults("config = \"other.toml\"").len(), 1);
    }

    #[test]
    fn a_value_of_another_type_is_a_fault_at_the_value() {
        let faults = faults("data_dir = 5\nhttp = false\n[tcp]\nport = 1\n[[keys]]\n");
        let starts = [
            "t.toml:1:12: data_dir: a TOML integer",
            "t.toml:2:8: http: a TOML boolean",
            "t.toml:3:1: tcp: a TOML table",
            "t.toml:5:1: keys: a TOML array of tables",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_crlf_are_accepted() {
        assert_eq!(
            faults("\u{feff}tcp = \"off\"\r\nhttp = \"off\"\r\n"),
            [] as [&str; 0]
        );
    }

    #[test]
    fn a_file_that_is_not_utf8_is_a_fault_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, b"tcp = \"off\"\n# \xff\n").unwrap();
        let fault = read(Some((path, WrittenAt::Flag("config"))), Path::new("")).unwrap_err();
        assert!(matches!(fault.problem, Problem::FileNotUtf8));
        assert!(fault.to_string().contains("t.toml:2:3: "), "{fault}");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let named = Some((PathBuf::from("/dev/zero"), WrittenAt::Flag("config")));
        let fault = read(named, Path::new("")).unwrap_err();
        assert!(
            matches!(fault.problem, Problem::FileTooLarge { .. }),
            "{fault}"
        );
    }
}
