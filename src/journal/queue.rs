//! What was appended and is not committed yet, and where in which segment it will stand.
//!
//! Appends happen under one lock and only copy: each record gets its place (segment, offset, sequence) and
//! its bytes go into aligned chunks. Everything here is synchronous and does no I/O.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::buffer::Chunk;
use super::committed::Position;
use super::format::{
    BLOCK_BYTES, RECORD_ALIGN, RecordHeader, SegmentId, encode_record_header, record_bytes,
};
use super::storage::SegmentFile;
use super::{Entry, Refused};

/// Chunks kept for reuse while there is load: as many as a full queue of the default size takes. An idle
/// writer gives them back.
const POOLED_CHUNKS: usize = 128;

/// A segment that records can be placed in: created, its space reserved, its header durable.
#[derive(Debug)]
pub(super) struct Segment {
    pub id: SegmentId,
    pub crc_seed: u32,
    pub capacity: u64,
    pub file: Box<dyn SegmentFile>,
}

/// Blocks of a segment that hold no records: its header, and the seal.
const SEGMENT_BLOCKS_BYTES: u64 = 2 * BLOCK_BYTES as u64;

impl Segment {
    /// Where records may end, so that the seal still fits behind them.
    fn room(&self) -> u64 {
        self.capacity.saturating_sub(BLOCK_BYTES as u64)
    }
}

/// Consecutive bytes of one segment.
#[derive(Debug)]
pub(super) struct Run {
    pub segment: Arc<Segment>,
    pub offset: u64,
    /// The index of the record behind it.
    pub next_index: u32,
    pub chunks: Vec<Chunk>,
}

/// All that one fsync will make durable.
#[derive(Debug, Default)]
pub(super) struct Commit {
    pub runs: Vec<Run>,
    pub records: u64,
    pub bytes: u64,
    pub waiters: Vec<oneshot::Sender<()>>,
    /// Where the journal ends once it is durable.
    pub end: Option<Position>,
}

/// Where the next record goes.
#[derive(Debug)]
struct Place {
    segment: Arc<Segment>,
    offset: u64,
    index: u32,
}

/// The queue between the appending tasks and the writer thread.
#[derive(Debug)]
pub(super) struct Queue {
    staged: Commit,
    in_flight_bytes: u64,
    max_bytes: u64,
    segment_bytes: u64,
    active: Option<Place>,
    ready: VecDeque<Arc<Segment>>,
    pool: Vec<Chunk>,
}

impl Queue {
    pub fn new(max_bytes: u64, segment_bytes: u64) -> Self {
        Self {
            staged: Commit::default(),
            in_flight_bytes: 0,
            max_bytes,
            segment_bytes,
            active: None,
            ready: VecDeque::new(),
            pool: Vec::new(),
        }
    }

    /// Bytes that wait for a commit, those being written included.
    pub fn queued_bytes(&self) -> u64 {
        self.staged.bytes + self.in_flight_bytes
    }

    /// Bytes that the next commit would write.
    pub fn staged_bytes(&self) -> u64 {
        self.staged.bytes
    }

    /// Bytes that can be appended now, no matter in how many records.
    pub fn room_bytes(&self) -> u64 {
        let queue = self.max_bytes.saturating_sub(self.queued_bytes());
        let segment = match &self.active {
            _ if !self.ready.is_empty() => u64::MAX,
            Some(active) => active.segment.room().saturating_sub(active.offset),
            None => 0,
        };
        queue.min(segment)
    }

    /// How many wait for the next commit.
    pub fn waiters(&self) -> usize {
        self.staged.waiters.len()
    }

    /// Segments that stand ready behind the active one.
    pub fn ready_segments(&self) -> usize {
        self.ready.len()
    }

    /// The sequence that the next record would get; `None` before the first.
    pub fn next_sequence(&self) -> Option<u64> {
        let position = self.active.as_ref()?;
        Some(position.segment.id.sequence(position.index))
    }

    /// Hands over a new segment.
    pub fn add_segment(&mut self, segment: Arc<Segment>) {
        self.ready.push_back(segment);
    }

    /// Segments that no record was placed in, which a clean stop removes.
    pub fn take_unused(&mut self) -> Vec<Arc<Segment>> {
        self.ready.drain(..).collect()
    }

