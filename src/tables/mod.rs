//! Journal records to the rows of the tables that `docs/tables.md` describes.

pub mod decode;
mod id;
pub mod json;
mod object;
mod rfc3339;
pub mod row;
pub mod schema;
mod strict;
pub mod syslog;
pub mod values;

pub use row::{Row, Table};
