//! Syslog over TCP: the first message with a key authenticates the connection, later ones may bring
//! another. What has no key, or a bad one, closes the connection, since TCP syslog has no other answer.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::{self, Next, Progress, Protocol};
use super::syslog::{Gathered, fallback};
use super::{Entrance, ListenerContext, Slot, Stream};
use crate::fault::Refusal;
use crate::ingest::{Credential, Ingest};
use crate::limits;
use crate::origin::Source;
use crate::wire::syslog::{Framer, Framing};

thread_local! {
    static GATHERED: RefCell<Gathered> = RefCell::default();
}

/// Serves one connection.
pub async fn serve(mut stream: Stream, peer: SocketAddr, _slot: Slot, context: ListenerContext) {
    let credential = match fallback(&context, peer) {
        Ok(credential) => credential,
        Err(fault) => {
            tracing::debug!(%peer, source = "syslog_tcp", %fault, "connection refused");
            context.refuse(Source::SyslogTcp, peer, &fault).await;
            return;
        }
    };
    let messages = Messages {
        ingest: Arc::clone(&context.ingest),
        entrance: Arc::clone(&context.entrance),
        framer: Framer::new(limits::SYSLOG_MESSAGE_BYTES),
        peer,
        credential,
    };
    connection::serve(&mut stream, messages, Source::SyslogTcp, peer, &context).await;
    stream.close().await;
}

#[derive(Debug)]
struct Messages {
    ingest: Arc<Ingest>,
    entrance: Arc<Entrance>,
    framer: Framer,
    peer: SocketAddr,
    /// The listener, where it is bound to a workspace; else the key of the first message that brought one,
    /// which authenticates the connection. A later message with another key stands for itself.
    credential: Option<Credential>,
}

impl Protocol for Messages {
    fn receive(&mut self, bytes: &[u8]) -> Progress {
        self.take(bytes, Framer::next)
    }

    fn end(&mut self, rest: &[u8]) -> Progress {
        self.take(rest, Framer::finish)
    }

    fn is_authenticated(&self) -> bool {
        self.credential.is_some()
    }

    fn keys_still_good(&mut self) -> bool {
        match self.credential {
            Some(Credential::Key(key)) => self.ingest.knows(&key),
            Some(Credential::Listener(_)) | None => true,
        }
    }
}

impl Messages {
    fn take(
        &mut self,
        bytes: &[u8],
        cut: for<'b> fn(&mut Framer, &'b [u8]) -> Framing<'b>,
    ) -> Progress {
        GATHERED.with_borrow_mut(|gathered| {
            gathered.clear();
            // What the journal does not take is offered again, to a framer in the state of before.
            let before = (self.framer.clone(), self.credential);
            let (consumed, fault) = self.gather(bytes, cut, gathered);
            let submissions = gathered.submissions();
            let submitted = self.ingest.submit(Source::SyslogTcp, &submissions);
            match submitted.fault {
                Some(Refusal::Busy | Refusal::Full) => {
                    (self.framer, self.credential) = before;
                    Progress {
                        consumed: 0,
                        next: Next::AwaitRoom,
                    }
                }
                submit_fault => Progress {
                    consumed,
                    next: match submit_fault.or(fault) {
                        None => Next::Read,
                        // The rest is offered again at once.
                        Some(Refusal::Busy) => Next::AwaitRoom,
                        Some(fault) => Next::Close(fault),
                    },
                },
            }
        })
    }

    /// Gathers what is whole. A fault ends the gathering; the messages in front of it count.
    fn gather(
        &mut self,
        bytes: &[u8],
        cut: for<'b> fn(&mut Framer, &'b [u8]) -> Framing<'b>,
        gathered: &mut Gathered,
    ) -> (usize, Option<Refusal>) {
        let keyring = self.ingest.keys().load();
        let zone = self.entrance.zone.now();
        let mut at = 0;
        loop {
            if gathered.is_full() {
                return (at, Some(Refusal::Busy));
            }
            match cut(&mut self.framer, &bytes[at..]) {
                Framing::Incomplete => return (at, None),
                Framing::Skipped { consumed } => at += consumed,
                Framing::Malformed(error) => return (at, Some(error.into())),
                Framing::Message {
                    bytes: message,
                    truncated,
                    consumed,
                } => match gathered.add(
                    message,
                    truncated,
                    self.peer,
                    &keyring,
                    self.credential,
                    &zone,
                ) {
                    Ok(credential) => {
                        self.credential.get_or_insert(credential);
                        at += consumed;
                    }
                    Err(fault) => return (at, Some(fault)),
                },
            }
        }
    }
}
