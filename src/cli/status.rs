//! `tell status`: how the running server is, asked over its listener for metrics.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Error;
use crate::control::config::Config;
use crate::limits;
use crate::server::running::{self, Running};
use crate::server::status::{JournalReport, Report, SourceReport};

/// Show whether the server is ready, and what comes in
#[derive(Debug, Args)]
pub struct Status {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody has the data directory.
    #[error("no server runs with data directory {0}; start one with: tell serve")]
    NotRunning(PathBuf),
    /// Somebody has it, who does not say where to ask.
    #[error("the server of data directory {0} is starting or stopping")]
    NotYet(PathBuf),
    /// It is not meant to be asked.
    #[error("the server (process {0}) has no listener for metrics to ask; set metrics")]
    NoListener(u32),
    /// It does not answer.
    #[error("the server (process {pid}) does not answer on {address}: {error}")]
    NoAnswer {
        /// Its process.
        pid: u32,
        /// Its listener for metrics.
        address: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The files cannot be read.
    #[error("data directory {path}: {error}")]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
}

impl Status {
    /// Prints the report to standard output.
    pub fn run(&self, config: &Config) -> Result<(), Error> {
        let (body, report) = ask(&config.files.data_dir)?;
        let mut out = io::stdout().lock();
        let printed = if self.json {
            writeln!(out, "{body}")
        } else {
            print(&mut out, &report)
        };
        printed.map_err(Error::Output)
    }
}

/// Finds the server of the data directory and asks it.
fn ask(data_dir: &Path) -> Result<(String, Report), StatusError> {
    let unreadable = |error| StatusError::DataDirectory {
        path: data_dir.to_owned(),
        error,
    };
    // A server that was killed leaves its file behind, but not its lock.
    if !running::is_locked(data_dir).map_err(unreadable)? {
        return Err(StatusError::NotRunning(data_dir.to_owned()));
    }
    let Some(running) = Running::read(data_dir).map_err(unreadable)? else {
        return Err(StatusError::NotYet(data_dir.to_owned()));
    };
    let metrics = running.listeners.iter().find(|l| l.name == "metrics");
    let address = match metrics {
        Some(listener) => &listener.address,
        None => return Err(StatusError::NoListener(running.pid)),
    };
    fetch(address)
        .and_then(|body| {
            let report: Report = serde_json::from_str(&body)?;
            if report.pid != running.pid {
                return Err(io::Error::other("another process answers there"));
            }
            Ok((body, report))
        })
        .map_err(|error| StatusError::NoAnswer {
            pid: running.pid,
            address: address.clone(),
            error,
        })
}

/// One request in the plainest HTTP there is.
fn fetch(address: &str) -> io::Result<String> {
    let address = reachable(address.parse().map_err(io::Error::other)?);
    let mut stream = TcpStream::connect_timeout(&address, limits::STATUS_TIMEOUT)?;
    stream.set_read_timeout(Some(limits::STATUS_TIMEOUT))?;
    write!(
        stream,
        "GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    match response.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!(
            "it says {:?}",
            response.lines().next().unwrap_or_default()
        ))),
    }
}

/// Who listens on all addresses is asked on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(
        out,
        "tell {}, process {}, up {}",
        report.version,
        report.pid,
        show_seconds(report.uptime_s)
    )?;
    if report.ready {
        writeln!(out, "ready")?;
    } else {
        writeln!(out, "NOT READY")?;
    }
    for reason in &report.reasons {
        for line in reason.reason.lines() {
            writeln!(out, "  {}: {line}", reason.component)?;
        }
    }
    print_sources(out, report)?;
    print_journal(out, &report.journal)?;
    writeln!(out, "keys      {} in force", report.keys)?;
    if !report.busiest_keys.is_empty() {
        writeln!(
            out,
            "\n{:<20}{:<24}{:>12}{:>16}",
            "BUSIEST KEYS", "NAME", "WORKSPACE", "EVENTS"
        )?;
    }
    for key in &report.busiest_keys {
        writeln!(
            out,
            "{:<20}{:<24}{:>12}{:>16}",
            key.key_id,
            key.name.as_deref().unwrap_or("-"),
            key.workspace,
            key.events
        )?;
    }
    if !report.busiest_workspaces.is_empty() {
        writeln!(out, "\n{:<20}{:>16}", "BUSIEST WORKSPACES", "EVENTS")?;
    }
    for of in &report.busiest_workspaces {
        writeln!(out, "{:<20}{:>16}", of.workspace, of.events)?;
    }
    Ok(())
}

fn print_sources(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<12}{:<24}{:>12}{:>14}{:>12}{:>12}{:>14}{:>10}",
        "LISTENER", "ADDRESS", "CONNECTIONS", "EVENTS", "EVENTS/S", "BYTES", "BYTES/S", "REFUSED"
    )?;
    let mut sources: Vec<&SourceReport> = report.sources.iter().collect();
    for listener in &report.listeners {
        // What came in is counted by the kind of listener: shown once, where there are several of a kind.
        let source = sources.iter().position(|d| d.source == listener.name);
        match source.map(|source| sources.remove(source)) {
            Some(source) => {
                write!(out, "{:<12}{:<24}", listener.name, listener.address)?;
                print_source(out, source)?;
            }
            None => writeln!(out, "{:<12}{}", listener.name, listener.address)?,
        }
    }
    writeln!(out, "(a second: over the last {} s)\n", report.rates_over_s)
}

fn print_source(out: &mut impl Write, source: &SourceReport) -> io::Result<()> {
    writeln!(
        out,
        "{:>12}{:>14}{:>12}{:>12}{:>14}{:>10}",
        source.connections,
        source.events,
        source.events_per_s.round(),
        show_bytes(source.bytes),
        show_bytes(source.bytes_per_s as u64),
        source.refused
    )
}

fn print_journal(out: &mut impl Write, journal: &JournalReport) -> io::Result<()> {
    let unknown = || "unknown".to_owned();
    writeln!(
        out,
        "journal   {} in {} segments, {} left (journal_limit: {}), {} queued",
        show_bytes(journal.disk_bytes),
        journal
            .segments
            .map_or_else(unknown, |segments| segments.to_string()),
        journal.left_bytes.map_or_else(unknown, show_bytes),
        journal
            .limit_bytes
            .map_or_else(|| "auto".to_owned(), show_bytes),
        show_bytes(journal.queued_bytes)
    )
}

/// For reading, not for calculating: at most four digits.
fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit != "B" && value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

fn show_seconds(seconds: f64) -> String {
    let seconds = seconds as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_are_shown_in_units_that_one_can_read() {
        let shown = [0, 999, 1000, 1536, 70_000_000, u64::MAX].map(show_bytes);
        assert_eq!(
            shown,
            [
                "0 B",
                "999 B",
                "1.0 KiB",
                "1.5 KiB",
                "67 MiB",
                "16777216 TiB"
            ]
        );
        let shown = [0.4, 61.0, 3_600.0, 90_000.0].map(show_seconds);
        assert_eq!(shown, ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }

    #[test]
    fn a_server_on_all_addresses_is_asked_on_the_loopback_one() {
        let asked = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(asked("[::]:9464"), "[::1]:9464");
        assert_eq!(asked("192.0.2.7:9464"), "192.0.2.7:9464");
    }
}
