//! The only place that asks for the time and for randomness; everything else is handed both.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{ErrorKind, Result, SnapshotError};

/// Where the time and the randomness of snapshot ids come from.
pub trait Clock: Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;

    /// 64 random bits, for an id that no other snapshot has.
    ///
    /// # Errors
    ///
    /// `Internal` where the system gives none.
    fn random(&self) -> Result<u64>;
}

/// The time and the randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn random(&self) -> Result<u64> {
        getrandom::u64()
            .map_err(|error| SnapshotError::new(ErrorKind::Internal, "the system gives no random bits").because(error))
    }
}

/// How much time has passed since it was started, by two clocks of which the one that says more is believed: that of the
/// system that is never set stands still while the machine sleeps, and the one that was handed in may be set back.
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
        let never_set = TimeDelta::from_std(self.started.elapsed()).unwrap_or(TimeDelta::MAX);
        never_set.max(self.clock.now() - self.started_at)
    }
}
