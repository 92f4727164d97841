//! Bodies whole and broken, and the error of every rule.

use proptest::prelude::*;

use super::*;

fn check_text(kind: LineKind, body: &str) -> Checked {
    check(kind, &Bytes::copy_from_slice(body.as_bytes()))
}

fn event_error(line: &str) -> String {
    let checked = check_text(LineKind::Event, line);
    assert_eq!((checked.accepted, checked.rejected), (0, 1), "{line}");
    checked.errors[0].error.clone()
}

fn log_error(line: &str) -> String {
    let checked = check_text(LineKind::Log, line);
    assert_eq!((checked.accepted, checked.rejected), (0, 1), "{line}");
    checked.errors[0].error.clone()
}

#[test]
fn a_body_without_faults_is_kept_without_a_copy() {
    let body = Bytes::from_static(
        b"{\"type\":\"track\",\"event\":\"a\"}\r\n\n{\"event\":\"b\",\"plan\":\"pro\"}\n",
    );
    let checked = check(LineKind::Event, &body);
    assert_eq!((checked.accepted, checked.rejected), (2, 0));
    assert_eq!(checked.kept, body);
    assert_eq!(checked.kept.as_ptr(), body.as_ptr());
}

#[test]
fn a_missing_final_newline_is_added_and_a_byte_order_mark_cut() {
    let checked = check_text(
        LineKind::Log,
        "\u{feff}{\"message\":\"a\"}\n{\"message\":\"b\"}",
    );
    assert_eq!((checked.accepted, checked.rejected), (2, 0));
    assert_eq!(checked.kept, "{\"message\":\"a\"}\n{\"message\":\"b\"}\n");
    let marked = Bytes::from_static(b"\xEF\xBB\xBF{\"message\":\"a\"}\n");
    let checked = check(LineKind::Log, &marked);
    assert_eq!(checked.kept.as_ptr(), marked[3..].as_ptr());
}

#[test]
fn bad_lines_are_numbered_with_the_blank_ones_and_only_good_ones_are_kept() {
    let body = "\n{\"message\":\"a\"}\nno json\n \r\n{\"message\":7}\n{\"message\":\"b\"}";
    let checked = check_text(LineKind::Log, body);
    assert_eq!((checked.accepted, checked.rejected), (2, 2));
    let lines: Vec<u64> = checked.errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [3, 5]);
    assert_eq!(checked.kept, "\n{\"message\":\"a\"}\n{\"message\":\"b\"}\n");
}

#[test]
fn an_empty_or_blank_body_has_no_lines() {
    for body in ["", "\n", " \r\n\t\n", "\u{feff}"] {
        let checked = check_text(LineKind::Event, body);
        assert_eq!((checked.accepted, checked.rejected), (0, 0), "{body:?}");
        assert!(checked.kept.is_empty());
    }
}

