//! `tell export`: reads what was kept for a workspace back as JSON lines, in order of arrival.
//!
//! Works with the server running or not. Which columns there are is the tables' business.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, ErrorKind, Write};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::error::Error;
use super::flags::{OfKeys, SettingFlags};
use super::numbers::{counted, sized};
use super::output::{Output, written_or_left};
use super::program::parse_workspace;
use crate::control::config::Config;
use crate::control::keys::file::KeyFile;
use crate::journal::read::{self as journal, Found};
use crate::journal::storage::Disk;
use crate::origin::Workspace;
use crate::server::JOURNAL_DIRECTORY;
use crate::tables::row::RejectedRow;
use crate::tables::{Row, Table, decode, json};

/// Print what was kept for a workspace
#[derive(Debug, Args)]
pub struct Export {
    /// The workspace, `1` or `ws-1`
    #[arg(short, long, value_name = "N", value_parser = parse_workspace)]
    workspace: Workspace,
    /// The table
    #[arg(short, long, value_name = "TABLE", default_value = Table::Events.as_str(), value_parser = table())]
    table: Table,
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    #[command(flatten)]
    pub(super) settings: SettingFlags<OfKeys>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
}

/// Reads the name of a table; clap lists them in the help and in what it says of any other.
fn table() -> impl TypedValueParser<Value = Table> {
    PossibleValuesParser::new(Table::ALL.map(Table::as_str))
        .try_map(|name| Table::parse(&name).ok_or("no such table"))
}

/// Workspaces that an error names; there may be millions.
const NAMED_WORKSPACES: usize = 20;

/// Rows gathered before they are written to standard output, bytes.
const WRITE_BYTES: usize = 256 << 10;

impl Export {
    /// Prints the rows to standard output; what was set aside is counted on standard error.
    pub(super) fn run(&self, config: &Config, output: Output) -> Result<(), Error> {
        let Format::Jsonl = self.format;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock());
        let read = self.write(config, &mut out)?;
        drop(out);
        if !read.workspaces.contains(&self.workspace) {
            self.explain_nothing(config, &read.workspaces, output)?;
        }
        if self.table != Table::Rejected && read.rejected > 0 {
            output.note(&format!(
                "{} of the workspace could not be decoded: tell export --workspace {} --table rejected",
                counted(read.rejected, "payload"), self.workspace
            ));
        }
        if read.damaged_places > 0 {
            output.note(&format!(
                "{} of {} in the journal were stepped over; whose they were cannot be told",
                counted(read.damaged_places, "damaged place"),
                sized(read.damaged_bytes)
            ));
        }
        Ok(())
    }

    /// Nothing was kept of the workspace: a mistake, unless somebody may write to it.
    fn explain_nothing(
        &self,
        config: &Config,
        kept: &BTreeSet<Workspace>,
        output: Output,
    ) -> Result<(), Error> {
        let keys = KeyFile::read_beside_faults(&config.files.keys)
            .unwrap_or_default()
            .0;
        let bound = config
            .listeners
            .iter()
            .filter_map(|listener| Some(listener.bound.as_ref()?.workspace));
        let written: BTreeSet<Workspace> = keys
            .entries
            .iter()
            .map(|entry| entry.workspace)
            .chain(bound)
            .collect();
        if written.contains(&self.workspace) {
            output.note(&format!(
                "nothing was kept of workspace {:?} so far",
                self.workspace
            ));
            return Ok(());
        }
        let others = written
            .union(kept)
            .take(NAMED_WORKSPACES)
            .copied()
            .collect();
        Err(Error::UnknownWorkspace {
            workspace: self.workspace,
            others,
        })
    }

    fn write(&self, config: &Config, out: &mut impl Write) -> Result<Read, Error> {
        let disk = open(config)?;
        let table = self.table;
        let mut read = Read::default();
        let mut lines = Vec::with_capacity(WRITE_BYTES);
        let mut written = Ok(());
        journal::for_each(&disk, |found| {
            if let Found::Record(record) | Found::DamagedPayload(record) = &found {
                read.note(record.facts.workspace);
            }
            match found {
                Found::Record(record) if record.facts.workspace == self.workspace => {
                    let common = json::Common::of(&record.facts);
                    decode::decode(&record, &mut |row| {
                        let row_table = row.table();
                        read.rejected += u64::from(row_table == Table::Rejected);
                        if row_table == table {
                            json::write_row(&mut lines, &common, &row);
                        }
                    });
                }
                Found::DamagedPayload(record) if record.facts.workspace == self.workspace => {
                    read.rejected += 1;
                    if table == Table::Rejected {
                        let row = Row::Rejected(RejectedRow {
                            reason: "damaged on disk: the checksum of the payload does not match"
                                .to_owned(),
                            schema: decode::schema_name(record.facts.encoding).into(),
                            payload: record.payload,
                        });
                        json::write_row(&mut lines, &json::Common::of(&record.facts), &row);
                    }
                }
                Found::Record(_) | Found::DamagedPayload(_) => {}
                Found::DamagedBytes { bytes, .. } => {
                    read.damaged_places += 1;
                    read.damaged_bytes += bytes;
                }
            }
            if lines.len() >= WRITE_BYTES {
                written = out.write_all(&lines);
                lines.clear();
            }
            written.is_ok()
        })?;
        written_or_left(
            written
                .and_then(|()| out.write_all(&lines))
                .and_then(|()| out.flush()),
        )?;
        Ok(read)
    }
}

/// What an export came by, beside the rows of its table.
#[derive(Debug, Default)]
struct Read {
    rejected: u64,
    damaged_places: u64,
    damaged_bytes: u64,
    /// Of which there is anything, as far as it was read.
    workspaces: BTreeSet<Workspace>,
    last: Option<Workspace>,
}

impl Read {
    fn note(&mut self, workspace: Workspace) {
        // Records of one workspace often follow each other.
        if self.last != Some(workspace) {
            self.workspaces.insert(workspace);
            self.last = Some(workspace);
        }
    }
}

/// The journal of a data directory, for reading.
pub(super) fn open(config: &Config) -> Result<Disk, Error> {
    let directory = config.files.data_dir.join(JOURNAL_DIRECTORY);
    match std::fs::read_dir(&directory) {
        Ok(_) => Ok(Disk::existing(&directory)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Error::NoJournal(config.files.data_dir.clone()))
        }
        Err(error) => Err(Error::Unreadable {
            path: directory,
            error,
        }),
    }
}
