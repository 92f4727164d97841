//! The real Rust SDK: what it sends comes back whole, and a revoked key stops it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tell::{
    Events, HistogramParams, LogLevel, Tell, TellConfig, TellConfigBuilder, Temporality, props,
};

use crate::harness::{KEY, KEY_2, Server, wait_for, write_private};
use crate::rows::{Since, column, key_id, row};

const SESSION: [u8; 16] = [0x5E; 16];
const SESSION_TEXT: &str = "5e5e5e5e-5e5e-5e5e-5e5e-5e5e5e5e5e5e";

/// An SDK that sends nothing before it is told to.
fn config(server: &Server, key: &str) -> TellConfigBuilder {
    TellConfig::builder(key)
        .endpoint(server.at().tcp.to_string())
        .service("shop")
        .source("web-1")
        .flush_interval(Duration::from_secs(3600))
        .on_error(|error| panic!("the SDK reports {error}"))
}

fn sdk(config: TellConfigBuilder) -> Tell {
    Tell::new(config.build().expect("a configuration")).expect("the SDK starts")
}

/// The rows without their times and peers, for comparison with [`row`].
fn settled(rows: &[Value], since: Since) -> Vec<Value> {
    rows.iter().map(|row| since.settle(row, false)).collect()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == b'-',
            _ => c.is_ascii_digit() || (b'a'..=b'f').contains(&c),
        })
}

#[test]
fn every_event_of_the_sdk_comes_back_with_all_its_fields() {
    let server = Server::new();
    let since = Since::now();
    let client = sdk(config(&server, KEY));
    client.register(props! { "app_version" => "2.0", "plan" => "free" });
    client.track(
        "u1",
        "Page \"Viewed\" żółw",
        props! { "url" => "/home", "count" => 42, "ratio" => 1.5, "active" => true, "plan" => "pro" },
    );
    client.track_with_session(
        &SESSION,
        "u1",
        "Clicked",
        json!({"deep": {"list": [1, null, "x"]}}),
    );
    client.identify("u1", props! { "name" => "Jane\n\"J\"", "age" => 30 });
    client.group("u1", "g7", props! { "seats" => 5 });
    client.revenue("u1", 49.99, "USD", "order_456", props! { "coupon" => "x" });
    client.unregister("app_version");
    client.unregister("plan");
    client.alias("anonymous-1", "u1");
    client.track("u2", "Bare", ());
    client.close_blocking().expect("the SDK closes");

    let rows = server.wait_for_rows(1, "events", 7);
    let device = rows[0]["device_id"].as_str().expect("a device").to_owned();
    assert!(is_uuid(&device), "{device}");
    let key_id = key_id(&server, "one");
    let sent = |columns: Value| {
        let mut row = row("events", columns);
        row["source"] = json!("tcp");
        row["key_id"] = json!(key_id);
        row["device_id"] = json!(device);
        row["service"] = json!("shop");
        row
    };
    let expected = [
        sent(json!({
            "type": "track", "name": "Page \"Viewed\" żółw", "user_id": "u1",
            "properties": {
                "app_version": "2.0", "plan": "pro", "url": "/home", "count": 42, "ratio": 1.5,
                "active": true,
            },
        })),
        sent(json!({
            "type": "track", "name": "Clicked", "user_id": "u1", "session_id": SESSION_TEXT,
            "properties": {
                "app_version": "2.0", "plan": "free", "deep": {"list": [1, null, "x"]},
            },
        })),
        sent(json!({
            "type": "identify", "user_id": "u1", "properties": {"name": "Jane\n\"J\"", "age": 30},
        })),
        sent(json!({
            "type": "group", "user_id": "u1", "group_id": "g7",
            "properties": {"app_version": "2.0", "plan": "free", "seats": 5},
        })),
        sent(json!({
            "type": "track", "name": Events::ORDER_COMPLETED, "user_id": "u1",
            "properties": {
                "amount": 49.99, "currency": "USD", "order_id": "order_456", "app_version": "2.0",
                "plan": "free", "coupon": "x",
            },
        })),
        sent(json!({
            "type": "alias", "user_id": "u1", "properties": {"previous_id": "anonymous-1"},
        })),
        sent(json!({"type": "track", "name": "Bare", "user_id": "u2"})),
    ];
    assert_eq!(settled(&rows, since), expected);
    assert!(server.export(2, "events").is_empty());
    assert!(server.export(1, "rejected").is_empty());
}

