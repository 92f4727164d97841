//! The way to read the journal: in order of arrival, and never past what is committed.
//!
//! A cursor asks for the [committed position](super::committed) and reads up to it. Everything before that
//! position is final, so what is no record there is damage, and nothing that is still being written is ever
//! looked at. In the server's process the writer tells the position; beside a running server the file
//! `committed` does; where no server runs it is what recovery would find.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::committed::{self, Position};
use super::format::{BLOCK_BYTES, SegmentHeader, SegmentId};
use super::numbers::Numbers;
use super::record::Record;
use super::recovery::{self, OpenError};
use super::scan::{Item, Scan};
use super::storage::{ReadAt, Storage};

/// What the journal holds at one place.
#[derive(Debug)]
pub enum Found<'a> {
    /// A record whose checksums hold.
    Record(Record<'a>),
    /// A record whose envelope is whole and whose payload is damaged. Not to be delivered as data.
    DamagedPayload(Record<'a>),
    /// Bytes that are no record, where there was one, or the header of a segment whose records are sound.
    DamagedBytes {
        /// File name of the segment.
        segment: &'a str,
        /// Where in the segment.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// Records that are not there any more: the segment was cut short, or is missing. How many cannot be told.
    Missing {
        /// File name of the segment.
        segment: &'a str,
    },
}

/// Where a cursor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest segment that has this number or a higher one.
    Segment(u32),
    /// With the record behind this position.
    Behind(Position),
}

/// How far a cursor may go.
#[derive(Debug)]
enum Horizon {
    /// As far as the writer in this process has committed.
    Live(watch::Receiver<Option<Position>>),
    /// As far as it was when the cursor was made.
    Fixed(Option<Position>),
}

#[derive(Debug)]
enum Handle<'s> {
    Shared(Arc<dyn Storage>),
    Borrowed(&'s dyn Storage),
}

impl Handle<'_> {
    fn get(&self) -> &dyn Storage {
        match self {
            Self::Shared(storage) => storage.as_ref(),
            Self::Borrowed(storage) => *storage,
        }
    }
}

/// A place in the journal that moves forward.
#[derive(Debug)]
pub struct Cursor<'s> {
    storage: Handle<'s>,
    horizon: Horizon,
    first_number: u32,
    current: Option<Current>,
    /// Segments that were listed and not opened yet, in order.
    listed: VecDeque<SegmentId>,
    /// What is to be said before anything further is read.
    notes: VecDeque<Note>,
    /// The file name that what was handed out last refers to.
    noted: String,
}

/// The segment being read.
#[derive(Debug)]
struct Current {
    id: SegmentId,
    name: String,
    header: SegmentHeader,
    /// The segment before it, where its seal is the last block of the file and says so.
    previous: Option<SegmentId>,
    scan: Scan,
}

#[derive(Debug)]
enum Note {
    Header(SegmentId),
    Missing(SegmentId),
}

/// What is at hand, without its bytes.
enum Step {
    Item(Item),
    Note(Note),
}

impl<'s> Cursor<'s> {
    /// Beside a server that has the data directory open: as far as that has committed by now.
    pub fn beside_a_server(storage: &'s dyn Storage, start: Start) -> Result<Self, OpenError> {
        let end = committed::beside_a_server(storage)?;
        Self::new(Handle::Borrowed(storage), Horizon::Fixed(end), start)
    }

    /// Of a journal that no server has open: as far as recovery would keep it.
    pub fn without_a_server(storage: &'s dyn Storage, start: Start) -> Result<Self, OpenError> {
        let end = recovery::inspect(storage, 0)?.end;
        Self::new(Handle::Borrowed(storage), Horizon::Fixed(end), start)
    }

    /// Up to a position that is known to be committed.
    pub(super) fn up_to(
        storage: Arc<dyn Storage>,
        end: Option<Position>,
        start: Start,
    ) -> Result<Self, OpenError> {
        Self::new(Handle::Shared(storage), Horizon::Fixed(end), start)
    }

