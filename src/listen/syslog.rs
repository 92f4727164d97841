//! What syslog over TCP and over UDP share: messages of a read, gathered into one payload a sender and key.

use std::net::SocketAddr;
use std::ops::Range;

use crate::auth::{Keyring, StreamingKey};
use crate::fault::Fault;
use crate::ingest::Submission;
use crate::journal::Encoding;
use crate::wire::syslog::{extract, pack};

/// Messages on their way into the journal. Consecutive ones of one key and sender share a payload: one
/// record for what one read brought.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    packed: Vec<u8>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    key: StreamingKey,
    peer: SocketAddr,
    messages: u64,
    range: Range<usize>,
}

impl Gathered {
    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.packed.clear();
        self.groups.clear();
    }

    /// Adds one message, without its key. `sticky` is the key for a message that has none; returns the key
    /// that was used.
    pub fn add(
        &mut self,
        message: &[u8],
        truncated: bool,
        peer: SocketAddr,
        keyring: &Keyring,
        sticky: Option<StreamingKey>,
    ) -> Result<StreamingKey, Fault> {
        // Senders that put the key into every message send the same one: it was looked up in this read.
        let last = self.groups.last().map(|group| group.key);
        let known = |key: &StreamingKey| {
            (last == Some(*key) || keyring.lookup(key).is_some()).then_some(*key)
        };
        let (own, kept) = extract(message)?.resolve(known)?;
        let (key, kept) = match (own, sticky) {
            (Some(own), _) => (own, kept),
            (None, Some(sticky)) => (sticky, kept.of_connection(sticky)),
            (None, None) => return Err(Fault::SyslogNoKey),
        };
        let start = self.packed.len();
        pack::push(&mut self.packed, truncated, |out| kept.append_to(out));
        let end = self.packed.len();
        match self.groups.last_mut() {
            Some(group) if group.key == key && group.peer == peer => {
                group.messages += 1;
                group.range.end = end;
            }
            _ => self.groups.push(Group {
                key,
                peer,
                messages: 1,
                range: start..end,
            }),
        }
        Ok(key)
    }

    /// One submission a group.
    pub fn submissions(&self) -> Vec<Submission<'_>> {
        self.groups
            .iter()
            .map(|group| Submission {
                key: group.key,
                encoding: Encoding::Syslog,
                payload: &self.packed[group.range.clone()],
                events: group.messages,
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
