//! Servers whose listeners come from a file, with certificates of an authority of the test's own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{SOON, Server, Setup};

/// A stream inside TLS.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate authority, with a directory for what it issues.
pub struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`: a certificate for `localhost`.
    pub fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// `tls_cert` and `tls_key` of what was issued under the name.
    pub fn settings(&self, name: &str) -> String {
        format!(
            "tls_cert = \"{}\"\ntls_key = \"{}\"\n",
            self.path(&format!("{name}.pem")).display(),
            self.path(&format!("{name}.key")).display()
        )
    }

    /// A client that trusts the authority, and shows the certificate issued under the name, if any.
    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        name: Option<&str>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate =
                    CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
        }
    }

    /// Connects, with any version, and without a certificate.
    pub fn connect(&self, address: SocketAddr) -> TlsStream {
        connect(address, self.client(rustls::ALL_VERSIONS, None))
    }
}

/// Connects with TLS. The handshake is done when something is read or written.
pub fn connect(address: SocketAddr, config: ClientConfig) -> TlsStream {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(SOON)).unwrap();
    StreamOwned::new(connection, stream)
}

/// A setup with the file, which is put into the directory.
pub fn with_file(directory: &Path, text: &str) -> Setup {
    let path = directory.join("tell.toml");
    fs::write(&path, text).unwrap();
    Setup::new().args(["--config", path.to_str().unwrap()])
}

/// Where the listeners of the kind are that the file adds to the harness's own.
pub fn of_file(server: &Server, kind: &str) -> Vec<SocketAddr> {
    let log = server.log();
    let ready: Value = log
        .lines()
        .rev()
        .find(|line| line.contains("tell is ready"))
        .and_then(|line| serde_json::from_str(line).ok())
        .expect("the line that says it is ready");
    let all = ready[kind].as_str().unwrap().split(", ");
    all.skip(1)
        .map(|address| address.parse().unwrap())
        .collect()
}
