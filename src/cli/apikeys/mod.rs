//! `tell apikeys`: list, make, show, delete, rotate, import and check streaming keys.
//!
//! Works on the key file alone, with the server running or not; a running server takes changes up by
//! itself. Every change goes to the audit log, and so does every look at a key: one is printed in two cases only,
//! when it is made (`new`, `rotate`), and by `show` without `--masked`, with which an operator gets a lost key
//! back. Everything else shows its first 8 digits. No message quotes what was typed: it may be a key.
//!
//! `list`, `show` and `new` work beside lines of the key file that are at fault, and say so.
//!
//! # Exit codes
//!
//! 0 done, 1 failed, 2 usage, 3 not allowed, 4 not found (also: several match), 5 already exists.
//!
//! # JSON
//!
//! With `--json` standard output is one JSON document and a newline. Members may be added, never
//! removed or given another meaning. Errors are `{"error":"code","message":"…","exit_code":N}` on standard
//! error; `check` writes its document whatever it finds.
//!
//! - A key is an object: `name` (or null), `id`, `masked` (8 digits and dots), `workspace` (a number),
//!   `line` (in the key file), `created_at`, `last_used_at` (RFC 3339, or null), `last_source` (`tcp`,
//!   `http`, `syslog_tcp`, `syslog_udp`, or null), `last_peer` (an address, or null), `accepted`
//!   (`frames`, `events`, `bytes`), `refused`, `replaced_characters` (U+FFFD for what was no Unicode in JSON lines
//!   and syslog). Where the key is revealed there is also `key`.
//! - `list`: an array of keys.
//! - `new`, `show`, `delete`: the key; `delete` of several: an array of them.
//! - `rotate`: the new key, with `replaced`, the old one as it is now: if it was kept, it has a `line`
//!   and maybe a `name`, else `line` is null.
//! - `import`: `imported`, a number.
//! - `check`: `file`, `keys` (how many; 0 if there are faults), `faults` (an array of `line` and `fault`;
//!   line 0 is the file as a whole).

mod change;
pub(super) mod faults;
mod report;
mod show;

use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::flags::{OfKeys, SettingFlags};
use super::numbers::counted;
use super::output::{Output, written_or_left};
use super::program::parse_workspace;
use crate::control::Files;
use crate::control::keys::edit::EditError;
use crate::control::keys::file::KeyFileError;
use crate::control::keys::selector::SelectError;
use crate::origin::Workspace;
use crate::wire::key::StreamingKey;

/// Streaming keys: list, make, show, delete, rotate, import and check them
#[derive(Args, Debug)]
pub struct Apikeys {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    pub(super) settings: SettingFlags<OfKeys>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the keys, without showing them (the default)
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Make a key and print it
    #[command(visible_aliases = ["create", "add", "generate"], alias = "make")]
    New(NewArgs),
    /// Show one key and how it is used; that the key was shown goes to the audit log
    #[command(visible_aliases = ["get", "reveal"])]
    Show(ShowArgs),
    /// Delete keys: clients that use them are refused at once
    #[command(visible_aliases = ["rm", "revoke", "disable"], aliases = ["remove", "del"])]
    Delete(DeleteArgs),
    /// Replace a key with a new one of the same name and workspace, and print it
    #[command(alias = "roll")]
    Rotate(RotateArgs),
    /// Add all keys of another key file, or none of them
    Import(ImportArgs),
    /// Validate a key file and list all its faults
    #[command(visible_aliases = ["verify", "validate"])]
    Check(CheckArgs),
}

#[derive(Args, Debug, Default)]
struct ListArgs {
    /// Only the keys of this workspace
    #[arg(short, long, value_name = "N", value_parser = parse_workspace)]
    workspace: Option<Workspace>,
    /// Order of the list; without it that of the key file
    #[arg(long, value_name = "COLUMN")]
    sort: Option<Sort>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Sort {
    /// By name, keys without one last
    Name,
    /// By workspace, then by name
    Workspace,
    /// Newest first
    Created,
    /// Most recently used first
    LastUsed,
    /// Most accepted events first
    Events,
}

#[derive(Args, Debug)]
struct NewArgs {
    /// Its name: 1 to 100 printable characters without a colon, not used yet
    name: String,
    /// The workspace that it writes to, an integer from 1
    #[arg(short, long, value_name = "N", value_parser = parse_workspace)]
    workspace: Workspace,
    /// Print the key and nothing else (goes before --json)
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// The name, the id or the key itself
    #[arg(value_name = "NAME|ID|KEY")]
    which: String,
    /// Do not show the key itself, only its first 8 digits
    #[arg(long, conflicts_with = "reveal")]
    masked: bool,
    /// Show the key itself, as it is done anyway
    #[arg(long, hide = true)]
    reveal: bool,
}

#[derive(Args, Debug)]
struct DeleteArgs {
    /// The name, the id or the key itself; of several keys, all are deleted or none
    #[arg(value_name = "NAME|ID|KEY", required = true)]
    which: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args, Debug)]
struct RotateArgs {
    /// The name, the id or the key itself
    #[arg(value_name = "NAME|ID|KEY")]
    which: String,
    /// Keep the old key valid as NAME-old until it is deleted
    #[arg(long)]
    keep_old: bool,
}

#[derive(Args, Debug)]
struct ImportArgs {
    /// A file in the format of the key file
    file: PathBuf,
}

