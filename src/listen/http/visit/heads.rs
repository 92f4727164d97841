//! What the heads of the requests of one connection take.

use hyper::HeaderMap;

use crate::ingest::admit::Reservation;
use crate::limits;
use crate::listen::http::fields::Fields;

/// What the heads of requests take.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub reservations: Vec<Reservation>,
    /// Of requests that are open.
    pub open: usize,
    /// HTTP/2: of heads that came whole, whose requests have not begun.
    pub whole: usize,
    /// Of the head that is coming.
    pub coming: usize,
    /// HTTP/2: a head was let through in this turn for which there was no room.
    pub over: bool,
}

impl Heads {
    pub fn room(&self) -> usize {
        let reserved: usize = self.reservations.iter().map(Reservation::bytes).sum();
        limits::UNRESERVED_BYTES + reserved
    }

    pub fn taken(&self) -> usize {
        self.open + self.whole + self.coming
    }

    pub fn give_back(&mut self) {
        if self.taken() == 0 {
            self.reservations.clear();
        }
    }
}

/// What the head of an HTTP/2 request takes, decoded.
pub(super) fn weight(headers: &HeaderMap) -> usize {
    let literals: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    of(headers.len(), literals)
}

/// What a head of HTTP/2 will take that has come so far.
pub(super) fn coming(fields: &Fields) -> usize {
    of(fields.count, fields.literal_bytes)
}

fn of(fields: usize, literal_bytes: usize) -> usize {
    // Huffman's code makes texts shorter by a third at most.
    limits::HTTP2_REQUEST_BYTES + fields * limits::HTTP2_FIELD_BYTES + 2 * literal_bytes
}
