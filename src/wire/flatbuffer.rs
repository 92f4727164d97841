//! A bounds-checked reader of FlatBuffers that asks for no alignment.
//!
//! The SDKs' encoder does not align 8-byte fields, so a verifier that asks for alignment refuses their
//! frames. It also states table sizes larger than its tables, so a table's stated size is not used: each
//! field is checked against the end of the buffer instead.
//!
//! Every value borrows from the buffer. Work is bounded: reading one field costs at most its own length,
//! nesting is as deep as the schema asks for, and a vector of tables must have room for all its offsets.
//! Offsets may overlap, so many entries can claim the same bytes: [`Budget`] bounds their sum.

/// What is wrong with a buffer, and in which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlatBufferError {
    /// An offset or a length points outside the buffer.
    #[error("{field}: lies outside the buffer")]
    OutOfBounds {
        /// The field at fault.
        field: &'static str,
    },
    /// A table's vtable states an odd size, or one below its own header.
    #[error("{field}: expected a vtable of an even size of at least 4 bytes")]
    VTable {
        /// The field at fault.
        field: &'static str,
    },
    /// A string holds bytes that are not UTF-8.
    #[error("{field}: expected UTF-8 text")]
    NotUtf8 {
        /// The field at fault.
        field: &'static str,
    },
    /// A required field is absent.
    #[error("{field}: required")]
    Missing {
        /// The field at fault.
        field: &'static str,
    },
    /// A byte vector of a fixed length has another one.
    #[error("{field}: expected {expected} bytes, found {found}")]
    Length {
        /// The field at fault.
        field: &'static str,
        /// The length it must have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// The entries claim the same bytes so often that reading them all would not be bounded.
    #[error("{field}: the entries claim more than {SHARING} times the bytes of their buffer")]
    Overlap {
        /// The field that went over the bound.
        field: &'static str,
    },
}

/// How many times over the entries of a buffer may claim its bytes.
///
/// An encoder may share strings: a service name of 255 bytes shared by events of 40 bytes each comes
/// to 7 times the buffer. Without a bound, 16 MiB of offsets to one string ask for terabytes.
const SHARING: usize = 8;

/// The bytes that the entries of one buffer may still claim.
#[derive(Clone, Debug)]
pub struct Budget {
    left: usize,
}

impl Budget {
    /// The budget of all entries in `buf`.
    pub const fn of(buf: &[u8]) -> Self {
        Self {
            left: buf.len().saturating_mul(SHARING),
        }
    }

    /// Takes `bytes` for `field`.
    pub fn spend(&mut self, bytes: usize, field: &'static str) -> Result<(), FlatBufferError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(FlatBufferError::Overlap { field })?;
        Ok(())
    }
}

/// One table. Slots are field ids; `field` is the name that an error gives.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    buf: &'a [u8],
    at: usize,
    slots: &'a [u8],
}

impl<'a> Table<'a> {
    /// The root table of `buf`.
    #[inline]
    pub fn root(buf: &'a [u8], field: &'static str) -> Result<Self, FlatBufferError> {
        Self::follow(buf, 0, field)
    }

    /// The table that the offset at `at` points to.
    #[inline]
    fn follow(buf: &'a [u8], at: usize, field: &'static str) -> Result<Self, FlatBufferError> {
        let outside = FlatBufferError::OutOfBounds { field };
        let at = target(buf, at).ok_or(outside)?;
        let back = i32::from_le_bytes(fixed(buf, at).ok_or(outside)?);
        let vtable = i64::try_from(at).map_err(|_| outside)? - i64::from(back);
        let vtable = usize::try_from(vtable).map_err(|_| outside)?;
        let size = usize::from(u16::from_le_bytes(fixed(buf, vtable).ok_or(outside)?));
        if size < 4 || size % 2 != 0 {
            return Err(FlatBufferError::VTable { field });
        }
        let vtable = buf.get(vtable..).and_then(|rest| rest.get(4..size));
        let slots = vtable.ok_or(outside)?;
        Ok(Self { buf, at, slots })
    }

    /// How many field ids the table's vtable covers, present or not.
    #[inline]
    pub const fn slot_count(&self) -> usize {
        self.slots.len() / 2
    }

    /// Where the field is; `None` if it is absent.
    #[inline]
    fn position(&self, slot: usize) -> Option<usize> {
        match u16::from_le_bytes(fixed(self.slots, slot * 2)?) {
            0 => None,
            offset => self.at.checked_add(usize::from(offset)),
        }
    }

