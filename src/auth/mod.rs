//! Who sent it: streaming keys and the keyring.

pub mod key;

pub use key::{KeyId, StreamingKey, Workspace};
