//! The memory against a plain model: never above a bound, no lost wake-up, nobody passed over for ever, and
//! everything given back.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::share::{Share, Waiter};
use super::*;
use crate::origin::SourceAddress;

const KIB: usize = 1 << 10;

fn source(n: u8) -> SourceAddress {
    SourceAddress::of([10, 0, 0, n].into())
}

/// Shares of which the large ones hold 1 MiB and more.
fn memory() -> Arc<Memory> {
    Memory::new(Bounds {
        total_bytes: 8 << 20,
        frame_bytes: 1 << 20,
        body_bytes: 512 * KIB,
    })
}

fn held(memory: &Memory, name: &str) -> usize {
    reading(memory, name).held_bytes
}

fn reading(memory: &Memory, name: &str) -> ShareReading {
    let all = memory.read();
    *all.iter().find(|share| share.name == name).unwrap()
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn now(ask: Ask) -> Reservation {
    ask.now().expect("there is room")
}

/// Reserves all that the share of large things with a good key holds.
fn fill_known_large(memory: &Arc<Memory>) -> Vec<Reservation> {
    let mut all = Vec::new();
    while let Ok(reservation) = memory.ask(source(99), Standing::Known, 65 * KIB).now() {
        all.push(reservation);
    }
    all
}

#[test]
fn one_source_of_strangers_leaves_room_for_others_and_for_those_with_a_good_key() {
    let memory = memory();
    let mut flood: Vec<Ask> = (0..8)
        .map(|_| memory.ask(source(1), Standing::Stranger, 1 << 20))
        .collect();
    let first = now(flood.remove(0));
    assert!(reading(&memory, "strangers_large").waiting == 7);
    // Small frames of strangers, and everything with a good key, do not stand behind it.
    let _small = now(memory.ask(source(1), Standing::Stranger, 10 * KIB));
    let _good = now(memory.ask(source(1), Standing::Known, 1 << 20));
    // Another stranger comes before the seven that wait already.
    let other = memory
        .ask(source(2), Standing::Stranger, 1 << 20)
        .now()
        .unwrap_err();
    drop(first);
    drop(now(other));
    now(flood.remove(0));
}

#[test]
fn small_frames_with_a_good_key_do_not_stand_behind_large_ones() {
    let memory = memory();
    let _large = fill_known_large(&memory);
    let _waits = memory
        .ask(source(1), Standing::Known, 1 << 20)
        .now()
        .unwrap_err();
    let _small = now(memory.ask(source(1), Standing::Known, 64 * KIB));
}

#[test]
fn who_stops_waiting_lets_those_behind_go_on_and_holds_nothing() {
    let memory = memory();
    let mut large = fill_known_large(&memory);
    let too_large_for_now = memory
        .ask(source(1), Standing::Known, 1 << 20)
        .now()
        .unwrap_err();
    let behind = memory
        .ask(source(2), Standing::Known, 65 * KIB)
        .now()
        .unwrap_err();
    large.pop();
    let behind = behind.now().unwrap_err();
    drop(too_large_for_now);
    drop(now(behind));
    // One that was granted while nobody looked gives it back as well.
    let granted = memory
        .ask(source(3), Standing::Known, 1 << 20)
        .now()
        .unwrap_err();
    drop(large);
    assert_eq!(held(&memory, "known_large"), 1 << 20);
    drop(granted);
    assert_eq!(held(&memory, "known_large"), 0);
}

#[test]
fn the_oldest_body_grows_when_nothing_else_is_free_and_the_next_one_after_it() {
    let memory = memory();
    let mut first = now(memory.ask(source(1), Standing::Known, 64 * KIB));
    let mut second = now(memory.ask(source(2), Standing::Known, 64 * KIB));
    let large = fill_known_large(&memory);
    assert!(
        poll(pin!(second.grow_to(900 * KIB))).is_ready(),
        "the slot was free"
    );
    {
        let mut older = pin!(first.grow_to(900 * KIB));
        assert!(poll(older.as_mut()).is_pending(), "the slot is taken");
        drop(second);
        assert!(poll(older.as_mut()).is_ready());
    }
    assert_eq!(first.bytes(), 900 * KIB);
    assert_eq!(held(&memory, "growing"), 836 * KIB);
    assert!(
        poll(pin!(first.grow_to(1 << 20))).is_ready(),
        "the owner never waits"
    );
    first.shrink_to(100 * KIB);
    assert_eq!(held(&memory, "growing"), 36 * KIB);
    drop((first, large));
    assert!(memory.read().iter().all(|share| share.held_bytes == 0));
}

#[test]
fn a_body_that_stops_waiting_to_grow_keeps_what_it_has() {
    let memory = memory();
    let mut owner = now(memory.ask(source(1), Standing::Known, 64 * KIB));
    let mut other = now(memory.ask(source(2), Standing::Known, 64 * KIB));
    let large = fill_known_large(&memory);
    assert!(poll(pin!(owner.grow_to(200 * KIB))).is_ready());
    assert!(poll(pin!(other.grow_to(200 * KIB))).is_pending());
    assert_eq!(other.bytes(), 64 * KIB);
    assert_eq!(reading(&memory, "growing").waiting, 0);
    {
        // Granted, and dropped before it was looked at.
        let mut growing = pin!(other.grow_to(200 * KIB));
        assert!(poll(growing.as_mut()).is_pending());
        drop(owner);
    }
    assert_eq!(other.bytes(), 200 * KIB);
    drop((other, large));
    assert!(memory.read().iter().all(|share| share.held_bytes == 0));
}

#[test]
fn reading_ahead_is_never_waited_for_and_stays_within_its_share() {
    let memory = memory();
    let bound = reading(&memory, "read_ahead").bytes;
    let mut all = memory.read_ahead(bound).unwrap();
    assert!(memory.read_ahead(1).is_none());
    all.shrink_to(bound - 10);
    let ten = memory.read_ahead(10);
    assert!(ten.is_some() && memory.read_ahead(1).is_none());
    drop((all, ten));
    assert_eq!(held(&memory, "read_ahead"), 0);
}

#[test]
fn every_share_wakes_the_task_that_waits() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let memory = memory();
        let mut tasks = Vec::new();
        for n in 0..200_u8 {
            let memory = Arc::clone(&memory);
            tasks.push(tokio::spawn(async move {
                for round in 0..20 {
                    let standing = [Standing::Stranger, Standing::Known][usize::from(n % 2)];
                    let bytes = [KIB, 60 * KIB, 300 * KIB, 1 << 20][usize::from(n / 2) % 4];
                    let mut reservation = memory.ask(source(n % 7), standing, bytes).await;
                    if standing == Standing::Known && round % 2 == 0 {
                        reservation.grow_to(bytes + 300 * KIB).await;
                    }
                    tokio::task::yield_now().await;
                }
            }));
        }
        for task in tasks {
            let done = tokio::time::timeout(std::time::Duration::from_secs(60), task).await;
            done.expect("somebody waits for ever").unwrap();
        }
        for share in memory.read() {
            assert_eq!((share.held_bytes, share.waiting), (0, 0), "{share:?}");
        }
    });
}

