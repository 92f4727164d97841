//! The control plane: what an operator says, and when.
//!
//! It reaches the data plane only through values handed over at the start and through immutable
//! snapshots swapped later; nothing here is on the way of a frame.
//!
//! - [`config`], [`logging`]: how the server is to run.
//! - [`keys`]: the streaming keys, read, edited and followed; what is remembered of each.
//! - [`tls`]: certificates and their keys, and following their files.
//! - [`audit`]: who changed what.

use std::path::PathBuf;

pub mod audit;
pub mod config;
pub mod keys;
pub mod logging;
pub mod timestamp;
pub mod tls;

/// Where everything that outlives the process is kept; every command means the same two places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The key file.
    pub keys: PathBuf,
}
