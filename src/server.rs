//! Builds the parts from a [`Config`], starts them, drains them.

use std::io;

use crate::control::config::Config;

/// Serves until a signal asks for the end.
///
/// # Errors
///
/// What kept the server from starting, or from saving what it had taken in.
pub fn run(config: &Config) -> io::Result<()> {
    tracing::debug!(?config, "configured");
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "no listeners are part of this build",
    ))
}
