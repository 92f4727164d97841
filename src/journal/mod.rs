//! The durable journal: append-only segments shared by all workspaces, one fsync for many records.
//!
//! ```text
//! append (any task) ──> queue ──> writer thread: write, fsync ──> tickets resolve
//!                         ^
//!                         └── preparer thread: the next segment, created and durable beforehand
//! ```
//!
//! Group commit: whatever was appended while the last fsync ran goes into the next one. Space is reserved
//! when a segment is created, so that a full disk is met before a record is accepted, never in a commit.
//! A commit that fails ends the writer for good (fail-stop): its file descriptor is not synced again, no
//! ticket of it resolves well, and only a restart, which recovers the valid prefix, opens the journal again.
//!
//! - [`mod@format`]: the bytes on disk. [`storage`]: the seam to the disk. [`record`]: what a record says.
//! - [`recovery`]: what a start makes of the segments it finds. [`committed`]: how far they are durable.
//! - [`cursor`]: reading back, in order of arrival. [`bookmark`]: where named readers stand. [`read`]: all of it.

pub mod bookmark;
mod buffer;
mod commit;
pub mod committed;
pub mod cursor;
mod entry;
pub mod format;
#[doc(hidden)]
pub mod fuzz;
mod limit;
mod numbers;
mod prepare;
mod queue;
pub mod read;
pub mod record;
pub mod recovery;
mod scan;
mod seal;
mod status;
pub mod storage;
mod write;

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

use committed::{Position, Published};
use cursor::{Cursor, Start};
use format::SegmentId;

pub use entry::Entry;
pub use format::SEGMENT_OVERHEAD_BYTES;
pub use limit::JournalLimit;
pub use record::{Encoding, Facts, Mark, Record};
pub use recovery::Recovered;
pub use status::{Counters, Extent, Status};
use storage::Storage;

use queue::Queue;

/// How a journal is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of a segment file, bytes.
    pub segment_bytes: u64,
    /// How much disk all segments together may take.
    pub limit: JournalLimit,
    /// How much may wait for a commit, bytes.
    pub max_queued_bytes: u64,
    /// What one more read of a connection may bring, bytes: with less room than this the queue is crowded.
    pub headroom_bytes: u64,
    /// Told of every commit that ended well: its bytes, and how long it took. It runs on the writer's thread.
    pub on_commit: fn(u64, Duration),
}

/// Why an append was refused; nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More is queued than may be: there is room again after the next commit.
    #[error("the journal's queue is full")]
    Busy,
    /// No segment can be created: the disk or the journal's limit is reached.
    #[error("the journal is full: {0}")]
    Full(Arc<str>),
    /// The entries together are larger than a segment.
    #[error("the record is larger than a journal segment")]
    TooLarge,
    /// A commit failed; only a restart opens the journal again.
    #[error("the journal stopped: {0}")]
    Failed(Arc<str>),
    /// The server is shutting down.
    #[error("the journal is closed")]
    Closed,
}

/// The commit that was waited for failed: whether the records survive is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the commit failed")]
pub struct CommitFailed;

/// Resolves when the records that it was given for are durable.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<()>);

impl Future for Ticket {
    type Output = Result<(), CommitFailed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|r| r.map_err(|_| CommitFailed))
    }
}

/// What a task that waited for room is expected to append: what a read commonly brings.
const ROOM_EACH: u64 = 64 << 10;

/// Tasks that are woken one by one; where there is room for more, all are.
const MOST_TOLD: u64 = 1024;

/// The journal of a data directory, open for appending. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    storage: Arc<dyn Storage>,
    options: Options,
    /// The lowest sequence that a record of this run can get.
    opened_at: u64,
    state: Mutex<State>,
    /// For the writer: there is something to commit.
    work: Condvar,
    /// For the preparer: a segment was begun or finished, or the journal closes.
    prepare: Condvar,
    /// For tasks that were refused: try again.
    room: Notify,
    /// So much is queued that one more read may not fit.
    crowded: AtomicBool,
    /// The segment that the first of this run comes after.
    previous: Option<SegmentId>,
    /// How far everything is durable, for readers in this process.
    committed: watch::Sender<Option<Position>>,
    /// The same for other processes.
    published: Published,
    /// They could not be told the last time.
    unpublished: AtomicBool,
    /// Why the writer stopped, once it has.
    failure: watch::Sender<Option<Arc<str>>>,
    counters: Counters,
    /// The number of the last segment that was prepared.
    prepared: watch::Sender<u32>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    phase: Phase,
    /// Why the next segment cannot be created at the moment.
    full: Option<Arc<str>>,
    /// Bytes of disk that all segments take.
    disk_bytes: u64,
    /// Segments that will get no more records, for the preparer to cut to their length.
    sealed: Vec<prepare::Sealed>,
    /// The writer sleeps until it is woken. A wake-up is a system call, so only then.
    writer_sleeps: bool,
    /// While the writer sleeps: how many have to wait for a commit to wake it.
    wake_at_waiters: usize,
    /// What the writer would take at once without anybody waiting.
    commit_now_bytes: u64,
    next_segment: u32,
    /// The writer committed the last record of a closing journal.
    writer_done: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Failed(Arc<str>),
}

