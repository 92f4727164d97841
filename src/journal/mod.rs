//! The durable journal: append-only segments shared by all workspaces, one fsync for many records.

pub mod record;

pub use record::{Encoding, Facts, Record, Source};
