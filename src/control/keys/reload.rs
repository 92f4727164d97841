//! Keeps the keyring what the key file says: at the start, and whenever the file changes.
//!
//! `notify` tells of changes at once; a poll finds those it cannot tell of (network file systems, a
//! directory that was replaced, a symlink target elsewhere). Either way the file is read once it has been
//! quiet, parsed off the data plane's threads, and the whole keyring is swapped. What cannot be used, a file
//! that is broken, emptied or gone, keeps the last good keys and is said in the log.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::oneshot;

use crate::auth::keyring::Difference;
use crate::auth::{KeySpec, Keyring, Keys};
use crate::control::audit::recorder::Recorder;
use crate::control::keys::counted::Counted;
use crate::control::keys::difference;
use crate::control::keys::file::{self, KeyFile, KeyFileError};
use crate::control::keys::permissions::{self, LoosePermissions};
use crate::control::timestamp::Timestamp;
use crate::control::{Files, Spawn};
use crate::files::Fingerprint;
use crate::files::health::FileHealth;
use crate::{limits, meters};

/// Why the server cannot start with the key file.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is broken or unreadable.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// It has no key.
    #[error("key file {0} holds no key; add one with: tell apikeys new NAME --workspace 1")]
    NoKeys(PathBuf),
    /// Others may read or change it, and that is to be refused.
    #[error(transparent)]
    Permissions(#[from] LoosePermissions),
}

/// The key file, its keyring, and, once [`watch`](KeyReload::watch) was called, the thread between them.
#[derive(Debug)]
pub struct KeyReload {
    files: Files,
    keys: Arc<Keys>,
    health: Arc<FileHealth>,
    strict_permissions: bool,
    /// The state of the file that was read.
    loaded: Option<Fingerprint>,
    thread: Option<(Sender<Signal>, JoinHandle<()>)>,
    saving: Option<(Counted, JoinHandle<()>)>,
}

#[derive(Debug)]
enum Signal {
    /// Something changed; a writer may still be at it.
    Changed,
    /// A writer closed the file, or it was renamed into place: it is whole.
    Complete,
    /// Read it now, changed or not, and say when that is done.
    Now(oneshot::Sender<()>),
    /// The server ends.
    Stop,
}

/// Where the path of the key file leads to.
#[derive(Debug, PartialEq, Eq)]
struct Whereabouts {
    file: PathBuf,
    directories: Vec<(PathBuf, u64)>,
}

impl KeyReload {
    /// Reads the key file; whatever is wrong with it keeps the server from starting.
    pub fn start(files: &Files, strict_permissions: bool) -> Result<Self, KeysError> {
        // Before the read: a change during it is then seen as one.
        let loaded = Fingerprint::of(&files.keys);
        let file = KeyFile::read(&files.keys)?;
        if let Err(loose) = permissions::check(&files.keys) {
            if strict_permissions {
                return Err(loose.into());
            }
            tracing::warn!("{loose}");
        }
        if file.entries.is_empty() {
            return Err(KeysError::NoKeys(files.keys.clone()));
        }
        tracing::info!(keys = file.entries.len(), "keys loaded");
        meters::keys_in_force(file.entries.len(), now_secs());
        Ok(Self {
            health: Arc::default(),
            strict_permissions,
            files: files.clone(),
            keys: Arc::new(Keys::new(keyring(file, None))),
            loaded,
            thread: None,
            saving: None,
        })
    }

    /// The keys, which every later reload replaces.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// What is wrong with the file at the moment.
    pub fn health(&self) -> Arc<FileHealth> {
        Arc::clone(&self.health)
    }

    /// Starts the thread that follows the file, without which revoked keys would be taken, and the one that saves now
    /// and then what was counted for each key, without which only counts are lost.
    pub fn watch(
        &mut self,
        audit: Recorder,
        essential: Spawn<'_>,
        auxiliary: Spawn<'_>,
    ) -> io::Result<()> {
        let (signals, received) = channel();
        let counted = Counted::load(&self.files.data_dir, self.keys());
        let watching = Watching {
            audit,
            counted: counted.clone(),
            watcher: watcher(&self.files.keys, signals.clone()),
            files: self.files.clone(),
            keys: self.keys(),
            loaded: self.loaded,
            directories: Vec::new(),
            whereabouts: None,
            last_error: None,
            last_loose: None,
            health: self.health(),
            strict_permissions: self.strict_permissions,
        };
        let thread = essential("key-reload", Box::new(move || watching.run(&received)))?;
        self.thread = Some((signals, thread));
        let saving = counted.clone();
        let thread = auxiliary("key-usage", Box::new(move || saving.run()))?;
        self.saving = Some((counted, thread));
        Ok(())
    }