#[test]
fn a_session_of_the_sdk_is_stamped_on_what_has_one() {
    let server = Server::new();
    let client = sdk(config(&server, KEY).enable_session());
    client.track("u1", "first", ());
    client.identify("u1", ());
    client.log_info("in session", None, ());
    client.reset_session();
    client.track("u1", "second", ());
    client.close_blocking().expect("the SDK closes");

    let events = server.wait_for_rows(1, "events", 3);
    let logs = server.wait_for_rows(1, "logs", 1);
    let first = events[0]["session_id"].as_str().expect("a session");
    let second = events[2]["session_id"].as_str().expect("a session");
    assert!(is_uuid(first) && is_uuid(second) && first != second);
    assert_eq!(events[1]["session_id"], Value::Null);
    assert_eq!(logs[0]["session_id"], first);
}

#[test]
fn logs_of_all_nine_levels_come_back_with_all_their_fields() {
    let server = Server::new();
    let since = Since::now();
    let client = sdk(config(&server, KEY_2));
    client.log_emergency("m0", Some("api"), props! { "n" => 0 });
    client.log_alert("m1", None, ());
    client.log_critical("m2", None, ());
    client.log_error("m3", None, ());
    client.log_warning("m4", None, ());
    client.log_notice("m5", None, ());
    client.log_info("m6", None, ());
    client.log_debug("m7", None, ());
    client.log_trace("line 1\nline 2 \u{0}\t\"q\"", None, ());
    client.log_with_service(LogLevel::Info, "m9", Some("db"), Some("billing"), ());
    assert!(client.log_with_session(&SESSION, LogLevel::Error, "m10", None, ()));
    client.close_blocking().expect("the SDK closes");

    let rows = server.wait_for_rows(2, "logs", 11);
    let key_id = key_id(&server, "two");
    let sent = |level: &str, message: &str| {
        row(
            "logs",
            json!({
                "source": "tcp", "key_id": key_id, "type": "log", "level": level, "message": message,
                "service": "shop", "host": "web-1",
            }),
        )
    };
    let mut expected = vec![
        sent("emergency", "m0"),
        sent("alert", "m1"),
        sent("critical", "m2"),
        sent("error", "m3"),
        sent("warning", "m4"),
        sent("notice", "m5"),
        sent("info", "m6"),
        sent("debug", "m7"),
        sent("trace", "line 1\nline 2 \u{0}\t\"q\""),
        sent("info", "m9"),
        sent("error", "m10"),
    ];
    expected[0]["host"] = json!("api");
    expected[0]["attributes"] = json!({"n": 0});
    expected[9]["host"] = json!("db");
    expected[9]["service"] = json!("billing");
    expected[10]["session_id"] = json!(SESSION_TEXT);
    assert_eq!(settled(&rows, since), expected);
    assert!(server.export(1, "logs").is_empty());
}

#[test]
fn metrics_of_the_sdk_come_back_with_all_their_fields() {
    let server = Server::new();
    let since = Since::now();
    let client = sdk(config(&server, KEY));
    client.gauge("cpu", 45.25, &[("core", "0"), ("zone", "a\"b")]);
    client.counter("bytes", 1024.0, &[]);
    client.counter_with_temporality("total", 1e300, &[("k", "")], Temporality::Cumulative);
    client.histogram(
        "latency_ms",
        HistogramParams {
            count: 3,
            sum: 152.5,
            min: 0.5,
            max: 150.0,
            buckets: vec![(1.0, 1), (100.0, 2), (f64::INFINITY, 3)],
        },
        &[("route", "/a")],
    );
    client.close_blocking().expect("the SDK closes");

    let rows = server.wait_for_rows(1, "metrics", 4);
    let key_id = key_id(&server, "one");
    let sent = |columns: Value| {
        let mut row = row("metrics", columns);
        row["source"] = json!("tcp");
        row["key_id"] = json!(key_id);
        row["service"] = json!("shop");
        row["host"] = json!("web-1");
        row
    };
    let expected = [
        sent(json!({
            "type": "gauge", "name": "cpu", "value": 45.25, "labels": {"core": "0", "zone": "a\"b"},
            "temporality": "unspecified",
        })),
        sent(json!({"type": "counter", "name": "bytes", "value": 1024.0, "temporality": "delta"})),
        sent(json!({
            "type": "counter", "name": "total", "value": 1e300, "labels": {"k": ""},
            "temporality": "cumulative",
        })),
        sent(json!({
            "type": "histogram", "name": "latency_ms", "labels": {"route": "/a"},
            "temporality": "cumulative", "count": 3, "sum": 152.5, "min": 0.5, "max": 150.0,
            "buckets": [
                {"upper_bound": 1.0, "count": 1},
                {"upper_bound": 100.0, "count": 2},
                {"upper_bound": null, "count": 3},
            ],
        })),
    ];
    assert_eq!(settled(&rows, since), expected);
}

