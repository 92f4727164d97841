//! Settings as they were written, in three layers: flags win over the environment, the environment over the
//! file, the file over the default.
//!
//! A value that a higher layer overrides is checked all the same, so that removing a flag never uncovers a
//! fault.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::settings::FilesConfig;
use super::table::TomlFile;
use super::{
    Environment, Flags, Problem, Setting, SettingFault, UnknownVariable, WrittenAt, environment,
    file,
};

/// One value as it was written, and where.
#[derive(Debug)]
pub(super) struct RawValue {
    key: &'static str,
    pub place: WrittenAt,
    pub text: OsString,
}

/// Settings as they were written, highest layer first, with the faults found while reading them.
#[derive(Debug, Default)]
pub struct Raw {
    values: Vec<RawValue>,
    /// The file, if there is one and it is TOML.
    pub(super) file: Option<TomlFile>,
    /// The file that is read where none is named.
    default_file: PathBuf,
    pub(super) faults: Vec<SettingFault>,
    pub(super) unknown_variables: Vec<UnknownVariable>,
}

impl Raw {
    /// Reads all layers. The first of the default files that is there is read where none is named.
    pub(super) fn load(flags: Flags, environment: Environment, defaults: &[PathBuf]) -> Self {
        let mut raw = Self::default();
        raw.add_flags(flags);
        raw.add_environment(environment);
        raw.default_file = file::default_of(defaults);
        let named = raw
            .first(&FilesConfig::config)
            .map(|value| (PathBuf::from(&value.text), value.place.clone()));
        match file::read(named, &raw.default_file) {
            Ok(Some((path, text))) => raw.add_file(&path, &text),
            Ok(None) => {}
            Err(fault) => raw.faults.push(fault),
        }
        raw
    }

    /// Adds the command line.
    pub fn add_flags(&mut self, flags: Flags) {
        for (setting, text) in flags {
            self.add(setting, WrittenAt::Flag(setting.flag), text);
        }
    }

    /// Adds the `TELL_…` variables; others are not ours.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        environment::read(variables, self);
    }

    /// Adds the text of a TOML file; `path` only says where a fault is.
    pub fn add_file(&mut self, path: &Path, text: &str) {
        match TomlFile::parse(path, text) {
            Ok(file) => {
                file::add(&file, self);
                self.file = Some(file);
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    pub(super) fn add(&mut self, setting: &Setting, place: WrittenAt, text: OsString) {
        self.values.push(RawValue {
            key: setting.key,
            place,
            text,
        });
    }

    pub(super) fn default_file(&self) -> &Path {
        &self.default_file
    }

    /// The value that counts, as it was written.
    pub(super) fn first(&self, setting: &Setting) -> Option<&RawValue> {
        self.values.iter().find(|value| value.key == setting.key)
    }

    /// Where the value that counts was written.
    pub(super) fn place_of(&self, setting: &Setting) -> WrittenAt {
        self.first(setting)
            .map_or(WrittenAt::Default, |value| value.place.clone())
    }

    /// The value that counts, where a layer has one, checking those that do not count too; `Some(None)` after
    /// a fault.
    pub(super) fn written<T>(&mut self, setting: &Setting, kind: &Kind<T>) -> Option<Option<T>> {
        let mut winner = None;
        for value in self.values.iter().filter(|value| value.key == setting.key) {
            let read = read_value(setting, kind, &value.place, &value.text);
            let read = read.map_err(|fault| self.faults.push(fault)).ok();
            winner.get_or_insert(read);
        }
        winner
    }

    /// The default as the setting's declaration has it.
    pub(super) fn default_of<T>(&mut self, setting: &Setting, kind: &Kind<T>) -> Option<T> {
        let text = OsStr::new(setting.default);
        read_value(setting, kind, &WrittenAt::Default, text)
            .map_err(|fault| self.faults.push(fault))
            .ok()
    }

    /// A default that is derived.
    pub(super) fn derive<T>(&self, derived: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        derived(self)
    }

    /// The value that counts, or the default; `None` where it is at fault, which [`written`](Self::written)
    /// reports.
    pub(super) fn peek<T>(&self, setting: &Setting, kind: &Kind<T>) -> Option<T> {
        kind.read(self.text_of(setting)).ok()
    }

    fn text_of<'a>(&'a self, setting: &'a Setting) -> &'a OsStr {
        self.first(setting)
            .map_or(OsStr::new(setting.default), |value| &value.text)
    }

    /// `whole` has to be large enough for one `part` with so much around it.
    pub(super) fn check_holds(&mut self, whole: &Setting, part: &Setting, around_bytes: u64) {
        let amount = |setting: &Setting| setting.kind.amount_of(self.text_of(setting));
        let (Some(whole_bytes), Some(part_bytes)) = (amount(whole), amount(part)) else {
            return;
        };
        let part_bytes = part_bytes.saturating_add(around_bytes);
        if whole_bytes >= part_bytes {
            return;
        }
        let of = |setting: &Setting| (self.place_of(setting), setting.key);
        let (place, key) = of(whole).min(of(part));
        self.faults.push(SettingFault {
            place,
            key: Some(key),
            problem: Problem::TooSmall {
                whole: whole.key,
                whole_bytes,
                part: part.key,
                part_bytes,
            },
        });
    }
}

fn read_value<T>(
    setting: &Setting,
    kind: &Kind<T>,
    place: &WrittenAt,
    text: &OsStr,
) -> Result<T, SettingFault> {
    kind.read(text).map_err(|refusal| SettingFault {
        place: place.clone(),
        key: Some(setting.key),
        problem: Problem::refused(refusal, text, setting.kind.right()),
    })
}