    /// The bytes of a scalar, zero if it is absent: the default of FlatBuffers.
    #[inline]
    fn scalar<const N: usize>(
        &self,
        slot: usize,
        field: &'static str,
    ) -> Result<[u8; N], FlatBufferError> {
        match self.position(slot) {
            None => Ok([0; N]),
            Some(at) => fixed(self.buf, at).ok_or(FlatBufferError::OutOfBounds { field }),
        }
    }

    /// An unsigned byte, 0 if absent.
    #[inline]
    pub fn u8(&self, slot: usize, field: &'static str) -> Result<u8, FlatBufferError> {
        self.scalar(slot, field).map(u8::from_le_bytes)
    }

    /// A 64-bit unsigned integer, 0 if absent.
    #[inline]
    pub fn u64(&self, slot: usize, field: &'static str) -> Result<u64, FlatBufferError> {
        self.scalar(slot, field).map(u64::from_le_bytes)
    }

    /// A 64-bit signed integer, 0 if absent.
    #[inline]
    pub fn i64(&self, slot: usize, field: &'static str) -> Result<i64, FlatBufferError> {
        self.scalar(slot, field).map(i64::from_le_bytes)
    }

    /// A 64-bit float, 0.0 if absent.
    #[inline]
    pub fn f64(&self, slot: usize, field: &'static str) -> Result<f64, FlatBufferError> {
        self.scalar(slot, field).map(f64::from_le_bytes)
    }

    /// A vector of bytes; `None` if absent.
    #[inline]
    pub fn bytes(
        &self,
        slot: usize,
        field: &'static str,
    ) -> Result<Option<&'a [u8]>, FlatBufferError> {
        let Some(at) = self.position(slot) else {
            return Ok(None);
        };
        let outside = FlatBufferError::OutOfBounds { field };
        let (start, len) = vector(self.buf, at).ok_or(outside)?;
        let bytes = self.buf.get(start..).and_then(|rest| rest.get(..len));
        bytes.map(Some).ok_or(outside)
    }

    /// A nested table; `None` if absent.
    pub fn table(&self, slot: usize, field: &'static str) -> Result<Option<Self>, FlatBufferError> {
        self.position(slot)
            .map(|at| Self::follow(self.buf, at, field))
            .transpose()
    }

    /// A vector of tables; `None` if absent.
    pub fn tables(
        &self,
        slot: usize,
        field: &'static str,
    ) -> Result<Option<Tables<'a>>, FlatBufferError> {
        let Some(at) = self.position(slot) else {
            return Ok(None);
        };
        let outside = FlatBufferError::OutOfBounds { field };
        let (next, len) = vector(self.buf, at).ok_or(outside)?;
        let end = len.checked_mul(4).and_then(|size| next.checked_add(size));
        match end {
            Some(end) if end <= self.buf.len() => Ok(Some(Tables {
                buf: self.buf,
                next,
                end,
                field,
            })),
            _ => Err(outside),
        }
    }
}

/// The tables of a vector. An error stands for one table: the next may be sound.
#[derive(Clone, Debug)]
pub struct Tables<'a> {
    buf: &'a [u8],
    next: usize,
    end: usize,
    field: &'static str,
}

impl Tables<'_> {
    /// How many tables are left.
    pub const fn len(&self) -> usize {
        (self.end - self.next) / 4
    }

    /// Whether none is left.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Iterator for Tables<'a> {
    type Item = Result<Table<'a>, FlatBufferError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        let at = self.next;
        self.next += 4;
        Some(Table::follow(self.buf, at, self.field))
    }
}

/// The `N` bytes at `at`.
#[inline]
fn fixed<const N: usize>(buf: &[u8], at: usize) -> Option<[u8; N]> {
    buf.get(at..)?.first_chunk().copied()
}

/// What the offset at `at` points to: offsets count from where they stand.
#[inline]
fn target(buf: &[u8], at: usize) -> Option<usize> {
    let offset = u32::from_le_bytes(fixed(buf, at)?);
    at.checked_add(usize::try_from(offset).ok()?)
}

