//! Length-prefixed frames: `length: u32 big-endian, payload: [u8; length]`.

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// What stands at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole frame; the next one starts behind its payload.
    Complete {
        /// The payload, without its prefix.
        payload: &'a [u8],
        /// Bytes that the frame takes, prefix included.
        consumed: usize,
    },
    /// The frame goes on behind the end of the buffer.
    Incomplete {
        /// Bytes that the whole frame takes, as far as that is known: at least the prefix.
        needed: usize,
    },
    /// The stream cannot be followed any further.
    Malformed(FrameFault),
}

/// Why a length prefix is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// No Batch is empty.
    #[error("a frame of length 0; a frame carries one Batch")]
    Empty,
    /// The length is over the limit.
    #[error("a frame of {length} bytes; at most {max} are allowed")]
    TooLong {
        /// What the prefix says.
        length: u32,
        /// The limit.
        max: u32,
    },
}

/// Cuts the first frame of `buffer` without copying it. Lengths over `max_payload_bytes` are refused as
/// soon as the prefix is there, before anything is allocated for them.
#[inline]
pub fn next(buffer: &[u8], max_payload_bytes: u32) -> Frame<'_> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<PREFIX_BYTES>() else {
        return Frame::Incomplete {
            needed: PREFIX_BYTES,
        };
    };
    let length = u32::from_be_bytes(*prefix);
    if length == 0 {
        return Frame::Malformed(FrameFault::Empty);
    }
    if length > max_payload_bytes {
        return Frame::Malformed(FrameFault::TooLong {
            length,
            max: max_payload_bytes,
        });
    }
    let consumed = PREFIX_BYTES + length as usize;
    match rest.get(..length as usize) {
        Some(payload) => Frame::Complete { payload, consumed },
        None => Frame::Incomplete { needed: consumed },
    }
}

/// Fuzzing entry: cutting always makes progress, stays inside, and does not depend on how much arrived.
#[doc(hidden)]
pub fn fuzz_frames(data: &[u8]) {
    let max = 1000;
    let mut rest = data;
    loop {
        match next(rest, max) {
            Frame::Complete { payload, consumed } => {
                assert_eq!(payload.len() + PREFIX_BYTES, consumed);
                assert!(payload.len() <= max as usize);
                for cut in [0, 3, 4, consumed - 1] {
                    assert!(
                        matches!(next(&rest[..cut], max), Frame::Incomplete { needed } if needed > cut)
                    );
                }
                rest = &rest[consumed..];
            }
            Frame::Incomplete { needed } => {
                assert!(needed > rest.len() && needed <= PREFIX_BYTES + max as usize);
                return;
            }
            Frame::Malformed(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_of_zero_and_over_the_limit_are_malformed_at_the_fourth_byte() {
        assert_eq!(next(&[0, 0, 0], 10), Frame::Incomplete { needed: 4 });
        assert_eq!(next(&[0, 0, 0, 0], 10), Frame::Malformed(FrameFault::Empty));
        let too_long = |length| Frame::Malformed(FrameFault::TooLong { length, max: 10 });
        assert_eq!(next(&[0, 0, 0, 11], 10), too_long(11));
        assert_eq!(next(&[255; 4], 10), too_long(u32::MAX));
        assert_eq!(next(&[0, 0, 0, 10], 10), Frame::Incomplete { needed: 14 });
    }

    proptest! {
        #[test]
        fn frames_are_cut_wherever_the_stream_is_split(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10),
            split in any::<prop::sample::Index>(),
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend_from_slice(&(payload.len() as u32).to_be_bytes());
                stream.extend_from_slice(payload);
            }
            let split = split.index(stream.len() + 1);
            let mut found: Vec<Vec<u8>> = Vec::new();
            let mut at = 0;
            for end in [split, stream.len()] {
                while let Frame::Complete { payload, consumed } = next(&stream[at..end], 100) {
                    found.push(payload.to_vec());
                    at += consumed;
                }
            }
            prop_assert_eq!(found, payloads);
            prop_assert_eq!(at, stream.len());
        }

        #[test]
        fn arbitrary_bytes_are_cut_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_frames(&data);
        }
    }
}
