//! What is known of each job, and which of them are due at a moment. Asks no clock and no store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::job::Job;
use super::report::{RunReport, RunStart, StepReport};
use super::{JobStatus, SLEEP_MAX};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::policy::schedule::{Decision, JobState, decide};

/// The jobs of a scheduler.
#[derive(Debug)]
pub(super) struct Jobs(Mutex<BTreeMap<String, Slot>>);

/// Something to do now.
#[derive(Debug)]
pub(super) enum Due {
    /// Ask the store which due times have had their run.
    Look(Arc<Job>),
    Run(DueRun),
}

/// A run to start now.
#[derive(Debug)]
pub(super) struct DueRun {
    pub(super) job: Arc<Job>,
    pub(super) start: RunStart,
    /// The steps of the runs that this is a further attempt of.
    pub(super) before: Vec<StepReport>,
    pub(super) verified_on: Option<NaiveDate>,
    pub(super) known: KnownStores,
}

/// The stores that have had snapshots of a job: the empty name is its own store, and the others are those of its copies.
pub(super) type KnownStores = BTreeSet<String>;

#[derive(Debug)]
struct Slot {
    job: Arc<Job>,
    /// Whether the job is no longer one of the scheduler, and only its run is.
    is_removed: bool,
    handled: Handled,
    running_since: Option<DateTime<Utc>>,
    /// When something was last begun of it.
    taken_at: Option<DateTime<Utc>>,
    failures: u32,
    succeeded_at: Option<DateTime<Utc>>,
    snapshots_at: Option<DateTime<Utc>>,
    known: KnownStores,
    last_run: Option<RunReport>,
    /// The steps of the runs of the last due time.
    steps: Vec<StepReport>,
    verified_on: Option<NaiveDate>,
}

/// Which due times have had their run.
#[derive(Debug)]
enum Handled {
    /// The store was not asked yet, or did not answer so many times, and is asked at this moment.
    Unknown {
        failed_attempts: u32,
        next_attempt: Option<DateTime<Utc>>,
    },
    Known(JobState),
}

impl Slot {
    fn new(job: Arc<Job>) -> Self {
        Self {
            job,
            is_removed: false,
            handled: Handled::Unknown { failed_attempts: 0, next_attempt: None },
            running_since: None,
            taken_at: None,
            failures: 0,
            succeeded_at: None,
            snapshots_at: None,
            known: KnownStores::new(),
            last_run: None,
            steps: Vec::new(),
            verified_on: None,
        }
    }

    /// Returns what is due now, or else when to ask again.
    fn due(&mut self, now: DateTime<Utc>) -> std::result::Result<Due, Option<DateTime<Utc>>> {
        if self.is_removed || self.running_since.is_some() {
            return Err(None);
        }
        let state = match &mut self.handled {
            Handled::Unknown { next_attempt, .. } => {
                return match next_attempt.filter(|next| *next > now) {
                    None => Ok(Due::Look(self.job.clone())),
                    next => Err(next),
                };
            }
            Handled::Known(state) => state,
        };
        if state.forget_future(now) {
            tracing::warn!(job = self.job.name, "the clock was set back by more than a day; due times count from now");
        }
        match decide(&self.job.schedule, state, now) {
            Decision::Wait { until } => Err(Some(until)),
            Decision::Never => Err(None),
            Decision::Run { due, attempt, missed_runs } => {
                // A job that has never run has missed nothing.
                let missed_runs = if state.handled_until == DateTime::UNIX_EPOCH { 0 } else { missed_runs };
                if attempt == 1 {
                    self.steps.clear();
                }
                Ok(Due::Run(self.run(Some(due), (attempt, missed_runs), self.steps.clone(), now)))
            }
        }
    }

    fn run(
        &self,
        due: Option<DateTime<Utc>>,
        (attempt, missed_runs): (u32, usize),
        before: Vec<StepReport>,
        now: DateTime<Utc>,
    ) -> DueRun {
        let (job, failures_before) = (self.job.name.clone(), self.failures);
        let start = RunStart { job, due, attempt, missed_runs, failures_before, started_at: now };
        DueRun { job: self.job.clone(), start, before, verified_on: self.verified_on, known: self.known.clone() }
    }

    fn status(&mut self, name: &str, now: DateTime<Utc>) -> JobStatus {
        let next_run = match &self.handled {
            Handled::Unknown { .. } => None,
            Handled::Known(state) => match decide(&self.job.schedule, state, now) {
                Decision::Wait { until } => Some(until),
                Decision::Run { .. } => Some(now),
                Decision::Never => None,
            },
        };
        JobStatus {
            name: name.to_owned(),
            running_since: self.running_since,
            next_run,
            failures: self.failures,
            succeeded_at: self.succeeded_at,
            snapshots_at: self.snapshots_at,
            last_run: self.last_run.clone(),
        }
    }
}

impl Jobs {
    pub(super) fn new(jobs: Vec<Job>) -> Result<Self> {
        let this = Self(Mutex::default());
        this.replace(jobs)?;
        Ok(this)
    }