/// What is done to a share.
#[derive(Clone, Debug)]
enum Step {
    Ask {
        source: u8,
        bytes: usize,
    },
    /// The n-th that holds gives all back.
    GiveBack(prop::sample::Index),
    /// The n-th that waits goes away.
    Leave(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, 1usize..=40).prop_map(|(source, bytes)| Step::Ask { source, bytes }),
        3 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
    ]
}

proptest! {
    #[test]
    fn a_share_does_what_the_plain_model_does(
        steps in prop::collection::vec(step(), 0..120),
        per_source in 40usize..=100,
    ) {
        let mut share: Share<()> = Share::new(100, per_source);
        let mut model = Model { bytes: 100, per_source, ..Model::default() };
        for (id, step) in (0..).zip(steps) {
            match step {
                Step::Ask { source: n, bytes } => {
                    let taken = share.take(source(n), bytes);
                    prop_assert_eq!(taken, model.ask(id, n, bytes));
                    if !taken {
                        share.wait(source(n), Waiter { id, bytes, token: () });
                    }
                }
                Step::GiveBack(at) if !model.holding.is_empty() => {
                    let (_, n, bytes) = model.holding.remove(at.index(model.holding.len()));
                    share.give_back(source(n), bytes);
                }
                Step::Leave(at) if !model.waiting.is_empty() => {
                    let (id, n, _) = model.waiting.remove(at.index(model.waiting.len()));
                    prop_assert!(share.leave(source(n), id));
                    prop_assert!(!share.leave(source(n), id));
                }
                Step::GiveBack(_) | Step::Leave(_) => {}
            }
            while let Some(waiter) = share.next() {
                prop_assert!(model.grant(waiter.id), "the share passes somebody over");
            }
            share.check();
            prop_assert_eq!(share.held(), model.held());
            prop_assert_eq!(share.waiting(), model.waiting.len());
        }
        // Nobody waits for ever: when all who hold give back, again and again, everybody gets in.
        while !(model.holding.is_empty() && model.waiting.is_empty()) {
            prop_assert!(!model.holding.is_empty(), "everybody waits");
            for (_, n, bytes) in std::mem::take(&mut model.holding) {
                share.give_back(source(n), bytes);
            }
            while let Some(waiter) = share.next() {
                prop_assert!(model.grant(waiter.id));
            }
            share.check();
        }
        prop_assert_eq!((share.held(), share.waiting()), (0, 0));
    }
}

