//! Numbers as people read them: counts in groups of three digits, sizes and times in a unit that fits. Every
//! command shows them in this form; JSON has the plain numbers.

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and what is counted: `1 key`, `2 keys`.
pub(super) fn counted(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", grouped(number))
}

/// For reading, not for calculating: at most four digits.
pub(super) fn sized(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
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

/// A time that passed, in its two largest units.
pub(super) fn lasted(seconds: f64) -> String {
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
    fn counts_are_grouped_by_thousands() {
        let shown = [0, 999, 1000, 1_234_567, u64::MAX].map(grouped);
        let expected = [
            "0",
            "999",
            "1,000",
            "1,234,567",
            "18,446,744,073,709,551,615",
        ];
        assert_eq!(shown, expected);
        assert_eq!(counted(1, "key"), "1 key");
        assert_eq!(counted(2000, "key"), "2,000 keys");
    }

    #[test]
    fn sizes_and_times_are_shown_in_units_that_one_can_read() {
        let shown = [0, 999, 1000, 1536, 70_000_000, 522_244 << 10, u64::MAX].map(sized);
        assert_eq!(
            shown,
            [
                "0 B", "999 B", "1.0 KiB", "1.5 KiB", "67 MiB", "510 MiB", "16 EiB"
            ]
        );
        let shown = [0.4, 61.0, 3_600.0, 90_000.0].map(lasted);
        assert_eq!(shown, ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }
}
