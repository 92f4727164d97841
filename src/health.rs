//! Whether the server can do its job right now, and if not, why.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Serialize;

use crate::journal::Journal;

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    journal: Journal,
    key_file: Arc<KeyFileHealth>,
}

/// What is wrong with the key file at the moment; the last good keys are in force meanwhile.
#[derive(Debug, Default)]
pub struct KeyFileHealth(ArcSwapOption<String>);

impl KeyFileHealth {
    /// Notes the fault, or that there is none.
    pub fn set(&self, fault: Option<String>) {
        self.0.store(fault.map(Arc::new));
    }
}

/// Why the server is not ready, one entry a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unready {
    /// `journal` or `key_file`.
    pub component: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Health {
    /// Health of a server with this journal and key file.
    pub fn new(journal: Journal, key_file: Arc<KeyFileHealth>) -> Self {
        Self { journal, key_file }
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
        journal.into_iter().chain(key_file).collect()
    }
}
