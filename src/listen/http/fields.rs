//! Counting the fields of a header block (HPACK, RFC 7541) without decoding it, as its bytes come.
//!
//! A field that is in a table takes one byte on the wire, and about a hundred in memory once it is decoded. So
//! what a head will take is known only by its fields, and has to be known before the decoder sees them.

/// Where in a block the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a field.
    #[default]
    Field,
    /// In the further bytes of an integer.
    Integer { of: Integer, value: u64, shift: u32 },
    /// Before the length of a string.
    Length { is_name: bool },
    /// In a string.
    Text { left: u64, is_name: bool },
}

/// What an integer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Integer {
    /// A field that is in a table, or how large the table may be: nothing comes behind it.
    Whole,
    /// The name of a field whose value comes behind it; 0 where the name comes too.
    Name,
    /// The length of a string.
    Length { is_name: bool },
}

/// What was seen of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    at: At,
    /// Fields that began.
    pub count: usize,
    /// Bytes of names and values that are not in a table, as they are encoded.
    pub literal_bytes: usize,
}

impl Fields {
    /// Reads on. What is malformed ends up in some count or other; the decoder refuses it.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let At::Text { left, is_name } = self.at {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.literal_bytes += length;
                bytes = bytes.get(length..).unwrap_or_default();
                self.at = after_text(left - length as u64, is_name);
                continue;
            }
            bytes = rest;
            self.at = match self.at {
                At::Field => self.field(byte),
                At::Length { is_name } => integer(Integer::Length { is_name }, byte, 7),
                At::Integer { of, value, shift } => {
                    let value = value.saturating_add(u64::from(byte & 0x7f) << shift.min(56));
                    match byte & 0x80 {
                        0 => after_integer(of, value),
                        _ => At::Integer {
                            of,
                            value,
                            shift: shift + 7,
                        },
                    }
                }
                // Handled above.
                text @ At::Text { .. } => text,
            };
        }
    }

    fn field(&mut self, byte: u8) -> At {
        match byte {
            0x80.. => {
                self.count += 1;
                integer(Integer::Whole, byte, 7)
            }
            0x40.. => {
                self.count += 1;
                integer(Integer::Name, byte, 6)
            }
            0x20.. => integer(Integer::Whole, byte, 5),
            _ => {
                self.count += 1;
                integer(Integer::Name, byte, 4)
            }
        }
    }
}

/// An integer whose first byte has so many bits of it.
fn integer(of: Integer, byte: u8, bits: u32) -> At {
    let most = (1u8 << bits) - 1;
    match byte & most {
        value if value < most => after_integer(of, u64::from(value)),
        _ => At::Integer {
            of,
            value: u64::from(most),
            shift: 0,
        },
    }
}

fn after_integer(of: Integer, value: u64) -> At {
    match of {
        Integer::Whole => At::Field,
        Integer::Name => At::Length {
            is_name: value == 0,
        },
        Integer::Length { is_name } => after_text(value, is_name),
    }
}

fn after_text(left: u64, is_name: bool) -> At {
    match (left, is_name) {
        (0, true) => At::Length { is_name: false },
        (0, false) => At::Field,
        (left, is_name) => At::Text { left, is_name },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn integer_bytes(first: u8, bits: u32, value: u64) -> Vec<u8> {
        let most = (1u64 << bits) - 1;
        if value < most {
            return vec![first | value as u8];
        }
        let mut out = vec![first | most as u8];
        let mut left = value - most;
        while left >= 128 {
            out.push(left as u8 | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
        out
    }

    fn text(length: usize, huffman: bool) -> Vec<u8> {
        let mut out = integer_bytes(if huffman { 0x80 } else { 0 }, 7, length as u64);
        out.resize(out.len() + length, 0xff);
        out
    }

    /// One field or update, with what it adds to the counts.
    fn representation() -> impl Strategy<Value = (Vec<u8>, usize, usize)> {
        let literal = (0u8..3, 0u64..400, 0usize..300, 0usize..700, any::<bool>()).prop_map(
            |(kind, index, name, value, huffman)| {
                let (first, bits) = [(0x40, 6), (0x00, 4), (0x10, 4)][kind as usize];
                let mut out = integer_bytes(first, bits, index);
                let mut literal = value;
                if index == 0 {
                    literal += name;
                    out.extend(text(name, huffman));
                }
                out.extend(text(value, huffman));
                (out, 1, literal)
            },
        );
        prop_oneof![
            (1u64..100_000).prop_map(|index| (integer_bytes(0x80, 7, index), 1, 0)),
            (0u64..5_000).prop_map(|size| (integer_bytes(0x20, 5, size), 0, 0)),
            literal,
        ]
    }

    proptest! {
        #[test]
        fn fields_and_literals_are_counted_however_the_block_is_cut(
            block in prop::collection::vec(representation(), 0..30),
            cut in 1usize..200,
        ) {
            let bytes: Vec<u8> = block.iter().flat_map(|(bytes, _, _)| bytes.clone()).collect();
            let mut fields = Fields::default();
            bytes.chunks(cut).for_each(|piece| fields.read(piece));
            prop_assert_eq!(fields.at, At::Field);
            prop_assert_eq!(fields.count, block.iter().map(|(_, n, _)| n).sum::<usize>());
            let literal_bytes = block.iter().map(|(_, _, n)| n).sum::<usize>();
            prop_assert_eq!(fields.literal_bytes, literal_bytes);
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut fields = Fields::default();
            fields.read(&bytes);
            prop_assert!(fields.count <= bytes.len() && fields.literal_bytes <= bytes.len());
        }
    }

    #[test]
    fn a_field_of_the_dynamic_table_is_a_field_a_byte() {
        let mut block = vec![0x40, 1, b'a', 0];
        block.resize(4 + 1_879, 0xbe);
        let mut fields = Fields::default();
        fields.read(&block);
        assert_eq!((fields.count, fields.literal_bytes), (1_880, 1));
    }
}
