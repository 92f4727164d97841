//! Builds the parts of a server, each from its settings, and starts them. A later plane adds one line to
//! [`Parts::build`] and one to [`Parts::start`].

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::auth::Failures;
use crate::control::Files;
use crate::control::audit::recorder::Recorder;
use crate::control::config::Config;
use crate::control::keys::first;
use crate::control::keys::reload::KeyReload;
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
use crate::server::JOURNAL_DIRECTORY;
use crate::server::descriptors;
use crate::server::error::ServeError;
use crate::server::health::Health;
use crate::server::inherited::Inherited;
use crate::server::listeners::{self, Listening, Secured};
use crate::server::observe::{self, Observed};
use crate::server::running::{self, Listener, Published, Running};
use crate::server::service::Service;
use crate::server::status::Status;
use crate::server::supervise::{Need, Supervisor};
use crate::wire::frame::PREFIX_BYTES;
use crate::wire::key::StreamingKey;
use crate::{limits, meters};

/// What a server is made of before anything runs but the journal, in the order in which it is built.
pub struct Parts {
    pub supervisor: Supervisor,
    pub recorder: PrometheusHandle,
    pub audit: Recorder,
    /// The key that was made, at a first start.
    pub first_key: Option<StreamingKey>,
    pub keys: KeyReload,
    pub tls: TlsReload,
    pub journal: Journal,
    pub keeper: Arc<Keeper>,
    listeners: Vec<Secured>,
    inherited: Inherited,
    pub audit_thread: Option<JoinHandle<()>>,
    /// Held as long as the process lives.
    _lock: File,
}

/// A server whose parts all run.
pub struct Started {
    pub context: ListenerContext,
    pub service: Arc<Service>,
    pub listening: Listening,
    /// Those who watch are answered as long as this lives.
    _answers_until_the_end: DropGuard,
    /// Without the file only `tell status` is at a loss.
    _published: io::Result<Published>,
}

impl Parts {
    /// Builds them. What the settings, the files or the journal have wrong ends the start here.
    pub fn build(config: &Config) -> Result<Self, ServeError> {
        let inherited = Inherited::from_environment()?;
        let recorder =
            meters::install().map_err(|error| ServeError::Start(io::Error::other(error)))?;
        let lock = lock_data_directory(&config.files.data_dir)?;
        let supervisor = Supervisor::default();
        let audit = Recorder::new(&config.files.data_dir);
        let first_key = first::create_if_missing(&Files::from(&config.files), &audit)
            .map_err(ServeError::FirstStart)?;
        let keys = KeyReload::start(&Files::from(&config.files), config.files.strict_permissions)?;
        let (listeners, tls) = listeners::read_tls(config)?;
        let (journal, disk) = open_journal(config)?;
        let keeper = Keeper::restore(&config.files.data_dir, disk.as_ref(), &journal)?;
        Ok(Self {
            supervisor,
            recorder,
            audit,
            first_key,
            keys,
            tls,
            journal,
            keeper: Arc::new(keeper),
            listeners,
            inherited,
            audit_thread: None,
            _lock: lock,
        })
    }

    /// Opens the listeners and starts everything that runs beside them, all of it under the supervisor.
    pub async fn start(&mut self, config: &Config) -> Result<Started, ServeError> {
        // UDP cannot be held back: a datagram that came before the journal takes any would be lost.
        let _ = tokio::time::timeout(limits::FIRST_SEGMENT_WAIT, self.journal.prepared()).await;
        let health = Arc::new(Health {
            journal: self.journal.clone(),
            key_file: self.keys.health(),
            tls: self.tls.health(),
            audit: self.audit.clone(),
            parts: self.supervisor.clone(),
        });
        let context = self.context(config, &health);
        let service = Arc::new(Service::from_environment());
        let udp_sockets = config.process.worker_threads.min(limits::UDP_SOCKETS_MAX);
        let listening = listeners::open(
            std::mem::take(&mut self.listeners),
            &mut self.inherited,
            udp_sockets,
            &config.listen.syslog_timezone,
            &context,
            &self.supervisor,
        )?;
        let watching = bind_observe(config, &mut self.inherited)?;
        self.inherited.all_taken()?;
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
                recorder: self.recorder.clone(),
                ingest: Arc::clone(&context.ingest),
                health: Arc::clone(&health),
                udp_drops: listening.udp_drops(),
                status: Arc::clone(&status),
            };
            let serve = observe::serve(listener, observed, drained.clone());
            self.supervisor.task("observe", Need::Auxiliary, serve);
        }
        let sample = async move { status.sample().await };
        self.supervisor.task("rates", Need::Auxiliary, sample);
        let upkeep = upkeep(self.recorder.clone());
        self.supervisor
            .task("metrics-upkeep", Need::Auxiliary, upkeep);
        let keep = Arc::clone(&self.keeper).keep();
        self.supervisor.task("idempotency", Need::Auxiliary, keep);
        let drops = count_udp_drops(listening.udp_drops());
        self.supervisor.task("udp-drops", Need::Auxiliary, drops);
        let sweep = sweep(Arc::clone(&context.failures));
        self.supervisor.task("failures", Need::Auxiliary, sweep);
        self.start_threads().map_err(ServeError::Start)?;
        let published = running
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
        if service.is_managed() {
            let follow = Arc::clone(&service).follow(
                self.journal.clone(),
                Arc::clone(&health),
                context.drain.clone(),
            );
            self.supervisor
                .task("service-manager", Need::Auxiliary, follow);
        }
        Ok(Started {
            context,
            service,
            listening,
            _answers_until_the_end: drained.drop_guard(),
            _published: published,
        })
    }

    fn start_threads(&mut self) -> io::Result<()> {
        let supervisor = self.supervisor.clone();
        let essential =
            |name, body: Box<dyn FnOnce() + Send>| supervisor.thread(name, Need::Essential, body);
        let auxiliary =
            |name, body: Box<dyn FnOnce() + Send>| supervisor.thread(name, Need::Auxiliary, body);
        self.audit_thread = Some(self.audit.start(&auxiliary)?);
        self.keys
            .watch(self.audit.clone(), &essential, &auxiliary)?;
        self.tls.watch(&auxiliary)
    }

    fn context(&self, config: &Config, health: &Arc<Health>) -> ListenerContext {
        let memory = Memory::new(Bounds {
            total_bytes: config.limits.max_in_flight_bytes,
            frame_bytes: config.limits.max_frame_size + PREFIX_BYTES,
            body_bytes: config.limits.max_body_size,
        });
        ListenerContext {
            turns: Turns::new(config.process.worker_threads),
            readiness: Arc::clone(health) as _,
            failures: Arc::default(),
            idempotency: self.keeper.index(),
            ingest: Arc::new(Ingest::new(self.keys.keys(), memory, self.journal.clone())),
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
        }
    }
}

fn open_journal(config: &Config) -> Result<(Journal, Arc<Disk>), ServeError> {
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
    Ok((journal, disk))
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
