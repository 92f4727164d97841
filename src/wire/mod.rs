//! Bytes to frames: parsers that are synchronous, do no I/O and know no runtime.
//!
//! Everything here reads what the network sent: offsets, lengths and counts are hostile until checked,
//! and partial input is a value, not an error.

pub mod batch;
pub mod entries;
pub mod flatbuffer;
pub mod frame;
pub mod json;
pub mod json_lines;
pub mod key;
pub mod proxy;
pub mod surrogates;
pub mod syslog;
#[cfg(test)]
pub(crate) mod testing;
