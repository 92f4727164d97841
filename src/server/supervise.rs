//! Threads and background tasks, each with an owner that notices its end.
//!
//! Whatever runs in the background is started here. One that panics, or that ends before the server stops, is a
//! failure: it is said in readiness, in a metric and in the log, and where the server cannot do its work without it,
//! the server stops.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::meters;

/// What the server does without a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It stops: nothing it says could be relied on.
    Essential,
    /// It goes on, and says that the part is missing.
    Auxiliary,
}

/// The end of a part that was not to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The part.
    pub part: &'static str,
    /// Whether the server goes on.
    pub need: Need,
    /// Whether it panicked, or returned.
    pub panicked: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.panicked { "panicked" } else { "ended" };
        write!(f, "{} {how}", self.part)
    }
}

/// The owner of all parts. Clones share it.
#[derive(Clone, Debug)]
pub struct Supervisor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    failures: Mutex<Vec<Failure>>,
    /// The first failure of an essential part.
    fatal: watch::Sender<Option<Failure>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self(Arc::new(Shared {
            stopping: AtomicBool::new(false),
            failures: Mutex::default(),
            fatal: watch::Sender::new(None),
        }))
    }
}

impl Supervisor {
    /// Starts a part on a thread of its own.
    pub fn thread(
        &self,
        part: &'static str,
        need: Need,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let supervisor = self.clone();
        std::thread::Builder::new()
            .name(part.to_owned())
            .spawn(move || {
                // Nothing of the body is looked at after it.
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    if tests_want_a_panic(part) {
                        std::thread::sleep(PANIC_DELAY);
                        asked_to_panic(part);
                    }
                    body();
                }));
                supervisor.ended(part, need, ended.is_err());
            })
    }

    /// Starts a part as a task.
    pub fn task(
        &self,
        part: &'static str,
        need: Need,
        body: impl Future<Output = ()> + Send + 'static,
    ) {
        tokio::spawn(self.clone().watch(part, need, body));
    }

    /// Runs a part as a task of its own, and resolves when it has ended: for those that a drain waits for.
    pub async fn watch(
        self,
        part: &'static str,
        need: Need,
        body: impl Future<Output = ()> + Send + 'static,
    ) {
        let ended = tokio::spawn(async move {
            if tests_want_a_panic(part) {
                tokio::time::sleep(PANIC_DELAY).await;
                asked_to_panic(part);
            }
            body.await;
        });
        self.ended(part, need, ended.await.is_err());
    }

    /// From now on parts may end.
    pub fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// All failures so far.
    pub fn failures(&self) -> Vec<Failure> {
        self.lock().clone()
    }

    /// Resolves when the server can go on no longer.
    pub async fn fatal(&self) -> Failure {
        let mut fatal = self.0.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(failure)) => failure.clone(),
            // The sender is ours.
            _ => std::future::pending().await,
        }
    }

    fn ended(&self, part: &'static str, need: Need, panicked: bool) {
        if !panicked && self.0.stopping.load(Ordering::Relaxed) {
            return;
        }
        let failure = Failure {
            part,
            need,
            panicked,
        };
        tracing::error!(part, panicked, "{failure}, and was not to");
        meters::part_failed(part);
        self.lock().push(failure.clone());
        if need == Need::Essential {
            self.0.fatal.send_if_modified(|fatal| {
                let first = fatal.is_none();
                fatal.get_or_insert(failure);
                first
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Failure>> {
        self.0
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long after its start a part panics that a test wants to: the server is ready by then.
const PANIC_DELAY: std::time::Duration = std::time::Duration::from_secs(1);

/// Whether a test of a debug build wants this part to panic. A release build has no such way.
fn tests_want_a_panic(part: &str) -> bool {
    cfg!(debug_assertions) && std::env::var_os("TELL_DEBUG_PANIC").is_some_and(|name| name == part)
}

#[allow(
    clippy::panic,
    reason = "the panic is what a test asks for, in debug builds only"
)]
fn asked_to_panic(part: &str) {
    panic!("{part} was asked to panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_or_ends_unasked_is_a_failure_and_one_that_is_asked_is_none() {
        let supervisor = Supervisor::default();
        let panics = supervisor.thread("one", Need::Auxiliary, || asked_to_panic("one"));
        panics.unwrap().join().unwrap();
        supervisor
            .clone()
            .watch("two", Need::Auxiliary, async { asked_to_panic("two") })
            .await;
        supervisor.thread("three", Need::Essential, || {}).unwrap();
        let fatal = supervisor.fatal().await;
        assert_eq!((fatal.part, fatal.panicked), ("three", false));
        supervisor.stopping();
        let asked = supervisor.thread("four", Need::Essential, || {});
        asked.unwrap().join().unwrap();
        let failures = supervisor.failures();
        let said: Vec<String> = failures.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["one panicked", "two panicked", "three ended"]);
    }
}
