//! The server from start to end: build the parts from the configuration, start them, drain them.

use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Failures;
use crate::control::atomic_file;
use crate::control::config::{Config, JournalLimit, Listen};
use crate::control::first_start;
use crate::control::key_file::KeyFileError;
use crate::control::key_permissions::LoosePermissions;
use crate::control::key_reload::KeyReload;
use crate::health::Health;
use crate::ingest::Ingest;
use crate::journal::recovery::OpenError;
use crate::journal::storage::Disk;
use crate::journal::{Journal, Limit, Options, Source};
use crate::listen::observe::Observed;
use crate::listen::{self, Door, http, syslog_tcp, syslog_udp, tcp};
use crate::{limits, meters};

/// Where the journal is in the data directory.
pub const JOURNAL_DIRECTORY: &str = "journal";

/// Why the server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be used.
    #[error("data directory {path}: {error}")]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// Another server has it.
    #[error(
        "data directory {0} is in use by another tell server; stop that one or choose another with --data-dir"
    )]
    InUse(PathBuf),
    /// The key file is broken or unreadable.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The first key file cannot be made.
    #[error("cannot create the key file: {0}")]
    FirstStart(#[from] first_start::FirstStartError),
    /// The key file has no key.
    #[error("key file {0} holds no key; add one with: tell apikeys new NAME --workspace 1")]
    NoKeys(PathBuf),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address} for {what}: {error}")]
    Listen {
        /// The protocol.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What failed.
        error: io::Error,
    },
    /// Others may read or change the key file, and that is to be refused.
    #[error(transparent)]
    Permissions(#[from] LoosePermissions),
    /// The runtime, a thread or a signal handler.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// A commit failed while serving.
    #[error("the journal stopped: {0}; what was acknowledged is safe, a restart recovers it")]
    JournalFailed(Arc<str>),
    /// The drain took too long.
    #[error(
        "not drained within shutdown_timeout ({0:?}): {1} connections were cut, {2} bytes were not committed"
    )]
    Deadline(Duration, usize, u64),
}

