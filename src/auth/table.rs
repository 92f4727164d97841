//! The hash table of a keyring: filled once, then only read.
//!
//! A lookup reads one line of the processor's cache, however many keys there are: the hash leads to a bucket
//! of 64 bytes that holds up to three keys themselves. All three are compared, in constant time and without
//! a branch, so that a miss takes what a hit takes and tells nothing about the keys. A bucket that is full
//! sends further keys to the next one: of two buckets for three keys that is one in fifteen.
//!
//! The buckets lie in large pages where the system has them: with a million keys, finding the page costs
//! more than reading from it.
//!
//! Why not `hashbrown::HashTable`: beside it, with the same hash and the same comparison, a hit among 1,000,000 keys
//! in random order takes 88 ns here and 138 there (medians of one run of `cargo bench --bench keyring`, 1.56 times),
//! and there a miss takes 34 ns, a quarter of a hit, which would tell who tries keys how far they got. Here a miss
//! takes 95 ns. With one key it is 18 ns here, 23 (hit) and 14 (miss) there.
//!
//! | bytes | of a bucket |
//! |---|---|
//! | 3 times 16 | keys |
//! | 3 times 4 | for each key its place and one more; 0: there is no key |
//! | 4 | 1: a key went to the next bucket |

use memmap2::{Advice, MmapMut};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::wire::key::StreamingKey;

const BUCKET_BYTES: usize = 64;
const KEY_BYTES: usize = 16;
const KEYS: usize = 3;

/// Where the marks of a bucket start, and behind them its overflow.
const MARKS: usize = KEYS * KEY_BYTES;
const OVERFLOW: usize = MARKS + KEYS * 4;

type Bucket = [u8; BUCKET_BYTES];

/// Keys and their places, by hash.
pub(super) struct Table {
    memory: Memory,
    buckets: usize,
    len: usize,
}

/// Zeros at first.
enum Memory {
    Mapped(MmapMut),
    /// Where no memory can be mapped.
    Allocated(Vec<u8>),
}

impl Table {
    /// A table for so many keys at most.
    pub fn for_keys(keys: usize) -> Self {
        // Two for three keys, and no fewer than all of them need.
        let buckets = (keys / 3 * 2 + keys % 3).max(1);
        Self {
            memory: Memory::zeros(buckets * BUCKET_BYTES),
            buckets,
            len: 0,
        }
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Puts a key into the table that is not there yet. Returns whether it had room.
    pub fn insert(&mut self, hash: u64, key: &StreamingKey, place: u32) -> bool {
        let Some(mark) = place.checked_add(1) else {
            return false;
        };
        let mut number = self.home(hash);
        for _ in 0..self.buckets {
            let bytes = &mut self.memory.bytes_mut()[number * BUCKET_BYTES..][..BUCKET_BYTES];
            let free = (0..KEYS).find(|&n| word(bytes, MARKS + n * 4) == 0);
            if let Some(n) = free {
                bytes[n * KEY_BYTES..][..KEY_BYTES].copy_from_slice(key.as_bytes());
                bytes[MARKS + n * 4..][..4].copy_from_slice(&mark.to_le_bytes());
                self.len += 1;
                return true;
            }
            bytes[OVERFLOW] = 1;
            number = self.behind(number);
        }
        false
    }

    /// The place of a key.
    #[inline]
    pub fn find(&self, hash: u64, key: &StreamingKey) -> Option<u32> {
        let wanted = halves(key.as_bytes());
        let mut number = self.home(hash);
        for _ in 0..self.buckets {
            let bucket = self.bucket(number);
            let mut mark = 0;
            for n in 0..KEYS {
                let here = halves(&bucket[n * KEY_BYTES..]);
                let same = here.0.ct_eq(&wanted.0) & here.1.ct_eq(&wanted.1);
                mark |= u32::conditional_select(&0, &word(bucket, MARKS + n * 4), same);
            }
            if let Some(place) = mark.checked_sub(1) {
                return Some(place);
            }
            if bucket[OVERFLOW] == 0 {
                return None;
            }
            number = self.behind(number);
        }
        None
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (StreamingKey, u32)> {
        let keys = (0..self.buckets).flat_map(|number| (0..KEYS).map(move |n| (number, n)));
        keys.filter_map(|(number, n)| {
            let bucket = self.bucket(number);
            let place = word(bucket, MARKS + n * 4).checked_sub(1)?;
            let mut key = [0; KEY_BYTES];
            key.copy_from_slice(&bucket[n * KEY_BYTES..][..KEY_BYTES]);
            Some((StreamingKey::from_bytes(key), place))
        })
    }

    /// Maps the hash evenly to a bucket, without a division.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.buckets as u128) >> 64) as usize
    }

    fn behind(&self, number: usize) -> usize {
        if number + 1 == self.buckets {
            0
        } else {
            number + 1
        }
    }

    fn bucket(&self, number: usize) -> &Bucket {
        let (buckets, _) = self.memory.bytes().as_chunks();
        &buckets[number]
    }
}

/// The key that `bytes` start with, as two numbers.
fn halves(bytes: &[u8]) -> (u64, u64) {
    let half = |at: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[at..at + 8]);
        u64::from_ne_bytes(half)
    };
    (half(0), half(8))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

