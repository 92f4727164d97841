//! Framing: by example, and against a reference that sees the whole stream at once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const DECIMAL_KEY: &str = "10203040506070809010203040506070";

/// A message, and whether it was truncated.
type Cut = (Vec<u8>, bool);

/// Reads the stream in the given chunks, as a connection does.
fn cut(max: usize, chunks: &[&[u8]]) -> (Vec<Cut>, Option<FramingError>) {
    let mut framer = Framer::new(max);
    let (mut buf, mut messages) = (Vec::new(), Vec::new());
    let mut ended = false;
    let mut chunks = chunks.iter();
    loop {
        let framing = if ended {
            framer.finish(&buf)
        } else {
            framer.next(&buf)
        };
        match framing {
            Framing::Incomplete => match chunks.next() {
                Some(chunk) => buf.extend_from_slice(chunk),
                None if ended => return (messages, None),
                None => ended = true,
            },
            Framing::Message {
                bytes,
                truncated,
                consumed,
            } => {
                messages.push((bytes.to_vec(), truncated));
                buf.drain(..consumed);
            }
            Framing::Skipped { consumed } => {
                assert!(consumed > 0);
                buf.drain(..consumed);
            }
            Framing::Malformed(error) => return (messages, Some(error)),
        }
    }
}

fn texts(stream: &str) -> Vec<String> {
    let (messages, error) = cut(100, &[stream.as_bytes()]);
    assert_eq!(error, None, "{stream:?}");
    messages
        .into_iter()
        .map(|(bytes, truncated)| {
            assert!(!truncated);
            String::from_utf8(bytes).unwrap()
        })
        .collect()
}

#[test]
fn lines_lose_their_trailer_and_blank_lines_are_skipped() {
    assert_eq!(
        texts("<1>a\n<2>b\r\n\n\r\n<3>c\0\n<4>d\0<5>e"),
        ["<1>a", "<2>b", "<3>c", "<4>d", "<5>e"]
    );
}

#[test]
fn a_counted_message_keeps_its_newlines_but_the_one_that_syslog_ng_adds() {
    assert_eq!(texts("7 <1>a\nb\n4 <2>c"), ["<1>a\nb", "<2>c"]);
    assert_eq!(texts("5 <1>\n\n4 <2>c"), ["<1>\n", "<2>c"]);
}

#[test]
fn both_framings_mix_on_one_connection() {
    assert_eq!(
        texts("4 <1>a<2>b\n5 <3>cc\n4 <4>d\r\n<5>e\n"),
        ["<1>a", "<2>b", "<3>cc", "<4>d", "<5>e"]
    );
}

#[test]
fn a_key_before_a_message_is_no_count_even_if_all_its_digits_are_decimal() {
    for key in [KEY, DECIMAL_KEY] {
        let message = format!("{key} <1>a");
        let counted = format!("{} {message}", message.len());
        assert_eq!(texts(&format!("{message}\n")), [message.as_str()]);
        assert_eq!(
            texts(&format!("4 <2>b{message}\n{counted}{message}\n")),
            ["<2>b", &message, &message, &message]
        );
    }
}

#[test]
fn digits_that_no_space_follows_are_text() {
    let long = "9".repeat(40);
    assert_eq!(
        texts(&format!("2026-01-01 x\n12\n{long} y\n")),
        ["2026-01-01 x", "12", &format!("{long} y")]
    );
}

#[test]
fn a_count_over_the_limit_is_refused_before_its_message_comes() {
    let over = Some(FramingError::CountOverLimit {
        max_message_bytes: 100,
    });
    for stream in ["101 <1>", "1000 <1>a", "99999999999999999999999999 <1>a"] {
        assert_eq!(cut(100, &[stream.as_bytes()]), (vec![], over), "{stream:?}");
    }
}

#[test]
fn a_count_that_lies_ends_the_stream_and_leaves_no_message_of_its_own() {
    for stream in [
        "5 <1>abc9 <2>hello",
        "11 <1>abc9 <2>hello\n",
        "12 <1>abc\n9 <2>hello\n",
        "5 <1>ab200 OK\n",
    ] {
        let (messages, error) = cut(100, &[b"4 <1>a", stream.as_bytes()]);
        assert_eq!(messages, [(b"<1>a".to_vec(), false)], "{stream:?}");
        assert_eq!(error, Some(FramingError::CountMismatch));
    }
    // What is gone when the lie comes to light cannot be taken back.
    let (messages, error) = cut(100, &[b"5 <1>ab", b"c9 <2>hello"]);
    assert_eq!(messages, [(b"<1>ab".to_vec(), false)]);
    assert_eq!(error, Some(FramingError::CountMismatch));
}

