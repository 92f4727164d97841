//! What syslog over TCP and over UDP share: messages of a read, gathered into one payload a sender and key.

use std::net::SocketAddr;
use std::ops::Range;

use super::ListenerContext;
use crate::auth::Keyring;
use crate::fault::Refusal;
use crate::ingest::{BoundListener, Credential, Submission};
use crate::journal::Encoding;
use crate::journal::format::{RECORD_ALIGN, record_bytes};
use crate::limits;
use crate::network::Networks;
use crate::wire::key::StreamingKey;
use crate::wire::syslog::{Zone, extract, header, pack};

/// How a listener takes messages without a key, where it takes them at all.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Who may send.
    pub allow: Networks,
    /// What their messages are taken for.
    pub listener: BoundListener,
}

/// Whether this sender may use the listener, and what its messages without a key are taken for.
pub(super) fn fallback(
    context: &ListenerContext,
    peer: SocketAddr,
) -> Result<Option<Credential>, Refusal> {
    match &context.entrance.bound {
        None => Ok(None),
        Some(bound) if bound.allow.contains(peer.ip()) => {
            Ok(Some(Credential::Listener(bound.listener)))
        }
        Some(_) => Err(Refusal::SourceNotAllowed),
    }
}

/// Messages on their way into the journal. Consecutive ones of one key and sender share a payload: one
/// record for what one read brought.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    packed: Vec<u8>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    credential: Credential,
    peer: SocketAddr,
    messages: u64,
    /// U+FFFD that its rows will have for what is no UTF-8.
    replaced: u64,
    range: Range<usize>,
    /// Whether it says in which zone its times are.
    has_zone: bool,
}

impl Gathered {
    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.packed.clear();
        self.groups.clear();
    }

    /// Adds one message, without its key. `fallback` is the credential of a message that has no key; returns
    /// the one that was used. `zone` is that of times without one.
    pub fn add(
        &mut self,
        message: &[u8],
        truncated: bool,
        peer: SocketAddr,
        keyring: &Keyring,
        fallback: Option<Credential>,
        zone: &Zone,
    ) -> Result<Credential, Refusal> {
        // Senders that put the key into every message send the same one: it was looked up in this read.
        let last = self.groups.last().map(|group| group.credential);
        let known = |key: &StreamingKey| {
            last == Some(Credential::Key(*key)) || keyring.lookup(key).is_some()
        };
        let (own, kept) = extract(message)?.resolve(|key| known(key).then_some(*key))?;
        let credential = match (own, fallback) {
            (Some(own), _) => own.into(),
            (None, Some(fallback)) => fallback,
            (None, None) => return Err(Refusal::SyslogNoKey),
        };
        let start = self.packed.len();
        let needs_zone = !zone.is_utc() && !header::is_rfc5424(message);
        let mut group = self
            .groups
            .last_mut()
            .filter(|group| group.credential == credential && group.peer == peer);
        let has_zone = group.as_ref().is_some_and(|group| group.has_zone);
        if needs_zone && !has_zone {
            pack::push_zone(&mut self.packed, zone);
        }
        let mut replaced = 0;
        pack::push(&mut self.packed, truncated, |out| {
            let message = out.len();
            kept.append_to(out, known);
            replaced = pack::replacements(&out[message..]);
        });
        let end = self.packed.len();
        match &mut group {
            Some(group) => {
                group.messages += 1;
                group.replaced += replaced;
                group.range.end = end;
                group.has_zone |= needs_zone;
            }
            None => self.groups.push(Group {
                credential,
                peer,
                messages: 1,
                replaced,
                range: start..end,
                has_zone: needs_zone,
            }),
        }
        Ok(credential)
    }

    /// Whether so much is gathered that more might not fit the smallest journal segment.
    pub fn is_full(&self) -> bool {
        let stored = self.packed.len() + self.groups.len() * record_bytes(0);
        stored + self.groups.len() * RECORD_ALIGN > limits::GATHERED_BYTES
    }

    /// Bytes gathered so far.
    pub fn bytes(&self) -> usize {
        self.packed.len()
    }

    /// One submission a group.
    pub fn submissions(&self) -> Vec<Submission<'_>> {
        self.groups
            .iter()
            .map(|group| Submission {
                credential: group.credential,
                encoding: Encoding::Syslog,
                payload: &self.packed[group.range.clone()],
                events: group.messages,
                replaced: group.replaced,
                peer: group.peer,
            })
            .collect()
    }

    /// Messages in the groups from this one on.
    pub fn messages_from(&self, group: usize) -> u64 {
        self.groups
            .iter()
            .skip(group)
            .map(|group| group.messages)
            .sum()
    }
}
