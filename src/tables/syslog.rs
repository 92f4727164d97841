//! Placeholder until the syslog decoder is merged.

use super::Row;
use crate::journal::Record;

/// Rows of syslog messages.
pub fn decode<'a>(_: &Record<'a>, _: &mut dyn FnMut(Row<'_>)) {}
