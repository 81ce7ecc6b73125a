//! What the daemon has heard of its scheduler and read of its stores, in memory. Each request is answered from here, and none waits
//! for a store. Reads no store and runs no job.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};
use ruvector_snapshot::scheduler::{JobStatus, RunOutcome, RunReport};
use ruvector_snapshot::{Freshness, Listing};
use tokio::sync::Notify;

use super::described::{cut, described, freshness, refresh};
use super::view::{FailureView, JobView, RunView, StoreView, View};
use super::watched::{Watched, WatchedJob, WatchedStore};
use crate::output::ago;
use crate::verbs::schedule::reports::{failure, said, taken};

/// The scheduler is polled once a minute at least.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// A listing of a store that is older says too little. It is made much more often.
const VIEW_AGE_MAX: TimeDelta = TimeDelta::minutes(45);
/// Failures that are kept.
const FAILURES_MAX: usize = 20;

/// What is known.
#[derive(Debug)]
pub(super) struct Board {
    host: Option<String>,
    started_at: DateTime<Utc>,
    state: Mutex<State>,
    /// Wakes what reads the stores.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    watched: Arc<Watched>,
    statuses: Vec<JobStatus>,
    /// When the scheduler was last polled, by the clock that is never set.
    polled: Duration,
    is_stopping: bool,
    counts: Counts,
    failures: VecDeque<FailureView>,
    /// By location.
    known: BTreeMap<String, Known>,
    views: Vec<Arc<StoreView>>,
}

/// What has happened since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Runs by job.
    pub(super) runs: BTreeMap<(String, RunOutcome), u64>,
    /// Steps that have failed, by job, kind of step and kind of error.
    pub(super) failed_steps: BTreeMap<(String, String, String), u64>,
}

/// What is known of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// When reading it was last tried.
    pub(super) tried_at: Option<DateTime<Utc>>,
    /// Whether it changed since, or may have.
    pub(super) is_outdated: bool,
    /// Why the last try has failed.
    pub(super) error: Option<String>,
    listing: Option<Arc<Listing>>,
    view: Arc<StoreView>,
    pub(super) freshness: Option<Arc<Freshness>>,
}

impl Board {
    pub(super) fn new(host: Option<String>, started_at: DateTime<Utc>, watched: Watched) -> Self {
        let board = Self { host, started_at, state: Mutex::default(), changed: Notify::new() };
        board.set_watched(watched);
        board.state().polled = monotonic();
        board
    }

    /// Replaces what is watched. All stores are read again.
    pub(super) fn set_watched(&self, watched: Watched) {
        let mut state = self.state();
        state.known.retain(|location, _| watched.stores.iter().any(|store| store.location == *location));
        for store in &watched.stores {
            let known = state.known.entry(store.location.clone()).or_default();
            known.is_outdated = true;
            let view = Arc::make_mut(&mut known.view);
            (view.name, view.location) = (store.name.clone(), store.location.clone());
        }
        let is_there = |job: &str| watched.jobs.iter().any(|watched| watched.name == job);
        state.counts.runs.retain(|(job, _), _| is_there(job));
        state.counts.failed_steps.retain(|(job, ..), _| is_there(job));
        for job in &watched.jobs {
            for outcome in RunOutcome::ALL {
                state.counts.runs.entry((job.name.clone(), outcome)).or_default();
            }
        }
        state.watched = Arc::new(watched);
        state.publish();
        drop(state);
        self.changed.notify_one();
    }

    /// Notes what the scheduler has decided, and that it was polled.
    pub(super) fn waiting(&self, jobs: &[JobStatus]) {
        let mut state = self.state();
        state.statuses = jobs.to_vec();
        state.polled = monotonic();
    }

    pub(super) fn stopping(&self) {
        self.state().is_stopping = true;
    }

