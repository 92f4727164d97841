//! Syslog over UDP: every datagram is one message and stands alone, with a key of its own. There is nobody
//! to push back on: what cannot be kept is counted by its reason.

mod batch;
pub mod drops;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;

use batch::{Receiver, Wait};

use super::ListenerContext;
use super::log_gate::LogGate;
use super::syslog::{Gathered, fallback};
use crate::auth::Keyring;
use crate::fault::Refusal;
use crate::limits;
use crate::meters::{self, DatagramMeters};
use crate::origin::Source;
use crate::wire::syslog::{Zone, datagram_message};

/// Receives until the server drains, then takes what the socket still holds. Blocks its thread: the runtime
/// would wake up for each datagram, which costs more than the datagram.
pub fn serve(socket: UdpSocket, meters: DatagramMeters, context: &ListenerContext) {
    let mut datagrams = Datagrams {
        gathered: Gathered::default(),
        gate: LogGate::default(),
        meters,
    };
    if let Err(error) = datagrams.serve(socket, context) {
        tracing::error!(%error, "the UDP socket failed");
    }
}

struct Datagrams {
    gathered: Gathered,
    gate: LogGate,
    meters: DatagramMeters,
}

/// What a turn found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing came.
    Nothing,
    /// All that had come; the socket is empty.
    Emptied,
    /// As much as a turn takes. There may be more.
    More,
}

impl Datagrams {
    fn serve(&mut self, socket: UdpSocket, context: &ListenerContext) -> io::Result<()> {
        let mut receiver = Receiver::new(socket)?;
        while !context.drain.is_cancelled() {
            if self.turn(&mut receiver, Wait::ForOne, context)? == Turn::Emptied {
                thread::sleep(limits::UDP_GATHER);
            }
        }
        while self.turn(&mut receiver, Wait::No, context)? == Turn::More {}
        Ok(())
    }

    /// Takes what is there, up to the bound of a turn.
    fn turn(
        &mut self,
        receiver: &mut Receiver,
        wait: Wait,
        context: &ListenerContext,
    ) -> io::Result<Turn> {
        let mut received = 0;
        let mut dropped = 0;
        let mut wait = wait;
        let zone = context.entrance.zone.now();
        let more = loop {
            let keyring = context.ingest.keys();
            let batch = receiver.receive(wait, |datagram, peer| {
                dropped += self.take(datagram, peer, &keyring.load(), &zone, context);
            })?;
            wait = Wait::No;
            received += batch;
            if batch < limits::DATAGRAMS_PER_CALL {
                break false;
            }
            if received >= limits::DATAGRAMS_PER_TURN {
                break true;
            }
        };
        if received == 0 {
            return Ok(Turn::Nothing);
        }
        dropped += self.submit(context);
        self.meters.received(received as u64, dropped);
        Ok(if more { Turn::More } else { Turn::Emptied })
    }

    /// Gathers one message. Returns how many were not kept.
    fn take(
        &mut self,
        datagram: &[u8],
        peer: SocketAddr,
        keyring: &Keyring,
        zone: &Zone,
        context: &ListenerContext,
    ) -> u64 {
        let message = datagram_message(datagram);
        if message.is_empty() {
            return refused(1, &Refusal::SyslogEmpty);
        }
        let truncated = message.len() > limits::SYSLOG_MESSAGE_BYTES;
        let message = &message[..message.len().min(limits::SYSLOG_MESSAGE_BYTES)];
        // What is appended in one piece has to fit any segment.
        let mut dropped = 0;
        if self.gathered.bytes() + message.len() > limits::READ_BYTES {
            dropped += self.submit(context);
        }
        let added = fallback(context, peer).and_then(|fallback| {
            self.gathered
                .add(message, truncated, peer, keyring, fallback, zone)
        });
        if let Err(fault) = added {
            dropped += refused(1, &fault);
            if fault.is_failed_authentication() {
                // There is no answer to delay.
                context.failures.note(peer.ip());
            }
        }
        dropped
    }

    /// Appends what was gathered, and forgets it. Returns how many messages were not kept.
    fn submit(&mut self, context: &ListenerContext) -> u64 {
        let dropped = self.append(context);
        self.gathered.clear();
        dropped
    }

    fn append(&mut self, context: &ListenerContext) -> u64 {
        let mut dropped = 0;
        let submissions = self.gathered.submissions();
        let mut from = 0;
        // A key that was revoked between two datagrams costs its own messages, not those behind them.
        while from < submissions.len() {
            let submitted = context
                .ingest
                .submit(Source::SyslogUdp, &submissions[from..]);
            from += submitted.appended;
            match submitted.fault {
                None => return dropped,
                Some(fault @ Refusal::Unauthorized) => {
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
fn refused(messages: u64, fault: &Refusal) -> u64 {
    meters::source(Source::SyslogUdp).refused(fault, messages);
    messages
}
