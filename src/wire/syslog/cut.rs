//! What is cut out of one message, and what is kept of it.
//!
//! Where to cut is [`super::key`]'s business.

use std::fmt;
use std::ops::Range;

use data_encoding::HEXLOWER;
use memchr::memchr2;

use super::key::KeyError;
use crate::auth::StreamingKey;
use crate::auth::key::KEY_HEX_LEN;

/// Places that may have to be cut in one message: a prefix, two in structured data, one in the text. A message
/// with more is refused.
pub(super) const MAX_CUTS: usize = 4;

/// A message without its key. Its `Debug` does not show the message.
pub struct Kept<'m> {
    pub(super) message: &'m [u8],
    pub(super) cuts: Cuts,
    /// The key it came with, if any.
    pub(super) key: Option<StreamingKey>,
}

impl Kept<'_> {
    /// The same for a message that counts by the key of its connection: that key is masked in its text.
    #[must_use]
    pub fn of_connection(mut self, key: StreamingKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Appends what is kept to `out`, in one pass over the message.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let written = out.len();
        let mut at = 0;
        for cut in self.cuts.as_slice() {
            out.extend_from_slice(self.message.get(at..cut.range.start).unwrap_or_default());
            out.extend_from_slice(cut.put.as_bytes());
            at = cut.range.end;
        }
        out.extend_from_slice(self.message.get(at..).unwrap_or_default());
        if let Some(key) = &self.key {
            mask(&mut out[written..], key);
        }
    }

    /// Nothing is kept: the message was a key alone.
    pub fn is_empty(&self) -> bool {
        let cut: usize = self.cuts.as_slice().iter().map(|cut| cut.range.len()).sum();
        cut == self.message.len()
    }
}

impl fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

/// One place to be cut, and what is put there.
#[derive(Clone, Default)]
pub(super) struct Cut {
    pub(super) range: Range<usize>,
    pub(super) put: Put,
}

impl Cut {
    pub(super) const fn remove(range: Range<usize>) -> Self {
        Self {
            range,
            put: Put::Nothing,
        }
    }
}

#[derive(Clone, Copy, Default)]
pub(super) enum Put {
    #[default]
    Nothing,
    /// For STRUCTURED-DATA of which nothing is left.
    NilValue,
    /// For a key that was the name of an SD-ID.
    Tell,
}

impl Put {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Nothing => b"",
            Self::NilValue => b"-",
            Self::Tell => b"tell",
        }
    }
}

/// Cuts in order of their place, in a bounded space of their own.
#[derive(Default)]
pub(super) struct Cuts {
    places: [Cut; MAX_CUTS],
    len: usize,
}

impl Cuts {
    pub(super) fn push(&mut self, cut: Cut) -> Result<(), KeyError> {
        let place = self.places.get_mut(self.len).ok_or(KeyError::TooMany)?;
        *place = cut;
        self.len += 1;
        Ok(())
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Takes back what was pushed after there were `len` cuts.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn as_slice(&self) -> &[Cut] {
        &self.places[..self.len]
    }
}

/// Overwrites the key wherever it is written out in hex, in either case.
fn mask(text: &mut [u8], key: &StreamingKey) {
    let mut hex = [0; KEY_HEX_LEN];
    HEXLOWER.encode_mut(key.as_bytes(), &mut hex);
    let [first, ..] = hex;
    let mut at = 0;
    while let Some(found) = memchr2(first, first.to_ascii_uppercase(), &text[at..]) {
        at += found;
        match text.get_mut(at..at + KEY_HEX_LEN) {
            Some(word) if word.eq_ignore_ascii_case(&hex) => word.fill(b'*'),
            _ => {}
        }
        at += 1;
    }
}
