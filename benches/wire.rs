//! Bytes to frames, lines and messages: what the wire code takes for each event, without a socket.
//!
//! `cargo bench --bench wire`. A time is that of one read, Batch or body. Under it stand the frames, events or
//! messages a second (1,000 over Mitem/s is nanoseconds for one) and, where every byte is looked at, the bytes a
//! second.
//!
//! - `frames`: frames cut out of one read of 256 KiB.
//! - `envelope`: a Batch read and its entries counted, not read, as it is done for every frame that comes in.
//! - `entries`: the same, and every field of every entry read, as it is done when rows are made.
//! - `json_lines`: the lines of a body of `POST /v1/events` judged.
//! - `syslog_cut`, `syslog_key`, `syslog`: messages cut out of a stream; their keys found besides; and what is
//!   kept of them packed as well, which is all that is done for a message before the journal. Keys are looked
//!   up as the listeners do it: in the keyring, but for that of the message before.
//!
//! Not included: system calls, TLS and HTTP, grouping what came for the journal, and the journal. Everything
//! fits the second-level cache, as it does after a read.
#![allow(clippy::unwrap_used)]

mod sample;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use sample::Random;
use tell_server::auth::{KeySpec, Keyring};
use tell_server::limits::{READ_BYTES, SYSLOG_MESSAGE_BYTES};
use tell_server::origin::Workspace;
use tell_server::wire::batch::Batch;
use tell_server::wire::entries::{self, Entries, Event};
use tell_server::wire::frame::{self, Frame};
use tell_server::wire::json_lines::{self, LineKind};
use tell_server::wire::key::StreamingKey;
use tell_server::wire::syslog::{Framer, Framing, Kept, extract, pack};

/// Events in a Batch.
const BATCHES: [u64; 4] = [1, 10, 100, 500];

/// The most that a frame may take, as the server has it by default.
const MAX_FRAME_BYTES: u32 = 16 << 20;

fn main() {
    divan::main();
}

/// Args: events in each frame.
#[divan::bench(args = [1, 100], sample_count = 200, sample_size = 100)]
fn frames(bencher: Bencher, events: u64) {
    let frame = sample::frame(&Random(1).key(), events);
    let read: Vec<u8> = frame.iter().copied().cycle().take(READ_BYTES).collect();
    let whole = READ_BYTES / frame.len();
    assert_eq!(cut(&read).0, whole);
    assert_eq!(cut(&read).1, whole * (frame.len() - frame::PREFIX_BYTES));
    bencher
        .counter(ItemsCount::new(whole))
        .bench_local(|| cut(black_box(&read)));
}

/// How many frames there are, and the bytes of their payloads.
fn cut(read: &[u8]) -> (usize, usize) {
    let (mut at, mut frames, mut bytes) = (0, 0, 0);
    while let Frame::Complete { payload, consumed } = frame::next(&read[at..], MAX_FRAME_BYTES) {
        at += consumed;
        frames += 1;
        bytes += black_box(payload).len();
    }
    (frames, bytes)
}

/// Args: events in the Batch.
#[divan::bench(args = BATCHES, sample_count = 200, sample_size = 1000)]
fn envelope(bencher: Bencher, events: u64) {
    let envelope = |bytes: &[u8]| {
        let batch = Batch::parse(bytes).unwrap();
        (batch.api_key, entries::count(batch.data))
    };
    let batches = batches(events);
    assert!(batches.iter().all(|batch| envelope(batch).1 == events));
    let mut i = 0;
    bencher.counter(ItemsCount::new(events)).bench_local(|| {
        i = (i + 1) % batches.len();
        envelope(black_box(&batches[i]))
    });
}

