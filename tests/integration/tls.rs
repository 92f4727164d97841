//! TLS on every door that has connections.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use crate::frames::event_frame;
use crate::harness::{
    KEY, Response, SOON, Server, Setup, next_response, program, wait_for, wait_for_close,
};
use crate::listeners::{Authority, TlsStream, connect, of_file, with_file};

const LOCAL: &str = "address = \"127.0.0.1:0\"\n";

/// A server with one listener of the kind over TLS, and where that is.
fn server(authority: &Authority, kind: &str, further: &str) -> (Server, SocketAddr) {
    let tls = authority.settings("server");
    let file = format!("[[listen.{kind}]]\n{LOCAL}{tls}{further}");
    let server = with_file(&authority.path(""), &file).start();
    let address = of_file(&server, kind)[0];
    (server, address)
}

fn post(stream: &mut TlsStream) -> Response {
    let body = "{\"type\":\"track\",\"event\":\"over_tls\"}\n";
    write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("send the request");
    next_response(&mut BufReader::new(stream))
}

/// The certificate that the server shows.
fn shown(authority: &Authority, address: SocketAddr) -> Vec<u8> {
    let mut stream = authority.connect(address);
    stream.flush().expect("the handshake");
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn every_door_takes_tls_beside_the_plain_one() {
    let authority = Authority::new();
    authority.issue("server");
    let tls = authority.settings("server");
    let file: String = ["tcp", "http", "syslog_tcp"]
        .map(|kind| format!("[[listen.{kind}]]\n{LOCAL}{tls}"))
        .concat();
    let server = with_file(&authority.path(""), &file).start();

    let mut frames = authority.connect(of_file(&server, "tcp")[0]);
    frames.write_all(&event_frame(KEY, "in_a_frame")).unwrap();
    let mut http = authority.connect(of_file(&server, "http")[0]);
    assert_eq!(post(&mut http).status, 202);
    assert_eq!(post(&mut http).status, 202, "the connection is kept");
    let mut syslog = authority.connect(of_file(&server, "syslog_tcp")[0]);
    let message = format!("<134>1 - host app - - [tell@32473 key=\"{KEY}\"] sealed");
    write!(syslog, "{} {message}", message.len()).unwrap();
    assert_eq!(
        server
            .post_events("{\"type\":\"track\",\"event\":\"plain\"}")
            .status,
        202
    );

    let mut names: Vec<String> = server
        .wait_for_rows(1, "events", 4)
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["in_a_frame", "over_tls", "over_tls", "plain"]);
    let logs = server.wait_for_rows(1, "logs", 1);
    assert_eq!(logs[0]["message"], "sealed");
    assert_eq!(logs[0]["source"], "syslog_tcp");
}

#[test]
fn the_server_says_goodbye_when_it_closes() {
    let authority = Authority::new();
    authority.issue("server");
    let (_server, address) = server(&authority, "syslog_tcp", "");
    let mut stream = authority.connect(address);
    stream.write_all(b"<134>no key\n").unwrap();
    // Without close_notify this would be an error: an end that anybody could have made up.
    assert_eq!(stream.read(&mut [0]).expect("close_notify"), 0);
}

#[test]
fn http_1_1_is_agreed_on_by_name() {
    let authority = Authority::new();
    authority.issue("server");
    let (_server, address) = server(&authority, "http", "");
    let mut config = authority.client(rustls::ALL_VERSIONS, None);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut stream = connect(address, config);
    assert_eq!(post(&mut stream).status, 202);
    assert_eq!(stream.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
}

#[test]
fn tls_1_2_and_1_3_are_taken_and_1_1_is_not() {
    let authority = Authority::new();
    authority.issue("server");
    let (server, address) = server(&authority, "http", "");
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(address, authority.client(&[version], None));
        assert_eq!(post(&mut stream).status, 202, "{version:?}");
    }

    // The same hello asks for TLS 1.2 at most, and then for 1.1.
    assert_eq!(
        answer_to_hello(address, [3, 3])[0],
        22,
        "a handshake record"
    );
    let refused = answer_to_hello(address, [3, 2]);
    // A fatal alert, and nothing else: protocol_version (70).
    assert!(
        matches!(refused.as_slice(), [21, 3, _, 0, 2, 2, 70]),
        "{refused:?}"
    );
    wait_for("the refusal to be counted", || {
        let series = "tell_refused_total{source=\"http\",reason=\"tls_handshake\"}";
        // The hello of TLS 1.2 went no further either.
        (server.metric(series) == 2.0).then_some(())
    });
}

