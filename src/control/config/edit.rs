//! Changing one setting of the TOML file: everything else in it stays, comments and order too.
//!
//! The file as it would be is validated before anything is written; a lock keeps two edits apart, and
//! whoever reads the file sees it before or after.

use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Value};

use super::{Config, Faults, Problem, Raw, Setting, SettingFault, Toml, file};
use crate::files::EditLock;
use crate::files::read::ReadError;

/// Why a setting was not changed; the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file is at fault, or would be.
    #[error("{0}\nnothing was changed")]
    Faults(Faults),
    /// The file cannot be locked, read or written.
    #[error("cannot change {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
}

/// Sets a setting in the file, which is created if it is not there.
///
/// # Errors
///
/// The file that would come of it is not valid, or cannot be written.
pub fn set(path: &Path, setting: &Setting, text: &str) -> Result<(), EditError> {
    change(path, |document| {
        let mut value = toml_value(setting, text);
        let root = document.as_table_mut();
        match root.get_mut(setting.key) {
            Some(Item::Value(old)) => {
                // A comment behind the value belongs to the line.
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            _ => {
                root.insert(setting.key, Item::Value(value));
            }
        }
        true
    })
    .map(|_| ())
}

/// Takes a setting out of the file, so that the environment's value or the default counts. Returns whether
/// it was there.
///
/// # Errors
///
/// As [`set`].
pub fn unset(path: &Path, setting: &Setting) -> Result<bool, EditError> {
    change(path, |document| {
        let root = document.as_table_mut();
        let Some((key, _)) = root.remove_entry(setting.key) else {
            return false;
        };
        keep_comment(document, &key);
        true
    })
}

/// A comment in front of a key that goes may be a heading: it stays, in front of what comes next.
fn keep_comment(document: &mut DocumentMut, gone: &toml_edit::Key) {
    let comment = gone.leaf_decor().prefix().and_then(|p| p.as_str());
    let Some(comment) = comment.filter(|comment| comment.contains('#')) else {
        return;
    };
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    document.set_trailing(format!("{trailing}{comment}"));
}

/// The value in the type that reads best in TOML; the same text as a flag has.
fn toml_value(setting: &Setting, text: &str) -> Value {
    let typed = match setting.kind.toml() {
        Toml::Boolean => text.parse::<bool>().ok().map(Value::from),
        Toml::Integer => text.parse::<i64>().ok().map(Value::from),
        Toml::List if text != "none" => {
            Some(text.split(',').map(str::trim).collect::<Array>().into())
        }
        Toml::List | Toml::Text => None,
    };
    typed.unwrap_or_else(|| text.into())
}

fn change(path: &Path, edit: impl FnOnce(&mut DocumentMut) -> bool) -> Result<bool, EditError> {
    let io = |error| EditError::Io {
        path: path.to_owned(),
        error,
    };
    // A symlink stays one: what it leads to is edited.
    let lock = EditLock::take(path).map_err(io)?;
    let text = match lock.file().read(file::FILE_SIZE_MAX) {
        Ok(bytes) => file::text(path, bytes).map_err(|fault| fault_of(fault.problem, path))?,
        Err(error) if error.is_not_found() => String::new(),
        Err(ReadError::Io(error)) => return Err(io(error)),
        Err(ReadError::TooLong { max }) => {
            return Err(fault_of(Problem::FileTooLarge { max }, path));
        }
    };
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        return Err(EditError::Faults(faults(path, &text)));
    };
    if !edit(&mut document) {
        return Ok(false);
    }
    let changed = document.to_string();
    let mut raw = Raw::default();
    raw.add_file(path, &changed);
    Config::validate(raw).map_err(EditError::Faults)?;
    lock.file()
        .replace_keeping_mode(|out| out.write_all(changed.as_bytes()))
        .map_err(io)?;
    Ok(true)
}

/// What is wrong with a text that is not TOML, with its line.
fn faults(path: &Path, text: &str) -> Faults {
    let mut raw = Raw::default();
    raw.add_file(path, text);
    Faults::new(raw.faults)
}

