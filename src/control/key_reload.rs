//! Keeps the keyring what the key file says: at the start, and whenever the file changes.
//!
//! `notify` tells of changes at once; a poll finds those it cannot tell of (network file systems, a
//! directory that was replaced, a symlink target elsewhere). Either way the file is read once it has been
//! quiet, parsed off the data plane's threads, and the whole keyring is swapped. What cannot be used, a file
//! that is broken, emptied or gone, keeps the last good keys and is said in the log.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::key_file::{self, KeyFile, KeyFileError};
use crate::auth::{KeySpec, Keyring, Keys};
use crate::limits;
use crate::server::ServeError;

/// The key file, its keyring, and, once [`watch`](KeyReload::watch) was called, the thread between them.
#[derive(Debug)]
pub struct KeyReload {
    path: PathBuf,
    keys: Arc<Keys>,
    signals: Option<Sender<Signal>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// Something changed; a writer may still be at it.
    Changed,
    /// A writer closed the file, or it was renamed into place: it is whole.
    Complete,
    /// Read it now, changed or not.
    Now,
}

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Fingerprint {
    /// Of the file that the path leads to, through symlinks; `None` where it leads nowhere.
    fn of(path: &Path) -> Option<Self> {
        let ns = |secs: i64, nanos: i64| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl KeyReload {
    /// Reads the key file; whatever is wrong with it keeps the server from starting.
    pub fn start(path: &Path) -> Result<Self, ServeError> {
        let file = KeyFile::read(path)?;
        if file.entries.is_empty() {
            return Err(ServeError::NoKeys(path.to_owned()));
        }
        tracing::info!(keys = file.entries.len(), "keys loaded");
        Ok(Self {
            path: path.to_owned(),
            keys: Arc::new(Keys::new(keyring(file, None))),
            signals: None,
        })
    }

    /// The keys, which every later reload replaces.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Starts the thread that follows the file. It ends with this value.
    pub fn watch(&mut self) -> io::Result<()> {
        let (signals, received) = channel();
        let watching = Watching {
            watcher: watcher(&self.path, signals.clone()),
            path: self.path.clone(),
            keys: self.keys(),
            loaded: Fingerprint::of(&self.path),
            directories: Vec::new(),
        };
        self.signals = Some(signals);
        std::thread::Builder::new()
            .name("key-reload".to_owned())
            .spawn(move || watching.run(&received))?;
        Ok(())
    }

    /// Reads the file now, as SIGHUP asks for.
    pub fn reload_now(&self) {
        if let Some(signals) = &self.signals {
            // The thread lives as long as this sender.
            let _ = signals.send(Signal::Now);
        }
    }
}

fn keyring(file: KeyFile, previous: Option<&Keyring>) -> Keyring {
    let specs = file.entries.into_iter().map(|entry| KeySpec {
        key: entry.key,
        workspace: entry.workspace,
        name: entry.name,
    });
    Keyring::new(specs.collect(), previous)
}

/// Without a watcher the poll does its work alone.
fn watcher(path: &Path, signals: Sender<Signal>) -> Option<RecommendedWatcher> {
    let names = path.file_name().map(ToOwned::to_owned);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let signal = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Signal::Complete,
            EventKind::Access(_) => return,
            EventKind::Modify(notify::event::ModifyKind::Name(_)) => Signal::Complete,
            _ => Signal::Changed,
        };
        // Of the key file itself we know when it is whole. Anything else in the directory may be a symlink
        // that was turned: whole as well, if it concerns us at all.
        let ours = event
            .paths
            .iter()
            .any(|p| p.file_name() == names.as_deref());
        let _ = signals.send(if ours { signal } else { Signal::Complete });
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "changes of the key file are found by polling only");
            None
        }
    }
}

struct Watching {
    watcher: Option<RecommendedWatcher>,
    path: PathBuf,
    keys: Arc<Keys>,
    /// The state of the file that was last read, good or bad.
    loaded: Option<Fingerprint>,
    directories: Vec<(PathBuf, u64)>,
}

