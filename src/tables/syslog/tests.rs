//! Syslog messages to rows: by example, by date, and against what holds for all.

use proptest::collection::vec;
use proptest::prelude::*;

use chrono::DateTime;

use super::fuzz::{decode_payload, fuzz_decode};
use super::*;
use crate::wire::syslog::zone::Change;

const RECEIVED_AT: &str = "2026-07-01T00:00:00Z";

fn ns(time: &str) -> TimeNs {
    let time = DateTime::parse_from_rfc3339(time).unwrap();
    time.timestamp_nanos_opt().unwrap()
}

fn with_row<R>(
    message: &[u8],
    truncated: bool,
    received_at: &str,
    look: impl FnOnce(&LogRow<'_>) -> R,
) -> R {
    let mut payload = Vec::new();
    pack::push(&mut payload, truncated, |out| {
        out.extend_from_slice(message)
    });
    let mut look = Some(look);
    let mut result = None;
    decode_payload(&payload, ns(received_at).unsigned_abs(), &mut |row| {
        let Row::Log(row) = row else {
            panic!("expected a row of logs, got {row:?}")
        };
        let look = look.take().expect("one message, one row");
        result = Some(look(&row));
    });
    result.expect("one message, one row")
}

/// time, facility.level, host, app, procid, msgid, structured data, message, with `|` between them and `~` for null.
fn shown(message: &str) -> String {
    with_row(message.as_bytes(), false, RECEIVED_AT, |row| {
        let columns = row.syslog.as_ref().unwrap();
        assert_eq!(row.kind, Some("log"));
        assert_eq!(row.service, columns.app);
        assert_eq!(row.attributes, None);
        let time = DateTime::from_timestamp_nanos(row.time_ns).to_rfc3339();
        let time = time.trim_end_matches("+00:00");
        [
            Some(if ns(RECEIVED_AT) == row.time_ns {
                "received"
            } else {
                time
            }),
            columns.facility,
            row.level,
            row.host.as_deref(),
            columns.app.as_deref(),
            columns.procid.as_deref(),
            columns.msgid.as_deref(),
            columns.structured_data.as_deref(),
            row.message.as_deref(),
        ]
        .map(|column| column.unwrap_or("~"))
        .join("|")
    })
}

#[test]
fn the_columns_of_rfc5424_are_filled() {
    for (message, expected) in [
        (
            "<34>1 2003-10-11T22:14:15.003Z h.example.com su 007 ID47 - 'su root' failed",
            "2003-10-11T22:14:15.003|auth|critical|h.example.com|su|007|ID47|~|'su root' failed",
        ),
        (
            r#"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc worker - [a@1 x="1" y="C:\new \"q\" \]"][b]   indented "#,
            r#"2003-08-24T12:14:15.000003|local4|notice|192.0.2.1|myproc|worker|~|{"a@1":{"x":"1","y":"C:\\new \"q\" ]"},"b":{}}|  indented "#,
        ),
        (
            r#"<13>1 - - - - - [a ip="1" ip="2" ip="3"]"#,
            r#"received|user|notice|~|~|~|~|{"a":{"ip":["1","2","3"]}}|~"#,
        ),
        (
            "<13>1 - - - - - - \u{feff}text",
            "received|user|notice|~|~|~|~|~|text",
        ),
        (
            "<13>1 - h - - - [not closed text",
            "received|user|notice|h|~|~|~|~|[not closed text",
        ),
        (
            "<13>1 - h - - - no structured data",
            "received|user|notice|h|~|~|~|~|no structured data",
        ),
        (
            r#"<13>1 - - - - - [][a x="1"][] text"#,
            r#"received|user|notice|~|~|~|~|{"a":{"x":"1"}}|text"#,
        ),
        (
            "<13>1 - h - - - [] text",
            "received|user|notice|h|~|~|~|~|text",
        ),
        (
            r#"<13>1 - h - - - [ x="1"] text"#,
            r#"received|user|notice|h|~|~|~|~|[ x="1"] text"#,
        ),
    ] {
        assert_eq!(shown(message), expected, "{message:?}");
    }
}

#[test]
fn the_columns_of_rfc3164_are_filled() {
    for (message, expected) in [
        (
            "<34>Oct 11 22:14:15 mymachine su[0012]: 'su root' failed",
            "2026-10-11T22:14:15|auth|critical|mymachine|su|0012|~|~|'su root' failed",
        ),
        (
            "<191>Feb  5 2024 17:32:18 10.0.0.99 /usr/sbin/x:  two",
            "2024-02-05T17:32:18|local7|debug|10.0.0.99|/usr/sbin/x|~|~|~| two",
        ),
        (
            "<0>Jul  1 00:00:01 su: - a dash stays",
            "2026-07-01T00:00:01|kern|emergency|~|su|~|~|~|- a dash stays",
        ),
        (
            "<13>Jul  1 00:00:01 app[3]: m",
            "2026-07-01T00:00:01|user|notice|~|app|3|~|~|m",
        ),
        (
            r#"<13>2026-06-01T02:03:04+02:00 h a: [x y="z"] m"#,
            r#"2026-06-01T00:03:04|user|notice|h|a|~|~|~|[x y="z"] m"#,
        ),
        (
            r#"<13>Jul  1 00:00:01 h {"a": 1}"#,
            r#"2026-07-01T00:00:01|user|notice|h|~|~|~|~|{"a": 1}"#,
        ),
        (
            "Jul  1 00:00:01 h a: no priority",
            "2026-07-01T00:00:01|~|~|h|a|~|~|~|no priority",
        ),
        (
            "<13>Jul  1 00:00:01 host disk is full",
            "2026-07-01T00:00:01|user|notice|host|~|~|~|~|disk is full",
        ),
        (
            "<30>Jul  1 00:00:01.833 sw1 app[3]: text",
            "2026-07-01T00:00:01.833|daemon|info|sw1|app|3|~|~|text",
        ),
        (
            "<189>7: *Jul  1 00:00:01.833: %SYS-5-CONFIG_I: text",
            "2026-07-01T00:00:01.833|local7|notice|~|%SYS-5-CONFIG_I|~|~|~|text",
        ),
    ] {
        assert_eq!(shown(message), expected, "{message:?}");
    }
}

#[test]
fn a_message_that_nothing_can_be_made_of_is_a_row_with_its_text() {
    for (message, expected) in [
        ("<14>- text", "received|user|info|~|~|~|~|~|- text"),
        (
            "- text of no kind ",
            "received|~|~|~|~|~|~|~|- text of no kind ",
        ),
        ("<999>text", "received|~|~|~|~|~|~|~|<999>text"),
        ("a\0b\n", "received|~|~|~|~|~|~|~|a\0b\n"),
        ("", "received|~|~|~|~|~|~|~|~"),
    ] {
        assert_eq!(shown(message), expected, "{message:?}");
    }
}

#[test]
fn a_date_without_a_year_gets_the_year_nearest_to_the_time_of_receipt() {
    for (date, received_at, expected) in [
        (
            "Dec 31 23:59:59",
            "2026-01-01T00:00:01Z",
            "2025-12-31T23:59:59Z",
        ),
        (
            "Jan  1 00:00:01",
            "2025-12-31T23:59:59Z",
            "2026-01-01T00:00:01Z",
        ),
        (
            "Jul  1 00:00:00",
            "2026-07-01T00:00:00Z",
            "2026-07-01T00:00:00Z",
        ),
        (
            "Feb 29 12:00:00",
            "2024-02-29T12:00:01Z",
            "2024-02-29T12:00:00Z",
        ),
        (
            "Feb 29 12:00:00",
            "2025-03-01T00:00:00Z",
            "2024-02-29T12:00:00Z",
        ),
        (
            "Feb 29 12:00:00",
            "2026-02-28T00:00:00Z",
            "2024-02-29T12:00:00Z",
        ),
        (
            "Feb 29 12:00:00",
            "2026-03-02T00:00:00Z",
            "2028-02-29T12:00:00Z",
        ),
        (
            "Feb 29 12:00:00",
            "2100-02-28T00:00:00Z",
            "2096-02-29T12:00:00Z",
        ),
        (
            "Dec 31 00:00:00",
            "1970-01-01T00:00:00Z",
            "1969-12-31T00:00:00Z",
        ),
    ] {
        let message = format!("<13>{date} h a: m");
        let time_ns = with_row(message.as_bytes(), false, received_at, |row| row.time_ns);
        assert_eq!(time_ns, ns(expected), "{date} received at {received_at}");
    }
}

#[test]
fn a_time_that_is_none_is_that_of_receipt_and_the_rest_of_the_header_counts() {
    for (message, time) in [
        (
            "<13>1 2026-13-01T00:00:00Z h a 3 - - text",
            "2026-13-01T00:00:00Z",
        ),
        (
            "<13>1 9999-01-01T00:00:00Z h a 3 - - text",
            "9999-01-01T00:00:00Z",
        ),
        (
            "<13>1 2026-06-01T00:00:00+0000 h a 3 - - text",
            "2026-06-01T00:00:00+0000",
        ),
        (
            "<13>1 2026-06-01T00:00:00 h a 3 - - text",
            "2026-06-01T00:00:00",
        ),
        ("<13>1 yesterday h a 3 - - text", "yesterday"),
        (
            "<13>2026-06-01T00:00:00+0000 h a[3]: text",
            "2026-06-01T00:00:00+0000",
        ),
        ("<13>Feb 30 00:00:01 h a[3]: text", "Feb 30 00:00:01"),
        ("<13>Jul  1 24:00:01 h a[3]: text", "Jul  1 24:00:01"),
    ] {
        with_row(message.as_bytes(), false, RECEIVED_AT, |row| {
            assert_eq!(row.time_ns, ns(RECEIVED_AT), "{message}");
            let columns = row.syslog.as_ref().unwrap();
            let found = [&row.host, &columns.app, &columns.procid, &row.message];
            let found = found.map(|column| column.as_deref().unwrap_or("~"));
            assert_eq!(found, ["h", "a", "3", "text"], "{message}");
            let expected = format!(r#"{{"timestamp":"{time}"}}"#);
            assert_eq!(row.attributes.as_deref(), Some(&*expected));
        });
    }
}

#[test]
fn a_time_without_a_zone_is_in_that_of_its_record() {
    // Berlin: two hours ahead until 2026-10-25T01:00:00Z.
    let zone = Zone::new(
        7200,
        [Change {
            at_secs: ns("2026-10-25T01:00:00Z") / NS_A_SECOND,
            offset_secs: 3600,
        }],
    );
    for (message, received_at, expected) in [
        (
            "<13>Jul  1 02:00:01 h a: m",
            RECEIVED_AT,
            "2026-07-01T00:00:01Z",
        ),
        (
            "<13>Nov 25 07:00:03.5 h a: m",
            "2026-11-25T06:00:04Z",
            "2026-11-25T06:00:03.5Z",
        ),
        // Written before the clocks went back, sent when they had.
        (
            "<13>Oct 25 01:59:59 h a: m",
            "2026-10-25T03:00:00Z",
            "2026-10-24T23:59:59Z",
        ),
        (
            "<13>Oct 25 02:30:00 h a: m",
            "2026-10-25T00:31:00Z",
            "2026-10-25T00:30:00Z",
        ),
        (
            "<13>Oct 25 02:30:00 h a: m",
            "2026-10-25T01:31:00Z",
            "2026-10-25T01:30:00Z",
        ),
        (
            "<13>Jan  1 00:30:00 h a: m",
            "2026-12-31T23:30:01Z",
            "2026-12-31T23:30:00Z",
        ),
        (
            "<13>Nov 25 07:00:03 UTC h a: m",
            RECEIVED_AT,
            "2026-11-25T07:00:03Z",
        ),
        (
            "<13>2026-11-25T07:00:03 h a: m",
            RECEIVED_AT,
            "2026-11-25T06:00:03Z",
        ),
        (
            "<13>1 2026-11-25T07:00:03+02:00 h a - - - m",
            RECEIVED_AT,
            "2026-11-25T05:00:03Z",
        ),
    ] {
        let mut payload = Vec::new();
        pack::push_zone(&mut payload, &zone);
        pack::push(&mut payload, false, |out| {
            out.extend_from_slice(message.as_bytes())
        });
        let mut found = None;
        decode_payload(
            &payload,
            ns(received_at).unsigned_abs(),
            &mut |row| match row {
                Row::Log(row) => found = Some(row.time_ns),
                row => panic!("{row:?}"),
            },
        );
        assert_eq!(found, Some(ns(expected)), "{message}");
    }
}

#[test]
fn what_the_columns_cannot_show_is_in_the_attributes() {
    let attributes = |message: &[u8], truncated| {
        with_row(message, truncated, RECEIVED_AT, |row| {
            let message = row.message.as_deref().unwrap().to_owned();
            (message, row.attributes.as_deref().map(str::to_owned))
        })
    };
    let truncated = Some(r#"{"truncated":true}"#.to_owned());
    assert_eq!(attributes(b"<13>m", true), ("m".to_owned(), truncated));
    let raw = Some(r#"{"raw_base64":"PDEzPv8="}"#.to_owned());
    assert_eq!(attributes(b"<13>\xFF", false), ("\u{fffd}".to_owned(), raw));
    let both = Some(r#"{"truncated":true,"raw_base64":"PDEzPv8="}"#.to_owned());
    assert_eq!(attributes(b"<13>\xFF", true), ("\u{fffd}".to_owned(), both));
}

#[test]
fn a_damaged_payload_keeps_its_whole_messages_and_rejects_the_rest() {
    let mut payload = Vec::new();
    pack::push(&mut payload, false, |out| out.extend_from_slice(b"<13>one"));
    pack::push(&mut payload, false, |out| out.extend_from_slice(b"<13>two"));
    payload.pop();
    let mut seen = Vec::new();
    decode_payload(&payload, 0, &mut |row| {
        seen.push(match row {
            Row::Log(row) => row.message.unwrap().into_owned(),
            Row::Rejected(row) => format!("{}: {:?}", row.schema, row.payload),
            row => format!("{row:?}"),
        });
    });
    assert_eq!(
        seen,
        ["one", "syslog: [7, 0, 0, 0, 60, 49, 51, 62, 116, 119]"]
    );
}

/// Messages made of the parts that matter.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => prop::sample::select(vec![
            "<34>", "1 ", "- ", "-", " ", ":", "[", "]", "[a x=\"", "\"", "\\", "=", "Feb 29 ", "Dec 31 ",
            "2024 ", "23:59:60 ", "12:00:00 ", "2026-01-02T03:04:05Z ", "9999-01-01T00:00:00Z ", "h ", "a[1]",
            "a[999999999999]: ", "\u{feff}", "\u{3000}", "\t", "<34>1 - h a p m ", "<34>Oct 11 22:14:15 h ",
        ]).prop_map(|part| part.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(part, 0..14).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_message_is_a_row(message in message()) {
        fuzz_decode(&message);
    }

    #[test]
    fn arbitrary_bytes_are_rows(data in vec(any::<u8>(), 0..120)) {
        fuzz_decode(&data);
    }
}