fn fault_of(problem: Problem, path: &Path) -> EditError {
    EditError::Faults(Faults::new(vec![SettingFault {
        place: file::whole(path),
        key: None,
        problem,
    }]))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::super::settings::{
        FilesConfig, JournalConfig, LimitsConfig, ListenConfig, ProcessConfig,
    };
    use super::*;

    /// What comes of an edit of the text, or why it was refused.
    fn edited(
        text: &str,
        edit: impl FnOnce(&Path) -> Result<(), EditError>,
    ) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        fs::write(&path, text).unwrap();
        let result = edit(&path);
        let after = fs::read_to_string(&path).unwrap();
        match result {
            Ok(()) => Ok(after),
            Err(error) => {
                assert_eq!(after, text, "a refused edit changes nothing");
                Err(error.to_string())
            }
        }
    }

    const FILE: &str = "# Where\ntcp = 'off' # for now\n\n  # How much\nmax_connections = 5\n\n# Doors\n[[listen.http]] # one\naddress = \"127.0.0.1:1\"\n";

    #[test]
    fn setting_a_value_keeps_every_other_byte() {
        let after = edited(FILE, |path| set(path, &ListenConfig::tcp, "127.0.0.1:7"));
        assert_eq!(after.unwrap(), FILE.replace("'off'", "\"127.0.0.1:7\""));
    }

    #[test]
    fn a_new_setting_stands_in_front_of_the_tables() {
        let after = edited(FILE, |path| {
            set(path, &ListenConfig::allow_network_access, "true")
        })
        .unwrap();
        assert_eq!(
            after,
            FILE.replace(
                "max_connections = 5\n",
                "max_connections = 5\nallow_network_access = true\n"
            )
        );
    }

    #[test]
    fn taking_a_setting_out_keeps_the_comments() {
        let after = edited(FILE, |path| {
            assert!(unset(path, &LimitsConfig::max_connections)?);
            assert!(!unset(path, &LimitsConfig::max_connections)?);
            Ok(())
        })
        .unwrap();
        assert!(!after.contains("max_connections"), "{after}");
        for comment in [
            "# Where\n",
            "# for now\n",
            "# How much\n",
            "# Doors\n",
            "# one\n",
        ] {
            assert_eq!(after.matches(comment).count(), 1, "{comment}\n{after}");
        }
    }

    #[test]
    fn values_get_the_type_that_reads_best() {
        let after = edited("", |path| {
            set(path, &FilesConfig::strict_permissions, "true")?;
            set(path, &ProcessConfig::worker_threads, "3")?;
            set(path, &ListenConfig::forwarders, "10.0.0.0/8, ::1")?;
            set(path, &ListenConfig::trusted_proxies, "none")?;
            set(path, &JournalConfig::segment_size, "64MiB")
        });
        assert_eq!(
            after.unwrap(),
            "strict_permissions = true\nworker_threads = 3\nforwarders = [\"10.0.0.0/8\", \"::1\"]\n\
             trusted_proxies = \"none\"\nsegment_size = \"64MiB\"\n"
        );
    }

    #[test]
    fn a_file_that_would_be_at_fault_is_not_written() {
        let error = edited(FILE, |path| set(path, &ListenConfig::http, "127.0.0.1:1")).unwrap_err();
        assert!(error.contains("meets the address of `http`"), "{error}");
        assert!(error.ends_with("nothing was changed"), "{error}");
        let error = edited(FILE, |path| set(path, &ListenConfig::tcp, "nowhere")).unwrap_err();
        assert!(error.contains("tcp: `nowhere` is not accepted"), "{error}");
        let error = edited("tcp = = 1", |path| set(path, &ListenConfig::tcp, "off")).unwrap_err();
        assert!(error.contains(":1:7: not TOML"), "{error}");
    }

    #[test]
    fn a_file_is_created_and_keeps_its_mode_and_its_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        set(&file, &ListenConfig::tcp, "off").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        set(&link, &ListenConfig::tcp, "127.0.0.1:1").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "tcp = \"127.0.0.1:1\"\n"
        );
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
