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
    let body = "\n{\"message\":\"a\"}\nno json\n \r\n{\"level\":7}\n{\"message\":\"b\"}";
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
fn an_array_is_taken_as_the_lines_that_its_elements_would_be() {
    let body =
        "\u{feff} [\n{\"event\":\"a\",\r\n\"n\":[1,\n2]}\n, 7 ,{\"plan\":1},{\"event\":\"b\"}]\n";
    let checked = check_text(LineKind::Event, body);
    assert_eq!((checked.accepted, checked.rejected), (2, 2));
    assert_eq!(
        checked.kept,
        "{\"event\":\"a\",  \"n\":[1, 2]}\n{\"event\":\"b\"}\n"
    );
    let errors = checked.errors.iter().map(|e| (e.line, e.error.as_str()));
    assert_eq!(
        errors.collect::<Vec<_>>(),
        [
            (2, "expected a JSON object, found a number"),
            (
                3,
                "type: required, one of track, identify, group, alias, enrich, context"
            ),
        ]
    );
    let empty = check_text(LineKind::Event, "[]");
    assert_eq!((empty.accepted, empty.rejected), (0, 0));
    // An array that is not the whole body is a line, and one that is cut is none of its elements.
    let mixed = check_text(LineKind::Event, "[1]\n{\"event\":\"a\"}\n");
    assert_eq!((mixed.accepted, mixed.rejected), (1, 1));
    assert_eq!(
        mixed.errors[0].error,
        "expected a JSON object, found an array"
    );
    assert_eq!(
        check_text(LineKind::Event, r#"[{"event":"a"},"#).accepted,
        0
    );
    let deep = format!(
        r#"[{{"event":"a","x":{}1{}}}]"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    assert_eq!(event_error(&deep), "expected at most 64 levels of nesting");
}

#[test]
fn an_object_on_several_lines_is_one_line() {
    let body = "\n{\n  \"event\": \"a\",\n  \"p\": {\n    \"x\": 1\n  }\n}\n\n";
    let checked = check_text(LineKind::Event, body);
    assert_eq!((checked.accepted, checked.rejected), (1, 0));
    assert_eq!(
        checked.kept,
        "{   \"event\": \"a\",   \"p\": {     \"x\": 1   } }\n"
    );
    assert_eq!(
        event_error("{\n\"plan\":\n1}\n"),
        "type: required, one of track, identify, group, alias, enrich, context"
    );
    // Two of them are lines, and none is whole.
    let two = check_text(LineKind::Event, &body.repeat(2));
    assert_eq!((two.accepted, two.rejected), (0, 12));
}

#[test]
fn a_lone_surrogate_is_replaced_and_counted_in_the_lines_that_are_accepted() {
    let body = concat!(
        r#"{"event":"\ud800","p":"cut \ud83d","\udc00":"\ud83d\ude00"}"#,
        "\n",
        r#"{"plan":"\ud83d"}"#,
        "\n",
        r#"{"event":"b","p":"\\ud83d"}"#,
        "\n",
    );
    let checked = check_text(LineKind::Event, body);
    assert_eq!(
        (checked.accepted, checked.rejected, checked.replaced),
        (2, 1, 3)
    );
    assert_eq!(
        checked.kept,
        concat!(
            r#"{"event":"\ufffd","p":"cut \ufffd","\ufffd":"\ud83d\ude00"}"#,
            "\n",
            r#"{"event":"b","p":"\\ud83d"}"#,
            "\n",
        )
    );
    let checked = check_text(LineKind::Log, r#"[{"message":"\udfff"},{"x":"\udfff"}]"#);
    assert_eq!((checked.accepted, checked.replaced), (1, 1));
    assert_eq!(checked.kept, "{\"message\":\"\\ufffd\"}\n");
}

#[test]
fn event_lines_say_what_is_wrong_and_what_would_be_right() {
    for (line, error) in [
        (
            r#"{"type":"page"}"#,
            "type: expected one of track, identify, group, alias, enrich, context",
        ),
        (
            r#"{"type":7,"event":""}"#,
            "type: expected one of track, identify, group, alias, enrich, context",
        ),
        (r#"{"type":"track"}"#, "event: required when type is track"),
        (
            r#"{"type":"Track","event":"a","event":null}"#,
            "event: required when type is track",
        ),
        (
            r#"{"plan":"pro"}"#,
            "type: required, one of track, identify, group, alias, enrich, context",
        ),
        (
            r#"{"event":"a""#,
            "not valid JSON at column 12: EOF while parsing an object",
        ),
        (
            r#"{"event":"a","timestamp":1e999,}"#,
            "not valid JSON at column 30: number out of range",
        ),
    ] {
        assert_eq!(event_error(line), error, "{line}");
    }
}

#[test]
fn log_lines_say_what_is_missing() {
    for line in ["{}", r#"{"message":null,"level":"info"}"#] {
        assert_eq!(log_error(line), "message: required", "{line}");
    }
}

/// What is no column of a line, and the misfits among the columns.
fn event_misfits(line: &str) -> (EventLine<'_>, Vec<String>) {
    let mut rest = Vec::new();
    let read = event_line(line.as_bytes(), &mut rest).unwrap();
    (
        read,
        rest.iter().map(|(name, _)| name.to_string()).collect(),
    )
}

#[test]
fn a_users_member_with_the_name_of_a_column_is_no_reason_to_refuse_a_line() {
    for (line, kind, misfits) in [
        (r#"{"type":"click","event":"X"}"#, "track", &["type"][..]),
        (r#"{"type":7,"event":"X"}"#, "track", &["type"]),
        (r#"{"type":"track","event":7}"#, "track", &["event"]),
        (
            r#"{"type":"click","event":{"a":1}}"#,
            "track",
            &["event", "type"],
        ),
        (r#"{"event":["a"]}"#, "track", &["event"]),
        (
            r#"{"type":"IDENTIFY","event":false}"#,
            "identify",
            &["event"],
        ),
        (
            r#"{"event":"X","timestamp":"2026-01-01","service":1,"device_id":[1],"session_id":2,"user_id":1.5,"group_id":{}}"#,
            "track",
            &[
                "device_id",
                "session_id",
                "user_id",
                "group_id",
                "service",
                "timestamp",
            ],
        ),
        (r#"{"event":"X","timestamp":-1}"#, "track", &["timestamp"]),
        (
            r#"{"event":"X","timestamp":1e999,"a":1}"#,
            "track",
            &["timestamp"],
        ),
    ] {
        let (read, _) = event_misfits(line);
        assert_eq!((read.kind, &*read.misfits), (kind, misfits), "{line}");
        assert_eq!(check_text(LineKind::Event, line).accepted, 1, "{line}");
    }
    let (read, rest) = event_misfits(r#"{"a":1,"event":"X","user_id":1e999,"b":2}"#);
    assert_eq!(read.event.as_deref(), Some("X"));
    assert_eq!(rest, ["a", "b"], "each is taken once");
}

#[test]
fn a_log_line_keeps_the_users_own_values_of_its_columns() {
    for (line, level, misfits) in [
        (r#"{"message":{"a":1}}"#, "info", &["message"][..]),
        (r#"{"message":"m","level":"loud"}"#, "info", &["level"]),
        (r#"{"message":"m","level":30}"#, "info", &["level"]),
        (r#"{"message":"m","type":"audit"}"#, "info", &["type"]),
        (
            r#"{"message":"m","type":"ENRICH","level":"WaRn"}"#,
            "warning",
            &[],
        ),
        (
            r#"{"message":"m","timestamp":"now","source":{},"service":1,"session_id":true}"#,
            "info",
            &["timestamp", "source", "service", "session_id"],
        ),
    ] {
        let read = log_line(line.as_bytes(), &mut IgnoreRest).unwrap();
        assert_eq!((read.level, &*read.misfits), (level, misfits), "{line}");
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
            b"]", b",", b" ", b"\xff", b"\xEF\xBB\xBF", b"{", b"\"", b"{\n\"event\":", b"\"\\ud83d\"", b"}",
        ]),
        0..20,
    )) {
        fuzz::fuzz_json_lines(&body.concat());
    }
}
