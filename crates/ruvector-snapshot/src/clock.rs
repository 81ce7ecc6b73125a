//! Dates and random numbers: the only file that asks the system for them. Everything else is handed a [`Clock`].

#![allow(clippy::disallowed_methods, reason = "this file owns the time and the randomness")]

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};

use crate::error::{ErrorKind, Result, SnapshotError};

/// The source of the time and of the randomness in snapshot ids.
///
/// # Examples
///
/// ```
/// # use ruvector_snapshot::chrono::{DateTime, Utc};
/// use ruvector_snapshot::clock::{Clock, SystemClock};
///
/// /// A clock for tests that never moves.
/// #[derive(Debug)]
/// struct FixedClock(DateTime<Utc>);
///
/// impl Clock for FixedClock {
///     fn now(&self) -> DateTime<Utc> {
///         self.0
///     }
///
///     fn random(&self) -> ruvector_snapshot::Result<u64> {
///         SystemClock.random()
///     }
/// }
/// ```
pub trait Clock: Debug + Send + Sync {
    /// Returns the current time.
    fn now(&self) -> DateTime<Utc>;

    /// Returns 64 random bits, for an id that no other snapshot has.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Internal`] if the system has no randomness.
    fn random(&self) -> Result<u64>;
}

/// The clock and the randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        moment(SystemTime::now())
    }

    fn random(&self) -> Result<u64> {
        getrandom::u64().map_err(|error| {
            SnapshotError::new(ErrorKind::Internal, "the system returned no random bits").with_source(error)
        })
    }
}

/// Converts a time of the system. One that chrono cannot represent becomes the first or the last that it can.
fn moment(time: SystemTime) -> DateTime<Utc> {
    let is_early = time < SystemTime::UNIX_EPOCH;
    converted(time).unwrap_or(if is_early { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC })
}

fn converted(time: SystemTime) -> Option<DateTime<Utc>> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => TimeDelta::from_std(after).ok().and_then(|after| DateTime::UNIX_EPOCH.checked_add_signed(after)),
        Err(before) => {
            let before = TimeDelta::from_std(before.duration()).ok();
            before.and_then(|before| DateTime::UNIX_EPOCH.checked_sub_signed(before))
        }
    }
}

/// Checks that the clock of the system can date requests to a store. The libraries that sign requests and check certificates
/// panic at a time before 1970.
pub(crate) fn check_dates_requests(store: &str) -> Result<()> {
    let now = SystemClock.now();
    if now >= DateTime::UNIX_EPOCH && now.year() <= 9999 {
        return Ok(());
    }
    let message = format!(
        "cannot use {store}: the clock of this machine says {now}, and requests cannot be dated before 1970 or after 9999; \
         correct the clock"
    );
    Err(SnapshotError::new(ErrorKind::Unavailable, message))
}

/// Measures elapsed time by two clocks and believes the one that says more.
///
/// The monotonic clock of the system stands still while the machine is suspended. The clock that was handed in can be
/// set back.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    clock: Arc<dyn Clock>,
    started_at: DateTime<Utc>,
    started: Instant,
}

impl Stopwatch {
    pub(crate) fn start(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: clock.clone(), started_at: clock.now(), started: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> TimeDelta {
        let monotonic = TimeDelta::from_std(self.started.elapsed()).unwrap_or(TimeDelta::MAX);
        monotonic.max(self.clock.now().signed_duration_since(self.started_at))
    }
}

/// Sleeps. In tests, tokio's paused time makes this immediate.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_the_system_is_a_moment() {
        let at = |seconds: i64, nanoseconds: u32| {
            let (whole, part) = (Duration::from_secs(seconds.unsigned_abs()), Duration::new(0, nanoseconds));
            let epoch = SystemTime::UNIX_EPOCH;
            let time = if seconds < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
            moment(time.unwrap().checked_add(part).unwrap())
        };
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1969-12-31T23:59:59.999999999Z", -1, 999_999_999),
            ("1969-12-31T23:59:58.000000001Z", -2, 1),
            ("2026-01-31T08:00:00.5Z", 1_769_846_400, 500_000_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0),
            ("+10000-01-01T00:00:00Z", 253_402_300_800, 0),
        ] {
            assert_eq!(at(seconds, nanoseconds), text.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
        for seconds in [i64::MAX, i64::MAX / 1000, 1 << 45] {
            assert_eq!(at(seconds, 0), DateTime::<Utc>::MAX_UTC);
            assert_eq!(at(-seconds, 1), DateTime::<Utc>::MIN_UTC);
        }
    }
}
