//! Why the server did not start, or did not end well.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::control::keys::edit::EditError;
use crate::control::keys::reload::KeysError;
use crate::control::tls::TlsFault;
use crate::journal::recovery::OpenError;
use crate::server::inherited::InheritError;
use crate::server::supervise::Failure;

/// Why the server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be used.
    #[error("data directory {path}: {error}")]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// Another server has it.
    #[error(
        "data directory {0} is in use by another tell server; stop that one or choose another with --data-dir"
    )]
    InUse(PathBuf),
    /// The key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The first key file cannot be made.
    #[error("cannot create the key file: {0}")]
    FirstStart(EditError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// A socket was passed that cannot be used.
    #[error(transparent)]
    Inherited(#[from] InheritError),
    /// A certificate or its key cannot be used.
    #[error("TLS ({setting}): {fault}")]
    Tls {
        /// The listener's setting.
        setting: &'static str,
        /// What is wrong.
        fault: TlsFault,
    },
    /// A listener cannot be bound.
    #[error("cannot listen on {address} for {what}: {error}")]
    Listen {
        /// The protocol.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What failed.
        error: io::Error,
    },
    /// The runtime, a thread or a signal handler.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// A commit failed while serving.
    #[error("the journal stopped: {0}; what was acknowledged is safe, a restart recovers it")]
    JournalFailed(Arc<str>),
    /// A thread or task that the server cannot do without ended.
    #[error("{0}; what was acknowledged is safe, a restart brings it back")]
    PartFailed(Failure),
    /// The stop took too long.
    #[error(
        "not drained within shutdown_timeout ({allowed:?}): {connections} connections were cut, {queued_bytes} bytes were not committed{}", unsaved_text(.unsaved)
    )]
    Deadline {
        /// `shutdown_timeout`.
        allowed: Duration,
        /// Connections that were still open.
        connections: usize,
        /// Bytes that were taken and not acknowledged.
        queued_bytes: u64,
        /// What else was not saved.
        unsaved: Vec<&'static str>,
    },
}

fn unsaved_text(unsaved: &[&str]) -> String {
    match unsaved {
        [] => String::new(),
        _ => format!("; not saved: {}", unsaved.join(", ")),
    }
}
