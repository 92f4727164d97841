//! The real server, started on free ports, driven by real clients: one binary, one harness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backpressure;
mod durability;
mod frames;
mod harness;
mod http;
mod http_batches;
mod http_refusals;
mod key_reload;
mod load;
mod rows;
mod sdk;
mod secrets;
mod syslog;
mod syslog_senders;
mod tcp;
mod tidy;
