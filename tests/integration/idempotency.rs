//! Requests with an `Idempotency-Key` that come again: answered as the first time, stored once.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{KEY, KEY_2, Response, Server, wait_for};
use crate::http::gzip;
use crate::rows::column;

/// Something that a test does, and how it calls it.
type Named<F> = (&'static str, F);

fn post(server: &Server, key: &str, path: &str, idempotency_key: &str, body: &str) -> Response {
    let headers = [("X-API-Key", key), ("Idempotency-Key", idempotency_key)];
    server.http("POST", path, &headers, body.as_bytes())
}

fn is_replayed(response: &Response) -> bool {
    response.header("idempotent-replayed") == Some("true")
}

/// The answer without what tells one request from another.
fn answer(response: &Response) -> (u16, serde_json::Value) {
    let mut body = response.json();
    body.as_object_mut().unwrap().remove("request_id");
    (response.status, body)
}

#[test]
fn a_repeated_request_is_answered_as_the_first_time_and_stored_once() {
    let server = Server::new();
    for (name, body, status) in [
        ("whole", "{\"event\":\"a\"}", 202),
        (
            "in part",
            "{\"event\":\"b\"}\nno line\n{\"event\":\"c\"}",
            207,
        ),
    ] {
        let first = post(&server, KEY, "/v1/events", name, body);
        assert_eq!(first.status, status, "{first:?}");
        assert!(!is_replayed(&first));
        for _ in 0..2 {
            let again = post(&server, KEY, "/v1/events", name, body);
            assert!(is_replayed(&again), "{again:?}");
            assert_eq!(answer(&again), answer(&first));
        }
    }
    // However the body is packed, it is the same.
    let headers = [
        ("X-API-Key", KEY),
        ("Idempotency-Key", "whole"),
        ("Content-Encoding", "gzip"),
    ];
    let packed = server.http("POST", "/v1/events", &headers, &gzip(b"{\"event\":\"a\"}"));
    assert!(is_replayed(&packed), "{packed:?}");
    assert_eq!(column(&server.export(1, "events"), "name"), ["a", "b", "c"]);

    // Another streaming key has idempotency keys of its own.
    let other = post(&server, KEY_2, "/v1/events", "whole", "{\"event\":\"two\"}");
    assert!(other.status == 202 && !is_replayed(&other));
    assert_eq!(column(&server.export(2, "events"), "name"), ["two"]);
}

#[test]
fn a_key_that_is_used_for_something_else_is_refused() {
    let server = Server::new();
    let line = "{\"event\":\"a\",\"message\":\"m\"}";
    assert_eq!(post(&server, KEY, "/v1/events", "k", line).status, 202);
    for (path, body) in [("/v1/events", "{\"event\":\"b\"}"), ("/v1/logs", line)] {
        let refused = post(&server, KEY, path, "k", body);
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(refused.json()["error"], "idempotency_mismatch");
    }
    // What was refused whole may be corrected.
    assert_eq!(
        post(&server, KEY, "/v1/events", "k2", "no line").status,
        400
    );
    assert_eq!(post(&server, KEY, "/v1/events", "k2", line).status, 202);
    for bad in ["", &"x".repeat(256), "\u{e4}"] {
        let refused = post(&server, KEY, "/v1/events", bad, line);
        assert_eq!(refused.json()["error"], "invalid_idempotency_key", "{bad}");
        assert_eq!(refused.status, 400);
    }
    assert_eq!(server.export(1, "events").len(), 2);
    assert!(server.export(1, "logs").is_empty());
}

#[test]
fn of_requests_at_the_same_time_one_is_stored() {
    let server = Server::new();
    for round in 0..5 {
        let name = format!("round {round}");
        let line = format!("{{\"event\":\"e{round}\"}}");
        let replayed: usize = std::thread::scope(|scope| {
            let posts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| post(&server, KEY, "/v1/events", &name, &line)))
                .collect();
            let answers = posts.into_iter().map(|post| post.join().unwrap());
            answers
                .map(|response| {
                    assert_eq!(response.status, 202, "{response:?}");
                    usize::from(is_replayed(&response))
                })
                .sum()
        });
        assert_eq!(replayed, 7);
    }
    let names = ["e0", "e1", "e2", "e3", "e4"];
    assert_eq!(column(&server.export(1, "events"), "name"), names);
}

