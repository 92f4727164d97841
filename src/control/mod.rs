//! The control plane: what an operator says, and when.
//!
//! It reaches the data plane only through values handed over at the start and through immutable
//! snapshots swapped later; nothing here is on the way of a frame.
//!
//! - [`config`], [`logging`]: how the server is to run.
//! - [`key_file`], [`key_edit`]: the streaming keys, read and edited; [`key_reload`] follows the file.
//! - [`service`]: what the service manager is told.
//! - [`tls`]: certificates and their keys, and following their files.
//! - [`running`]: which server has a data directory, and where it listens.
//! - [`usage`], [`audit`]: what is remembered of each key, and who changed what.

use std::path::PathBuf;

pub mod atomic_file;
pub mod audit;
pub mod config;
mod fingerprint;
pub mod first_start;
mod key_difference;
pub mod key_edit;
pub mod key_file;
mod key_lines;
pub mod key_name;
pub mod key_permissions;
pub mod key_reload;
pub mod key_selector;
pub mod logging;
mod remembered;
pub mod running;
pub mod service;
pub mod timestamp;
pub mod tls;
pub mod usage;

/// Where everything that outlives the process is kept; every command means the same two places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The key file.
    pub keys: PathBuf,
}
