//! A span of time as a calendar counts it, `1y5m7d2h`: how it is written, and what lies so far before a moment.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Months, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use serde::{Serialize, Serializer};

use super::invalid;
use crate::error::SnapshotError;

/// Years, months, days and hours. Written as a number and a letter each, as `1y5m7d2h`; what is 0 is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Years, `y`.
    pub years: u32,
    /// Months, `m`.
    pub months: u32,
    /// Days, `d`: so many midnights, be there 23, 24 or 25 hours between them.
    pub days: u32,
    /// Hours, `h`, of 60 minutes each.
    pub hours: u32,
}

impl Span {
    /// Whether it spans nothing.
    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The moment that lies so far before another. Years and months go first, then days, on the calendar of the time
    /// zone and at the same time of the day; then hours, as they pass. `None` where that is earlier than can be told.
    ///
    /// A month that is too short ends it: a year before a 29 February is a 28 February. A time of the day that comes
    /// twice is meant as the earlier one, and one that clocks skipped as if they had been put forward before it: either
    /// is the choice that reaches back further.
    pub(super) fn before(self, moment: DateTime<Utc>, time_zone: Tz) -> Option<DateTime<Utc>> {
        let months = self.years.checked_mul(12)?.checked_add(self.months)?;
        let by_calendar = if months == 0 && self.days == 0 {
            moment
        } else {
            let utc = moment.naive_utc();
            let local = utc.checked_add_offset(time_zone.offset_from_utc_datetime(&utc).fix())?;
            let earlier =
                local.checked_sub_months(Months::new(months))?.checked_sub_days(Days::new(self.days.into()))?;
            earliest(earlier, time_zone)?
        };
        by_calendar.checked_sub_signed(TimeDelta::try_hours(self.hours.into())?)
    }

    /// Each number and the letter of its unit, largest first.
    fn parts(&mut self) -> [(&mut u32, char); 4] {
        [(&mut self.years, 'y'), (&mut self.months, 'm'), (&mut self.days, 'd'), (&mut self.hours, 'h')]
    }
}

/// Letters may stand in any order, each once.
impl FromStr for Span {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let problem = || {
            let what = "is no span; write years, months, days and hours as in 1y5m7d2h, 30d or 12h";
            invalid(format!("{text:?} {what}"))
        };
        let mut span = Self::default();
        let mut given = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(problem)?;
            let number: u32 = rest[..digits].parse().map_err(|_| problem())?;
            let letter = rest[digits..].chars().next().filter(|letter| !given.contains(*letter)).ok_or_else(problem)?;
            let part = span.parts().into_iter().find(|(_, unit)| *unit == letter);
            *part.ok_or_else(problem)?.0 = number;
            given.push(letter);
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

/// The earliest moment that a local time can stand for.
fn earliest(local: NaiveDateTime, time_zone: Tz) -> Option<DateTime<Utc>> {
    if let Some(moment) = time_zone.from_local_datetime(&local).earliest() {
        return Some(moment.to_utc());
    }
    let after_the_gap = GapInfo::new(&local, &time_zone)?.end?;
    Some(local.checked_sub_offset(after_the_gap.offset().fix())?.and_utc())
}
