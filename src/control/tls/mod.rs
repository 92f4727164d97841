//! Certificates and keys of the TLS listeners: read from PEM files at the start, and again whenever the
//! files change, without a restart.

mod files;
mod reload;

pub use files::{TlsFault, TlsFiles};
pub use reload::TlsReload;
