//! The shapes that real devices send, judged by rsyslogd and syslog-ng: `tests/data/syslog_devices.txt` has the
//! lines and what each reader makes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use jiff::{SignedDuration, Timestamp, ToSpan, ZonedDateTime};
use serde_json::Value;

use crate::harness::{KEY, Server, Setup, program, wait_for};
use crate::syslog_snippets::{Daemon, syslog_ng_command, write};

const ZONE: &str = "Europe/Berlin";

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/syslog_devices.txt");

const READERS: [&str; 3] = ["tell", "rsyslog", "syslog-ng"];

/// What a reader makes of a message: time, host, app, procid and text.
type Columns = [String; 5];

/// One block of the table.
struct Device {
    name: String,
    message: String,
    why: Option<String>,
}

fn read_table() -> (String, Vec<Device>) {
    let text = fs::read_to_string(TABLE).unwrap();
    let (head, blocks) = text.split_once("\n# ").unwrap();
    let devices = blocks.split("\n# ").map(|block| {
        let mut lines = block.lines();
        let name = lines.next().unwrap().to_owned();
        let lines: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(": ")).collect();
        Device {
            name,
            message: lines["message"].to_owned(),
            why: lines.get("why").map(|why| (*why).to_owned()),
        }
    });
    (head.to_owned(), devices.collect())
}

fn write_table(head: &str, devices: &[Device], columns: &[[Columns; 3]]) -> String {
    let mut text = head.to_owned();
    for (device, columns) in devices.iter().zip(columns) {
        write!(text, "\n# {}\nmessage: {}\n", device.name, device.message).unwrap();
        for (reader, columns) in READERS.iter().zip(columns) {
            writeln!(text, "{reader}: {}", columns.join(" | ")).unwrap();
        }
        if let Some(why) = &device.why {
            writeln!(text, "why: {why}").unwrap();
        }
    }
    text
}

/// A day that no time of receipt falls on, and with two digits, which readers that know no better cut alike.
fn day_before() -> ZonedDateTime {
    let mut day = ZonedDateTime::now().in_tz(ZONE).unwrap();
    loop {
        day = day.checked_sub(1.day()).unwrap();
        if day.day() >= 10 {
            return day;
        }
    }
}

/// The message with that day's date.
fn dated(message: &str, date: &ZonedDateTime) -> String {
    [
        ("{date}", "%b %e"),
        ("{date0}", "%b %d"),
        ("{year}", "%Y"),
        ("{weekday}", "%a"),
        ("{isodate}", "%Y-%m-%d"),
        ("{slashdate}", "%Y/%m/%d"),
    ]
    .iter()
    .fold(message.to_owned(), |message, (name, format)| {
        message.replace(name, &date.strftime(format).to_string())
    })
}

fn columns(row: &Value, names: [&str; 5], day: &ZonedDateTime) -> Columns {
    let [time, host, app, procid, message] = names.map(|name| row[name].as_str().unwrap_or("-"));
    let time = time.parse::<Timestamp>().unwrap().in_tz(ZONE).unwrap();
    let time = if time.date() == day.date() {
        // Rows are in milliseconds.
        let millis = time.strftime("%H:%M:%S%.3f").to_string();
        millis.trim_end_matches(".000").to_owned()
    } else if ZonedDateTime::now().duration_since(&time).as_hours().abs() < 1 {
        "receipt".to_owned()
    } else {
        time.to_string()
    };
    let host = match host {
        "localhost" | "127.0.0.1" => "(peer)",
        host => host,
    };
    [&time, host, app, procid, message].map(|column| match column {
        "" => "-".to_owned(),
        column => column.replace('\t', "\\t"),
    })
}

/// A daemon that writes each message it gets as a JSON object on a line of a file.
struct Judge {
    _daemon: Daemon,
    port: u16,
    output: PathBuf,
}

