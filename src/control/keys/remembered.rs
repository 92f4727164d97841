//! What is remembered of each key while the server runs, between the counters of the keyring and the
//! usage file.
//!
//! Counters live in memory and start from zero with the process; what the file says is added to them.
//! Nothing here is on the way of a frame: the file is written at most once a minute, and at the end.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::auth::keyring::Difference;
use crate::auth::usage::{LastUse, UsageReading};
use crate::auth::{Grant, Keyring};
use crate::control::keys::usage::{self, KeyUsage};
use crate::control::timestamp::Timestamp;
use crate::origin::KeyId;

/// Keys found at a start are noted as first seen then, unless they are more than this: for a file of
/// a million keys that would be a hundred megabytes of the same time.
const FIRST_SEEN_KEYS: usize = 10_000;

/// The usage of all keys that were ever used or seen to appear.
#[derive(Debug)]
pub(super) struct Remembered {
    data_dir: PathBuf,
    keys: HashMap<KeyId, KeyUsage>,
    changed: bool,
}

impl Remembered {
    /// Reads the usage file; a file that cannot be read is as good as none, and said so.
    pub fn load(data_dir: &Path) -> Self {
        let loaded = usage::load(data_dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "the key usage file cannot be read; counting starts anew");
            usage::Usage::default()
        });
        if loaded.damaged_lines > 0 {
            tracing::warn!(
                lines = loaded.damaged_lines,
                "the key usage file has damaged lines, which are left out"
            );
        }
        Self {
            data_dir: data_dir.to_owned(),
            keys: loaded.keys,
            changed: false,
        }
    }

    /// Adds what is remembered to the counters of all keys of the first ring.
    pub fn resume_all(&mut self, ring: &Keyring) {
        let notes_first_sight = ring.len() <= FIRST_SEEN_KEYS;
        for grant in ring.grants() {
            self.resume(grant, notes_first_sight);
        }
    }

    /// Adds what is remembered to the counters of the keys that a reload brought.
    pub fn resume_added(&mut self, difference: &Difference<'_>) {
        for &grant in &difference.added {
            self.resume(grant, true);
        }
    }

    fn resume(&mut self, grant: Grant<'_>, notes_first_sight: bool) {
        match self.keys.get(&grant.key_id()) {
            Some(usage) => {
                let earlier = reading(usage);
                // Counters that were never used take no memory.
                if earlier != UsageReading::default() {
                    grant.usage().add(&earlier);
                }
            }
            None if notes_first_sight => {
                let seen = KeyUsage {
                    created_at: Some(Timestamp::now()),
                    ..KeyUsage::default()
                };
                self.keys.insert(grant.key_id(), seen);
                self.changed = true;
            }
            None => {}
        }
    }

    /// Takes over what the counters say.
    pub fn collect(&mut self, ring: &Keyring) {
        for grant in ring.grants() {
            let read = grant.counted();
            if read == UsageReading::default() {
                continue;
            }
            let usage = self.keys.entry(grant.key_id()).or_default();
            let now = KeyUsage {
                created_at: usage.created_at,
                last_used_at: read
                    .last
                    .map(|last| Timestamp::from_ms(u64::from(last.at_secs) * 1000)),
                last_source: read.last.map(|last| last.source),
                last_peer: read.last.map(|last| last.peer.to_canonical()),
                frames: read.frames,
                events: read.events,
                bytes: read.bytes,
                refused: read.refused,
                replaced: read.replaced,
            };
            self.changed |= *usage != now;
            *usage = now;
        }
    }

    /// What is to be written now, if there is something new: a copy, so that nobody waits for the disk.
    pub fn take_unsaved(&mut self) -> Option<Unsaved> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        Some(Unsaved {
            data_dir: self.data_dir.clone(),
            keys: self.keys.iter().map(|(id, usage)| (*id, *usage)).collect(),
        })
    }

    /// What was to be written was not: it is new the next time too.
    pub fn not_saved(&mut self) {
        self.changed = true;
    }
}

/// What a usage file is to say.
#[derive(Debug)]
pub(super) struct Unsaved {
    data_dir: PathBuf,
    keys: Vec<(KeyId, KeyUsage)>,
}

impl Unsaved {
    /// Writes the file.
    pub fn save(&self) -> io::Result<()> {
        usage::save(
            &self.data_dir,
            self.keys.iter().map(|(id, usage)| (*id, usage)),
        )
    }
}

fn reading(usage: &KeyUsage) -> UsageReading {
    let last = usage
        .last_used_at
        .zip(usage.last_source)
        .zip(usage.last_peer);
    UsageReading {
        frames: usage.frames,
        events: usage.events,
        bytes: usage.bytes,
        refused: usage.refused,
        replaced: usage.replaced,
        last: last.map(|((at, source), peer)| {
            LastUse::new(at.as_ms().saturating_mul(1_000_000), source, peer)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::KeySpec;
    use crate::origin::Source;
    use crate::origin::Workspace;
    use crate::wire::key::StreamingKey;

    fn ring(previous: Option<&Keyring>) -> Keyring {
        let spec = KeySpec {
            key: StreamingKey::from_bytes([1; 16]),
            workspace: Workspace::new(1).unwrap(),
            name: None,
        };
        Keyring::new(vec![spec], previous)
    }

    #[test]
    fn counting_goes_on_over_a_restart_and_a_key_that_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let key = StreamingKey::from_bytes([1; 16]);
        let last = LastUse::new(5_000_000_000, Source::Tcp, [127, 0, 0, 1].into());
        for run in 1..=3 {
            let mut remembered = Remembered::load(directory.path());
            let first = ring(None);
            remembered.resume_all(&first);
            first
                .lookup(&key)
                .unwrap()
                .usage()
                .accepted(1, 10, 100, last);
            remembered.collect(&first);
            let without = Keyring::new(Vec::new(), Some(&first));
            let back = ring(Some(&without));
            remembered.resume_added(&back.difference(&without));
            let read = back.lookup(&key).unwrap().counted();
            assert_eq!(
                (read.frames, read.events, read.bytes),
                (run, 10 * run, 100 * run)
            );
            remembered.collect(&back);
            remembered.take_unsaved().unwrap().save().unwrap();
            assert!(remembered.take_unsaved().is_none(), "nothing is new");
        }
        let saved = usage::load(directory.path()).unwrap().keys[&key.id()];
        assert!(saved.created_at.is_some());
        assert_eq!(saved.last_used_at, Some(Timestamp::from_ms(5000)));
    }
}
