//! Every metric of the server, defined in one place: name, unit, labels, help.
//!
//! Names and units follow the Prometheus conventions. Labels have few values: the source, a reason from the
//! table of faults. What is counted per key is in its [`Usage`](crate::auth::usage::Usage); only the
//! busiest keys are shown as metrics. Handles are kept, so that counting on the way of a frame is one
//! atomic addition a read.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::auth::Keyring;
use crate::fault::Refusal;
use crate::limits;
use crate::origin::{KeyId, Source, Workspace};

const CONNECTIONS: &str = "tell_connections";
const CONNECTIONS_OPENED: &str = "tell_connections_opened_total";
const CONNECTIONS_REFUSED: &str = "tell_connections_refused_total";
const ACCEPT_ERRORS: &str = "tell_accept_errors_total";
const FRAMES: &str = "tell_frames_total";
const EVENTS: &str = "tell_events_total";
const BYTES: &str = "tell_payload_bytes_total";
const REFUSED: &str = "tell_refused_total";
const REPLACED: &str = "tell_replaced_characters_total";
const REPLAYED: &str = "tell_idempotent_replays_total";
const UDP_RECEIVED: &str = "tell_udp_received_total";
const UDP_DROPPED: &str = "tell_udp_dropped_total";
const COMMIT_SECONDS: &str = "tell_commit_duration_seconds";
const COMMIT_BYTES: &str = "tell_commit_size_bytes";
const JOURNAL_BYTES: &str = "tell_journal_size_bytes";
const JOURNAL_QUEUED: &str = "tell_journal_queued_bytes";
const JOURNAL_DAMAGED: &str = "tell_journal_damaged_records";
const LOG_LINES_LOST: &str = "tell_log_lines_lost_total";
const PART_FAILURES: &str = "tell_part_failures_total";
const AUDIT_LOST: &str = "tell_audit_entries_lost_total";
const AUDIT_WAITING: &str = "tell_audit_entries_waiting";
const PANICS: &str = "tell_panics_total";
const KEYS: &str = "tell_keys";
const KEY_RELOADS: &str = "tell_key_reloads_total";
const KEY_RELOAD_TIME: &str = "tell_key_reload_timestamp_seconds";
const TLS_RELOADS: &str = "tell_tls_reloads_total";
const KEY_EVENTS: &str = "tell_key_events_total";
const WORKSPACE_EVENTS: &str = "tell_workspace_events_total";

/// A commit of a record takes a tenth of a millisecond on a good disk, and seconds on one that stalls.
const SECONDS_BUCKETS: [f64; 13] = [
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0,
];

/// From one block to the largest commit.
const BYTES_BUCKETS: [f64; 8] = [
    4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0,
];

/// Installs the recorder, once, before anything is counted.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(COMMIT_SECONDS.to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(COMMIT_BYTES.to_owned()), &BYTES_BUCKETS)?
        .install_recorder()?;
    describe();
    LazyLock::force(&METERS);
    Ok(handle)
}

