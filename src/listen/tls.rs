//! TLS on an accepted connection. Certificates and keys come from `control::tls`, which replaces them
//! here while the server runs: a handshake uses what is there when it begins.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a listener answers handshakes with.
#[derive(Debug)]
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// Answers with this.
    pub fn new(config: ServerConfig) -> Self {
        Self(ArcSwap::from_pointee(config))
    }

    /// Answers with this from the next handshake on. Open connections go on.
    pub fn replace(&self, config: ServerConfig) {
        self.0.store(Arc::new(config));
    }

    /// Does the handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Box<TlsStream<TcpStream>>> {
        let acceptor = TlsAcceptor::from(self.0.load_full());
        acceptor.accept(stream).await.map(Box::new)
    }
}