#[test]
fn a_line_that_starts_with_a_number_is_no_count() {
    for line in [
        "200 OK done",
        "1 2 3",
        "5 hello",
        "404 <html>",
        "7 <>",
        "7 <1234> x",
        "3 a1b2 c3",
        "12 ",
        "2 \u{feff}",
    ] {
        assert_eq!(texts(&format!("{line}\n<1>a\n")), [line, "<1>a"]);
    }
    let key = format!("{KEY} text");
    assert_eq!(
        texts(&format!("{} {key}4 <1>a7 \u{feff}<1>a", key.len())),
        [key.as_str(), "<1>a", "\u{feff}<1>a"]
    );
}

#[test]
fn more_digits_than_a_key_has_are_a_line_however_they_are_split() {
    // What the fuzzer found: 33 digits, cut before their space.
    crate::wire::syslog::fuzz::fuzz_framing(
        b"\x04199999999999999\n\n\n999999999999999999999999999999982 <",
    );
    let stream = format!("{} <1>a\n", "9".repeat(33));
    for at in 0..stream.len() {
        let (first, second) = stream.as_bytes().split_at(at);
        let (messages, error) = cut(100, &[first, second]);
        assert_eq!((messages.len(), error), (1, None));
    }
}

#[test]
fn an_empty_counted_message_is_none() {
    // What the fuzzer found: the count of a newline.
    crate::wire::syslog::fuzz::fuzz_framing(b"\0,\xc0\xc81\x001 \n1");
    assert_eq!(texts("1 \n<1>a\n"), ["1 ", "<1>a"]);
}

#[test]
fn where_the_first_message_ended_in_nul_only_nul_ends_messages() {
    assert_eq!(
        texts("<1>a\0<2>Traceback\n  File\nError\0\n<3>c\r\n\0<4>d\n"),
        ["<1>a", "<2>Traceback\n  File\nError", "<3>c", "<4>d"]
    );
    // Also where the first is the traceback, which was read whole.
    assert_eq!(
        texts("<1>Traceback\n\n  File\nError\0<2>b\nb\0"),
        ["<1>Traceback\n\n  File\nError", "<2>b\nb"]
    );
    // Not where a line of it starts a message, nor where NUL stands behind the newline.
    for other in [
        "<1>a\n<2>b\0<3>c\n",
        "<1>a\n\0<2>b\n<3>c\n",
        "<1>a\n4 <2>b\0<3>c\n",
    ] {
        assert_eq!(texts(other), ["<1>a", "<2>b", "<3>c"], "{other:?}");
    }
    let (messages, _) = cut(4, &[b"<1>a\0<2>bbbbbbbb\nccc\0<3>c\n\0"]);
    assert_eq!(
        messages,
        [
            (b"<1>a".to_vec(), false),
            (b"<2>b".to_vec(), true),
            (b"<3>c".to_vec(), false)
        ]
    );
}

#[test]
fn a_line_over_the_limit_is_cut_marked_and_its_rest_discarded() {
    let (messages, error) = cut(4, &[b"<1>a\r\n<2>bb\n<3>ccccccccc", b"cccc\n<4>d\n"]);
    assert_eq!(error, None);
    assert_eq!(
        messages,
        [
            (b"<1>a".to_vec(), false),
            (b"<2>b".to_vec(), true),
            (b"<3>c".to_vec(), true),
            (b"<4>d".to_vec(), false),
        ]
    );
}

#[test]
fn a_cut_splits_no_character() {
    let (messages, _) = cut(5, &["<1>aäa\n".as_bytes()]);
    assert_eq!(messages, [(b"<1>a".to_vec(), true)]);
}

