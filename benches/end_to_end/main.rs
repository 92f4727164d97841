//! The release server over real sockets: what it takes in, and what that costs it.
//!
//! `cargo bench --bench end_to_end [-- FILTER]` starts the server and drives it from threads of this
//! process; the yardsticks run in the same run, each in a process of its own so that its CPU can be
//! told apart: a bare receiver that reads and discards (the limit for receiving), a bare writer that
//! appends and syncs the same bytes past the page cache (the limit for keeping), and a bare `hyper` server
//! that reads the body and answers 202 (the limit for HTTP). For syslog there are also `rsyslogd` and
//! `syslog-ng`, if they are installed.
//!
//! What is no throughput follows in a second table: latencies, and the server's start, rest and recovery.
//!
//! Load and server share the machine: wall-clock figures say little, CPU per event and per GB is what to
//! compare, and only within one run. CPU is read from `/proc/PID/stat`, in ticks of 10 ms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod disk;
mod figure;
mod figures;
mod latency;
mod lifecycle;
mod load;
mod others;
mod process;
mod protocol;
#[path = "../sample/mod.rs"]
mod sample;
mod yardstick;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use load::Load;
use others::{Daemon, Tuning};
use process::{Process, Setup};
use protocol::Protocol;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let filter = arguments.next().unwrap_or_default();
    if let Some(role) = filter.strip_prefix(yardstick::ARGUMENT) {
        return yardstick::run(role, arguments.next().as_deref());
    }
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.name.contains(&filter))
        .collect();
    if !cases.is_empty() {
        println!(
            "{:<48}{:>10}{:>12}{:>10}{:>12}{:>10}{:>9}",
            "load", "events", "events/s", "MB/s", "CPU ns/ev", "CPU s/GB", "RSS MB"
        );
    }
    for case in cases {
        case.run();
    }
    figures::run(&filter);
}

/// One line of the table.
struct Case {
    name: String,
    target: Target,
    load: Load,
}

/// What the load is sent to.
enum Target {
    Server(Setup),
    Receiver,
    Hyper,
    Writer,
    Other(Daemon, Tuning),
}

impl Case {
    fn new(name: impl Into<String>, target: Target, load: Load) -> Self {
        Self {
            name: name.into(),
            target,
            load,
        }
    }

    fn run(self) {
        let mut process = match &self.target {
            Target::Server(setup) => Process::server(setup),
            Target::Receiver => Process::yardstick("receiver"),
            Target::Hyper => Process::yardstick("hyper"),
            Target::Writer => return self.run_writer(),
            Target::Other(daemon, tuning) => match daemon.start(*tuning) {
                Ok(process) => process,
                Err(why) => return println!("{:<48}ERROR: not measured: {why}", self.name),
            },
        };
        let senders = self.load.prepare(process.address(self.load.protocol));
        // Starting and accepting connections is not what is measured.
        process.wait_until_quiet();
        let before = process.cpu_seconds();
        let start = Instant::now();
        let mut sent = load::run(senders, &AtomicBool::new(false));
        if let Target::Other(..) = self.target {
            // It has taken them from the socket, and may not have looked at them.
            let kept = others::wait_for_messages(&mut process, sent.events);
            sent.errors += sent.events.abs_diff(kept);
        }
        let seconds = start.elapsed().as_secs_f64();
        // What the server still has in its hands is its work too.
        process.wait_until_quiet();
        let cpu = process.cpu_seconds() - before;
        self.print(&sent, seconds, cpu, process.peak_resident_mb());
        if let (Protocol::SyslogUdp, Target::Server(_)) = (self.load.protocol, &self.target) {
            let [by_kernel, by_server] = process.dropped_datagrams();
            let kept = process.events_kept();
            println!(
                "    of {} datagrams {kept} were kept, {by_kernel} dropped by the kernel, {by_server} by the server, {} lost without account",
                sent.events,
                sent.events as i64 - (kept + by_kernel + by_server) as i64
            );
        }
        if sent.errors > 0 {
            println!(
                "    ERROR: {} requests, connections or messages failed",
                sent.errors
            );
        }
    }

    /// The writer generates its bytes itself; what is measured is its whole life.
    fn run_writer(&self) {
        let bytes = self.load.bytes();
        let start = Instant::now();
        let (cpu, peak) = process::run_writer(bytes);
        let sent = load::Sent {
            events: self.load.events,
            bytes,
            errors: 0,
        };
        self.print(&sent, start.elapsed().as_secs_f64(), cpu, peak);
    }

