//! The control plane: what an operator says, and when.
//!
//! It reaches the data plane only through values handed over at the start and through immutable
//! snapshots swapped later.

use std::path::PathBuf;

pub mod config;
pub mod logging;

/// Where everything that outlives the process is kept; every command means the same two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The directory of the journal and the tables.
    pub data_dir: PathBuf,
    /// The key file.
    pub keys: PathBuf,
}
