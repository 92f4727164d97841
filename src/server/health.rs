//! Whether the server can do its job right now, and if not, why.

use std::sync::Arc;

use crate::control::audit::recorder::Recorder;
use crate::files::health::FileHealth;
use crate::journal::Journal;
use crate::listen::context::{Readiness, Unready};
use crate::server::supervise::{Need, Supervisor};

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    /// It refuses, or it takes.
    pub journal: Journal,
    /// The key file that is followed.
    pub key_file: Arc<FileHealth>,
    /// The certificate files that are followed.
    pub tls: Arc<FileHealth>,
    /// What the server notes.
    pub audit: Recorder,
    /// All threads and tasks.
    pub parts: Supervisor,
}

impl Health {
    fn failed_parts(&self, need: Need) -> impl Iterator<Item = Unready> {
        let failures = self.parts.failures().into_iter();
        failures
            .filter(move |failure| failure.need == need)
            .map(|failure| Unready {
                component: failure.part,
                reason: format!("{failure}; only a restart brings it back"),
                detail: None,
            })
    }
}

impl Readiness for Health {
    fn unready(&self) -> Vec<Unready> {
        let journal = self.journal.status().refusing.map(|refused| Unready {
            component: "journal",
            reason: refused.to_string(),
            detail: None,
        });
        journal
            .into_iter()
            .chain(self.failed_parts(Need::Essential))
            .collect()
    }

    fn degraded(&self) -> Vec<Unready> {
        let key_file = self.key_file.fault().map(|fault| Unready {
            component: "key_file",
            reason: format!("the last good keys are in force: {fault}"),
            detail: None,
        });
        let tls = self.tls.fault().map(|fault| Unready {
            component: "tls",
            reason: "the last good certificate is in force: its files cannot be used".to_owned(),
            detail: Some(format!("the last good certificate is in force: {fault}")),
        });
        let audit = self.audit.fault().map(|fault| Unready {
            component: "audit",
            reason: fault,
            detail: None,
        });
        key_file
            .into_iter()
            .chain(tls)
            .chain(audit)
            .chain(self.failed_parts(Need::Auxiliary))
            .collect()
    }
}
