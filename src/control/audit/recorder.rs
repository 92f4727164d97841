//! What the server itself notes in the audit log: queued, and appended by a thread of its own.
//!
//! Appending takes the log's lock, which others may hold, and syncs a disk that may stall. Whoever notes something
//! waits for neither: the queue is bounded, what finds no room is lost and counted, and what waits too long is said
//! in the server's readiness.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use super::{Action, AuditEntry, AuditLog};
use crate::control::Spawn;
use crate::limits;
use crate::origin::{KeyId, Workspace};

/// One entry, owned, as it waits. Its details are made when it is appended: as JSON they take many times the room.
#[derive(Debug)]
pub struct Note {
    /// What was done.
    pub action: Action,
    /// The key it was done to.
    pub key_id: Option<KeyId>,
    /// The name of that key.
    pub name: Option<Box<str>>,
    /// The workspace of that key.
    pub workspace: Option<Workspace>,
    /// What else there is to say.
    pub details: Box<dyn Details>,
}

/// What an entry says beyond its key.
pub trait Details: Send + std::fmt::Debug {
    /// As the entry has it; `None` for nothing.
    fn to_json(&self) -> Option<Value>;
    /// Keys that it names: what it counts for in the queue.
    fn keys(&self) -> usize;
}

/// Nothing more to say.
impl Details for () {
    fn to_json(&self) -> Option<Value> {
        None
    }

    fn keys(&self) -> usize {
        1
    }
}

/// The queue and its thread. Clones share it.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    data_dir: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    notes: VecDeque<Note>,
    /// What the notes name, those that are being appended included.
    keys: usize,
    /// Notes that are being appended right now.
    in_hand: usize,
    /// Since when the oldest of them waits.
    waiting_since: Option<Instant>,
    lost: u64,
    /// Why the last append failed, until one ends well.
    fault: Option<String>,
    stops: bool,
}

