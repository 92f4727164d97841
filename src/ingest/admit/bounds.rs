//! How the memory for what is not whole yet is shared out.
//!
//! | share | of `max_in_flight_bytes` | whose |
//! |---|---|---|
//! | strangers, small | 1/32 | frames up to 64 KiB whose key was not seen; each source a quarter of it |
//! | strangers, large | 1/8, one frame at least | larger ones; each source half of it, one frame at least |
//! | known, small | 1/16 | frames and bodies up to 64 KiB with a good key |
//! | known, large | the rest | larger ones |
//! | read ahead | 1/32 | what was read of frames that wait for their room |
//! | growing | twice `max_body_size` | the body of unknown length that has grown longest |
//!
//! What one connection may hold besides, without asking: [`limits::UNRESERVED_BYTES`].

use crate::limits::{self, SMALL_BYTES};

/// The settings that the shares follow from.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `max_in_flight_bytes`.
    pub total_bytes: usize,
    /// The largest frame with its prefix.
    pub frame_bytes: usize,
    /// The largest body.
    pub body_bytes: usize,
}

/// The shares. Where `total_bytes` is at least [`limits::least_in_flight_bytes`] they are no more together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub strangers_small: usize,
    pub strangers_small_per_source: usize,
    pub strangers_large: usize,
    pub strangers_large_per_source: usize,
    pub known_small: usize,
    pub known_large: usize,
    pub read_ahead: usize,
    pub growing: usize,
}

impl Bounds {
    pub(super) fn shares(self) -> Shares {
        let Self {
            total_bytes: total,
            frame_bytes: frame,
            body_bytes: body,
        } = self;
        // A message of syslog is never more than small, whatever the largest frame is.
        let strangers_small = (total / 32).max(SMALL_BYTES);
        let strangers_large = (total / 8).max(frame);
        let known_small = (total / 16).max(SMALL_BYTES);
        let read_ahead = total / 32;
        let growing = limits::GROWTH_OF_BODIES * body;
        let others = strangers_small + strangers_large + known_small + read_ahead + growing;
        Shares {
            strangers_small,
            strangers_small_per_source: (strangers_small / 4).max(SMALL_BYTES),
            strangers_large,
            strangers_large_per_source: (strangers_large / 2).max(frame),
            known_small,
            known_large: total.saturating_sub(others).max(frame).max(growing),
            read_ahead,
            growing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(shares: Shares) -> usize {
        shares.strangers_small
            + shares.strangers_large
            + shares.known_small
            + shares.known_large
            + shares.read_ahead
            + shares.growing
    }

    #[test]
    fn with_default_settings_several_large_frames_fit_at_once() {
        let frame = (16 << 20) + 4;
        let shares = Bounds {
            total_bytes: 128 << 20,
            frame_bytes: frame,
            body_bytes: 10 << 20,
        }
        .shares();
        assert_eq!(total(shares), 128 << 20);
        assert_eq!(shares.known_large / frame, 4);
        assert_eq!(shares.strangers_large / frame, 1);
    }

    proptest! {
        #[test]
        fn the_shares_are_no_more_than_the_whole_and_hold_the_largest_of_everything(
            frame in 1usize..32 << 20,
            body in 1usize..256 << 20,
            more in 0usize..1 << 30,
        ) {
            let total_bytes = limits::least_in_flight_bytes(frame, body) + more;
            let shares = Bounds { total_bytes, frame_bytes: frame, body_bytes: body }.shares();
            prop_assert!(total(shares) <= total_bytes);
            prop_assert!(shares.strangers_large_per_source >= frame);
            prop_assert!(shares.strangers_small_per_source >= SMALL_BYTES);
            prop_assert!(shares.known_large >= frame.max(2 * body));
        }
    }
}
