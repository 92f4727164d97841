//! The control plane: the key file and its edits, what is remembered of each key, the audit log.
//!
//! It reaches the data plane only by snapshots that the server swaps in; nothing here is on the way
//! of a frame.

use std::path::PathBuf;

pub mod atomic_file;
pub mod audit;
pub mod key_edit;
pub mod key_file;
mod key_lines;
pub mod key_name;
pub mod key_selector;
pub mod timestamp;
pub mod usage;

/// The files that the server and every command mean by the same settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The key file.
    pub keys: PathBuf,
}
