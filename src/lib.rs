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
//! - [`origin`]: who sent something, and through which listener.
//! - [`listen`]: sockets and their bounds; one file a protocol.
//! - [`wire`]: bytes to frames. Synchronous, no I/O, knows no runtime.
//! - [`auth`]: the keyring that every frame is checked against.
//! - [`ingest`]: the path in one place: authenticate, admit, append, acknowledge.
//! - [`journal`]: append-only segments, group commit, recovery, and reading back.
//! - [`tables`]: journal records to the rows of the tables.
//! - [`fault`]: what a peer can be refused for, and the answer to each.
//! - [`limits`], [`network`], [`meters`], [`files`]: every bound with its reason; networks in CIDR notation; every
//!   metric; files that are replaced whole and followed.
//! - [`server`]: builds the parts from a [`control::config::Config`], starts them, drains them, and says how they are.

// The library is this program's alone: its documentation is read beside the code, private parts included.
#![allow(rustdoc::private_intra_doc_links)]

pub mod auth;
pub mod cli;
pub mod control;
pub mod fault;
pub mod files;
pub mod ingest;
pub mod journal;
pub mod limits;
pub mod listen;
pub mod meters;
pub mod network;
pub mod origin;
pub mod server;
pub mod tables;
pub mod wire;
