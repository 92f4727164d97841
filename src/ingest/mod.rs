//! The path of everything that comes in: authenticate, admit, append, acknowledge.
//!
//! Every listener hands over what it cut out of its stream as [`Submission`]s, each with its own key. Nothing
//! behind this file ever infers a workspace.

pub mod admit;
pub mod idempotency;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use crate::auth::usage::{LastUse, Usage};
use crate::auth::{Keyring, Keys};
use crate::fault::Refusal;
use crate::ingest::admit::{BodyLength, Cost, Memory, Reservation, Standing};
use crate::journal::{Encoding, Entry, Facts, Journal, Mark, Refused, Ticket};
use crate::limits;
use crate::origin::{KeyId, Source, SourceAddress, Workspace};
use crate::wire::key::StreamingKey;

/// What says which workspace a payload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The key that it came with.
    Key(StreamingKey),
    /// The listener that it came through, which is bound to one workspace.
    Listener(BoundListener),
}

/// A listener that stands in for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundListener {
    /// The workspace that it is bound to.
    pub workspace: Workspace,
    /// What stands where the public id of a key would.
    pub id: KeyId,
}

impl From<StreamingKey> for Credential {
    fn from(key: StreamingKey) -> Self {
        Self::Key(key)
    }
}

/// One payload with its credential.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The key, or what stands in for it.
    pub credential: Credential,
    /// What kind of bytes the payload is.
    pub encoding: Encoding,
    /// The payload, without the key.
    pub payload: &'a [u8],
    /// Events, lines or messages in it, for counting.
    pub events: u64,
    /// U+FFFD in it that stands for what is no Unicode, for counting; of Batches it shows only in their rows.
    pub replaced: u64,
    /// The sender.
    pub peer: SocketAddr,
}

/// How far a list of submissions got.
#[derive(Debug)]
pub struct Submitted {
    /// The first so many were appended.
    pub appended: usize,
    /// Why the next one was not.
    pub fault: Option<Refusal>,
}

/// Keys, memory and journal: what every listener needs.
#[derive(Debug)]
pub struct Ingest {
    keys: Arc<Keys>,
    memory: Arc<Memory>,
    journal: Journal,
}

impl Ingest {
    /// The path over these keys and through this memory into this journal.
    pub fn new(keys: Arc<Keys>, memory: Arc<Memory>, journal: Journal) -> Self {
        Self {
            keys,
            memory,
            journal,
        }
    }

    /// The keys that are checked against.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The memory that is asked for room.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The journal that is appended to.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the key is known right now.
    pub fn knows(&self, key: &StreamingKey) -> bool {
        self.keys.load().lookup(key).is_some()
    }

    /// Admits a request by what its head says, before a byte of its body is read: the key is good, and there is
    /// memory for the body. A good key that finds no room waits for it, for as long as the key stays good and
    /// the server does not drain. The reservation is kept until the request is answered.
    ///
    /// Of a body that grows, by its length or by being inflated, the reservation grows first
    /// ([`Reservation::grow_to`]). The time that either takes is not the client's.
    pub async fn admit_body(
        &self,
        key: &StreamingKey,
        source: SourceAddress,
        length: BodyLength,
        drain: &CancellationToken,
    ) -> Result<Reservation, Refusal> {
        let mut replacements = self.keys.replacements();
        if !self.knows(key) {
            return Err(Refusal::Unauthorized);
        }
        let bytes = length.first_bytes();
        let mut room = self.memory.ask(source, Standing::Known, bytes);
        loop {
            tokio::select! {
                biased;
                reservation = &mut room => return Ok(reservation),
                Ok(()) = replacements.changed() => {
                    if !self.knows(key) {
                        return Err(Refusal::Revoked);
                    }
                }
                () = drain.cancelled() => return Err(Refusal::Stopping),
            }
        }
    }

