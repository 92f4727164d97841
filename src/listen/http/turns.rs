//! Turns at work that takes long, to inflate a body or to check a large one: so many at a time, by turns of keys,
//! and within a key by turns of sources, so that nobody's work is in the way of more than one piece of another's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::origin::{KeyId, SourceAddress};

/// Who works, and who waits.
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// The keys that wait, the next first.
    keys: VecDeque<OfKey>,
}

#[derive(Debug)]
struct OfKey {
    key: KeyId,
    sources: VecDeque<OfSource>,
}

#[derive(Debug)]
struct OfSource {
    source: SourceAddress,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// A turn, which is over when this is dropped.
#[derive(Debug)]
pub struct Turn {
    /// `None`: it is somebody else's.
    turns: Option<Arc<Turns>>,
}

impl Turns {
    /// Turns for a server of so many threads: one thread is always left for what is short.
    pub fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: threads.saturating_sub(1).max(1),
                keys: VecDeque::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    pub async fn turn(self: &Arc<Self>, key: KeyId, source: SourceAddress) -> Turn {
        loop {
            let waiting = {
                let mut state = self.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return self.begun();
                }
                let (sender, receiver) = oneshot::channel();
                state.wait(key, source, sender);
                receiver
            };
            // The sender is kept until there is a turn for it.
            if let Ok(turn) = waiting.await {
                return turn;
            }
        }
    }

    fn begun(self: &Arc<Self>) -> Turn {
        Turn {
            turns: Some(Arc::clone(self)),
        }
    }
}

impl State {
    fn wait(&mut self, key: KeyId, source: SourceAddress, sender: oneshot::Sender<Turn>) {
        let of_key = match self.keys.iter().position(|of_key| of_key.key == key) {
            Some(at) => self.keys.get_mut(at),
            None => {
                let sources = VecDeque::new();
                self.keys.push_back(OfKey { key, sources });
                self.keys.back_mut()
            }
        };
        let Some(of_key) = of_key else { return };
        let sources = &mut of_key.sources;
        let of_source = match sources.iter().position(|s| s.source == source) {
            Some(at) => sources.get_mut(at),
            None => {
                let waiting = VecDeque::new();
                sources.push_back(OfSource { source, waiting });
                sources.back_mut()
            }
        };
        if let Some(of_source) = of_source {
            of_source.waiting.push_back(sender);
        }
    }

    /// The next that waits; its key and its source stand behind the others then.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let mut of_key = self.keys.pop_front()?;
        let mut of_source = of_key.sources.pop_front()?;
        let next = of_source.waiting.pop_front();
        if !of_source.waiting.is_empty() {
            of_key.sources.push_back(of_source);
        }
        if !of_key.sources.is_empty() {
            self.keys.push_back(of_key);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else {
            return;
        };
        loop {
            let mut state = turns.lock();
            let Some(next) = state.next() else {
                state.free += 1;
                return;
            };
            drop(state);
            match next.send(turns.begun()) {
                Ok(()) => return,
                // Who waited went away: the turn is the next one's.
                Err(mut back) => back.turns = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::key::StreamingKey;

    fn key(n: u8) -> KeyId {
        StreamingKey::from_bytes([n; 16]).id()
    }

    fn source(n: u8) -> SourceAddress {
        SourceAddress::of(Ipv4Addr::new(10, 0, 0, n).into())
    }

    /// Takes all turns there are, queues these, and returns the order in which they came.
    async fn order(waiting: &[(u8, u8)], gone: &[usize]) -> Vec<(u8, u8)> {
        let turns = Turns::new(1);
        let first = turns.turn(key(0), source(0)).await;
        let (done, mut came) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for &(of_key, of_source) in waiting {
            let (turns, done) = (Arc::clone(&turns), done.clone());
            tasks.push(tokio::spawn(async move {
                let _turn = turns.turn(key(of_key), source(of_source)).await;
                done.send((of_key, of_source)).unwrap();
            }));
            // It stands in the queue before the next one comes.
            tokio::task::yield_now().await;
        }
        for &gone in gone {
            tasks[gone].abort();
        }
        drop((first, done));
        let mut order = Vec::new();
        while let Some(next) = came.recv().await {
            order.push(next);
        }
        assert_eq!(turns.lock().free, 1);
        assert!(turns.lock().keys.is_empty());
        order
    }

    #[tokio::test]
    async fn keys_take_turns_and_within_a_key_its_sources() {
        let waiting = [(1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (2, 1), (3, 3)];
        let expected = [(1, 1), (2, 1), (3, 3), (1, 2), (2, 1), (1, 1), (1, 1)];
        assert_eq!(order(&waiting, &[]).await, expected);
    }

    #[tokio::test]
    async fn a_turn_passes_over_those_who_went_away() {
        let waiting = [(1, 1), (1, 2), (2, 1), (2, 1)];
        assert_eq!(order(&waiting, &[0, 2]).await, [(1, 2), (2, 1)]);
        assert_eq!(order(&waiting, &[0, 1, 2, 3]).await, []);
    }

    #[tokio::test]
    async fn one_thread_is_left_and_one_works_in_any_case() {
        for (threads, free) in [(1, 1), (2, 1), (8, 7)] {
            assert_eq!(Turns::new(threads).lock().free, free);
        }
    }
}
