//! The real server, started on free ports, driven by real clients: one binary, one harness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
mod http;
mod tidy;
