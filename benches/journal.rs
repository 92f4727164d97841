//! The journal: from append to committed, and what a start after a crash takes.
//!
//! `cargo bench --bench journal`. Segments are files in the build directory, written past the page cache where
//! the file system allows it: what counts is the disk under it, and figures of two disks do not compare.
//!
//! - `commit_one`: one record, appended and waited for until it is durable. This is a sync of the disk, what an
//!   HTTP client waits for that has no company.
//! - `commit_reads`: 8 MiB, appended a read of 256 KiB at a time, and the last waited for. This is what TCP does.
//! - `stage`: one read's records appended where writing costs nothing: checksums, headers, copies and the lock.
//! - `recover`: a journal opened that was not closed, its records in the page cache or, where it says cold, not.
//!   Only the last segment that holds records is read, and the one in reserve behind it; items and bytes are the
//!   records of the first.
//!
//! Not included: who submits (keys, routing, counting), more than one appending thread, and closing.
#![allow(clippy::unwrap_used)]

mod sample;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use rustix::fs::{Advice, FallocateFlags};
use sample::Random;
use tell_server::journal::format::{BLOCK_BYTES, SegmentId, encode_segment_header, record_bytes};
use tell_server::journal::read::{self, Found};
use tell_server::journal::storage::{Disk, ReadAt, SegmentFile, SmallFile, Space, Storage};
use tell_server::journal::{
    Encoding, Entry, Facts, Journal, JournalLimit, Options, Recovered, Refused, Ticket,
};
use tell_server::limits::READ_BYTES;
use tell_server::origin::Source;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Bytes of a record's payload: a TCP frame of one event, and of a hundred.
const PAYLOADS: [usize; 2] = [200, 20_000];

/// What is appended before `commit_reads` waits.
const BURST_BYTES: usize = 8 << 20;

/// Bytes of the records that are recovered: they fill four segments of the default size, almost.
const RECOVERED_BYTES: usize = 250 << 20;

/// What a write that the crash cut short left behind the last record, bytes.
const TORN_BYTES: usize = 1_000;

fn main() {
    divan::main();
}

/// The settings as the server has them by default, with room for everything.
const OPTIONS: Options = Options {
    segment_bytes: 64 << 20,
    limit: JournalLimit::Bytes(u64::MAX / 2),
    max_queued_bytes: 32 << 20,
    headroom_bytes: 512 << 10,
    on_commit: |_, _| {},
};

/// A journal, and someone who appends to it.
struct Appender {
    journal: Journal,
    runtime: Runtime,
    facts: Facts,
    appended: u64,
}

