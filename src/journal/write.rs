//! Writing commits into segments, and keeping what small commits cost low.
//!
//! The space of a segment is reserved without being written, so the file system notes with every commit
//! which of its blocks hold data now: a transaction of its own journal, for 4 KiB more than the write
//! itself. Small commits therefore write zeros ahead of them now and then; those after it overwrite blocks
//! that the file system knows already, and their sync is a flush of the disk and nothing else.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::buffer::Chunk;
use super::format::{BLOCK_BYTES, SegmentId};
use super::queue::{Run, Segment};
use super::seal::Seal;

/// Chunks a single write takes: IOV_MAX is 1024 on Linux, and 4 MiB is past the point where larger writes
/// are faster.
const CHUNKS_PER_WRITE: usize = 16;

/// How far zeros are written ahead. A commit of one block that does it takes about twice as long, so it is
/// one in 32.
const AHEAD_BYTES: usize = 128 << 10;

/// Commits larger than this pay for their transaction themselves: zeros for them would cost more to write.
const SMALL_BYTES: u64 = 32 << 10;

/// The segments being written.
#[derive(Debug)]
pub(super) struct Writer {
    segment: Option<Arc<Segment>>,
    /// Where the next commit goes, in `segment`.
    end: u64,
    /// Records in it so far.
    records: u32,
    /// The last segment before it that holds records.
    previous: Option<SegmentId>,
    /// Up to where blocks were written, with records or zeros.
    written: u64,
    zeros: Chunk,
}

/// A segment that gets no more records.
#[derive(Debug)]
pub(super) struct Finished {
    pub segment: Arc<Segment>,
    /// Bytes of it that are used, the seal included.
    pub bytes: u64,
}

impl Writer {
    /// Begins behind this segment.
    pub fn new(previous: Option<SegmentId>) -> Self {
        Self {
            segment: None,
            end: 0,
            records: 0,
            previous,
            written: 0,
            zeros: Chunk::zeros(AHEAD_BYTES),
        }
    }

    /// Writes and syncs run by run. A segment is synced and sealed before the next one gets its first byte, so
    /// that a segment which holds a record proves all earlier ones complete.
    pub fn write(&mut self, runs: &[Run], mut finished: impl FnMut(Finished)) -> io::Result<()> {
        for run in runs {
            if !self
                .segment
                .as_ref()
                .is_some_and(|s| Arc::ptr_eq(s, &run.segment))
            {
                self.finish()?.into_iter().for_each(&mut finished);
                self.segment = Some(Arc::clone(&run.segment));
                self.written = run.offset;
            }
            self.write_run(run)?;
            self.records = run.next_index;
        }
        Ok(())
    }

    /// Seals the segment being written and ends it.
    pub fn finish(&mut self) -> io::Result<Option<Finished>> {
        let Some(segment) = self.segment.take() else {
            return Ok(None);
        };
        let seal = Seal {
            offset: self.end,
            records: self.records,
            previous: self.previous,
        };
        let block = sealed_block(&seal, segment.id);
        segment
            .file
            .write_at(&[IoSlice::new(block.bytes())], self.end)?;
        segment.file.sync()?;
        self.previous = Some(segment.id);
        Ok(Some(Finished {
            bytes: self.end + BLOCK_BYTES as u64,
            segment,
        }))
    }

    fn write_run(&mut self, run: &Run) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = run
            .chunks
            .iter()
            .map(|chunk| IoSlice::new(chunk.bytes()))
            .collect();
        let bytes: u64 = slices.iter().map(|s| s.len() as u64).sum();
        self.end = run.offset + bytes;
        if bytes <= SMALL_BYTES && self.end > self.written {
            let left = run.segment.capacity.saturating_sub(self.end) as usize;
            let ahead = left.min(AHEAD_BYTES) / BLOCK_BYTES * BLOCK_BYTES;
            slices.push(IoSlice::new(&self.zeros.bytes()[..ahead]));
            self.written = self.end + ahead as u64;
        }
        self.written = self.written.max(self.end);
        let mut offset = run.offset;
        for slices in slices.chunks(CHUNKS_PER_WRITE) {
            run.segment.file.write_at(slices, offset)?;
            offset += slices.iter().map(|s| s.len() as u64).sum::<u64>();
        }
        run.segment.file.sync()
    }
}

