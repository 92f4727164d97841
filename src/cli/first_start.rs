//! The first start: word on the terminal of the key that was made.

use std::io::{self, Write};

use crate::cli::apikeys::curl_line;
use crate::cli::program::{called, plain_http, shell_word};
use crate::control::config::Config;
use crate::wire::key::StreamingKey;

/// Prints the key of the first start, this once, to the terminal and not to the log, with a line that sends a
/// first event.
pub(super) fn welcome(config: &Config, key: &StreamingKey) {
    // Whoever closed stdout finds the key in the file.
    let _ = write_welcome(&mut io::stdout().lock(), config, key);
}

fn write_welcome(out: &mut impl Write, config: &Config, key: &StreamingKey) -> io::Result<()> {
    writeln!(
        out,
        "First start: created {} with one key for workspace 1.\nThis is shown once:\n\n  {}\n",
        config.files.keys.display(),
        key.reveal()
    )?;
    if let Some(address) = plain_http(config).filter(|address| address.port() != 0) {
        let data_dir = config.files.data_dir.display().to_string();
        let curl = curl_line(address, key);
        writeln!(out, "Send a first event:\n\n  {curl}\n")?;
        writeln!(
            out,
            "Read it back:\n\n  {} export --workspace 1 --data-dir {}\n",
            called(),
            shell_word(&data_dir)
        )?;
    }
    out.flush()
}
