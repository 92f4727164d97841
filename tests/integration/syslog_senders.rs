//! The syslog senders of a Debian system: `logger` (bsdutils) and `rsyslogd` (rsyslog).

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{KEY, KEY_2, Server, program, wait_for};
use crate::secrets::assert_no_key_kept;

/// Sends one message with the real `logger`.
fn logger(to: SocketAddr, key: &str, args: &[&str], message: &str) {
    let status = Command::new(program("logger", "bsdutils"))
        .args(["--server", &to.ip().to_string()])
        .args(["--port", &to.port().to_string()])
        .args(["--rfc5424", "--sd-id", "tell@32473"])
        .args(["--sd-param", &format!("key=\"{key}\"")])
        .args(["--tag", "backup", "--id=4711", "--msgid", "DONE"])
        .args(["--priority", "local3.warning"])
        .args(args)
        .args(["--", message])
        .status()
        .expect("logger runs");
    assert!(status.success(), "logger {args:?}");
}

#[test]
fn logger_delivers_over_tcp_in_both_framings_and_over_udp() {
    let server = Server::new();
    let at = server.at();
    for (to, key, args, message) in [
        (at.syslog_tcp, KEY, &["--tcp"][..], "by newline"),
        (at.syslog_tcp, KEY, &["--tcp", "--octet-count"], "by count"),
        (at.syslog_tcp, KEY_2, &["--tcp"], "of two"),
        (at.syslog_udp, KEY, &["--udp"], "by datagram"),
    ] {
        logger(to, key, args, message);
    }
    let rows = server.wait_for_rows(1, "logs", 3);
    for message in ["by newline", "by count", "by datagram"] {
        let row = rows
            .iter()
            .find(|row| row["message"] == message)
            .unwrap_or_else(|| panic!("{message}: {rows:?}"));
        let source = if message == "by datagram" {
            "syslog_udp"
        } else {
            "syslog_tcp"
        };
        for (column, expected) in [
            ("source", source),
            ("type", "log"),
            ("level", "warning"),
            ("facility", "local3"),
            ("app", "backup"),
            ("service", "backup"),
            ("procid", "4711"),
            ("msgid", "DONE"),
        ] {
            assert_eq!(row[column], expected, "{column} of {row}");
        }
        assert!(row["host"].is_string(), "{row}");
        // What logger adds by itself stays, the element that held the key is gone.
        assert!(row["structured_data"]["timeQuality"].is_object(), "{row}");
        assert!(row["structured_data"].get("tell@32473").is_none(), "{row}");
    }
    let rows = server.wait_for_rows(2, "logs", 1);
    assert_eq!(rows[0]["message"], "of two");
    assert_eq!(rows.len(), 1);
    assert_no_key_kept(&server, &[KEY, KEY_2]);
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An rsyslogd with a configuration of its own, killed when it is dropped.
struct Rsyslogd {
    child: Child,
}

impl Rsyslogd {
    fn start(directory: &Path, configuration: &str) -> Self {
        let file = directory.join("rsyslog.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new(program("rsyslogd", "rsyslog"))
            .arg("-n")
            .arg("-f")
            .arg(&file)
            .arg("-i")
            .arg(directory.join("rsyslogd.pid"))
            .stdin(Stdio::null())
            .spawn()
            .expect("rsyslogd runs");
        Self { child }
    }

    fn wait_for_input(&mut self, port: u16) -> TcpStream {
        wait_for("rsyslogd to listen", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("rsyslogd ended at its start: {status}");
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an operator writes to forward to Tell: the key in a template, three ways to send.
fn configuration(directory: &Path, server: &Server, input: u16, udp_input: u16) -> String {
    let at = server.at();
    let directory = directory.display();
    let template = |name: &str, key: &str| {
        format!(
            "template(name=\"{name}\" type=\"string\" string=\"<%PRI%>1 %TIMESTAMP:::date-rfc3339% \
             %HOSTNAME% %APP-NAME% %PROCID% %MSGID% [tell@32473 key=\\\"{key}\\\"] %msg:::drop-last-lf%\")\n"
        )
    };
    let forward = |port: u16, rest: &str| {
        format!("action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" {rest})\n")
    };
    [
        format!("global(workDirectory=\"{directory}\" maxMessageSize=\"64k\")\n"),
        "module(load=\"imtcp\")\nmodule(load=\"imudp\")\n".to_owned(),
        template("one", KEY),
        template("two", KEY_2),
        "ruleset(name=\"tcp\") {\n".to_owned(),
        forward(
            at.syslog_tcp.port(),
            "protocol=\"tcp\" template=\"one\" tcp_framing=\"octet-counted\"",
        ),
        forward(at.syslog_tcp.port(), "protocol=\"tcp\" template=\"two\""),
        "}\nruleset(name=\"udp\") {\n".to_owned(),
        forward(at.syslog_udp.port(), "protocol=\"udp\" template=\"one\""),
        "}\n".to_owned(),
        format!("input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{input}\" ruleset=\"tcp\")\n"),
        format!(
            "input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp_input}\" ruleset=\"udp\")\n"
        ),
    ]
    .concat()
}

#[test]
fn rsyslogd_forwards_over_tcp_in_both_framings_and_over_udp() {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let (input, udp_input) = (free_port(), free_port());
    let configuration = configuration(directory.path(), &server, input, udp_input);
    let mut rsyslogd = Rsyslogd::start(directory.path(), &configuration);

    let mut stream = rsyslogd.wait_for_input(input);
    let message = |text: &str| {
        format!("<27>1 2026-01-02T03:04:05.678901+01:00 web01 cron 815 RUN - {text}\n")
    };
    for n in 0..100 {
        let line = message(&format!("over tcp {n}"));
        stream.write_all(line.as_bytes()).unwrap();
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], udp_input));
    socket.send_to(message("over udp").as_bytes(), to).unwrap();

    let rows = server.wait_for_rows(1, "logs", 101);
    let (over_udp, over_tcp): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row["source"] == "syslog_udp");
    let rows_of_two = server.wait_for_rows(2, "logs", 100);
    assert_eq!((over_udp.len(), over_tcp.len()), (1, 100));
    assert_eq!(rows_of_two.len(), 100);
    for (n, row) in over_tcp.into_iter().enumerate() {
        assert_eq!(row["message"], format!("over tcp {n}"));
    }
    for (n, row) in rows_of_two.iter().enumerate() {
        assert_eq!(row["message"], format!("over tcp {n}"));
    }
    assert_eq!(over_udp[0]["message"], "over udp");
    for row in [over_udp[0], &rows_of_two[0], &rows_of_two[99]] {
        for (column, expected) in [
            ("time", "2026-01-02T02:04:05.678Z"),
            ("level", "error"),
            ("facility", "daemon"),
            ("host", "web01"),
            ("app", "cron"),
            ("procid", "815"),
            ("msgid", "RUN"),
        ] {
            assert_eq!(row[column], expected, "{column} of {row}");
        }
        assert!(row["structured_data"].is_null(), "{row}");
    }
    assert_no_key_kept(&server, &[KEY, KEY_2]);
}
