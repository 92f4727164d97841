//! The envelope that every SDK frame is: whose it is, what kind of entries, and the entries' bytes.
//!
//! The entries inside `data` are not looked at here: see [`crate::wire::entries`].

use std::net::{IpAddr, Ipv6Addr};

use crate::wire::flatbuffer::{FlatBufferError, Table};
use crate::wire::key::StreamingKey;

/// One Batch, borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The key that the batch was sent with.
    pub api_key: StreamingKey,
    /// 0 unknown, 1 event, 2 log, 3 metric, 4 trace, 5 snapshot; others as they came.
    pub schema_type: u8,
    /// 100 is v1.0.
    pub version: u8,
    /// A counter of the client process; 0 if absent.
    pub batch_id: u64,
    /// The entries, a FlatBuffer of their own. May be anything.
    pub data: &'a [u8],
    /// The address that a forwarder claims the batch came from. An IPv4-mapped one is given as IPv4.
    pub source_ip: Option<IpAddr>,
}

/// Why bytes are no Batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The FlatBuffer is broken.
    #[error("no Batch: {0}")]
    Malformed(#[from] FlatBufferError),
    /// There is no key.
    #[error("no Batch: api_key: required, the 16 bytes of a streaming key")]
    KeyMissing,
    /// The key has another length; the length found.
    #[error("no Batch: api_key: expected 16 bytes, found {0}")]
    KeyLength(usize),
    /// There is no data.
    #[error("no Batch: data: required")]
    DataMissing,
    /// The source address has another length; the length found.
    #[error("no Batch: source_ip: expected 16 bytes (IPv6 form), found {0}")]
    SourceIpLength(usize),
}

impl<'a> Batch<'a> {
    /// Reads the envelope of one frame.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, BatchError> {
        let root = Table::root(frame, "batch")?;
        let key = root.bytes(0, "api_key")?.ok_or(BatchError::KeyMissing)?;
        let key: [u8; 16] = key
            .try_into()
            .map_err(|_| BatchError::KeyLength(key.len()))?;
        let source_ip = match root.bytes(5, "source_ip")? {
            None => None,
            Some(ip) => {
                let ip: [u8; 16] = ip
                    .try_into()
                    .map_err(|_| BatchError::SourceIpLength(ip.len()))?;
                Some(Ipv6Addr::from(ip).to_canonical())
            }
        };
        Ok(Self {
            api_key: StreamingKey::from_bytes(key),
            schema_type: root.u8(1, "schema_type")?,
            version: root.u8(2, "version")?,
            batch_id: root.u64(3, "batch_id")?,
            data: root.bytes(4, "data")?.ok_or(BatchError::DataMissing)?,
            source_ip,
        })
    }
}

/// What the fuzzer checks.
#[doc(hidden)]
pub mod fuzz {
    use super::Batch;

    /// Any bytes are a Batch whose data lies inside them, or an error that can be printed.
    pub fn fuzz_batch(data: &[u8]) {
        match Batch::parse(data) {
            Ok(batch) => assert!(batch.data.len() <= data.len()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tell_encoding::{BatchParams, SchemaType, encode_batch};

    use super::*;
    use crate::wire::testing::{Field, table};

    const KEY: [u8; 16] = [0xA5; 16];

    fn encoded(batch_id: u64, data: &[u8]) -> Vec<u8> {
        encode_batch(&BatchParams {
            api_key: &KEY,
            schema_type: SchemaType::Metric,
            version: 100,
            batch_id,
            data,
        })
    }

    #[test]
    fn a_frame_of_the_sdk_is_read_whole() {
        for batch_id in [0, 1, u64::MAX] {
            let frame = encoded(batch_id, b"entries");
            assert_eq!(
                Batch::parse(&frame),
                Ok(Batch {
                    api_key: StreamingKey::from_bytes(KEY),
                    schema_type: 3,
                    version: 100,
                    batch_id,
                    data: b"entries",
                    source_ip: None,
                })
            );
        }
    }

    fn fields<'a>(key: Field<'a>, data: Field<'a>, source_ip: Field<'a>) -> Vec<u8> {
        let rest = [Field::U8(1), Field::U8(100), Field::U64(9)];
        let [schema, version, id] = rest;
        table(&[key, schema, version, id, data, source_ip])
    }

    #[test]
    fn a_forwarded_address_is_read_and_a_mapped_one_becomes_ipv4() {
        let v4 = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201).octets();
        let v6 = Ipv6Addr::LOCALHOST.octets();
        for (ip, shown) in [(v4, "192.0.2.1"), (v6, "::1")] {
            let frame = fields(Field::Bytes(&KEY), Field::Bytes(b""), Field::Bytes(&ip));
            let batch = Batch::parse(&frame).unwrap();
            assert_eq!(batch.source_ip.unwrap().to_string(), shown);
        }
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let key = || Field::Bytes(&KEY);
        let data = || Field::Bytes(b"x");
        for (frame, error) in [
            (
                fields(Field::Absent, data(), Field::Absent),
                BatchError::KeyMissing,
            ),
            (
                fields(Field::Bytes(&KEY[..15]), data(), Field::Absent),
                BatchError::KeyLength(15),
            ),
            (
                fields(key(), Field::Absent, Field::Absent),
                BatchError::DataMissing,
            ),
            (
                fields(key(), data(), Field::Bytes(&[127, 0, 0, 1])),
                BatchError::SourceIpLength(4),
            ),
            (
                Vec::new(),
                BatchError::Malformed(FlatBufferError::OutOfBounds { field: "batch" }),
            ),
        ] {
            assert_eq!(Batch::parse(&frame), Err(error));
        }
    }

    #[test]
    fn no_text_about_a_batch_shows_its_key() {
        let frame = encoded(1, b"");
        let shown = format!("{:?}", Batch::parse(&frame).unwrap());
        assert!(!shown.contains("a5a5a5a5a5"), "{shown}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz::fuzz_batch(&data);
        }

        #[test]
        fn a_frame_with_one_byte_changed_never_panics(at in 0usize..100, byte: u8) {
            let mut frame = encoded(7, b"some entries");
            let at = at % frame.len();
            frame[at] = byte;
            fuzz::fuzz_batch(&frame);
        }
    }
}
