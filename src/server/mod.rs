//! The server from start to end: build the parts from the configuration, start them, drain them.

mod build;
pub mod descriptors;
pub mod error;
pub mod health;
pub mod inherited;
pub mod listeners;
pub mod observe;
pub mod running;
pub mod service;
pub mod status;
pub mod stop;
pub mod supervise;

use std::net::SocketAddr;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control::config::Config;
use crate::control::logging;
use crate::limits;
use crate::server::build::{Parts, Started};
use crate::server::error::ServeError;
use crate::server::stop::Deadline;
use crate::wire::key::StreamingKey;

/// Where the journal is in the data directory.
pub const JOURNAL_DIRECTORY: &str = "journal";

/// The key of a first start, for whom it is to be shown to, and where the server takes HTTP in the clear.
pub type Welcome = fn(&Config, &StreamingKey, Option<SocketAddr>);

/// Serves until a signal or the end of a part that it cannot do without, and drains.
pub fn run(config: &Config, welcome: Welcome) -> Result<(), ServeError> {
    let mut parts = Parts::build(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.process.worker_threads)
        .thread_name("ingest")
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    let (ended, deadline) = runtime.block_on(serve(config, &mut parts, welcome));
    let saved = save(&mut parts, &deadline, &ended);
    // Tasks that outlived the drain must not keep the process.
    runtime.shutdown_background();
    ended.result.and(saved)
}

/// How serving ended, before anything was saved.
struct Ended {
    result: Result<(), ServeError>,
    /// Connections that the drain did not wait for any longer.
    cut: usize,
}

impl Ended {
    const fn with(result: Result<(), ServeError>) -> Self {
        Self { result, cut: 0 }
    }
}

async fn serve(config: &Config, parts: &mut Parts, welcome: Welcome) -> (Ended, Deadline) {
    let allowed = config.process.shutdown_timeout;
    let started = async {
        let signals = Signals::new().map_err(ServeError::Start)?;
        Ok((signals, parts.start(config).await?))
    };
    let (mut signals, started) = match started.await {
        Ok(started) => started,
        Err(error) => {
            parts.supervisor.stopping();
            return (Ended::with(Err(error)), Deadline::starting_now(allowed));
        }
    };
    if let Some(key) = parts.first_key.take() {
        welcome(config, &key, started.listening.plain_http());
    }
    let result = until_the_end(parts, &started, &mut signals).await;
    parts.supervisor.stopping();
    let deadline = Deadline::starting_now(allowed);
    let cut = drain(&started, signals, &deadline).await;
    (Ended { result, cut }, deadline)
}

/// Serves, and reloads at each SIGHUP. The end is a signal, or an error.
async fn until_the_end(
    parts: &Parts,
    started: &Started,
    signals: &mut Signals,
) -> Result<(), ServeError> {
    let mut failure = parts.journal.failure();
    // A failure is a state, not a moment: one from before is seen as well.
    let journal_failed = async move {
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            // The journal is ours, and outlives this.
            _ => std::future::pending().await,
        }
    };
    tokio::pin!(journal_failed);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => {
                started.service.reloading();
                parts.tls.reload_now();
                let reloaded = parts.keys.reload_now();
                let service = started.service.clone();
                tokio::spawn(async move {
                    // Done or given up: the manager waits for the word either way.
                    let _ = reloaded.await;
                    service.ready();
                });
            }
            reason = &mut journal_failed => return Err(ServeError::JournalFailed(reason)),
            failure = parts.supervisor.fatal() => return Err(ServeError::PartFailed(failure)),
        }
    }
}

/// Lets connections end; returns how many did not in time.
async fn drain(started: &Started, signals: Signals, deadline: &Deadline) -> usize {
    started.service.stopping();
    tracing::info!("draining; a second signal exits at once");
    tokio::spawn(exit_at_second_signal(signals));
    started.context.drain.cancel();
    started.context.tasks.close();
    let drained = tokio::time::timeout_at(deadline.at().into(), started.context.tasks.wait());
    match drained.await {
        Ok(()) => 0,
        Err(_) => started.context.tasks.len(),
    }
}

/// Commits and saves what is in memory, whatever happened before: within the deadline, or it is said what was not.
fn save(parts: &mut Parts, deadline: &Deadline, ended: &Ended) -> Result<(), ServeError> {
    let mut unsaved = Vec::new();
    parts.tls.stop();
    let journal = parts.journal.clone();
    let committed = match deadline.within("journal-close", move || journal.close()) {
        Some(Ok(())) => {
            tracing::info!("everything is committed");
            true
        }
        Some(Err(_)) => return Err(ServeError::JournalFailed("the last commit failed".into())),
        None => false,
    };
    if !parts.keys.stop().iter().all(|thread| deadline.join(thread)) {
        unsaved.push("key usage");
    }
    parts.audit.stop();
    if !parts
        .audit_thread
        .iter()
        .all(|thread| deadline.join(thread))
        || parts.audit.waiting() > 0
    {
        unsaved.push("audit entries");
    }
    // Only once nothing is being done any more.
    let keeper = parts.keeper.clone();
    if ended.cut == 0
        && deadline
            .within("idempotency-save", move || keeper.save())
            .is_none()
    {
        // A start reads the journal behind the last saved position: nothing is lost by it.
        tracing::warn!(
            "the idempotency index was not saved; the next start reads more of the journal"
        );
    }
    if committed && ended.cut == 0 && unsaved.is_empty() {
        return Ok(());
    }
    Err(ServeError::Deadline {
        allowed: deadline.allowed,
        connections: ended.cut,
        queued_bytes: parts.journal.status().queued_bytes,
        unsaved,
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn exit_at_second_signal(mut signals: Signals) {
    tokio::select! {
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
    }
    tracing::warn!("second signal: exiting at once");
    logging::flush(limits::LOG_FLUSH_WAIT);
    // The journal is safe to leave at any moment: only what was not acknowledged can be lost.
    std::process::exit(1);
}
