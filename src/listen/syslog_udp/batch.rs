//! Receives many datagrams with one system call, into buffers that are allocated once.
//!
//! `recvmmsg` comes from `nix`: its wrapper is safe and reads no control messages, which `quinn-udp` asks
//! for with every datagram. Syslog senders do not use the segmentation that its GRO support is for.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

use crate::limits;

/// A socket with the buffers for its datagrams.
///
/// The buffers are never shared between sockets: the kernel leaves the length of the last address in each
/// header and takes it for the room of the next one, so that an IPv6 address would be cut behind an IPv4 one.
pub(super) struct Receiver {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrStorage>,
    bytes: Vec<u8>,
}

/// Whether to wait for a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// For the first one, but no longer than [`limits::UDP_WAIT`].
    ForOne,
    /// Only what is there.
    No,
}

impl Receiver {
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(limits::UDP_WAIT))?;
        Ok(Self {
            socket,
            headers: MultiHeaders::preallocate(limits::DATAGRAMS_PER_CALL, None),
            bytes: vec![0; limits::DATAGRAMS_PER_CALL * limits::DATAGRAM_SLOT_BYTES],
        })
    }

    /// Hands what one call receives to `take`, datagram by datagram. Returns how many there were; fewer than
    /// [`limits::DATAGRAMS_PER_CALL`] leave the socket empty.
    pub fn receive(
        &mut self,
        wait: Wait,
        mut take: impl FnMut(&[u8], SocketAddr),
    ) -> io::Result<usize> {
        let mut slots = self.bytes.chunks_exact_mut(limits::DATAGRAM_SLOT_BYTES);
        let mut slots: [[IoSliceMut<'_>; 1]; limits::DATAGRAMS_PER_CALL] =
            std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let flags = match wait {
            Wait::ForOne => MsgFlags::MSG_WAITFORONE,
            Wait::No => MsgFlags::MSG_DONTWAIT,
        };
        let fd = self.socket.as_raw_fd();
        let datagrams = match recvmmsg(fd, &mut self.headers, &mut slots, flags, None) {
            Ok(datagrams) => datagrams,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut received = 0;
        for datagram in datagrams {
            received += 1;
            if let Some(peer) = datagram.address.as_ref().and_then(address) {
                take(datagram.iovs().next().unwrap_or_default(), peer);
            }
        }
        Ok(received)
    }
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
