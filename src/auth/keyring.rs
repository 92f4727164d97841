//! The keyring: which key may write to which workspace, as one immutable snapshot.
//!
//! A lookup costs the same for one key and for a million: a hash over process-random secret bits finds the
//! slot, a constant-time comparison confirms it, and a miss does the work of a hit. The table itself is in `table.rs`.
//!
//! The control plane replaces the whole ring ([`Keys::replace`]); frames in flight finish with the ring they
//! loaded, the next ones see the new one. Reading the key file is the control plane's business.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::table::Table;
use super::usage::{CounterIndex, Usage, UsageReading, Usages};
use crate::origin::{KeyId, Workspace};
use crate::wire::key::StreamingKey;

/// A key as the key file defines it.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// The key.
    pub key: StreamingKey,
    /// Where it writes to.
    pub workspace: Workspace,
    /// What its owner calls it.
    pub name: Option<Box<str>>,
}

/// What a key is good for. Reads what it is asked for from the ring: a lookup itself touches no more than
/// it needs to find the key.
#[derive(Clone, Copy)]
pub struct Grant<'a> {
    ring: &'a Keyring,
    place: usize,
}

impl<'a> Grant<'a> {
    /// Where it writes to.
    pub fn workspace(&self) -> Workspace {
        self.entry().workspace
    }

    /// Its public id.
    pub fn key_id(&self) -> KeyId {
        self.entry().key_id
    }

    /// Where it is counted; shared by all rings that hold the key, in this workspace or another.
    pub fn usage(&self) -> &'a Usage {
        self.ring.usages.at(self.entry().usage)
    }

    /// What was counted for it.
    pub fn counted(&self) -> UsageReading {
        self.ring.usages.read(self.entry().usage)
    }

    /// What its owner calls it.
    pub fn name(&self) -> Option<&'a str> {
        let &Entry {
            name_start,
            name_len,
            ..
        } = self.entry();
        let from = name_start as usize;
        match name_len {
            0 => None,
            len => self.ring.names.get(from..from + len as usize),
        }
    }

    fn entry(&self) -> &'a Entry {
        &self.ring.entries[self.place]
    }
}

impl fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({} in {:?})", self.key_id(), self.workspace())
    }
}

/// What a lookup does not need.
#[derive(Debug)]
struct Entry {
    key_id: KeyId,
    workspace: Workspace,
    usage: CounterIndex,
    /// Where its name is in [`Keyring::names`]. A million `Box<str>` would take three times as much.
    name_start: u32,
    name_len: u16,
}

const _: () = assert!(
    size_of::<Entry>() <= 24,
    "memory per key is stated and bounded"
);

/// An immutable set of keys.
///
/// The keys themselves stand in the table; whatever else is known of a key stands apart, at the place that
/// the table has for it.
pub struct Keyring {
    table: Table,
    entries: Vec<Entry>,
    names: String,
    usages: Usages,
    hasher: RandomState,
}

impl Keyring {
    /// A ring of these keys. What was counted for a key in `previous` goes on in the new ring. Of a key
    /// given twice the first counts; the key file refuses such a set.
    pub fn new(specs: Vec<KeySpec>, previous: Option<&Self>) -> Self {
        let mut ring = Self {
            table: Table::for_keys(specs.len()),
            entries: Vec::with_capacity(specs.len()),
            names: String::new(),
            usages: previous.map_or_else(Usages::default, |ring| ring.usages.follow()),
            hasher: RandomState::new(),
        };
        for spec in specs {
            ring.insert(&spec, previous);
        }
        ring.usages
            .keep_only(ring.entries.iter().map(|entry| entry.usage));
        ring.names.shrink_to_fit();
        ring
    }

    fn insert(&mut self, spec: &KeySpec, previous: Option<&Self>) {
        let hash = hash(&self.hasher, &spec.key);
        // 2^32 keys do not fit a key file.
        let Ok(place) = u32::try_from(self.entries.len()) else {
            return;
        };
        if self.table.find(hash, &spec.key).is_some() {
            return;
        }
        let kept = previous.and_then(|ring| ring.lookup(&spec.key));
        let (key_id, usage) = match kept {
            Some(grant) => (grant.key_id(), grant.entry().usage),
            // After 2^32 keys a restart is due: until then the newest go without.
            None => match self.usages.add() {
                Some(usage) => (spec.key.id(), usage),
                None => return,
            },
        };
        let (name_start, name_len) = self.take_name(spec.name.as_deref());
        if !self.table.insert(hash, &spec.key, place) {
            return;
        }
        self.entries.push(Entry {
            key_id,
            workspace: spec.workspace,
            usage,
            name_start,
            name_len,
        });
    }

    fn take_name(&mut self, name: Option<&str>) -> (u32, u16) {
        let name = name.unwrap_or_default();
        let place = u32::try_from(self.names.len())
            .ok()
            .zip(u16::try_from(name.len()).ok());
        match place {
            Some((start, len)) => {
                self.names.push_str(name);
                (start, len)
            }
            // Beyond what a key file can hold: the key works, nameless.
            None => (0, 0),
        }
    }