/// What a share is to do, in lists: each is `(id, source, bytes)`.
#[derive(Debug, Default)]
struct Model {
    bytes: usize,
    per_source: usize,
    holding: Vec<(u64, u8, usize)>,
    waiting: Vec<(u64, u8, usize)>,
    /// How many grants each source got while this one, the first of another source, could have had its turn.
    passed: HashMap<(u64, u8), usize>,
}

impl Model {
    fn held(&self) -> usize {
        self.holding.iter().map(|(_, _, bytes)| bytes).sum()
    }

    fn held_by(&self, source: u8) -> usize {
        let of = |(_, n, bytes): &(u64, u8, usize)| if *n == source { *bytes } else { 0 };
        self.holding.iter().map(of).sum()
    }

    /// Whether a source could have this much more, as far as it is for itself.
    fn may(&self, source: u8, bytes: usize) -> bool {
        self.held_by(source) + bytes <= self.per_source
    }

    /// The first of each source that waits.
    fn firsts(&self) -> Vec<(u64, u8, usize)> {
        let mut firsts: Vec<(u64, u8, usize)> = Vec::new();
        for waiting in &self.waiting {
            if firsts.iter().all(|first| first.1 != waiting.1) {
                firsts.push(*waiting);
            }
        }
        firsts
    }

    fn ask(&mut self, id: u64, source: u8, bytes: usize) -> bool {
        let nobody_in_front = self
            .firsts()
            .iter()
            .all(|&(_, n, bytes)| n != source && !self.may(n, bytes));
        if nobody_in_front && self.held() + bytes <= self.bytes && self.may(source, bytes) {
            self.holding.push((id, source, bytes));
            return true;
        }
        self.waiting.push((id, source, bytes));
        false
    }

    /// Whether this one may go on now: the first of its source, within both bounds, and no other source waited
    /// while this one got more than one turn.
    fn grant(&mut self, id: u64) -> bool {
        let Some(&(_, n, bytes)) = self.firsts().iter().find(|first| first.0 == id) else {
            return false;
        };
        let mut fair = true;
        for (other, of, bytes) in self.firsts() {
            if of != n && self.may(of, bytes) {
                let passed = self.passed.entry((other, n)).or_default();
                *passed += 1;
                fair &= *passed <= 1;
            }
        }
        let fits = self.held() + bytes <= self.bytes && self.may(n, bytes);
        self.waiting.retain(|waiting| waiting.0 != id);
        self.holding.push((id, n, bytes));
        fair && fits
    }
}
