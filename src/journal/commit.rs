//! The writer thread: takes what is staged, writes it, syncs it, tells who waits.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::committed::Position;
use super::prepare::Sealed;
use super::queue::Commit;
use super::write::{Finished, Writer};
use super::{Phase, Shared};

/// How long a record that nobody waits for (a TCP frame, a syslog message) may wait for company. A commit
/// costs the same whether it carries one record or thousands, and these protocols have no acknowledgement.
const COMMIT_DELAY: Duration = Duration::from_millis(10);

/// How long a commit that somebody waits for may wait for others who are about to come: those who waited for
/// the last commit, or arrived while it ran. With several clients that each wait for their answer this
/// makes one commit of what would be two half as large, each at the full price.
const GATHER: Duration = Duration::from_micros(100);

/// Whoever comes later than this after a commit is not of the same company.
const COMPANY: Duration = Duration::from_millis(1);

/// This much is written at once even when nobody waits: more company would only cost memory.
pub(super) const COMMIT_NOW_BYTES: u64 = 4 << 20;

/// An idle writer gives pooled memory back after this long.
const IDLE: Duration = Duration::from_secs(2);

/// Runs until the journal closes or a commit fails.
pub(super) fn run(shared: &Shared) {
    let mut writer = Writer::new(shared.previous);
    let mut company = Company::default();
    while let Some(commit) = next_commit(shared, &company) {
        let started = Instant::now();
        if let Err(error) = writer.write(&commit.runs, |finished| seal(shared, &finished)) {
            fail(shared, &error);
            return;
        }
        // Before anybody is answered: who was may ask at once what there is to read.
        if let Some(end) = commit.end {
            publish(shared, end);
        }
        (shared.options.on_commit)(commit.bytes, started.elapsed());
        shared.counters.add(commit.records, commit.bytes);
        let mut state = shared.lock();
        state.queue.finish_commit(commit.runs);
        let tasks = shared.note_room(&state);
        company = Company {
            size: commit.waiters.len() + state.queue.waiters(),
            since: Some(Instant::now()),
        };
        drop(state);
        for waiter in commit.waiters {
            // A client that went away does not wait any more.
            let _ = waiter.send(());
        }
        shared.tell_of_room(tasks);
    }
    // All is committed: a start seals what could not be sealed here.
    match writer.finish() {
        Ok(finished) => finished.iter().for_each(|finished| seal(shared, finished)),
        Err(error) => tracing::warn!(%error, "the last journal segment could not be sealed"),
    }
    if let Err(error) = shared.published.sync() {
        tracing::warn!(%error, "the committed position of the journal could not be synced");
    }
    shared.lock().writer_done = true;
    shared.prepare.notify_all();
}

/// Who is likely to wait for the next commit.
#[derive(Debug, Default)]
struct Company {
    size: usize,
    since: Option<Instant>,
}

impl Company {
    /// How many to wait for, where the first one comes now.
    fn expected(&self) -> usize {
        match self.since {
            Some(since) if since.elapsed() < COMPANY => self.size.max(1),
            _ => 1,
        }
    }
}

/// Sleeps until there is something to commit; `None` when the journal closes and all is committed.
fn next_commit(shared: &Shared, company: &Company) -> Option<Commit> {
    let mut state = shared.lock();
    let mut deadline: Option<Instant> = None;
    // How many have to wait before the commit starts; 0 while nobody does.
    let mut expected = 0;
    loop {
        let closing = state.phase != Phase::Open;
        let staged = state.queue.staged_bytes();
        let waiters = state.queue.waiters();
        if waiters > 0 && expected == 0 {
            expected = company.expected();
            deadline = Some(Instant::now() + GATHER);
        }
        if staged == 0 {
            if closing {
                return None;
            }
            deadline = None;
        } else if closing
            || (waiters > 0 && waiters >= expected)
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
        state.wake_at_waiters = expected.max(1);
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

/// Tells readers how far they may read.
fn publish(shared: &Shared, end: Position) {
    match shared.published.write(end) {
        Ok(()) => shared.unpublished.store(false, Ordering::Relaxed),
        Err(error) => {
            // What is durable stays so: only other processes do not see it yet.
            if !shared.unpublished.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "other processes cannot be told what the journal has committed");
            }
        }
    }
    shared.committed.send_replace(Some(end));
}

fn seal(shared: &Shared, finished: &Finished) {
    shared.lock().sealed.push(Sealed {
        id: finished.segment.id,
        bytes: finished.bytes,
        reserved_bytes: finished.segment.capacity,
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
    // Nobody may wait for room that will never come.
    shared.crowded.store(false, Ordering::Relaxed);
    shared.failure.send_replace(Some(reason));
    shared.prepare.notify_all();
    shared.room.notify_waiters();
}
