//! Runs jobs unattended, for years: [`SnapshotScheduler`]. Stands above the façade, and uses nothing below it that a program could
//! not use.
//!
//! | file | contents |
//! |------|----------|
//! | `job` | what a job does and when, as it is stated |
//! | `plan` | what a run has to do, decided from a listing and the time |
//! | `run` | takes the steps of a run, and reports each |
//! | `report` | what a run has done |
//! | `listener` | what receives the reports |
//! | `jobs` | what is known of each job, and what it demands at a moment |
//!
//! When a run is due is decided in `policy::schedule`.

mod job;
mod jobs;
mod listener;
mod plan;
mod report;
mod run;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;
use tokio::sync::{Notify, watch};

pub use job::{Job, JobCopy, JobDatabase, JobPause};
use jobs::{Due, DueRun, Jobs};
pub use listener::JobListener;
pub use report::{RunOutcome, RunReport, RunStart, StepError, StepKind, StepReport};
use run::Run;

use crate::clock::{self, Clock, SystemClock};
use crate::error::Result;

/// How long the scheduler sleeps at most: the clock may be set meanwhile, and a machine may wake up.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Takes snapshots by schedules, and does with them what jobs say.
///
/// - Runs of one job never overlap. Those of several jobs do, as many at once as [`concurrent_runs`](Self::concurrent_runs) says. What
///   fails in one job does not stop another.
/// - Which runs were missed while the program did not run is known from the store: from the time of the newest snapshot of each
///   database. If a database has no snapshot at all, its job runs at once, unless missed runs are skipped.
/// - A run that fails is tried again, with growing waits, until the next one is due. What it has done is not repeated.
///
/// # Examples
///
/// An application that backs itself up:
///
/// ```no_run
/// # async fn example(stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use ruvector_snapshot::schedule::Schedule;
/// use ruvector_snapshot::scheduler::{Job, JobDatabase, SnapshotScheduler};
/// use ruvector_snapshot::{PrunePolicy, SnapshotConfig, SnapshotManager};
///
/// let store = SnapshotManager::open("s3://backups/articles", SnapshotConfig::default())?;
/// let job = Job::new("articles", store, Schedule::new("every 6h".parse()?))
///     .database(JobDatabase::new("/srv/articles.db", "articles"))
///     .retention(PrunePolicy::default().keep_last(8).keep_daily(14));
/// SnapshotScheduler::new(vec![job])?.run(stop, Duration::from_secs(30)).await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SnapshotScheduler {
    jobs: Jobs,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn JobListener>,
    concurrent_runs: usize,
    /// Wakes the loop when the jobs were changed.
    changed: Notify,
    /// Becomes true when runs are to stop.
    stop: watch::Sender<bool>,
}

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobStatus {
    /// The name of the job.
    pub name: String,
    /// Since when a run is at work.
    pub running_since: Option<DateTime<Utc>>,
    /// When it runs next. `None` if never, or if that is not known yet.
    pub next_run: Option<DateTime<Utc>>,
    /// Number of runs in a row that have failed.
    pub failures: u32,
    /// When a run last succeeded, while the program runs.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// When the newest snapshot was taken of the database whose newest one is the oldest, as the store said when the job was new.
    /// `None` if that is not known yet, or if a database has no snapshot.
    pub snapshots_at: Option<DateTime<Utc>>,
    /// The last run, while the program runs.
    pub last_run: Option<RunReport>,
}

impl SnapshotScheduler {
    /// Returns a scheduler of these jobs, with the clock of the system.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if two jobs have the same name, or if a job has no database,
    /// one twice, or a retention policy that cannot be meant.
    pub fn new(jobs: Vec<Job>) -> Result<Self> {
        Ok(Self {
            jobs: Jobs::new(jobs)?,
            clock: Arc::new(SystemClock),
            listener: Arc::new(listener::Deaf),
            concurrent_runs: 2,
            changed: Notify::new(),
            stop: watch::Sender::new(false),
        })
    }

