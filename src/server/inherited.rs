//! Sockets that a service manager bound and passes on (systemd's socket activation, sd_listen_fds(3)): they
//! stay open while the server restarts, so that nobody who connects meanwhile is refused.
//!
//! Each is passed under the name of a setting (`FileDescriptorName=`) and takes the place of the address that
//! the setting has; several of a name take the places of several listeners, in order.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use listenfd::ListenFd;
use socket2::SockRef;
use tokio::net::TcpListener;

use crate::listen::bind::{bind_tcp, bind_udp};

const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";

/// What sockets may be called.
const NAMES: [&str; 5] = ["tcp", "http", "syslog_tcp", "syslog_udp", "metrics"];

/// Why a passed socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// Its name is none of ours.
    #[error(
        "a socket is passed under the name {name:?}: expected tcp, http, syslog_tcp, syslog_udp or metrics (FileDescriptorName= in the socket unit)"
    )]
    Name {
        /// Its name.
        name: String,
    },
    /// It is not of the kind that its name asks for.
    #[error("the socket that is passed as {name} cannot be used: {error}")]
    Kind {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: io::Error,
    },
    /// No listener is left for it.
    #[error("a socket is passed as {name}, but {name} is off or has its sockets already")]
    Unused {
        /// Its name.
        name: String,
    },
}

/// The sockets that were passed and are not taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<(String, std::net::TcpListener)>,
    udp: Vec<(String, std::net::UdpSocket)>,
}

impl Inherited {
    /// Takes what the environment tells of. To be called once, while the process has a single thread: it
    /// clears the environment, so that no child thinks the sockets its own.
    pub fn from_environment() -> Result<Self, InheritError> {
        let names = std::env::var(NAMES_VARIABLE).unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            if !NAMES.contains(&name.as_str()) {
                return Err(InheritError::Name { name });
            }
            let taken = if name == "syslog_udp" {
                let socket = passed.take_udp_socket(index);
                socket.map(|socket| inherited.udp.extend(socket.map(|s| (name.clone(), s))))
            } else {
                let listener = passed.take_tcp_listener(index).and_then(check_listening);
                listener.map(|socket| inherited.tcp.extend(socket.map(|s| (name.clone(), s))))
            };
            taken.map_err(|error| InheritError::Kind { name, error })?;
        }
        Ok(inherited)
    }

    /// The next socket that was passed under this name; where there is none, one is bound.
    pub fn tcp(&mut self, name: &str, address: SocketAddr) -> io::Result<TcpListener> {
        match take(&mut self.tcp, name) {
            Some(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            }
            None => bind_tcp(address),
        }
    }

    /// As [`tcp`](Self::tcp), and the address; several sockets where they are bound here, to share the load.
    pub fn udp(
        &mut self,
        name: &str,
        address: SocketAddr,
        sockets: usize,
    ) -> io::Result<(Vec<UdpSocket>, SocketAddr)> {
        match take(&mut self.udp, name) {
            Some(socket) => {
                socket.set_nonblocking(false)?;
                let bound = socket.local_addr()?;
                Ok((vec![socket], bound))
            }
            None => bind_udp(address, sockets),
        }
    }

    /// Fails if a socket was not taken: its senders would wait for ever.
    pub fn all_taken(&self) -> Result<(), InheritError> {
        let tcp = self.tcp.iter().map(|(name, _)| name);
        let udp = self.udp.iter().map(|(name, _)| name);
        match tcp.chain(udp).next() {
            Some(name) => Err(InheritError::Unused { name: name.clone() }),
            None => Ok(()),
        }
    }
}

fn take<S>(sockets: &mut Vec<(String, S)>, name: &str) -> Option<S> {
    let position = sockets.iter().position(|(of, _)| of == name)?;
    Some(sockets.remove(position).1)
}

/// A connection instead of a listener is what a socket unit with `Accept=yes` passes.
fn check_listening(
    listener: Option<std::net::TcpListener>,
) -> io::Result<Option<std::net::TcpListener>> {
    if let Some(listener) = &listener
        && !SockRef::from(listener).is_listener()?
    {
        return Err(io::Error::other(
            "it does not listen; the socket unit needs Accept=no",
        ));
    }
    Ok(listener)
}
