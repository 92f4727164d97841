//! The second table: what is no throughput.

use std::time::Duration;

use super::{latency, lifecycle};

/// One line of it.
pub struct Figure {
    pub what: String,
    pub measured: String,
    /// What it is compared with, or what else there is to know.
    pub yardstick: String,
    pub ratio: Option<f64>,
}

impl Figure {
    fn print(&self) {
        let ratio = self.ratio.map(|ratio| format!("{ratio:.2}"));
        println!(
            "{:<60}{:>22}{:>50}{:>9}",
            self.what,
            self.measured,
            self.yardstick,
            ratio.unwrap_or_default()
        );
    }
}

/// What the filter picks, and what yields its lines.
type Source = (&'static str, fn() -> Vec<Figure>);

const SOURCES: &[Source] = &[
    ("latency: idle", latency::idle),
    ("latency: under load", latency::under_load),
    ("export", lifecycle::export),
    ("idle server", lifecycle::idle),
    ("start", lifecycle::starts),
    ("recovery", lifecycle::recovery),
];

/// Measures and prints those that the filter picks.
pub fn run(filter: &str) {
    let mut sources = SOURCES
        .iter()
        .filter(|(name, _)| name.contains(filter))
        .peekable();
    if sources.peek().is_some() {
        println!(
            "\n{:<60}{:>22}{:>50}{:>9}",
            "what", "measured", "yardstick", "ratio"
        );
    }
    for (_, source) in sources {
        source().iter().for_each(Figure::print);
    }
}

pub fn milliseconds(took: Duration) -> String {
    format!("{:.3} ms", took.as_secs_f64() * 1e3)
}

pub fn seconds(took: Duration) -> String {
    format!("{:.3} s", took.as_secs_f64())
}
