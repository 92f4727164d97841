//! Admission: what stands between a good key and the journal. Memory first, by source and by whether a key was
//! seen; what a key may take of the server comes here too.
//!
//! It is asked twice. Before bytes are kept, [`Memory`] is asked for room: by frames through
//! [`Memory::ask`], by HTTP through [`Ingest::admit_body`](super::Ingest::admit_body) when the head of a request
//! was read and before its body is. And before the append [`admit`] is asked for what the bytes turned out to
//! be: every append is counted by what was admitted for it.

mod bounds;
mod growth;
mod memory;
mod reservation;
mod share;

#[cfg(test)]
mod tests;

pub use bounds::Bounds;
pub use memory::{Memory, ShareReading, Standing};
pub use reservation::{Ask, ReadAhead, Reservation};

use crate::auth::usage::{LastUse, Usage};
use crate::limits;
use crate::meters;
use crate::origin::Source;

/// What is to be appended with one credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Frames, requests or groups of messages.
    pub frames: u64,
    /// Events, lines or messages in them.
    pub events: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// U+FFFD in them that stands for what is no Unicode.
    pub replaced: u64,
}

/// What was admitted, and is appended or refused next: counted then.
#[derive(Debug)]
#[must_use = "what was admitted is to be counted"]
pub(super) struct Admitted<'a> {
    usage: Option<&'a Usage>,
    cost: Cost,
}

/// Admits what was authenticated: counted for the key, or for no key where a listener stands in for it.
pub(super) fn admit(usage: Option<&Usage>, cost: Cost) -> Admitted<'_> {
    Admitted { usage, cost }
}

impl Admitted<'_> {
    /// It was appended.
    pub fn appended(self, source: Source, last: LastUse) {
        let Cost {
            frames,
            events,
            bytes,
            replaced,
        } = self.cost;
        if let Some(usage) = self.usage {
            usage.accepted(frames, events, bytes, last);
            usage.replaced(replaced);
        }
        meters::source(source).appended(frames, events, bytes, replaced);
    }

    /// The journal refused it.
    pub fn refused(self) {
        if let Some(usage) = self.usage {
            usage.refused(self.cost.frames);
        }
    }
}

/// What is known of the length of a body before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes: they are reserved whole.
    Announced(usize),
    /// None: a first step is reserved, and the reservation grows with the body.
    Unknown,
}

impl BodyLength {
    /// What is reserved at first.
    pub(super) fn first_bytes(self) -> usize {
        match self {
            Self::Announced(bytes) => bytes,
            Self::Unknown => limits::BODY_FIRST_BYTES,
        }
    }
}