    /// Uses another clock. The managers of the jobs have clocks of their own.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Reports runs to this listener.
    #[must_use]
    pub fn listener(self, listener: Arc<dyn JobListener>) -> Self {
        Self { listener, ..self }
    }

    /// Sets how many runs are at work at once, at least 1. Default: 2. Each takes the memory of a create or a verification.
    #[must_use]
    pub fn concurrent_runs(self, concurrent_runs: usize) -> Self {
        Self { concurrent_runs: concurrent_runs.max(1), ..self }
    }

    /// Replaces the jobs. What is known of jobs whose names stay is kept, and a run that is at work comes to its end as it was
    /// started.
    ///
    /// # Errors
    ///
    /// The same as [`new`](Self::new). Then nothing was replaced.
    pub fn replace_jobs(&self, jobs: Vec<Job>) -> Result<()> {
        self.jobs.replace(jobs)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Returns what is known of each job, by name.
    pub fn status(&self) -> Vec<JobStatus> {
        self.jobs.status(self.clock.now())
    }

    /// Runs a job now, whatever its schedule says, and returns what it has done.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such job, and
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) if a run of it is at work. What fails in the run is in the report.
    pub async fn run_job(&self, name: &str) -> Result<RunReport> {
        let run = self.jobs.start_now(name, self.clock.now())?;
        Ok(self.start(run).await)
    }

    /// Stops the runs that are at work, as [`run`](Self::run) does after its grace: each ends soon, as interrupted. Runs that are
    /// started later end at once.
    pub fn stop_runs(&self) {
        self.stop.send_replace(true);
    }

    /// Runs jobs when they are due, until `stop` is ready. Then no run is started any more, and those at work have `grace` to come to
    /// their end. After that they are stopped: uploads are aborted, what was stored of an unfinished snapshot is removed, and an
    /// application that was paused goes on.
    ///
    /// If this future is dropped instead, an application that is paused stays paused.
    pub async fn run(&self, stop: impl Future<Output = ()>, grace: Duration) {
        let mut running: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let room = self.concurrent_runs.saturating_sub(running.len());
            let (due, sleep) = self.jobs.take_due(self.clock.now(), room);
            for due in due {
                running.push(Box::pin(self.handle(due)));
            }
            self.listener.waiting(&self.status());
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(()) = running.next() => {}
                () = self.changed.notified() => {}
                () = clock::sleep(sleep) => {}
            }
        }
        let in_time = async { while running.next().await.is_some() {} };
        if tokio::time::timeout(grace, in_time).await.is_err() {
            self.stop_runs();
            while running.next().await.is_some() {}
        }
    }

    async fn handle(&self, due: Due) {
        match due {
            Due::Look(job) => self.look_up(&job).await,
            Due::Run(run) => drop(self.start(run).await),
        }
    }

    async fn start(&self, due: DueRun) -> RunReport {
        let DueRun { job, start, before, verified_on, known } = due;
        let (clock, listener) = (self.clock.as_ref(), self.listener.as_ref());
        let run = Run { job: &job, clock, listener, before, verified_on, known, stop: self.stop.subscribe() };
        let (report, verified_on) = run::run(run, start).await;
        self.listener.ended(&report).await;
        // Last, so that the calls for one job do not overlap.
        self.jobs.has_ended(&job, &report, verified_on, self.clock.now());
        report
    }

    /// Asks the store of a job which due times have had their run.
    async fn look_up(&self, job: &Job) {
        let started_at = self.clock.now();
        let answer = async {
            let sources = job.databases.iter().map(|one| job.store.source_of_file(&one.path, &one.options));
            let sources = sources.collect::<Result<Vec<_>>>()?;
            Ok(plan::handled_until(&job.store.list().await?, &sources))
        };
        let mut stop = self.stop.subscribe();
        let answer = tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => return,
            answer = answer => answer,
        };
        if let Err(error) = &answer {
            let failures_before = self.jobs.failures(&job.name);
            let report = report::without_store(&job.name, failures_before, started_at, self.clock.now(), error);
            self.listener.ended(&report).await;
            self.jobs.has_failed(&report);
        }
        self.jobs.was_looked_up(job, &answer, self.clock.now());
    }
}
