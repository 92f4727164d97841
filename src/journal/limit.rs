//! How much disk the journal may take.

use std::fmt;
use std::io;

use super::storage::Storage;

/// How much disk the journal may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalLimit {
    /// What leaves a tenth of the file system free.
    TenthFree,
    /// This many bytes.
    Bytes(u64),
}

impl JournalLimit {
    /// What may be added to `used_bytes`.
    pub(super) fn left_bytes(self, storage: &dyn Storage, used_bytes: u64) -> io::Result<u64> {
        Ok(match self {
            Self::Bytes(limit) => limit.saturating_sub(used_bytes),
            Self::TenthFree => {
                let space = storage.space()?;
                space.available.saturating_sub(space.total / 10)
            }
        })
    }
}

impl fmt::Display for JournalLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TenthFree => f.write_str("10% of the file system free"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}