    /// In the process of the writer: as far as it has committed whenever this is read.
    pub(super) fn live(
        storage: Arc<dyn Storage>,
        committed: watch::Receiver<Option<Position>>,
        start: Start,
    ) -> Result<Self, OpenError> {
        Self::new(Handle::Shared(storage), Horizon::Live(committed), start)
    }

    fn new(storage: Handle<'s>, horizon: Horizon, start: Start) -> Result<Self, OpenError> {
        let mut cursor = Self {
            storage,
            horizon,
            first_number: 0,
            current: None,
            listed: VecDeque::new(),
            notes: VecDeque::new(),
            noted: String::new(),
        };
        match start {
            Start::Segment(number) => cursor.first_number = number,
            Start::Behind(position) => cursor.go_to(position)?,
        }
        Ok(cursor)
    }

    fn go_to(&mut self, position: Position) -> Result<(), OpenError> {
        let id = position.segment;
        let gone = || OpenError::gone(id);
        let end = self.end().ok_or_else(gone)?;
        let file = open(self.storage.get(), id).map_err(OpenError::segment(id))?;
        let file = file.ok_or_else(gone)?;
        let reaches = if end.segment == id {
            end.offset
        } else {
            file.len().map_err(OpenError::segment(id))?
        };
        let is_place = position.offset >= BLOCK_BYTES as u64
            && position.offset <= reaches
            && position.sequence >> 32 == u64::from(id.number);
        if !is_place || id.number > end.segment.number {
            return Err(gone());
        }
        let mut current = Current::open(file, id)?;
        current
            .scan
            .start_at(position.offset, position.sequence as u32);
        self.first_number = id.number;
        self.current = Some(current);
        Ok(())
    }

    /// Where the next record is looked for; `None` before the first segment.
    pub fn position(&self) -> Option<Position> {
        let current = self.current.as_ref()?;
        let index = u32::try_from(current.scan.next_index()).unwrap_or(u32::MAX);
        Some(Position {
            segment: current.id,
            offset: current.scan.offset(),
            sequence: current.id.sequence(index),
        })
    }

    /// Resolves when more may be committed than this cursor has seen; `false` when there will never be more.
    pub async fn wait(&mut self) -> bool {
        match &mut self.horizon {
            Horizon::Live(committed) => committed.changed().await.is_ok(),
            Horizon::Fixed(_) => false,
        }
    }

