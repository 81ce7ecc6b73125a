//! The periods of a calendar: which hour, day, week, month, quarter or year of a time zone contains a moment.
//!
//! No other file builds the name of a period.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::time_zone::{TimeZone, timestamp};

/// A kind of period. Its boundaries are those of the calendar in a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// An hour. If clocks are set back, the repeated hour is a second hour.
    Hour,
    /// A day, from midnight to midnight.
    Day,
    /// A week, from Monday to Sunday (ISO 8601).
    Week,
    /// A month.
    Month,
    /// Three months, from January, April, July or October.
    Quarter,
    /// A year.
    Year,
}

impl Period {
    /// Returns the name of the period that contains a moment, for example `2026-11-23`. Two moments have the same name
    /// if and only if they are in the same period.
    pub(super) fn name(self, moment: DateTime<Utc>, time_zone: &TimeZone) -> String {
        let format = match self {
            Self::Hour => "%Y-%m-%d %H:00 %:z",
            Self::Day => "%Y-%m-%d",
            Self::Week => "%G-W%V",
            Self::Month => "%Y-%m",
            Self::Quarter => "%Y-Q%q",
            Self::Year => "%Y",
        };
        timestamp(moment).to_zoned_datetime(time_zone.as_jiff().clone()).strftime(format).to_string()
    }
}

/// Writes the name of the rule for this period: `hourly`, `daily` and so on.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Quarter => "quarterly",
            Self::Year => "yearly",
        })
    }
}
