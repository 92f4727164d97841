//! Frames as SDKs send them, and as they do not: by the SDK's own encoder, or field by field.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use tell_encoding::{
    BatchParams, DEFAULT_VERSION, EventParams, EventType, SchemaType, encode_batch,
    encode_event_data_into,
};

use crate::harness::{Server, key_bytes};

/// The writer of arbitrary layouts that the unit tests use as well.
#[path = "../../src/wire/testing.rs"]
mod flatbuffer;

pub(crate) use flatbuffer::{Field, table};

/// Milliseconds since 1970 that every event of [`event_batch`] has.
pub const SENT_AT_MS: u64 = 1_700_000_000_123;

/// Puts the length in front.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_be_bytes(), payload].concat()
}

/// A Batch of tracked events with these names and payloads, by the SDK's encoder.
pub fn event_batch(key: &str, events: &[(&str, &str)]) -> Vec<u8> {
    let events: Vec<EventParams<'_>> = events
        .iter()
        .map(|(name, payload)| EventParams {
            event_type: EventType::Track,
            timestamp: SENT_AT_MS,
            service: Some("shop"),
            device_id: Some(&[0xAB; 16]),
            session_id: Some(&[0xCD; 16]),
            event_name: Some(name),
            payload: Some(payload.as_bytes()),
        })
        .collect();
    let mut data = Vec::new();
    encode_event_data_into(&mut data, &events);
    encode_batch(&BatchParams {
        api_key: &key_bytes(key),
        schema_type: SchemaType::Event,
        version: DEFAULT_VERSION,
        batch_id: 7,
        data: &data,
    })
}

/// A frame with one tracked event.
pub fn event_frame(key: &str, name: &str) -> Vec<u8> {
    frame(&event_batch(key, &[(name, r#"{"user_id":"u1","n":1.50}"#)]))
}

/// A Batch whose data may be anything.
pub fn batch(key: &str, schema_type: u8, data: &[u8]) -> Vec<u8> {
    table(&[
        Field::Bytes(&key_bytes(key)),
        Field::U8(schema_type),
        Field::U8(DEFAULT_VERSION),
        Field::U64(1),
        Field::Bytes(data),
    ])
}

/// A Batch of a kind that no SDK encodes: its entries, each a table.
pub fn batch_of(key: &str, schema_type: u8, entries: &[Vec<u8>]) -> Vec<u8> {
    batch(key, schema_type, &table(&[Field::Tables(entries)]))
}

/// A connection to the door for frames, on which nothing waits for company.
pub fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.at().tcp).expect("connect");
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends frames, or pieces of them.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream
        .write_all(bytes)
        .expect("the server takes what is sent");
}

/// Whether the server has neither closed the connection nor written to it.
pub fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
