//! The second table: what is no throughput.

use super::figure::Figure;
use super::{latency, lifecycle};

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
