//! A span of time such as `1y5mo7d2h`: its text form, and the moment that lies this span before another.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::invalid;
use super::time_zone::{TimeZone, timestamp};
use crate::error::SnapshotError;

/// A length of time, in calendar units and in elapsed time.
///
/// The text form is a number and a unit for each, such as `1y5mo7d2h`: `y`, `mo` (months), `w`, `d`, `h`, `m` (minutes) and
/// `s`. Zeros are left out.
///
/// ```
/// use ruvector_snapshot::Span;
///
/// let span: Span = "1y6mo".parse()?;
/// assert_eq!((span.years, span.months, span.minutes), (1, 6, 0));
/// assert_eq!("90m".parse::<Span>()?.minutes, 90);
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Years, `y`.
    pub years: u32,
    /// Months, `mo`.
    pub months: u32,
    /// Weeks of seven calendar days, `w`.
    pub weeks: u32,
    /// Calendar days, `d`. If clocks are changed, a day has 23 or 25 hours.
    pub days: u32,
    /// Hours of 60 minutes, `h`.
    pub hours: u32,
    /// Minutes, `m`.
    pub minutes: u32,
    /// Seconds, `s`.
    pub seconds: u32,
}

impl Span {
    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Returns whether the span is less than an hour.
    pub(super) fn is_short(self) -> bool {
        self.years == 0 && self.months == 0 && self.weeks == 0 && self.days == 0 && self.elapsed_seconds() < 3600
    }

    /// Returns the hours, minutes and seconds, in seconds.
    fn elapsed_seconds(self) -> i64 {
        i64::from(self.hours) * 3600 + i64::from(self.minutes) * 60 + i64::from(self.seconds)
    }

    /// Returns the length of the span if it is the same at any date: of years and months it is not. A day has 24 hours.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::Span;
    ///
    /// assert_eq!("1d12h".parse::<Span>()?.elapsed().map(|elapsed| elapsed.num_hours()), Some(36));
    /// assert_eq!("1mo".parse::<Span>()?.elapsed(), None);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn elapsed(self) -> Option<TimeDelta> {
        let days = i64::from(self.weeks) * 7 + i64::from(self.days);
        let is_fixed = self.years == 0 && self.months == 0;
        is_fixed.then(|| TimeDelta::seconds(days * 86_400 + self.elapsed_seconds()))
    }

    /// Returns how long this is at most: a month has up to 31 days, and a year 366.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::Span;
    ///
    /// assert_eq!("1mo12h".parse::<Span>()?.longest().num_hours(), 31 * 24 + 12);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn longest(self) -> TimeDelta {
        let calendar_days = i64::from(self.years) * 366 + i64::from(self.months) * 31;
        let rest = Self { years: 0, months: 0, ..self }.elapsed().unwrap_or_default();
        TimeDelta::days(calendar_days) + rest
    }

    /// Returns the moment that lies this span before another, or `None` if that is before the year -9999.
    ///
    /// Years and months are subtracted first, then weeks and days: from the local date, while the time of day stays the
    /// same. Then hours, minutes and seconds are subtracted as elapsed time. If the month has too few days, its last day is taken: a year before
    /// 29 February is 28 February.
    ///
    /// If the local time exists twice because clocks were set back, the earlier moment is taken. If it does not exist
    /// because clocks were set forward, it is read with the offset after the change. Both reach further back.
    pub(super) fn before(self, moment: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
        let date_span = jiff::Span::new().try_years(self.years).ok()?.try_months(self.months).ok()?;
        let date_span = date_span.try_weeks(self.weeks).ok()?.try_days(self.days).ok()?;
        let elapsed = SignedDuration::from_secs(self.elapsed_seconds());
        // The local time of a moment can be ambiguous, so the conversion is skipped if the date does not change.
        let by_date = if date_span.is_zero() {
            moment
        } else {
            let time_zone = time_zone.as_jiff();
            let local = time_zone.to_datetime(moment).checked_sub(date_span).ok()?;
            time_zone.to_ambiguous_timestamp(local).earlier().ok()?
        };
        by_date.checked_sub(elapsed).ok()
    }

    /// Returns the moment that lies this span before another in UTC. If no calendar has it, the first moment of all.
    pub(crate) fn before_utc(self, moment: DateTime<Utc>) -> DateTime<Utc> {
        let before = self.before(timestamp(moment), &TimeZone::default());
        let before = before.and_then(|before| DateTime::from_timestamp_micros(before.as_microsecond()));
        before.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Returns each number and its unit, the largest unit first.
    fn parts(&mut self) -> [(&mut u32, &'static str); 7] {
        [
            (&mut self.years, "y"),
            (&mut self.months, "mo"),
            (&mut self.weeks, "w"),
            (&mut self.days, "d"),
            (&mut self.hours, "h"),
            (&mut self.minutes, "m"),
            (&mut self.seconds, "s"),
        ]
    }

    /// As `from_str`, with another hint in the error.
    pub(crate) fn parse(text: &str, hint: &str) -> Result<Self, SnapshotError> {
        let problem = || invalid(format!("{text:?} is not a length of time; {hint}"));
        let mut span = Self::default();
        let mut seen = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(problem)?;
            let number: u32 = rest[..digits].parse().map_err(|_| problem())?;
            rest = &rest[digits..];
            let unit = &rest[..rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len())];
            let part = span.parts().into_iter().find(|(_, known)| *known == unit);
            let (part, known) = part.filter(|(_, known)| !seen.contains(known)).ok_or_else(problem)?;
            *part = number;
            seen.push(known);
            rest = &rest[unit.len()..];
        }
        match span.is_zero() {
            true if text.is_empty() => Err(problem()),
            true => Err(invalid(format!("{text:?} is zero, and this must be longer than that, for example 1h"))),
            false => Ok(span),
        }
    }
}

/// Parses the text form. The units may be in any order, each once. An empty span is refused.
impl FromStr for Span {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        Self::parse(
            text,
            "give numbers with y, mo (months), w, d, h, m (minutes) or s, for example 1y5mo7d2h, 30d or 90m",
        )
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
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
