//! The first start: a key file where there is none, and word of it on the terminal.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::config::Config;
use super::key_edit::{self, EditError};

/// Why there is no key file to start with.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// It could not be created.
    #[error(transparent)]
    Create(EditError),
}

/// Creates the key file if it does not exist. Its key is printed, this once, to the terminal and not to the
/// log, with a line that sends a first event.
pub fn create_keys(config: &Config) -> Result<(), FirstStartError> {
    // A symlink that leads nowhere is not a missing file: whoever set it up means another one.
    if config.keys.symlink_metadata().is_ok() {
        return Ok(());
    }
    let key = match key_edit::create_default(&config.keys) {
        Ok(key) => key,
        Err(EditError::Exists { .. }) => return Ok(()),
        Err(error) => return Err(FirstStartError::Create(error)),
    };
    tracing::info!(keys = %config.keys.display(), key_id = %key.id(), "key file created");
    // Whoever closed stdout finds the key in the file.
    let _ = welcome(&mut io::stdout().lock(), config, &key.reveal());
    Ok(())
}

fn welcome(out: &mut impl Write, config: &Config, key: &str) -> io::Result<()> {
    writeln!(out, "First start: created {} with one key for workspace 1.", config.keys.display())?;
    writeln!(out, "This is shown once:\n\n  {key}\n")?;
    if let Some(address) = config.http.filter(|address| address.port() != 0) {
        let host = SocketAddr::new(
            match address.ip() {
                ip if ip.is_unspecified() && ip.is_ipv4() => std::net::Ipv4Addr::LOCALHOST.into(),
                ip if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            },
            address.port(),
        );
        writeln!(out, "Send a first event:\n")?;
        writeln!(
            out,
            "  curl http://{host}/v1/events -H 'Authorization: Bearer {key}' \\\n    -d '{{\"type\":\"track\",\"event\":\"First Event\",\"device_id\":\"550e8400-e29b-41d4-a716-446655440000\"}}'\n"
        )?;
        writeln!(out, "Read it back:\n\n  tell export --workspace 1 --data-dir {}\n", shell_word(&config.data_dir.display().to_string()))?;
    }
    out.flush()
}

/// The word as a shell reads it back.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        assert_eq!(shell_word("./tell-data"), "./tell-data");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
