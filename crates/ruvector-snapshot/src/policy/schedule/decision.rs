//! What a schedule demands at a moment: [`decide`], and what it has to know of the job: [`JobState`].

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Missed, Retry, Schedule, later};

/// How late a run may start without being missed: timers are late, and so is a program that has just started.
const LATE_AFTER: TimeDelta = TimeDelta::seconds(60);

/// How far a clock may be set back before due times are forgotten that were handled before.
const MAX_CLOCK_STEP: TimeDelta = TimeDelta::hours(24);

/// What has become of the due times of a job. Start from [`since`](Self::since).
///
/// # Examples
///
/// ```
/// use chrono::{DateTime, Utc};
/// use ruvector_snapshot::schedule::{Decision, JobState, Schedule, decide};
///
/// let schedule = Schedule::new("every 6h".parse()?);
/// let now: DateTime<Utc> = "2026-01-31T13:00:00Z".parse()?;
///
/// // The last run that succeeded was yesterday at 12:00. Those at 18:00, 00:00 and 06:00 were missed.
/// let mut state = JobState::since("2026-01-30T12:00:00Z".parse()?);
/// let due = "2026-01-31T12:00:00Z".parse()?;
/// assert_eq!(decide(&schedule, &state, now), Decision::Run { due, attempt: 1, missed_runs: 3 });
///
/// state.started(due);
/// state.succeeded();
/// assert_eq!(decide(&schedule, &state, now), Decision::Wait { until: "2026-01-31T18:00:00Z".parse()? });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobState {
    /// Due times until then are handled. That is the due time of the last run, or what the state was started from.
    pub handled_until: DateTime<Utc>,
    /// Whether a run is in progress.
    pub running: bool,
    /// Number of runs that have failed since the last due time that was handled.
    pub failed_attempts: u32,
    /// When the run that failed is tried again.
    pub next_retry: Option<DateTime<Utc>>,
}

/// What a schedule demands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decision {
    /// Start a run now.
    Run {
        /// The due time of the run. The run of a due time is started with [`JobState::started`].
        due: DateTime<Utc>,
        /// 1 for the first run of a due time. More if that failed.
        attempt: u32,
        /// Number of due times before this one that had no run, up to [`MAX_COUNT`](super::MAX_COUNT).
        missed_runs: usize,
    },
    /// Nothing is to be done before this moment, which is in the future, unless a run ends or the clock is set.
    Wait {
        /// The moment.
        until: DateTime<Utc>,
    },
    /// No due time follows.
    Never,
}

impl JobState {
    /// Returns the state of a job whose due times until this moment are handled: when its last run that succeeded was
    /// started, or else the present. After a restart of the program, due times since then are missed runs.
    ///
    /// # Examples
    ///
    /// ```
    /// let state = ruvector_snapshot::schedule::JobState::since(chrono::DateTime::UNIX_EPOCH);
    /// assert!(!state.running);
    /// ```
    pub fn since(moment: DateTime<Utc>) -> Self {
        Self { handled_until: moment, running: false, failed_attempts: 0, next_retry: None }
    }

