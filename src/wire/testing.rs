//! Writes FlatBuffers of any layout, for what the SDKs' own encoder does not write: the Event layout
//! of SDK 0.1, traces, snapshots, integer labels, and broken buffers.

/// A field of a table, in the order of slots.
pub(crate) enum Field<'a> {
    Absent,
    U8(u8),
    U64(u64),
    I64(i64),
    F64(f64),
    /// A byte vector or a string.
    Bytes(&'a [u8]),
    /// A nested table: a whole buffer made by [`table`].
    Table(&'a [u8]),
    /// A vector of nested tables.
    Tables(&'a [Vec<u8>]),
}

/// A buffer whose root is a table of these fields, packed without alignment.
pub(crate) fn table(fields: &[Field<'_>]) -> Vec<u8> {
    let vtable_size = 4 + 2 * fields.len();
    let root = 4 + vtable_size;
    let mut inline = Vec::new();
    let mut vtable = Vec::new();
    let mut offsets = Vec::new();
    for field in fields {
        let at = u16::try_from(4 + inline.len()).unwrap();
        vtable.extend(
            if matches!(field, Field::Absent) {
                0
            } else {
                at
            }
            .to_le_bytes(),
        );
        match field {
            Field::Absent => {}
            Field::U8(value) => inline.push(*value),
            Field::U64(value) => inline.extend(value.to_le_bytes()),
            Field::I64(value) => inline.extend(value.to_le_bytes()),
            Field::F64(value) => inline.extend(value.to_le_bytes()),
            Field::Bytes(_) | Field::Table(_) | Field::Tables(_) => {
                offsets.push((root + usize::from(at), field));
                inline.extend([0; 4]);
            }
        }
    }
    let table_size = 4 + inline.len();
    let mut buf = Vec::new();
    push_u32(&mut buf, root);
    buf.extend(u16::try_from(vtable_size).unwrap().to_le_bytes());
    buf.extend(u16::try_from(table_size).unwrap().to_le_bytes());
    buf.extend(vtable);
    push_u32(&mut buf, vtable_size);
    buf.extend(inline);
    for (at, field) in offsets {
        let here = buf.len();
        match field {
            Field::Bytes(bytes) => {
                point(&mut buf, at, here);
                push_u32(&mut buf, bytes.len());
                buf.extend(*bytes);
                buf.push(0);
            }
            Field::Table(nested) => {
                point(&mut buf, at, here + root_of(nested));
                buf.extend(*nested);
            }
            Field::Tables(entries) => {
                point(&mut buf, at, here);
                push_u32(&mut buf, entries.len());
                let slots = buf.len();
                buf.resize(slots + 4 * entries.len(), 0);
                for (index, entry) in entries.iter().enumerate() {
                    let target = buf.len() + root_of(entry);
                    point(&mut buf, slots + 4 * index, target);
                    buf.extend(entry);
                }
            }
            _ => {}
        }
    }
    buf
}

fn push_u32(buf: &mut Vec<u8>, value: usize) {
    buf.extend(u32::try_from(value).unwrap().to_le_bytes());
}

fn point(buf: &mut [u8], at: usize, target: usize) {
    let offset = u32::try_from(target - at).unwrap();
    buf[at..at + 4].copy_from_slice(&offset.to_le_bytes());
}

fn root_of(buf: &[u8]) -> usize {
    u32::from_le_bytes(*buf.first_chunk().unwrap()) as usize
}