/// What the server says to a ClientHello of this version (RFC 5246 section 7.4.1.2), before the client is
/// gone.
fn answer_to_hello(address: SocketAddr, version: [u8; 2]) -> Vec<u8> {
    let suites = [0, 2, 0xC0, 0x2B]; // ECDHE with ECDSA and AES 128 GCM
    let groups = [0, 10, 0, 4, 0, 2, 0, 23]; // P-256
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3]; // ECDSA with P-256 and SHA-256
    let extensions = [&[0, 16], groups.as_slice(), &signatures].concat();
    let body = [
        version.as_slice(),
        &[7; 32],
        &[0],
        &suites,
        &[1, 0],
        &extensions,
    ]
    .concat();
    let length = body.len() as u8;
    let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], body.as_slice()].concat();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&hello).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    let authority = Authority::new();
    authority.issue("server");
    let (_server, address) = server(&authority, "http", "");
    let mut open = authority.connect(address);
    assert_eq!(post(&mut open).status, 202);
    // Twice, so that the first is not all it can do.
    for _ in 0..2 {
        let before = shown(&authority, address);
        authority.issue("server");
        wait_for("the new certificate", || {
            (shown(&authority, address) != before).then_some(())
        });
    }
    assert_eq!(post(&mut open).status, 202, "an open connection goes on");
}

#[test]
fn a_symlink_that_turns_to_a_new_pair_is_followed() {
    // As Kubernetes does with a secret: the files lead through one directory that is swapped whole.
    let authority = Authority::new();
    for version in ["..1", "..2"] {
        fs::create_dir(authority.path(version)).unwrap();
        authority.issue(&format!("{version}/tls"));
    }
    let turn = |version: &str| {
        symlink(version, authority.path("..new")).unwrap();
        fs::rename(authority.path("..new"), authority.path("..data")).unwrap();
    };
    turn("..1");
    for end in ["pem", "key"] {
        let through = format!("..data/tls.{end}");
        symlink(through, authority.path(&format!("server.{end}"))).unwrap();
    }
    let (_server, address) = server(&authority, "http", "");
    let before = shown(&authority, address);
    turn("..2");
    wait_for("the new certificate", || {
        (shown(&authority, address) != before).then_some(())
    });
}

#[test]
fn files_that_cannot_be_used_keep_the_last_good_pair_and_say_so() {
    let authority = Authority::new();
    authority.issue("server");
    let (server, address) = server(&authority, "http", "");
    let before = shown(&authority, address);
    let good = fs::read(authority.path("server.key")).unwrap();
    authority.issue("other");
    fs::copy(authority.path("other.key"), authority.path("server.key")).unwrap();
    let ready = wait_for("readiness to say it", || {
        let response = server.observe("/ready");
        assert_eq!(response.status, 200, "the server does its work");
        let body = response.json();
        (body["status"] == "degraded").then_some(body)
    });
    assert_eq!(ready["degraded"][0]["component"], "tls");
    assert!(
        !ready.to_string().contains("server.key"),
        "where the files are is nobody's business: {ready}"
    );
    let status = server.observe("/status").json();
    let reason = status["degraded"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("server.key: the private key does not belong to the certificate"),
        "{reason}"
    );
    server.wait_for_log("the last good certificate stays in force");
    assert_eq!(shown(&authority, address), before);
    assert_eq!(
        server.metric("tell_tls_reloads_total{result=\"kept\"}"),
        1.0
    );

    fs::write(authority.path("server.key"), good).unwrap();
    wait_for("the server to be ready again", || {
        (server.observe("/ready").json()["status"] == "ready").then_some(())
    });
    assert_eq!(post(&mut authority.connect(address)).status, 202);
}

#[test]
fn files_that_cannot_be_used_keep_the_server_from_starting() {
    let authority = Authority::new();
    authority.issue("server");
    fs::write(authority.path("server.key"), "no key").unwrap();
    let file = format!(
        "[[listen.syslog_tcp]]\n{LOCAL}{}",
        authority.settings("server")
    );
    fs::write(authority.path("tell.toml"), file).unwrap();
    let mut idle = Setup::new().start();
    idle.stop();
    let config = authority.path("tell.toml");
    let output = idle.tell(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("TLS (listen.syslog_tcp): ") && said.contains("server.key: no private key"),
        "{said}"
    );
}

