//! Schedules: when runs are due, across changes of clocks, and what is decided at a moment. Tables with examples, and random
//! schedules against slow and simple oracles.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod clock_changes;
mod decisions;
mod due_times;
mod forecast;
mod random;
mod running;
mod texts;
mod world;
mod year;

use chrono::{DateTime, FixedOffset, Utc};
use ruvector_snapshot::schedule::When;

/// Parses a moment with its offset from UTC, for example `2026-10-25T02:30:00+02:00`.
fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn when(text: &str) -> When {
    text.parse().unwrap()
}

/// Asserts that these moments, and no others between the first and the last, are due after a moment.
fn assert_due(text: &str, after: &str, expected: &[&str]) {
    let offset = |text: &str| *DateTime::<FixedOffset>::parse_from_rfc3339(text).unwrap().offset();
    let when = when(text);
    let due = when.due_times(moment(after)).zip(expected);
    let due: Vec<_> = due.map(|(due, expected)| due.with_timezone(&offset(expected)).to_rfc3339()).collect();
    assert_eq!(due, expected, "{text}");
}
