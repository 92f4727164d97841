//! What was asked of the memory, waited for, and reserved: given back when it is dropped, at whatever point.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::memory::{Class, Granted, Memory, State};
use crate::limits;
use crate::origin::SourceAddress;

/// Waits for what was asked for.
#[derive(Debug)]
#[must_use = "nothing is reserved before it resolves"]
pub struct Ask {
    /// There until it resolves.
    reservation: Option<Reservation>,
    /// `None`: the bytes are there.
    granted: Option<oneshot::Receiver<Granted>>,
}

impl Ask {
    pub(super) fn new(
        reservation: Reservation,
        granted: Option<oneshot::Receiver<Granted>>,
    ) -> Self {
        Self {
            reservation: Some(reservation),
            granted,
        }
    }

    /// What was asked for, if it is there already.
    pub fn now(mut self) -> Result<Reservation, Self> {
        if let Some(granted) = &mut self.granted
            && granted.try_recv().is_err()
        {
            return Err(self);
        }
        self.granted = None;
        self.reservation.take().ok_or(self)
    }
}

impl Future for Ask {
    type Output = Reservation;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reservation> {
        if let Some(granted) = &mut self.granted {
            // The sender is kept for as long as this waits.
            if Pin::new(granted).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.granted = None;
        }
        match self.reservation.take() {
            Some(reservation) => Poll::Ready(reservation),
            None => Poll::Pending,
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        let (Some(reservation), Some(_)) = (&mut self.reservation, &self.granted) else {
            return;
        };
        let mut state = reservation.memory.lock();
        let share = &mut state.shares[reservation.class as usize];
        if share.leave(reservation.source, reservation.id) {
            // Nothing is held; who stood behind it may fit where it did not.
            reservation.held = 0;
            state.tell();
        }
        // Else it was granted a moment ago: the reservation gives it back.
    }
}

/// Bytes that are reserved; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<Memory>,
    source: SourceAddress,
    class: Class,
    /// Its age: grows with the time of asking.
    id: u64,
    /// In the share that was asked.
    held: usize,
    /// Grown into, in the share of large things with a good key.
    grown: usize,
    /// Grown into, in the slot.
    slot: usize,
}

impl Reservation {
    /// So many bytes of a share, which are held, or will be once they are granted.
    pub(super) fn new(
        memory: &Arc<Memory>,
        source: SourceAddress,
        class: Class,
        id: u64,
        held: usize,
    ) -> Self {
        Self {
            memory: Arc::clone(memory),
            source,
            class,
            id,
            held,
            grown: 0,
            slot: 0,
        }
    }

    /// What is reserved.
    pub fn bytes(&self) -> usize {
        self.held + self.grown + self.slot
    }

    /// Reserves so many bytes in all, waiting for those that are missing. For bodies with a good key, which
    /// grow to [`limits::GROWTH_OF_BODIES`] times the largest body and no further. Time spent here is the
    /// server's, not the client's.
    pub async fn grow_to(&mut self, bytes: usize) {
        let memory = Arc::clone(&self.memory);
        let (more, granted) = {
            let mut state = memory.lock();
            let bytes = bytes.min(state.growth.slot_bytes());
            let more = bytes.saturating_sub(self.bytes());
            if more == 0 {
                return;
            }
            if self.grow_at_once(&mut state, more) {
                return;
            }
            let (token, granted) = oneshot::channel();
            state.growth.wait(self.id, more, (self.source, token));
            state.say(Class::KnownLarge);
            state.tell();
            (more, granted)
        };
        Growing {
            reservation: self,
            more,
            granted,
        }
        .await;
    }

    fn grow_at_once(&mut self, state: &mut State, more: usize) -> bool {
        if state.growth.is_owner(self.id) {
            self.slot += more;
            state.slot_held += more;
            return true;
        }
        if self.class == Class::KnownSmall && self.bytes() + more <= limits::SMALL_BYTES {
            let small = &mut state.shares[Class::KnownSmall as usize];
            if small.take(self.source, more) {
                self.held += more;
                return true;
            }
        }
        let large = &mut state.shares[Class::KnownLarge as usize];
        if state.growth.waiting() == 0 && large.has_room(more) {
            large.hold(self.source, more);
            self.grown += more;
            return true;
        }
        false
    }

    fn grew(&mut self, granted: Granted, more: usize) {
        match granted {
            Granted::Share => self.grown += more,
            Granted::Slot => self.slot += more,
        }
    }

    /// Gives back what is reserved beyond so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let mut less = self.bytes().saturating_sub(bytes);
        if less == 0 {
            return;
        }
        let mut take = |part: &mut usize| {
            let taken = less.min(*part);
            *part -= taken;
            less -= taken;
            taken
        };
        // The slot first: others may have nothing else to hope for.
        let slot = take(&mut self.slot);
        let grown = take(&mut self.grown);
        let held = take(&mut self.held);
        let memory = Arc::clone(&self.memory);
        let mut state = memory.lock();
        if slot > 0 {
            state.slot_held -= slot;
            if self.slot == 0 {
                state.growth.give_back(self.id);
            }
        }
        if grown > 0 {
            state.shares[Class::KnownLarge as usize].give_back(self.source, grown);
        }
        if held > 0 {
            state.shares[self.class as usize].give_back(self.source, held);
        }
        state.tell();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Waits to grow.
struct Growing<'a> {
    reservation: &'a mut Reservation,
    more: usize,
    granted: oneshot::Receiver<Granted>,
}

impl Future for Growing<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.granted).poll(cx) {
            Poll::Ready(Ok(granted)) => {
                let more = std::mem::take(&mut self.more);
                self.reservation.grew(granted, more);
                Poll::Ready(())
            }
            // The sender is kept for as long as this waits.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        if self.more == 0 {
            return;
        }
        let memory = Arc::clone(&self.reservation.memory);
        let mut state = memory.lock();
        if state.growth.leave(self.reservation.id) {
            state.tell();
            return;
        }
        drop(state);
        // Granted a moment ago: it is held, and given back with the rest.
        if let Ok(granted) = self.granted.try_recv() {
            self.reservation.grew(granted, self.more);
        }
    }
}

/// Bytes read ahead; given back when it is dropped.
#[derive(Debug)]
pub struct ReadAhead {
    memory: Arc<Memory>,
    bytes: usize,
}

impl ReadAhead {
    pub(super) fn new(memory: &Arc<Memory>, bytes: usize) -> Self {
        Self {
            memory: Arc::clone(memory),
            bytes,
        }
    }

    /// Gives back what is beyond so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.memory.give_back_ahead(less);
        self.bytes -= less;
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
