//! Dates and random numbers: the only file that asks the system for them. Everything else is handed a [`Clock`].

#![allow(clippy::disallowed_methods, reason = "this file owns the time and the randomness")]

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

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
        Utc::now()
    }

    fn random(&self) -> Result<u64> {
        getrandom::u64().map_err(|error| {
            SnapshotError::new(ErrorKind::Internal, "the system returned no random bits").with_source(error)
        })
    }
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
        monotonic.max(self.clock.now() - self.started_at)
    }
}

/// Sleeps. In tests, tokio's paused time makes this immediate.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
