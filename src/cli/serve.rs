//! `tell serve`: starts the log, then the server.

use crate::cli::{Error, first_start};
use crate::control::audit::AuditLog;
use crate::control::config::Config;
use crate::control::logging;
use crate::{limits, server};

/// Runs until the server has drained.
///
/// # Errors
///
/// What kept the server from starting or from ending well.
pub fn run(config: &Config) -> Result<(), Error> {
    logging::start(config.logging.log_format, config.logging.log_level).map_err(Error::Logging)?;
    for unknown in &config.unknown_variables {
        tracing::warn!("{unknown}");
    }
    // From the first start on there is one: a log that is not there any more was taken away.
    if let Err(error) = AuditLog::open(&config.files.data_dir) {
        tracing::warn!(%error, "the audit log cannot be written");
    }
    let served = server::run(config, first_start::welcome);
    logging::flush(limits::LOG_FLUSH_WAIT);
    Ok(served?)
}
