//! `tell export`: reads what was kept for a workspace back as JSON lines, in order of arrival.
//!
//! Works with the server running or not. Which columns there are is the tables' business.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::error::Error;
use super::flags::{OfKeys, SettingFlags};
use super::kept::Kept;
use super::numbers::{counted, sized};
use super::output::{Output, written_or_left};
use super::program::parse_workspace;
use crate::control::config::Config;
use crate::control::keys::file::KeyFile;
use crate::journal::cursor::Cursor;
use crate::journal::read::{self as journal, Found};
use crate::origin::Workspace;
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
        let kept = Kept::open(config)?;
        let read = self.write(kept.cursor()?, &mut out)?;
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
        if read.missing > 0 {
            output.note(&format!(
                "records are missing at {}: journal segments were cut short or are not there any more",
                counted(read.missing, "place")
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

    fn write(&self, cursor: Cursor<'_>, out: &mut impl Write) -> Result<Read, Error> {
        let table = self.table;
        let mut read = Read::default();
        let mut lines = Vec::with_capacity(WRITE_BYTES);
        let mut written = Ok(());
        journal::through(cursor, |found| {
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
                Found::Missing { .. } => read.missing += 1,
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
    missing: u64,
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::*;
    use crate::cli::kept::cursor;
    use crate::journal::simulated::SimulatedDisk;
    use crate::journal::{Encoding, Entry, Facts, Journal, JournalLimit, Options};
    use crate::origin::{KeyId, Source};

    fn exported(disk: &SimulatedDisk, is_served: bool) -> String {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            export: Export,
        }
        let Line { export } = clap::Parser::parse_from(["tell", "--workspace", "1"]);
        let mut out = Vec::new();
        let aside = export
            .write(cursor(disk, is_served).unwrap(), &mut out)
            .unwrap();
        assert_eq!(aside.damaged_places + aside.missing + aside.rejected, 0);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_export_beside_a_server_whose_sync_does_not_come_back_shows_nothing_of_that_commit() {
        let disk = SimulatedDisk::default();
        let options = Options {
            segment_bytes: 64 << 10,
            limit: JournalLimit::TenthFree,
            max_queued_bytes: 1 << 20,
            headroom_bytes: 1 << 10,
            on_commit: |_, _| {},
        };
        let (journal, _) = Journal::open(Arc::new(disk.clone()), options).unwrap();
        let append = |line: &[u8]| {
            let facts = Facts {
                workspace: Workspace::new(1).unwrap(),
                key_id: KeyId(7),
                source: Source::Http,
                encoding: Encoding::JsonEvents,
                received_at_ns: 1,
                peer: SocketAddr::from(([127, 0, 0, 1], 9)),
            };
            loop {
                if let Ok(ticket) = journal.append_acked(&[Entry::new(facts, line)]) {
                    return ticket;
                }
                std::thread::yield_now();
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime
            .block_on(append(b"{\"event\":\"first\"}\n"))
            .unwrap();
        disk.hold_syncs(true);
        let before = disk.operations();
        let ticket = append(b"{\"event\":\"second\"}\n");
        while disk.operations() == before {
            std::thread::yield_now();
        }
        let text = exported(&disk, true);
        assert!(text.contains("first") && !text.contains("second"), "{text}");
        disk.hold_syncs(false);
        runtime.block_on(ticket).unwrap();
        assert!(exported(&disk, true).contains("second"));
        journal.close().unwrap();
        assert_eq!(exported(&disk, false), exported(&disk, true));
    }
}
