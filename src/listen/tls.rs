//! TLS on an accepted connection. The control plane replaces certificates and keys while the server runs: a
//! handshake uses what is there when it begins.

use std::io;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Does the handshake.
pub(super) async fn accept(
    tls: &ArcSwap<ServerConfig>,
    stream: TcpStream,
) -> io::Result<Box<TlsStream<TcpStream>>> {
    let acceptor = TlsAcceptor::from(tls.load_full());
    acceptor.accept(stream).await.map(Box::new)
}
