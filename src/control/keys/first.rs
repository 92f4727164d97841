//! The first start: a key file where there is none.

use std::io;

use crate::control::Files;
use crate::control::audit::{Action, AuditEntry, AuditLog};
use crate::control::keys::edit::{self, EditError};
use crate::wire::key::StreamingKey;

/// Why there is no key file to start with.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// It could not be created.
    #[error(transparent)]
    Create(EditError),
    /// Its creation could not be noted.
    #[error("cannot write the audit log: {0}")]
    Audit(io::Error),
}

/// Creates the key file if it does not exist, with one key, which is returned: whoever started the server is to
/// be told it, once.
pub fn create_if_missing(files: &Files) -> Result<Option<StreamingKey>, FirstStartError> {
    // A symlink that leads nowhere is not a missing file: whoever set it up means another one.
    if files.keys.symlink_metadata().is_ok() {
        return Ok(None);
    }
    let key = match edit::create_default(&files.keys) {
        Ok(key) => key,
        Err(EditError::Exists { .. }) => return Ok(None),
        Err(error) => return Err(FirstStartError::Create(error)),
    };
    let created = AuditEntry {
        actor: "server",
        action: Action::KeyCreated,
        key_id: Some(key.id()),
        name: Some(edit::DEFAULT_KEY_NAME),
        workspace: Some(edit::DEFAULT_WORKSPACE),
        details: None,
    };
    AuditLog::open(&files.data_dir)
        .and_then(|log| log.append(&[created]))
        .map_err(FirstStartError::Audit)?;
    tracing::info!(keys = %files.keys.display(), key_id = %key.id(), "key file created");
    Ok(Some(key))
}