#[test]
fn instruments_that_the_sdk_samples_arrive_too() {
    let server = Server::new();
    let client = sdk(config(&server, KEY)
        .metrics_interval(Duration::from_millis(50))
        .flush_interval(Duration::from_millis(50)));
    let uploads = client
        .metrics()
        .counter("uploads")
        .by("from", &["web", "api"])
        .register();
    let sizes = client.metrics().histogram("size", &[10.0]).register();
    client.metrics().gauge("live", || 8.0);
    uploads.add("web", 3);
    sizes.record(4.0);

    let rows = wait_for("a sample of every instrument", || {
        let rows = server.export(1, "metrics");
        let names: BTreeSet<_> = column(&rows, "name")
            .into_iter()
            .map(str::to_owned)
            .collect();
        (names.len() == 4).then_some(rows)
    });
    client.close_blocking().expect("the SDK closes");
    let of = |name: &str, labels: Value| {
        let mut found = rows
            .iter()
            .filter(|r| r["name"] == name && r["labels"] == labels);
        found
            .next()
            .unwrap_or_else(|| panic!("no {name} {labels}"))
            .clone()
    };
    assert_eq!(of("uploads", json!({"from": "web"}))["value"], 3.0);
    assert_eq!(of("uploads", json!({"from": "api"}))["value"], 0.0);
    assert_eq!(of("size", Value::Null)["sum"], 4.0);
    assert_eq!(of("live", Value::Null)["value"], 8.0);
    assert_eq!(of("tell.sdk.dropped", Value::Null)["value"], 0.0);
}

#[test]
fn two_sdks_at_once_stay_in_their_workspaces() {
    let server = Server::new();
    let clients = [KEY, KEY_2].map(|key| sdk(config(&server, key).batch_size(7)));
    for n in 0..500 {
        for (client, name) in clients.iter().zip(["one", "two"]) {
            assert!(client.try_track("u", &format!("{name}-{n}"), ()));
        }
    }
    for client in &clients {
        client.close_blocking().expect("the SDK closes");
    }
    for (workspace, name) in [(1, "one"), (2, "two")] {
        let rows = server.wait_for_rows(workspace, "events", 500);
        let expected: Vec<String> = (0..500).map(|n| format!("{name}-{n}")).collect();
        assert_eq!(column(&rows, "name"), expected);
    }
}

#[test]
fn a_revoked_key_stops_its_sdk_and_no_other() {
    let server = Server::new();
    let errors = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&errors);
    let revoked = sdk(config(&server, KEY).max_retries(0).on_error(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let other = sdk(config(&server, KEY_2));
    let track = |client: &Tell, name: String| {
        client.track("u", &name, ());
        client.flush_blocking().expect("the SDK flushes");
    };
    for n in 0..20 {
        track(&revoked, format!("before-{n}"));
        track(&other, format!("other-{n}"));
    }
    let before = server.wait_for_rows(1, "events", 20);
    let peer = column(&before, "peer")[0].to_owned();

    write_private(&server.key_file(), &format!("{KEY_2}:2:two\n"));
    let changed = Instant::now();
    wait_for("the revoked SDK's connection to be closed", || {
        let closed = |line: &str| line.contains("connection closed") && line.contains(&peer);
        server.log().lines().any(closed).then_some(())
    });
    assert!(
        changed.elapsed() < Duration::from_secs(2),
        "{:?}",
        changed.elapsed()
    );

    // The SDK learns of the close from a failed write, and then connects and is closed again and again.
    for n in 0..20 {
        track(&revoked, format!("after-{n}"));
        track(&other, format!("other-{}", 20 + n));
    }
    let refused = |line: &&str| line.contains("a valid streaming key is required");
    wait_for("a frame of the revoked key to be refused", || {
        // While it waits to connect again, the SDK drops what it is given: it needs something afterwards.
        track(&revoked, "after".to_owned());
        (server.log().lines().filter(refused).count() >= 2).then_some(())
    });
    let others = server.wait_for_rows(2, "events", 40);
    let _ = revoked.close_blocking();
    other.close_blocking().expect("the SDK closes");

    let kept = server.export(1, "events");
    let expected: Vec<String> = (0..20).map(|n| format!("before-{n}")).collect();
    assert_eq!(column(&kept, "name"), expected);
    let expected: Vec<String> = (0..40).map(|n| format!("other-{n}")).collect();
    assert_eq!(column(&others, "name"), expected);
    let peers: BTreeSet<&str> = column(&others, "peer").into_iter().collect();
    assert_eq!(peers.len(), 1, "the other SDK stayed connected");
    assert!(
        errors.load(Ordering::Relaxed) > 0,
        "the revoked SDK noticed"
    );
    assert!(!server.log().contains(KEY));
}
