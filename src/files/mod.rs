//! Files, whatever is in them: replaced whole, and told apart when they change.

mod fingerprint;
pub mod health;
pub mod replace;

pub use fingerprint::Fingerprint;