impl Judge {
    fn rows(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A UDP port that nothing is bound to.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn rsyslogd(directory: &Path) -> Judge {
    let port = free_port();
    let output = directory.join("rsyslog.jsonl");
    let property = |name: &str, column: &str, format: &str| {
        format!("property(name=\"{name}\" outname=\"{column}\" format=\"jsonf\" {format})")
    };
    let columns = [
        property("timereported", "time", "dateFormat=\"rfc3339\""),
        property("hostname", "host", ""),
        property("app-name", "app", ""),
        property("procid", "procid", ""),
        property("msg", "message", ""),
    ]
    .join(" constant(value=\",\") ");
    let configuration = format!(
        "global(workDirectory=\"{directory}\" parser.escapeControlCharactersOnReceive=\"off\")\n\
         module(load=\"imudp\")\n\
         template(name=\"json\" type=\"list\") {{ constant(value=\"{{\") {columns} constant(value=\"}}\\n\") }}\n\
         input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n\
         action(type=\"omfile\" file=\"{output}\" template=\"json\")\n",
        directory = directory.display(),
        output = output.display(),
    );
    let file = write(directory, "rsyslog.conf", &configuration);
    let daemon = Daemon::start(
        Command::new(program("rsyslogd", "rsyslog"))
            .args(["-n", "-f"])
            .arg(file)
            .arg("-i")
            .arg(directory.join("rsyslogd.pid"))
            .env("TZ", ZONE),
    );
    Judge {
        _daemon: daemon,
        port,
        output,
    }
}

fn syslog_ng(directory: &Path) -> Judge {
    let port = free_port();
    let output = directory.join("syslog-ng.jsonl");
    let (mut command, version) = syslog_ng_command(directory, "syslog-ng.conf");
    let configuration = format!(
        "@version: {version}\noptions {{ keep-hostname(yes); frac-digits(6); }};\n\
         source s_udp {{ network(ip(\"127.0.0.1\") port({port}) transport(\"udp\") flags(syslog-protocol)); }};\n\
         destination d_json {{ file(\"{}\" template(\"$(format-json --scope none time=$S_ISODATE host=$HOST \
         app=$PROGRAM procid=$PID message=$MSG)\\n\")); }};\n\
         log {{ source(s_udp); destination(d_json); }};\n",
        output.display()
    );
    write(directory, "syslog-ng.conf", &configuration);
    Judge {
        _daemon: Daemon::start(command.env("TZ", ZONE)),
        port,
        output,
    }
}

fn bound_server(directory: &Path) -> Server {
    let config = "[[listen.syslog_udp]]\naddress = \"127.0.0.1:0\"\nworkspace = 7\nallow = [\"127.0.0.0/8\"]\n";
    let config = write(directory, "tell.toml", config);
    Setup::new()
        .env("TZ", ZONE)
        .args(["--config", config.to_str().unwrap()])
        .args(["--syslog-udp", "off"])
        .start()
}

/// Sends until both judges have written as many rows as they got messages, one by one: they keep no order else.
fn send_all(messages: &[String], server: &Server, judges: [&Judge; 2]) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // A datagram that comes before a daemon listens is lost.
    for judge in judges {
        wait_for("the judge to listen", || {
            let hello = b"<13>Jan  1 00:00:00 h hello: hello";
            socket.send_to(hello, ("127.0.0.1", judge.port)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            (!judge.rows().is_empty()).then_some(())
        });
    }
    let before = judges.map(|judge| judge.rows().len());
    for (n, message) in messages.iter().enumerate() {
        let to_tell = server.at().syslog_udp;
        socket.send_to(message.as_bytes(), to_tell).unwrap();
        for (judge, before) in judges.iter().zip(before) {
            let to = ("127.0.0.1", judge.port);
            socket.send_to(message.as_bytes(), to).unwrap();
            wait_for("a judge to write", || {
                (judge.rows().len() > before + n).then_some(())
            });
        }
    }
}

#[test]
fn messages_of_real_devices_are_read_as_rsyslog_and_syslog_ng_read_them() {
    let (head, devices) = read_table();
    assert!(devices.len() >= 60);
    let directory = tempfile::tempdir().unwrap();
    let server = bound_server(directory.path());
    let judges = [rsyslogd(directory.path()), syslog_ng(directory.path())];
    let day = day_before();
    let messages: Vec<String> = devices
        .iter()
        .map(|device| dated(&device.message, &day))
        .collect();
    send_all(&messages, &server, [&judges[0], &judges[1]]);
    let tell = server.wait_for_rows(7, "logs", messages.len());
    assert_eq!(tell.len(), messages.len());
    let [rsyslog, syslog_ng] = judges.map(|judge| {
        let rows = judge.rows();
        rows[rows.len() - messages.len()..].to_vec()
    });
    let names = ["time", "host", "app", "procid", "message"];
    let undated = |text: String| undated(&text, &day);
    let mut found = Vec::new();
    for ((tell, rsyslog), syslog_ng) in tell.iter().zip(&rsyslog).zip(&syslog_ng) {
        let mut rsyslog = columns(rsyslog, names, &day);
        // The space behind the tag is part of its text.
        if rsyslog[2] != "-" || !rsyslog[4].starts_with("  ") {
            let text = rsyslog[4].strip_prefix(' ').map(str::to_owned);
            rsyslog[4] = text.unwrap_or(rsyslog[4].clone());
        }
        let mut syslog_ng = columns(syslog_ng, names, &day);
        if syslog_ng[4].starts_with("Error processing log message") {
            syslog_ng = ["-", "-", "-", "-", "(refused as malformed)"].map(str::to_owned);
        }
        let tell = columns(tell, names, &day);
        found.push([tell, rsyslog, syslog_ng].map(|columns| columns.map(undated)));
    }
    let table = write_table(&head, &devices, &found);
    if env::var_os("TELL_WRITE_DOCS").is_some() {
        fs::write(TABLE, &table).unwrap();
    }
    let alike = |column: &str| if column == "(peer)" { "-" } else { column }.to_owned();
    for (device, [tell, judges @ ..]) in devices.iter().zip(&found) {
        let differs = |judge: &Columns| judge.each_ref().map(|column| alike(column)) != *tell;
        assert_eq!(
            judges.iter().any(differs),
            device.why.is_some(),
            "{}: the table says why where Tell differs from a judge, and only there",
            device.name
        );
    }
    let written = fs::read_to_string(TABLE).unwrap();
    for (written, found) in written.lines().zip(table.lines()) {
        assert_eq!(found, written, "what was found is not what the table says");
    }
    assert_eq!(written, table);
}

/// The other way round, for dates that a reader takes for something else.
fn undated(text: &str, date: &ZonedDateTime) -> String {
    let part = |format: &str| date.strftime(format).to_string();
    let whole = [("{month}", "%b"), ("{day}", "%d"), ("{weekday}", "%a")];
    if let Some((name, _)) = whole.iter().find(|(_, format)| text == part(format)) {
        return (*name).to_owned();
    }
    let text = [
        ("{isodate}", "%Y-%m-%d"),
        ("{slashdate}", "%Y/%m/%d"),
        ("{date}", "%b %e"),
        ("{year}", "%Y"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, format)| {
        text.replace(&part(format), name)
    });
    match text.strip_prefix(&part("%d ")) {
        Some(rest) => format!("{{day}} {rest}"),
        None => text,
    }
}

/// Hours that clocks in a zone are ahead of UTC now.
fn hours_ahead(zone: &str) -> i64 {
    let now = ZonedDateTime::now().in_tz(zone).unwrap();
    i64::from(now.offset().seconds()) / 3600
}

#[test]
fn a_time_without_a_zone_is_in_the_zone_of_its_listener_wherever_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let config = "[[listen.syslog_tcp]]\naddress = \"127.0.0.1:0\"\ntimezone = \"Asia/Tokyo\"\n";
    let config = write(directory.path(), "tell.toml", config);
    let mut server = Setup::new()
        .env("TZ", "America/New_York")
        .args(["--config", config.to_str().unwrap(), "--syslog-tcp", "off"])
        .start();
    // An hour ago, as UTC has it: not at the turn of a day.
    let ago = Timestamp::now() - SignedDuration::from_hours(1);
    let time = ago.strftime("%b %e %H:%M:%S").to_string();
    let message = format!("<13>{time} host1 {KEY} app[3]: text");
    let mut stream = TcpStream::connect(server.at().syslog_tcp).unwrap();
    stream.write_all(format!("{message}\n").as_bytes()).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = server.at().syslog_udp;
    socket.send_to(message.as_bytes(), to).unwrap();
    let with_zone = format!("{KEY} <13>1 2026-01-02T03:04:05+01:00 h a - - - utc");
    socket.send_to(with_zone.as_bytes(), to).unwrap();

    let rows = server.wait_for_rows(1, "logs", 3);
    let of = |source: &str, message: &str| {
        let is_it = |row: &&Value| row["source"] == source && row["message"] == message;
        let row = rows.iter().find(is_it).expect("the row");
        let time: Timestamp = row["time"].as_str().unwrap().parse().unwrap();
        time.as_second()
    };
    for (source, zone) in [
        ("syslog_tcp", "Asia/Tokyo"),
        ("syslog_udp", "America/New_York"),
    ] {
        let expected = ago.as_second() - 3600 * hours_ahead(zone);
        assert_eq!(of(source, "text"), expected, "{source}: {rows:?}");
    }
    assert_eq!(of("syslog_udp", "utc"), 1_767_319_445);

    // The zone is in the record: another one at the time of reading changes nothing.
    server.stop();
    let output = server
        .command()
        .env("TZ", "Pacific/Auckland")
        .args(["export", "--workspace", "1", "--table", "logs"])
        .output()
        .unwrap();
    let again: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(again, rows);
}
