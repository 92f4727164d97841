//! The streaming keys: their file, its edits, following it, and what is remembered of each key.

mod counted;
mod difference;
pub mod edit;
pub mod file;
pub mod first;
mod lines;
pub mod name;
pub mod permissions;
pub mod reload;
mod remembered;
pub mod selector;
pub mod usage;