    /// What comes next; `None` at the end of what is committed, where a later call may find more. Reads from
    /// the disk: blocks.
    pub fn advance(&mut self) -> Result<Option<Found<'_>>, OpenError> {
        let Some(step) = self.step()? else {
            return Ok(None);
        };
        let item = match step {
            Step::Note(Note::Header(id)) => {
                self.noted = id.file_name();
                return Ok(Some(Found::DamagedBytes {
                    segment: &self.noted,
                    offset: 0,
                    bytes: BLOCK_BYTES as u64,
                }));
            }
            Step::Note(Note::Missing(id)) => {
                self.noted = id.file_name();
                return Ok(Some(Found::Missing {
                    segment: &self.noted,
                }));
            }
            Step::Item(item) => item,
        };
        let Some(current) = &self.current else {
            return Ok(None);
        };
        Ok(Some(match (item, current.scan.record()) {
            (Item::Record, Some(record)) => Found::Record(record),
            (Item::DamagedPayload { .. }, Some(record)) => Found::DamagedPayload(record),
            (Item::Damaged { offset, bytes } | Item::DamagedPayload { offset, bytes }, _) => {
                Found::DamagedBytes {
                    segment: &current.name,
                    offset,
                    bytes,
                }
            }
            (Item::Record, None) => Found::Missing {
                segment: &current.name,
            },
        }))
    }

    fn step(&mut self) -> Result<Option<Step>, OpenError> {
        loop {
            if let Some(note) = self.notes.pop_front() {
                return Ok(Some(Step::Note(note)));
            }
            let Some(end) = self.end() else {
                return Ok(None);
            };
            let Some(current) = &mut self.current else {
                if !self.open_next(end)? {
                    return Ok(None);
                }
                continue;
            };
            // A segment before that of the end is finished: it ends with its seal.
            let is_last = current.id == end.segment;
            current.scan.set_limit(is_last.then_some(end.offset));
            let at = OpenError::segment(current.id);
            match current.scan.next().map_err(at)? {
                Some(item) => return Ok(Some(Step::Item(item))),
                None if is_last => return Ok(None),
                None if !self.open_next(end)? => return Ok(None),
                None => {}
            }
        }
    }

    /// How far it may go now.
    fn end(&mut self) -> Option<Position> {
        match &mut self.horizon {
            Horizon::Live(committed) => *committed.borrow_and_update(),
            Horizon::Fixed(end) => *end,
        }
    }

    /// Goes on to the next segment, and notes what is missing before it.
    fn open_next(&mut self, end: Position) -> Result<bool, OpenError> {
        let read = self.current.as_ref().map(|current| current.id);
        let first = read.map_or(self.first_number, |id| id.number.saturating_add(1));
        if first > end.segment.number {
            return Ok(false);
        }
        let mut opened = None;
        for attempt in 0..2 {
            if self.listed.is_empty() || attempt > 0 {
                self.listed = recovery::list(self.storage.get())?.into();
            }
            self.listed
                .retain(|id| (first..=end.segment.number).contains(&id.number));
            let Some(&id) = self.listed.front() else {
                continue;
            };
            // One that is gone since it was listed was retired.
            if let Some(file) = open(self.storage.get(), id).map_err(OpenError::segment(id))? {
                self.listed.pop_front();
                opened = Some(Current::open(file, id)?);
                break;
            }
        }
        let next = opened.ok_or_else(|| OpenError::gone(end.segment))?;
        if next.id.number == end.segment.number && next.id != end.segment {
            return Err(OpenError::gone(end.segment));
        }
        self.note_missing(&next)?;
        if next.header == SegmentHeader::Damaged || next.header == SegmentHeader::Blank {
            self.notes.push_back(Note::Header(next.id));
        }
        self.current = Some(next);
        Ok(true)
    }

    /// What should stand between the segment that was read and the next one.
    fn note_missing(&mut self, next: &Current) -> Result<(), OpenError> {
        let retired = || -> Result<u32, OpenError> {
            let numbers = Numbers::read(self.storage.get()).map_err(OpenError::Directory)?;
            Ok(numbers.retired)
        };
        let mut before = None;
        if let Some(read) = &self.current {
            before = Some(read.id);
            if next.id.number > read.id.number + 1 && retired()? > read.id.number {
                // Others behind it may be gone with it.
                return Err(OpenError::gone(read.id));
            }
            // Only who seals can have left it without a seal that it should have.
            let should = [read.header, next.header] == [SegmentHeader::Current; 2];
            if should && read.scan.seal().is_none() {
                self.notes.push_back(Note::Missing(read.id));
            }
        }
        if let Some(previous) = next.previous
            && before != Some(previous)
            && previous.number >= self.first_number
            && previous.number > retired()?
        {
            self.notes.push_back(Note::Missing(previous));
        }
        Ok(())
    }
}

impl Current {
    fn open(file: Box<dyn ReadAt>, id: SegmentId) -> Result<Self, OpenError> {
        Ok(Self {
            id,
            name: id.file_name(),
            header: recovery::header_of(file.as_ref(), id)?,
            previous: recovery::seal_at_end(file.as_ref(), id)
                .map_err(OpenError::segment(id))?
                .and_then(|seal| seal.previous),
            scan: Scan::new(file, id),
        })
    }
}

/// Opens a segment; `None` when it is not there.
pub(super) fn open(storage: &dyn Storage, id: SegmentId) -> io::Result<Option<Box<dyn ReadAt>>> {
    match storage.open(&id.file_name()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}
