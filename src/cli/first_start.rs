//! The first start: word on the terminal of the key that was made.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

use crate::cli::apikeys::curl_line;
use crate::cli::program::{called, reachable, shell_word};
use crate::control::config::Config;
use crate::control::keys::edit;
use crate::wire::key::StreamingKey;

/// Prints the key of the first start, this once, with a line that sends a first event: to a terminal, where
/// somebody reads it. Anything else keeps what is printed (the journal of systemd, the log of a container), so there
/// only its public id is said.
pub(super) fn welcome(config: &Config, key: &StreamingKey, http: Option<SocketAddr>) {
    let mut out = io::stdout().lock();
    let shown = out.is_terminal();
    // Whoever closed stdout finds the key in the file.
    let _ = write_welcome(&mut out, config, key, http, shown);
}

fn write_welcome(
    out: &mut impl Write,
    config: &Config,
    key: &StreamingKey,
    http: Option<SocketAddr>,
    shown: bool,
) -> io::Result<()> {
    let keys = config.files.keys.display();
    let data_dir = shell_word(&config.files.data_dir.display().to_string());
    if !shown {
        writeln!(
            out,
            "First start: created {keys} with one key for workspace 1, {}.\nTo see it:\n\n  {} apikeys show {} --data-dir {data_dir}\n",
            key.id(),
            called(),
            edit::DEFAULT_KEY_NAME,
        )?;
        return out.flush();
    }
    writeln!(
        out,
        "First start: created {keys} with one key for workspace 1.\nThis is shown once:\n\n  {}\n",
        key.reveal()
    )?;
    if let Some(address) = http {
        let curl = curl_line(reachable(address), key);
        writeln!(out, "Send a first event:\n\n  {curl}\n")?;
        writeln!(
            out,
            "Read it back:\n\n  {} export --workspace 1 --data-dir {data_dir}\n",
            called(),
        )?;
    }
    out.flush()
}
