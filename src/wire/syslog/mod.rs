//! Syslog, RFC 3164 and RFC 5424: byte stream to messages, messages to a key and what is kept, and back.
//!
//! The way of a message: [`framing`] cuts it out of a TCP stream (a UDP datagram is one already), [`key`] finds
//! its streaming key and cuts it out, `mask` looks for other keys in what is kept, [`pack`] puts it into a journal
//! payload. [`header`],
//! [`timestamp`] and [`structured_data`] know where the parts of a message are; its fields are read only when rows are
//! made ([`crate::tables::syslog`]), but for the [`zone`] of its time, which is kept as it was at receipt.

mod cut;
pub mod framing;
pub mod header;
pub mod key;
mod mask;
pub mod pack;
pub mod structured_data;
pub mod timestamp;
pub mod zone;

#[doc(hidden)]
pub mod fuzz;

pub use cut::Kept;
pub use cut::KeyError;
pub use framing::{Framer, Framing, FramingError, datagram_message};
pub use key::{Extracted, extract};
pub use pack::{PackError, Packed, messages, push};
pub use zone::Zone;