#[test]
fn a_stream_that_ends_in_a_line_delivers_it_and_one_that_ends_in_a_count_does_not() {
    assert_eq!(texts("<1>a\n<2>b"), ["<1>a", "<2>b"]);
    let (messages, error) = cut(100, &[b"4 <1>a9 <2>b"]);
    assert_eq!(messages, [(b"<1>a".to_vec(), false)]);
    assert_eq!(error, Some(FramingError::CutShort));
    for rest in ["9 <2", "9 <"] {
        let (messages, error) = cut(100, &[format!("<1>a\n{rest}").as_bytes()]);
        assert_eq!(messages, [(b"<1>a".to_vec(), false)]);
        assert_eq!(error, Some(FramingError::CutShort), "{rest:?}");
    }
}

#[test]
fn a_datagram_is_one_message_without_its_trailer() {
    for datagram in ["<1>a\nb", "<1>a\nb\n", "<1>a\nb\0", "<1>a\nb\r\n\0"] {
        assert_eq!(datagram_message(datagram.as_bytes()), b"<1>a\nb");
    }
    assert_eq!(datagram_message(b"\n\0"), b"");
}

#[test]
fn a_slow_line_is_searched_once() {
    let mut framer = Framer::new(1000);
    let mut buf = b"<1>".to_vec();
    for _ in 0..500 {
        assert_eq!(framer.next(&buf), Framing::Incomplete);
        assert_eq!(framer.searched, buf.len());
        buf.push(b'x');
    }
}

#[test]
fn debug_output_shows_no_message() {
    let line = format!("{KEY} <1>a\n");
    let shown = format!("{:?}", Framer::new(100).next(line.as_bytes()));
    assert_eq!(shown, "Message { len: 37, truncated: false, consumed: 38 }");
}

/// Messages as senders frame them, and what must come out.
fn framed() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let text = vec(
        prop_oneof![Just(b'\n'), Just(b' '), Just(b'7'), any::<u8>()],
        0..30,
    );
    let key = prop_oneof![Just(""), Just(KEY), Just(DECIMAL_KEY)];
    (0..3u8, key, text).prop_map(|(framing, key, text)| {
        let mut message = Vec::new();
        if !key.is_empty() {
            message.extend_from_slice(key.as_bytes());
            message.push(b' ');
        }
        message.extend_from_slice(b"<13>");
        message.extend_from_slice(&text);
        if framing == 0 {
            let mut stream = format!("{} ", message.len()).into_bytes();
            stream.extend_from_slice(&message);
            if message.ends_with(b"\n") {
                message.pop();
            }
            return (stream, message);
        }
        message.retain(|b| !matches!(b, b'\n' | 0 | b'\r'));
        let mut stream = message.clone();
        stream.extend_from_slice(if framing == 1 { b"\n" } else { b"\r\n" });
        (stream, message)
    })
}

proptest! {
    #[test]
    fn well_framed_messages_come_out_exactly_however_they_are_split(
        frames in vec(framed(), 0..6),
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|(stream, _)| stream.clone()).collect();
        let expected: Vec<Cut> = frames.into_iter().map(|(_, message)| (message, false)).collect();
        for at in 0..=stream.len() {
            let (messages, error) = cut(200, &[&stream[..at], &stream[at..]]);
            prop_assert_eq!(error, None);
            prop_assert_eq!(&messages, &expected);
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(cut(200, &bytes), (expected, None));
    }

    #[test]
    fn arbitrary_bytes_are_cut_alike_however_they_are_split(
        stream in vec(prop_oneof![
            Just(b'\n'), Just(b' '), Just(b'\r'), Just(0), Just(b'<'), b'0'..=b'9', any::<u8>()
        ], 0..80),
        max in 1..20usize,
    ) {
        let whole = cut(max, &[&stream]);
        prop_assert!(whole.0.iter().all(|(message, _)| message.len() <= max));
        for at in 0..=stream.len() {
            let mut data = vec![max as u8, at as u8];
            data.extend_from_slice(&stream);
            crate::wire::syslog::fuzz::fuzz_framing(&data);
        }
    }

    #[test]
    fn a_full_buffer_is_never_incomplete(stream in vec(any::<u8>(), 140..150), max in 0..60usize) {
        let mut framer = Framer::new(max);
        let enough = framer.enough_buffer_bytes();
        prop_assert_ne!(framer.next(&stream[..enough]), Framing::Incomplete);
    }
}