    /// Takes what a protocol without acknowledgements delivered. Stops at the first submission whose key is
    /// not known; what stood before it is appended, in one piece.
    pub fn submit(&self, source: Source, submissions: &[Submission<'_>]) -> Submitted {
        let append = |entries: &[Entry<'_>]| self.journal.append(entries);
        self.authenticate_and_append(source, submissions, None, append)
            .1
    }

    /// Takes one payload and returns once it is durable.
    pub async fn submit_durably(
        &self,
        source: Source,
        submission: Submission<'_>,
    ) -> Result<(), Refusal> {
        let ticket = self.submit_acked(source, submission, None).await?;
        ticket.await.map_err(|_| Refusal::CommitFailed)
    }

    /// Takes one payload, with the mark of its request where that is idempotent; the ticket resolves once it
    /// is durable.
    pub async fn submit_acked(
        &self,
        source: Source,
        submission: Submission<'_>,
        mark: Option<Mark>,
    ) -> Result<Ticket, Refusal> {
        let deadline = tokio::time::Instant::now() + limits::ROOM_WAIT;
        loop {
            let room = self.journal.room();
            let (ticket, submitted) =
                self.authenticate_and_append(source, &[submission], mark, |entries| {
                    self.journal.append_acked(entries)
                });
            match (ticket, submitted.fault) {
                (Some(ticket), None) => return Ok(ticket),
                (_, Some(Refusal::Busy)) => {
                    if tokio::time::timeout_at(deadline, room).await.is_err() {
                        return Err(Refusal::Busy);
                    }
                }
                (_, fault) => return Err(fault.unwrap_or(Refusal::Stopping)),
            }
        }
    }

    fn authenticate_and_append<T>(
        &self,
        source: Source,
        submissions: &[Submission<'_>],
        mark: Option<Mark>,
        append: impl FnOnce(&[Entry<'_>]) -> Result<T, Refused>,
    ) -> (Option<T>, Submitted) {
        let received_at_ns = now_ns();
        let keyring = self.keys.load();

        // Authenticate, and route by nothing but the credential.
        let mut runs: Vec<Run<'_>> = Vec::new();
        let mut entries = Vec::with_capacity(submissions.len());
        let mut fault = None;
        for submission in submissions {
            let run = match runs.last_mut() {
                Some(run) if run.credential == submission.credential => run,
                _ => {
                    let Some(run) = Run::begin(submission, &keyring) else {
                        fault = Some(Refusal::Unauthorized);
                        break;
                    };
                    runs.push(run);
                    let Some(run) = runs.last_mut() else { break };
                    run
                }
            };
            run.add(submission);
            let facts = Facts {
                workspace: run.workspace,
                key_id: run.key_id,
                source,
                encoding: submission.encoding,
                received_at_ns,
                peer: submission.peer,
            };
            entries.push(Entry::marked(facts, mark, submission.payload));
        }
        if entries.is_empty() {
            return (None, Submitted { appended: 0, fault });
        }

        // Admit, and append: the journal refuses what it has no room for, all of it.
        let admitted = runs
            .iter()
            .map(|run| (admit::admit(run.usage, run.cost), run.peer));
        let appended = match append(&entries) {
            Ok(appended) => appended,
            Err(refused) => {
                // Busy is tried again by every listener but UDP: it is no refusal yet.
                if !matches!(refused, Refused::Busy) {
                    admitted.for_each(|(admitted, _)| admitted.refused());
                }
                let fault = Some(refused.into());
                return (None, Submitted { appended: 0, fault });
            }
        };
        for (admitted, peer) in admitted {
            admitted.appended(source, LastUse::new(received_at_ns, source, peer.ip()));
        }
        let submitted = Submitted {
            appended: entries.len(),
            fault,
        };
        (Some(appended), submitted)
    }
}

/// Consecutive submissions with one credential: one count for all of them.
struct Run<'a> {
    credential: Credential,
    workspace: Workspace,
    key_id: KeyId,
    /// What is counted for a key; for a bound listener only the source counts.
    usage: Option<&'a Usage>,
    cost: Cost,
    peer: SocketAddr,
}

impl<'a> Run<'a> {
    /// Begins with a payload, if its credential is good.
    fn begin(first: &Submission<'_>, keyring: &'a Keyring) -> Option<Self> {
        let (workspace, key_id, usage) = match first.credential {
            Credential::Key(key) => {
                let grant = keyring.lookup(&key)?;
                (grant.workspace(), grant.key_id(), Some(grant.usage()))
            }
            Credential::Listener(listener) => (listener.workspace, listener.id, None),
        };
        Some(Self {
            credential: first.credential,
            workspace,
            key_id,
            usage,
            cost: Cost::default(),
            peer: first.peer,
        })
    }

    fn add(&mut self, submission: &Submission<'_>) {
        self.cost.frames += 1;
        self.cost.events += submission.events;
        self.cost.replaced += submission.replaced;
        self.cost.bytes += submission.payload.len() as u64;
        self.peer = submission.peer;
    }
}

/// The server's clock, nanoseconds since 1970.
pub fn now_ns() -> u64 {
    // A clock before 1970 gives 0: the time is a fact to keep, nothing is decided by it.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
}
