//! The real server, started on free ports, driven by real clients: one binary, one harness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apikeys;
mod apikeys_parallel;
mod backpressure;
mod browser;
mod browser_rules;
mod config;
mod durability;
mod first_start;
mod frames;
mod harness;
mod http;
mod http2;
mod http_batches;
mod http_closing;
mod http_refusals;
mod idempotency;
mod key_reload;
mod load;
mod metrics;
mod readiness;
mod revocation;
mod rows;
mod sdk;
mod secrets;
mod status;
mod syslog;
mod syslog_senders;
mod tcp;
mod terminal;
mod tidy;
