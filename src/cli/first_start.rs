//! The first start: word on the terminal of the key that was made.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::cli::apikeys::curl_line;
use crate::control::config::Config;
use crate::origin::Source;
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
    // Over TLS a client has to know the certificate's name and authority: no one line does for all.
    let plain_http = config
        .listeners
        .iter()
        .filter(|listener| listener.source == Source::Http)
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
        let data_dir = config.files.data_dir.display().to_string();
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
