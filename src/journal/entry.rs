//! What is appended: a payload with its facts.

use super::format::{crc32c, crc32c_of_two};
use super::record::{Facts, Mark};

/// A payload to append, with its facts.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub(super) facts: Facts,
    pub(super) mark: Option<Mark>,
    pub(super) payload: &'a [u8],
    pub(super) payload_crc: u32,
}

impl<'a> Entry<'a> {
    /// Computes the payload's CRC, so that this work is done before the journal's lock is taken.
    pub fn new(facts: Facts, payload: &'a [u8]) -> Self {
        Self::marked(facts, None, payload)
    }

    /// The same of a payload that may come with the mark of its request.
    pub fn marked(facts: Facts, mark: Option<Mark>, payload: &'a [u8]) -> Self {
        let payload_crc = match mark {
            Some(mark) => crc32c_of_two(&mark.encode(), payload),
            None => crc32c(payload),
        };
        Self {
            facts,
            mark,
            payload,
            payload_crc,
        }
    }

    /// What stands behind the record header, bytes.
    pub(super) fn stored_len(&self) -> usize {
        let mark_len = if self.mark.is_some() { Mark::BYTES } else { 0 };
        mark_len + self.payload.len()
    }
}
