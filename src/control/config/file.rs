//! The file's layer: TOML, one key a setting, at the top level, and the tables of listeners.

use std::path::{Path, PathBuf};

use super::settings::{in_file, listen};
use super::table::{TomlFile, at, text_of, unknown, wrong_type};
use super::text::shown;
use super::{Problem, Raw, SettingFault, WrittenAt};
use crate::files::{self, read::ReadError};

/// The files that are looked for where none is named, the first of them first: that of the working directory,
/// and that of an installed server, so that no command there needs a flag.
pub(super) fn defaults() -> [PathBuf; 2] {
    ["tell.toml".into(), "/etc/tell/tell.toml".into()]
}

/// The first of the files that is there. Where none is, the first is the one to create.
pub(super) fn default_of(paths: &[PathBuf]) -> PathBuf {
    // One that cannot be looked at is there: reading it says why it cannot be read.
    let is_there = |path: &&PathBuf| path.try_exists().unwrap_or(true);
    let found = paths.iter().find(is_there).or(paths.first());
    found.cloned().unwrap_or_default()
}

/// A configuration is a few hundred lines; more is the wrong file, and `/dev/zero` must end.
pub(super) const FILE_SIZE_MAX: u64 = 1 << 20;

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
    let bytes = match files::read::named(&path, FILE_SIZE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() && !is_named => return Ok(None),
        Err(ReadError::TooLong { max }) => {
            return Err(SettingFault {
                place: whole(&path),
                key: None,
                problem: Problem::FileTooLarge { max },
            });
        }
        Err(ReadError::Io(source)) => {
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
    match text(&path, bytes) {
        Ok(text) => Ok(Some((path, text))),
        Err(fault) => Err(fault),
    }
}

/// The bytes of a file as text.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, SettingFault> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
            Err(SettingFault {
                place: at(path, &text, valid),
                key: None,
                problem: Problem::FileNotUtf8,
            })
        }
    }
}

/// The tables of the file that are no settings of their own; each is read by whose it is.
const TABLES: [&str; 1] = [listen::TABLE];

/// Adds the settings of the file's top level.
pub(super) fn add(file: &TomlFile, raw: &mut Raw) {
    for (key, item) in file.root().iter() {
        if TABLES.contains(&key) {
            continue;
        }
        let Some(setting) = in_file().find(|setting| setting.key == key) else {
            let known = in_file().map(|setting| setting.key).chain(TABLES);
            let place = file.place_of_key(file.root(), key);
            raw.faults.push(unknown(key, place, known));
            continue;
        };
        let place = file.place_of_value(file.root(), key);
        match text_of(item, setting.kind) {
            Some(text) => raw.add(setting, place, text.into()),
            None => {
                let fault = wrong_type(setting.key, place, item, setting.kind.right());
                raw.faults.push(fault);
            }
        }
    }
}

pub(super) fn whole(path: &Path) -> WrittenAt {
    WrittenAt::File {
        path: shown(&path.to_string_lossy()),
        position: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut raw = Raw::default();
        raw.add_file(Path::new("t.toml"), text);
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