    /// Notes what a run has done. The stores of its job have changed. Of a job that was removed meanwhile, nothing is counted.
    pub(super) fn ended(&self, report: &RunReport) {
        let mut state = self.state();
        let watched = state.watched.clone();
        if let Some(job) = watched.jobs.iter().find(|job| job.name == report.start.job) {
            state.count(report);
            for store in watched.stores.iter().filter(|store| job.has(&store.name)) {
                state.known.entry(store.location.clone()).or_default().is_outdated = true;
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Returns what is watched, and what is known of each store, by location.
    pub(super) fn known(&self) -> (Arc<Watched>, BTreeMap<String, Known>) {
        let state = self.state();
        (state.watched.clone(), state.known.clone())
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Notes that a store is being read: what changes from now on is not part of it.
    pub(super) fn reading(&self, location: &str, now: DateTime<Utc>) {
        if let Some(known) = self.state().known.get_mut(location) {
            (known.tried_at, known.is_outdated) = (Some(now), false);
        }
    }

    /// Notes what was read of a store, or why it could not be.
    pub(super) fn read(&self, store: &WatchedStore, result: Result<Listing, String>) {
        // It takes its time, and the scheduler must not wait for it.
        let result = result.map(|listing| (Arc::new(described(store, &listing)), Arc::new(listing)));
        let mut state = self.state();
        let Some(known) = state.known.get_mut(&store.location) else { return };
        match result {
            Ok((view, listing)) => (known.view, known.listing, known.error) = (view, Some(listing), None),
            Err(message) => known.error = Some(cut(&message)),
        }
    }

    /// Decides again what is stale: the time has gone on.
    pub(super) fn refresh(&self, now: DateTime<Utc>) {
        let (watched, mut all) = self.known();
        for store in &watched.stores {
            let Some(known) = all.get_mut(&store.location) else { continue };
            let view = Arc::make_mut(&mut known.view);
            view.error.clone_from(&known.error);
            if let Some(listing) = &known.listing {
                let fresh = freshness(store, listing, now);
                refresh(view, &fresh);
                known.freshness = Some(Arc::new(fresh));
            }
        }
        let mut state = self.state();
        for (location, Known { view, freshness, error, listing, .. }) in all {
            // Not what was replaced meanwhile: that is decided next.
            let is_same = |known: &&mut Known| match (&known.listing, &listing) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            };
            if let Some(known) = state.known.get_mut(&location).filter(is_same)
                && known.error == error
            {
                (known.view, known.freshness) = (view, freshness);
            }
        }
        state.publish();
    }

    /// Returns what is known now.
    pub(super) fn view(&self, now: DateTime<Utc>) -> View {
        let state = self.state();
        let stores = state.views.clone();
        let jobs = state.watched.jobs.iter().map(|job| {
            let status = state.statuses.iter().find(|status| status.name == job.name);
            job_view(job, status, &stores, now)
        });
        View {
            host: self.host.clone(),
            started_at: self.started_at,
            is_alive: state.is_stopping || monotonic().saturating_sub(state.polled) <= SILENCE_MAX,
            is_stopping: state.is_stopping,
            jobs: jobs.collect(),
            stores: stores.clone(),
            failures: state.failures.iter().cloned().collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, report: &RunReport) {
        let job = &report.start.job;
        *self.counts.runs.entry((job.clone(), report.outcome)).or_default() += 1;
        for step in report.errors() {
            let Some(error) = &step.error else { continue };
            let kind = format!("{:?}", step.step).to_lowercase();
            *self.counts.failed_steps.entry((job.clone(), kind, error.kind.to_string())).or_default() += 1;
            let message = cut(&failure(step).unwrap_or_default());
            self.failures.push_front(FailureView { at: step.ended_at, job: job.clone(), message });
        }
        self.failures.truncate(FAILURES_MAX);
    }

    /// Makes what is known of the stores visible, in the order of the file.
    fn publish(&mut self) {
        let views = self.watched.stores.iter().filter_map(|store| Some(self.known.get(&store.location)?.view.clone()));
        self.views = views.collect();
    }
}

fn job_view(job: &WatchedJob, status: Option<&JobStatus>, stores: &[Arc<StoreView>], now: DateTime<Utc>) -> JobView {
    JobView {
        name: job.name.clone(),
        when: job.when.clone(),
        databases: job.sources.clone(),
        store: job.store.clone(),
        copies: job.copies.clone(),
        retention: job.retention.clone(),
        verify_parts: job.verify_parts,
        has_drills: job.has_drills,
        max_age: job.max_age.map(|age| age.to_string()),
        running_since: status.and_then(|status| status.running_since),
        next_run: status.and_then(|status| status.next_run),
        failures: status.map_or(0, |status| status.failures),
        succeeded_at: status.and_then(|status| status.succeeded_at),
        last_run: status.and_then(|status| status.last_run.as_ref()).map(run_view),
        stale: stale(job, stores, now),
    }
}

/// Returns why a job is stale: a database in one of its stores is, or too little is known of a store.
fn stale(job: &WatchedJob, stores: &[Arc<StoreView>], now: DateTime<Utc>) -> Vec<String> {
    let mut reasons = Vec::new();
    for store in stores.iter().filter(|store| job.has(&store.name)) {
        let name = &store.name;
        match store.read_at {
            None if store.error.is_some() => reasons.push(format!("the store {name} could not be read yet")),
            None => reasons.push(format!("the store {name} is being read for the first time")),
            Some(at) if now.signed_duration_since(at) > VIEW_AGE_MAX => {
                reasons.push(format!("the store {name} was last read {}", ago(at, now)));
            }
            Some(_) => {
                let is_known = |source: &&String| store.databases.iter().any(|database| database.source == **source);
                let unknown = job.sources.iter().filter(|source| !is_known(source));
                let why = |source| format!("{source} in {name}: the store was not read since the job has it");
                reasons.extend(unknown.map(why));
            }
        }
        let own = store.databases.iter().filter(|database| database.jobs.contains(&job.name));
        let of_database = own.flat_map(|one| one.stale.iter().map(|why| format!("{} in {name}: {why}", one.source)));
        reasons.extend(of_database);
    }
    reasons
}

fn run_view(report: &RunReport) -> RunView {
    let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
    RunView {
        ended_at: report.ended_at,
        seconds: taken(report).num_milliseconds() as f64 / 1000.0,
        outcome: report.outcome,
        records: sum(&mut report.steps.iter().filter_map(|step| step.records)),
        stored_bytes: sum(&mut report.steps.iter().filter_map(|step| step.stored_bytes)),
        did: cut(&said(report)),
    }
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::view::DatabaseView;
    use super::*;

    fn job() -> WatchedJob {
        WatchedJob {
            name: "nightly".to_owned(),
            when: "@daily".to_owned(),
            sources: vec!["articles".to_owned()],
            store: "@local".to_owned(),
            copies: vec!["@offsite".to_owned()],
            retention: None,
            verify_parts: None,
            has_drills: false,
            max_age: None,
        }
    }

    fn store(name: &str, read_at: Option<DateTime<Utc>>, stale: &[&str]) -> Arc<StoreView> {
        let stale = stale.iter().map(|why| (*why).to_owned()).collect();
        let (source, jobs) = ("articles".to_owned(), vec!["nightly".to_owned()]);
        let database = DatabaseView { source, jobs, stale, ..DatabaseView::default() };
        Arc::new(StoreView { name: name.to_owned(), read_at, databases: vec![database], ..StoreView::default() })
    }

    #[test]
    fn a_job_is_stale_if_a_database_is_or_if_too_little_is_known_of_a_store() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        let (young, old) = (Some(now - TimeDelta::minutes(45)), Some(now - TimeDelta::minutes(46)));
        let unread =
            Arc::new(StoreView { error: Some("why".to_owned()), ..StoreView::clone(&store("@local", None, &[])) });
        let without = Arc::new(StoreView { databases: Vec::new(), ..StoreView::clone(&store("@local", young, &[])) });
        for (stores, expected) in [
            (vec![store("@local", young, &[]), store("@offsite", young, &[])], vec![]),
            (
                vec![store("@local", young, &[]), store("@offsite", young, &["it is old"])],
                vec!["articles in @offsite: it is old"],
            ),
            (vec![store("@local", old, &[])], vec!["the store @local was last read 46 min ago"]),
            (vec![store("@local", None, &[])], vec!["the store @local is being read for the first time"]),
            (vec![unread], vec!["the store @local could not be read yet"]),
            (vec![without], vec!["articles in @local: the store was not read since the job has it"]),
            (vec![store("@other", old, &["it is old"])], vec![]),
        ] {
            assert_eq!(stale(&job(), &stores, now), expected);
        }
    }
}
