//! The head that comes next on a connection of HTTP/1, and the answer before it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::{State, Visit};
use crate::fault::Refusal;
use crate::ingest::admit::{Ask, Reservation};
use crate::limits;

/// Whether bytes are the first of a head.
pub(in crate::listen::http) struct IsFirst(pub bool);

/// What a head is that is not there in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listen::http) enum Late {
    /// Nothing of it came.
    Silent,
    /// A part of it came.
    InHead,
}

/// What the peer of an HTTP/1 connection is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listen::http) enum Progress {
    /// A request is being answered, or a head came in part: look again at this time.
    Busy(Instant),
    /// Nothing is under way but a part of a head, and was not for a while.
    Idle,
    /// The head of a request did not come to its end in time.
    HeadLate,
    /// The answers are not read.
    Unread,
}

impl Visit {
    /// How many bytes the next read may bring; 0: none before what `ask` is for then is there.
    pub fn may_read(&self, ask: &mut Option<Ask>) -> usize {
        let mut state = self.lock();
        let in_head = state.begun == state.ended && !state.unread;
        if state.wide && !in_head {
            return usize::MAX;
        }
        if !in_head || state.heads.coming > 0 {
            return limits::HTTP_READ_BYTES;
        }
        if state.head_bytes >= limits::HTTP_READ_BYTES {
            let asked = self.ask_for_head(&state);
            match asked.now() {
                Ok(reservation) => state.reserved_head(reservation),
                Err(asked) => {
                    state.waits_for_head = true;
                    *ask = Some(asked);
                    return 0;
                }
            }
        }
        // Up to here hyper's first buffer does.
        limits::HTTP_READ_BYTES
            .saturating_sub(state.head_bytes)
            .max(1)
    }

    /// The room for a large head is there. The time that it was waited for is not the peer's.
    pub fn reserved_head(&self, reservation: Reservation, waited: Duration) {
        let mut state = self.lock();
        state.waits_for_head = false;
        state.reserved_head(reservation);
        state.head_since = state.head_since.map(|since| since + waited);
    }

    /// Waits for the room for a large head.
    pub async fn room_for_head(&self) {
        let asked = {
            let mut state = self.lock();
            state.waits_for_head = true;
            self.ask_for_head(&state)
        };
        let since = Instant::now();
        let reservation = asked.await;
        self.reserved_head(reservation, since.elapsed());
    }

    /// Not step by step: who waits must not hold.
    fn ask_for_head(&self, state: &State) -> Ask {
        let memory = self.context.ingest.memory();
        memory.ask(self.source(), state.standing(), limits::HTTP_HEAD_BYTES)
    }

    /// Bytes came. If they belong to the head of a request, whether they are its first.
    pub fn received(&self, bytes: usize) -> Option<IsFirst> {
        let mut state = self.lock();
        let now = Instant::now();
        state.active_at = now;
        if state.begun > state.ended || state.unread || bytes == 0 {
            return None;
        }
        let is_first = IsFirst(state.head_bytes == 0);
        state.head_bytes += bytes;
        state.head_since.get_or_insert(now);
        Some(is_first)
    }

    /// Whether what is written now is hyper's own answer to what it could not read, and not one of ours.
    pub fn is_foreign_answer(&self) -> bool {
        let state = self.lock();
        state.begun == state.ended && !state.unsent
    }

    /// All that was written was taken by the socket.
    pub fn flushed(&self) {
        let mut state = self.lock();
        if state.unsent {
            state.unsent = false;
            state.active_at = Instant::now();
            state.wake();
        }
    }

    /// Resolves when the answer before was taken by the socket: of a peer that does not read, no more than one
    /// answer is kept.
    pub async fn last_answer_sent(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if !state.unsent {
                return Poll::Ready(());
            }
            state.wait(cx);
            Poll::Pending
        })
        .await;
    }

    /// So many bytes of the next head are there, and hyper has not seen them.
    pub fn head_so_far(&self, bytes: usize) {
        let mut state = self.lock();
        state.head_bytes = bytes;
        if bytes > 0 {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    /// How long the next head is waited for, and what it is if it is not there then.
    pub fn arrives_until(&self) -> (Instant, Late) {
        let state = self.lock();
        if state.waits_for_head {
            return (Instant::now() + limits::HTTP_IDLE_AFTER, Late::Silent);
        }
        let late = match state.head_since {
            Some(_) => Late::InHead,
            None => Late::Silent,
        };
        (state.began_head() + self.context.stall_timeout, late)
    }

    /// What is refused where a head does not come to its end.
    pub fn head_late(&self) -> Refusal {
        Refusal::HeadLate(self.context.stall_timeout.as_secs())
    }

    /// What the connection is doing.
    pub fn progress(&self, now: Instant) -> Progress {
        let state = self.lock();
        let stall = self.context.stall_timeout;
        let later = |since: Instant, limit: Duration, over: Progress| {
            let at = since + limit;
            if at <= now { over } else { Progress::Busy(at) }
        };
        if state.unsent {
            later(state.active_at, stall, Progress::Unread)
        } else if state.begun > state.ended || state.unread {
            Progress::Busy(now + stall)
        } else if state.waits_for_head {
            Progress::Busy(now + limits::HTTP_IDLE_AFTER)
        } else if state.heads.coming > 0 {
            later(state.began_head(), stall, Progress::HeadLate)
        } else {
            later(state.began_head(), limits::HTTP_IDLE_AFTER, Progress::Idle)
        }
    }
}

impl State {
    fn reserved_head(&mut self, reservation: Reservation) {
        self.heads.coming = reservation.bytes();
        self.heads.reservations.push(reservation);
    }

    /// When the next head began to come, or else when something was last sent or received.
    fn began_head(&self) -> Instant {
        self.head_since.unwrap_or(self.active_at)
    }
}
