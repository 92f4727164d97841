//! The index by itself: who is first, who waits, what is forgotten, and what its file says.

use super::*;
use crate::ingest::idempotency::saved::{decode, encode};

const HOUR_NS: u64 = 3_600_000_000_000;

fn mark(key: &str, body: &str) -> Mark {
    let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
    key.mark(KeyId(7), "/v1/events", body.as_bytes())
}

fn first(index: &Arc<Index>, mark: Mark, now_ns: u64) -> Claim {
    match index.begin(mark, now_ns) {
        Begin::First(claim) => claim,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_printable_ascii_of_some_length() {
    let is_key = |value: &[u8]| IdempotencyKey::parse(value).is_some();
    assert!(is_key(b"x") && is_key(&[b'~'; 255]) && is_key(b"a key"));
    assert!(!is_key(b"") && !is_key(&[b'x'; 256]) && !is_key(b"a\tb") && !is_key(b"\xc3\xa4"));
}

#[test]
fn marks_differ_by_streaming_key_and_body_and_endpoint() {
    let key = IdempotencyKey::parse(b"k").unwrap();
    let one = key.mark(KeyId(1), "/v1/events", b"body");
    assert_eq!(one, key.mark(KeyId(1), "/v1/events", b"body"));
    assert_ne!(
        one.request,
        key.mark(KeyId(2), "/v1/events", b"body").request
    );
    let others = [
        key.mark(KeyId(1), "/v1/logs", b"body"),
        key.mark(KeyId(1), "/v1/events", b"other"),
    ];
    for other in others {
        assert_eq!(one.request, other.request);
        assert_ne!(one.body, other.body);
    }
}

#[test]
fn a_second_request_waits_and_is_first_if_the_first_one_fails() {
    let index = Arc::new(Index::default());
    let claim = first(&index, mark("k", "a"), 1);
    let Begin::Running(waiting) = index.begin(mark("k", "a"), 2) else {
        panic!("two are first");
    };
    assert!(waiting.has_changed().is_ok());
    drop(claim);
    assert!(waiting.has_changed().is_err(), "it is told");
    first(&index, mark("k", "a"), 3).taken(3);
    assert!(matches!(index.begin(mark("k", "a"), 4), Begin::Repeated));
    assert!(matches!(index.begin(mark("k", "b"), 4), Begin::Other));
    first(&index, mark("k2", "a"), 4);
}

#[test]
fn what_is_older_than_a_day_is_forgotten() {
    let index = Arc::new(Index::default());
    first(&index, mark("old", "a"), 0).taken(0);
    assert!(matches!(
        index.begin(mark("old", "a"), 24 * HOUR_NS),
        Begin::Repeated
    ));
    first(&index, mark("old", "b"), 25 * HOUR_NS).taken(25 * HOUR_NS);
    assert!(matches!(
        index.begin(mark("old", "b"), 26 * HOUR_NS),
        Begin::Repeated
    ));
    assert_eq!(index.snapshot().len(), 1);
}

#[test]
fn the_oldest_goes_when_there_are_too_many() {
    let index = Arc::new(Index::default());
    let taken = |n: usize| Remembered {
        mark: mark(&n.to_string(), ""),
        at_ns: n as u64,
    };
    for n in 0..limits::IDEMPOTENT_REQUESTS + 2 {
        index.add(taken(n));
    }
    let kept = index.snapshot();
    assert_eq!(kept.len(), limits::IDEMPOTENT_REQUESTS);
    assert_eq!(kept[0], taken(2));
    first(&index, taken(1).mark, 0);
    assert!(matches!(index.begin(taken(2).mark, 0), Begin::Repeated));
}

#[test]
fn the_file_says_what_was_written_or_nothing() {
    let all = [("a", 1), ("b", u64::MAX)].map(|(key, at_ns)| Remembered {
        mark: mark(key, ""),
        at_ns,
    });
    let bytes = encode(77, &all);
    assert_eq!(decode(&bytes), Some((77, all.to_vec())));
    for cut in 0..bytes.len() {
        assert_eq!(decode(&bytes[..cut]), None);
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&flipped), None, "bit {bit}");
    }
    assert_eq!(decode(&encode(0, &[])), Some((0, Vec::new())));
}
