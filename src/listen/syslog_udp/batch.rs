//! Receives many datagrams with one system call, into buffers that each thread allocates once.
//!
//! `recvmmsg` comes from `nix`: its wrapper is safe and reads no control messages, which `quinn-udp` asks
//! for with every datagram. Syslog senders do not use the segmentation that its GRO support is for.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::limits;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::new());
}

/// The kernel leaves the length of the last address in each header and takes it for the room of the next
/// one: an IPv6 address would be cut behind an IPv4 one. So each family has headers of its own.
struct Buffers {
    ipv4: MultiHeaders<SockaddrStorage>,
    ipv6: MultiHeaders<SockaddrStorage>,
    bytes: Vec<u8>,
}

impl Buffers {
    fn new() -> Self {
        let headers = || MultiHeaders::preallocate(limits::DATAGRAMS_PER_CALL, None);
        Self {
            ipv4: headers(),
            ipv6: headers(),
            bytes: vec![0; limits::DATAGRAMS_PER_CALL * limits::DATAGRAM_SLOT_BYTES],
        }
    }
}

/// Hands what one call receives to `take`, datagram by datagram. Returns how many there were; fewer than
/// [`limits::DATAGRAMS_PER_CALL`] leave the socket empty.
pub(super) fn receive(socket: &UdpSocket, mut take: impl FnMut(&[u8], SocketAddr)) -> usize {
    let mut received = 0;
    let _ = socket.try_io(Interest::READABLE, || {
        received = BUFFERS.with_borrow_mut(|buffers| receive_into(buffers, socket, &mut take))?;
        // The error that says the socket is empty clears its readiness: said now, it spares the call that
        // would only find that out.
        if received < limits::DATAGRAMS_PER_CALL {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    received
}

fn receive_into(
    buffers: &mut Buffers,
    socket: &UdpSocket,
    take: &mut impl FnMut(&[u8], SocketAddr),
) -> io::Result<usize> {
    let mut slots = buffers.bytes.chunks_exact_mut(limits::DATAGRAM_SLOT_BYTES);
    let mut slots: [[IoSliceMut<'_>; 1]; limits::DATAGRAMS_PER_CALL] =
        std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
    let headers = if socket.local_addr()?.is_ipv4() {
        &mut buffers.ipv4
    } else {
        &mut buffers.ipv6
    };
    let datagrams = recvmmsg(
        socket.as_raw_fd(),
        headers,
        &mut slots,
        MsgFlags::MSG_DONTWAIT,
        None,
    )?;
    let mut received = 0;
    for datagram in datagrams {
        received += 1;
        let Some(peer) = datagram.address.as_ref().and_then(address) else {
            continue;
        };
        take(datagram.iovs().next().unwrap_or_default(), peer);
    }
    Ok(received)
}

/// The sender, in the form that connections have too: an IPv4 address is one on a dual-stack socket as well.
fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, u16) = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => (v4.ip().into(), v4.port()),
        (_, Some(v6)) => (v6.ip().to_canonical(), v6.port()),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