impl Watching {
    fn run(mut self, signals: &Receiver<Signal>) {
        self.watch_directories();
        let mut pending: Option<Pending> = None;
        loop {
            let wait = pending.as_ref().map_or(limits::KEY_FILE_POLL, |p| {
                p.due().min(limits::KEY_FILE_POLL)
            });
            let signal = match signals.recv_timeout(wait) {
                Ok(signal) => Some(signal),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = Fingerprint::of(&self.path);
            match signal {
                Some(Signal::Now) => {
                    self.reload(now);
                    pending = None;
                    continue;
                }
                _ if now == self.loaded => {
                    pending = None;
                    self.watch_directories();
                    continue;
                }
                _ => {}
            }
            let seen = pending
                .take()
                .filter(|p| p.state == now)
                .unwrap_or_else(|| Pending::new(now));
            let seen = seen.after(signal);
            if seen.due().is_zero() {
                self.reload(now);
            } else {
                pending = Some(seen);
            }
            self.watch_directories();
        }
    }

    /// Watches the directories that a change can happen in: of the path, and of what it leads to. Again and
    /// again, because a directory that was replaced is another one under the same name.
    fn watch_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let target = fs::canonicalize(&self.path).ok();
        let mut wanted: Vec<(PathBuf, u64)> = [Some(self.path.clone()), target]
            .into_iter()
            .flatten()
            .filter_map(|file| file.parent().map(directory_or_here))
            .filter_map(|directory| Some((directory.clone(), fs::metadata(&directory).ok()?.ino())))
            .collect();
        wanted.dedup();
        if wanted == self.directories {
            return;
        }
        for (directory, _) in self.directories.drain(..) {
            let _ = watcher.unwatch(&directory);
        }
        for (directory, _) in &wanted {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, "cannot watch a directory of the key file; polling");
            }
        }
        self.directories = wanted;
    }

    fn reload(&mut self, state: Option<Fingerprint>) {
        self.loaded = state;
        match read(&self.path) {
            Ok(file) => {
                let before = self.keys.load();
                let ring = keyring(file, Some(&before));
                tracing::info!(
                    keys = ring.len(),
                    before = before.len(),
                    "key file reloaded"
                );
                drop(before);
                self.keys.replace(ring);
            }
            Err(error) => {
                tracing::error!(%error, keys = self.keys.load().len(), "key file not usable; the last good keys stay in force");
            }
        }
    }
}

/// Why a changed key file is not taken over.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error("the key file {} is empty; to revoke every key on purpose leave a comment line in it", .0.display())]
    Emptied(PathBuf),
}

/// A file without keys is meant so if it says anything at all; a blank one is an accident on its way.
fn read(path: &Path) -> Result<KeyFile, ReloadError> {
    let bytes = key_file::read_bytes(path)?;
    if bytes.trim_ascii().is_empty() {
        return Err(ReloadError::Emptied(path.to_owned()));
    }
    KeyFile::parse(&bytes).map_err(|faults| {
        KeyFileError::Faults {
            path: path.to_owned(),
            faults,
        }
        .into()
    })
}

fn directory_or_here(directory: &Path) -> PathBuf {
    if directory.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        directory.to_owned()
    }
}

/// A change that waits for the file to be whole.
#[derive(Clone, Copy, Debug)]
struct Pending {
    state: Option<Fingerprint>,
    since: Instant,
    settle: Duration,
}

impl Pending {
    fn new(state: Option<Fingerprint>) -> Self {
        Self {
            state,
            since: Instant::now(),
            settle: limits::KEY_FILE_QUIET,
        }
    }

    fn after(self, signal: Option<Signal>) -> Self {
        match signal {
            Some(Signal::Complete) => Self {
                settle: limits::KEY_FILE_SETTLE,
                ..self
            },
            _ => self,
        }
    }

    fn due(&self) -> Duration {
        self.settle.saturating_sub(self.since.elapsed())
    }
}
