//! `tell serve`: starts the log, then the server.

use crate::cli::{Error, first_start};
use crate::control::config::Config;
use crate::control::logging;
use crate::server;

/// Runs until the server has drained.
///
/// # Errors
///
/// What kept the server from starting or from ending well.
pub fn run(config: &Config) -> Result<(), Error> {
    logging::start(config.logging.log_format, config.logging.log_level).map_err(Error::Logging)?;
    Ok(server::run(config, first_start::welcome)?)
}
