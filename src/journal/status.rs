//! What a journal tells of itself.

use std::sync::atomic::AtomicU64;

use super::Refused;

/// What the journal counts, from the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commits that ended well.
    pub commits: AtomicU64,
    /// Records in them.
    pub records: AtomicU64,
    /// Bytes of records in them, without padding.
    pub bytes: AtomicU64,
}

/// The state of a journal, for people and readiness checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Bytes of disk that all segments take, the space reserved ahead included.
    pub disk_bytes: u64,
    /// Bytes waiting for a commit.
    pub queued_bytes: u64,
    /// Why no more can be taken at the moment.
    pub refusing: Option<Refused>,
}

/// How far a journal extends and may still extend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Segment files.
    pub segments: usize,
    /// What further segments may take, bytes.
    pub left_bytes: u64,
}