/// Start and length of the vector that the offset at `at` points to.
#[inline]
fn vector(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let at = target(buf, at)?;
    let len = u32::from_le_bytes(fixed(buf, at)?);
    Some((at.checked_add(4)?, usize::try_from(len).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::{Field, table};

    #[test]
    fn fields_are_read_by_slot_and_absent_scalars_are_zero() {
        let buf = table(&[
            Field::U8(7),
            Field::Absent,
            Field::U64(u64::MAX),
            Field::Bytes(b"abc"),
            Field::F64(-1.5),
            Field::I64(-9),
        ]);
        let root = Table::root(&buf, "root").unwrap();
        assert_eq!(root.slot_count(), 6);
        assert_eq!(root.u8(0, "a"), Ok(7));
        assert_eq!(root.u64(1, "b"), Ok(0));
        assert_eq!(root.u64(2, "c"), Ok(u64::MAX));
        assert_eq!(root.bytes(3, "d"), Ok(Some(&b"abc"[..])));
        assert_eq!(root.f64(4, "e"), Ok(-1.5));
        assert_eq!(root.i64(5, "f"), Ok(-9));
        assert_eq!(root.bytes(1, "b"), Ok(None));
        assert_eq!(root.bytes(900, "beyond the vtable"), Ok(None));
        assert!(root.table(1, "b").unwrap().is_none());
        assert!(root.tables(1, "b").unwrap().is_none());
    }

    #[test]
    fn nested_tables_and_vectors_of_tables_are_followed() {
        let inner = [table(&[Field::U8(1)]), table(&[Field::U8(2)])];
        let buf = table(&[Field::Table(&inner[0]), Field::Tables(&inner)]);
        let root = Table::root(&buf, "root").unwrap();
        let nested = root.table(0, "nested").unwrap().unwrap();
        assert_eq!(nested.u8(0, "x"), Ok(1));
        let tables = root.tables(1, "list").unwrap().unwrap();
        assert_eq!(tables.len(), 2);
        let read: Vec<u8> = tables.map(|t| t.unwrap().u8(0, "x").unwrap()).collect();
        assert_eq!(read, [1, 2]);
    }

    #[test]
    fn every_cut_of_a_buffer_is_an_error() {
        let buf = table(&[Field::Bytes(b"abcdef"), Field::U64(1)]);
        let terminator = 1;
        for end in 0..buf.len() - terminator {
            let Ok(root) = Table::root(&buf[..end], "root") else {
                continue;
            };
            assert_eq!(
                root.bytes(0, "text"),
                Err(FlatBufferError::OutOfBounds { field: "text" })
            );
        }
    }

    #[test]
    fn a_vector_of_tables_without_room_for_its_offsets_is_refused_before_it_is_walked() {
        let inner = [table(&[Field::U8(1)])];
        let mut buf = table(&[Field::Tables(&inner)]);
        let root = Table::root(&buf, "root").unwrap();
        let len_at = root.tables(0, "list").unwrap().unwrap().next - 4;
        buf[len_at..len_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let root = Table::root(&buf, "root").unwrap();
        assert_eq!(
            root.tables(0, "list").err(),
            Some(FlatBufferError::OutOfBounds { field: "list" })
        );
    }

    #[test]
    fn a_vtable_of_an_odd_or_too_small_size_is_no_vtable() {
        for size in [0u8, 2, 3, 5, 7] {
            let mut buf = table(&[Field::U8(1)]);
            buf[4] = size;
            assert_eq!(
                Table::root(&buf, "root").err(),
                Some(FlatBufferError::VTable { field: "root" }),
                "{size}"
            );
        }
    }

    #[test]
    fn offsets_are_unsigned_so_no_field_points_back_into_its_own_table() {
        let mut buf = table(&[Field::Table(&[4, 0, 0, 0])]);
        let root_at = u32::from_le_bytes(*buf.first_chunk().unwrap()) as usize;
        let offset_at = root_at + 4;
        let back = 0u32.wrapping_sub(4).to_le_bytes();
        buf[offset_at..offset_at + 4].copy_from_slice(&back);
        let root = Table::root(&buf, "root").unwrap();
        assert!(root.table(0, "offsets are unsigned").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_read_lies_inside(
            buf in proptest::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..200)
        ) {
            let Ok(root) = Table::root(&buf, "root") else { return Ok(()) };
            for slot in 0..root.slot_count() + 1 {
                let _ = (root.u8(slot, "x"), root.f64(slot, "x"), root.table(slot, "x"));
                if let Ok(Some(bytes)) = root.bytes(slot, "x") {
                    prop_assert!(buf.as_ptr_range().contains(&bytes.as_ptr()) || bytes.is_empty());
                    prop_assert!(bytes.len() <= buf.len());
                }
                if let Ok(Some(tables)) = root.tables(slot, "x") {
                    prop_assert!(tables.len() * 4 <= buf.len());
                    prop_assert!(tables.count() * 4 <= buf.len());
                }
            }
        }
    }
}