#[test]
fn a_repeated_request_is_known_after_every_kind_of_end() {
    let mut server = Server::new();
    let file = server.data_dir().join("idempotency");
    let line = "{\"event\":\"a\"}";
    assert!(!is_replayed(&post(&server, KEY, "/v1/events", "k", line)));
    let ends: [Named<fn(&mut Server)>; 2] = [
        ("SIGTERM", |server| assert!(server.stop().success())),
        ("SIGKILL", Server::kill),
    ];
    let files: [Named<fn(&Path)>; 3] = [
        ("whole", |_| {}),
        ("gone", |file| fs::remove_file(file).unwrap()),
        ("damaged", |file| {
            fs::write(file, b"TELLIDEM and nothing").unwrap()
        }),
    ];
    let mut taken = vec!["k".to_owned()];
    for (end, stop) in ends {
        for (state, change) in files {
            stop(&mut server);
            change(&file);
            server.start();
            for name in &taken {
                let again = post(&server, KEY, "/v1/events", name, line);
                assert!(
                    is_replayed(&again),
                    "{end}, file {state}: {name}: {again:?}"
                );
            }
            let name = format!("after {end}, file {state}");
            assert!(!is_replayed(&post(&server, KEY, "/v1/events", &name, line)));
            taken.push(name);
        }
    }
    assert_eq!(server.export(1, "events").len(), taken.len());
    // Nothing that the client chose is on disk as it is.
    let saved = fs::read(&file).unwrap();
    assert!(!saved.windows(5).any(|bytes| bytes == b"after"));
}

#[test]
fn what_is_sent_until_it_is_answered_is_there_once_however_often_the_server_is_killed() {
    let mut server = Server::new();
    let kills = 6;
    let names: Vec<String> = (0..240).map(|n| format!("n{n}")).collect();
    for (round, names) in names.chunks(names.len() / kills).enumerate() {
        let at = server.at().http;
        let answered = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for names in names.chunks(10) {
                let answered = &answered;
                scope.spawn(move || {
                    for name in names {
                        // Whether it was answered does not matter: it is sent again below.
                        let Ok(mut stream) = TcpStream::connect(at) else {
                            return;
                        };
                        let _ = stream.write_all(raw(name).as_bytes());
                        let mut byte = [0];
                        if matches!(std::io::Read::read(&mut stream, &mut byte), Ok(1)) {
                            answered.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
            wait_for("an answer", || {
                answered.load(Ordering::Relaxed).then_some(())
            });
            server.kill();
        });
        server.start();
        for name in names {
            let line = format!("{{\"event\":\"{name}\"}}");
            let response = post(&server, KEY, "/v1/events", name, &line);
            assert_eq!(response.status, 202, "round {round}: {response:?}");
        }
    }
    assert_once(&server, &names);
}

#[test]
fn a_client_that_goes_away_and_comes_back_is_stored_once() {
    let server = Server::new();
    let names: Vec<String> = (0..60).map(|n| format!("n{n}")).collect();
    for name in &names {
        let mut stream = TcpStream::connect(server.at().http).unwrap();
        stream.write_all(raw(name).as_bytes()).unwrap();
        drop(stream);
        let line = format!("{{\"event\":\"{name}\"}}");
        let response = post(&server, KEY, "/v1/events", name, &line);
        assert_eq!(response.status, 202, "{response:?}");
    }
    assert_once(&server, &names);
}

fn raw(name: &str) -> String {
    let line = format!("{{\"event\":\"{name}\"}}");
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nIdempotency-Key: {name}\r\nContent-Length: {}\r\n\r\n{line}",
        line.len()
    )
}

fn assert_once(server: &Server, names: &[String]) {
    let rows = server.export(1, "events");
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for name in column(&rows, "name") {
        *times.entry(name).or_default() += 1;
    }
    for name in names {
        assert_eq!(times.get(name.as_str()), Some(&1), "{name}");
    }
    assert_eq!(rows.len(), names.len());
}
