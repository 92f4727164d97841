//! What the benches feed to the code: real frames, lines and messages, and numbers that are the same in
//! every run.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::net::SocketAddr;

use tell_encoding::{
    BatchParams, DEFAULT_VERSION, EventParams, EventType, SchemaType, encode_batch_into,
    encode_event_data_into,
};
use tell_server::journal::{Encoding, Facts};
use tell_server::origin::{Source, Workspace};
use tell_server::wire::key::StreamingKey;

/// A small generator with a fixed seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn key(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.next().to_le_bytes());
        key[8..].copy_from_slice(&self.next().to_le_bytes());
        key
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A Batch of track events of about 200 bytes.
pub fn batch(key: &[u8; 16], events: u64) -> Vec<u8> {
    let data = event_data(events);
    let mut out = Vec::new();
    let params = BatchParams {
        api_key: key,
        schema_type: SchemaType::Event,
        version: DEFAULT_VERSION,
        batch_id: 1,
        data: &data,
    };
    encode_batch_into(&mut out, &params);
    out
}

/// The `data` of such a Batch: what the journal keeps of it.
pub fn event_data(events: u64) -> Vec<u8> {
    let payload = format!(
        "{{\"user_id\":\"user_00000042\",\"page\":\"/home\",\"pad\":\"{}\"}}",
        "x".repeat(50)
    );
    let events: Vec<EventParams<'_>> = (0..events)
        .map(|n| EventParams {
            event_type: EventType::Track,
            timestamp: 1_760_000_000_000 + n,
            service: None,
            device_id: Some(&[7; 16]),
            session_id: Some(&[9; 16]),
            event_name: Some("Page Viewed"),
            payload: Some(payload.as_bytes()),
        })
        .collect();
    let mut data = Vec::new();
    let range = encode_event_data_into(&mut data, &events);
    data[range].to_vec()
}

/// A Batch as it comes over TCP: behind its length.
pub fn frame(key: &[u8; 16], events: u64) -> Vec<u8> {
    let batch = batch(key, events);
    let mut frame = (batch.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&batch);
    frame
}

/// An event line of about 230 bytes, with its newline.
pub fn json_line(n: u64) -> String {
    format!(
        "{{\"type\":\"track\",\"event\":\"Page Viewed\",\"device_id\":\"550e8400-e29b-41d4-a716-446655440000\",\
         \"session_id\":\"650e8400-e29b-41d4-a716-446655440000\",\"user_id\":\"user_{n:08}\",\
         \"timestamp\":{},\"properties\":{{\"page\":\"/home\",\"n\":{n}}}}}\n",
        1_760_000_000_000 + n
    )
}

/// An event line whose properties nest 40 levels, with more brackets than levels are allowed.
pub fn deep_json_line(n: u64) -> String {
    let (open, close) = ("[{\"a\":".repeat(20), "}]".repeat(20));
    let flat = "[1,{\"b\":[]}],".repeat(20);
    format!(
        "{{\"type\":\"track\",\"event\":\"Cart\",\"timestamp\":{},\"properties\":{{\"items\":[{flat}{open}{n}{close}]}}}}\n",
        1_760_000_000_000 + n
    )
}

/// An event line that is mostly escapes, in its columns and in its properties.
pub fn escaped_json_line(n: u64) -> String {
    let text = r#"\"caf\u00e9\"\t\\srv\\share\n\ud83d\ude80 "#.repeat(5);
    format!(
        "{{\"type\":\"track\",\"event\":\"{text}\",\"user_id\":\"{text}{n}\",\"properties\":{{\"\\u0070age\":\"{text}\",\"trace\":\"{text}\"}}}}\n"
    )
}

/// A message of RFC 5424, with its newline.
pub const RFC5424: &str = "<134>1 2026-11-21T21:42:00.123Z web-1 checkout 4242 ID47 - order placed id=12345 amount=49.99 currency=USD user=user_00000042\n";

/// The same with its key in front.
pub fn rfc5424(key: &[u8; 16]) -> String {
    format!("{} {RFC5424}", hex(key))
}

/// The same with the key as a parameter of its structured data, where there is another element.
pub fn rfc5424_with_structured_data(key: &[u8; 16]) -> String {
    format!(
        "<134>1 2026-11-21T21:42:00.123Z web-1 checkout 4242 ID47 [tell@32473 key=\"{}\"][origin ip=\"192.0.2.1\" software=\"shop\"] order placed id=12345 amount=49.99 currency=USD user=user_00000042\n",
        hex(key)
    )
}

/// A message of RFC 3164 with its key in front, and its newline.
pub fn rfc3164(key: &[u8; 16]) -> String {
    format!(
        "{} <134>Nov 21 21:42:00 web-1 checkout[4242]: order placed id=12345 amount=49.99 currency=USD user=user_00000042\n",
        hex(key)
    )
}

/// A key as files and messages have it.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the server knows of a payload that came to workspace 1.
pub fn facts(source: Source, encoding: Encoding) -> Facts {
    Facts {
        workspace: Workspace::new(1).unwrap(),
        key_id: StreamingKey::from_bytes(Random(5).key()).id(),
        source,
        encoding,
        received_at_ns: 1_760_000_000_000_000_000,
        peer: SocketAddr::from(([192, 0, 2, 1], 40_000)),
    }
}
