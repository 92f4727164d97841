//! What is wrong with a file that is followed while the server runs.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// What is wrong at the moment with files that were changed; what they held before is in force meanwhile.
#[derive(Debug, Default)]
pub struct FileHealth(ArcSwapOption<String>);

impl FileHealth {
    /// Notes the fault, or that there is none.
    pub fn set(&self, fault: Option<String>) {
        self.0.store(fault.map(Arc::new));
    }
}

impl FileHealth {
    /// The fault, if there is one.
    pub fn fault(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }
}
