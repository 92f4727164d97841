//! What is cut out of one message, and what is kept of it.
//!
//! Where to cut is [`super::key`]'s business.

use std::fmt;
use std::ops::Range;

use data_encoding::HEXLOWER;

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
    // A key covers one byte of every 32, counted from anywhere: where none of those is a hex digit, no key is.
    let mut at = KEY_HEX_LEN - 1;
    while let Some(byte) = text.get(at) {
        at = if byte.is_ascii_hexdigit() {
            mask_digits_around(text, at, key)
        } else {
            at
        } + KEY_HEX_LEN;
    }
}

/// Overwrites the key in the hex digits around `at`; returns the last of them.
fn mask_digits_around(text: &mut [u8], at: usize, key: &StreamingKey) -> usize {
    let before = text[..at]
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_hexdigit());
    let start = at - before.count();
    let behind = text[at..].iter().take_while(|b| b.is_ascii_hexdigit());
    let end = at + behind.count();
    let mut hex = [0; KEY_HEX_LEN];
    HEXLOWER.encode_mut(key.as_bytes(), &mut hex);
    let mut word = start;
    while word + KEY_HEX_LEN <= end {
        let digits = &mut text[word..word + KEY_HEX_LEN];
        if digits.eq_ignore_ascii_case(&hex) {
            digits.fill(b'*');
            word += KEY_HEX_LEN;
        } else {
            word += 1;
        }
    }
    end - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_masked_wherever_it_stands_and_nothing_else_is() {
        let key = StreamingKey::from_bytes(
            *b"\x0a\x0a\xb2\xc3\xd4\xe5\xf6\x07\x18\x29\x3a\x4b\x5c\x6d\x7e\x0a",
        );
        let hex = key.reveal();
        for before in 0..70 {
            for around in ["0a", " ", "g"] {
                for written in [hex.clone(), hex.to_ascii_uppercase()] {
                    // Too few digits of it, then all, twice, the second behind more digits.
                    let pad = around.repeat(before);
                    let part = &hex[..KEY_HEX_LEN - 2];
                    let text = format!("{part} {pad}{written}{pad} {written}0a0a{written}");
                    let mut masked = text.clone().into_bytes();
                    mask(&mut masked, &key);
                    let stars = "*".repeat(KEY_HEX_LEN);
                    assert_eq!(
                        str::from_utf8(&masked),
                        Ok(&*text.replace(&written, &stars))
                    );
                }
            }
        }
    }
}
