//! Saves what is counted for each key, once a minute and at the end, on a thread of its own: a disk that stalls holds
//! up no reload of the key file.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::auth::keyring::Difference;
use crate::auth::{Keyring, Keys};
use crate::control::keys::remembered::Remembered;
use crate::limits;

/// The counts of all keys. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Counted(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: Arc<Keys>,
    /// Locked for as long as it takes to copy it, never while it is written.
    remembered: Mutex<Remembered>,
    stops: Mutex<bool>,
    stopped: Condvar,
}

impl Counted {
    /// Reads what was saved, and adds it to the counters of the keys.
    pub fn load(data_dir: &Path, keys: Arc<Keys>) -> Self {
        let mut remembered = Remembered::load(data_dir);
        remembered.resume_all(&keys.load());
        Self(Arc::new(Shared {
            keys,
            remembered: Mutex::new(remembered),
            stops: Mutex::new(false),
            stopped: Condvar::new(),
        }))
    }

    /// The ring was replaced: what goes is remembered with its last count, what comes back goes on from there.
    pub fn replaced(&self, before: &Keyring, difference: &Difference<'_>) {
        let mut remembered = self.remembered();
        remembered.collect(before);
        remembered.resume_added(difference);
    }

    /// Saves now and then, until the end and once more then.
    pub fn run(&self) {
        let mut stops = false;
        while !stops {
            stops = self.wait();
            self.save();
        }
    }

    /// Lets [`run`](Self::run) end.
    pub fn stop(&self) {
        *self.0.stops.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.stopped.notify_all();
    }

    /// Waits until it is time to save; returns whether it is the last time.
    fn wait(&self) -> bool {
        let until = Instant::now() + limits::USAGE_SAVE_INTERVAL;
        let mut stops = self.0.stops.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if *stops || left.is_zero() {
                return *stops;
            }
            let waited = self.0.stopped.wait_timeout(stops, left);
            stops = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn save(&self) {
        let unsaved = {
            let mut remembered = self.remembered();
            remembered.collect(&self.0.keys.load());
            remembered.take_unsaved()
        };
        if let Some(unsaved) = unsaved
            && let Err(error) = unsaved.save()
        {
            tracing::warn!(%error, "key usage could not be saved");
            self.remembered().not_saved();
        }
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        let remembered = self.0.remembered.lock();
        remembered.unwrap_or_else(PoisonError::into_inner)
    }
}
