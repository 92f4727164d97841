//! The preparer thread: keeps the next segment ready, and cuts finished ones to their length.
//!
//! Creating a segment reserves its space and syncs file and directory. Done here, beforehand, it neither
//! delays a commit nor lets one run out of disk.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::buffer::Chunk;
use super::format::{BLOCK_BYTES, SegmentId, encode_segment_header};
use super::numbers::Numbers;
use super::queue::Segment;
use super::storage::Storage;
use super::{JournalLimit, Phase, Shared};

/// How often a segment that could not be created is tried again: space that appears is used within this.
const RETRY: Duration = Duration::from_secs(1);

/// Segments ready behind the active one. One is enough while creating takes less time than filling.
const READY_SEGMENTS: usize = 1;

/// A segment that will get no more records.
#[derive(Debug)]
pub(super) struct Sealed {
    pub id: SegmentId,
    /// Length of what was written.
    pub bytes: u64,
    /// Length that was reserved.
    pub reserved_bytes: u64,
}

/// Runs until the journal closes or fails, then removes what was prepared in vain.
pub(super) fn run(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if let Some(sealed) = state.sealed.pop() {
            drop(state);
            cut(shared, &sealed);
            state = shared.lock();
            continue;
        }
        if state.phase != Phase::Open {
            break;
        }
        if state.queue.ready_segments() >= READY_SEGMENTS {
            state = shared
                .prepare
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let number = state.next_segment;
        let used_bytes = state.disk_bytes;
        drop(state);
        let created = create(shared, number, used_bytes);
        state = shared.lock();
        match created {
            Ok(segment) => {
                state.next_segment = number.saturating_add(1);
                state.disk_bytes += segment.capacity;
                state.queue.add_segment(Arc::new(segment));
                if let Some(reason) = state.full.take() {
                    tracing::info!(was = %reason, "the journal has room again");
                }
                shared.prepared.send_replace(number);
                let tasks = shared.note_room(&state);
                shared.tell_of_room(tasks);
            }
            Err(error) => {
                let reason: Arc<str> = error.to_string().into();
                if state.full.as_ref() != Some(&reason) {
                    tracing::error!(%reason, "no further journal segment can be created; ingest is refused once the present one is full");
                    state.full = Some(reason);
                    // Who waits for the first segment need not wait any longer.
                    shared.room.notify_waiters();
                }
                state = shared
                    .prepare
                    .wait_timeout(state, RETRY)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
    }
    let unused = state.queue.take_unused();
    drop(state);
    remove_unused(shared, &unused);
    await_last_segment(shared);
}

/// Removes what was prepared in vain. What stays because that fails is removed by the next start.
fn remove_unused(shared: &Shared, unused: &[Arc<Segment>]) {
    let Some(highest) = unused.iter().map(|segment| segment.id.number).max() else {
        return;
    };
    if let Err(error) = Numbers::raise(shared.storage.as_ref(), highest, 0) {
        tracing::warn!(%error, "the number of an unused journal segment could not be noted; it stays");
        return;
    }
    for segment in unused {
        if let Err(error) = shared.storage.remove(&segment.id.file_name()) {
            tracing::warn!(%error, segment = %segment.id.file_name(), "an unused journal segment could not be removed");
        }
    }
}

/// The writer's last segment is sealed only after its last commit: wait for that, then cut it too.
fn await_last_segment(shared: &Shared) {
    let mut state = shared.lock();
    while matches!(state.phase, Phase::Closing) && !state.writer_done {
        state = shared
            .prepare
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let sealed = std::mem::take(&mut state.sealed);
    drop(state);
    for sealed in &sealed {
        cut(shared, sealed);
    }
}

/// Gives the reserved but unused end of a segment back. Nothing depends on it: a reader finds the end of
/// the records by itself.
fn cut(shared: &Shared, sealed: &Sealed) {
    let name = sealed.id.file_name();
    match shared.storage.truncate(&name, sealed.bytes) {
        Ok(()) => {
            let mut state = shared.lock();
            state.disk_bytes -= sealed
                .reserved_bytes
                .saturating_sub(sealed.bytes)
                .min(state.disk_bytes);
        }
        Err(error) => {
            tracing::warn!(%error, segment = %name, "a finished journal segment could not be cut to its length")
        }
    }
}

fn create(shared: &Shared, number: u32, used_bytes: u64) -> io::Result<Segment> {
    let capacity = allowed_bytes(
        shared.storage.as_ref(),
        shared.options.limit,
        shared.options.segment_bytes,
        used_bytes,
    )?;
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    let id = SegmentId {
        number,
        salt: u64::from_le_bytes(salt),
    };
    let name = id.file_name();
    let written = write_new(shared.storage.as_ref(), id, &name, capacity);
    if written.is_err() {
        // What was created of it is of no use; the next try takes another name.
        let _ = shared.storage.remove(&name);
    }
    Ok(Segment {
        id,
        crc_seed: id.crc_seed(),
        capacity,
        file: written?,
    })
}

fn write_new(
    storage: &dyn Storage,
    id: SegmentId,
    name: &str,
    capacity: u64,
) -> io::Result<Box<dyn super::storage::SegmentFile>> {
    let file = storage.create(name, capacity)?;
    let mut block = Chunk::default();
    let mut header = [0; BLOCK_BYTES];
    encode_segment_header(&mut header, id);
    block.fill(&header);
    file.write_at(&[io::IoSlice::new(block.bytes())], 0)?;
    file.sync()?;
    storage.sync_directory()?;
    Ok(file)
}

/// How large the next segment may be: a whole one, or the last bit below the limit.
fn allowed_bytes(
    storage: &dyn Storage,
    limit: JournalLimit,
    segment_bytes: u64,
    used_bytes: u64,
) -> io::Result<u64> {
    let left = limit.left_bytes(storage, used_bytes)?;
    let allowed = left.min(segment_bytes) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    // A segment smaller than this is not worth its file.
    if allowed < segment_bytes.min(1 << 20) {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            match limit {
                JournalLimit::Bytes(limit) => {
                    format!("journal_limit of {limit} bytes is reached; raise it or free space")
                }
                JournalLimit::TenthFree => {
                    "less than 10% of the disk would stay free; free space or set journal_limit"
                        .to_owned()
                }
            },
        ));
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::simulated::SimulatedDisk;
    use super::super::{Encoding, Entry, Facts, Journal, Options, Refused};
    use super::*;
    use crate::origin::Source;
    use crate::origin::{KeyId, Workspace};

    fn open(limit: JournalLimit) -> Journal {
        let options = Options {
            segment_bytes: 64 << 10,
            limit,
            max_queued_bytes: 1 << 20,
            headroom_bytes: 512 << 10,
            on_commit: |_, _| {},
        };
        let disk = Arc::new(SimulatedDisk::default());
        Journal::open(disk, options).unwrap().0
    }

    fn append(journal: &Journal) -> Result<(), Refused> {
        let facts = Facts {
            workspace: Workspace::new(1).unwrap(),
            key_id: KeyId(7),
            source: Source::SyslogUdp,
            encoding: Encoding::Syslog,
            received_at_ns: 1,
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
        };
        journal.append(&[Entry::new(facts, b"x")])
    }

    #[test]
    fn a_journal_that_is_prepared_takes_the_first_record_or_says_that_it_is_full() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for _ in 0..200 {
            let journal = open(JournalLimit::TenthFree);
            runtime.block_on(journal.prepared());
            assert_eq!(append(&journal), Ok(()));
            journal.close().unwrap();
        }
        let journal = open(JournalLimit::Bytes(0));
        runtime.block_on(journal.prepared());
        assert!(matches!(append(&journal), Err(Refused::Full(_))));
        journal.close().unwrap();
    }
}
