//! A line of the second table, and how it writes times.

use std::time::Duration;

/// One line of the table.
pub struct Figure {
    pub what: String,
    pub measured: String,
    /// What it is compared with, or what else there is to know.
    pub yardstick: String,
    pub ratio: Option<f64>,
}

impl Figure {
    pub fn print(&self) {
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

pub fn milliseconds(took: Duration) -> String {
    format!("{:.3} ms", took.as_secs_f64() * 1e3)
}

pub fn seconds(took: Duration) -> String {
    format!("{:.3} s", took.as_secs_f64())
}
