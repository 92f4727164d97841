//! What browsers ask before they let a page send, and request ids.

use serde_json::json;

use crate::harness::{KEY, Response, Server, Setup, UNKNOWN_KEY};

const ORIGIN: (&str, &str) = ("Origin", "https://shop.example");

fn preflight(server: &Server, path: &str, origin: &str) -> Response {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        (
            "Access-Control-Request-Headers",
            "authorization,content-type",
        ),
    ];
    server.http("OPTIONS", path, &headers, b"")
}

fn allowed_origin(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[test]
fn a_preflight_is_told_what_a_page_may_send() {
    let server = Server::new();
    for path in ["/v1/events", "/v1/logs", "/v1/ingest"] {
        let response = preflight(&server, path, "https://shop.example");
        assert_eq!(response.status, 204, "{response:?}");
        assert!(response.body.is_empty());
        assert_eq!(allowed_origin(&response), Some("*"));
        let words = |name: &str| -> Vec<String> {
            let value = response.header(name).unwrap_or_default();
            value.split(',').map(|w| w.trim().to_owned()).collect()
        };
        assert!(words("access-control-allow-methods").contains(&"POST".to_owned()));
        let headers = words("access-control-allow-headers");
        for header in [
            "authorization",
            "x-api-key",
            "content-type",
            "content-encoding",
            "idempotency-key",
            "x-request-id",
        ] {
            assert!(
                headers.contains(&header.to_owned()),
                "{header}: {headers:?}"
            );
        }
        let age = response.header("access-control-max-age").unwrap();
        assert!(age.parse::<u32>().unwrap() >= 600);
    }
    // Nobody needs a key to ask what is allowed.
    let response = server.http("OPTIONS", "/health", &[], b"");
    assert_eq!(response.status, 204);
    assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(preflight(&server, "/nothing", "https://a").status, 404);
}

#[test]
fn a_page_may_read_every_answer_refusals_too() {
    let server = Server::new();
    let line = b"{\"event\":\"e\"}";
    let cases: [(&str, &str, &str, &[u8], u16); 5] = [
        ("POST", "/v1/events", KEY, line, 202),
        ("POST", "/v1/events", KEY, b"no line", 400),
        ("POST", "/v1/events", UNKNOWN_KEY, line, 401),
        ("POST", "/nothing", KEY, line, 404),
        ("PUT", "/v1/events", KEY, line, 405),
    ];
    for (method, path, key, body, status) in cases {
        let response = server.http(method, path, &[ORIGIN, ("X-API-Key", key)], body);
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(allowed_origin(&response), Some("*"));
        let exposed = response.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"));
    }
    // Who is no page gets nothing of this.
    let response = server.post_events("{\"event\":\"e\"}");
    assert_eq!(allowed_origin(&response), None);
}

#[test]
fn origins_that_are_not_listed_are_told_nothing() {
    let args = [
        "--cors-origins",
        "https://shop.example,http://localhost:3000",
    ];
    let server = Setup::new().args(args).start();
    for (origin, allowed) in [
        ("https://shop.example", true),
        ("http://localhost:3000", true),
        ("http://shop.example", false),
        ("https://shop.example.evil.test", false),
        ("null", false),
    ] {
        let answers = [
            preflight(&server, "/v1/events", origin),
            server.http(
                "POST",
                "/v1/events",
                &[("Origin", origin), ("X-API-Key", KEY)],
                b"{\"event\":\"e\"}",
            ),
        ];
        for response in answers {
            assert!(matches!(response.status, 202 | 204), "{response:?}");
            assert_eq!(allowed_origin(&response), allowed.then_some(origin));
            assert_eq!(response.header("vary"), Some("origin"));
        }
    }
    let server = Setup::new().args(["--cors-origins", "off"]).start();
    let response = preflight(&server, "/v1/events", "https://shop.example");
    assert_eq!((response.status, allowed_origin(&response)), (204, None));
    assert_eq!(response.header("allow"), Some("POST, OPTIONS"));
}

#[test]
fn a_request_keeps_the_id_it_came_with() {
    let server = Server::new();
    let send = |id: &str, body: &[u8]| {
        server.http(
            "POST",
            "/v1/events",
            &[("X-API-Key", KEY), ("X-Request-Id", id)],
            body,
        )
    };
    for body in [
        &b"{\"event\":\"e\"}"[..],
        b"{\"event\":\"e\"}\nno line",
        b"no line",
    ] {
        let response = send("trace-7/\"x\"", body);
        assert_eq!(response.header("x-request-id"), Some("trace-7/\"x\""));
        assert_eq!(response.json()["request_id"], json!("trace-7/\"x\""));
    }
    for bad in ["two words", &"x".repeat(129), "\u{e9}"] {
        let response = send(bad, b"{\"event\":\"e\"}");
        let id = response.header("x-request-id").unwrap().to_owned();
        assert!(id != bad && id.len() >= 10, "{id}");
        assert_eq!(response.json()["request_id"], json!(id));
    }
    for path in ["/health", "/ready", "/nothing"] {
        let response = server.http("GET", path, &[("X-Request-Id", "mine")], b"");
        assert_eq!(response.header("x-request-id"), Some("mine"));
    }
}
