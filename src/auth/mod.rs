//! Who sent it: streaming keys and the keyring.

pub mod failures;
pub mod key;
pub mod keyring;
mod table;
pub mod usage;

pub use failures::Failures;
pub use key::{KeyId, StreamingKey, Workspace};
pub use keyring::{Grant, KeySpec, Keyring, Keys};
