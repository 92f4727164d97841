//! `tell apikeys`: list, make, show, delete, rotate, import and check streaming keys.
//!
//! Works on the key file alone, with the server running or not; a running server takes changes up by
//! itself. Every change goes to the audit log. A key is printed in two cases only: when it is made
//! (`new`, `rotate`), and by `show --reveal`, with which an operator gets a lost key back. Everything
//! else shows its first 8 digits. No message quotes what was typed: it may be a key.
//!
//! # Exit codes
//!
//! 0 done, 1 failed, 2 usage, 3 not allowed, 4 not found (also: several match), 5 already exists.
//!
//! # JSON
//!
//! With `--json` standard output is one JSON document and a newline. Members may be added, never
//! removed or given another meaning. Errors are text on standard error and an exit code, with or
//! without `--json`; only `check` writes its document whatever it finds.
//!
//! - A key is an object: `name` (or null), `id`, `masked` (8 digits and dots), `workspace` (a number),
//!   `line` (in the key file), `created_at`, `last_used_at` (RFC 3339, or null), `last_source` (`tcp`,
//!   `http`, `syslog_tcp`, `syslog_udp`, or null), `last_peer` (an address, or null), `accepted`
//!   (`frames`, `events`, `bytes`), `refused`. Where the key is revealed there is also `key`.
//! - `list`: an array of keys.
//! - `new`, `show`, `delete`: the key.
//! - `rotate`: the new key, with `replaced`, the old one as it is now: if it was kept, it has a `line`
//!   and maybe a `name`, else `line` is null.
//! - `import`: `imported`, a number.
//! - `check`: `file`, `keys` (how many; 0 if there are faults), `faults` (an array of `line` and `fault`;
//!   line 0 is the file as a whole).

mod change;
mod report;
mod show;

use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
    /// Write JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the keys, without showing them (the default)
    List(ListArgs),
    /// Make a key and print it, this once
    #[command(visible_alias = "generate")]
    New(NewArgs),
    /// Show one key and how it is used
    Show(ShowArgs),
    /// Delete a key: clients that use it are refused at once
    #[command(visible_aliases = ["revoke", "disable"])]
    Delete(DeleteArgs),
    /// Replace a key with a new one of the same name and workspace, and print it, this once
    Rotate(RotateArgs),
    /// Add all keys of another key file, or none of them
    Import(ImportArgs),
    /// Validate a key file and list all its faults
    Check(CheckArgs),
}

#[derive(Args, Debug, Default)]
struct ListArgs {
    /// Only the keys of this workspace
    #[arg(long, value_name = "N", value_parser = parse_workspace)]
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
    #[arg(long, value_name = "N", value_parser = parse_workspace)]
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
    /// Print the key itself
    #[arg(long)]
    reveal: bool,
}

#[derive(Args, Debug)]
struct DeleteArgs {
    /// The name, the id or the key itself
    #[arg(value_name = "NAME|ID|KEY")]
    which: String,
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

fn parse_workspace(text: &str) -> Result<Workspace, &'static str> {
    Workspace::parse(text)
        .ok_or("a workspace is an integer from 1 to 4294967295, such as 1 or ws-1")
}

/// Runs `tell apikeys` on the process's own streams.
pub fn main(apikeys: Apikeys, files: &Files) -> Result<(), super::Error> {
    let stdin = io::stdin();
    let asks = stdin.is_terminal();
    let mut input = stdin.lock();
    let terminal: Option<&mut dyn BufRead> = if asks { Some(&mut input) } else { None };
    match apikeys.run(
        files,
        &mut io::stdout().lock(),
        &mut io::stderr().lock(),
        terminal,
    ) {
        0 => Ok(()),
        code => Err(super::Error::Apikeys(code)),
    }
}

/// Where a command reads and writes.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Standard input if there is somebody to ask.
    terminal: Option<&'a mut dyn BufRead>,
}

impl Apikeys {
    /// Runs the command and returns its exit code.
    ///
    /// `terminal` is standard input if that is a terminal, to ask for a confirmation; else `None`.
    pub fn run<'a>(
        self,
        files: &Files,
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        terminal: Option<&'a mut dyn BufRead>,
    ) -> u8 {
        let mut streams = Streams { out, err, terminal };
        let done = self.execute(files, &mut streams);
        let done = done.and_then(|()| Ok(streams.out.flush()?));
        let Err(failure) = done else {
            return 0;
        };
        if !matches!(failure, Failure::Told) {
            // Nowhere is left to report that standard error cannot be written.
            let _ = writeln!(streams.err, "error: {failure}");
        }
        if let Failure::Edit(EditError::Import(conflicts)) = &failure {
            for (line, conflict) in conflicts {
                let _ = writeln!(streams.err, "line {line}: {conflict}");
            }
        }
        failure.exit_code()
    }

    fn execute(self, files: &Files, streams: &mut Streams<'_>) -> Result<(), Failure> {
        let json = self.json;
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
            Command::New(args) => change::new(files, &args, json, streams),
            Command::Show(args) => show::show(files, &args, json, streams),
            Command::Delete(args) => change::delete(files, &args, json, streams),
            Command::Rotate(args) => change::rotate(files, &args, json, streams),
            Command::Import(args) => change::import(files, &args, json, streams),
            Command::Check(args) => show::check(files, &args, json, streams),
        }
    }
}

/// Why a command did not do all that it was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("{0}")]
    Usage(&'static str),
    #[error("nothing was deleted")]
    Declined,
    #[error("cannot read the key usage in {}: {source}", data_dir.display())]
    Usages {
        data_dir: PathBuf,
        source: io::Error,
    },
    #[error("cannot {doing} the audit log in {}: {source}", data_dir.display())]
    Audit {
        doing: &'static str,
        data_dir: PathBuf,
        source: io::Error,
    },
    #[error("the key file was changed, but the audit log in {} could not be written: {source}", data_dir.display())]
    NotAudited {
        data_dir: PathBuf,
        source: io::Error,
    },
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The output has said it.
    #[error("")]
    Told,
}

impl Failure {
    fn exit_code(&self) -> u8 {
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
            | Self::Told => 1,
        }
    }
}

/// A command line that sends a first event with `key` to the HTTP listener at `http` (`ADDR:PORT`).
pub fn curl_line(http: &str, key: &StreamingKey) -> String {
    format!(
        "curl http://{http}/v1/events -H 'Authorization: Bearer {}' \
         -d '{{\"type\":\"track\",\"event\":\"hello\",\"device_id\":\"550e8400-e29b-41d4-a716-446655440000\"}}'",
        key.reveal()
    )
}

#[cfg(test)]
mod tests;
