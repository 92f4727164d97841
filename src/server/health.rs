//! Whether the server can do its job right now, and if not, why.

use std::sync::Arc;

use crate::files::health::FileHealth;
use crate::journal::Journal;
use crate::listen::context::{Readiness, Unready};

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    journal: Journal,
    key_file: Arc<FileHealth>,
    tls: Arc<FileHealth>,
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
}

impl Readiness for Health {
    fn unready(&self) -> Vec<Unready> {
        let journal = self.journal.status().refusing.map(|refused| Unready {
            component: "journal",
            reason: refused.to_string(),
        });
        let key_file = self.key_file.fault().map(|fault| Unready {
            component: "key_file",
            reason: format!("the last good keys are in force: {fault}"),
        });
        let tls = self.tls.fault().map(|fault| Unready {
            component: "tls",
            reason: format!("the last good certificate is in force: {fault}"),
        });
        journal.into_iter().chain(key_file).chain(tls).collect()
    }
}