impl Appender {
    fn new(storage: Arc<dyn Storage>, options: Options) -> Self {
        let (journal, _) = Journal::open(storage, options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(journal.prepared());
        Self {
            journal,
            runtime,
            facts: sample::facts(Source::Tcp, Encoding::FlatBuffer { schema_type: 1 }),
            appended: 0,
        }
    }

    /// Appends as the ingest path does, and waits where it is told to.
    fn append<T>(
        &mut self,
        payloads: &[Vec<u8>],
        append: impl Fn(&Journal, &[Entry<'_>]) -> Result<T, Refused>,
    ) -> T {
        let entry = |payload| Entry::new(self.facts, payload);
        loop {
            let room = self.journal.room();
            let entries: Vec<Entry<'_>> = payloads.iter().map(|payload| entry(payload)).collect();
            match append(&self.journal, &entries) {
                Ok(appended) => {
                    self.appended += payloads.len() as u64;
                    return appended;
                }
                Err(Refused::Busy) => self.runtime.block_on(room),
                Err(refused) => unreachable!("{refused}"),
            }
        }
    }

    fn append_acked(&mut self, payloads: &[Vec<u8>]) -> Ticket {
        self.append(payloads, Journal::append_acked)
    }

    fn wait(&self, ticket: Ticket) {
        self.runtime.block_on(ticket).unwrap();
    }

    /// Closes, and makes sure that everything was committed.
    fn close(self) -> u64 {
        self.journal.close().unwrap();
        let committed = self.journal.counters().records.load(Ordering::Relaxed);
        assert_eq!(committed, self.appended);
        committed
    }
}

/// The payloads that one read of a connection brings.
fn one_read(payload_bytes: usize) -> Vec<Vec<u8>> {
    let mut random = Random(1);
    (0..READ_BYTES / payload_bytes)
        .map(|_| random.bytes(payload_bytes))
        .collect()
}

fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// How many records there are to read back.
fn kept(storage: &dyn Storage) -> u64 {
    let mut records = 0;
    read::for_each(storage, |found| {
        records += u64::from(matches!(found, Found::Record(_)));
        true
    })
    .unwrap();
    records
}

/// Args: bytes of the payload.
#[divan::bench(args = PAYLOADS, sample_count = 300, sample_size = 1)]
fn commit_one(bencher: Bencher, payload_bytes: usize) {
    let directory = directory();
    let disk = Arc::new(Disk::create(directory.path()).unwrap());
    let mut appender = Appender::new(disk.clone(), OPTIONS);
    let payload = [Random(2).bytes(payload_bytes)];
    bencher
        .counter(ItemsCount::new(1usize))
        .counter(BytesCount::new(payload_bytes))
        .bench_local(|| {
            let ticket = appender.append_acked(black_box(&payload));
            appender.wait(ticket);
        });
    assert_eq!(appender.close(), kept(disk.as_ref()));
}

/// Args: bytes of a payload.
#[divan::bench(args = PAYLOADS, sample_count = 50, sample_size = 1)]
fn commit_reads(bencher: Bencher, payload_bytes: usize) {
    let directory = directory();
    let disk = Arc::new(Disk::create(directory.path()).unwrap());
    let mut appender = Appender::new(disk.clone(), OPTIONS);
    let read = one_read(payload_bytes);
    let reads = BURST_BYTES / READ_BYTES;
    bencher
        .counter(ItemsCount::new(reads * read.len()))
        .counter(BytesCount::new(reads * read.len() * payload_bytes))
        .bench_local(|| {
            for _ in 1..reads {
                appender.append(black_box(&read), Journal::append);
            }
            let ticket = appender.append_acked(black_box(&read));
            appender.wait(ticket);
        });
    assert_eq!(appender.close(), kept(disk.as_ref()));
}

/// Args: bytes of a payload.
#[divan::bench(args = PAYLOADS, sample_count = 1000, sample_size = 1)]
fn stage(bencher: Bencher, payload_bytes: usize) {
    let mut appender = Appender::new(Arc::new(Nowhere), OPTIONS);
    let read = one_read(payload_bytes);
    bencher
        .counter(ItemsCount::new(read.len()))
        .counter(BytesCount::new(read.len() * payload_bytes))
        .bench_local(|| appender.append(black_box(&read), Journal::append));
    appender.close();
}

/// Storage that takes everything and keeps nothing.
#[derive(Debug)]
struct Nowhere;

impl Storage for Nowhere {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(Nowhere))
    }

    fn open(&self, _: &str) -> io::Result<Box<dyn ReadAt>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn reopen(&self, _: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(Nowhere))
    }

    fn truncate(&self, _: &str, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn open_small(&self, _: &str) -> io::Result<Box<dyn SmallFile>> {
        Ok(Box::new(Nowhere))
    }

    fn replace(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_ancestors(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: u64::MAX,
            available: u64::MAX,
        })
    }
}