    /// Reads the file now, as SIGHUP asks for. What this returns resolves when that is done, well or not.
    pub fn reload_now(&self) -> oneshot::Receiver<()> {
        let (done, reloaded) = oneshot::channel();
        if let Some((signals, _)) = &self.thread {
            // The thread lives as long as this sender.
            let _ = signals.send(Signal::Now(done));
        }
        reloaded
    }

    /// Lets the threads end, the second once what was counted is saved. Returns those that are to be waited for.
    pub fn stop(&mut self) -> Vec<JoinHandle<()>> {
        let mut ending = Vec::new();
        if let Some((signals, thread)) = self.thread.take() {
            // The thread lives as long as this sender.
            let _ = signals.send(Signal::Stop);
            ending.push(thread);
        }
        if let Some((counted, thread)) = self.saving.take() {
            counted.stop();
            ending.push(thread);
        }
        ending
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
    let name = path.file_name().map(ToOwned::to_owned);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let signal = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Signal::Complete,
            EventKind::Access(_) => return,
            EventKind::Modify(notify::event::ModifyKind::Name(_)) => Signal::Complete,
            _ => Signal::Changed,
        };
        // Others are of interest only where they turn the path, as a symlink does: that is seen without them.
        let ours = event.paths.iter().any(|p| p.file_name() == name.as_deref());
        let _ = signals.send(if ours { signal } else { Signal::Changed });
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
    audit: Recorder,
    counted: Counted,
    watcher: Option<RecommendedWatcher>,
    files: Files,
    keys: Arc<Keys>,
    /// The state of the file that was last read, good or bad.
    loaded: Option<Fingerprint>,
    directories: Vec<(PathBuf, u64)>,
    /// Where the path led when it last led to a file.
    whereabouts: Option<Whereabouts>,
    /// What was last wrong with the file, and when that was logged.
    last_error: Option<(String, Instant)>,
    /// What was last warned of, so that each state is warned of once.
    last_loose: Option<LoosePermissions>,
    health: Arc<FileHealth>,
    strict_permissions: bool,
}

