//! Journal records to the rows of the tables that TABLES in the README describes.

pub mod decode;
mod id;
pub mod json;
mod object;
mod rfc3339;
pub mod row;
mod strict;
pub mod syslog;

pub use row::{Row, Table};