fn describe() {
    describe_gauge!(CONNECTIONS, "Open connections, by source.");
    describe_counter!(
        CONNECTIONS_OPENED,
        "Connections that were accepted, by source."
    );
    describe_counter!(
        CONNECTIONS_REFUSED,
        "Connections closed because max_connections or max_connections_per_source was reached, by source."
    );
    describe_counter!(
        ACCEPT_ERRORS,
        "Failed attempts to accept a connection, by source."
    );
    describe_counter!(
        FRAMES,
        "Frames, requests and groups of syslog messages that were appended to the journal, by source."
    );
    describe_counter!(
        EVENTS,
        "Events, log lines, metrics, spans and snapshots in them, by source."
    );
    describe_counter!(BYTES, Unit::Bytes, "Payload bytes in them, by source.");
    describe_counter!(
        REFUSED,
        "Frames, requests, messages and connections that were refused, by source and reason."
    );
    describe_counter!(
        REPLACED,
        "U+FFFD in the place of what was no Unicode, in JSON lines and syslog, by source."
    );
    describe_counter!(
        REPLAYED,
        "Requests with an Idempotency-Key that came again and were answered as the first time."
    );
    describe_counter!(
        UDP_RECEIVED,
        "Datagrams taken from the sockets of a UDP listener."
    );
    describe_counter!(
        UDP_DROPPED,
        "Datagrams that were not kept, by listener: by the kernel before they were received, because the \
         receive buffer was full, or by the server, for a reason that tell_refused_total has."
    );
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "Time to write and sync one commit."
    );
    describe_histogram!(COMMIT_BYTES, Unit::Bytes, "Size of one commit.");
    describe_gauge!(
        JOURNAL_BYTES,
        Unit::Bytes,
        "Disk that the journal takes, space reserved ahead included."
    );
    describe_gauge!(JOURNAL_QUEUED, Unit::Bytes, "Bytes waiting for a commit.");
    describe_gauge!(
        JOURNAL_DAMAGED,
        "Damaged records found in the last segment at the start."
    );
    describe_gauge!(KEYS, "Streaming keys in force.");
    describe_counter!(
        LOG_LINES_LOST,
        "Log lines that standard error did not take."
    );
    describe_counter!(
        PART_FAILURES,
        "Threads and tasks that panicked or ended while the server ran, by part."
    );
    describe_counter!(
        AUDIT_LOST,
        "Audit entries of the server that found no room while the log could not be written."
    );
    describe_gauge!(
        AUDIT_WAITING,
        "Audit entries of the server that wait to be appended."
    );
    describe_counter!(PANICS, "Panics of threads and tasks.");
    describe_counter!(KEY_RELOADS, "Reloads of the key file, by result.");
    describe_counter!(TLS_RELOADS, "Reloads of TLS files, by result.");
    describe_gauge!(
        KEY_RELOAD_TIME,
        Unit::Seconds,
        "When the keys in force were loaded, seconds since 1970."
    );
}

/// What is counted of one source.
#[derive(Debug)]
pub struct SourceMeters {
    source: Source,
    connections: Gauge,
    opened: Total,
    closed: AtomicU64,
    connections_refused: Counter,
    accept_errors: Counter,
    frames: Total,
    events: Total,
    bytes: Total,
    refused: AtomicU64,
}

/// A counter that the server reads itself; the recorder is told of it before a scrape.
#[derive(Debug)]
struct Total {
    count: AtomicU64,
    shown: Counter,
}

impl Total {
    fn new(shown: Counter) -> Self {
        Self {
            count: AtomicU64::new(0),
            shown,
        }
    }

    fn increment(&self, by: u64) {
        self.count.fetch_add(by, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn show(&self) {
        self.shown.absolute(self.read());
    }
}

/// A reading of what was counted of one source, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceReading {
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were accepted.
    pub opened: u64,
    /// Frames, requests and groups of syslog messages that were appended.
    pub frames: u64,
    /// Events, log lines, metrics, spans and snapshots in them.
    pub events: u64,
    /// Payload bytes in them.
    pub bytes: u64,
    /// What was refused, for whatever reason.
    pub refused: u64,
}

struct Meters {
    sources: [SourceMeters; 4],
    replayed: Counter,
    commit_seconds: Histogram,
    commit_bytes: Histogram,
}

static METERS: LazyLock<Meters> = LazyLock::new(|| Meters {
    sources: Source::ALL.map(SourceMeters::new),
    replayed: counter!(REPLAYED),
    commit_seconds: histogram!(COMMIT_SECONDS),
    commit_bytes: histogram!(COMMIT_BYTES),
});

/// The meters of a source.
pub fn source(source: Source) -> &'static SourceMeters {
    let [tcp, http, syslog_tcp, syslog_udp] = &METERS.sources;
    match source {
        Source::Tcp => tcp,
        Source::Http => http,
        Source::SyslogTcp => syslog_tcp,
        Source::SyslogUdp => syslog_udp,
    }
}

