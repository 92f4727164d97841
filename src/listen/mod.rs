//! Sockets: one file a protocol, and what they share: binding, accepting, the bounds on connections, and the word
//! that the server drains.

pub mod accept;
pub mod bind;
pub mod context;
pub mod http;
pub mod log_gate;
pub mod sources;
pub mod syslog;
pub mod syslog_tcp;
pub mod syslog_udp;
mod syslog_zone;
pub mod tcp;
pub mod tls;

mod connection;
mod enter;
mod stream;

pub use accept::{Slot, accept};
pub use context::{Entrance, ListenerContext};
pub use sources::Sources;
pub use stream::Stream;
pub use syslog_zone::ReceiptZone;
