//! The first start: a key file where there is none, and word of it on the terminal.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::audit::{Action, AuditEntry, AuditLog};
use super::config::Config;
use super::key_edit::{self, EditError};
use crate::auth::StreamingKey;
use crate::cli::apikeys::curl_line;
use crate::journal::Source;

/// Why there is no key file to start with.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// It could not be created.
    #[error(transparent)]
    Create(EditError),
    /// Its creation could not be noted.
    #[error("cannot write the audit log: {0}")]
    Audit(io::Error),
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
    let created = AuditEntry {
        actor: "server",
        action: Action::KeyCreated,
        key_id: Some(key.id()),
        name: Some(key_edit::DEFAULT_KEY_NAME),
        workspace: Some(key_edit::DEFAULT_WORKSPACE),
        details: None,
    };
    AuditLog::open(&config.data_dir)
        .and_then(|log| log.append(&[created]))
        .map_err(FirstStartError::Audit)?;
    tracing::info!(keys = %config.keys.display(), key_id = %key.id(), "key file created");
    // Whoever closed stdout finds the key in the file.
    let _ = welcome(&mut io::stdout().lock(), config, &key);
    Ok(())
}

fn welcome(out: &mut impl Write, config: &Config, key: &StreamingKey) -> io::Result<()> {
    writeln!(
        out,
        "First start: created {} with one key for workspace 1.\nThis is shown once:\n\n  {}\n",
        config.keys.display(),
        key.reveal()
    )?;
    // Over TLS a client has to know the certificate's name and authority: no one line does for all.
    let plain_http = config
        .listeners()
        .filter(|listener| listener.door == Source::Http)
        .find(|listener| listener.tls.is_none() && !listener.proxy_protocol)
        .map(|listener| listener.address);
    if let Some(address) = plain_http.filter(|address| address.port() != 0) {
        let host = SocketAddr::new(
            match address.ip() {
                ip if ip.is_unspecified() && ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
                ip if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            },
            address.port(),
        );
        let data_dir = config.data_dir.display().to_string();
        writeln!(
            out,
            "Send a first event:\n\n  {}\n",
            curl_line(&host.to_string(), key)
        )?;
        writeln!(
            out,
            "Read it back:\n\n  tell export --workspace 1 --data-dir {}\n",
            shell_word(&data_dir)
        )?;
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
