//! Finds the running server of a data directory and asks it, over its listener for metrics.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::program::{plain_http, reachable};
use crate::control::config::Config;
use crate::limits;
use crate::origin::Source;
use crate::server::running::{self, Running};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
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

impl ClientError {
    /// One word for programs.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NotRunning(_) => "not_running",
            Self::NotYet(_) => "starting_or_stopping",
            Self::NoListener(_) => "no_metrics_listener",
            Self::NoAnswer { .. } => "no_answer",
            Self::DataDirectory { .. } => "not_readable",
        }
    }
}

/// A running server that can be asked.
#[derive(Debug)]
pub(super) struct Client {
    pid: u32,
    address: String,
}

impl Client {
    /// Finds the server of a data directory.
    pub(super) fn find(data_dir: &Path) -> Result<Self, ClientError> {
        let running = running(data_dir)?.ok_or_else(|| ClientError::NotYet(data_dir.to_owned()))?;
        let metrics = running.listeners.into_iter().find(|l| l.name == "metrics");
        match metrics {
            Some(listener) => Ok(Self {
                pid: running.pid,
                address: listener.address,
            }),
            None => Err(ClientError::NoListener(running.pid)),
        }
    }

    /// Asks for a path. Returns the answer as it came and as what it says; `pid_of` finds in that the process
    /// that answered, which has to be the one that has the data directory.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        pid_of: impl FnOnce(&T) -> u32,
    ) -> Result<(String, T), ClientError> {
        fetch(&self.address, path)
            .and_then(|body| {
                let answer: T = serde_json::from_str(&body)?;
                if pid_of(&answer) != self.pid {
                    return Err(io::Error::other("another process answers there"));
                }
                Ok((body, answer))
            })
            .map_err(|error| ClientError::NoAnswer {
                pid: self.pid,
                address: self.address.clone(),
                error,
            })
    }
}

/// What the server that has the data directory says of itself; `None` while it starts or stops.
pub(super) fn running(data_dir: &Path) -> Result<Option<Running>, ClientError> {
    let unreadable = |error| ClientError::DataDirectory {
        path: data_dir.to_owned(),
        error,
    };
    // A server that was killed leaves its file behind, but not its lock.
    if !running::is_locked(data_dir).map_err(unreadable)? {
        return Err(ClientError::NotRunning(data_dir.to_owned()));
    }
    Running::read(data_dir).map_err(unreadable)
}

/// Where a first event can be sent to without TLS: to the running server, else to where one would listen.
pub(super) fn http_address(config: &Config) -> Option<SocketAddr> {
    let secured: Vec<u16> = config
        .listeners
        .iter()
        .filter(|listener| listener.source == Source::Http)
        .filter(|listener| listener.tls.is_some() || listener.proxy_protocol)
        .map(|listener| listener.address.port())
        .collect();
    let running = running(&config.files.data_dir).ok().flatten();
    let bound = running.and_then(|running| {
        running
            .listeners
            .iter()
            .filter(|listener| listener.name == Source::Http.as_str())
            .filter_map(|listener| listener.address.parse::<SocketAddr>().ok())
            .find(|address| !secured.contains(&address.port()))
    });
    bound.map(reachable).or_else(|| plain_http(config))
}

/// One request in the plainest HTTP there is.
fn fetch(address: &str, path: &str) -> io::Result<String> {
    let address = reachable(address.parse().map_err(io::Error::other)?);
    let mut stream = TcpStream::connect_timeout(&address, limits::STATUS_TIMEOUT)?;
    stream.set_read_timeout(Some(limits::STATUS_TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
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
