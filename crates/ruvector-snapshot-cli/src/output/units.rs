//! Numbers, sizes and rates in words.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

/// Formats a size in binary units.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { BinaryBytes(bytes).to_string() }
}

/// Adds sizes. What a server claims may be more than a number holds.
pub(crate) fn total(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

/// Formats a number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Formats a number and a noun, in the plural if necessary.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Formats a duration and the rate of so many things, for example `records`.
pub(crate) fn pace(taken: Duration, number: u64, things: &str) -> String {
    format!("{:.2} s, {} {things}/s", taken.as_secs_f64(), count(rate(number, taken)))
}

/// Returns so many of anything in a second.
pub(crate) fn rate(number: u64, taken: Duration) -> u64 {
    (number as f64 / taken.as_secs_f64().max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_formatted() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(3 << 20), "3.00 MiB");
        assert_eq!(counted(1, "snapshot"), "1 snapshot");
        assert_eq!(counted(1234, "snapshot"), "1,234 snapshots");
    }
}
