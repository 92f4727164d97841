//! The environment's layer: variables that begin with `TELL_`.
//!
//! What is no setting stops no command: a machine has more programs than this one, whose variables may begin
//! the same. The server warns of it once, in case it is a setting with a slip of the pen.

use std::ffi::{OsStr, OsString};
use std::fmt;

use super::text::{nearest, shown};
use super::{Raw, WrittenAt, settings};

const PREFIX: &[u8] = b"TELL_";

/// Variables of clients: the SDKs, and programs that send.
const OF_CLIENTS: [&str; 4] = ["TELL_KEY", "TELL_API_KEY", "TELL_API_URL", "TELL_NOAUTH"];

/// A variable that begins as settings do and is none. Its `Display` is a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name, as it may be shown.
    pub name: String,
    /// What was probably meant.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the variable {} is no setting and counts for nothing",
            self.name
        )?;
        match self.nearest {
            Some(nearest) => write!(f, ": did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// Adds what the environment sets.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>, raw: &mut Raw) {
    for (name, value) in variables {
        if !name.as_encoded_bytes().starts_with(PREFIX) {
            continue;
        }
        if let Some(setting) = settings::all().find(|setting| name == setting.variable) {
            raw.add(
                setting,
                WrittenAt::Variable(setting.variable.to_owned()),
                value,
            );
        } else if !OF_CLIENTS.iter().any(|known| name == *known) && !is_service_link(&name, &value)
        {
            let name = name.to_string_lossy();
            raw.unknown_variables.push(UnknownVariable {
                name: shown(&name),
                nearest: nearest(&name, settings::all().map(|setting| setting.variable)),
            });
        }
    }
}

/// Whether the variable is one that Kubernetes sets in every container for each service of the
/// namespace; a service named `tell` or `tell-…` must not keep the server from starting.
///
/// Kubernetes documentation, "Service", "Environment variables": `{SVC}_SERVICE_HOST`,
/// `{SVC}_SERVICE_PORT`, `{SVC}_SERVICE_PORT_{NAME}`, `{SVC}_PORT` with a URL, and
/// `{SVC}_PORT_{N}_{PROTOCOL}`, also with `_PROTO`, `_PORT` and `_ADDR`.
fn is_service_link(name: &OsStr, value: &OsStr) -> bool {
    let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
        return false;
    };
    if name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
    {
        return true;
    }
    if name.ends_with("_PORT") && value.contains("://") {
        return true;
    }
    let Some((_, port)) = name.split_once("_PORT_") else {
        return false;
    };
    let mut parts = port.split('_');
    parts
        .next()
        .is_some_and(|number| number.parse::<u16>().is_ok())
        && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
        && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(name: &str, value: &str) -> Vec<String> {
        let mut raw = Raw::default();
        read([(name.into(), value.into())], &mut raw);
        assert!(raw.faults.is_empty(), "no variable is a fault by its name");
        raw.unknown_variables
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_unknown_variable_is_told_with_a_suggestion() {
        assert_eq!(
            unknown("TELL_SEGMENTSIZE", "1MiB"),
            [
                "the variable TELL_SEGMENTSIZE is no setting and counts for nothing: did you mean TELL_SEGMENT_SIZE?"
            ]
        );
        assert_eq!(unknown("TELL_BOGUS_THING", "x").len(), 1);
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        assert!(unknown("PATH", "/bin").is_empty());
        assert!(unknown("TELLING", "x").is_empty());
        for name in OF_CLIENTS {
            assert!(unknown(name, "x").is_empty(), "{name}");
        }
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_named_tell_are_no_settings() {
        for (name, value) in [
            ("TELL_SERVICE_HOST", "10.0.0.11"),
            ("TELL_SERVICE_PORT", "50000"),
            ("TELL_SERVICE_PORT_HTTP", "8080"),
            ("TELL_PORT", "tcp://10.0.0.11:50000"),
            ("TELL_PORT_50000_TCP", "tcp://10.0.0.11:50000"),
            ("TELL_PORT_50000_TCP_PROTO", "tcp"),
            ("TELL_SERVER_PORT_1514_UDP_ADDR", "10.0.0.11"),
        ] {
            assert!(unknown(name, value).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_port_that_kubernetes_would_not_write_is_an_unknown_setting() {
        assert_eq!(unknown("TELL_PORT", "50000").len(), 1);
        assert_eq!(unknown("TELL_HTTP_PORT", "8080").len(), 1);
        assert_eq!(unknown("TELL_PORT_X_TCP", "8080").len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf8_is_reported() {
        use std::os::unix::ffi::OsStringExt;
        let mut raw = Raw::default();
        read(
            [(OsString::from_vec(b"TELL_\xff".to_vec()), "x".into())],
            &mut raw,
        );
        assert_eq!(raw.unknown_variables.len(), 1);
    }
}
