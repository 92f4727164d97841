//! What a running server tells those who ask how it is: `GET /status`, and through it `tell status`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ingest::Ingest;
use crate::journal::{Extent, JournalLimit};
use crate::limits;
use crate::listen::context::{Readiness as _, Unready};
use crate::meters::{self, Busiest, SourceReading};
use crate::origin::{KeyId, Source, Workspace};
use crate::server::health::Health;
use crate::server::running::Listener;

/// The document. Fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of the server.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it was ready.
    pub uptime_s: f64,
    /// Whether it can do its job.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// What is wrong without keeping it from its job.
    #[serde(default)]
    pub degraded: Vec<Reason>,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// What came in, by source, since the start.
    pub sources: Vec<SourceReport>,
    /// The seconds that the rates are of: the last few.
    pub rates_over_s: f64,
    /// The journal.
    pub journal: JournalReport,
    /// Streaming keys in force.
    pub keys: u64,
    /// Those with most events since they were made.
    pub busiest_keys: Vec<BusyKey>,
    /// The workspaces with most events.
    pub busiest_workspaces: Vec<BusyWorkspace>,
}

/// One reason for not being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What is not ready.
    pub component: String,
    /// What is wrong with it.
    pub reason: String,
}

impl From<Unready> for Reason {
    fn from(unready: Unready) -> Self {
        Self {
            component: unready.component.to_owned(),
            reason: unready.detail.unwrap_or(unready.reason),
        }
    }
}

/// What was counted of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The source: `tcp`, `http`, `syslog_tcp`, `syslog_udp`.
    pub source: String,
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were accepted.
    pub connections_opened: u64,
    /// Frames, requests and groups of syslog messages that were accepted.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Payload bytes in them.
    pub bytes: u64,
    /// What was refused.
    pub refused: u64,
    /// Events a second.
    pub events_per_s: f64,
    /// Payload bytes a second.
    pub bytes_per_s: f64,
}

/// The state of the journal. What a disk that stalls does not tell is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalReport {
    /// Segment files.
    pub segments: Option<usize>,
    /// Disk that they take, the space reserved ahead included.
    pub disk_bytes: u64,
    /// `journal_limit`; null where it is `auto`.
    pub limit_bytes: Option<u64>,
    /// What may be added before senders are held back.
    pub left_bytes: Option<u64>,
    /// Bytes waiting for a commit.
    pub queued_bytes: u64,
}

/// A busy key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusyKey {
    /// Its public id.
    pub key_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its workspace.
    pub workspace: String,
    /// Events accepted with it.
    pub events: u64,
}

/// A busy workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusyWorkspace {
    /// The workspace.
    pub workspace: String,
    /// Events accepted for it.
    pub events: u64,
}

/// A running server, for those who ask.
#[derive(Debug)]
pub struct Status {
    ingest: Arc<Ingest>,
    health: Arc<Health>,
    listeners: Vec<Listener>,
    started: Instant,
    /// Readings of the last seconds, the oldest first; never empty.
    samples: Mutex<VecDeque<Sample>>,
}

/// What was counted of the sources at a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    sources: [SourceReading; Source::ALL.len()],
}

impl Sample {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            sources: Source::ALL.map(|source| meters::source(source).read()),
        }
    }
}

impl Status {
    /// Of a server that starts to listen there.
    pub fn new(ingest: Arc<Ingest>, health: Arc<Health>, listeners: Vec<Listener>) -> Self {
        Self {
            ingest,
            health,
            listeners,
            started: Instant::now(),
            samples: Mutex::new(VecDeque::from([Sample::now()])),
        }
    }

    /// Reads the counters again and again, for the rates.
    pub async fn sample(self: Arc<Self>) {
        loop {
            tokio::time::sleep(limits::RATE_INTERVAL).await;
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.push_back(Sample::now());
            while samples.len() > limits::RATE_SAMPLES {
                samples.pop_front();
            }
        }
    }

    /// Everything, as it is now.
    pub async fn report(&self) -> Report {
        let reasons = self.health.unready().into_iter().map(Reason::from);
        let reasons: Vec<Reason> = reasons.collect();
        let degraded = self.health.degraded().into_iter().map(Reason::from);
        let (sources, rates_over) = self.sources();
        let busiest = Busiest::of(&self.ingest.keys().load_full());
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: rounded(self.started.elapsed().as_secs_f64()),
            ready: reasons.is_empty(),
            reasons,
            degraded: degraded.collect(),
            listeners: self.listeners.clone(),
            sources,
            rates_over_s: rounded(rates_over.as_secs_f64()),
            journal: self.journal().await,
            keys: self.ingest.keys().load().len() as u64,
            busiest_keys: self.busiest_keys(&busiest.keys),
            busiest_workspaces: busiest
                .workspaces
                .into_iter()
                .map(|(workspace, events)| BusyWorkspace {
                    workspace: show(workspace),
                    events,
                })
                .collect(),
        }
    }

    fn sources(&self) -> (Vec<SourceReport>, Duration) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Sample::now();
        let first = samples.front().copied().unwrap_or(now);
        drop(samples);
        let over = now.at.duration_since(first.at);
        // Right after the start there is no second to speak of, and nothing came in either.
        let per_s = |from: u64, to: u64| {
            rounded(to.saturating_sub(from) as f64 / over.as_secs_f64().max(0.001))
        };
        let reports = Source::ALL
            .iter()
            .zip(now.sources.iter().zip(first.sources));
        let reports = reports.map(|(source, (now, first))| SourceReport {
            source: source.as_str().to_owned(),
            connections: now.connections,
            connections_opened: now.opened,
            frames: now.frames,
            events: now.events,
            bytes: now.bytes,
            refused: now.refused,
            events_per_s: per_s(first.events, now.events),
            bytes_per_s: per_s(first.bytes, now.bytes),
        });
        (reports.collect(), over)
    }

    async fn journal(&self) -> JournalReport {
        let journal = self.ingest.journal();
        let status = journal.status();
        let asked = journal.clone();
        let extent = tokio::task::spawn_blocking(move || asked.extent());
        let extent: Option<Extent> = tokio::time::timeout(limits::EXTENT_WAIT, extent)
            .await
            .ok()
            .and_then(Result::ok)
            .and_then(Result::ok);
        JournalReport {
            segments: extent.map(|extent| extent.segments),
            disk_bytes: status.disk_bytes,
            limit_bytes: match journal.limit() {
                JournalLimit::TenthFree => None,
                JournalLimit::Bytes(bytes) => Some(bytes),
            },
            left_bytes: extent.map(|extent| extent.left_bytes),
            queued_bytes: status.queued_bytes,
        }
    }

    fn busiest_keys(&self, busiest: &[(KeyId, u64)]) -> Vec<BusyKey> {
        let events: HashMap<KeyId, u64> = busiest.iter().copied().collect();
        let keyring = self.ingest.keys().load_full();
        let mut keys: Vec<BusyKey> = keyring
            .grants()
            .filter_map(|grant| {
                Some(BusyKey {
                    key_id: grant.key_id().to_string(),
                    name: grant.name().map(ToOwned::to_owned),
                    workspace: show(grant.workspace()),
                    events: *events.get(&grant.key_id())?,
                })
            })
            .collect();
        keys.sort_by(|a, b| (b.events, &a.key_id).cmp(&(a.events, &b.key_id)));
        keys
    }
}

/// `ws-1`, as HTTP writes it.
fn show(workspace: Workspace) -> String {
    format!("{workspace:?}")
}

/// To tenths: what is behind them says nothing.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