#[test]
fn an_array_is_refused_whole_also_when_its_lines_look_like_objects() {
    let expected = "expected JSON lines (one object a line), found one JSON array";
    assert_eq!(event_error(r#"[{"event":"a"}]"#), expected);
    assert_eq!(
        event_error("[\n{\"event\":\"a\"}\n,\n{\"event\":\"b\"}\n]\n"),
        expected
    );
    let mixed = check_text(LineKind::Event, "[1]\n{\"event\":\"a\"}\n");
    assert_eq!((mixed.accepted, mixed.rejected), (1, 1));
    assert_eq!(
        mixed.errors[0].error,
        "expected a JSON object, found an array"
    );
}

#[test]
fn event_lines_say_which_field_is_wrong_and_what_would_be_right() {
    for (line, error) in [
        (r#"{"event":7}"#, "event: expected a string, found a number"),
        (
            r#"{"type":"page","event":"a"}"#,
            "type: expected one of track, identify, group, alias, enrich, context",
        ),
        (r#"{"type":"track"}"#, "event: required when type is track"),
        (
            r#"{"type":"track","event":"a","event":null}"#,
            "event: required when type is track",
        ),
        (
            r#"{"plan":"pro"}"#,
            "type: required, one of track, identify, group, alias, enrich, context",
        ),
        (
            r#"{"event":"a","timestamp":"2026-01-01T00:00:00Z"}"#,
            "timestamp: expected milliseconds since 1970 as a number, found a string",
        ),
        (
            r#"{"event":"a","timestamp":-1}"#,
            "timestamp: expected milliseconds since 1970 as a number, found a negative number",
        ),
        (
            r#"{"event":"a","user_id":1.5}"#,
            "user_id: expected a string or a 64-bit integer, found another number",
        ),
        (
            r#"{"event":"a","device_id":[1]}"#,
            "device_id: expected a string, found an array",
        ),
        (
            r#"{"event":"a""#,
            "not valid JSON at column 12: EOF while parsing an object",
        ),
    ] {
        assert_eq!(event_error(line), error, "{line}");
    }
}

#[test]
fn log_lines_say_which_field_is_wrong_and_what_would_be_right() {
    for (line, error) in [
        ("{}", "message: required"),
        (r#"{"message":null}"#, "message: required"),
        (
            r#"{"message":{}}"#,
            "message: expected a string, found an object",
        ),
        (
            r#"{"message":"a","type":"track"}"#,
            "type: expected one of log, enrich",
        ),
        (
            r#"{"message":"a","level":"loud"}"#,
            "level: expected one of emergency, alert, critical, error, warning, notice, info, \
             debug, trace",
        ),
        (
            r#"{"message":"a","level":3}"#,
            "level: expected a string, found a number",
        ),
    ] {
        assert_eq!(log_error(line), error, "{line}");
    }
}

#[test]
fn what_clients_send_is_accepted() {
    for line in [
        r#"{"type":"identify","user_id":"u","traits":{"plan":"pro"}}"#,
        r#"{"type":"track","event":"a","device_id":"no uuid","user_id":42,"timestamp":1.7e12}"#,
        r#"{"event":"a","timestamp":1700000000000.25,"properties":"flat, and a string"}"#,
        r#"{"event":"a","session_id":null,"service":null,"timestamp":null}"#,
        r#"{"type":"context","context":{"a":[{"b":null}]}}"#,
    ] {
        let checked = check_text(LineKind::Event, line);
        assert_eq!(checked.accepted, 1, "{line}: {:?}", checked.errors);
    }
    for level in ["info", "WARN", "Fatal", "err", "trace", "emergency"] {
        let line = format!(r#"{{"message":"","level":"{level}"}}"#);
        assert_eq!(check_text(LineKind::Log, &line).accepted, 1, "{level}");
    }
}

#[test]
fn bad_bytes_deep_nesting_and_long_lines_are_errors_of_their_line() {
    let deep = format!("{{\"message\":\"a\",\"x\":{}", "[".repeat(10_000));
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(MAX_LINE_BYTES));
    let mut body = Vec::new();
    for line in [
        b"{\"message\":\"\xff\"}".as_slice(),
        b"{\"message\":\"a\",\"x\":\"\xff\"}",
        b"{\"message\":\"\0\"}",
        deep.as_bytes(),
        long.as_bytes(),
        b"{\"message\":\"good\"}",
    ] {
        body.extend_from_slice(line);
        body.push(b'\n');
    }
    let checked = check(LineKind::Log, &Bytes::from(body));
    let errors: Vec<&str> = checked.errors.iter().map(|e| e.error.as_str()).collect();
    assert_eq!(
        errors,
        [
            "expected UTF-8 text",
            "expected UTF-8 text",
            "not valid JSON at column 13: control character (\\u0000-\\u001F) found while parsing a string",
            "expected at most 64 levels of nesting",
            "expected at most 1048576 bytes a line, found 1048590",
        ]
    );
    assert_eq!(checked.kept, "{\"message\":\"good\"}\n");
}

#[test]
fn all_errors_are_counted_and_the_first_are_listed() {
    let checked = check_text(LineKind::Event, &"x\n".repeat(1000));
    assert_eq!(checked.rejected, 1000);
    assert_eq!(checked.errors.len(), MAX_LISTED_ERRORS);
}

#[test]
fn the_fuzz_body_holds_for_known_bodies() {
    for body in [
        "{\"event\":\"a\"}\r\n\r\n{\"message\":\"b\"}",
        "[1]\n{\"event\":\"a\"}",
        "\u{feff}\u{feff}{\"event\":\"a\"}\n ",
    ] {
        fuzz::fuzz_json_lines(body.as_bytes());
    }
}

proptest! {
    #[test]
    fn kept_lines_are_exactly_the_accepted_ones(
        lines in proptest::collection::vec((any::<bool>(), "[ -~]{0,10}"), 0..20),
        final_newline: bool,
    ) {
        let mut body = String::new();
        let mut good = String::new();
        for (is_good, text) in &lines {
            let text = serde_json::to_string(text).unwrap();
            let line = if *is_good {
                format!("{{\"message\":{text}}}\n")
            } else {
                format!("{{\"text\":{text}}}\n")
            };
            body.push_str(&line);
            if *is_good {
                good.push_str(&line);
            }
        }
        if !final_newline {
            body.pop();
        }
        let checked = check_text(LineKind::Log, &body);
        prop_assert_eq!(checked.accepted as usize, good.lines().count());
        prop_assert_eq!((checked.accepted + checked.rejected) as usize, lines.len());
        prop_assert_eq!(checked.kept, good);
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in proptest::collection::vec(
        proptest::sample::select(vec![
            b"{\"event\":\"a\"}".as_slice(), b"{\"message\":\"a\",\"x\":[1]}", b"\n", b"\r\n", b"[",
            b"]", b",", b" ", b"\xff", b"\xEF\xBB\xBF", b"{", b"\"",
        ]),
        0..20,
    )) {
        fuzz::fuzz_json_lines(&body.concat());
    }
}
