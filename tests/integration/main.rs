//! The real server, started on free ports, driven by real clients: one binary, one harness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apikeys;
mod apikeys_parallel;
mod audit;
mod backpressure;
mod config;
mod durability;
mod first_start;
mod frames;
mod harness;
mod http;
mod http_batches;
mod http_client;
mod http_refusals;
mod key_reload;
mod load;
mod metrics;
mod readiness;
mod revocation;
mod rows;
mod sdk;
mod secrets;
mod service;
mod sockets;
mod status;
mod syslog;
mod syslog_senders;
mod tcp;
mod terminal;
mod tidy;
mod units;