impl Journal {
    /// Recovers what `storage` holds and opens it for appending.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: Options,
    ) -> Result<(Self, Recovered), recovery::OpenError> {
        Self::open_above(storage, options, 0)
    }

    /// The same, where files outside the journal name segments up to this number: none of them comes back.
    pub fn open_above(
        storage: Arc<dyn Storage>,
        options: Options,
        named: u32,
    ) -> Result<(Self, Recovered), recovery::OpenError> {
        let recovery::Opened {
            recovered,
            end,
            previous,
        } = recovery::recover(storage.as_ref(), named)?;
        let shared = Arc::new(Shared {
            options,
            previous,
            committed: watch::Sender::new(end),
            published: Published::open(storage.as_ref(), end)
                .map_err(recovery::OpenError::Directory)?,
            unpublished: AtomicBool::new(false),
            opened_at: u64::from(recovered.next_segment) << 32,
            state: Mutex::new(State {
                queue: Queue::new(options.max_queued_bytes, options.segment_bytes),
                phase: Phase::Open,
                full: None,
                disk_bytes: recovered.disk_bytes,
                sealed: Vec::new(),
                writer_sleeps: false,
                wake_at_waiters: 1,
                commit_now_bytes: commit::COMMIT_NOW_BYTES.min(options.max_queued_bytes / 4),
                next_segment: recovered.next_segment,
                writer_done: false,
            }),
            work: Condvar::new(),
            prepare: Condvar::new(),
            room: Notify::new(),
            crowded: AtomicBool::new(false),
            failure: watch::Sender::new(None),
            counters: Counters::default(),
            prepared: watch::Sender::new(recovered.next_segment),
            threads: Mutex::new(Vec::new()),
            storage,
        });
        let threads = [
            spawn("journal-writer", &shared, commit::run)?,
            spawn("journal-prepare", &shared, prepare::run)?,
        ];
        lock(&shared.threads).extend(threads);
        Ok((Self { shared }, recovered))
    }

    /// Appends all entries or none, without waiting for them to be durable.
    pub fn append(&self, entries: &[Entry<'_>]) -> Result<(), Refused> {
        self.stage(entries, |_| {})
    }

    /// Appends all entries or none; the ticket resolves when they are durable.
    pub fn append_acked(&self, entries: &[Entry<'_>]) -> Result<Ticket, Refused> {
        let (waiter, ticket) = oneshot::channel();
        self.stage(entries, |queue| queue.await_commit(waiter))?;
        Ok(Ticket(ticket))
    }

    fn stage(&self, entries: &[Entry<'_>], and: impl FnOnce(&mut Queue)) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Closing => return Err(Refused::Closed),
            Phase::Failed(reason) => return Err(Refused::Failed(Arc::clone(reason))),
        }
        let ready_before = state.queue.ready_segments();
        let staged_before = state.queue.staged_bytes();
        state
            .queue
            .append(entries)
            .map_err(|refused| match (&refused, &state.full) {
                (Refused::Busy, Some(reason))
                    if state.queue.queued_bytes() == 0 || state.queue.ready_segments() == 0 =>
                {
                    Refused::Full(Arc::clone(reason))
                }
                _ => refused,
            })?;
        and(&mut state.queue);
        self.shared.note_crowd(&state);
        if state.queue.ready_segments() < ready_before {
            self.shared.prepare.notify_one();
        }
        // The writer needs to know of the first record (its delay starts), of a record that somebody waits
        // for, and of enough to write at once; not of the others.
        let wake = staged_before == 0
            || state.queue.waiters() >= state.wake_at_waiters
            || (staged_before < state.commit_now_bytes
                && state.queue.staged_bytes() >= state.commit_now_bytes);
        if wake && state.writer_sleeps {
            state.writer_sleeps = false;
            drop(state);
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// Resolves when an append that was refused as busy or full is worth another try.
    ///
    /// Create it before the try, await it after: room that appears in between is not missed.
    pub fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.room.notified()
    }

    /// Resolves once the first segment stands ready, or is known not to be creatable: appends before that
    /// are refused as busy, although nothing is queued. For the start.
    pub async fn prepared(&self) {
        loop {
            let room = self.room();
            {
                let state = self.shared.lock();
                let refuses_for_good = state.full.is_some() || state.phase != Phase::Open;
                if refuses_for_good || state.queue.ready_segments() > 0 {
                    return;
                }
            }
            room.await;
        }
    }

    /// Whether so much is queued that what a connection would read now may have to wait for room. Who waits
    /// for room before it reads holds no bytes meanwhile.
    pub fn is_crowded(&self) -> bool {
        self.shared.crowded.load(Ordering::Relaxed)
    }

    /// Changes once, to the reason, when a commit fails.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.failure.subscribe()
    }

    /// How far everything is durable now; `None` while there is nothing.
    pub fn committed(&self) -> Option<Position> {
        *self.shared.committed.borrow()
    }

    /// A reader in this process, which follows what is committed.
    pub fn cursor(&self, start: Start) -> Result<Cursor<'static>, recovery::OpenError> {
        let storage = Arc::clone(&self.shared.storage);
        Cursor::live(storage, self.shared.committed.subscribe(), start)
    }

    /// A reader of what is committed by now.
    pub fn cursor_to_here(&self, start: Start) -> Result<Cursor<'static>, recovery::OpenError> {
        Cursor::up_to(Arc::clone(&self.shared.storage), self.committed(), start)
    }

    /// A sequence that every record appended so far is below, and every later one is not.
    pub fn position(&self) -> u64 {
        let next = self.shared.lock().queue.next_sequence();
        next.unwrap_or(self.shared.opened_at)
    }

    /// Resolves when so many bytes of segments were begun after the record with this sequence.
    pub async fn has_grown(&self, since: u64, bytes: u64) {
        let segments = bytes.div_ceil(self.shared.options.segment_bytes).max(1);
        let until = (since >> 32) + segments;
        let mut prepared = self.shared.prepared.subscribe();
        // The sender is of this journal, and so outlives the wait.
        let _ = prepared
            .wait_for(|&segment| u64::from(segment) > until)
            .await;
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The state right now.
    pub fn status(&self) -> Status {
        let state = self.shared.lock();
        let refusing = match &state.phase {
            Phase::Open if state.queue.ready_segments() == 0 => {
                state.full.clone().map(Refused::Full)
            }
            Phase::Open => None,
            Phase::Closing => Some(Refused::Closed),
            Phase::Failed(reason) => Some(Refused::Failed(Arc::clone(reason))),
        };
        Status {
            disk_bytes: state.disk_bytes,
            queued_bytes: state.queue.queued_bytes(),
            refusing,
        }
    }

    /// How far it extends. Asks the file system: blocks, for as long as a stalled disk does.
    pub fn extent(&self) -> io::Result<Extent> {
        let used_bytes = self.shared.lock().disk_bytes;
        let storage = self.shared.storage.as_ref();
        let names = storage.list()?;
        let is_segment = |name: &&String| SegmentId::parse_file_name(name).is_some();
        Ok(Extent {
            segments: names.iter().filter(is_segment).count(),
            left_bytes: self.shared.options.limit.left_bytes(storage, used_bytes)?,
        })
    }

    /// The bound on its size.
    pub fn limit(&self) -> JournalLimit {
        self.shared.options.limit
    }

    /// Commits what was appended and stops. Blocks until that is done; appends are refused from now on.
    pub fn close(&self) -> Result<(), CommitFailed> {
        {
            let mut state = self.shared.lock();
            if state.phase == Phase::Open {
                state.phase = Phase::Closing;
            }
        }
        self.shared.work.notify_all();
        self.shared.prepare.notify_all();
        for thread in std::mem::take(&mut *lock(&self.shared.threads)) {
            thread.join().map_err(|_| CommitFailed)?;
        }
        match self.shared.lock().phase {
            Phase::Failed(_) => Err(CommitFailed),
            _ => Ok(()),
        }
    }
}

