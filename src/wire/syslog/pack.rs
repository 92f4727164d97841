//! Many syslog messages as one journal payload.
//!
//! Each is `len:u32 little-endian` and then `len` bytes. The top bit of the length says that the message was
//! truncated; it is not part of the length.

const TRUNCATED: u32 = 1 << 31;
const LEN_BYTES: usize = size_of::<u32>();

/// One message of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// The message, without its key.
    pub bytes: &'a [u8],
    /// It was longer than the limit at receipt.
    pub truncated: bool,
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
            Self::TornLength { at } | Self::TornMessage { at, .. } => at,
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
        len.min(TRUNCATED - 1) | TRUNCATED
    } else {
        len
    };
    out.truncate(message.saturating_add((word & !TRUNCATED) as usize));
    if let Some(place) = out.get_mut(start..message) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// The messages of a payload, in order. After an error nothing follows.
pub fn messages(payload: &[u8]) -> impl Iterator<Item = Result<Packed<'_>, PackError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        if start >= payload.len() {
            return None;
        }
        let result = read(payload, start);
        at = match &result {
            Ok(packed) => start + LEN_BYTES + packed.bytes.len(),
            Err(_) => payload.len(),
        };
        Some(result)
    })
}

fn read(payload: &[u8], at: usize) -> Result<Packed<'_>, PackError> {
    let (word, rest) = payload[at..]
        .split_first_chunk::<LEN_BYTES>()
        .ok_or(PackError::TornLength { at })?;
    let word = u32::from_le_bytes(*word);
    let len = (word & !TRUNCATED) as usize;
    let bytes = rest.get(..len).ok_or(PackError::TornMessage {
        at,
        len,
        left: rest.len(),
    })?;
    Ok(Packed {
        bytes,
        truncated: word & TRUNCATED != 0,
    })
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
                    truncated: false
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

    proptest! {
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
