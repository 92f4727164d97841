//! What a setting is, and how settings are declared: each once, as a field of the struct that it is read
//! into, with its sentence, its type, its default and what it accepts. Its names in the file, on the command
//! line and in the environment, the help, the errors and the reference all follow from that.

use std::fmt;

use super::Accepts;

/// One setting.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its name in the TOML file, and in errors.
    pub key: &'static str,
    /// Its flag, without the dashes.
    pub flag: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// The default as one would write it, or in angle brackets what it is derived from.
    pub default: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// The heading that the help lists it under.
    pub section: &'static str,
    /// What it accepts.
    pub kind: &'static dyn Accepts,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setting").field(&self.key).finish()
    }
}

impl Setting {
    /// What the default is derived from, in words, where it cannot be written as a value.
    #[must_use]
    pub fn derived_default(&self) -> Option<&'static str> {
        self.default.strip_prefix('<')?.strip_suffix('>')
    }
}

/// A name in other letters: with dashes for underscores, or in capitals.
pub(super) const fn spelled<const N: usize>(name: &str, dashes: bool) -> [u8; N] {
    let name = name.as_bytes();
    let mut spelled = [0; N];
    let mut at = 0;
    while at < N {
        spelled[at] = match name[at] {
            b'_' if dashes => b'-',
            letter if dashes => letter,
            letter => letter.to_ascii_uppercase(),
        };
        at += 1;
    }
    spelled
}

/// A name as text; names are ASCII.
pub(super) const fn text_of_name(name: &[u8]) -> &str {
    match std::str::from_utf8(name) {
        Ok(name) => name,
        Err(_) => "",
    }
}

/// Declares the settings of one concern:
///
/// ```text
/// settings! {
///     /// What the struct is.
///     LimitsConfig in "Limits" {
///         /// Connections open at once, all listeners together
///         max_connections: usize = "16384", count::<1, 1024>();
///         /// Threads that serve connections
///         worker_threads: usize = "<number of cores>" or |_| Some(cores()), count::<1, 1024>();
///     }
/// }
/// ```
///
/// makes `struct LimitsConfig` with these fields, `LimitsConfig::SETTINGS`, each [`Setting`] as a constant of
/// the struct under the field's name, and the functions that read all of them and show one of them. What
/// follows `or` derives the default from the raw settings and from the fields above.
macro_rules! settings {
    (
        $(#[$about:meta])*
        $config:ident in $section:literal {
            $(
                $(#[doc = $help:literal])+
                $name:ident: $value:ty = $default:literal $(or $derived:expr)?, $kind:expr;
            )+
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $config {
            $($(#[doc = $help])+ pub $name: $value,)+
        }

        #[allow(non_upper_case_globals)] // a setting is named as it is written in the file
        impl $config {
            /// The settings, in the order of the help.
            pub const SETTINGS: &'static [$crate::control::config::Setting] = &[$(Self::$name),+];

            $(
                $(#[doc = $help])+
                pub const $name: $crate::control::config::Setting = {
                    const KEY: &str = stringify!($name);
                    const FLAG: [u8; KEY.len()] = $crate::control::config::setting::spelled(KEY, true);
                    const PREFIXED: &str = concat!("TELL_", stringify!($name));
                    const VARIABLE: [u8; PREFIXED.len()] =
                        $crate::control::config::setting::spelled(PREFIXED, false);
                    $crate::control::config::Setting {
                        key: KEY,
                        flag: $crate::control::config::setting::text_of_name(&FLAG),
                        variable: $crate::control::config::setting::text_of_name(&VARIABLE),
                        default: $default,
                        help: concat!($($help),+).trim_ascii_start(),
                        section: $section,
                        kind: &$kind,
                    }
                };
            )+

            /// Reads every setting, so that no fault hides another; `None` after a fault.
            pub(super) fn read(raw: &mut $crate::control::config::Raw) -> Option<Self> {
                $(let $name: Option<$value> = match raw.written(&Self::$name, &$kind) {
                    Some(value) => value,
                    None => settings!(@default raw, &Self::$name, &$kind $(, $derived)?),
                };)+
                Some(Self { $($name: $name?),+ })
            }

            /// A setting's value as a flag would say it; `None` where it is none of these.
            pub(super) fn show(&self, key: &str) -> Option<String> {
                $(if key == stringify!($name) {
                    return Some($kind.show(&self.$name));
                })+
                None
            }
        }
    };
    (@default $raw:ident, $setting:expr, $kind:expr) => { $raw.default_of($setting, $kind) };
    (@default $raw:ident, $setting:expr, $kind:expr, $derived:expr) => { $raw.derive($derived) };
}

/// Declares what the tables of a kind in the file take, as [`settings!`] does for settings; every field may be
/// absent, and knows where it was written.
macro_rules! table_fields {
    (
        $(#[$about:meta])*
        $fields:ident {
            $(
                $(#[doc = $help:literal])+
                $name:ident: $value:ty = $kind:expr;
            )+
        }
    ) => {
        $(#[$about])*
        struct $fields {
            $($(#[doc = $help])+ $name: Option<($value, $crate::control::config::WrittenAt)>,)+
        }

        impl $fields {
            const FIELDS: &'static [$crate::control::config::Field] = &[$(
                $crate::control::config::Field {
                    key: stringify!($name),
                    help: concat!($($help),+).trim_ascii_start(),
                    kind: &$kind,
                },
            )+];

            /// Reads every field, so that no fault hides another.
            fn read(table: &mut $crate::control::config::table::Table<'_>) -> Self {
                Self { $($name: table.field(stringify!($name), &$kind)),+ }
            }
        }
    };
}

/// What a table of the file takes under one key.
#[derive(Clone, Copy)]
pub struct Field {
    /// Its name in the table, and in errors.
    pub key: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// What it accepts.
    pub kind: &'static dyn Accepts,
}

pub(super) use {settings, table_fields};
