//! `tell version`.

use serde_json::json;

use super::error::Error;
use super::output::Output;

/// Prints the version.
pub(super) fn run(output: Output) -> Result<(), Error> {
    let version = env!("CARGO_PKG_VERSION");
    output.show(&json!({ "version": version }), |out| {
        writeln!(out, "tell {version}")
    })
}