impl Shared {
    fn note_crowd(&self, state: &State) {
        let read = self
            .options
            .headroom_bytes
            .min(self.options.max_queued_bytes / 2);
        // A journal that stopped has no room to wait for.
        let crowded = state.phase == Phase::Open && state.queue.room_bytes() < read;
        if crowded != self.crowded.load(Ordering::Relaxed) {
            self.crowded.store(crowded, Ordering::Relaxed);
        }
    }

    /// How many tasks that were refused may try again: as many as there is room for, where thousands may
    /// wait. `None`: all of them, since nothing is queued whose commit would be the turn of the others.
    fn note_room(&self, state: &State) -> Option<u64> {
        self.note_crowd(state);
        let is_queued = state.queue.queued_bytes() > 0;
        is_queued.then(|| (state.queue.room_bytes() / ROOM_EACH).max(1))
    }

    fn tell_of_room(&self, tasks: Option<u64>) {
        match tasks {
            None => self.room.notify_waiters(),
            Some(tasks) if tasks > MOST_TOLD => self.room.notify_waiters(),
            Some(tasks) => (0..tasks).for_each(|_| self.room.notify_one()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Counters {
    fn add(&self, records: u64, bytes: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Locks even after a panic elsewhere: every critical section leaves the state whole at each step that
/// could panic, and an ingest server that stops answering because of one task is worse.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    body: fn(&Shared),
) -> Result<JoinHandle<()>, recovery::OpenError> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || body(&shared))
        .map_err(recovery::OpenError::Thread)
}