    /// Stages all entries or none of them.
    ///
    /// Together they never cross a segment: where they do not fit into the rest of the active one, the next
    /// is begun.
    pub fn append(&mut self, entries: &[Entry<'_>]) -> Result<(), Refused> {
        let bytes: usize = entries.iter().map(|e| record_bytes(e.stored_len())).sum();
        let bytes = bytes as u64;
        if self.queued_bytes() + bytes > self.max_bytes && self.queued_bytes() > 0 {
            return Err(Refused::Busy);
        }
        let fits = |p: &Place| {
            p.offset + bytes <= p.segment.room()
                && p.index as usize + entries.len() < u32::MAX as usize
        };
        if !self.active.as_ref().is_some_and(fits) {
            let needed = SEGMENT_BLOCKS_BYTES + bytes;
            if needed > self.segment_bytes {
                return Err(Refused::TooLarge);
            }
            let next = self.ready.front().ok_or(Refused::Busy)?;
            if needed > next.capacity {
                return Err(Refused::Full(
                    "the record is larger than what is left of the limit".into(),
                ));
            }
            self.active = self.ready.pop_front().map(|segment| Place {
                segment,
                offset: BLOCK_BYTES as u64,
                index: 0,
            });
        }
        for entry in entries {
            self.place(entry);
        }
        self.staged.bytes += bytes;
        self.staged.records += entries.len() as u64;
        Ok(())
    }

    /// Lets the next commit report to `waiter`; dropped without a word when it fails.
    pub fn await_commit(&mut self, waiter: oneshot::Sender<()>) {
        self.staged.waiters.push(waiter);
    }

    fn place(&mut self, entry: &Entry<'_>) {
        let Some(position) = &mut self.active else {
            return;
        };
        let header = RecordHeader {
            sequence: position.segment.id.sequence(position.index),
            facts: entry.facts,
            marked: entry.mark.is_some(),
            payload_len: entry.stored_len() as u32,
            payload_crc: entry.payload_crc,
        };
        let header = encode_record_header(&header, position.segment.crc_seed);
        let continues = self
            .staged
            .runs
            .last()
            .is_some_and(|run| Arc::ptr_eq(&run.segment, &position.segment));
        if !continues {
            self.staged.runs.push(Run {
                segment: Arc::clone(&position.segment),
                offset: position.offset,
                next_index: 0,
                chunks: Vec::new(),
            });
        }
        position.offset += record_bytes(entry.stored_len()) as u64;
        position.index += 1;
        if let Some(run) = self.staged.runs.last_mut() {
            run.next_index = position.index;
            let mark = entry.mark.map(|mark| mark.encode());
            let mark = mark.as_ref().map_or(&[][..], |mark| &mark[..]);
            for mut bytes in [&header[..], mark, entry.payload] {
                while !bytes.is_empty() {
                    if run.chunks.last().is_none_or(Chunk::is_full) {
                        run.chunks.push(self.pool.pop().unwrap_or_default());
                    }
                    if let Some(chunk) = run.chunks.last_mut() {
                        bytes = chunk.fill(bytes);
                    }
                }
            }
            // A chunk is a multiple of the alignment long, so the padding never starts a new one.
            if let Some(chunk) = run.chunks.last_mut() {
                chunk.pad(RECORD_ALIGN);
            }
        }
    }

    /// Takes what is staged, padded to blocks, for the writer.
    pub fn take_commit(&mut self) -> Commit {
        let mut commit = std::mem::take(&mut self.staged);
        for run in &mut commit.runs {
            if let Some(chunk) = run.chunks.last_mut() {
                chunk.pad(BLOCK_BYTES);
            }
        }
        if let Some(position) = &mut self.active {
            position.offset = position.offset.next_multiple_of(BLOCK_BYTES as u64);
            commit.end = Some(Position {
                segment: position.segment.id,
                offset: position.offset,
                sequence: position.segment.id.sequence(position.index),
            });
        }
        self.in_flight_bytes = commit.bytes;
        commit
    }

    /// Takes the chunks of a finished commit back.
    pub fn finish_commit(&mut self, runs: Vec<Run>) {
        self.in_flight_bytes = 0;
        for mut chunk in runs.into_iter().flat_map(|run| run.chunks) {
            if self.pool.len() < POOLED_CHUNKS {
                chunk.clear();
                self.pool.push(chunk);
            }
        }
    }

    /// Gives pooled memory back to the system, all but one chunk.
    pub fn shrink(&mut self) {
        self.pool.truncate(1);
        self.pool.shrink_to_fit();
    }

    /// Whether there is pooled memory to give back.
    pub fn has_slack(&self) -> bool {
        self.pool.len() > 1
    }
}