    /// Replaces the jobs, and keeps what is known of those whose names stay.
    pub(super) fn replace(&self, jobs: Vec<Job>) -> Result<()> {
        let mut names = BTreeSet::new();
        for job in &jobs {
            job.check()?;
            if !names.insert(job.name.clone()) {
                let message = format!("two jobs have the name {:?}; give each a name of its own", job.name);
                return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
            }
        }
        let mut slots = self.slots();
        slots.retain(|name, slot| {
            slot.is_removed = !names.contains(name);
            !slot.is_removed || slot.running_since.is_some()
        });
        for job in jobs.into_iter().map(Arc::new) {
            let slot = slots.entry(job.name.clone()).or_insert_with(|| Slot::new(job.clone()));
            if slot.job.work() != job.work() {
                // Nothing that was done elsewhere is done here.
                let (running_since, failures, last_run) = (slot.running_since, slot.failures, slot.last_run.take());
                *slot = Slot { running_since, failures, last_run, ..Slot::new(job.clone()) };
            }
            slot.job = job;
            // Its store may be another one now.
            if let Handled::Unknown { next_attempt, .. } = &mut slot.handled {
                *next_attempt = None;
            }
        }
        Ok(())
    }

    pub(super) fn status(&self, now: DateTime<Utc>) -> Vec<JobStatus> {
        let mut slots = self.slots();
        let shown = slots.iter_mut().filter(|(_, slot)| !slot.is_removed);
        shown.map(|(name, slot)| slot.status(name, now)).collect()
    }

    /// Returns what is due now, at most so much of it, and marks it as started; and how long to wait before asking again.
    pub(super) fn take_due(&self, now: DateTime<Utc>, room: usize) -> (Vec<Due>, Duration) {
        let (mut taken, mut sleep) = (Vec::new(), SLEEP_MAX);
        let mut slots = self.slots();
        let mut waiting: Vec<&mut Slot> = slots.values_mut().collect();
        // One that runs often must not take the place of another one for ever.
        waiting.sort_by_key(|slot| slot.taken_at);
        for slot in waiting {
            if taken.len() >= room {
                break;
            }
            match slot.due(now) {
                Ok(due) => {
                    slot.running_since = Some(now);
                    slot.taken_at = Some(now);
                    if let (Due::Run(run), Handled::Known(state)) = (&due, &mut slot.handled)
                        && let Some(due) = run.start.due
                    {
                        state.started(due);
                    }
                    taken.push(due);
                }
                Err(Some(until)) => {
                    let wait = until.signed_duration_since(now).max(TimeDelta::milliseconds(1));
                    sleep = sleep.min(wait.to_std().unwrap_or(SLEEP_MAX));
                }
                Err(None) => {}
            }
        }
        (taken, sleep)
    }

    /// Starts a run of a job now.
    pub(super) fn start_now(&self, name: &str, now: DateTime<Utc>) -> Result<DueRun> {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(name).filter(|slot| !slot.is_removed) else {
            return Err(SnapshotError::new(ErrorKind::NotFound, format!("there is no job {name:?}")));
        };
        if slot.running_since.is_some() {
            let message = format!("a run of the job {name:?} is at work; try again when it has ended");
            return Err(SnapshotError::new(ErrorKind::Busy, message));
        }
        slot.running_since = Some(now);
        Ok(slot.run(None, (1, 0), Vec::new(), now))
    }

    /// Takes over until when the due times of a job have had their runs. Without snapshots, none has.
    pub(super) fn was_looked_up(&self, job: &Job, answer: &Result<Option<DateTime<Utc>>>, now: DateTime<Utc>) {
        self.end(job, |slot| {
            slot.snapshots_at = answer.as_ref().ok().copied().flatten().or(slot.snapshots_at);
            slot.known.extend(slot.snapshots_at.map(|_| String::new()));
            slot.handled = match (answer, &slot.handled) {
                (Ok(newest), _) => Handled::Known(JobState::of_newest(*newest, &slot.job.schedule, now)),
                (Err(_), Handled::Unknown { failed_attempts, .. }) => {
                    let failed_attempts = failed_attempts.saturating_add(1);
                    let wait =
                        TimeDelta::from_std(slot.job.schedule.retry.wait(failed_attempts)).unwrap_or(TimeDelta::MAX);
                    Handled::Unknown { failed_attempts, next_attempt: now.checked_add_signed(wait) }
                }
                (Err(_), Handled::Known(state)) => Handled::Known(state.clone()),
            };
        });
    }

    /// Takes over what a run has done.
    pub(super) fn has_ended(&self, job: &Job, report: &RunReport, verified_on: Option<NaiveDate>, now: DateTime<Utc>) {
        self.end(job, |slot| {
            slot.verified_on = verified_on;
            slot.known.extend(report.steps.iter().filter_map(StepReport::filled_store).map(str::to_owned));
            slot.failures = if report.is_success() { 0 } else { slot.failures.saturating_add(1) };
            if report.is_success() {
                slot.succeeded_at = Some(report.ended_at);
            }
            if let (Handled::Known(state), Some(_)) = (&mut slot.handled, report.start.due) {
                match report.is_tried_again() {
                    true => state.failed(&slot.job.schedule.retry, now),
                    false => state.succeeded(),
                }
            }
            if report.start.due.is_some() {
                slot.steps.extend(report.steps.iter().cloned());
            }
            slot.last_run = Some(report.clone());
        });
    }

    /// Returns the number of runs of a job in a row that have failed.
    pub(super) fn failures(&self, name: &str) -> u32 {
        self.slots().get(name).map_or(0, |slot| slot.failures)
    }

    /// Counts a failure that came before any run.
    pub(super) fn has_failed(&self, report: &RunReport) {
        if let Some(slot) = self.slots().get_mut(&report.start.job) {
            slot.failures = slot.failures.saturating_add(1);
            slot.last_run = Some(report.clone());
        }
    }

    /// What a job has done does not count for one that has replaced it and does other work.
    fn end(&self, job: &Job, take: impl FnOnce(&mut Slot)) {
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(&job.name) {
            slot.running_since = None;
            if slot.job.work() == job.work() {
                take(slot);
            }
            if slot.is_removed {
                slots.remove(&job.name);
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
