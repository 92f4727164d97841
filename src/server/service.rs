//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, how it goes, and that the
//! server makes progress, where the unit has a watchdog.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::limits;
use crate::listen::context::{Readiness as _, Unready};
use crate::server::health::Health;

/// The way to the service manager, if one started us.
#[derive(Debug, Default)]
pub struct Service {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// How long the manager goes without word before it takes the server for hung.
    watchdog: Option<Duration>,
}

impl Service {
    /// As the environment tells.
    pub fn from_environment() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_for_us =
            number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_for_us && *usec > 0);
        match connect(&address) {
            Ok(manager) => Self {
                manager: Some(manager),
                watchdog: watchdog.map(Duration::from_micros),
            },
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used; the service manager is told nothing");
                Self::default()
            }
        }
    }

    /// Whether there is a manager to be told anything.
    pub const fn is_managed(&self) -> bool {
        self.manager.is_some()
    }

    /// The server serves; also after a reload.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Files are read anew; [`ready`](Self::ready) ends it.
    pub fn reloading(&self) {
        // The manager compares this time with that of its signal.
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The server drains.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// Says how it goes whenever that changes, until `drain`; and for as long as the runtime runs and the
    /// journal's writer does its work, that the server makes progress.
    pub async fn follow(
        self: Arc<Self>,
        journal: Journal,
        health: Arc<Health>,
        drain: CancellationToken,
    ) {
        let patience = self.watchdog.map(|watchdog| watchdog / 2);
        let pause = patience.map_or(limits::STATUS_INTERVAL, |patience| {
            // Twice as often as is asked for: a late wake-up is no hang.
            (patience / 2).min(limits::STATUS_INTERVAL)
        });
        let mut progress = Progress::new(&journal);
        let mut said = String::new();
        loop {
            let status = show(&health);
            if status != said && !drain.is_cancelled() {
                self.tell(&format!("STATUS={status}"));
                said = status;
            }
            if let Some(patience) = patience {
                let stuck = progress.look(&journal);
                if stuck < patience {
                    self.tell("WATCHDOG=1");
                } else {
                    tracing::error!(?stuck, "the journal's writer makes no progress");
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn tell(&self, state: &str) {
        let Some((socket, manager)) = &self.manager else {
            return;
        };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), manager) {
            tracing::debug!(%error, "the service manager could not be told");
        }
    }
}

fn connect(address: &OsString) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.as_bytes() {
        // An abstract name is written with an @ for its leading zero.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold the server up.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// In one line: a status is a line.
fn show(health: &Health) -> String {
    let (unready, degraded) = (health.unready(), health.degraded());
    let text = match (unready.as_slice(), degraded.as_slice()) {
        ([], []) => "serving".to_owned(),
        ([], degraded) => format!("serving, degraded: {}", reasons(degraded)),
        (unready, _) => format!("not ready: {}", reasons(unready)),
    };
    text.replace('\n', "; ")
}

fn reasons(wrong: &[Unready]) -> String {
    let said: Vec<String> = wrong
        .iter()
        .map(|wrong| {
            let reason = wrong.detail.as_ref().unwrap_or(&wrong.reason);
            format!("{}: {reason}", wrong.component)
        })
        .collect();
    said.join("; ")
}

/// Whether commits are made while there is something to commit.
#[derive(Debug)]
struct Progress {
    commits: u64,
    since: Instant,
}

impl Progress {
    fn new(journal: &Journal) -> Self {
        Self {
            commits: commits(journal),
            since: Instant::now(),
        }
    }

    /// For how long something has waited without a commit.
    fn look(&mut self, journal: &Journal) -> Duration {
        let commits = commits(journal);
        if commits != self.commits || journal.status().queued_bytes == 0 {
            *self = Self {
                commits,
                since: Instant::now(),
            };
        }
        self.since.elapsed()
    }
}

fn commits(journal: &Journal) -> u64 {
    journal.counters().commits.load(Ordering::Relaxed)
}
