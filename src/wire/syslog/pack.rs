//! Many syslog messages as one journal payload.
//!
//! Each is `len:u32 little-endian` and then `len` bytes. The top bit of the length says that the message was
//! truncated; it is not part of the length. A length of all ones is none: the zone follows that times without one are
//! in, for the messages behind it. Before the first such, and in records of earlier versions, that is UTC.

use super::zone::Zone;

const TRUNCATED: u32 = 1 << 31;
const ZONE_FOLLOWS: u32 = u32::MAX;
const LEN_BYTES: usize = size_of::<u32>();

/// One message of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// The message, without its key.
    pub bytes: &'a [u8],
    /// It was longer than the limit at receipt.
    pub truncated: bool,
    /// Where its times without a zone are from.
    pub zone: Zone,
}

/// Why a payload cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The payload ends inside a length.
    #[error("packed syslog ends inside a length at byte {at}")]
    TornLength {
        /// Where the length starts.
        at: usize,
    },
    /// A zone is cut or of a later version.
    #[error("packed syslog has a time zone at byte {at} that this version cannot read")]
    Zone {
        /// Where it starts.
        at: usize,
    },
    /// The payload ends inside a message.
    #[error("packed syslog message at byte {at} is {len} bytes long, {left} are left")]
    TornMessage {
        /// Where its length starts.
        at: usize,
        /// What the length says.
        len: usize,
        /// What the payload has after it.
        left: usize,
    },
}

impl PackError {
    /// Where in the payload the message at fault starts.
    pub const fn at(&self) -> usize {
        match *self {
            Self::TornLength { at } | Self::Zone { at } | Self::TornMessage { at, .. } => at,
        }
    }
}

/// Appends the message that `write` appends, which must not touch what is in `out` already.
///
/// A message of 2 GiB or more, which no limit lets through, is cut there and marked.
pub fn push(out: &mut Vec<u8>, truncated: bool, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let message = start + LEN_BYTES;
    out.extend_from_slice(&[0; LEN_BYTES]);
    write(out);
    let len = u32::try_from(out.len().saturating_sub(message)).unwrap_or(u32::MAX);
    let word = if truncated || len >= TRUNCATED {
        len.min(TRUNCATED - 2) | TRUNCATED
    } else {
        len
    };
    out.truncate(message.saturating_add((word & !TRUNCATED) as usize));
    if let Some(place) = out.get_mut(start..message) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// How many U+FFFD a reader of a message sees for what is no UTF-8.
pub fn replacements(message: &[u8]) -> u64 {
    match str::from_utf8(message) {
        Ok(_) => 0,
        Err(_) => {
            let chunks = message.utf8_chunks();
            chunks.filter(|chunk| !chunk.invalid().is_empty()).count() as u64
        }
    }
}

/// Appends the zone of the messages that follow.
pub fn push_zone(out: &mut Vec<u8>, zone: &Zone) {
    out.extend_from_slice(&ZONE_FOLLOWS.to_le_bytes());
    zone.write(out);
}

/// The messages of a payload, in order. After an error nothing follows.
pub fn messages(payload: &[u8]) -> impl Iterator<Item = Result<Packed<'_>, PackError>> {
    let (mut at, mut zone) = (0, Zone::UTC);
    std::iter::from_fn(move || {
        if at >= payload.len() {
            return None;
        }
        let result = read(payload, &mut at, &mut zone);
        if result.as_ref().is_none_or(Result::is_err) {
            at = payload.len();
        }
        result
    })
}

/// Reads zones and then one message; `None` where no message follows.
fn read<'p>(
    payload: &'p [u8],
    at: &mut usize,
    zone: &mut Zone,
) -> Option<Result<Packed<'p>, PackError>> {
    loop {
        let start = *at;
        let bytes = payload.get(start..).filter(|bytes| !bytes.is_empty())?;
        let Some((word, rest)) = bytes.split_first_chunk::<LEN_BYTES>() else {
            return Some(Err(PackError::TornLength { at: start }));
        };
        let word = u32::from_le_bytes(*word);
        if word == ZONE_FOLLOWS {
            let Some((read, len)) = Zone::read(rest) else {
                return Some(Err(PackError::Zone { at: start }));
            };
            *zone = read;
            *at = start + LEN_BYTES + len;
            continue;
        }
        let len = (word & !TRUNCATED) as usize;
        let Some(bytes) = rest.get(..len) else {
            let left = rest.len();
            return Some(Err(PackError::TornMessage {
                at: start,
                len,
                left,
            }));
        };
        *at = start + LEN_BYTES + len;
        return Some(Ok(Packed {
            bytes,
            truncated: word & TRUNCATED != 0,
            zone: *zone,
        }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_damaged_payload_gives_what_is_whole_and_then_one_error() {
        let mut payload = Vec::new();
        push(&mut payload, false, |out| out.extend_from_slice(b"one"));
        push(&mut payload, true, |out| out.extend_from_slice(b"two"));
        payload.pop();
        let read: Vec<_> = messages(&payload).collect();
        assert_eq!(
            read,
            [
                Ok(Packed {
                    bytes: b"one",
                    truncated: false,
                    zone: Zone::UTC,
                }),
                Err(PackError::TornMessage {
                    at: 7,
                    len: 3,
                    left: 2
                }),
            ]
        );
        assert_eq!(
            messages(&payload[..9]).last(),
            Some(Err(PackError::TornLength { at: 7 }))
        );
    }

    #[test]
    fn a_zone_holds_for_the_messages_behind_it() {
        let zones = [Zone::new(3600, []), Zone::new(-1, [])];
        let mut payload = Vec::new();
        push(&mut payload, false, |out| out.extend_from_slice(b"a"));
        for (zone, message) in zones.iter().zip([b"b", b"c"]) {
            push_zone(&mut payload, zone);
            push(&mut payload, false, |out| out.extend_from_slice(message));
        }
        let read: Vec<Zone> = messages(&payload)
            .map(|packed| packed.unwrap().zone)
            .collect();
        assert_eq!(read, [Zone::UTC, zones[0], zones[1]]);
        // A zone that nothing follows, whole and cut.
        let before = payload.len();
        push_zone(&mut payload, &zones[0]);
        assert_eq!(messages(&payload).count(), 3);
        payload.pop();
        assert_eq!(
            messages(&payload).last(),
            Some(Err(PackError::Zone { at: before }))
        );
    }

    proptest! {
        #[test]
        fn replacements_are_those_of_a_lossy_reader(message in vec(any::<u8>(), 0..40)) {
            let of_its_own = message.windows(3).filter(|w| *w == "\u{fffd}".as_bytes()).count();
            let read = String::from_utf8_lossy(&message).matches('\u{fffd}').count();
            prop_assert_eq!(replacements(&message), (read - of_its_own) as u64);
        }

        #[test]
        fn what_was_packed_is_unpacked(packed in vec((vec(any::<u8>(), 0..40), any::<bool>()), 0..8)) {
            let mut payload = Vec::new();
            for (bytes, truncated) in &packed {
                push(&mut payload, *truncated, |out| out.extend_from_slice(bytes));
            }
            let unpacked: Result<Vec<_>, _> = messages(&payload)
                .map(|packed| packed.map(|packed| (packed.bytes.to_vec(), packed.truncated)))
                .collect();
            prop_assert_eq!(unpacked, Ok(packed));
        }

        #[test]
        fn arbitrary_bytes_are_read_to_their_end(payload in vec(any::<u8>(), 0..60)) {
            let read = messages(&payload).count();
            prop_assert!(read <= payload.len() / LEN_BYTES + 1);
        }
    }
}
