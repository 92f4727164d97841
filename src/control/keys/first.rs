//! The first start: a key file where there is none.

use crate::control::Files;
use crate::control::audit::Action;
use crate::control::audit::recorder::{Note, Recorder};
use crate::control::keys::edit::{self, EditError};
use crate::wire::key::StreamingKey;

/// Creates the key file if it does not exist, with one key, which is returned: whoever started the server is to
/// be told it, once.
pub fn create_if_missing(
    files: &Files,
    audit: &Recorder,
) -> Result<Option<StreamingKey>, EditError> {
    // A symlink that leads nowhere is not a missing file: whoever set it up means another one.
    if files.keys.symlink_metadata().is_ok() {
        return Ok(None);
    }
    let key = match edit::create_default(&files.keys) {
        Ok(key) => key,
        Err(EditError::Exists { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    audit.note(vec![Note {
        action: Action::KeyCreated,
        key_id: Some(key.id()),
        name: Some(edit::DEFAULT_KEY_NAME.into()),
        workspace: Some(edit::DEFAULT_WORKSPACE),
        details: Box::new(()),
    }]);
    tracing::info!(keys = %files.keys.display(), key_id = %key.id(), "key file created");
    Ok(Some(key))
}
