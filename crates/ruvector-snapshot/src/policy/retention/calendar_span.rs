//! A span of calendar time such as `1y5m7d2h`: its text form, and the moment that lies this span before another.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::invalid;
use super::time_zone::{TimeZone, timestamp};
use crate::error::SnapshotError;

/// Years, months, days and hours.
///
/// The text form is a number and a letter for each, such as `1y5m7d2h`. Zeros are left out.
///
/// ```
/// use ruvector_snapshot::Span;
///
/// let span: Span = "1y6m".parse()?;
/// assert_eq!((span.years, span.months, span.days), (1, 6, 0));
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Years, `y`.
    pub years: u32,
    /// Months, `m`.
    pub months: u32,
    /// Calendar days, `d`. If clocks are changed, a day has 23 or 25 hours.
    pub days: u32,
    /// Hours of 60 minutes, `h`.
    pub hours: u32,
}

impl Span {
    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Returns the moment that lies this span before another, or `None` if that is before the year -9999.
    ///
    /// Years and months are subtracted first, then days: from the local date, while the time of day stays the same.
    /// Then hours are subtracted as elapsed time. If the month has too few days, its last day is taken: a year before
    /// 29 February is 28 February.
    ///
    /// If the local time exists twice because clocks were set back, the earlier moment is taken. If it does not exist
    /// because clocks were set forward, it is read with the offset after the change. Both reach further back.
    pub(super) fn before(self, moment: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
        let date_span = jiff::Span::new().try_years(self.years).ok()?.try_months(self.months).ok()?;
        let date_span = date_span.try_days(self.days).ok()?;
        let hours = jiff::Span::new().try_hours(self.hours).ok()?;
        // The local time of a moment can be ambiguous, so the conversion is skipped if the date does not change.
        let by_date = if date_span.is_zero() {
            moment
        } else {
            let time_zone = time_zone.as_jiff();
            let local = time_zone.to_datetime(moment).checked_sub(date_span).ok()?;
            time_zone.to_ambiguous_timestamp(local).earlier().ok()?
        };
        by_date.checked_sub(hours).ok()
    }

    /// Returns the moment that lies this span before another in UTC. If no calendar has it, the first moment of all.
    pub(crate) fn before_utc(self, moment: DateTime<Utc>) -> DateTime<Utc> {
        let before = self.before(timestamp(moment), &TimeZone::default());
        let before = before.and_then(|before| DateTime::from_timestamp_micros(before.as_microsecond()));
        before.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Returns each number and the letter of its unit, largest unit first.
    fn parts(&mut self) -> [(&mut u32, char); 4] {
        [(&mut self.years, 'y'), (&mut self.months, 'm'), (&mut self.days, 'd'), (&mut self.hours, 'h')]
    }
}

/// Parses the text form. The units may be in any order, each once. An empty span is refused.
impl FromStr for Span {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let problem = || {
            let hint = "give years, months, days and hours, for example 1y5m7d2h, 30d or 12h";
            invalid(format!("{text:?} is not a span of time; {hint}"))
        };
        let mut span = Self::default();
        let mut seen = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(problem)?;
            let number: u32 = rest[..digits].parse().map_err(|_| problem())?;
            let letter = rest[digits..].chars().next().filter(|letter| !seen.contains(*letter)).ok_or_else(problem)?;
            let part = span.parts().into_iter().find(|(_, unit)| *unit == letter);
            *part.ok_or_else(problem)?.0 = number;
            seen.push(letter);
            rest = &rest[digits + letter.len_utf8()..];
        }
        if span.is_zero() { Err(problem()) } else { Ok(span) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0h");
        }
        let mut span = *self;
        let mut parts = span.parts().into_iter().filter(|(number, _)| **number > 0);
        parts.try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
