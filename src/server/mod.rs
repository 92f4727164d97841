//! The server from start to end: build the parts from the configuration, start them, drain them.

pub mod descriptors;
pub mod error;
pub mod health;
pub mod inherited;
pub mod listeners;
pub mod observe;
pub mod running;
pub mod service;
pub mod status;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Failures;
use crate::control::Files;
use crate::control::config::Config;
use crate::control::keys::first;
use crate::control::keys::reload::KeyReload;
use crate::control::logging;
use crate::control::tls::TlsReload;
use crate::ingest::Ingest;
use crate::ingest::admit::{Bounds, Memory};
use crate::ingest::idempotency::saved::{self, Keeper};
use crate::journal::storage::Disk;
use crate::journal::{Journal, Options};
use crate::listen::http::turns::Turns;
use crate::listen::syslog_udp::drops::KernelDrops;
use crate::listen::{self, ListenerContext};
use crate::origin::Source;
use crate::server::error::ServeError;
use crate::server::health::Health;
use crate::server::inherited::Inherited;
use crate::server::listeners::{Listening, Secured};
use crate::server::observe::Observed;
use crate::server::running::{Listener, Running};
use crate::server::service::Service;
use crate::server::status::Status;
use crate::wire::frame::PREFIX_BYTES;
use crate::wire::key::StreamingKey;
use crate::{limits, meters};

/// Where the journal is in the data directory.
pub const JOURNAL_DIRECTORY: &str = "journal";

/// Serves until a signal or a failed journal ends it, and drains.
pub fn run(
    config: &Config,
    welcome: impl FnOnce(&Config, &StreamingKey),
) -> Result<(), ServeError> {
    let inherited = Inherited::from_environment()?;
    let recorder = meters::install().map_err(|error| ServeError::Start(io::Error::other(error)))?;
    let _lock = lock_data_directory(&config.files.data_dir)?;
    if let Some(key) = first::create_if_missing(&Files::from(&config.files))? {
        welcome(config, &key);
    }
    let mut keys = KeyReload::start(&Files::from(&config.files), config.files.strict_permissions)?;
    let (listeners, mut tls) = listeners::read_tls(config)?;
    let directory = config.files.data_dir.join(JOURNAL_DIRECTORY);
    let disk = Arc::new(
        Disk::create(&directory).map_err(|error| ServeError::DataDirectory {
            path: directory,
            error,
        })?,
    );
    let options = Options {
        segment_bytes: config.journal.segment_size,
        limit: config.journal.journal_limit,
        headroom_bytes: limits::READ_BYTES as u64,
        on_commit: meters::committed,
        max_queued_bytes: config.limits.max_queued_bytes as u64,
    };
    let named = saved::named_segment(&config.files.data_dir);
    let (journal, recovered) = Journal::open_above(Arc::clone(&disk) as _, options, named)?;
    meters::journal_recovered(recovered.damaged);
    tracing::info!(
        segments = recovered.segments,
        bytes = recovered.disk_bytes,
        torn_bytes_cut = recovered.torn_bytes,
        damaged_records = recovered.damaged,
        "journal open"
    );
    let taken = Arc::new(Keeper::restore(
        &config.files.data_dir,
        disk.as_ref(),
        &journal,
    )?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.process.worker_threads)
        .thread_name("ingest")
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    let served = runtime.block_on(serve(
        config, &taken, &mut keys, listeners, inherited, &mut tls, recorder,
    ));
    keys.stop();
    tls.stop();
    // Whatever happened above: what was appended is committed.
    let closed = close(&journal, config.process.shutdown_timeout);
    // Tasks that outlived the drain must not keep the process.
    runtime.shutdown_background();
    served.and(closed)?;
    // Only now is nothing being done any more.
    taken.save();
    Ok(())
}

/// One server a data directory.
fn lock_data_directory(path: &Path) -> Result<File, ServeError> {
    match running::lock(path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(ServeError::InUse(path.to_owned())),
        Err(error) => Err(ServeError::DataDirectory {
            path: path.to_owned(),
            error,
        }),
    }
}