/// Serves until a signal or a failed journal ends it, and drains.
pub fn run(config: &Config) -> Result<(), ServeError> {
    let recorder = meters::install().map_err(|error| ServeError::Start(io::Error::other(error)))?;
    let _lock = lock_data_directory(&config.data_dir)?;
    first_start::create_keys(config)?;
    let mut keys = KeyReload::start(&config.files(), config.strict_permissions)?;
    let directory = config.data_dir.join(JOURNAL_DIRECTORY);
    let disk = Arc::new(
        Disk::create(&directory).map_err(|error| ServeError::DataDirectory {
            path: directory,
            error,
        })?,
    );
    let options = Options {
        segment_bytes: config.segment_size,
        limit: match config.journal_limit {
            JournalLimit::Auto => Limit::TenthFree,
            JournalLimit::Bytes(bytes) => Limit::Bytes(bytes),
        },
        max_queued_bytes: config.max_queued_bytes as u64,
    };
    let (journal, recovered) = Journal::open(disk, options)?;
    meters::journal_recovered(recovered.damaged);
    tracing::info!(
        segments = recovered.segments,
        bytes = recovered.disk_bytes,
        torn_bytes_cut = recovered.torn_bytes,
        damaged_records = recovered.damaged,
        "journal open"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .thread_name("ingest")
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    let served = runtime.block_on(serve(config, &journal, &mut keys, recorder));
    keys.stop();
    // Whatever happened above: what was appended is committed.
    let closed = close(&journal, config.shutdown_timeout);
    // Tasks that outlived the drain must not keep the process.
    runtime.shutdown_background();
    served.and(closed)
}

/// One server a data directory. The lock goes with the process, however it ends.
fn lock_data_directory(path: &Path) -> Result<File, ServeError> {
    let fail = |error| ServeError::DataDirectory {
        path: path.to_owned(),
        error,
    };
    atomic_file::create_private_dir(path).map_err(fail)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

async fn serve(
    config: &Config,
    journal: &Journal,
    keys: &mut KeyReload,
    recorder: PrometheusHandle,
) -> Result<(), ServeError> {
    let signal = |kind| signal(kind).map_err(ServeError::Start);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    // UDP cannot be held back: a datagram that came before the journal takes any would be lost.
    let _ = tokio::time::timeout(limits::FIRST_SEGMENT_WAIT, journal.prepared()).await;
    let health = Arc::new(Health::new(journal.clone(), keys.health()));
    let door = Door {
        health: Arc::clone(&health),
        failures: Arc::default(),
        ingest: Arc::new(Ingest::new(keys.keys(), journal.clone())),
        drain: CancellationToken::new(),
        tasks: TaskTracker::new(),
        connections: Arc::new(Semaphore::new(config.max_connections)),
        max_frame_bytes: u32::try_from(config.max_frame_size).unwrap_or(u32::MAX),
        max_body_bytes: config.max_body_size,
        cors_origins: Arc::new(config.cors_origins.clone()),
    };
    let listening = listen(config, &door)?;
    let observed = Observed {
        recorder: recorder.clone(),
        ingest: Arc::clone(&door.ingest),
        health,
    };
    let drained = CancellationToken::new();
    let metrics = observe(config, observed, drained.clone())?;
    tokio::spawn(upkeep(recorder));
    tokio::spawn(sweep(Arc::clone(&door.failures)));
    let _answers_until_the_end = drained.drop_guard();
    keys.watch().map_err(ServeError::Start)?;
    tracing::info!(
        tcp = listening.tcp,
        http = listening.http,
        syslog_tcp = listening.syslog_tcp,
        syslog_udp = listening.syslog_udp,
        metrics,
        data_dir = %config.data_dir.display(),
        "tell is ready"
    );

    let mut failure = journal.failure();
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => keys.reload_now(),
            Ok(()) = failure.changed() => break failure.borrow().clone(),
        }
    };
    tracing::info!("draining; a second signal exits at once");
    tokio::spawn(exit_at_second_signal(terminate, interrupt));
    door.drain.cancel();
    door.tasks.close();
    let drained =
        tokio::time::timeout_at(Instant::now() + config.shutdown_timeout, door.tasks.wait()).await;
    match (failed, drained) {
        (Some(reason), _) => Err(ServeError::JournalFailed(reason)),
        (None, Err(_)) => {
            let status = journal.status();
            Err(ServeError::Deadline(
                config.shutdown_timeout,
                door.tasks.len(),
                status.queued_bytes,
            ))
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Where the server listens; `off` where it does not.
struct Listening {
    tcp: String,
    http: String,
    syslog_tcp: String,
    syslog_udp: String,
}

/// Binds the listener for metrics and health; returns where it is.
fn observe(
    config: &Config,
    observed: Observed,
    end: CancellationToken,
) -> Result<String, ServeError> {
    let Some(address) = config.metrics else {
        return Ok("off".to_owned());
    };
    let fail = |error| ServeError::Listen {
        what: "metrics (metrics)",
        address,
        error,
    };
    let listener = listen::bind_tcp(address).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?.to_string();
    tokio::spawn(listen::observe::serve(listener, observed, end));
    Ok(bound)
}

/// Folds histogram samples into their buckets, so that they do not pile up between scrapes.
async fn upkeep(recorder: PrometheusHandle) {
    loop {
        tokio::time::sleep(limits::METRICS_UPKEEP).await;
        recorder.run_upkeep();
    }
}

/// Logs failed authentications, gathered.
async fn sweep(failures: Arc<Failures>) {
    loop {
        tokio::time::sleep(limits::FAILURE_SWEEP).await;
        failures.sweep();
    }
}

fn listen(config: &Config, door: &Door) -> Result<Listening, ServeError> {
    let off = || "off".to_owned();
    let bind_tcp = |what, address: Listen| -> Result<_, ServeError> {
        let Some(address) = address else {
            return Ok(None);
        };
        let fail = |error| ServeError::Listen {
            what,
            address,
            error,
        };
        let listener = listen::bind_tcp(address).map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?.to_string();
        Ok(Some((listener, bound)))
    };
    let mut listening = Listening {
        tcp: off(),
        http: off(),
        syslog_tcp: off(),
        syslog_udp: off(),
    };
    if let Some((listener, bound)) = bind_tcp("SDK frames (tcp)", config.tcp)? {
        listening.tcp = bound;
        door.tasks.spawn(listen::accept(
            listener,
            door.clone(),
            Source::Tcp,
            tcp::serve,
        ));
    }
    if let Some((listener, bound)) = bind_tcp("HTTP (http)", config.http)? {
        listening.http = bound;
        door.tasks.spawn(listen::accept(
            listener,
            door.clone(),
            Source::Http,
            http::serve,
        ));
    }
    if let Some((listener, bound)) = bind_tcp("syslog over TCP (syslog_tcp)", config.syslog_tcp)? {
        listening.syslog_tcp = bound;
        door.tasks.spawn(listen::accept(
            listener,
            door.clone(),
            Source::SyslogTcp,
            syslog_tcp::serve,
        ));
    }
    if let Some(address) = config.syslog_udp {
        let fail = |error| ServeError::Listen {
            what: "syslog over UDP (syslog_udp)",
            address,
            error,
        };
        let socket = listen::bind_udp(address).map_err(fail)?;
        listening.syslog_udp = socket.local_addr().map_err(fail)?.to_string();
        door.tasks.spawn(syslog_udp::serve(socket, door.clone()));
    }
    Ok(listening)
}

async fn exit_at_second_signal(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::warn!("second signal: exiting at once");
    // The journal is safe to leave at any moment: only what was not acknowledged can be lost.
    std::process::exit(1);
}

/// Commits what is queued, but not for ever: a stalled disk must not keep the process.
fn close(journal: &Journal, deadline: Duration) -> Result<(), ServeError> {
    let (done, closed) = std::sync::mpsc::channel();
    let closing = journal.clone();
    std::thread::Builder::new()
        .name("journal-close".to_owned())
        .spawn(move || done.send(closing.close()))
        .map_err(ServeError::Start)?;
    match closed.recv_timeout(deadline) {
        Ok(Ok(())) => {
            tracing::info!("everything is committed");
            Ok(())
        }
        Ok(Err(_)) => Err(ServeError::JournalFailed("the last commit failed".into())),
        Err(_) => Err(ServeError::Deadline(
            deadline,
            0,
            journal.status().queued_bytes,
        )),
    }
}
