//! What is spoken to the server, and with which key.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    HttpBatch,
    HttpJson,
    SyslogTcp,
    /// The same messages without a key, for those who would take it for a part of the message.
    PlainSyslogTcp,
    SyslogUdp,
}

/// The key with this number.
pub fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}
