//! When a job runs: [`Schedule`], and what follows from it at a moment: [`decide`]. Pure: every moment is handed in, and nothing
//! here waits, runs or reads anything.
//!
//! A schedule has due times ([`When`]). A due time is handled once: by a run, or by a later due time that replaces it.

mod cron;
mod decision;
mod forecast;
pub(crate) mod full;
mod when;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use decision::{Decision, JobState, decide};
pub use forecast::{ForecastDatabase, ForecastJob, ForecastRun, ForecastState, StoreForecast, UpcomingRun, upcoming};
pub use full::FullRule;
pub use when::{MAX_COUNT, When};

/// When a job runs, and what happens if a run is late, missed or fails. Start from [`new`](Self::new).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ruvector_snapshot::schedule::{Missed, Schedule};
///
/// let nightly = Schedule::new("30 2 * * * Europe/Berlin".parse()?).jitter(Duration::from_secs(900), "articles");
/// assert_eq!(nightly.missed, Missed::RunOnce);
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// The due times.
    pub when: When,
    /// How long after its due time a run may start. Default: 0.
    pub jitter: Duration,
    /// What the jitter is derived from, besides the due time: the name of the job. Jobs with different names start at different
    /// times.
    pub jitter_seed: String,
    /// What happens to due times without a run. Default: [`Missed::RunOnce`].
    pub missed: Missed,
    /// How a run that failed is tried again.
    pub retry: Retry,
}

/// What happens to due times that passed without a run, because the program did not run, the machine slept, or a run took too
/// long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The newest of them is run at once, and the others are not.
    #[default]
    RunOnce,
    /// None of them is run. A run that starts within a minute of its time is not missed.
    Skip,
}

/// How a run that failed is tried again: after a wait that doubles each time, until the next run is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// The wait after the first failure. Default: a minute. Less than a second means a second.
    pub first_wait: Duration,
    /// The longest wait. Default: an hour. Less than a second means a second.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first_wait: Duration::from_secs(60), longest_wait: Duration::from_secs(3600) }
    }
}

impl Retry {
    /// Returns how long to wait after this number of failures, the first of which is 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::schedule::Retry;
    ///
    /// let waits = [1, 2, 3, 100].map(|failures| Retry::default().wait(failures).as_secs());
    /// assert_eq!(waits, [60, 120, 240, 3600]);
    /// ```
    pub fn wait(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first_wait.max(Self::SHORTEST).saturating_mul(factor).min(self.longest())
    }

    /// Returns the wait that none exceeds.
    fn longest(&self) -> Duration {
        self.longest_wait.max(Self::SHORTEST)
    }

    /// Without it, a wait of 0 would try again without end.
    const SHORTEST: Duration = Duration::from_secs(1);
}

impl Schedule {
    /// Returns a schedule with these due times. The rest is as by default.
    ///
    /// ```
    /// use ruvector_snapshot::schedule::Schedule;
    ///
    /// assert!(Schedule::new("every 6h".parse()?).jitter.is_zero());
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn new(when: When) -> Self {
        let (missed, retry) = (Missed::default(), Retry::default());
        Self { when, jitter: Duration::ZERO, jitter_seed: String::new(), missed, retry }
    }

    /// Sets how long after its due time a run may start, and what this is derived from.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ruvector_snapshot::schedule::Schedule;
    /// let schedule = Schedule::new("@daily".parse()?).jitter(Duration::from_secs(900), "db1/articles");
    /// assert_eq!(schedule.jitter_seed, "db1/articles");
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn jitter(self, jitter: Duration, seed: impl Into<String>) -> Self {
        Self { jitter, jitter_seed: seed.into(), ..self }
    }

    /// Sets what happens to due times without a run.
    ///
    /// ```
    /// # use ruvector_snapshot::schedule::{Missed, Schedule};
    /// assert_eq!(Schedule::new("@daily".parse()?).missed(Missed::Skip).missed, Missed::Skip);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn missed(self, missed: Missed) -> Self {
        Self { missed, ..self }
    }

    /// Sets the first and the longest wait before a run that failed is tried again.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ruvector_snapshot::schedule::Schedule;
    /// let schedule = Schedule::new("@daily".parse()?).retry(Duration::from_secs(30), Duration::from_secs(600));
    /// assert_eq!(schedule.retry.wait(2).as_secs(), 60);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn retry(self, first_wait: Duration, longest_wait: Duration) -> Self {
        Self { retry: Retry { first_wait, longest_wait }, ..self }
    }

    /// Returns when the run for a due time starts: the due time and its jitter.
    ///
    /// The jitter is at most half of the time until the next due time, so runs start in the order of their due times. It is the
    /// same each time this is called.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use chrono::DateTime;
    /// use ruvector_snapshot::schedule::Schedule;
    ///
    /// let (due, jitter) = (DateTime::UNIX_EPOCH, Duration::from_secs(900));
    /// let schedule = Schedule::new("@daily".parse()?).jitter(jitter, "articles");
    /// assert!(schedule.start_of(due) <= due + jitter);
    /// assert_eq!(schedule.start_of(due), schedule.start_of(due));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn start_of(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        if self.jitter.is_zero() {
            return due;
        }
        let half = self.when.next_after(due).and_then(|next| ((next - due) / 2).to_std().ok());
        let longest_ms = self.jitter.min(half.unwrap_or(Duration::MAX)).as_millis();
        let longest_ms = u64::try_from(longest_ms).unwrap_or(u64::MAX);
        let share = u128::from(hash(self.jitter_seed.as_bytes(), due.timestamp()));
        // The high half of the product: evenly distributed from 0 to the longest.
        let jitter_ms = (share * (u128::from(longest_ms) + 1)) >> u64::BITS;
        later(due, Duration::from_millis(u64::try_from(jitter_ms).unwrap_or(u64::MAX)))
    }
}

/// Returns a number that is the same on every machine and in every version of the program: FNV-1a, and the finalizer of
/// SplitMix64, without which the high bits of similar names are similar.
fn hash(name: &[u8], second: i64) -> u64 {
    let bytes = name.iter().copied().chain(second.to_le_bytes());
    let fnv =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns the moment that is this much later, or the last of all.
fn later(moment: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let sum = TimeDelta::from_std(by).ok().and_then(|by| moment.checked_add_signed(by));
    sum.unwrap_or(DateTime::<Utc>::MAX_UTC)
}
