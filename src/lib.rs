//! Tell: a self-hosted streaming ingestion server.
//!
//! The way of one frame, which is also the way through these folders:
//!
//! ```text
//! DATA PLANE     listen ──> wire ──> auth ──> ingest ──> journal ──> tables
//!                sockets    bytes    who      admit,     durable     rows, as
//!                           to       sent     append,    (fsync)     `tell export`
//!                           frames   it       ack                    prints them
//! CONTROL PLANE  control: configuration, key file and its watcher, audit
//!                cli: one file a command
//! ```
//!
//! The control plane acts on the data plane only by swapping immutable snapshots (the keyring) and
//! reads counters back; nothing on the way of a frame waits for it.
//!
//! - [`listen`]: sockets and their bounds; one file a protocol.
//! - [`wire`]: bytes to frames. Synchronous, no I/O, knows no runtime.
//! - [`auth`]: streaming keys, and the keyring that every frame is checked against.
//! - [`ingest`]: the path in one place: authenticate, admit, append, acknowledge.
//! - [`idempotency`]: which requests were taken already.
//! - [`journal`]: append-only segments, group commit, recovery, and reading back.
//! - [`tables`]: journal records to the rows of the tables.
//! - [`network`]: networks in CIDR notation.
//! - [`in_flight`]: memory for what is not whole yet.
//! - [`meters`]: every metric.
//! - [`health`], [`status`]: whether the server can do its job, and how it is, for those who ask.
//! - [`limits`]: every bound, with its reason.
//! - [`server`]: builds the parts from a [`control::config::Config`], starts them, drains them.

pub mod auth;
pub mod cli;
pub mod control;
pub mod fault;
pub mod health;
pub mod idempotency;
pub mod in_flight;
pub mod ingest;
pub mod journal;
pub mod limits;
pub mod listen;
pub mod meters;
pub mod network;
pub mod server;
pub mod status;
pub mod tables;
pub mod wire;
