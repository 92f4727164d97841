//! Whether the server can do its job right now, and if not, why.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Serialize;

use crate::journal::Journal;

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    journal: Journal,
    key_file: Arc<FileHealth>,
    tls: Arc<FileHealth>,
}

/// What is wrong at the moment with files that were changed; what they held before is in force meanwhile.
#[derive(Debug, Default)]
pub struct FileHealth(ArcSwapOption<String>);

impl FileHealth {
    /// Notes the fault, or that there is none.
    pub fn set(&self, fault: Option<String>) {
        self.0.store(fault.map(Arc::new));
    }
}

/// Why the server is not ready, one entry a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unready {
    /// `journal`, `key_file` or `tls`.
    pub component: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Health {
    /// Health of a server with this journal, key file and TLS files.
    pub fn new(journal: Journal, key_file: Arc<FileHealth>, tls: Arc<FileHealth>) -> Self {
        Self {
            journal,
            key_file,
            tls,
        }
    }

    /// All that is wrong; nothing when the server is ready.
    pub fn unready(&self) -> Vec<Unready> {
        let journal = self.journal.status().refusing.map(|refused| Unready {
            component: "journal",
            reason: refused.to_string(),
        });
        let key_file = self.key_file.0.load().as_ref().map(|fault| Unready {
            component: "key_file",
            reason: format!("the last good keys are in force: {fault}"),
        });
        let tls = self.tls.0.load().as_ref().map(|fault| Unready {
            component: "tls",
            reason: format!("the last good certificate is in force: {fault}"),
        });
        journal.into_iter().chain(key_file).chain(tls).collect()
    }
}
