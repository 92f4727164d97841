//! Frames over TCP, down to single bytes: routing, splitting, malformed input, revocation.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::frames::{
    Field, batch, batch_of, connect, event_batch, event_frame, frame, is_open, send, table,
};
use crate::harness::{
    KEY, KEY_2, Server, Setup, UNKNOWN_KEY, wait_for, wait_for_close, write_private,
};
use crate::rows::{Since, column, key_id, row};

/// The protocol's limit, and the default of `max_frame_size`.
const FRAME_BYTES: usize = 16 << 20;

#[test]
fn a_connection_with_two_keys_lands_in_two_workspaces() {
    let server = Server::new();
    let mut stream = connect(&server);
    for n in 0..100 {
        let key = [KEY, KEY_2, KEY_2][n % 3];
        send(&mut stream, &event_frame(key, &format!("e{n}")));
    }
    let names = |of: fn(usize) -> bool| (0..100).filter(move |n| of(*n)).map(|n| format!("e{n}"));
    let one = server.wait_for_rows(1, "events", 34);
    let two = server.wait_for_rows(2, "events", 66);
    assert_eq!(
        column(&one, "name"),
        names(|n| n % 3 == 0).collect::<Vec<_>>()
    );
    assert_eq!(
        column(&two, "name"),
        names(|n| n % 3 != 0).collect::<Vec<_>>()
    );
    assert_eq!(one[0]["key_id"], key_id(&server, "one"));
    assert_eq!(two[0]["key_id"], key_id(&server, "two"));
    assert_eq!(one[0]["peer"], two[0]["peer"]);
}

#[test]
fn frames_arrive_whole_wherever_the_stream_is_split() {
    let server = Server::new();
    let padding = "x".repeat(150_000);
    let large = |name: &str| {
        let payload = json!({"padding": padding}).to_string();
        frame(&event_batch(KEY, &[(name, &payload)]))
    };
    let small: Vec<u8> = (0..3)
        .flat_map(|n| event_frame(KEY, &format!("byte-{n}")))
        .collect();
    let mut stream = connect(&server);
    for byte in &small {
        send(&mut stream, &[*byte]);
    }
    // In front of, inside and behind the prefix, and inside the payload; the pause lets each piece be read
    // by itself, most of the time.
    for at in [1, 2, 3, 4, 5, 40] {
        let bytes = event_frame(KEY, &format!("at-{at}"));
        send(&mut stream, &bytes[..at]);
        std::thread::sleep(Duration::from_millis(2));
        send(&mut stream, &bytes[at..]);
    }
    let many: Vec<u8> = (0..2000)
        .flat_map(|n| event_frame(KEY, &format!("many-{n}")))
        .collect();
    send(&mut stream, &many);
    // Frames larger than what is copied, the end of each in one piece with the start of the next.
    let stretch: Vec<u8> = (0..8).flat_map(|n| large(&format!("large-{n}"))).collect();
    for piece in stretch.chunks((64 << 10) - 1) {
        send(&mut stream, piece);
    }
    send(&mut stream, &event_frame(KEY, "last"));

    let names = [
        "byte-0", "byte-1", "byte-2", "at-1", "at-2", "at-3", "at-4", "at-5", "at-40",
    ];
    let mut expected: Vec<String> = names.map(str::to_owned).to_vec();
    expected.extend((0..2000).map(|n| format!("many-{n}")));
    expected.extend((0..8).map(|n| format!("large-{n}")));
    expected.push("last".to_owned());
    let rows = server.wait_for_rows(1, "events", expected.len());
    assert_eq!(column(&rows, "name"), expected);
    let large = rows
        .iter()
        .filter(|row| row["name"].as_str().unwrap().starts_with("large"));
    for row in large {
        assert_eq!(row["properties"]["padding"], padding);
    }
}

#[test]
fn a_whole_row_comes_back_from_each_layout_of_events() {
    let server = Server::new();
    let since = Since::now();
    let payload = br#"{"user_id":"u1","order_id":"o1"}"#;
    let old = table(&[
        Field::U8(1),
        Field::U64(1_700_000_000_123),
        Field::Bytes(&[0xAB; 16]),
        Field::Bytes(&[0xCD; 16]),
        Field::Bytes(b"Bought"),
        Field::Bytes(payload),
    ]);
    let new = table(&[
        Field::U8(1),
        Field::U64(1_700_000_000_123),
        Field::Bytes(b"shop"),
        Field::Bytes(&[0xAB; 16]),
        Field::Bytes(&[0xCD; 16]),
        Field::Bytes(b"Bought"),
        Field::Bytes(payload),
    ]);
    let mut stream = connect(&server);
    send(&mut stream, &frame(&batch_of(KEY, 1, &[old, new])));
    let rows = server.wait_for_rows(1, "events", 2);
    let mut expected = row(
        "events",
        json!({
            "time": "2023-11-14T22:13:20.123Z", "source": "tcp", "key_id": key_id(&server, "one"),
            "type": "track", "name": "Bought", "user_id": "u1",
            "device_id": "abababab-abab-abab-abab-abababababab",
            "session_id": "cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd", "properties": {"order_id": "o1"},
        }),
    );
    assert_eq!(since.settle(&rows[0], true), expected);
    expected["service"] = json!("shop");
    assert_eq!(since.settle(&rows[1], true), expected);
}

