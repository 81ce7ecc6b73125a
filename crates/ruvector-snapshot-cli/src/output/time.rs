//! Times in words: absolute, in the local time zone or in UTC, and relative to another time. Asks no clock.

use chrono::{DateTime, Utc};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::count;

/// In which time zone times are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    /// That of the variable TZ, or else of the system.
    Local,
}

impl Zone {
    /// Formats a time, with its zone.
    pub(crate) fn time(self, time: DateTime<Utc>) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S %Z")
    }

    /// As [`time`](Self::time), without the zone: in a column whose head has it.
    pub(crate) fn short_time(self, time: DateTime<Utc>) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S")
    }

    /// Returns the name of the zone at a time, or `local` if it has no letters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Local if TimeZone::system() == TimeZone::UTC => "UTC",
            Self::Local => "local",
        }
    }

    fn format(self, time: DateTime<Utc>, format: &str) -> String {
        let zone = match self {
            Self::Utc => TimeZone::UTC,
            Self::Local => TimeZone::system(),
        };
        match Timestamp::new(time.timestamp(), 0) {
            Ok(timestamp) => timestamp.to_zoned_datetime(zone).strftime(format).to_string(),
            // Not in the calendar of the time zones.
            Err(_) => time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        }
    }
}

/// Formats how long a time lies before another one.
pub(crate) fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let age = now.signed_duration_since(time);
    match age.num_minutes() {
        ..-5 => "in the future".to_owned(),
        -5..1 => "just now".to_owned(),
        minutes @ 1..60 => format!("{minutes} min ago"),
        60..2880 => format!("{} h ago", age.num_hours()),
        _ => format!("{} d ago", count(age.num_days().unsigned_abs())),
    }
}

/// Formats how long a time lies after another one.
pub(crate) fn until(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let wait = time.signed_duration_since(now);
    match wait.num_minutes() {
        ..1 if wait.num_seconds() < 1 => "now".to_owned(),
        ..1 => format!("in {} s", wait.num_seconds()),
        minutes @ 1..120 => format!("in {minutes} min"),
        120..2880 => format!("in {} h", wait.num_hours()),
        _ => format!("in {} d", count(wait.num_days().unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn ages_are_in_one_unit() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        let ages = [(-600, "in the future"), (-60, "just now"), (59, "just now"), (60, "1 min ago"), (7200, "2 h ago")];
        for (seconds, words) in ages {
            assert_eq!(ago(now - TimeDelta::seconds(seconds), now), words);
        }
        assert_eq!(ago(now - TimeDelta::days(2000), now), "2,000 d ago");
        let waits = [
            (-60, "now"),
            (0, "now"),
            (59, "in 59 s"),
            (60, "in 1 min"),
            (6660, "in 111 min"),
            (7200, "in 2 h"),
            (172_800, "in 2 d"),
        ];
        for (seconds, words) in waits {
            assert_eq!(until(now + TimeDelta::seconds(seconds), now), words);
        }
    }

    #[test]
    fn a_time_in_utc_has_its_zone() {
        let time = DateTime::from_timestamp(1_800_000_000, 999_999_999).unwrap_or_default();
        assert_eq!(Zone::Utc.time(time), "2027-01-15 08:00:00 UTC");
        assert_eq!(Zone::Utc.short_time(time), "2027-01-15 08:00:00");
        assert_eq!(Zone::Utc.time(DateTime::<Utc>::MAX_UTC).rsplit(' ').next(), Some("UTC"));
    }
}
