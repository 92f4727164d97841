//! Keeps the TLS listeners' certificates what their files say.
//!
//! A renewal writes two files, one after the other: they are read together, once all files of a listener
//! have been quiet for a while. So nothing is gained by being told of a change at once, and a poll, which
//! also finds what `notify` cannot tell of (a symlink's target, a network file system), does alone. Files
//! that cannot be used keep the last good pair and are said in the log and in readiness.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::{TlsFault, TlsFiles};
use arc_swap::ArcSwap;
use rustls::ServerConfig;

use crate::control::Spawn;
use crate::files::Fingerprint;
use crate::files::health::FileHealth;
use crate::{limits, meters};

/// The files of all TLS listeners, and, once [`watch`](TlsReload::watch) was called, the thread that
/// follows them.
#[derive(Debug, Default)]
pub struct TlsReload {
    followed: Vec<Followed>,
    health: Arc<FileHealth>,
    thread: Option<(Sender<Signal>, JoinHandle<()>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// Read all files now, changed or not.
    Now,
    /// The server ends.
    Stop,
}

/// One listener's files.
#[derive(Debug)]
struct Followed {
    files: TlsFiles,
    alpn: &'static [&'static [u8]],
    tls: Arc<ArcSwap<ServerConfig>>,
    /// The state that was last read, good or bad.
    read: Vec<Option<Fingerprint>>,
    /// A newer state, and since when it is the same.
    seen: Option<(Vec<Option<Fingerprint>>, Instant)>,
    fault: Option<String>,
}

impl TlsReload {
    /// Reads the files of one listener.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with them: a server does not start with files that it cannot use.
    pub fn add(
        &mut self,
        files: &TlsFiles,
        alpn: &'static [&'static [u8]],
    ) -> Result<Arc<ArcSwap<ServerConfig>>, TlsFault> {
        // The state of before: a change while the files are read is found by the next look.
        let read = state(files);
        let tls = Arc::new(ArcSwap::from_pointee(files.read(alpn)?));
        self.followed.push(Followed {
            files: files.clone(),
            alpn,
            tls: Arc::clone(&tls),
            read,
            seen: None,
            fault: None,
        });
        Ok(tls)
    }

    /// What is wrong with the files at the moment.
    pub fn health(&self) -> Arc<FileHealth> {
        Arc::clone(&self.health)
    }

    /// Starts the thread that follows the files, if there are any.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn watch(&mut self, spawn: Spawn<'_>) -> io::Result<()> {
        if self.followed.is_empty() {
            return Ok(());
        }
        let (signals, received) = channel();
        let mut following = Following {
            followed: std::mem::take(&mut self.followed),
            health: self.health(),
        };
        let thread = spawn("tls-reload", Box::new(move || following.run(&received)))?;
        self.thread = Some((signals, thread));
        Ok(())
    }

    /// Reads the files now, as SIGHUP asks for.
    pub fn reload_now(&self) {
        self.signal(Signal::Now);
    }

    /// Lets the thread end. It has nothing to save: nobody waits for it.
    pub fn stop(&self) {
        self.signal(Signal::Stop);
    }

    fn signal(&self, signal: Signal) {
        if let Some((signals, _)) = &self.thread {
            // The thread lives as long as this sender.
            let _ = signals.send(signal);
        }
    }
}

struct Following {
    followed: Vec<Followed>,
    health: Arc<FileHealth>,
}

impl Following {
    fn run(&mut self, signals: &Receiver<Signal>) {
        loop {
            let now = match signals.recv_timeout(limits::KEY_FILE_POLL) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Now) => true,
                Err(RecvTimeoutError::Timeout) => false,
            };
            let mut any = false;
            for followed in &mut self.followed {
                any |= followed.look(now);
            }
            if any {
                let faults: Vec<&str> = self
                    .followed
                    .iter()
                    .filter_map(|followed| followed.fault.as_deref())
                    .collect();
                self.health
                    .set((!faults.is_empty()).then(|| faults.join("; ")));
            }
        }
    }
}

impl Followed {
    /// Reads the files if they changed and are quiet since, or if that is asked for. Returns whether it did.
    fn look(&mut self, now: bool) -> bool {
        let state = state(&self.files);
        if !now {
            if state == self.read {
                self.seen = None;
                return false;
            }
            match &self.seen {
                Some((seen, since)) if *seen == state => {
                    if since.elapsed() < limits::KEY_FILE_QUIET {
                        return false;
                    }
                }
                _ => {
                    self.seen = Some((state, Instant::now()));
                    return false;
                }
            }
        }
        self.read = state;
        self.seen = None;
        match self.files.read(self.alpn) {
            Ok(config) => {
                self.tls.store(Arc::new(config));
                self.fault = None;
                meters::tls_reloaded("loaded");
                tracing::info!(tls_cert = %self.files.cert.display(), "TLS certificate reloaded");
            }
            Err(fault) => {
                meters::tls_reloaded("kept");
                tracing::error!("{fault}; the last good certificate stays in force");
                self.fault = Some(fault.to_string());
            }
        }
        true
    }
}

fn state(files: &TlsFiles) -> Vec<Option<Fingerprint>> {
    files.paths().map(Fingerprint::of).collect()
}