impl Memory {
    fn zeros(bytes: usize) -> Self {
        match MmapMut::map_anon(bytes) {
            Ok(mapped) => {
                // Without large pages it works as well, only slower.
                let _ = mapped.advise(Advice::HugePage);
                Self::Mapped(mapped)
            }
            Err(_) => Self::Allocated(vec![0; bytes]),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => mapped,
            Self::Allocated(allocated) => allocated,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(mapped) => mapped,
            Self::Allocated(allocated) => allocated,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> StreamingKey {
        StreamingKey::from_bytes([n; KEY_BYTES])
    }

    #[test]
    fn a_key_of_zeros_is_not_found_where_there_is_none() {
        let mut table = Table::for_keys(2);
        assert_eq!(table.find(0, &key(0)), None);
        assert!(table.insert(0, &key(0), 7));
        assert_eq!(table.find(0, &key(0)), Some(7));
        assert_eq!(table.find(0, &key(1)), None);
    }

    #[test]
    fn a_table_whose_buckets_are_full_takes_no_more_and_a_miss_ends() {
        let mut table = Table::for_keys(3);
        for n in 0..3 {
            assert!(table.insert(u64::MAX, &key(n), u32::from(n)));
        }
        for n in 3..6 {
            assert!(table.insert(0, &key(n), u32::from(n)));
        }
        assert!(!table.insert(0, &key(9), 9));
        assert_eq!(table.len(), 6);
        for hash in [0, u64::MAX] {
            assert_eq!(table.find(hash, &key(9)), None);
        }
        let empty = Table::for_keys(0);
        assert_eq!(empty.find(1, &key(1)), None);
        assert_eq!(empty.iter().count(), 0);
    }

    proptest! {
        /// Few hashes, so that most keys collide.
        #[test]
        fn what_was_put_in_is_found_and_nothing_else(
            keys in prop::collection::hash_map(any::<u8>(), 0..8_u64, 0..200),
        ) {
            let hash = |n: u8| keys.get(&n).map_or(u64::from(n), |spread| spread << 61);
            let mut table = Table::for_keys(keys.len());
            for &n in keys.keys() {
                prop_assert!(table.insert(hash(n), &key(n), u32::from(n) * 3));
            }
            for n in 0..=255 {
                let expected = keys.contains_key(&n).then_some(u32::from(n) * 3);
                prop_assert_eq!(table.find(hash(n), &key(n)), expected);
            }
            let all: HashMap<_, _> = table.iter().collect();
            prop_assert_eq!(all.len(), keys.len());
        }
    }
}
