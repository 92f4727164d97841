//! Who may write where: the keyring that every frame is checked against, and what is counted of each key.

pub mod failures;
pub mod keyring;
mod table;
pub mod usage;

pub use failures::Failures;
pub use keyring::{Grant, KeySpec, Keyring, Keys};
