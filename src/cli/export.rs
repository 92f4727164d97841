//! `tell export`: reads what was kept for a workspace back as JSON lines, in order of arrival.
//!
//! Works with the server running or not. Which columns there are is the tables' business.

use std::io::{self, BufWriter, Write};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::Error;
use crate::control::config::Config;
use crate::journal::read::{self, Found};
use crate::journal::storage::Disk;
use crate::origin::Workspace;
use crate::server::JOURNAL_DIRECTORY;
use crate::tables::row::RejectedRow;
use crate::tables::{Row, Table, decode, json};

/// Print what was kept for a workspace
#[derive(Debug, Args)]
pub struct Export {
    /// The workspace, `1` or `ws-1`
    #[arg(long, value_name = "N", value_parser = workspace)]
    workspace: Workspace,
    /// The table
    #[arg(long, value_name = "TABLE", default_value = Table::Events.as_str(), value_parser = table())]
    table: Table,
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
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

pub(super) fn workspace(text: &str) -> Result<Workspace, String> {
    Workspace::parse(text).ok_or_else(|| {
        "expected an integer from 1 to 4294967295, with or without ws- in front".to_owned()
    })
}

/// Rows gathered before they are written to standard output, bytes.
const WRITE_BYTES: usize = 256 << 10;

impl Export {
    /// Prints the rows to standard output; what was set aside is counted on standard error.
    pub fn run(&self, config: &Config) -> Result<(), Error> {
        let Format::Jsonl = self.format;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock());
        let aside = self.write(config, &mut out)?;
        if self.table != Table::Rejected && aside.rejected > 0 {
            super::note(&format!(
                "{} payloads of the workspace could not be decoded: tell export --workspace {} --table rejected",
                aside.rejected, self.workspace
            ));
        }
        if aside.damaged_places > 0 {
            super::note(&format!(
                "{} damaged places of {} bytes in the journal were stepped over; whose they were cannot be told",
                aside.damaged_places, aside.damaged_bytes
            ));
        }
        Ok(())
    }

    fn write(&self, config: &Config, out: &mut impl Write) -> Result<Aside, Error> {
        let disk = open(config)?;
        let table = self.table;
        let mut aside = Aside::default();
        let mut lines = Vec::with_capacity(WRITE_BYTES);
        let mut written = Ok(());
        read::for_each(&disk, |found| {
            match found {
                Found::Record(record) if record.facts.workspace == self.workspace => {
                    let common = json::Common::of(&record.facts);
                    decode::decode(&record, &mut |row| {
                        let row_table = row.table();
                        aside.rejected += u64::from(row_table == Table::Rejected);
                        if row_table == table {
                            json::write_row(&mut lines, &common, &row);
                        }
                    });
                }
                Found::DamagedPayload(record) if record.facts.workspace == self.workspace => {
                    aside.rejected += 1;
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
                    aside.damaged_places += 1;
                    aside.damaged_bytes += bytes;
                }
            }
            if lines.len() >= WRITE_BYTES {
                written = out.write_all(&lines);
                lines.clear();
            }
            written.is_ok()
        })?;
        written
            .and_then(|()| out.write_all(&lines))
            .and_then(|()| out.flush())
            .map_err(Error::Output)?;
        Ok(aside)
    }
}

/// What an export did not show as rows of its table.
#[derive(Debug, Default)]
struct Aside {
    rejected: u64,
    damaged_places: u64,
    damaged_bytes: u64,
}

/// The journal of a data directory, for reading.
pub(super) fn open(config: &Config) -> Result<Disk, Error> {
    let directory = config.files.data_dir.join(JOURNAL_DIRECTORY);
    if !directory.is_dir() {
        return Err(Error::NoJournal(config.files.data_dir.clone()));
    }
    Ok(Disk::existing(&directory))
}
