//! The control plane: what an operator says, and when.
//!
//! It reaches the data plane only through values handed over at the start and through immutable
//! snapshots swapped later; nothing here is on the way of a frame.
//!
//! - [`config`], [`logging`]: how the server is to run.
//! - [`keys`]: the streaming keys, read, edited and followed; what is remembered of each.
//! - [`tls`]: certificates and their keys, and following their files.
//! - [`audit`]: who changed what.

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

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

/// Starts a thread of this name. The server hands it in, because it watches over all of its threads.
pub type Spawn<'a> =
    &'a dyn Fn(&'static str, Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>;
