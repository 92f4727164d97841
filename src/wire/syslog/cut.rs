//! What is cut out of one message, and what is kept of it.
//!
//! Where to cut is [`super::key`]'s business.

use std::fmt;
use std::ops::Range;

use super::mask::mask;
use crate::wire::key::StreamingKey;

/// Why the key of a message is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key in structured data is not 32 hex digits.
    #[error("malformed streaming key in structured data: expected key=\"<32 hex digits>\"")]
    Malformed,
    /// Two keys that differ.
    #[error("several streaming keys in one message that differ: expected one")]
    Conflicting,
    /// More keys than anyone has a reason to send.
    #[error("too many streaming keys in one message: expected one")]
    TooMany,
    /// The keyring does not know the key.
    #[error("unknown streaming key")]
    Unknown,
}

/// Places that may have to be cut in one message: a prefix, two in structured data, one in the text. A message
/// with more is refused.
pub(super) const MAX_CUTS: usize = 4;

/// A message without its key. Its `Debug` does not show the message.
pub struct Kept<'m> {
    pub(super) message: &'m [u8],
    pub(super) cuts: Cuts,
}

impl Kept<'_> {
    /// Appends what is kept to `out`, in one pass over the message. Keys that are `known` are masked wherever
    /// they stand in it (`mask.rs`).
    pub fn append_to(&self, out: &mut Vec<u8>, known: impl FnMut(&StreamingKey) -> bool) {
        let written = out.len();
        let mut at = 0;
        for cut in self.cuts.as_slice() {
            out.extend_from_slice(self.message.get(at..cut.range.start).unwrap_or_default());
            out.extend_from_slice(cut.put.as_bytes());
            at = cut.range.end;
        }
        out.extend_from_slice(self.message.get(at..).unwrap_or_default());
        // Afterwards: a cut may join the halves of a key.
        mask(&mut out[written..], known);
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
