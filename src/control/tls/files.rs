//! One set of PEM files, read into what handshakes are answered with.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use crate::files::read::{self, ReadError};
use crate::limits;

/// The files of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and the authority, in this order.
    pub cert: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// The authorities of client certificates. With them, every client needs a certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why the files cannot be used. Never shows what is in them.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TlsFault {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    TooLarge,
    NotPem,
    NoCertificate,
    NoKey,
    /// The certificate, or the key to it, does not do.
    Pair(rustls::Error),
    Mismatch,
    Authority,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::TooLarge => write!(
                f,
                "larger than {} bytes: expected a PEM file",
                limits::PEM_FILE_BYTES
            ),
            Self::NotPem => f.write_str("not PEM: expected -----BEGIN …----- and -----END …-----"),
            Self::NoCertificate => {
                f.write_str("no certificate in it: expected -----BEGIN CERTIFICATE-----")
            }
            Self::NoKey => f.write_str(
                "no private key in it: expected -----BEGIN PRIVATE KEY-----, unencrypted",
            ),
            Self::Pair(error) => write!(f, "certificate and key cannot be used: {error}"),
            Self::Mismatch => f.write_str("the private key does not belong to the certificate"),
            Self::Authority => f.write_str("holds a certificate that cannot be an authority"),
        }
    }
}

impl TlsFiles {
    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    /// Reads the files, and checks that they go together.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used, and why.
    pub fn read(&self, alpn: &[&[u8]]) -> Result<ServerConfig, TlsFault> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.cert)?;
        let key = private_key(&self.key)?;
        let pair = |error| {
            let problem = match error {
                rustls::Error::InconsistentKeys(_) => Problem::Mismatch,
                other => Problem::Pair(other),
            };
            fault(&self.key, problem)
        };
        // TLS 1.0 and 1.1 are historic (RFC 8996).
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut authorities = RootCertStore::empty();
                for certificate in certificates(path)? {
                    authorities
                        .add(certificate)
                        .map_err(|_| fault(path, Problem::Authority))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(authorities.into(), provider)
                        .build()
                        .map_err(|_| fault(path, Problem::Authority))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

fn fault(path: &Path, problem: Problem) -> TlsFault {
    TlsFault {
        path: path.to_owned(),
        problem,
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, TlsFault> {
    read::named(path, limits::PEM_FILE_BYTES).map_err(|error| match error {
        ReadError::Io(error) => fault(path, Problem::Unreadable(error)),
        ReadError::TooLong { .. } => fault(path, Problem::TooLarge),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem(path)?).collect();
    // The error may quote the file.
    let found = found.map_err(|_| fault(path, Problem::NotPem))?;
    if found.is_empty() {
        return Err(fault(path, Problem::NoCertificate));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_slice(&pem(path)?).map_err(|error| match error {
        PemError::NoItemsFound => fault(path, Problem::NoKey),
        _ => fault(path, Problem::NotPem),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn pair(directory: &Path, name: &str) -> TlsFiles {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            cert: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
            client_ca: None,
        };
        fs::write(&files.cert, cert.pem()).unwrap();
        fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        files
    }

    fn why(files: &TlsFiles) -> String {
        files.read(&[]).unwrap_err().to_string()
    }

    #[test]
    fn a_good_pair_is_read_with_and_without_client_authorities() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = pair(dir.path(), "a");
        let config = files.read(&[b"http/1.1"]).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
        files.client_ca = Some(files.cert.clone());
        assert!(files.read(&[]).is_ok());
    }

    #[test]
    fn each_fault_names_its_file_and_shows_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (pair(dir.path(), "a"), pair(dir.path(), "b"));
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let garbage = write("garbage", "-----BEGIN SECRET\nhunter2\n");
        let empty = write("empty", "");
        let absent = dir.path().join("absent");
        let with = |cert: &Path, key: &Path| TlsFiles {
            cert: cert.to_owned(),
            key: key.to_owned(),
            client_ca: None,
        };
        for (files, path, says) in [
            (with(&a.cert, &b.key), &b.key, "does not belong"),
            (with(&absent, &a.key), &absent, "cannot be read"),
            (with(&garbage, &a.key), &garbage, "not PEM"),
            (with(&a.cert, &garbage), &garbage, "not PEM"),
            (with(&empty, &a.key), &empty, "no certificate"),
            (with(&a.key, &a.key), &a.key, "no certificate"),
            (with(&a.cert, &a.cert), &a.cert, "no private key"),
            (
                with(Path::new("/dev/zero"), &a.key),
                &PathBuf::from("/dev/zero"),
                "larger than",
            ),
        ] {
            let why = why(&files);
            assert!(why.starts_with(&format!("{}: ", path.display())), "{why}");
            assert!(why.contains(says) && !why.contains("hunter2"), "{why}");
        }
        let mut files = a.clone();
        files.client_ca = Some(empty);
        assert!(why(&files).contains("no certificate"));
    }
}
