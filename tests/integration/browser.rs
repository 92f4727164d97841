//! The published browser SDK in a real Chromium, on a page from another origin than the server's.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{KEY, Server, program, wait_for};
use crate::rows::column;

const SDK: &str = "node_modules/@tell-rs/browser/dist/tell.global.js";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Lets npm install what the lock file says, unless it is there.
pub fn install_packages() {
    // Tests run at once.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock();
    let wanted = fs::read(folder().join("package-lock.json")).unwrap();
    // Of an installation that came to its end.
    let installed = folder().join("node_modules/.installed-lock.json");
    if fs::read(&installed).is_ok_and(|lock| lock == wanted) {
        return;
    }
    let output = Command::new(program("npm", "npm"))
        .current_dir(folder())
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .output()
        .expect("npm runs");
    assert!(
        output.status.success(),
        "npm ci in tests/browser: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::write(installed, wanted).unwrap();
}

/// The SDK as npm installs it, of the version in the lock file.
fn sdk() -> String {
    install_packages();
    fs::read_to_string(folder().join(SDK)).expect("the SDK")
}

/// Serves the page, its scripts and its settings, and keeps what the page reports.
struct Site {
    address: SocketAddr,
    reports: Arc<Mutex<Vec<Value>>>,
}

impl Site {
    fn new(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Self {
            address: listener.local_addr().unwrap(),
            reports: Arc::default(),
        };
        let settings = format!(
            "const settings = {};",
            json!({"endpoint": format!("http://{}", server.at().http), "key": KEY})
        );
        let page = fs::read_to_string(folder().join("page.html")).unwrap();
        let (sdk, reports) = (sdk(), Arc::clone(&site.reports));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = |path: &str, body: &[u8]| match path {
                    "/" | "/closed" => ("text/html", page.clone()),
                    "/tell.js" => ("text/javascript", sdk.clone()),
                    "/settings.js" => ("text/javascript", settings.clone()),
                    "/report" => {
                        let report = serde_json::from_slice(body).unwrap();
                        reports.lock().unwrap().push(report);
                        ("text/plain", String::new())
                    }
                    _ => ("text/plain", String::new()),
                };
                // Browsers open connections that they then do not use.
                let _ = serve(stream, answer);
            }
        });
        site
    }

    fn reports(&self) -> Vec<Value> {
        self.reports.lock().unwrap().clone()
    }
}

/// Answers one request.
fn serve(
    stream: TcpStream,
    answer: impl Fn(&str, &[u8]) -> (&'static str, String),
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(std::time::Duration::from_millis(500)))?;
    let mut reader = BufReader::new(&stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap_or(0);
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (media_type, body) = answer(request.split(' ').nth(1).unwrap_or(""), &body);
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Chromium with a profile of its own, which ends with the test.
struct Browser(Child);

impl Browser {
    fn open(server: &Server, url: &str) -> Self {
        let profile = server.directory().join("chromium");
        let child = Command::new(program("chromium", "chromium"))
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-popup-blocking",
                // Nothing but the test is to be reached.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            // A window stays open until it is closed, unlike with --dump-dom.
            .arg("--remote-debugging-port=0")
            .arg(url)
            .env("HOME", server.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts");
        Self(child)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own children end when it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_browser_sdk_delivers_events_logs_and_what_was_left_when_the_page_went() {
    let server = Server::new();
    let site = Site::new(&server);
    let _browser = Browser::open(&server, &format!("http://{}/", site.address));

    let events = wait_for("the events of both windows", || {
        let events = server.export(1, "events");
        let closed = events.iter().any(|row| row["name"] == "Closed Window");
        (closed && events.len() >= 8).then_some(events)
    });
    let logs = server.wait_for_rows(1, "logs", 4);
    assert!(server.export(1, "rejected").is_empty());

    let named = |name: &str| {
        let mut found = events.iter().filter(|row| row["name"] == name);
        let row = found.next().unwrap_or_else(|| panic!("{name}: {events:?}"));
        assert!(found.next().is_none(), "{name} came twice");
        row
    };
    let clicked = named("Button Clicked");
    assert_eq!(clicked["properties"]["button"], "signup");
    assert_eq!(clicked["properties"]["price"], 12.5);
    assert_eq!(
        clicked["properties"]["nested"],
        json!({"list": [1, null, "ä"]})
    );
    assert_eq!(clicked["service"], "shop");
    let ids = ["device_id", "session_id"].map(|id| clicked[id].as_str().unwrap());
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");

    let typed = |kind: &str| events.iter().find(|row| row["type"] == kind).unwrap();
    assert_eq!(typed("identify")["user_id"], "user_123");
    assert_eq!(typed("identify")["properties"]["name"], "Alice");
    assert_eq!(typed("group")["group_id"], "group_9");
    assert_eq!(typed("group")["properties"]["plan"], "pro");
    assert_eq!(typed("alias")["properties"]["previous_id"], "anon_1");
    let order = named("Order Completed");
    assert_eq!(order["properties"]["amount"], 49.99);
    assert_eq!(order["properties"]["order_id"], "order_456");
    assert_eq!(order["user_id"], "user_123");

    // By sendBeacon, as the page went; the second from a window that closed itself.
    for name in ["Left By Navigation", "Closed Window"] {
        assert_eq!(named(name)["device_id"], clicked["device_id"]);
    }
    let mut levels: Vec<(&str, &str)> = column(&logs, "message")
        .into_iter()
        .zip(column(&logs, "level"))
        .collect();
    levels.sort();
    let expected = [
        ("Checkout started", "info"),
        ("Payment failed", "error"),
        ("closing", "notice"),
        ("leaving", "warning"),
    ];
    assert_eq!(levels, expected);

    // The page could send what needs a preflight, and read the answers, the refusal too.
    let reports = site.reports();
    assert_eq!(reports.len(), 1, "the SDK reported errors: {reports:?}");
    let (accepted, refused) = (&reports[0]["accepted"], &reports[0]["refused"]);
    assert_eq!(accepted["status"], 202);
    assert_eq!(accepted["id"], "page-1");
    assert_eq!(refused["status"], 401);
    assert_eq!(refused["body"]["error"], "unauthorized");
    named("By Hand");
    assert!(!server.log().contains(KEY));
}
