//! Syslog over UDP: every datagram is one message and stands alone, with a key of its own. There is nobody
//! to push back on: what cannot be kept is counted by its reason.

mod batch;
pub mod drops;

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::syslog::Gathered;
use super::{Door, LogGate};
use crate::auth::Keyring;
use crate::fault::Fault;
use crate::journal::Source;
use crate::limits;
use crate::meters::{self, DatagramMeters};
use crate::wire::syslog::datagram_message;

/// Receives until the server drains, then takes what the socket still holds.
pub async fn serve(socket: UdpSocket, meters: DatagramMeters, door: Door) {
    let mut datagrams = Datagrams {
        gathered: Gathered::default(),
        gate: LogGate::default(),
        meters,
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
    gathered: Gathered,
    gate: LogGate,
    meters: DatagramMeters,
}

impl Datagrams {
    /// Takes what is there, up to the bound of a turn. Returns whether there may be more.
    fn turn(&mut self, socket: &UdpSocket, door: &Door) -> bool {
        let mut received = 0;
        let mut dropped = 0;
        let keyring = door.ingest.keys().load();
        let more = loop {
            let batch = batch::receive(socket, |datagram, peer| {
                dropped += self.take(datagram, peer, &keyring, door);
            });
            received += batch;
            if batch < limits::DATAGRAMS_PER_CALL {
                break false;
            }
            if received >= limits::DATAGRAMS_PER_TURN {
                break true;
            }
        };
        if received > 0 {
            dropped += self.submit(door);
            self.meters.received(received as u64, dropped);
        }
        more
    }

    /// Gathers one message. Returns how many were not kept.
    fn take(&mut self, datagram: &[u8], peer: SocketAddr, keyring: &Keyring, door: &Door) -> u64 {
        let message = datagram_message(datagram);
        if message.is_empty() {
            return refused(1, &Fault::SyslogEmpty);
        }
        let truncated = message.len() > limits::SYSLOG_MESSAGE_BYTES;
        let message = &message[..message.len().min(limits::SYSLOG_MESSAGE_BYTES)];
        // What is appended in one piece has to fit any segment.
        let mut dropped = 0;
        if self.gathered.bytes() + message.len() > limits::READ_BYTES {
            dropped += self.submit(door);
        }
        if let Err(fault) = self.gathered.add(message, truncated, peer, keyring, None) {
            dropped += refused(1, &fault);
            if fault.is_failed_authentication() {
                // There is no answer to delay.
                door.failures.note(peer.ip());
            }
        }
        dropped
    }

    /// Appends what was gathered, and forgets it. Returns how many messages were not kept.
    fn submit(&mut self, door: &Door) -> u64 {
        let dropped = self.append(door);
        self.gathered.clear();
        dropped
    }

    fn append(&mut self, door: &Door) -> u64 {
        let mut dropped = 0;
        let submissions = self.gathered.submissions();
        let mut from = 0;
        // A key that was revoked between two datagrams costs its own messages, not those behind them.
        while from < submissions.len() {
            let submitted = door.ingest.submit(Source::SyslogUdp, &submissions[from..]);
            from += submitted.appended;
            match submitted.fault {
                None => return dropped,
                Some(fault @ Fault::Unauthorized) => {
                    dropped += refused(
                        self.gathered.messages_from(from) - self.gathered.messages_from(from + 1),
                        &fault,
                    );
                    from += 1;
                }
                Some(fault) => {
                    dropped += refused(self.gathered.messages_from(from), &fault);
                    if self.gate.open() {
                        tracing::warn!(dropped, %fault, "syslog datagrams dropped");
                    }
                    return dropped;
                }
            }
        }
        dropped
    }
}

/// Counts messages that are not kept.
fn refused(messages: u64, fault: &Fault) -> u64 {
    meters::door(Source::SyslogUdp).refused(fault, messages);
    messages
}