impl SourceMeters {
    fn new(source: Source) -> Self {
        let label = source.as_str();
        Self {
            source,
            connections: gauge!(CONNECTIONS, "source" => label),
            opened: Total::new(counter!(CONNECTIONS_OPENED, "source" => label)),
            closed: AtomicU64::new(0),
            connections_refused: counter!(CONNECTIONS_REFUSED, "source" => label),
            accept_errors: counter!(ACCEPT_ERRORS, "source" => label),
            frames: Total::new(counter!(FRAMES, "source" => label)),
            events: Total::new(counter!(EVENTS, "source" => label)),
            bytes: Total::new(counter!(BYTES, "source" => label)),
            refused: AtomicU64::new(0),
        }
    }

    /// A connection was accepted.
    pub fn connection_opened(&self) {
        self.opened.increment(1);
    }

    /// It ended.
    pub fn connection_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was closed at once, because there are too many.
    pub fn connection_refused(&self) {
        self.connections_refused.increment(1);
    }

    /// Accepting failed.
    pub fn accept_failed(&self) {
        self.accept_errors.increment(1);
    }

    /// Something was appended to the journal.
    pub fn appended(&self, frames: u64, events: u64, bytes: u64, replaced: u64) {
        self.frames.increment(frames);
        self.events.increment(events);
        self.bytes.increment(bytes);
        if replaced > 0 {
            counter!(REPLACED, "source" => self.source.as_str()).increment(replaced);
        }
    }

    /// Something was refused.
    pub fn refused(&self, fault: &Refusal, times: u64) {
        self.refused.fetch_add(times, Ordering::Relaxed);
        counter!(REFUSED, "source" => self.source.as_str(), "reason" => fault.answer().code)
            .increment(times);
    }

