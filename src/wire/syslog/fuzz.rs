//! Fuzz bodies: what holds for every input. The targets in `fuzz/` and unit tests run them.

use super::header::{Header, Layout};
use super::structured_data::{Cursor, Step};
use super::{Framer, Framing, FramingError, KeyError, extract, pack};

/// Framing makes progress, keeps to the limit, and cuts alike whether bytes come at once or in two reads.
pub fn fuzz_framing(data: &[u8]) {
    let Some((&[max, at], stream)) = data.split_first_chunk::<2>() else {
        return;
    };
    let max = usize::from(max).max(1);
    let at = usize::from(at).min(stream.len());
    let (first, second) = stream.split_at(at);
    let whole = cut(max, &[stream]);
    assert_eq!(whole, cut(max, &[first, second]));
    assert!(whole.0.iter().all(|m| (1..=max).contains(&m.len())));
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

/// What is kept of a message holds its key nowhere, and no other explicit key.
pub fn fuzz_key(data: &[u8]) {
    let extracted = match extract(data) {
        Ok(extracted) => extracted,
        Err(error) => {
            assert_ne!(error, KeyError::Unknown, "nothing was looked up yet");
            return;
        }
    };
    let explicit = extracted.explicit();
    let Ok((key, kept)) = extracted.resolve(|key| Some(*key)) else {
        return;
    };
    let mut out = Vec::new();
    pack::push(&mut out, false, |out| kept.append_to(out));
    let out = out.split_off(size_of::<u32>());
    assert_eq!(out.is_empty(), kept.is_empty());
    match key {
        None => assert_eq!(out, data, "without a key nothing is cut"),
        Some(key) => {
            let lower = out.to_ascii_lowercase();
            let hex = key.reveal();
            assert!(memchr::memmem::find(&lower, hex.as_bytes()).is_none());
        }
    }
    // In malformed structured data a cut may join what was apart; the mask above is what holds there.
    if explicit.is_some() && has_well_formed_structured_data(data) {
        let again = extract(&out).map(|again| again.explicit());
        assert!(
            matches!(again, Ok(None)),
            "an explicit key was left: {again:?}"
        );
    }
}

fn has_well_formed_structured_data(data: &[u8]) -> bool {
    let proper = memchr::memchr(b'<', data).unwrap_or(data.len());
    let Layout::Rfc5424 { structured_data } = Header::locate(&data[proper..]).layout else {
        return true;
    };
    let mut cursor = Cursor::new(data, proper + structured_data);
    if !matches!(cursor.peek(), Some(b'[' | b'-')) {
        return false;
    }
    while cursor.enter().is_some() {
        loop {
            match cursor.step() {
                Step::Param(_) => {}
                Step::End => break,
                Step::Unterminated { .. } | Step::Malformed => return false,
            }
        }
    }
    true
}