impl Watching {
    fn run(mut self, signals: &Receiver<Signal>) {
        let mut pending: Option<Pending> = None;
        self.follow();
        loop {
            let wait = pending.as_ref().map_or(limits::KEY_FILE_POLL, |p| {
                p.due().min(limits::KEY_FILE_POLL)
            });
            let signal = match signals.recv_timeout(wait) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(signal) => Some(signal),
                Err(RecvTimeoutError::Timeout) => None,
            };
            pending = self.step(signal.as_ref(), pending);
            if let Some(Signal::Now(done)) = signal {
                // Nobody may care.
                let _ = done.send(());
            }
        }
    }

    /// Looks at the file, and reads it if it changed and is whole, or went on changing for too long; else returns
    /// what is waited for.
    fn step(&mut self, signal: Option<&Signal>, pending: Option<Pending>) -> Option<Pending> {
        let now = Fingerprint::of(&self.files.keys);
        let turned = self.follow();
        if !matches!(signal, Some(Signal::Now(_))) {
            if now == self.loaded {
                return None;
            }
            // Who turns a symlink, or replaces a directory, has written the file there before.
            let seen = Pending::follow(pending, now)
                .settled_if(turned || matches!(signal, Some(Signal::Complete)));
            if !seen.due().is_zero() {
                return Some(seen);
            }
        }
        self.reload(now);
        None
    }

    /// Watches the directories that a change can happen in: of the path, and of what it leads to. Again and
    /// again, because a directory that was replaced is another one under the same name. Returns whether the
    /// path leads to another place than before.
    fn follow(&mut self) -> bool {
        let file = fs::canonicalize(&self.files.keys).ok();
        let mut directories: Vec<(PathBuf, u64)> = [Some(&self.files.keys), file.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|file| file.parent().map(directory_or_here))
            .filter_map(|directory| Some((directory.clone(), fs::metadata(&directory).ok()?.ino())))
            .collect();
        directories.dedup();
        if directories != self.directories {
            self.watch(&directories);
        }
        let Some(file) = file else {
            return false;
        };
        let now = Whereabouts { file, directories };
        let turned = self.whereabouts.as_ref().is_some_and(|w| *w != now);
        self.whereabouts = Some(now);
        turned
    }

    fn watch(&mut self, directories: &[(PathBuf, u64)]) {
        let before = std::mem::replace(&mut self.directories, directories.to_vec());
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (directory, _) in before {
            let _ = watcher.unwatch(&directory);
        }
        for (directory, _) in directories {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, "cannot watch a directory of the key file; polling");
            }
        }
    }

    fn reload(&mut self, state: Option<Fingerprint>) {
        self.loaded = state;
        let read = read(&self.files.keys).and_then(|file| {
            self.check_permissions()?;
            Ok(file)
        });
        match read {
            Ok(file) => {
                let before = self.keys.load_full();
                let ring = self.keys.replace(keyring(file, Some(&before)));
                meters::keys_in_force(ring.len(), now_secs());
                meters::keys_reloaded("loaded");
                self.health.set(None);
                self.last_error = None;
                // The new keys are in force: what follows is bookkeeping.
                let difference = ring.difference(&before);
                self.note(&difference, ring.len());
                // What goes is remembered with its last count; what comes back goes on from there.
                self.counted.replaced(&before, &difference);
            }
            Err(error) => {
                meters::keys_reloaded("kept");
                self.health.set(Some(error.without_path()));
                self.say(&error.to_string());
            }
        }
    }

    fn note(&self, difference: &Difference<'_>, keys: usize) {
        tracing::info!(
            keys,
            added = difference.added.len(),
            removed = difference.removed.len(),
            moved = difference.moved.len(),
            "key file reloaded"
        );
        self.audit.note(difference::notes(difference));
    }

    fn check_permissions(&mut self) -> Result<(), ReloadError> {
        let loose = permissions::check(&self.files.keys).err();
        match loose {
            Some(loose) if self.strict_permissions => return Err(loose.into()),
            Some(ref new) if self.last_loose.as_ref() != Some(new) => tracing::warn!("{new}"),
            _ => {}
        }
        self.last_loose = loose;
        Ok(())
    }

    /// Says what is wrong with the file; the same again at most once a minute.
    fn say(&mut self, error: &str) {
        let repeated = self.last_error.as_ref().is_some_and(|(last, at)| {
            last == error && at.elapsed() < limits::KEY_FILE_ERROR_INTERVAL
        });
        if !repeated {
            tracing::error!(
                error,
                keys = self.keys.load().len(),
                "key file not usable; the last good keys stay in force"
            );
            self.last_error = Some((error.to_owned(), Instant::now()));
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
    #[error(transparent)]
    Permissions(#[from] LoosePermissions),
}

impl ReloadError {
    /// For those who may ask for the server's readiness: where its files are is none of their business.
    fn without_path(&self) -> String {
        match self {
            Self::File(KeyFileError::Faults { faults, .. }) => faults.to_string(),
            Self::File(KeyFileError::Read { source, .. }) => format!("it cannot be read: {source}"),
            Self::File(KeyFileError::NotAFile { .. }) => "it is not a regular file".to_owned(),
            Self::Emptied(_) => "it is empty".to_owned(),
            Self::Permissions(_) => "others may read or change it".to_owned(),
        }
    }
}

fn now_secs() -> f64 {
    Timestamp::now().as_ms() as f64 / 1000.0
}

/// A file without keys is meant so if it says anything at all; a blank one is an accident on its way.
fn read(path: &Path) -> Result<KeyFile, ReloadError> {
    let bytes = file::read_bytes(path)?;
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
    /// Since when the file is in this state.
    since: Instant,
    settle: Duration,
    /// When the file was first seen to be another than the one in force.
    changed: Instant,
}

impl Pending {
    /// The same while the state stays; a new state settles anew, but the longest wait goes on.
    fn follow(before: Option<Self>, state: Option<Fingerprint>) -> Self {
        let now = Instant::now();
        match before {
            Some(before) if before.state == state => before,
            _ => Self {
                state,
                since: now,
                settle: limits::KEY_FILE_QUIET,
                changed: before.map_or(now, |before| before.changed),
            },
        }
    }

    fn settled_if(self, whole: bool) -> Self {
        let settle = if whole {
            limits::KEY_FILE_SETTLE
        } else {
            self.settle
        };
        Self { settle, ..self }
    }

    fn due(&self) -> Duration {
        let quiet = self.settle.saturating_sub(self.since.elapsed());
        let longest = limits::KEY_FILE_LONGEST_WAIT.saturating_sub(self.changed.elapsed());
        quiet.min(longest)
    }
}
