//! Clients that others wrote keep pools of connections: none of the good requests behind refused ones is lost.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::browser::install_packages;
use crate::harness::{KEY, Server, UNKNOWN_KEY, program};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path)
}

fn assert_none_lost(mut client: Command) {
    let server = Server::new();
    let url = format!("http://{}", server.at().http);
    let output = client.args([&url, KEY, UNKNOWN_KEY]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["wrong"], json!([]));
    assert_eq!(found["good"], json!(vec![202; 40]));
    assert_eq!(server.export(1, "events").len(), 40);
}

#[test]
fn aiohttp_loses_no_good_request_behind_refused_ones() {
    // Makes nothing anew that is there.
    let made = Command::new(file("python/install")).output().unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{errors}");
    let mut client = Command::new(file("python/.venv/bin/python3"));
    client.arg(file("python/pool.py"));
    assert_none_lost(client);
}

#[test]
fn undici_loses_no_good_request_behind_refused_ones() {
    install_packages();
    let mut client = Command::new(program("node", "nodejs"));
    client.arg(file("browser/pool.mjs"));
    assert_none_lost(client);
}