    fn print(&self, sent: &load::Sent, seconds: f64, cpu: f64, peak_mb: f64) {
        let (events, bytes) = (sent.events as f64, sent.bytes as f64);
        println!(
            "{:<48}{:>10}{:>12.0}{:>10.1}{:>12.1}{:>10.3}{:>9.1}",
            self.name,
            sent.events,
            events / seconds,
            bytes / seconds / 1e6,
            cpu * 1e9 / events,
            cpu / (bytes / 1e9),
            peak_mb
        );
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let server = || Target::Server(Setup::default());
    for (batch, events) in [
        (1, 2_000_000),
        (3, 4_000_000),
        (10, 5_000_000),
        (100, 10_000_000),
        (500, 10_000_000),
    ] {
        let load = Load::new(Protocol::Tcp, batch, events);
        cases.push(Case::new(format!("tcp batch {batch}"), server(), load));
        cases.push(Case::new(
            format!("tcp batch {batch}: bare receiver"),
            Target::Receiver,
            load,
        ));
        cases.push(Case::new(
            format!("tcp batch {batch}: bare writer"),
            Target::Writer,
            load,
        ));
    }
    for (name, protocol) in [
        ("http fbs", Protocol::HttpBatch),
        ("http json", Protocol::HttpJson),
    ] {
        for (batch, events) in [
            (1, 20_000),
            (10, 200_000),
            (100, 1_000_000),
            (500, 2_000_000),
        ] {
            let load = Load::new(protocol, batch, events);
            cases.push(Case::new(format!("{name} batch {batch}"), server(), load));
            cases.push(Case::new(
                format!("{name} batch {batch}: bare hyper"),
                Target::Hyper,
                load,
            ));
        }
    }
    // A commit is shared by all who wait at the same time.
    for (name, protocol, batch, events) in [
        ("http fbs", Protocol::HttpBatch, 1, 100_000),
        ("http fbs", Protocol::HttpBatch, 100, 2_000_000),
        ("http json", Protocol::HttpJson, 100, 1_000_000),
    ] {
        let name = format!("{name} batch {batch}, 64 connections");
        let load = Load {
            connections: 64,
            ..Load::new(protocol, batch, events)
        };
        let hyper = format!("{name}: bare hyper");
        cases.push(Case::new(name, server(), load));
        cases.push(Case::new(hyper, Target::Hyper, load));
    }
    let syslog = Load::new(Protocol::SyslogTcp, 100, 5_000_000);
    cases.push(Case::new("syslog tcp", server(), syslog));
    cases.push(Case::new(
        "syslog tcp: bare receiver",
        Target::Receiver,
        syslog,
    ));
    for daemon in [Daemon::Rsyslogd, Daemon::SyslogNg] {
        for (tuning, events) in [(Tuning::Plain, 1_000_000), (Tuning::Fast, 2_000_000)] {
            cases.push(Case::new(
                format!("syslog tcp: {}, {}", daemon.name(), tuning.name()),
                Target::Other(daemon, tuning),
                Load::new(Protocol::PlainSyslogTcp, 100, events),
            ));
        }
    }
    for (name, rate, events) in [
        ("at 50000/s", 50_000, 200_000),
        ("at 200000/s", 200_000, 800_000),
        ("unbounded", 0, 4_000_000),
    ] {
        let load = Load {
            rate,
            // Only with several senders more is sent than can be taken.
            connections: if rate == 0 { 4 } else { 1 },
            ..Load::new(Protocol::SyslogUdp, 1, events)
        };
        let setup = Setup {
            metrics: true,
            ..Setup::default()
        };
        cases.push(Case::new(
            format!("syslog udp {name}"),
            Target::Server(setup),
            load,
        ));
    }
    let tcp = Load::new(Protocol::Tcp, 10, 20_000_000);
    for connections in [1, 100, 10_000] {
        let load = Load { connections, ..tcp };
        cases.push(Case::new(
            format!("tcp batch 10, {connections} connections"),
            server(),
            load,
        ));
    }
    for workspaces in [1, 10_000] {
        let setup = Setup {
            keys: workspaces,
            ..Setup::default()
        };
        let load = Load {
            keys: workspaces,
            ..tcp
        };
        cases.push(Case::new(
            format!("tcp batch 10, {workspaces} workspaces"),
            Target::Server(setup),
            load,
        ));
    }
    for keys in [1, 1_000_000] {
        let setup = Setup {
            keys,
            ..Setup::default()
        };
        for used in [1, keys] {
            let load = Load {
                keys: used,
                ..Load::new(Protocol::Tcp, 1, 2_000_000)
            };
            cases.push(Case::new(
                format!("tcp batch 1, {keys} keys, {used} used"),
                Target::Server(setup.clone()),
                load,
            ));
            if keys == 1 {
                break;
            }
        }
    }
    cases
}
