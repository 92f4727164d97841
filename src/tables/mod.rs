//! Journal records to the rows of the tables that TABLES in the README describes.

pub mod row;
pub mod syslog;

pub use row::{Row, Table};