async fn serve(
    config: &Config,
    taken: &Arc<Keeper>,
    keys: &mut KeyReload,
    listeners: Vec<Secured>,
    mut inherited: Inherited,
    tls: &mut TlsReload,
    recorder: PrometheusHandle,
) -> Result<(), ServeError> {
    let journal = taken.journal();
    let signal = |kind| signal(kind).map_err(ServeError::Start);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    // UDP cannot be held back: a datagram that came before the journal takes any would be lost.
    let _ = tokio::time::timeout(limits::FIRST_SEGMENT_WAIT, journal.prepared()).await;
    let health = Arc::new(Health::new(journal.clone(), keys.health(), tls.health()));
    let memory = Memory::new(Bounds {
        total_bytes: config.limits.max_in_flight_bytes,
        frame_bytes: config.limits.max_frame_size + PREFIX_BYTES,
        body_bytes: config.limits.max_body_size,
    });
    let context = ListenerContext {
        turns: Turns::new(config.process.worker_threads),
        readiness: Arc::clone(&health) as _,
        failures: Arc::default(),
        idempotency: taken.index(),
        ingest: Arc::new(Ingest::new(keys.keys(), memory, journal.clone())),
        drain: CancellationToken::new(),
        tasks: TaskTracker::new(),
        connections: Arc::new(Semaphore::new(descriptors::connections(
            config.limits.max_connections,
        ))),
        sources: Arc::new(listen::Sources::new(
            config.limits.max_connections_per_source,
        )),
        stall_timeout: config.limits.stall_timeout,
        max_frame_bytes: u32::try_from(config.limits.max_frame_size).unwrap_or(u32::MAX),
        max_body_bytes: config.limits.max_body_size,
        trusted_proxies: config.listen.trusted_proxies.clone(),
        forwarders: config.listen.forwarders.clone(),
        entrance: Arc::default(),
        cors_origins: Arc::new(config.listen.cors_origins.clone()),
    };
    let service = Arc::new(Service::from_environment());
    let udp_sockets = config.process.worker_threads.min(limits::UDP_SOCKETS_MAX);
    let listening = listeners::open(
        listeners,
        &mut inherited,
        udp_sockets,
        &config.listen.syslog_timezone,
        &context,
    )?;
    let udp_drops = listening.udp_drops();
    let watching = bind_observe(config, &mut inherited)?;
    inherited.all_taken()?;
    let metrics = watching
        .as_ref()
        .map_or("off", |(_, bound)| bound)
        .to_owned();
    let running = Running {
        pid: std::process::id(),
        listeners: bound_listeners(&listening, &metrics),
    };
    let status = Arc::new(Status::new(
        Arc::clone(&context.ingest),
        Arc::clone(&health),
        running.listeners.clone(),
    ));
    let drained = CancellationToken::new();
    if let Some((listener, _)) = watching {
        let observed = Observed {
            recorder: recorder.clone(),
            ingest: Arc::clone(&context.ingest),
            health: Arc::clone(&health),
            udp_drops: Arc::clone(&udp_drops),
            status: Arc::clone(&status),
        };
        tokio::spawn(observe::serve(listener, observed, drained.clone()));
    }
    tokio::spawn(status.sample());
    tokio::spawn(upkeep(recorder));
    tokio::spawn(Arc::clone(taken).keep());
    tokio::spawn(count_udp_drops(udp_drops));
    tokio::spawn(sweep(Arc::clone(&context.failures)));
    let _answers_until_the_end = drained.drop_guard();
    keys.watch().map_err(ServeError::Start)?;
    tls.watch().map_err(ServeError::Start)?;
    // Without the file only `tell status` is at a loss.
    let _published = running
        .publish(&config.files.data_dir)
        .inspect_err(|error| tracing::warn!(%error, "cannot say in the data directory where to find this server"));
    tracing::info!(
        tcp = listening.of(Source::Tcp),
        http = listening.of(Source::Http),
        syslog_tcp = listening.of(Source::SyslogTcp),
        syslog_udp = listening.of(Source::SyslogUdp),
        metrics,
        data_dir = %config.files.data_dir.display(),
        "tell is ready"
    );

    service.ready();
    tokio::spawn(Arc::clone(&service).follow(
        journal.clone(),
        Arc::clone(&health),
        context.drain.clone(),
    ));

    let mut failure = journal.failure();
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => {
                service.reloading();
                tls.reload_now();
                let reloaded = keys.reload_now();
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    // Done or given up: the manager waits for the word either way.
                    let _ = reloaded.await;
                    service.ready();
                });
            }
            Ok(()) = failure.changed() => break failure.borrow().clone(),
        }
    };
    service.stopping();
    tracing::info!("draining; a second signal exits at once");
    tokio::spawn(exit_at_second_signal(terminate, interrupt));
    context.drain.cancel();
    context.tasks.close();
    let drained = tokio::time::timeout_at(
        Instant::now() + config.process.shutdown_timeout,
        context.tasks.wait(),
    )
    .await;
    match (failed, drained) {
        (Some(reason), _) => Err(ServeError::JournalFailed(reason)),
        (None, Err(_)) => {
            let status = journal.status();
            Err(ServeError::Deadline(
                config.process.shutdown_timeout,
                context.tasks.len(),
                status.queued_bytes,
            ))
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Every address that is listened on, for those who ask.
fn bound_listeners(listening: &Listening, metrics: &str) -> Vec<Listener> {
    let listener = |name: &str, address: String| Listener {
        name: name.to_owned(),
        address,
    };
    let listeners = listening
        .iter()
        .map(|(context, address)| listener(context.as_str(), address.to_string()));
    let metrics = (metrics != "off").then(|| listener("metrics", metrics.to_owned()));
    listeners.chain(metrics).collect()
}

/// Binds the listener for metrics and health.
fn bind_observe(
    config: &Config,
    inherited: &mut Inherited,
) -> Result<Option<(TcpListener, String)>, ServeError> {
    let Some(address) = config.listen.metrics else {
        return Ok(None);
    };
    let fail = |error| ServeError::Listen {
        what: "metrics (metrics)",
        address,
        error,
    };
    let listener = inherited.tcp("metrics", address).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?.to_string();
    Ok(Some((listener, bound)))
}

/// Folds histogram samples into their buckets, so that they do not pile up between scrapes.
async fn upkeep(recorder: PrometheusHandle) {
    loop {
        tokio::time::sleep(limits::METRICS_UPKEEP).await;
        recorder.run_upkeep();
    }
}

/// Reads what the kernel dropped, also where nobody scrapes.
async fn count_udp_drops(drops: Arc<KernelDrops>) {
    loop {
        tokio::time::sleep(limits::UDP_DROPS_INTERVAL).await;
        drops.count();
    }
}

/// Logs failed authentications, gathered.
async fn sweep(failures: Arc<Failures>) {
    loop {
        tokio::time::sleep(limits::FAILURE_SWEEP).await;
        failures.sweep();
    }
}

async fn exit_at_second_signal(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::warn!("second signal: exiting at once");
    logging::flush(limits::LOG_FLUSH_WAIT);
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
