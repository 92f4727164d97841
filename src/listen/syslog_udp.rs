//! Syslog over UDP: every datagram is one message and stands alone, with a key of its own. There is nobody
//! to push back on: what cannot be kept is counted by its reason.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::syslog::Gathered;
use super::{Door, LogGate};
use crate::fault::Fault;
use crate::journal::Source;
use crate::limits;
use crate::meters;
use crate::wire::syslog::datagram_message;

/// Receives until the server drains, then takes what the socket still holds.
pub async fn serve(socket: UdpSocket, door: Door) {
    let mut datagrams = Datagrams {
        buffer: vec![0; limits::DATAGRAM_BYTES],
        gathered: Gathered::default(),
        gate: LogGate::default(),
    };
    loop {
        tokio::select! {
            biased;
            () = door.drain.cancelled() => break,
            ready = socket.readable() => {
                if let Err(error) = ready {
                    tracing::error!(%error, "the UDP socket failed");
                    return;
                }
                datagrams.turn(&socket, &door);
            }
        }
    }
    while datagrams.turn(&socket, &door) {}
}

struct Datagrams {
    buffer: Vec<u8>,
    gathered: Gathered,
    gate: LogGate,
}

impl Datagrams {
    /// Takes what is there, up to the bound of a turn. Returns whether there may be more.
    fn turn(&mut self, socket: &UdpSocket, door: &Door) -> bool {
        self.gathered.clear();
        let mut received = 0;
        while received < limits::DATAGRAMS_PER_TURN {
            let Ok((len, peer)) = socket.try_recv_from(&mut self.buffer) else {
                break;
            };
            received += 1;
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let message = datagram_message(&self.buffer[..len]);
            if message.is_empty() {
                continue;
            }
            let truncated = message.len() > limits::SYSLOG_MESSAGE_BYTES;
            let message = &message[..message.len().min(limits::SYSLOG_MESSAGE_BYTES)];
            let keyring = door.ingest.keys().load();
            if let Err(fault) = self.gathered.add(message, truncated, peer, &keyring, None) {
                drop_counted(1, &fault);
                if fault.is_failed_authentication() {
                    // There is no answer to delay.
                    door.failures.note(peer.ip());
                }
            }
        }
        if received == 0 {
            return false;
        }
        self.submit(door);
        true
    }

    fn submit(&mut self, door: &Door) {
        let submissions = self.gathered.submissions();
        let mut from = 0;
        // A key that was revoked between two datagrams costs its own messages, not those behind them.
        while from < submissions.len() {
            let submitted = door.ingest.submit(Source::SyslogUdp, &submissions[from..]);
            from += submitted.appended;
            match submitted.fault {
                None => return,
                Some(fault @ Fault::Unauthorized) => {
                    drop_counted(
                        self.gathered.messages_from(from) - self.gathered.messages_from(from + 1),
                        &fault,
                    );
                    from += 1;
                }
                Some(fault) => {
                    let dropped = self.gathered.messages_from(from);
                    drop_counted(dropped, &fault);
                    if self.gate.open() {
                        tracing::warn!(dropped, %fault, "syslog datagrams dropped");
                    }
                    return;
                }
            }
        }
    }
}

fn drop_counted(messages: u64, fault: &Fault) {
    meters::door(Source::SyslogUdp).refused(fault, messages);
}