#[derive(Args, Debug)]
struct CheckArgs {
    /// The file; without it the key file
    file: Option<PathBuf>,
}

/// Runs `tell apikeys` on the process's own streams. `http` is where a first event can be sent to.
pub(super) fn main(
    apikeys: Apikeys,
    files: &Files,
    http: Option<SocketAddr>,
    output: Output,
) -> Result<(), super::Error> {
    let stdin = io::stdin();
    let asks = stdin.is_terminal();
    let mut input = stdin.lock();
    let terminal: Option<&mut dyn BufRead> = if asks { Some(&mut input) } else { None };
    let mut out = anstream::stdout().lock();
    let done = apikeys.run(
        files,
        http,
        output,
        Streams {
            out: &mut out,
            err: &mut anstream::stderr().lock(),
            width: super::output::width(),
            terminal,
        },
    );
    match done {
        Err(Failure::Output(error)) => written_or_left(Err(error)),
        done => Ok(done?),
    }
}

/// Where a command reads and writes.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Columns of the output, where it is a terminal.
    width: Option<usize>,
    /// Standard input if there is somebody to ask.
    terminal: Option<&'a mut dyn BufRead>,
}

impl Apikeys {
    fn run(
        self,
        files: &Files,
        http: Option<SocketAddr>,
        output: Output,
        mut streams: Streams<'_>,
    ) -> Result<(), Failure> {
        self.execute(files, http, output.json, &mut streams)?;
        Ok(streams.out.flush()?)
    }

    fn execute(
        self,
        files: &Files,
        http: Option<SocketAddr>,
        json: bool,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let stray = self.list.workspace.is_some() || self.list.sort.is_some();
        let Some(command) = self.command else {
            return show::list(files, &self.list, json, streams);
        };
        if stray {
            return Err(Failure::Usage(
                "--workspace and --sort go after the subcommand that they are for",
            ));
        }
        match command {
            Command::List(args) => show::list(files, &args, json, streams),
            Command::New(args) => change::new(files, &args, http, json, streams),
            Command::Show(args) => show::show(files, &args, json, streams),
            Command::Delete(args) => change::delete(files, &args, json, streams),
            Command::Rotate(args) => change::rotate(files, &args, http, json, streams),
            Command::Import(args) => change::import(files, &args, json, streams),
            Command::Check(args) => show::check(files, &args, json, streams),
        }
    }
}

/// Why a command did not do all that it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The key file cannot be used.
    #[error("{}", faults::explained(.0))]
    File(#[from] KeyFileError),
    /// The key file was not changed.
    #[error("{}", faults::explained_edit(.0))]
    Edit(EditError),
    /// No key is meant.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The command line does not say what is to be done.
    #[error("{0}")]
    Usage(&'static str),
    /// The operator thought better of it.
    #[error("nothing was deleted")]
    Declined,
    /// What was counted of the keys cannot be read.
    #[error("cannot read the key usage in {}: {source}", data_dir.display())]
    Usages {
        /// Where it is.
        data_dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The audit log cannot be used; nothing was changed or shown.
    #[error("cannot {doing} the audit log in {}: {source}", data_dir.display())]
    Audit {
        /// What was tried.
        doing: &'static str,
        /// Where it is.
        data_dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The change is not in the audit log.
    #[error("the key file was changed, but the audit log in {} could not be written: {source}", data_dir.display())]
    NotAudited {
        /// Where it is.
        data_dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Standard output does not take what is printed.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The key file that was checked has faults, which were printed.
    #[error("the key file has {}", counted(*.0 as u64, "fault"))]
    Checked(usize),
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        Self::Edit(error)
    }
}

impl Failure {
    /// Whether the output has said it.
    pub(super) const fn is_told(&self) -> bool {
        matches!(self, Self::Checked(_))
    }

    /// One word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self.exit_code() {
            2 => "usage",
            3 => "not_allowed",
            4 => "not_found",
            5 => "exists",
            _ => "failed",
        }
    }

    /// As the module documents it.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::File(KeyFileError::Read { source, .. })
            | Self::Edit(
                EditError::File(KeyFileError::Read { source, .. })
                | EditError::Lock { source, .. }
                | EditError::Write { source, .. },
            )
            | Self::Usages { source, .. }
            | Self::Audit { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => 3,
                ErrorKind::NotFound => 4,
                _ => 1,
            },
            Self::Usage(_) | Self::Edit(EditError::Name(_)) => 2,
            Self::Select(_) | Self::Edit(EditError::Select(_)) => 4,
            Self::Edit(
                EditError::Conflict(_) | EditError::Import(_) | EditError::Exists { .. },
            ) => 5,
            Self::File(_)
            | Self::Edit(_)
            | Self::Declined
            | Self::NotAudited { .. }
            | Self::Output(_)
            | Self::Checked(_) => 1,
        }
    }
}

/// A command line that sends a first event with `key` to the HTTP listener at `http`.
pub(super) fn curl_line(http: SocketAddr, key: &StreamingKey) -> String {
    format!(
        "curl http://{http}/v1/events -H 'Authorization: Bearer {}' \
         -d '{{\"type\":\"track\",\"event\":\"hello\",\"device_id\":\"550e8400-e29b-41d4-a716-446655440000\"}}'",
        key.reveal()
    )
}

#[cfg(test)]
mod tests;