#[test]
fn malformed_frames_close_their_connection_and_no_other() {
    let server = Server::new();
    let mut neighbour = connect(&server);
    let garbage = frame(&[0xFF; 100]);
    let no_key = frame(&table(&[Field::Absent, Field::U8(1), Field::U8(100)]));
    let short_key = frame(&table(&[
        Field::Bytes(&[1; 15]),
        Field::U8(1),
        Field::U8(100),
        Field::Absent,
        Field::Bytes(b"data"),
    ]));
    let over = u32::try_from(FRAME_BYTES + 1).unwrap().to_be_bytes();
    let cases: [(&str, &[u8], &str); 7] = [
        ("zero", &[0, 0, 0, 0], "a frame of length 0"),
        (
            "max+1",
            &over,
            "a frame of 16777217 bytes; at most 16777216",
        ),
        (
            "2^32-1",
            &[0xFF; 4],
            "a frame of 4294967295 bytes; at most 16777216",
        ),
        ("garbage", &garbage, "no Batch: "),
        ("no key", &no_key, "no Batch: api_key: required"),
        (
            "short key",
            &short_key,
            "no Batch: api_key: expected 16 bytes, found 15",
        ),
        (
            "truncated",
            &event_frame(KEY, "cut")[..40],
            "ended in the middle of a frame",
        ),
    ];
    for (n, (name, bytes, fault)) in cases.iter().enumerate() {
        let mut stream = connect(&server);
        send(&mut stream, &event_frame(KEY, &format!("before {name}")));
        send(&mut stream, bytes);
        if *name == "truncated" {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        wait_for_close(&mut stream);
        server.wait_for_log(fault);
        send(
            &mut neighbour,
            &event_frame(KEY_2, &format!("neighbour {n}")),
        );
    }
    let kept = server.wait_for_rows(1, "events", cases.len());
    let expected: Vec<String> = cases
        .iter()
        .map(|(name, ..)| format!("before {name}"))
        .collect();
    assert_eq!(column(&kept, "name"), expected);
    let neighbours = server.wait_for_rows(2, "events", cases.len());
    let expected: Vec<String> = (0..cases.len()).map(|n| format!("neighbour {n}")).collect();
    assert_eq!(column(&neighbours, "name"), expected);
    assert!(server.export(1, "rejected").is_empty());
    for (reason, times) in [
        ("frame_empty", 1.0),
        ("frame_too_long", 2.0),
        ("invalid_batch", 3.0),
        ("truncated", 1.0),
    ] {
        let series = format!("tell_refused_total{{source=\"tcp\",reason=\"{reason}\"}}");
        assert_eq!(server.metric(&series), times, "{reason}");
    }
}

#[test]
fn an_unknown_key_closes_the_connection_and_earlier_frames_are_kept() {
    let mut server = Server::new();
    let mut stream = connect(&server);
    let bytes = [
        event_frame(KEY, "first"),
        event_frame(KEY_2, "second"),
        event_frame(UNKNOWN_KEY, "unknown"),
        event_frame(KEY, "behind"),
    ];
    send(&mut stream, &bytes.concat());
    wait_for_close(&mut stream);
    assert_eq!(
        column(&server.wait_for_rows(1, "events", 1), "name"),
        ["first"]
    );
    assert_eq!(
        column(&server.wait_for_rows(2, "events", 1), "name"),
        ["second"]
    );

    let mut stream = connect(&server);
    send(&mut stream, &event_frame(UNKNOWN_KEY, "unknown"));
    wait_for_close(&mut stream);
    let refused = "tell_refused_total{source=\"tcp\",reason=\"unauthorized\"}";
    wait_for("both refusals to be counted", || {
        (server.metric(refused) == 2.0).then_some(())
    });
    assert!(server.stop().success());
    assert_eq!(server.export(1, "events").len(), 1);
    assert_eq!(server.export(2, "events").len(), 1);
    let log = server.log();
    assert!(!log.contains(UNKNOWN_KEY) && !log.contains(KEY) && !log.contains(KEY_2));
}

#[test]
fn data_that_cannot_be_decoded_is_kept_aside_and_closes_nothing() {
    let server = Server::new();
    let noise: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let cases: [(u8, &[u8], &str); 4] = [
        (1, &noise, "event"),
        (3, b"", "metric"),
        (0, &noise, "unknown"),
        (9, b"\xFF", "unknown"),
    ];
    let mut stream = connect(&server);
    for (schema_type, data, _) in cases {
        send(&mut stream, &frame(&batch(KEY, schema_type, data)));
    }
    let broken_json = event_batch(
        KEY,
        &[("sound", "{}"), ("broken", "{\"a\":"), ("after", "{}")],
    );
    send(&mut stream, &frame(&broken_json));
    let events = server.wait_for_rows(1, "events", 2);
    assert_eq!(column(&events, "name"), ["sound", "after"]);

    let rows = server.export(1, "rejected");
    let payload = |row: &Value| {
        BASE64
            .decode(row["payload"].as_str().unwrap().as_bytes())
            .unwrap()
    };
    assert_eq!(rows.len(), cases.len() + 1);
    for (row, (_, data, schema)) in rows.iter().zip(cases) {
        assert_eq!(row["schema"], schema);
        assert_eq!(payload(row), data);
        assert_ne!(row["reason"], "");
        assert_eq!(row["source"], "tcp");
        assert_eq!(row["key_id"], key_id(&server, "one"));
    }
    assert_eq!(payload(&rows[4]), b"{\"a\":");
    assert!(server.export(2, "rejected").is_empty());
}

/// A Batch of exactly so many bytes, with one event.
fn batch_of_size(name: &str, bytes: usize) -> (Vec<u8>, String) {
    let with = |padding: usize| {
        let padding = "x".repeat(padding);
        let payload = format!("{{\"padding\":\"{padding}\"}}");
        (event_batch(KEY, &[(name, &payload)]), padding)
    };
    let fixed = with(0).0.len();
    let mut padding = bytes - fixed;
    loop {
        let (batch, text) = with(padding);
        if batch.len() <= bytes {
            assert!(batch.len() > bytes - 8, "vectors are aligned");
            return (batch, text);
        }
        padding -= 1;
    }
}

#[test]
fn a_frame_at_the_limit_is_accepted_with_all_its_bytes() {
    let server = Server::new();
    let (batch, padding) = batch_of_size("at the limit", FRAME_BYTES);
    let mut stream = connect(&server);
    send(&mut stream, &event_frame(KEY, "before"));
    send(&mut stream, &frame(&batch));
    send(&mut stream, &event_frame(KEY, "after"));
    let rows = server.wait_for_rows(1, "events", 3);
    assert_eq!(column(&rows, "name"), ["before", "at the limit", "after"]);
    assert!(
        rows[1]["properties"]["padding"] == padding.as_str(),
        "the payload changed"
    );
}

#[test]
fn large_frames_followed_by_small_ones_fit_into_small_segments() {
    let server = Setup::new()
        .args([
            "--segment-size",
            "4MiB",
            "--max-frame-size",
            "3MiB",
            "--max-body-size",
            "3MiB",
        ])
        .start();
    let mut expected = Vec::new();
    let mut bytes = Vec::new();
    for n in 0..6 {
        bytes.extend(frame(&batch_of_size(&format!("large-{n}"), 3 << 20).0));
        expected.push(format!("large-{n}"));
        for m in 0..5000 {
            bytes.extend(event_frame(KEY, &format!("small-{n}-{m}")));
            expected.push(format!("small-{n}-{m}"));
        }
    }
    let mut stream = connect(&server);
    send(&mut stream, &bytes);
    let rows = server.wait_for_rows(1, "events", expected.len());
    assert!(
        column(&rows, "name") == expected,
        "frames are missing or out of order"
    );
}

#[test]
fn idle_connections_of_a_revoked_key_are_closed_within_two_seconds_and_others_stay() {
    let server = Server::new();
    let mut revoked = connect(&server);
    let mut both = connect(&server);
    let mut stays = connect(&server);
    let mut silent = connect(&server);
    send(&mut revoked, &event_frame(KEY, "revoked"));
    send(&mut both, &event_frame(KEY, "both"));
    send(&mut both, &event_frame(KEY_2, "both"));
    send(&mut stays, &event_frame(KEY_2, "stays"));
    server.wait_for_rows(1, "events", 2);
    server.wait_for_rows(2, "events", 2);

    write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
    let changed = Instant::now();
    wait_for_close(&mut revoked);
    wait_for_close(&mut both);
    assert!(
        changed.elapsed() < Duration::from_secs(2),
        "{:?}",
        changed.elapsed()
    );
    send(&mut stays, &event_frame(KEY_2, "stayed"));
    send(&mut silent, &event_frame(KEY_2, "spoke"));
    let two = server.wait_for_rows(2, "events", 4);
    assert!(column(&two, "name").contains(&"stayed"));
    assert!(column(&two, "name").contains(&"spoke"));
    assert_eq!(server.export(1, "events").len(), 2);

    write_private(&server.key_file(), &format!("{KEY}:1:one\n{KEY_2}:2:two\n"));
    wait_for("the key to be good again", || {
        let mut stream = connect(&server);
        send(&mut stream, &event_frame(KEY, "again"));
        stream.shutdown(Shutdown::Write).unwrap();
        wait_for_close(&mut stream);
        (server.export(1, "events").len() > 2).then_some(())
    });
    assert!(is_open(&stays) && is_open(&silent));
}