    /// Reads what was counted.
    pub fn read(&self) -> SourceReading {
        // Closed first: what closes in between is still open in the reading, never less than none.
        let closed = self.closed.load(Ordering::Relaxed);
        let opened = self.opened.read();
        SourceReading {
            connections: opened.saturating_sub(closed),
            opened,
            frames: self.frames.read(),
            events: self.events.read(),
            bytes: self.bytes.read(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn show(&self) {
        self.connections.set(self.read().connections as f64);
        for total in [&self.opened, &self.frames, &self.events, &self.bytes] {
            total.show();
        }
    }
}

/// Tells the recorder what was counted of the sources.
pub fn sources_now() {
    METERS.sources.iter().for_each(SourceMeters::show);
}

/// A request with an `Idempotency-Key` came again.
pub fn replayed() {
    METERS.replayed.increment(1);
}

/// What is counted for one UDP listener. Received and dropped by the kernel together are what was sent to it.
#[derive(Clone, Debug)]
pub struct DatagramMeters {
    received: Counter,
    by_server: Counter,
    by_kernel: Counter,
}

impl DatagramMeters {
    /// For the listener at this address.
    pub fn new(listener: SocketAddr) -> Self {
        let listener = listener.to_string();
        let dropped =
            |by: &'static str| counter!(UDP_DROPPED, "listener" => listener.clone(), "by" => by);
        Self {
            received: counter!(UDP_RECEIVED, "listener" => listener.clone()),
            by_server: dropped("server"),
            by_kernel: dropped("kernel"),
        }
    }

    /// Datagrams were taken from a socket, and so many of them not kept.
    pub fn received(&self, datagrams: u64, dropped: u64) {
        self.received.increment(datagrams);
        if dropped > 0 {
            self.by_server.increment(dropped);
        }
    }

    /// The kernel dropped so many since the sockets were opened.
    pub fn dropped_by_kernel(&self, datagrams: u64) {
        self.by_kernel.absolute(datagrams);
    }
}

/// A commit ended well.
pub fn committed(bytes: u64, took: Duration) {
    METERS.commit_seconds.record(took.as_secs_f64());
    METERS.commit_bytes.record(bytes as f64);
}

/// A thread or task ended that was not to.
pub fn part_failed(part: &'static str) {
    counter!(PART_FAILURES, "part" => part).increment(1);
}

/// What the audit log lost, and what waits for it.
pub fn audit_now(lost: u64, waiting: usize) {
    counter!(AUDIT_LOST).absolute(lost);
    gauge!(AUDIT_WAITING).set(waiting as f64);
}

/// What the log lost, and the panics that there were, since the start.
pub fn process_now(log_lines_lost: u64, panics: u64) {
    counter!(LOG_LINES_LOST).absolute(log_lines_lost);
    counter!(PANICS).absolute(panics);
}

/// The key file was read anew, with this result: `loaded` or `kept`, where it was not usable.
pub fn keys_reloaded(result: &'static str) {
    counter!(KEY_RELOADS, "result" => result).increment(1);
}

/// The files of a TLS listener were read anew, with this result: `loaded` or `kept`, where they were not
/// usable.
pub fn tls_reloaded(result: &'static str) {
    counter!(TLS_RELOADS, "result" => result).increment(1);
}

/// The keys in force, and since when, in seconds since 1970.
pub fn keys_in_force(keys: usize, since_unix_secs: f64) {
    gauge!(KEYS).set(keys as f64);
    gauge!(KEY_RELOAD_TIME).set(since_unix_secs);
}

/// The journal as recovery found it.
pub fn journal_recovered(damaged: u64) {
    gauge!(JOURNAL_DAMAGED).set(damaged as f64);
}

/// The journal right now.
pub fn journal_now(disk_bytes: u64, queued_bytes: u64) {
    gauge!(JOURNAL_BYTES).set(disk_bytes as f64);
    gauge!(JOURNAL_QUEUED).set(queued_bytes as f64);
}

/// The busiest keys and workspaces with their events. Further lines of the exposition, because their labels
/// change, and the recorder would keep every label it ever saw.
#[derive(Debug, Default)]
pub struct Busiest {
    /// Events accepted by key, the busiest first.
    pub keys: Vec<(KeyId, u64)>,
    /// Events accepted by workspace, the busiest first.
    pub workspaces: Vec<(Workspace, u64)>,
}

impl Busiest {
    /// The keys and workspaces with most events.
    pub fn of(keyring: &Keyring) -> Self {
        let mut keys = Vec::new();
        let mut by_workspace: HashMap<Workspace, u64> = HashMap::new();
        for grant in keyring.grants() {
            let events = grant.counted().events;
            if events > 0 {
                keys.push((grant.key_id(), events));
                *by_workspace.entry(grant.workspace()).or_default() += events;
            }
        }
        let mut workspaces: Vec<_> = by_workspace.into_iter().collect();
        keep_busiest(&mut keys);
        keep_busiest(&mut workspaces);
        Self { keys, workspaces }
    }

    /// Appends the lines.
    pub fn write(&self, out: &mut String) {
        if !self.keys.is_empty() {
            let help = "Events accepted with the busiest keys, by public id.";
            write_family(out, KEY_EVENTS, help, "key_id", &self.keys);
        }
        if !self.workspaces.is_empty() {
            let help = "Events accepted for the busiest workspaces.";
            write_family(out, WORKSPACE_EVENTS, help, "workspace", &self.workspaces);
        }
    }
}

fn keep_busiest<K: Ord + Copy>(counted: &mut Vec<(K, u64)>) {
    counted.sort_unstable_by_key(|&(key, events)| (std::cmp::Reverse(events), key));
    counted.truncate(limits::BUSIEST_SHOWN);
}

fn write_family(
    out: &mut String,
    name: &str,
    help: &str,
    label: &str,
    values: &[(impl Display, u64)],
) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "\n# HELP {name} {help}\n# TYPE {name} counter");
    for (value, events) in values {
        let _ = writeln!(out, "{name}{{{label}=\"{value}\"}} {events}");
    }
}
