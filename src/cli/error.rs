//! Why a command ended without having done what it was asked for: text or JSON, and the exit code.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::numbers::counted;
use super::output::{BAD, write_json};
use super::program::user_name;
use super::{apikeys, client, ports};
use crate::control::config::edit::EditError;
use crate::control::config::{Faults, Problem};
use crate::control::logging::LoggingError;
use crate::journal::recovery::OpenError;
use crate::origin::Workspace;
use crate::server::error::ServeError;

/// Why a command ended without having done what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are at fault.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The configuration file was not changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// `tell config` was asked for what is no setting.
    #[error("{0}")]
    UnknownSetting(Problem),
    /// The log could not be started.
    #[error("cannot start the log: {0}")]
    Logging(LoggingError),
    /// The server could not start, or did not end well.
    #[error("{}", ports::explained(.0))]
    Serve(#[from] ServeError),
    /// There is no journal to read.
    #[error("{0} holds no journal; name the data directory of the server with --data-dir")]
    NoJournal(PathBuf),
    /// There is something, which this user cannot look into.
    #[error("cannot read {path}: {error}{}", owned_by(.path, .error))]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// Nobody writes to the workspace, and nothing is there of it.
    #[error("workspace {workspace:?} is not known: no key is for it, and nothing was kept of it{}", known(.others))]
    UnknownWorkspace {
        /// The workspace.
        workspace: Workspace,
        /// Some that are known.
        others: Vec<Workspace>,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// There is no server to ask, or none that answers.
    #[error(transparent)]
    Server(#[from] client::ClientError),
    /// The server runs and cannot do its work; what is wrong was printed.
    #[error("the server is not ready")]
    NotReady,
    /// The server was asked to end, or to reload, and that did not go well.
    #[error("{0}")]
    Control(String),
    /// The audit log cannot be read.
    #[error("cannot read the audit log: {0}")]
    Audit(io::Error),
    /// There is no audit log.
    #[error(
        "{0} has no audit log: none was ever written there, or it was removed; name the data directory of the server with --data-dir"
    )]
    NoAudit(PathBuf),
    /// The audit log is not as it was written.
    #[error("the audit log has {}", counted(*.0 as u64, "fault"))]
    AuditFaults(usize),
    /// `tell check` found faults; they were printed.
    #[error("{} found: the server would not start, or not work", counted(*.0 as u64, "fault"))]
    Check(usize),
    /// Standard output does not take what is printed.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// A file cannot be written.
    #[error("cannot write {path}: {error}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// The file system does not tell how much room there is.
    #[error("cannot tell how much room the disk has: {0}")]
    Space(io::Error),
    /// A command about keys.
    #[error(transparent)]
    Apikeys(#[from] apikeys::Failure),
}

fn known(workspaces: &[Workspace]) -> String {
    if workspaces.is_empty() {
        return String::new();
    }
    let names: Vec<String> = workspaces.iter().map(|ws| format!("{ws:?}")).collect();
    format!("; there are {}", names.join(", "))
}

/// Whose it is, where that is why it cannot be read.
fn owned_by(path: &Path, error: &io::Error) -> String {
    use std::os::unix::fs::MetadataExt as _;
    if error.kind() != ErrorKind::PermissionDenied {
        return String::new();
    }
    // Of what is inside a closed directory nothing is told: the directory itself it is then.
    let owner = path.ancestors().find_map(|path| path.metadata().ok());
    owner.map_or_else(String::new, |owner| {
        let user = user_name(owner.uid());
        format!("; run it as the user it belongs to ({user})")
    })
}

impl Error {
    /// The exit code: 2 where settings or command line are at fault, 3 where something is not allowed or the
    /// server is not ready, 4 where what is asked for is not there, otherwise 1; `tell apikeys` has its own.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::UnknownSetting(_) | Self::Edit(EditError::Faults(_)) => 2,
            Self::NotReady => 3,
            Self::Server(client::ClientError::DataDirectory { error, .. }) | Self::Audit(error)
                if error.kind() == ErrorKind::PermissionDenied =>
            {
                3
            }
            Self::Unreadable { error, .. } if error.kind() == ErrorKind::PermissionDenied => 3,
            Self::UnknownWorkspace { .. } => 4,
            Self::Apikeys(failure) => failure.exit_code(),
            Self::Edit(EditError::Io { .. })
            | Self::Logging(_)
            | Self::Serve(_)
            | Self::NoJournal(_)
            | Self::Unreadable { .. }
            | Self::Journal(_)
            | Self::Server(_)
            | Self::Control(_)
            | Self::Audit(_)
            | Self::NoAudit(_)
            | Self::AuditFaults(_)
            | Self::Check(_)
            | Self::Output(_)
            | Self::Unwritable { .. }
            | Self::Space(_) => 1,
        }
    }

    /// One word for programs. New ones may come, these stay.
    fn code(&self) -> &'static str {
        match self {
            Self::Config(_) | Self::Edit(EditError::Faults(_)) => "invalid_settings",
            Self::UnknownSetting(_) => "unknown_setting",
            Self::Edit(EditError::Io { .. }) | Self::Unwritable { .. } => "not_written",
            Self::Logging(_) | Self::Serve(_) => "serve_failed",
            Self::NoJournal(_) => "no_journal",
            Self::Unreadable { .. } | Self::Audit(_) | Self::Space(_) => "not_readable",
            Self::UnknownWorkspace { .. } => "unknown_workspace",
            Self::Journal(_) => "journal_not_readable",
            Self::Server(error) => error.code(),
            Self::NotReady => "not_ready",
            Self::Control(_) => "not_done",
            Self::NoAudit(_) => "no_audit_log",
            Self::AuditFaults(_) => "audit_faults",
            Self::Check(_) => "faults",
            Self::Output(_) => "output_failed",
            Self::Apikeys(failure) => failure.code(),
        }
    }

    /// Whether the output has said it: no text need follow. JSON has it all the same.
    const fn is_told(&self) -> bool {
        matches!(self, Self::NotReady | Self::Check(_))
            || matches!(self, Self::Apikeys(failure) if failure.is_told())
    }

    /// Writes it to standard error.
    pub(super) fn report(&self, json: bool) {
        if json {
            return report(true, self.code(), &self.to_string(), self.exit_code());
        }
        if !self.is_told() {
            report(false, self.code(), &self.to_string(), self.exit_code());
        }
    }
}

/// Writes an error to standard error, as text or as `{"error":"code","message":"…","exit_code":N}`.
pub(super) fn report(json: bool, code: &str, message: &str, exit_code: u8) {
    let mut err = anstream::stderr().lock();
    // Nowhere is left to report that standard error cannot be written, and a closed one must not turn the
    // exit code into a panic's.
    let _ = match json {
        true => write_json(
            &mut err,
            &json!({"error": code, "message": message, "exit_code": exit_code}),
        ),
        false => message
            .lines()
            .try_for_each(|line| writeln!(err, "{BAD}error:{BAD:#} {line}")),
    };
}
