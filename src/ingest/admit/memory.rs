//! Memory for what has arrived and is not whole yet: unfinished frames and HTTP bodies, over all connections.
//!
//! Whoever keeps such bytes reserves them here before the first one is kept. Anybody may announce 16 MiB, also
//! without a key, so what is not authenticated has shares of its own ([`bounds`](super::bounds)). Who finds no
//! room waits for it, by turns ([`share`](super::share)), and is not refused.
//!
//! | who | does |
//! |---|---|
//! | a frame, or a body of known length | [`Memory::ask`] for all of it before its first byte is kept, holding nothing else |
//! | a body of unknown length, or one that is inflated | asks for its first step, then [`Reservation::grow_to`] step by step |
//!
//! Futures may be dropped at any point: what was granted meanwhile is given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::bounds::{Bounds, Shares};
use super::growth::Growth;
use super::reservation::{Ask, ReadAhead, Reservation};
use super::share::{Share, Waiter};
use crate::limits;
use crate::origin::SourceAddress;

/// Whether a good key was seen of the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No.
    Stranger,
    /// Yes.
    Known,
}

/// The shares that are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    StrangersSmall,
    StrangersLarge,
    KnownSmall,
    KnownLarge,
}

impl Class {
    const ALL: [Self; 4] = [
        Self::StrangersSmall,
        Self::StrangersLarge,
        Self::KnownSmall,
        Self::KnownLarge,
    ];

    fn of(standing: Standing, bytes: usize) -> Self {
        match (standing, bytes <= limits::SMALL_BYTES) {
            (Standing::Stranger, true) => Self::StrangersSmall,
            (Standing::Stranger, false) => Self::StrangersLarge,
            (Standing::Known, true) => Self::KnownSmall,
            (Standing::Known, false) => Self::KnownLarge,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::StrangersSmall => "strangers_small",
            Self::StrangersLarge => "strangers_large",
            Self::KnownSmall => "known_small",
            Self::KnownLarge => "known_large",
        }
    }
}

/// A reading of one share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareReading {
    /// Its name, as metrics have it.
    pub name: &'static str,
    /// Its bound, bytes.
    pub bytes: usize,
    /// What is held of it.
    pub held_bytes: usize,
    /// How many wait for room in it.
    pub waiting: usize,
}

/// All shares, and those who wait.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    read_ahead: AtomicUsize,
    read_ahead_bytes: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub shares: [Share<oneshot::Sender<Granted>>; Class::ALL.len()],
    pub growth: Growth<(SourceAddress, oneshot::Sender<Granted>)>,
    pub slot_held: usize,
    next_id: u64,
    /// When the log last said that somebody waits.
    said: Option<Instant>,
}

/// Where what was waited for was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    Share,
    Slot,
}

impl Memory {
    /// Memory within these bounds.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self::of(bounds.shares()))
    }

    fn of(shares: Shares) -> Self {
        let Shares {
            strangers_small,
            strangers_small_per_source,
            strangers_large,
            strangers_large_per_source,
            known_small,
            known_large,
            read_ahead,
            growing,
        } = shares;
        Self {
            state: Mutex::new(State {
                shares: [
                    Share::new(strangers_small, strangers_small_per_source),
                    Share::new(strangers_large, strangers_large_per_source),
                    Share::new(known_small, known_small),
                    Share::new(known_large, known_large),
                ],
                growth: Growth::new(growing),
                slot_held: 0,
                next_id: 0,
                said: None,
            }),
            read_ahead: AtomicUsize::new(0),
            read_ahead_bytes: read_ahead,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for so many bytes, all at once; to be asked by one who holds nothing. Resolves when they are there,
    /// which may be at once.
    pub fn ask(self: &Arc<Self>, source: SourceAddress, standing: Standing, bytes: usize) -> Ask {
        let class = Class::of(standing, bytes);
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let share = &mut state.shares[class as usize];
        let bytes = share.most(bytes);
        let granted = if share.take(source, bytes) {
            None
        } else {
            let (token, granted) = oneshot::channel();
            share.wait(source, Waiter { id, bytes, token });
            state.say(class);
            Some(granted)
        };
        drop(state);
        Ask::new(Reservation::new(self, source, class, id, bytes), granted)
    }

    /// Room for bytes that a read may bring beyond what its connection may keep without asking; given back when
    /// it is dropped. `None`: read less. Never waited for.
    pub fn read_ahead(self: &Arc<Self>, bytes: usize) -> Option<ReadAhead> {
        let held = self.read_ahead.fetch_add(bytes, Ordering::Relaxed);
        // Dropped at once where it is too much.
        let ahead = ReadAhead::new(self, bytes);
        (held + bytes <= self.read_ahead_bytes).then_some(ahead)
    }

    pub(super) fn give_back_ahead(&self, bytes: usize) {
        self.read_ahead.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What is held of each share now, and how many wait.
    pub fn read(&self) -> [ShareReading; 6] {
        let state = self.lock();
        let of_class = |class: Class| {
            let share = &state.shares[class as usize];
            ShareReading {
                name: class.as_str(),
                bytes: share.bytes(),
                held_bytes: share.held(),
                waiting: share.waiting(),
            }
        };
        let [a, b, c, d] = Class::ALL.map(of_class);
        let read_ahead = ShareReading {
            name: "read_ahead",
            bytes: self.read_ahead_bytes,
            held_bytes: self.read_ahead.load(Ordering::Relaxed),
            waiting: 0,
        };
        let growing = ShareReading {
            name: "growing",
            bytes: state.growth.slot_bytes(),
            held_bytes: state.slot_held,
            waiting: state.growth.waiting(),
        };
        [a, b, c, d, read_ahead, growing]
    }
}

impl State {
    /// Tells all who can go on now. To be called after anything was given back, or anybody stopped waiting.
    pub fn tell(&mut self) {
        for share in &mut self.shares {
            while let Some(waiter) = share.next() {
                // Who went away meanwhile gives it back itself.
                let _ = waiter.token.send(Granted::Share);
            }
        }
        if let Some((bytes, (_, token))) = self.growth.next_owner() {
            self.slot_held += bytes;
            let _ = token.send(Granted::Slot);
        }
        let large = &mut self.shares[Class::KnownLarge as usize];
        while let Some((bytes, (source, token))) =
            self.growth.next_if(|bytes| large.has_room(bytes))
        {
            large.hold(source, bytes);
            let _ = token.send(Granted::Share);
        }
    }

    /// Says in the log, not too often, that somebody waits.
    pub fn say(&mut self, class: Class) {
        let now = Instant::now();
        if self
            .said
            .is_some_and(|said| now.duration_since(said) < limits::LOG_INTERVAL)
        {
            return;
        }
        self.said = Some(now);
        tracing::warn!(
            share = class.as_str(),
            "memory for unfinished frames and bodies is full: senders wait until others are done; max_in_flight_bytes bounds it"
        );
    }
}