/// Args: events in the Batch.
#[divan::bench(args = BATCHES, sample_count = 200, sample_size = 100)]
fn entries(bencher: Bencher, events: u64) {
    let batches = batches(events);
    let mut sound = 0;
    read_entries(&batches[0], |event| {
        sound += u64::from(event.event_name == Some("Page Viewed") && event.payload.is_some());
    });
    assert_eq!(sound, events);
    let mut i = 0;
    bencher
        .counter(ItemsCount::new(events))
        .counter(BytesCount::of_slice(&batches[0]))
        .bench_local(|| {
            i = (i + 1) % batches.len();
            read_entries(black_box(&batches[i]), |event| _ = black_box(event));
        });
}

/// As many Batches as one read holds, each with a key of its own.
fn batches(events: u64) -> Vec<Vec<u8>> {
    let mut random = Random(2);
    let bytes = sample::frame(&random.key(), events).len();
    (0..READ_BYTES / bytes)
        .map(|_| sample::batch(&random.key(), events))
        .collect()
}

fn read_entries(bytes: &[u8], mut each: impl FnMut(&Event<'_>)) {
    let batch = Batch::parse(bytes).unwrap();
    for event in Entries::<Event<'_>>::parse(batch.data).unwrap() {
        each(&event.unwrap());
    }
}

/// A body of `POST /v1/events`.
#[derive(Debug)]
enum Body {
    OneLine,
    Lines100,
    /// 40 levels and some 100 brackets a line.
    Deep100,
    /// Mostly escapes.
    Escaped100,
}

impl Body {
    fn lines(&self) -> u64 {
        if matches!(self, Self::OneLine) {
            1
        } else {
            100
        }
    }

    fn text(&self) -> Bytes {
        let line = match self {
            Self::OneLine | Self::Lines100 => sample::json_line,
            Self::Deep100 => sample::deep_json_line,
            Self::Escaped100 => sample::escaped_json_line,
        };
        (0..self.lines()).map(line).collect::<String>().into()
    }
}

#[divan::bench(
    args = [Body::OneLine, Body::Lines100, Body::Deep100, Body::Escaped100],
    sample_count = 200,
    sample_size = 10,
)]
fn json_lines(bencher: Bencher, body: &Body) {
    let text = body.text();
    let checked = json_lines::check(LineKind::Event, &text);
    assert_eq!((checked.accepted, checked.rejected), (body.lines(), 0));
    assert_eq!(checked.kept, text);
    bencher
        .counter(ItemsCount::new(body.lines()))
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| json_lines::check(LineKind::Event, black_box(&text)));
}

/// How a message is written, and where its key is.
#[derive(Clone, Copy, Debug)]
enum Message {
    /// RFC 5424, the key in front.
    Rfc5424,
    /// RFC 5424, the key in the structured data.
    Rfc5424Structured,
    /// RFC 3164, the key in front.
    Rfc3164,
}

const MESSAGES: [Message; 3] = [
    Message::Rfc5424,
    Message::Rfc5424Structured,
    Message::Rfc3164,
];

impl Message {
    fn text(self, key: &[u8; 16]) -> String {
        match self {
            Self::Rfc5424 => sample::rfc5424(key),
            Self::Rfc5424Structured => sample::rfc5424_with_structured_data(key),
            Self::Rfc3164 => sample::rfc3164(key),
        }
    }
}

/// One read from each of many senders.
struct Reads {
    reads: Vec<Vec<u8>>,
    messages: u64,
    keyring: Keyring,
}

impl Reads {
    /// Where a key is masked, time goes by how often its first digit is in the text: there is a sender for
    /// every digit.
    const SENDERS: u8 = 16;

    fn of(message: Message) -> Self {
        let mut random = Random(4);
        let keys: Vec<[u8; 16]> = (0..Self::SENDERS)
            .map(|digit| {
                let mut key = random.key();
                key[0] = key[0] & 0x0f | digit << 4;
                key
            })
            .collect();
        let specs = keys.iter().map(|key| KeySpec {
            key: StreamingKey::from_bytes(*key),
            workspace: Workspace::new(1).unwrap(),
            name: None,
        });
        let keyring = Keyring::new(specs.collect(), None);
        let each = READ_BYTES / keys.len() / message.text(&keys[0]).len();
        let reads = keys.iter().map(|key| message.text(key).repeat(each).into());
        Self {
            reads: reads.collect(),
            messages: (each * keys.len()) as u64,
            keyring,
        }
    }