impl SegmentFile for Nowhere {
    fn write_at(&self, slices: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        black_box(slices);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl SmallFile for Nowhere {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        black_box(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What is recovered.
#[derive(Clone, Copy, Debug)]
enum Crash {
    /// Segments of 64 MiB, records of 200 bytes.
    Small,
    /// Segments of 64 MiB, records of 20,000 bytes.
    Large,
    /// The same in one segment of 256 MiB.
    LargeInOneSegment,
    /// As `Small`, with nothing in the page cache.
    SmallCold,
    /// As `LargeInOneSegment`, with nothing in the page cache.
    LargeInOneSegmentCold,
}

impl Crash {
    fn payload_bytes(self) -> usize {
        match self {
            Self::Small | Self::SmallCold => PAYLOADS[0],
            _ => PAYLOADS[1],
        }
    }

    fn options(self) -> Options {
        let segment_bytes = match self {
            Self::LargeInOneSegment | Self::LargeInOneSegmentCold => 256 << 20,
            _ => OPTIONS.segment_bytes,
        };
        Options {
            segment_bytes,
            ..OPTIONS
        }
    }

    fn is_cold(self) -> bool {
        matches!(self, Self::SmallCold | Self::LargeInOneSegmentCold)
    }
}

#[divan::bench(
    args = [Crash::Small, Crash::Large, Crash::LargeInOneSegment, Crash::SmallCold, Crash::LargeInOneSegmentCold],
    sample_count = 20,
    sample_size = 1,
)]
fn recover(bencher: Bencher, crash: Crash) {
    let crashed = Crashed::new(crash);
    let first = crashed.again().open();
    assert!(first.recovered.torn_bytes >= TORN_BYTES as u64);
    assert_eq!(first.recovered.damaged, 0);
    let records = first.recovered.last_segment_records;
    let bytes = records * record_bytes(crash.payload_bytes()) as u64;
    assert!(bytes > crash.options().segment_bytes * 3 / 4);
    drop(first);
    bencher
        .with_inputs(|| crashed.again())
        .counter(ItemsCount::new(records))
        .counter(BytesCount::new(bytes))
        .bench_local_values(Crashed::open);
    let last = crashed.again().open();
    assert_eq!(last.recovered.last_segment_records, records);
    drop(last);
    assert_eq!(
        kept(&Disk::existing(crashed.directory.path())),
        crashed.records
    );
}

/// A journal's directory.
struct Crashed {
    crash: Crash,
    directory: TempDir,
    records: u64,
}

/// A journal that is open again; closed when dropped, which a bench does not time.
struct Opened {
    journal: Journal,
    recovered: Recovered,
}

impl Crashed {
    fn new(crash: Crash) -> Self {
        let directory = directory();
        let disk = Arc::new(Disk::create(directory.path()).unwrap());
        let mut appender = Appender::new(disk, crash.options());
        let read = one_read(crash.payload_bytes());
        let reads = RECOVERED_BYTES / (read.len() * record_bytes(crash.payload_bytes()));
        for _ in 0..reads {
            appender.append(&read, Journal::append);
        }
        let records = appender.close();
        Self {
            crash,
            directory,
            records,
        }
    }

    /// Makes the directory look as if the process had been killed: the last segment with all of its reserved
    /// space and the start of another write in it, and the next segment reserved.
    fn again(&self) -> &Self {
        let segment_bytes = self.crash.options().segment_bytes;
        let last = self.segments().pop().unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(self.path(last))
            .unwrap();
        // Of a write that was cut short the first sector is missing; nothing was sealed.
        let end = file.metadata().unwrap().len() - BLOCK_BYTES as u64;
        file.set_len(end).unwrap();
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, segment_bytes).unwrap();
        file.write_all_at(&[0xAB; TORN_BYTES], end + 512).unwrap();
        file.sync_all().unwrap();

        let next = SegmentId {
            number: last.number + 1,
            salt: Random(3).next(),
        };
        let mut header = [0; BLOCK_BYTES];
        encode_segment_header(&mut header, next);
        let mut file = File::create_new(self.path(next)).unwrap();
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, segment_bytes).unwrap();
        file.write_all(&header).unwrap();
        file.sync_all().unwrap();

        // As far as the last record, whatever a start said since.
        let _ = fs::remove_file(self.directory.path().join("committed"));
        for id in self.segments() {
            let file = File::open(self.path(id)).unwrap();
            if self.crash.is_cold() {
                rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            }
        }
        self
    }

    fn open(&self) -> Opened {
        let disk = Disk::create(self.directory.path()).unwrap();
        let (journal, recovered) = Journal::open(Arc::new(disk), self.crash.options()).unwrap();
        Opened { journal, recovered }
    }

    fn segments(&self) -> Vec<SegmentId> {
        let names = fs::read_dir(self.directory.path()).unwrap();
        let mut ids: Vec<SegmentId> = names
            .filter_map(|entry| SegmentId::parse_file_name(entry.unwrap().file_name().to_str()?))
            .collect();
        ids.sort_unstable();
        ids
    }

    fn path(&self, id: SegmentId) -> PathBuf {
        self.directory.path().join(id.file_name())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.journal.close().unwrap();
    }
}
