//! The log: events of `tracing` as lines on standard error.
//!
//! Text or JSON, times in RFC 3339 and UTC, never coloured (the log is read by programs as often as
//! by people). What must not be logged is the business of those who log.
//!
//! Lines go through a queue to a thread of their own, which alone may wait for standard error or fail to write to
//! it: nothing that serves depends on a line being written.

mod queue;

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

use queue::Queue;

use super::config::LogFormat;

/// The queue of the process' log, once it was started.
static QUEUE: OnceLock<Queue> = OnceLock::new();

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The process has a log already.
    #[error(transparent)]
    Started(#[from] SetGlobalDefaultError),
    /// The thread that writes cannot be started.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(io::Error),
}

/// Starts the log of the process. Panics are logged too, instead of being printed.
pub fn start(format: LogFormat, level: Level) -> Result<(), LoggingError> {
    let queue = QUEUE.get_or_init(Queue::new);
    tracing::subscriber::set_global_default(subscriber(format, level, move || OneLine(queue)))?;
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            queue.write_to(io::stderr(), |lost| {
                tracing::warn!(
                    lost,
                    "log lines were lost: standard error did not take them"
                );
            });
        })
        .map_err(LoggingError::Thread)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Lines that were lost since the start.
pub fn lost_lines() -> u64 {
    QUEUE.get().map_or(0, Queue::lost)
}

/// Panics since the start, on whatever thread or task.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Waits until what was logged is written, but not for longer than this: before the process exits.
pub fn flush(patience: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(patience);
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let thread = std::thread::current();
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        thread = thread.name().unwrap_or_default(),
        location = location.unwrap_or_default(),
        "panic: {}",
        panic.payload_as_str().unwrap_or("without a message")
    );
}

fn subscriber<W>(format: LogFormat, level: Level, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        // What fails would be printed to standard error, by a macro that panics where that fails too.
        .log_internal_errors(false)
        .with_writer(writer);
    match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        ),
    }
}

/// Where finished lines go.
trait Lines {
    fn take(&mut self, line: Vec<u8>);
}

impl Lines for &Queue {
    fn take(&mut self, line: Vec<u8>) {
        self.push(line);
    }
}

/// Hands an event on as one line: line ends and other control characters inside it, which may come from
/// the network, are escaped, so that no sender can forge a line of the log.
///
/// The formatter hands over each event, with its line end, in one call.
struct OneLine<L>(L);

impl<L: Lines> Write for OneLine<L> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        let mut escaped = Vec::with_capacity(event.len() + 16);
        for byte in line {
            if byte.is_ascii_control() {
                escaped.extend(byte.escape_ascii());
            } else {
                escaped.push(*byte);
            }
        }
        escaped.push(b'\n');
        self.0.take(escaped);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Lines for Sink {
        fn take(&mut self, line: Vec<u8>) {
            self.0.lock().unwrap().extend_from_slice(&line);
        }
    }

    fn logged(format: LogFormat, level: Level, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(format, level, move || OneLine(writer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_has_the_time_in_utc_the_level_and_the_fields() {
        let line = logged(LogFormat::Text, Level::INFO, || {
            tracing::info!(port = 50000, "ready")
        });
        let time = line.split(' ').next().unwrap();
        assert!(
            time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok(),
            "{line}"
        );
        assert!(
            line.contains(" INFO ") && line.contains("ready") && line.contains("port=50000"),
            "{line}"
        );
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        let line = logged(LogFormat::Json, Level::INFO, || {
            tracing::warn!(port = 50000, "ready")
        });
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["level"], "WARN");
        assert_eq!(event["message"], "ready");
        assert_eq!(event["port"], 50000);
        assert!(chrono::DateTime::parse_from_rfc3339(event["timestamp"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn what_is_less_severe_than_the_level_is_not_logged() {
        let lines = logged(LogFormat::Text, Level::WARN, || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        });
        assert!(
            !lines.contains("quiet") && lines.contains("loud"),
            "{lines}"
        );
    }

    #[test]
    fn a_field_cannot_forge_a_line() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let hostile = "x\n2030-01-01T00:00:00Z ERROR forged\r\u{1b}[31m";
            let lines = logged(
                format,
                Level::INFO,
                || tracing::info!(name = %hostile, "{hostile}"),
            );
            assert_eq!(lines.lines().count(), 1, "{lines:?}");
            assert!(
                !lines
                    .trim_end_matches('\n')
                    .bytes()
                    .any(|byte| byte.is_ascii_control()),
                "{lines:?}"
            );
        }
    }
}
