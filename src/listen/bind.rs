//! Binds the sockets that nobody passed to the server.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::limits;

/// Binds a TCP listener. An address of `[::]` takes IPv4 too.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restarted server must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::ACCEPT_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Binds `sockets` UDP sockets to one address, and says which; the kernel spreads senders over them. An
/// address of `[::]` takes IPv4 too.
pub fn bind_udp(address: SocketAddr, sockets: usize) -> io::Result<(Vec<UdpSocket>, SocketAddr)> {
    let first = udp_socket(address)?;
    // The first is bound without SO_REUSEPORT, or another server that has the address would go unnoticed.
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let first = UdpSocket::from(first);
    let bound = first.local_addr()?;
    let mut all = vec![first];
    while all.len() < sockets {
        let further = udp_socket(address)?;
        further.set_reuse_port(true)?;
        further.bind(&bound.into())?;
        all.push(further.into());
    }
    Ok((all, bound))
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Where the process may not go beyond net.core.rmem_max, the kernel grants that, without an error.
    let forced = setsockopt(&socket, RcvBufForce, &limits::UDP_RECEIVE_BUFFER_BYTES);
    if forced.is_err() {
        socket.set_recv_buffer_size(limits::UDP_RECEIVE_BUFFER_BYTES)?;
    }
    Ok(socket)
}