    fn bench(&self, bencher: Bencher, mut message: impl FnMut(&Keyring, &[u8])) {
        let bytes: usize = self.reads.iter().map(Vec::len).sum();
        bencher
            .counter(ItemsCount::new(self.messages))
            .counter(BytesCount::new(bytes))
            .bench_local(|| {
                for read in black_box(&self.reads) {
                    cut_messages(read, |bytes| message(&self.keyring, bytes));
                }
            });
    }
}

/// Calls `each` with every message of a stream.
fn cut_messages(read: &[u8], mut each: impl FnMut(&[u8])) {
    let mut framer = Framer::new(SYSLOG_MESSAGE_BYTES);
    let mut at = 0;
    loop {
        match framer.next(&read[at..]) {
            Framing::Message {
                bytes, consumed, ..
            } => {
                each(bytes);
                at += consumed;
            }
            Framing::Skipped { consumed } => at += consumed,
            Framing::Incomplete | Framing::Malformed(_) => return,
        }
    }
}

#[divan::bench(args = MESSAGES, sample_count = 200, sample_size = 10)]
fn syslog_cut(bencher: Bencher, message: Message) {
    let reads = Reads::of(message);
    let mut cut = 0;
    for read in &reads.reads {
        cut_messages(read, |_| cut += 1);
    }
    assert_eq!(cut, reads.messages);
    reads.bench(bencher, |_, bytes| {
        black_box(bytes);
    });
}

#[divan::bench(args = MESSAGES, sample_count = 200, sample_size = 10)]
fn syslog_key(bencher: Bencher, message: Message) {
    let reads = Reads::of(message);
    let mut last = None;
    reads.bench(bencher, |keyring, bytes| {
        let (key, kept) = key_of(bytes, keyring, last);
        last = Some(key);
        black_box(kept);
    });
    assert!(last.is_some(), "no message was seen");
}

#[divan::bench(args = MESSAGES, sample_count = 200, sample_size = 10)]
fn syslog(bencher: Bencher, message: Message) {
    let reads = Reads::of(message);
    let mut packed = Vec::with_capacity(READ_BYTES);
    let mut last = None;
    reads.bench(bencher, |keyring, bytes| {
        // Not more than a read's worth, as the listeners gather it.
        if packed.len() + bytes.len() > READ_BYTES {
            black_box(&packed);
            packed.clear();
        }
        let (key, kept) = key_of(bytes, keyring, last);
        last = Some(key);
        pack::push(&mut packed, false, |out| {
            kept.append_to(out, |key| {
                last == Some(*key) || keyring.lookup(key).is_some()
            });
        });
    });
    let key = last.unwrap().reveal();
    assert!(pack::messages(&packed).count() > 0, "nothing was kept");
    for kept in pack::messages(&packed) {
        let text = str::from_utf8(kept.unwrap().bytes).unwrap();
        assert!(text.starts_with("<134>") && text.ends_with("user=user_00000042"));
        assert!(!text.contains(&key), "a key was kept");
    }
}

/// The key of a message, and what is kept without it.
fn key_of<'m>(
    message: &'m [u8],
    keyring: &Keyring,
    last: Option<StreamingKey>,
) -> (StreamingKey, Kept<'m>) {
    let known = |key: &StreamingKey| known(keyring, last, key);
    let (key, kept) = extract(message).unwrap().resolve(known).unwrap();
    (key.unwrap(), kept)
}

/// The key if it is that of the message before, or else in the keyring.
fn known(
    keyring: &Keyring,
    last: Option<StreamingKey>,
    key: &StreamingKey,
) -> Option<StreamingKey> {
    (last == Some(*key) || keyring.lookup(key).is_some()).then_some(*key)
}