    /// Returns the state of a job of which this is the oldest of the newest snapshots of its databases: every due time until then
    /// has had its run. Without a snapshot of a database, a run is due at once, unless missed runs are skipped.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use ruvector_snapshot::schedule::{JobState, Missed, Schedule};
    ///
    /// let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    /// let schedule = Schedule::new("@daily".parse()?);
    /// assert_eq!(JobState::of_newest(Some(now), &schedule, now), JobState::since(now));
    /// assert_eq!(JobState::of_newest(None, &schedule, now), JobState::since(DateTime::UNIX_EPOCH));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn of_newest(newest: Option<DateTime<Utc>>, schedule: &Schedule, now: DateTime<Utc>) -> Self {
        let never = if schedule.missed == Missed::Skip { now } else { DateTime::UNIX_EPOCH };
        Self::since(newest.unwrap_or(never))
    }

    /// Records that the run of a due time has started.
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    ///
    /// let due = DateTime::UNIX_EPOCH + TimeDelta::hours(6);
    /// let mut state = ruvector_snapshot::schedule::JobState::since(DateTime::UNIX_EPOCH);
    /// state.started(due);
    /// assert!(state.running && state.handled_until == due);
    /// ```
    pub fn started(&mut self, due: DateTime<Utc>) {
        let failed_attempts = if due > self.handled_until { 0 } else { self.failed_attempts };
        let handled_until = due.max(self.handled_until);
        *self = Self { handled_until, running: true, failed_attempts, next_retry: None };
    }

    /// Records that the run in progress has succeeded.
    ///
    /// ```
    /// let mut state = ruvector_snapshot::schedule::JobState::since(chrono::DateTime::UNIX_EPOCH);
    /// state.started(state.handled_until);
    /// state.succeeded();
    /// assert!(!state.running);
    /// ```
    pub fn succeeded(&mut self) {
        *self = Self::since(self.handled_until);
    }

    /// Records that the run in progress has failed at this moment. It is tried again, unless the next run is due before.
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use ruvector_snapshot::schedule::{JobState, Retry};
    ///
    /// let now = DateTime::UNIX_EPOCH;
    /// let mut state = JobState::since(now);
    /// state.started(now);
    /// state.failed(&Retry::default(), now);
    /// assert_eq!(state.next_retry, Some(now + TimeDelta::minutes(1)));
    /// ```
    pub fn failed(&mut self, retry: &Retry, now: DateTime<Utc>) {
        self.running = false;
        self.failed_attempts = self.failed_attempts.saturating_add(1);
        self.next_retry = Some(later(now, retry.wait(self.failed_attempts)));
    }

    /// Forgets what was handled if that is more than a day in the future. Returns whether it was.
    ///
    /// A clock that is set back never makes the same due time run twice, so a job pauses until the clock has caught up. But
    /// after a clock that was wrong by years, backups would stop without an error. Call this before each [`decide`], and report
    /// it.
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    ///
    /// let now = DateTime::UNIX_EPOCH;
    /// let mut state = ruvector_snapshot::schedule::JobState::since(now + TimeDelta::days(20_000));
    /// assert!(state.forget_future(now));
    /// assert_eq!(state.handled_until, now);
    /// ```
    pub fn forget_future(&mut self, now: DateTime<Utc>) -> bool {
        let is_wrong = self.handled_until.signed_duration_since(now) > MAX_CLOCK_STEP;
        if is_wrong {
            *self = Self { running: self.running, ..Self::since(now) };
        }
        is_wrong
    }
}

/// Returns what a schedule demands at this moment. Decide again when a run ends, when the wait is over, and from time to time,
/// because the clock may be set.
///
/// - Runs of a job do not overlap. Due times that pass during a run are missed.
/// - Of several due times that have passed, at most the newest is run.
/// - A run that failed is tried again until the next due time. The run of that is a new one.
/// - No due time is run twice, except to try again, even if the clock is set back.
///
/// # Examples
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use ruvector_snapshot::schedule::{Decision, JobState, Schedule, decide};
///
/// let (schedule, now) = (Schedule::new("every 6h".parse()?), DateTime::UNIX_EPOCH);
/// assert_eq!(decide(&schedule, &JobState::since(now), now), Decision::Wait { until: now + TimeDelta::hours(6) });
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
pub fn decide(schedule: &Schedule, state: &JobState, now: DateTime<Utc>) -> Decision {
    if state.running {
        return wait_for_next(schedule, now);
    }
    match schedule.when.last_between(state.handled_until, now) {
        Some(due) => decide_on(schedule, state, due, now),
        None => decide_on_retry(schedule, state, now),
    }
}

/// Decides on the newest due time that has passed and is not handled.
fn decide_on(schedule: &Schedule, state: &JobState, due: DateTime<Utc>, now: DateTime<Utc>) -> Decision {
    let start = schedule.start_of(due);
    if now < start {
        return Decision::Wait { until: start };
    }
    let is_missed = now.signed_duration_since(start) > LATE_AFTER;
    if is_missed && schedule.missed == Missed::Skip {
        return wait_for_next(schedule, now);
    }
    let missed_runs = schedule.when.count_between(state.handled_until, due).saturating_sub(1);
    Decision::Run { due, attempt: 1, missed_runs }
}

/// Decides while every due time that has passed is handled.
fn decide_on_retry(schedule: &Schedule, state: &JobState, now: DateTime<Utc>) -> Decision {
    let following = now.max(state.handled_until);
    let Some(retry) = state.next_retry else { return wait_for_next(schedule, following) };
    // A wait that is longer than any means that the clock was set back.
    if retry <= now || retry > later(now, schedule.retry.longest()) {
        let attempt = state.failed_attempts.saturating_add(1);
        return Decision::Run { due: state.handled_until, attempt, missed_runs: 0 };
    }
    match schedule.when.next_after(following) {
        Some(due) if due <= retry => Decision::Wait { until: schedule.start_of(due) },
        _ => Decision::Wait { until: retry },
    }
}

fn wait_for_next(schedule: &Schedule, after: DateTime<Utc>) -> Decision {
    let due = schedule.when.next_after(after);
    due.map_or(Decision::Never, |due| Decision::Wait { until: schedule.start_of(due) })
}