#[test]
fn a_client_certificate_is_required_where_an_authority_is_named() {
    let authority = Authority::new();
    let stranger = Authority::new();
    for name in ["server", "client"] {
        authority.issue(name);
    }
    stranger.issue("client");
    fs::copy(stranger.path("client.pem"), authority.path("stranger.pem")).unwrap();
    fs::copy(stranger.path("client.key"), authority.path("stranger.key")).unwrap();
    let ca = format!(
        "tls_client_ca = \"{}\"\n",
        authority.path("ca.pem").display()
    );
    let (server, address) = server(&authority, "tcp", &ca);

    for (name, version) in [(None, &TLS12), (None, &TLS13), (Some("stranger"), &TLS13)] {
        let mut stream = connect(address, authority.client(&[version], name));
        // With TLS 1.3 the client is done before the server has judged it.
        let _ = stream.write_all(&event_frame(KEY, "refused"));
        let refused = stream.read(&mut [0]).expect_err("an alert");
        assert!(
            refused.to_string().contains("fatal alert"),
            "{name:?}: {refused}"
        );
    }
    let mut stream = connect(address, authority.client(&[&TLS13], Some("client")));
    stream.write_all(&event_frame(KEY, "welcome")).unwrap();
    let rows = server.wait_for_rows(1, "events", 1);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["name"], "welcome");
}

#[test]
fn a_handshake_that_does_not_come_is_closed_and_holds_its_place_until_then() {
    let authority = Authority::new();
    authority.issue("server");
    let (server, address) = server(&authority, "http", "max_connections = 1\n");
    let started = Instant::now();
    let mut silent = TcpStream::connect(address).unwrap();
    wait_for("the connection to be counted", || {
        let open = server.metric("tell_connections{source=\"http\"}");
        (open == 1.0).then_some(())
    });
    // The listener takes one: the second is closed at once, while the plain one takes more.
    wait_for_close(&mut TcpStream::connect(address).unwrap());
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "not by the timeout"
    );
    assert_eq!(server.http("GET", "/health", &[], b"").status, 200);

    wait_for_close(&mut silent);
    let held = started.elapsed();
    assert!(
        held > Duration::from_secs(9) && held < Duration::from_secs(20),
        "{held:?}"
    );
    wait_for("the place to be free", || {
        let mut stream = authority.connect(address);
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .ok()?;
        stream.read(&mut [0; 64]).ok().filter(|read| *read > 0)
    });
}

#[test]
fn openssl_delivers_syslog_over_tls() {
    let authority = Authority::new();
    authority.issue("server");
    let (server, address) = server(&authority, "syslog_tcp", "");
    let ca = authority.path("ca.pem");
    let mut client = Command::new(program("openssl", "openssl"))
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-servername",
            "localhost",
        ])
        .args([
            "-verify_hostname",
            "localhost",
            "-CAfile",
            ca.to_str().unwrap(),
        ])
        .args(["-connect", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut input = client.stdin.take().unwrap();
    writeln!(
        input,
        "<134>1 - host app - - [tell@32473 key=\"{KEY}\"] by openssl"
    )
    .unwrap();
    let rows = server.wait_for_rows(1, "logs", 1);
    assert_eq!(rows[0]["message"], "by openssl");
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn without_tls_an_open_address_is_warned_of_with_its_setting() {
    let authority = Authority::new();
    authority.issue("server");
    let file = format!(
        "[[listen.http]]\naddress = \"0.0.0.0:0\"\n{}",
        authority.settings("server")
    );
    let server = with_file(&authority.path(""), &file)
        .args(["--tcp", "[::]:0"])
        .start();
    let log = server.log();
    let warnings: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("listening without TLS"))
        .collect();
    assert!(
        matches!(warnings.as_slice(), [one] if one.contains("\"setting\":\"tcp\"")
            && one.contains("[[listen.tcp]]")),
        "{warnings:?}"
    );
    // [::] takes IPv4 as well.
    let address = SocketAddr::from(([127, 0, 0, 1], server.at().tcp.port()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&event_frame(KEY, "over_ipv4")).unwrap();
    let rows = server.wait_for_rows(1, "events", 1);
    assert!(rows[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}
