//! Journal records to JSON lines, as `tell export` writes them: 100,000 rows, 100 a record.
//!
//! `cargo bench --bench export`. Rows come from the journal of a data directory in the build directory, which is
//! in the page cache. Items are rows; bytes are those of the payloads for `read` and `rows`, and for `export`
//! those of the JSON.
//!
//! - `read`: the records found and their checksums compared.
//! - `rows`: and their payloads decoded to rows.
//! - `export`: and the rows written as JSON.
//!
//! Not included: starting the program, and writing to standard output, in place of which the lines are thrown
//! away a buffer at a time. That the lines are those of `tell export` is compared once, byte for byte.
#![allow(clippy::unwrap_used)]

mod sample;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use sample::Random;
use tell_server::journal::read::{self, Found};
use tell_server::journal::storage::Disk;
use tell_server::journal::{Encoding, Entry, Journal, JournalLimit, Options, Record};
use tell_server::origin::Source;
use tell_server::server::JOURNAL_DIRECTORY;
use tell_server::tables::{decode, json};
use tell_server::wire::key::StreamingKey;
use tell_server::wire::syslog::{extract, pack};
use tempfile::TempDir;

const RECORDS: u64 = 1_000;
const ROWS_A_RECORD: u64 = 100;
const ROWS: u64 = RECORDS * ROWS_A_RECORD;

/// Rows gathered before they are written, bytes: as many as `tell export` gathers.
const WRITE_BYTES: usize = 256 << 10;

fn main() {
    divan::main();
}

/// What the records hold.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Entries of a Batch.
    FlatBuffer,
    /// Event lines.
    Json,
    /// Messages of RFC 5424.
    Rfc5424,
    /// Messages of RFC 5424 with structured data.
    Rfc5424Structured,
    /// Messages of RFC 3164.
    Rfc3164,
}

const KINDS: [Kind; 5] = [
    Kind::FlatBuffer,
    Kind::Json,
    Kind::Rfc5424,
    Kind::Rfc5424Structured,
    Kind::Rfc3164,
];

impl Kind {
    fn table(self) -> &'static str {
        match self {
            Self::FlatBuffer | Self::Json => "events",
            Self::Rfc5424 | Self::Rfc5424Structured | Self::Rfc3164 => "logs",
        }
    }

    fn source_and_encoding(self) -> (Source, Encoding) {
        match self {
            Self::FlatBuffer => (Source::Tcp, Encoding::FlatBuffer { schema_type: 1 }),
            Self::Json => (Source::Http, Encoding::JsonEvents),
            Self::Rfc5424 | Self::Rfc5424Structured | Self::Rfc3164 => {
                (Source::SyslogTcp, Encoding::Syslog)
            }
        }
    }

    /// The payload of one record.
    fn payload(self) -> Vec<u8> {
        match self {
            Self::FlatBuffer => sample::event_data(ROWS_A_RECORD),
            Self::Json => (0..ROWS_A_RECORD)
                .map(sample::json_line)
                .collect::<String>()
                .into(),
            Self::Rfc5424 => packed(sample::rfc5424),
            Self::Rfc5424Structured => packed(sample::rfc5424_with_structured_data),
            Self::Rfc3164 => packed(sample::rfc3164),
        }
    }
}

/// Messages as the listeners keep them.
fn packed(message: fn(&[u8; 16]) -> String) -> Vec<u8> {
    let message = message(&Random(6).key());
    let known = |key: &StreamingKey| Some(*key);
    let mut packed = Vec::new();
    for _ in 0..ROWS_A_RECORD {
        let (_, kept) = extract(message.trim_end().as_bytes())
            .unwrap()
            .resolve(known)
            .unwrap();
        pack::push(&mut packed, false, |out| kept.append_to(out, |_| true));
    }
    packed
}

/// A data directory with a journal of one kind of records.
struct Data {
    directory: TempDir,
    disk: Disk,
    payload_bytes: u64,
}

impl Data {
    fn of(kind: Kind) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = directory.path().join(JOURNAL_DIRECTORY);
        let payload = kind.payload();
        fill(&path, kind, &payload);
        Self {
            disk: Disk::existing(&path),
            directory,
            payload_bytes: payload.len() as u64 * RECORDS,
        }
    }

    fn records(&self, mut each: impl FnMut(&Record<'_>)) {
        read::for_each(&self.disk, |found| {
            if let Found::Record(record) = found {
                each(&record);
            }
            true
        })
        .unwrap();
    }

    /// Gives `write` the lines, a buffer at a time.
    fn export(&self, mut write: impl FnMut(&[u8])) {
        let mut lines = Vec::with_capacity(WRITE_BYTES);
        self.records(|record| {
            let common = json::Common::of(&record.facts);
            decode::decode(record, &mut |row| {
                json::write_row(&mut lines, &common, &row);
            });
            if lines.len() >= WRITE_BYTES {
                write(&lines);
                lines.clear();
            }
        });
        write(&lines);
    }
}

fn fill(path: &Path, kind: Kind, payload: &[u8]) {
    let options = Options {
        segment_bytes: 64 << 20,
        limit: JournalLimit::Bytes(u64::MAX / 2),
        max_queued_bytes: 64 << 20,
        headroom_bytes: 512 << 10,
        on_commit: |_, _| {},
    };
    let disk = Arc::new(Disk::create(path).unwrap());
    let (journal, _) = Journal::open(disk, options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(journal.prepared());
    let (source, encoding) = kind.source_and_encoding();
    let entry = Entry::new(sample::facts(source, encoding), payload);
    for _ in 0..RECORDS {
        journal.append(&[entry]).unwrap();
    }
    journal.close().unwrap();
}

#[divan::bench(args = KINDS, sample_count = 50, sample_size = 1)]
fn read(bencher: Bencher, kind: Kind) {
    let data = Data::of(kind);
    let mut records = 0;
    data.records(|_| records += 1);
    assert_eq!(records, RECORDS);
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(data.payload_bytes))
        .bench_local(|| data.records(|record| _ = black_box(record)));
}

#[divan::bench(args = KINDS, sample_count = 20, sample_size = 1)]
fn rows(bencher: Bencher, kind: Kind) {
    let data = Data::of(kind);
    let mut rows = 0;
    data.records(|record| decode::decode(record, &mut |_| rows += 1));
    assert_eq!(rows, ROWS);
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(data.payload_bytes))
        .bench_local(|| {
            data.records(|record| decode::decode(record, &mut |row| _ = black_box(&row)));
        });
}

#[divan::bench(args = KINDS, sample_count = 20, sample_size = 1)]
fn export(bencher: Bencher, kind: Kind) {
    let data = Data::of(kind);
    let mut all = Vec::new();
    data.export(|lines| all.extend_from_slice(lines));
    assert_eq!(all.iter().filter(|&&b| b == b'\n').count() as u64, ROWS);
    assert!(
        all == exported(&data, kind),
        "`tell export` writes something else"
    );
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::of_slice(&all))
        .bench_local(|| data.export(|lines| _ = black_box(lines)));
}

/// What the program prints.
fn exported(data: &Data, kind: Kind) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_tell"))
        .args(["export", "--workspace", "1", "--table", kind.table()])
        .arg("--data-dir")
        .arg(data.directory.path())
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}