    /// What `key` is good for; `None` when it is not in the ring.
    #[inline]
    pub fn lookup(&self, key: &StreamingKey) -> Option<Grant<'_>> {
        let hash = hash(&self.hasher, key);
        self.table.find(hash, key).map(|place| self.grant(place))
    }

    fn grant(&self, place: u32) -> Grant<'_> {
        Grant {
            ring: self,
            place: place as usize,
        }
    }

    /// What changed since `previous`. Looks at all keys: not for the way of a frame.
    pub fn difference<'a>(&'a self, previous: &'a Self) -> Difference<'a> {
        let mut difference = Difference::default();
        for (key, place) in self.table.iter() {
            let grant = self.grant(place);
            match previous.lookup(&key) {
                None => difference.added.push(grant),
                Some(before) if before.workspace() != grant.workspace() => {
                    difference.moved.push((before.workspace(), grant));
                }
                Some(_) => {}
            }
        }
        for (key, place) in previous.table.iter() {
            if self.lookup(&key).is_none() {
                difference.removed.push(previous.grant(place));
            }
        }
        difference
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All grants, in the order they were given.
    pub fn grants(&self) -> impl Iterator<Item = Grant<'_>> {
        (0..self.entries.len()).map(|place| Grant { ring: self, place })
    }
}

/// What changed from one ring to the next, in no order.
#[derive(Debug, Default)]
pub struct Difference<'a> {
    /// Keys that are new.
    pub added: Vec<Grant<'a>>,
    /// Keys that are gone.
    pub removed: Vec<Grant<'a>>,
    /// Keys that write to another workspace now, with the one they wrote to.
    pub moved: Vec<(Workspace, Grant<'a>)>,
}

impl Difference<'_> {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.moved.is_empty()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.len())
    }
}

fn hash(hasher: &RandomState, key: &StreamingKey) -> u64 {
    hasher.hash_one(u128::from_ne_bytes(*key.as_bytes()))
}

/// The current keyring, and word of its replacement.
#[derive(Debug)]
pub struct Keys {
    current: ArcSwap<Keyring>,
    replaced: watch::Sender<()>,
}

impl Keys {
    /// Starts with this ring.
    pub fn new(ring: Keyring) -> Self {
        Self {
            current: ArcSwap::from_pointee(ring),
            replaced: watch::Sender::new(()),
        }
    }

    /// The ring right now. Load it anew for every read: holding it would keep revoked keys alive.
    pub fn load(&self) -> Guard<Arc<Keyring>> {
        self.current.load()
    }

    /// As [`load`](Self::load), to be held for long: by the control plane, not by a connection.
    pub fn load_full(&self) -> Arc<Keyring> {
        self.current.load_full()
    }

    /// Replaces the ring, and returns the new one.
    pub fn replace(&self, ring: Keyring) -> Arc<Keyring> {
        let ring = Arc::new(ring);
        self.current.store(Arc::clone(&ring));
        self.replaced.send_replace(());
        ring
    }

    /// Changes with every replacement, for connections that are idle while their key is revoked.
    pub fn replacements(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> StreamingKey {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        StreamingKey::from_bytes(bytes)
    }

    fn spec(n: u32, workspace: u32) -> KeySpec {
        KeySpec {
            key: key(n),
            workspace: Workspace::new(workspace).unwrap(),
            name: None,
        }
    }

    #[test]
    fn every_key_is_found_in_its_workspace_and_no_other_key_is() {
        let ring = Keyring::new((0..1000).map(|n| spec(n, n + 1)).collect(), None);
        assert_eq!(ring.len(), 1000);
        for n in 0..1000 {
            let grant = ring.lookup(&key(n)).unwrap();
            assert_eq!(
                (grant.workspace().get(), grant.key_id()),
                (n + 1, key(n).id())
            );
        }
        for n in 1000..3000 {
            assert!(ring.lookup(&key(n)).is_none());
        }
        for bit in 0..128 {
            let mut bytes = *key(5).as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let near = StreamingKey::from_bytes(bytes);
            let known = (0..1000).any(|n| key(n) == near);
            assert_eq!(ring.lookup(&near).is_some(), known, "bit {bit}");
        }
    }

    #[test]
    fn an_empty_ring_knows_no_key() {
        let ring = Keyring::new(Vec::new(), None);
        assert!(ring.is_empty());
        assert!(ring.lookup(&key(0)).is_none());
    }

    #[test]
    fn a_replaced_ring_is_seen_at_once_and_counting_goes_on() {
        let keys = Keys::new(Keyring::new(vec![spec(1, 1), spec(2, 2)], None));
        let mut replacements = keys.replacements();
        assert!(!replacements.has_changed().unwrap());
        keys.load().lookup(&key(2)).unwrap().usage().refused(5);
        let next = Keyring::new(vec![spec(2, 9)], Some(&keys.load()));
        keys.replace(next);
        assert!(replacements.has_changed().unwrap());
        replacements.mark_unchanged();
        let ring = keys.load();
        let before = Keyring::new(vec![spec(1, 1), spec(2, 2)], None);
        let difference = ring.difference(&before);
        assert_eq!((difference.added.len(), difference.removed.len()), (0, 1));
        assert_eq!(difference.moved[0].0.get(), 2);
        assert!(ring.difference(&ring).is_empty());
        assert!(ring.lookup(&key(1)).is_none());
        let moved = ring.lookup(&key(2)).unwrap();
        assert_eq!(moved.workspace().get(), 9);
        assert_eq!(moved.counted().refused, 5);
    }

    #[test]
    fn a_keyring_shows_no_key() {
        let ring = Keyring::new(vec![spec(0xabcd_ef01, 1)], None);
        assert_eq!(format!("{ring:?}"), "Keyring(1 keys)");
    }
}
