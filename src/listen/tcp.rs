//! SDK frames over TCP: many frames a read, each authenticated and routed by its own key.
//!
//! The server never writes: a frame that is refused for its key or its form closes the connection, and a
//! journal without room stops the reading.

use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::{self, Next, Progress, Protocol};
use super::context::Sender;
use super::{ListenerContext, Slot, Stream};
use crate::fault::Refusal;
use crate::ingest::{Credential, Ingest, Submission};
use crate::journal::Encoding;
use crate::limits;
use crate::origin::Source;
use crate::wire::batch::Batch;
use crate::wire::entries;
use crate::wire::frame::{self, Frame};
use crate::wire::key::StreamingKey;

/// Keys of one connection that are watched for revocation while it is idle. A connection with more is
/// watched for these; its frames are checked one by one in any case.
const WATCHED_KEYS: usize = 16;

/// Serves one connection.
pub async fn serve(mut stream: Stream, peer: SocketAddr, _slot: Slot, context: ListenerContext) {
    let frames = Frames {
        ingest: Arc::clone(&context.ingest),
        max_frame_bytes: context.max_frame_bytes,
        sender: Sender::new(peer, &context),
        keys: Vec::new(),
    };
    connection::serve(&mut stream, frames, Source::Tcp, peer, &context).await;
    stream.close().await;
}

#[derive(Debug)]
struct Frames {
    ingest: Arc<Ingest>,
    max_frame_bytes: u32,
    sender: Sender,
    /// Keys that authenticated a frame, the last one first.
    keys: Vec<StreamingKey>,
}

impl Protocol for Frames {
    fn receive(&mut self, bytes: &[u8]) -> Progress {
        let mut consumed = 0;
        loop {
            let (cut, mut fault) = self.cut(&bytes[consumed..]);
            let submitted = self.ingest.submit(Source::Tcp, &cut.submissions);
            self.note_keys(&cut.submissions[..submitted.appended]);
            consumed += match submitted.appended {
                0 => 0,
                n => cut.ends[n - 1],
            };
            if submitted.fault.is_some() {
                fault = submitted.fault;
            }
            let next = match fault {
                None if cut.more => continue,
                None => Next::Read,
                Some(Refusal::Busy | Refusal::Full) => Next::AwaitRoom,
                Some(fault) => Next::Close(fault),
            };
            return Progress { consumed, next };
        }
    }

    fn end(&mut self, rest: &[u8]) -> Progress {
        let progress = self.receive(rest);
        if matches!(progress.next, Next::Read) && progress.consumed < rest.len() {
            return Progress {
                next: Next::Close(Refusal::Truncated),
                ..progress
            };
        }
        progress
    }

    fn is_authenticated(&self) -> bool {
        !self.keys.is_empty()
    }

    fn keys_still_good(&mut self) -> bool {
        let keyring = self.ingest.keys().load();
        self.keys.iter().all(|key| keyring.lookup(key).is_some())
    }
}

/// The first whole frames of what was read: one, or several of [`limits::READ_BYTES`] together. They are
/// appended in one piece, which must fit a journal segment however many frames came behind a large one.
struct Cut<'a> {
    submissions: Vec<Submission<'a>>,
    /// Where each frame ends.
    ends: Vec<usize>,
    /// Whether there is another whole frame behind them.
    more: bool,
}

impl Frames {
    /// Cuts what is whole, up to the bound. A fault ends the cutting; the frames in front of it count.
    fn cut<'a>(&self, bytes: &'a [u8]) -> (Cut<'a>, Option<Refusal>) {
        let mut cut = Cut {
            submissions: Vec::new(),
            ends: Vec::new(),
            more: false,
        };
        let mut at = 0;
        loop {
            let (payload, consumed) = match frame::next(&bytes[at..], self.max_frame_bytes) {
                Frame::Complete { payload, consumed } => (payload, consumed),
                Frame::Incomplete { .. } => return (cut, None),
                Frame::Malformed(fault) => return (cut, Some(fault.into())),
            };
            if at > 0 && at + consumed > limits::READ_BYTES {
                cut.more = true;
                return (cut, None);
            }
            let batch = match Batch::parse(payload) {
                Ok(batch) => batch,
                Err(error) => return (cut, Some(error.into())),
            };
            at += consumed;
            cut.submissions.push(Submission {
                credential: batch.api_key.into(),
                encoding: Encoding::FlatBuffer {
                    schema_type: batch.schema_type,
                },
                payload: batch.data,
                events: entries::count(batch.data),
                replaced: 0,
                peer: self.sender.origin(batch.source_ip),
            });
            cut.ends.push(at);
        }
    }

    fn note_keys(&mut self, appended: &[Submission<'_>]) {
        for submission in appended {
            let Credential::Key(key) = submission.credential else {
                continue;
            };
            if self.keys.first() == Some(&key) {
                continue;
            }
            self.keys.retain(|kept| *kept != key);
            self.keys.truncate(WATCHED_KEYS - 1);
            self.keys.insert(0, key);
        }
    }
}
