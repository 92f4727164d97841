//! The entries inside a Batch's `data`: events, logs, metrics, spans and snapshots.
//!
//! Every kind is a root table with one vector of tables, so one iterator reads them all. What the
//! entries mean as rows is left to [`crate::tables::decode`]; the JSON in their payloads is not looked at.

mod event;
mod log;
mod metric;
mod snapshot;
mod span;

use std::marker::PhantomData;

pub use event::{EVENT_TYPES, Event};
pub use log::{LOG_LEVELS, LOG_TYPES, LogEntry};
pub use metric::{Bucket, Histogram, METRIC_TYPES, MetricEntry, TEMPORALITIES};
pub use snapshot::Snapshot;
pub use span::{SPAN_KINDS, SPAN_STATUSES, Span};

use crate::wire::flatbuffer::{Budget, FlatBufferError, Table, Tables};

/// A kind of entry.
pub trait Entry<'a>: Sized {
    /// Name of the vector that holds them.
    const VECTOR: &'static str;

    /// Reads one entry.
    fn read(fields: &mut Fields<'_, 'a>) -> Result<Self, FlatBufferError>;
}

/// The entries of one payload, in order.
///
/// An error stands for one entry and the next may be sound, except [`FlatBufferError::Overlap`],
/// which ends the iteration.
#[derive(Clone, Debug)]
pub struct Entries<'a, E> {
    tables: Option<Tables<'a>>,
    budget: Budget,
    kind: PhantomData<E>,
}

impl<'a, E: Entry<'a>> Entries<'a, E> {
    /// Finds the entries in the `data` of a Batch.
    pub fn parse(data: &'a [u8]) -> Result<Self, FlatBufferError> {
        let root = Table::root(data, "data")?;
        let tables = root.tables(0, E::VECTOR)?;
        let field = E::VECTOR;
        Ok(Self {
            tables: Some(tables.ok_or(FlatBufferError::Missing { field })?),
            budget: Budget::of(data),
            kind: PhantomData,
        })
    }

    /// How many entries are left.
    pub fn len(&self) -> usize {
        self.tables.as_ref().map_or(0, Tables::len)
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, E: Entry<'a>> Iterator for Entries<'a, E> {
    type Item = Result<E, FlatBufferError>;

    fn next(&mut self) -> Option<Self::Item> {
        let table = self.tables.as_mut()?.next()?;
        let entry = table.and_then(|table| {
            E::read(&mut Fields {
                table,
                budget: &mut self.budget,
            })
        });
        if let Err(FlatBufferError::Overlap { .. }) = entry {
            self.tables = None;
        }
        Some(entry)
    }
}

/// How many entries of any kind the `data` of a Batch holds; 1 where it holds none that can be found, since
/// the payload as a whole is kept all the same.
#[must_use]
pub fn count(data: &[u8]) -> u64 {
    let entries = Table::root(data, "data").and_then(|root| root.tables(0, "entries"));
    match entries {
        Ok(Some(entries)) => entries.len() as u64,
        _ => 1,
    }
}

/// The fields of one table, read against the budget of its buffer.
#[derive(Debug)]
pub struct Fields<'t, 'a> {
    table: Table<'a>,
    budget: &'t mut Budget,
}

impl<'a> Fields<'_, 'a> {
    /// A vector of bytes; `None` if absent or empty, which encoders do not tell apart reliably.
    fn bytes(
        &mut self,
        slot: usize,
        field: &'static str,
    ) -> Result<Option<&'a [u8]>, FlatBufferError> {
        let bytes = self.table.bytes(slot, field)?.unwrap_or_default();
        self.budget.spend(bytes.len(), field)?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Text; `None` if absent.
    fn text(
        &mut self,
        slot: usize,
        field: &'static str,
    ) -> Result<Option<&'a str>, FlatBufferError> {
        let Some(bytes) = self.table.bytes(slot, field)? else {
            return Ok(None);
        };
        self.budget.spend(bytes.len(), field)?;
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(FlatBufferError::NotUtf8 { field }),
        }
    }

    /// An id of exactly `N` bytes; `None` if absent or empty.
    fn id<const N: usize>(
        &mut self,
        slot: usize,
        field: &'static str,
    ) -> Result<Option<[u8; N]>, FlatBufferError> {
        let Some(bytes) = self.bytes(slot, field)? else {
            return Ok(None);
        };
        match bytes.try_into() {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(FlatBufferError::Length {
                field,
                expected: N,
                found: bytes.len(),
            }),
        }
    }

    /// A vector of nested tables, each read by `read`; empty if absent. `cost` is the size in bytes of
    /// such a table without its strings, so that a vector shared by many entries is paid by each.
    fn list<T>(
        &mut self,
        slot: usize,
        field: &'static str,
        cost: usize,
        mut read: impl FnMut(&mut Fields<'_, 'a>) -> Result<T, FlatBufferError>,
    ) -> Result<Vec<T>, FlatBufferError> {
        let Some(tables) = self.table.tables(slot, field)? else {
            return Ok(Vec::new());
        };
        self.budget
            .spend(tables.len().saturating_mul(cost), field)?;
        let mut list = Vec::new();
        for table in tables {
            let budget = &mut *self.budget;
            list.push(read(&mut Fields {
                table: table?,
                budget,
            })?);
        }
        Ok(list)
    }
}

/// What the fuzzer checks.
#[doc(hidden)]
pub mod fuzz {
    use super::{Entries, Entry, Event, LogEntry, MetricEntry, Snapshot, Span};

    /// Any bytes are entries of each kind or errors, and the entries come to an end.
    pub fn fuzz_entries(data: &[u8]) {
        walk::<Event<'_>>(data);
        walk::<LogEntry<'_>>(data);
        walk::<MetricEntry<'_>>(data);
        walk::<Span<'_>>(data);
        walk::<Snapshot<'_>>(data);
    }

    fn walk<'a, E: Entry<'a>>(data: &'a [u8]) {
        if let Ok(entries) = Entries::<E>::parse(data) {
            assert!(entries.count() * 4 <= data.len());
        }
    }
}

#[cfg(test)]
mod tests;
