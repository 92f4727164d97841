//! Fuzz bodies: what holds for every input. The targets in `fuzz/` and unit tests run them.

use data_encoding::HEXLOWER_PERMISSIVE;

use super::{Framer, Framing, FramingError, KeyError, extract, pack};
use crate::wire::key::KEY_HEX_LEN;
use crate::wire::key::StreamingKey;

/// Framing makes progress, keeps to the limit, and cuts alike whether bytes come at once or in two reads: but for
/// the message before a count that lies, which may be gone before the lie is seen, and for NUL, by which the first
/// line is told only where it was read with it.
pub fn fuzz_framing(data: &[u8]) {
    let Some((&[max, at], stream)) = data.split_first_chunk::<2>() else {
        return;
    };
    let max = usize::from(max).max(1);
    let at = usize::from(at).min(stream.len());
    let (first, second) = stream.split_at(at);
    let whole = cut(max, &[stream]);
    let split = cut(max, &[first, second]);
    for (messages, _) in [&whole, &split] {
        assert!(messages.iter().all(|m| (1..=max).contains(&m.len())));
    }
    if stream.contains(&0) {
        return;
    }
    assert_eq!(whole.1, split.1);
    let more = split.0.strip_prefix(&*whole.0);
    let most = usize::from(whole.1 == Some(FramingError::CountMismatch));
    assert!(
        more.is_some_and(|more| more.len() <= most),
        "{whole:?} {split:?}"
    );
}

fn cut(max: usize, reads: &[&[u8]]) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut framer = Framer::new(max);
    let (mut buf, mut messages) = (Vec::new(), Vec::new());
    for read in reads.iter().map(Some).chain([None]) {
        buf.extend_from_slice(read.unwrap_or(&&b""[..]));
        loop {
            let framing = match read {
                Some(_) => framer.next(&buf),
                None => framer.finish(&buf),
            };
            let consumed = match framing {
                Framing::Incomplete => break,
                Framing::Message {
                    bytes, consumed, ..
                } => {
                    messages.push(bytes.to_vec());
                    consumed
                }
                Framing::Skipped { consumed } => consumed,
                Framing::Malformed(error) => return (messages, Some(error)),
            };
            assert!(consumed > 0, "no progress");
            buf.drain(..consumed);
        }
    }
    assert!(buf.is_empty(), "bytes were left behind");
    (messages, None)
}

/// What is kept of a message holds no key that is known, wherever it stands, and is otherwise what came but for the
/// key of the message.
pub fn fuzz_key(data: &[u8]) {
    fuzz_key_with(data, |_| true);
    fuzz_key_with(data, |key| key.as_bytes()[0].is_multiple_of(2));
    fuzz_key_with(data, |_| false);
}

fn fuzz_key_with(data: &[u8], known: impl Fn(&StreamingKey) -> bool) {
    let extracted = match extract(data) {
        Ok(extracted) => extracted,
        Err(error) => {
            assert_ne!(error, KeyError::Unknown, "nothing was looked up yet");
            return;
        }
    };
    let Ok((key, kept)) = extracted.resolve(|key| known(key).then_some(*key)) else {
        return;
    };
    let mut out = Vec::new();
    pack::push(&mut out, false, |out| kept.append_to(out, &known));
    let out = out.split_off(size_of::<u32>());
    assert_eq!(out.is_empty(), kept.is_empty());
    for text in [out.clone(), percent_decoded(&out)] {
        let keys = text
            .windows(KEY_HEX_LEN)
            .filter_map(StreamingKey::parse_hex);
        assert_eq!(keys.filter(&known).count(), 0, "a known key was kept");
    }
    if key.is_none() {
        let is_kept = |(kept, came): (&u8, &u8)| kept == came || *kept == b'*';
        assert!(out.len() == data.len() && out.iter().zip(data).all(is_kept));
    }
}

/// Every `%` with two hex digits behind it as the byte that they write.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| byte == b'%');
        let value = escape.and_then(|digits| HEXLOWER_PERMISSIVE.decode(digits).ok());
        rest = if value.is_some() { &after[2..] } else { after };
        decoded.extend(value.unwrap_or_else(|| vec![byte]));
    }
    decoded
}
