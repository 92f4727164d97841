//! The writer thread: takes what is staged, writes it, syncs it, tells who waits.

use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::buffer::Chunk;
use super::prepare::Sealed;
use super::queue::{Commit, Run, Segment};
use super::{Phase, Shared};
use crate::meters;

/// How long a record that nobody waits for (a TCP frame, a syslog message) may wait for company. A commit
/// costs the same whether it carries one record or thousands, and these protocols have no acknowledgement.
const COMMIT_DELAY: Duration = Duration::from_millis(10);

/// This much is written at once even when nobody waits: more company would only cost memory.
pub(super) const COMMIT_NOW_BYTES: u64 = 4 << 20;

/// An idle writer gives pooled memory back after this long.
const IDLE: Duration = Duration::from_secs(2);

/// Chunks a single write takes: IOV_MAX is 1024 on Linux, and 4 MiB is past the point where larger writes
/// are faster.
const CHUNKS_PER_WRITE: usize = 16;

/// Runs until the journal closes or a commit fails.
pub(super) fn run(shared: &Shared) {
    let mut writing: Option<(Arc<Segment>, u64)> = None;
    while let Some(commit) = next_commit(shared) {
        let started = Instant::now();
        if let Err(error) = write(shared, &commit.runs, &mut writing) {
            fail(shared, &error);
            return;
        }
        meters::committed(commit.bytes, started.elapsed());
        shared.counters.add(commit.records, commit.bytes);
        let mut state = shared.lock();
        state.queue.finish_commit(commit.runs);
        drop(state);
        for waiter in commit.waiters {
            // A client that went away does not wait any more.
            let _ = waiter.send(());
        }
        shared.room.notify_waiters();
    }
    if let Some((segment, bytes)) = writing {
        seal(shared, &segment, bytes);
    }
    shared.lock().writer_done = true;
    shared.prepare.notify_all();
}

/// Sleeps until there is something to commit; `None` when the journal closes and all is committed.
fn next_commit(shared: &Shared) -> Option<Commit> {
    let mut state = shared.lock();
    let mut deadline: Option<Instant> = None;
    loop {
        let closing = state.phase != Phase::Open;
        let staged = state.queue.staged_bytes();
        if staged == 0 {
            if closing {
                return None;
            }
            deadline = None;
        } else if closing
            || state.queue.is_awaited()
            || staged >= state.commit_now_bytes
            || deadline.is_some_and(|d| Instant::now() >= d)
        {
            return Some(state.queue.take_commit());
        }
        let wait = if staged > 0 {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + COMMIT_DELAY);
            Some(deadline.saturating_duration_since(Instant::now()))
        } else if state.queue.has_slack() {
            Some(IDLE)
        } else {
            None
        };
        state.writer_sleeps = true;
        match wait {
            Some(wait) => {
                let (guard, timeout) = shared
                    .work
                    .wait_timeout(state, wait)
                    .unwrap_or_else(PoisonError::into_inner);
                state = guard;
                if timeout.timed_out() && state.queue.queued_bytes() == 0 {
                    state.queue.shrink();
                }
            }
            None => {
                state = shared
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            }
        }
        state.writer_sleeps = false;
    }
}

/// Writes and syncs run by run. A segment is synced before the next one gets its first byte, so that a
/// segment which holds a record proves all earlier ones complete.
fn write(
    shared: &Shared,
    runs: &[Run],
    writing: &mut Option<(Arc<Segment>, u64)>,
) -> io::Result<()> {
    for run in runs {
        let mut offset = run.offset;
        for chunks in run.chunks.chunks(CHUNKS_PER_WRITE) {
            let slices: Vec<IoSlice<'_>> = chunks
                .iter()
                .map(|c| IoSlice::new(Chunk::bytes(c)))
                .collect();
            run.segment.file.write_at(&slices, offset)?;
            offset += slices.iter().map(|s| s.len() as u64).sum::<u64>();
        }
        run.segment.file.sync()?;
        if let Some((previous, bytes)) = writing.replace((Arc::clone(&run.segment), offset))
            && !Arc::ptr_eq(&previous, &run.segment)
        {
            seal(shared, &previous, bytes);
        }
    }
    Ok(())
}

fn seal(shared: &Shared, segment: &Segment, bytes: u64) {
    shared.lock().sealed.push(Sealed {
        id: segment.id,
        bytes,
        reserved_bytes: segment.capacity,
    });
    shared.prepare.notify_one();
}

fn fail(shared: &Shared, error: &io::Error) {
    let reason: Arc<str> = format!("a commit failed: {error}").into();
    {
        let mut state = shared.lock();
        state.phase = Phase::Failed(Arc::clone(&reason));
        // Dropping the waiters of what is staged tells them.
        drop(state.queue.take_commit());
    }
    tracing::error!(%error, "a journal commit failed: nothing more is accepted until a restart");
    shared.failure.send_replace(Some(reason));
    shared.prepare.notify_all();
    shared.room.notify_waiters();
}