/// The seal in memory that direct I/O takes.
pub(super) fn sealed_block(seal: &Seal, id: SegmentId) -> Chunk {
    let mut chunk = Chunk::default();
    chunk.fill(&seal.encode(id));
    chunk
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::format::SegmentId;
    use super::super::storage::SegmentFile;
    use super::*;

    /// Remembers where it was written.
    #[derive(Clone, Debug, Default)]
    struct Writes(Arc<Mutex<Vec<(u64, usize)>>>);

    impl SegmentFile for Writes {
        fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
            let bytes = slices.iter().map(|s| s.len()).sum();
            self.0.lock().unwrap().push((offset, bytes));
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn segment(file: &Writes, capacity: u64) -> Arc<Segment> {
        let id = SegmentId { number: 1, salt: 1 };
        Arc::new(Segment {
            id,
            crc_seed: id.crc_seed(),
            capacity,
            file: Box::new(file.clone()),
        })
    }

    fn run(segment: &Arc<Segment>, offset: u64, mut bytes: usize) -> Run {
        let mut chunks = Vec::new();
        while bytes > 0 {
            let n = bytes.min(256 << 10);
            chunks.push(Chunk::zeros(n));
            bytes -= n;
        }
        Run {
            segment: Arc::clone(segment),
            offset,
            next_index: 1,
            chunks,
        }
    }

    const BLOCK: u64 = BLOCK_BYTES as u64;

    #[test]
    fn small_commits_write_zeros_ahead_once_and_then_only_themselves() {
        let file = Writes::default();
        let segment = segment(&file, 1 << 20);
        let mut writer = Writer::new(None);
        let blocks_ahead = AHEAD_BYTES as u64 / BLOCK;
        for n in 0..blocks_ahead + 2 {
            let run = run(&segment, BLOCK * (1 + n), BLOCK_BYTES);
            writer.write(&[run], |_| panic!("not finished")).unwrap();
        }
        let writes = file.0.lock().unwrap().clone();
        let with_zeros = BLOCK_BYTES + AHEAD_BYTES;
        assert_eq!(writes[0], (BLOCK, with_zeros));
        for (n, &write) in writes
            .iter()
            .enumerate()
            .skip(1)
            .take(blocks_ahead as usize)
        {
            assert_eq!(write, (BLOCK * (1 + n as u64), BLOCK_BYTES));
        }
        // The zeros are used up.
        assert_eq!(writes.last().map(|w| w.1), Some(with_zeros));
    }

    #[test]
    fn a_large_commit_writes_nothing_ahead() {
        let file = Writes::default();
        let segment = segment(&file, 8 << 20);
        let mut writer = Writer::new(None);
        let bytes = 5 << 20;
        writer
            .write(&[run(&segment, BLOCK, bytes)], |_| panic!("not finished"))
            .unwrap();
        let writes = file.0.lock().unwrap().clone();
        assert_eq!(writes.iter().map(|w| w.1).sum::<usize>(), bytes);
    }

    #[test]
    fn zeros_end_where_the_segment_does_and_the_next_one_starts_anew() {
        let (first, second) = (Writes::default(), Writes::default());
        let segments = [segment(&first, 4 * BLOCK), segment(&second, 1 << 20)];
        let mut writer = Writer::new(None);
        let runs = [
            run(&segments[0], 2 * BLOCK, BLOCK_BYTES),
            run(&segments[1], BLOCK, BLOCK_BYTES),
        ];
        let mut finished = Vec::new();
        writer.write(&runs, |f| finished.push(f.bytes)).unwrap();
        let seal = (3 * BLOCK, BLOCK_BYTES);
        assert_eq!(
            *first.0.lock().unwrap(),
            [(2 * BLOCK, 2 * BLOCK_BYTES), seal]
        );
        let with_zeros = BLOCK_BYTES + AHEAD_BYTES;
        assert_eq!(*second.0.lock().unwrap(), [(BLOCK, with_zeros)]);
        // What a segment is cut to does not count the zeros.
        assert_eq!(finished, [4 * BLOCK]);
        let last = writer.finish().unwrap();
        assert_eq!(last.map(|f| f.bytes), Some(3 * BLOCK));
    }
}
