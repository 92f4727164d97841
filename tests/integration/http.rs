//! HTTP, as `curl` and the SDKs speak it.

use crate::harness::{KEY, Server};

#[test]
fn an_event_that_was_answered_with_202_is_read_back() {
    let server = Server::new();
    let response =
        server.post_events(r#"{"type":"track","event":"Signed Up","user_id":"u1","plan":"pro"}"#);
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.json()["accepted"], 1);
    let rows = server.export(1, "events");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["name"], "Signed Up");
    assert_eq!(rows[0]["user_id"], "u1");
    assert_eq!(rows[0]["properties"]["plan"], "pro");
    assert_eq!(rows[0]["source"], "http");
    assert!(server.export(2, "events").is_empty());
    assert!(!server.log().contains(KEY));
}
