//! A time zone by its IANA name, and moments for calendar arithmetic. Wraps jiff, whose types must not appear in the
//! public API.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

use super::invalid;
use crate::error::SnapshotError;

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;

/// A time zone of the IANA database. The default is UTC.
///
/// The database is part of the program, in the version that was current when the program was built. The zone files of
/// the system are not read, so that a policy keeps the same snapshots on every machine.
///
/// ```
/// use ruvector_snapshot::retention::TimeZone;
///
/// let time_zone: TimeZone = "Europe/Berlin".parse()?;
/// assert_eq!(time_zone.name(), "Europe/Berlin");
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TimeZone(jiff::tz::TimeZone);

impl TimeZone {
    /// Returns the IANA name, for example `Europe/Berlin`.
    ///
    /// # Examples
    ///
    /// ```
    /// let time_zone = ruvector_snapshot::TimeZone::default();
    /// assert_eq!(time_zone.name(), "UTC");
    /// ```
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Returns a moment as local time with the abbreviation of the zone, for example `2026-11-23 09:00:00 CET`.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::DateTime;
    ///
    /// let time_zone: ruvector_snapshot::TimeZone = "Europe/Berlin".parse()?;
    /// assert_eq!(time_zone.local_time(DateTime::UNIX_EPOCH), "1970-01-01 01:00:00 CET");
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn local_time(&self, moment: DateTime<Utc>) -> String {
        timestamp(moment).to_zoned_datetime(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    pub(in crate::policy) fn as_jiff(&self) -> &jiff::tz::TimeZone {
        &self.0
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }
}

/// Parses an IANA name. Case is ignored.
impl FromStr for TimeZone {
    type Err = SnapshotError;

    fn from_str(name: &str) -> Result<Self, SnapshotError> {
        match TimeZoneDatabase::bundled().get(name) {
            // jiff treats the name Etc/Unknown as UTC.
            Ok(time_zone) if !time_zone.is_unknown() => Ok(Self(time_zone)),
            _ => Err(invalid(format!(
                "unknown time zone {name:?}; give a name of the IANA database, for example Europe/Berlin, America/New_York or UTC"
            ))),
        }
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Converts a moment for calendar arithmetic. Moments outside of the years -9999 to 9999 become the first or the last
/// that jiff can represent.
pub(super) fn timestamp(moment: DateTime<Utc>) -> Timestamp {
    // chrono counts a leap second as further nanoseconds of the second before it.
    let nanoseconds = i128::from(moment.timestamp_subsec_nanos()).min(NANOSECONDS_PER_SECOND - 1);
    let since_epoch = i128::from(moment.timestamp()) * NANOSECONDS_PER_SECOND + nanoseconds;
    Timestamp::from_nanosecond(since_epoch).unwrap_or(if since_epoch < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
