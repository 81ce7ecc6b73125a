//! The periods of the calendar: which hour, day, week, month, quarter or year of a time zone a moment lies in. Their
//! names are made here alone.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

/// A kind of period, with the boundaries that it has on the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From one full hour to the next. Where clocks are put back, the hour that comes twice is two hours.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday, as ISO 8601 counts them.
    Week,
    /// A month.
    Month,
    /// From January, April, July or October, three months.
    Quarter,
    /// A year.
    Year,
}

impl Period {
    /// The name of the period that holds a moment, as `2026-11-23`. Moments of one period, and no others, have the same
    /// name.
    pub(super) fn name(self, moment: DateTime<Utc>, time_zone: Tz) -> String {
        let pattern = match self {
            Self::Hour => "%Y-%m-%d %H:00 %:z",
            Self::Day => "%Y-%m-%d",
            Self::Week => "%G-W%V",
            Self::Month => "%Y-%m",
            Self::Quarter => "%Y-Q%q",
            Self::Year => "%Y",
        };
        moment.with_timezone(&time_zone).format(pattern).to_string()
    }
}

/// As the rule is called: `hourly`, `daily`, ...
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
