//! What the requests of one connection share: how many there are, what their heads hold, whose key was good.
//!
//! | what | bound |
//! |---|---|
//! | heads of requests, unfinished and finished | [`limits::UNRESERVED_BYTES`] without asking; then reserved |
//! | requests open at once on a connection without a good key so far | [`limits::STRANGER_REQUESTS`] |
//! | bodies that it may send while one of these is open | [`limits::STRANGER_BODY_BYTES`] |
//! | answers that the peer does not read | one on HTTP/1, one a stream on HTTP/2 |

mod heads;
pub(in crate::listen::http) mod one;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use hyper::body::{Body, Incoming};
use hyper::{Request, Version};
use tokio::time::Instant;

use heads::{Heads, coming, weight};

use super::fields::Fields;
use crate::fault::Refusal;
use crate::ingest::admit::{Ask, Reservation, Standing};
use crate::limits;
use crate::listen::ListenerContext;
use crate::origin::SourceAddress;
use crate::wire::key::StreamingKey;

/// One connection.
#[derive(Debug)]
pub(super) struct Visit {
    pub context: ListenerContext,
    pub peer: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The key of the last request, for closing the connection when it is revoked.
    last_key: Option<StreamingKey>,
    /// Requests that came.
    begun: u64,
    /// Requests whose answer was sent, or given up.
    ended: u64,
    /// Requests whose answer waits to be sent.
    answered: u64,
    /// Whether the last request has a body that was not read to its end.
    unread: bool,
    /// HTTP/1: an answer stands in the buffer that the peer has not taken yet.
    unsent: bool,
    /// HTTP/1: a body with room reserved for it is being read, so that reads may be large.
    wide: bool,
    /// HTTP/1: bytes of the next head that came, and when the first of them did.
    head_bytes: usize,
    head_since: Option<Instant>,
    /// HTTP/1: whether it waits for room.
    waits_for_head: bool,
    /// When something was last sent or received.
    active_at: Instant,
    heads: Heads,
    /// HTTP/2: bytes of bodies that came since no request was open, without a good key.
    stranger_bytes: usize,
    /// HTTP/2: requests that wait for room before their bodies are read.
    waiting: usize,
    /// Who waits for any of this to change.
    wakers: Vec<Waker>,
}

impl Visit {
    pub fn new(context: ListenerContext, peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            context,
            peer,
            state: Mutex::new(State {
                last_key: None,
                begun: 0,
                ended: 0,
                answered: 0,
                unread: false,
                unsent: false,
                wide: false,
                head_bytes: 0,
                head_since: None,
                waits_for_head: false,
                active_at: Instant::now(),
                heads: Heads::default(),
                stranger_bytes: 0,
                waiting: 0,
                wakers: Vec::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request has a good key.
    pub fn authenticated(&self, key: StreamingKey) {
        let mut state = self.lock();
        state.last_key = Some(key);
        state.wake();
    }

    /// The body of the request with this number was read to its end.
    pub fn body_read(&self, number: u64) {
        let mut state = self.lock();
        // The next one may have begun.
        if state.begun == number {
            state.unread = false;
            state.wide = false;
        }
    }

    /// There is room for what large reads bring.
    pub fn read_wide(&self) {
        self.lock().wide = true;
    }

    /// Whether the body of the last request was left unread.
    pub fn is_unread(&self) -> bool {
        self.lock().unread
    }

    /// Whether its last good key is none any more.
    pub fn is_revoked(&self) -> bool {
        let key = self.lock().last_key;
        key.is_some_and(|key| !self.context.ingest.knows(&key))
    }

    /// How many requests came, and whether any is not answered yet.
    pub fn requests(&self) -> (u64, bool) {
        let state = self.lock();
        (state.begun, state.ended < state.begun)
    }

    /// Whether requests are open, and all of them wait for the peer to read their answers.
    pub fn waits_for_reader(&self) -> bool {
        let state = self.lock();
        state.begun > state.ended && state.answered >= state.begun - state.ended
    }

    /// A request came. To be called before anything else is done with it.
    pub fn begin(self: &Arc<Self>, request: &Request<Incoming>) -> Open {
        let mut state = self.lock();
        state.begun += 1;
        state.unread = !request.body().is_end_stream();
        let is_http2 = request.version() == Version::HTTP_2;
        let head = if is_http2 {
            let head = weight(request.headers()).min(state.heads.whole);
            state.heads.whole -= head;
            head
        } else {
            // All that came is in hyper's buffer, whatever the request makes of it.
            std::mem::take(&mut state.heads.coming)
        };
        let number = state.begun;
        state.heads.open += head;
        state.head_bytes = 0;
        state.head_since = None;
        let is_over = state.heads.open > state.heads.room();
        drop(state);
        Open {
            visit: Arc::clone(self),
            number,
            is_http2,
            head,
            answered: false,
            is_over,
        }
    }

    /// An HTTP/2 request waits for room. Until the guard is dropped no more bodies are let through, which would
    /// be kept unread. `None`: other requests are open, which may need theirs to get to their end; it must not
    /// wait.
    pub fn wait_for_room(&self) -> Option<WaitsForRoom<'_>> {
        let mut state = self.lock();
        if state.begun - state.ended > 1 {
            return None;
        }
        state.waiting += 1;
        Some(WaitsForRoom(self))
    }

    fn source(&self) -> SourceAddress {
        SourceAddress::of(self.peer.ip())
    }
}

/// A request that waits for room.
pub(super) struct WaitsForRoom<'a>(&'a Visit);

impl Drop for WaitsForRoom<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.waiting -= 1;
        state.wake();
    }
}

