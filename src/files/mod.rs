//! Files, whatever is in them: placed, read with a bound, replaced whole, edited by one at a time, and told apart
//! when they change.

mod fingerprint;
pub mod health;
mod lock;
mod place;
pub mod read;
mod replace;

pub use fingerprint::Fingerprint;
pub use lock::EditLock;
pub use place::{Place, create_private_dir};
pub use replace::replace;