impl Recorder {
    /// A recorder for this data directory. Nothing is appended before [`start`](Self::start).
    pub fn new(data_dir: &Path) -> Self {
        Self(Arc::new(Shared {
            data_dir: data_dir.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Starts the thread.
    pub fn start(&self, spawn: Spawn<'_>) -> io::Result<JoinHandle<()>> {
        let recorder = self.clone();
        spawn("audit", Box::new(move || recorder.run()))
    }

    /// Takes notes, all or none of them. Waits for nobody.
    pub fn note(&self, notes: Vec<Note>) {
        if notes.is_empty() {
            return;
        }
        let keys: usize = notes.iter().map(|note| note.details.keys()).sum();
        let mut state = self.lock();
        if state.keys + keys > limits::AUDIT_QUEUE_KEYS {
            state.lost += notes.len() as u64;
            drop(state);
            tracing::error!(
                entries = notes.len(),
                "the audit log takes no entries; these are lost"
            );
            return;
        }
        state.keys += keys;
        state.notes.extend(notes);
        state.waiting_since.get_or_insert_with(Instant::now);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Entries that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// Entries that wait.
    pub fn waiting(&self) -> usize {
        let state = self.lock();
        state.notes.len() + state.in_hand
    }

    /// What is wrong with the log at the moment.
    pub fn fault(&self) -> Option<String> {
        let state = self.lock();
        if let Some(fault) = &state.fault {
            return Some(format!("the audit log cannot be written: {fault}"));
        }
        let waits = state.waiting_since?.elapsed();
        (waits >= limits::AUDIT_PATIENCE).then(|| {
            format!(
                "entries have waited {} s for the audit log: its lock is held, or its disk stalls",
                waits.as_secs()
            )
        })
    }

    /// Lets the thread end once everything is appended.
    pub fn stop(&self) {
        self.lock().stops = true;
        self.0.changed.notify_all();
    }

    fn run(&self) {
        while let Some(notes) = self.next() {
            let appended = append(&self.0.data_dir, &notes);
            let mut state = self.lock();
            state.in_hand = 0;
            match appended {
                Ok(()) => {
                    state.keys -= notes.iter().map(|note| note.details.keys()).sum::<usize>();
                    state.fault = None;
                    state.waiting_since = (!state.notes.is_empty()).then(Instant::now);
                }
                Err(error) => {
                    if state.fault.is_none() {
                        tracing::error!(%error, "the audit log cannot be written; its entries wait");
                    }
                    state.fault = Some(error.to_string());
                    // In their order, in front of those that came meanwhile.
                    for note in notes.into_iter().rev() {
                        state.notes.push_front(note);
                    }
                    if state.stops {
                        return;
                    }
                    let waited = self.0.changed.wait_timeout(state, limits::AUDIT_RETRY);
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
    }

    /// The next notes to append together; `None` when the thread is to end.
    fn next(&self) -> Option<Vec<Note>> {
        let mut state = self.lock();
        loop {
            if !state.notes.is_empty() {
                let n = state.notes.len().min(limits::AUDIT_ENTRIES_AT_ONCE);
                state.in_hand = n;
                return Some(state.notes.drain(..n).collect());
            }
            if state.stops {
                return None;
            }
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(data_dir: &Path, notes: &[Note]) -> io::Result<()> {
    let entries: Vec<AuditEntry<'_>> = notes
        .iter()
        .map(|note| AuditEntry {
            actor: "server",
            action: note.action,
            key_id: note.key_id,
            name: note.name.as_deref(),
            workspace: note.workspace,
            details: note.details.to_json(),
        })
        .collect();
    AuditLog::open(data_dir)?.append(&entries).map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spawn(name: &'static str, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
    }

    fn note() -> Vec<Note> {
        vec![Note {
            action: Action::KeysReloaded,
            key_id: None,
            name: None,
            workspace: None,
            details: Box::new(()),
        }]
    }

    fn lines(data_dir: &Path) -> usize {
        let text = std::fs::read_to_string(data_dir.join("audit.jsonl")).unwrap_or_default();
        text.lines().count()
    }

    #[test]
    fn who_notes_something_does_not_wait_for_who_holds_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = AuditLog::open(directory.path()).unwrap();
        let held = std::fs::File::open(log.path()).unwrap();
        held.lock().unwrap();
        let recorder = Recorder::new(directory.path());
        let thread = recorder.start(&spawn).unwrap();
        recorder.note(note());
        recorder.note(note());
        assert_eq!(lines(directory.path()), 0);
        held.unlock().unwrap();
        recorder.stop();
        thread.join().unwrap();
        assert_eq!(lines(directory.path()), 2);
        assert_eq!(recorder.lost(), 0);
        assert_eq!(recorder.fault(), None);
    }

    #[test]
    fn what_cannot_be_appended_waits_and_is_said_and_what_is_too_much_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let in_the_way = directory.path().join("audit.jsonl");
        std::fs::create_dir(&in_the_way).unwrap();
        let recorder = Recorder::new(directory.path());
        let thread = recorder.start(&spawn).unwrap();
        recorder.note(note());
        let deadline = Instant::now() + Duration::from_secs(30);
        while recorder.fault().is_none() {
            assert!(Instant::now() < deadline, "the fault is not said");
            std::thread::sleep(Duration::from_millis(5));
        }
        let many = (0..limits::AUDIT_QUEUE_KEYS).flat_map(|_| note()).collect();
        recorder.note(many);
        assert_eq!(recorder.lost(), limits::AUDIT_QUEUE_KEYS as u64);
        std::fs::remove_dir(&in_the_way).unwrap();
        while recorder.waiting() > 0 || recorder.fault().is_some() {
            assert!(Instant::now() < deadline, "it is not tried again");
            std::thread::sleep(Duration::from_millis(5));
        }
        recorder.stop();
        thread.join().unwrap();
        assert_eq!(lines(directory.path()), 1);
    }
}