/// HTTP/2.
impl Visit {
    /// What came was no head of HTTP/1.
    pub fn begin_two(&self) {
        let mut state = self.lock();
        state.head_bytes = 0;
        state.head_since = None;
    }

    /// The connection is polled: all heads that were let through before have begun, or were refused.
    pub fn turn(&self) {
        let mut state = self.lock();
        if state.heads.whole > 0 || state.heads.over {
            state.heads.whole = 0;
            state.heads.over = false;
            state.heads.give_back();
        }
    }

    /// Whether one more request may begin.
    pub fn may_begin(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        if state.last_key.is_none() && state.begun - state.ended >= limits::STRANGER_REQUESTS {
            state.wait(cx);
            return false;
        }
        true
    }

    /// Whether the head that is coming may have grown to this. If not, `ask` says when it may, or the waker is
    /// woken.
    pub fn may_grow(
        &self,
        fields: &Fields,
        ends: bool,
        ask: &mut Option<Ask>,
        cx: &Context<'_>,
    ) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.heads.coming, coming(fields));
        let missing = state.heads.taken().saturating_sub(state.heads.room());
        if missing > 0 {
            let standing = state.standing();
            let step = match standing {
                Standing::Stranger => limits::SMALL_BYTES,
                Standing::Known => limits::HTTP2_HEADS_STEP_BYTES,
            };
            let memory = self.context.ingest.memory();
            let asked = memory.ask(self.source(), standing, missing.max(step));
            let is_open = state.begun > state.ended;
            match asked.now() {
                Ok(reservation) => state.heads.reservations.push(reservation),
                // Those that are open may need what comes behind this one: it is let through, one a turn, and
                // answered that there is no room.
                Err(_) if standing == Standing::Known && is_open && !state.heads.over => {
                    state.heads.over = true;
                }
                Err(asked) => {
                    state.heads.coming = before;
                    if standing == Standing::Known && is_open {
                        cx.waker().wake_by_ref();
                    } else {
                        *ask = Some(asked);
                    }
                    return false;
                }
            }
        }
        if ends {
            state.heads.whole += std::mem::take(&mut state.heads.coming);
        }
        true
    }

    /// What `ask` was for is there.
    pub fn reserved(&self, reservation: Reservation) {
        self.lock().heads.reservations.push(reservation);
    }

    /// How many of so many bytes of bodies may pass; 0: none until the waker is woken.
    pub fn may_pass(&self, bytes: usize, cx: &Context<'_>) -> usize {
        let mut state = self.lock();
        let may = if state.waiting > 0 {
            0
        } else if state.last_key.is_none() && state.begun > state.ended {
            limits::STRANGER_BODY_BYTES.saturating_sub(state.stranger_bytes)
        } else {
            state.stranger_bytes = 0;
            bytes
        };
        if may == 0 {
            state.wait(cx);
            return 0;
        }
        let passed = may.min(bytes);
        state.stranger_bytes += passed;
        passed
    }
}

impl State {
    fn standing(&self) -> Standing {
        match self.last_key {
            Some(_) => Standing::Known,
            None => Standing::Stranger,
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        let waits = self.wakers.iter().any(|w| w.will_wake(cx.waker()));
        if !waits {
            self.wakers.push(cx.waker().clone());
        }
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// A request that is being answered, until the answer was handed to the connection whole.
#[derive(Debug)]
pub(super) struct Open {
    visit: Arc<Visit>,
    /// Its number on the connection, from 1.
    pub number: u64,
    is_http2: bool,
    head: usize,
    answered: bool,
    is_over: bool,
}

impl Open {
    /// Refuses a request whose head there is no room for.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.is_over {
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// The answer is there, and waits to be sent.
    pub fn answered(&mut self) {
        let mut state = self.visit.lock();
        self.answered = true;
        state.answered += 1;
        state.wide = false;
        state.unsent = !self.is_http2;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.visit.lock();
        state.ended += 1;
        state.answered -= u64::from(self.answered);
        state.active_at = Instant::now();
        state.heads.open -= self.head;
        state.heads.give_back();
        state.wake();
    }
}
