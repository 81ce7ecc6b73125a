//! Clocks that a test controls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use ruvector_snapshot::Result;
use ruvector_snapshot::clock::Clock;

/// A clock that never advances and always returns the same random number.
#[derive(Debug)]
pub struct FixedClock {
    /// The time that it returns.
    pub now: DateTime<Utc>,
    /// The random number that it returns.
    pub random: u64,
}

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn random(&self) -> Result<u64> {
        Ok(self.random)
    }
}

/// A clock that advances by one step each time it is read.
#[derive(Debug)]
pub struct TickingClock {
    start: DateTime<Utc>,
    step: TimeDelta,
    ticks: AtomicU64,
}

impl TickingClock {
    /// Starts at the first moment of a year.
    pub fn from_year(year: i32, step: TimeDelta) -> Arc<Self> {
        let start = Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap();
        Arc::new(Self { start, step, ticks: AtomicU64::new(0) })
    }

    /// Starts at the first moment of a year and advances by seconds.
    pub fn seconds_from_year(year: i32) -> Arc<Self> {
        Self::from_year(year, TimeDelta::seconds(1))
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }
}

impl Clock for TickingClock {
    fn now(&self) -> DateTime<Utc> {
        self.start + self.step * self.tick() as i32
    }

    fn random(&self) -> Result<u64> {
        Ok(self.tick())
    }
}
