//! The documents of `schedule`.

use std::path::Path;

use chrono::{DateTime, Utc};
use ruvector_snapshot::schedule::{ForecastRun, ForecastState, FullRule, Missed};
use ruvector_snapshot::{SourceId, Span};
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::lossy;
use crate::config_file::{Job, JobCopy};

/// Whether the jobs of the configuration file could run now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ScheduleCheck")]
pub(crate) struct ScheduleCheckDocument<'a> {
    /// The path of the configuration file.
    file: String,
    /// Whether no job has a problem. If one has, the exit code is 1.
    ok: bool,
    /// The jobs, in the order of the file.
    pub(crate) jobs: Vec<CheckedJobDocument<'a>>,
}

/// A job of the configuration file, and what is wrong with what it needs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CheckedJob")]
pub(crate) struct CheckedJobDocument<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// What is wrong now, one sentence each.
    pub(crate) problems: Vec<String>,
    /// What may be as it should be, one sentence each, for example that a store has no snapshots yet.
    pub(crate) notes: Vec<String>,
    /// When the next run starts: its due time and its jitter. Null if no run follows.
    pub(crate) next_start: Option<DateTime<Utc>>,
    /// The databases: `@NAME` for one of the file, or the path.
    databases: Vec<String>,
    /// Where the snapshots go: `@NAME` for a profile of the file, or the location.
    store: String,
    /// When a run is due, for example `every 6h`.
    when: String,
    /// How long after its due time a run may start, in seconds.
    jitter_seconds: u64,
    /// What happens to due times without a run: `run-once` or `skip`.
    missed: &'static str,
    /// How long after a failure the run is tried again, in seconds. The time doubles with each failure.
    retry_first_seconds: u64,
    /// The longest of these times.
    retry_longest_seconds: u64,
    /// Every so many snapshots, a full one is taken. Null if `full_when` says when.
    full_every: Option<u32>,
    /// The first snapshot after each of these due times is a full one. Null if `full_every` says when.
    full_when: Option<String>,
    /// The retention policy. Null if nothing is deleted.
    retention: Option<&'a str>,
    /// Each day, one of so many parts of every snapshot is verified. Null if none is.
    verify_parts: Option<u16>,
    /// When a snapshot is restored as a drill. Null if none is.
    drill: Option<String>,
    /// How old the newest snapshot may be, for example `26h`. Null if no two runs follow.
    max_age: Option<String>,
    /// The other stores that the snapshots are copied to.
    copies: Vec<JobCopyDocument<'a>>,
}

/// Another store that the snapshots of a job are copied to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobCopy")]
struct JobCopyDocument<'a> {
    /// `@NAME` for a profile of the file, or the location.
    to: String,
    /// The retention policy for the copies. Null if nothing is deleted there.
    retention: Option<&'a str>,
}

/// The next runs of the jobs of the configuration file, and what the stores would hold after them, if every run succeeds.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ScheduleNext")]
pub(crate) struct ScheduleNextDocument<'a> {
    /// The runs, in the order in which they start.
    pub(crate) runs: Vec<ForecastRunDocument<'a>>,
    /// The jobs, in the order of the file.
    pub(crate) jobs: Vec<ForecastJobDocument<'a>>,
}

/// A run that is to come.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ForecastRun")]
pub(crate) struct ForecastRunDocument<'a> {
    /// The name of the job.
    pub(crate) job: &'a str,
    /// The due time.
    pub(crate) due: DateTime<Utc>,
    /// When it starts: the due time and its jitter.
    pub(crate) start: DateTime<Utc>,
    /// What it would take: one for each database of the job.
    pub(crate) snapshots: Vec<ForecastSnapshotDocument>,
    /// Number of snapshots that the retention policy of the job would delete after that.
    pub(crate) deleted: usize,
}

/// A snapshot that would be taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ForecastSnapshot")]
pub(crate) struct ForecastSnapshotDocument {
    /// The name of the source, or the host and the path of the database.
    source: String,
    /// `full` or `incremental`.
    r#type: &'static str,
}

/// What the store would hold of the databases of a job after the runs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ForecastJob")]
pub(crate) struct ForecastJobDocument<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// Whether its store could be read. If not, the forecast starts from an empty one, and there is a warning.
    store_read: bool,
    /// Number of its runs.
    pub(crate) runs: usize,
    /// Number of full snapshots of its databases that the store would hold.
    pub(crate) full: usize,
    /// Number of incremental snapshots of its databases that the store would hold.
    pub(crate) incremental: usize,
    /// When the oldest of these was taken, or would be. Null if there are none.
    pub(crate) oldest: Option<DateTime<Utc>>,
    /// Number of snapshots that its retention policy would have deleted.
    pub(crate) deleted: usize,
    /// The retention policy. Null if nothing is deleted.
    pub(crate) retention: Option<&'a str>,
    /// Why the policy would delete nothing. Null if it can be applied.
    pub(crate) retention_problem: Option<String>,
}

impl<'a> ScheduleCheckDocument<'a> {
    pub(crate) fn new(file: &Path, jobs: Vec<CheckedJobDocument<'a>>) -> Self {
        let ok = jobs.iter().all(|job| job.problems.is_empty());
        Self { file: lossy(file), ok, jobs }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.ok
    }

    /// Returns the number of jobs with problems.
    pub(crate) fn failed(&self) -> usize {
        self.jobs.iter().filter(|job| !job.problems.is_empty()).count()
    }
}

impl<'a> CheckedJobDocument<'a> {
    pub(crate) fn new(
        job: &'a Job,
        problems: Vec<String>,
        notes: Vec<String>,
        next_start: Option<DateTime<Utc>>,
        max_age: Option<Span>,
    ) -> Self {
        let (full_every, full_when) = match &job.full {
            FullRule::Every(number) => (Some(*number), None),
            FullRule::When(when) => (None, Some(when.to_string())),
            _ => (None, None),
        };
        let copy =
            |copy: &'a JobCopy| JobCopyDocument { to: copy.to.value.to_string(), retention: copy.retention.as_deref() };
        Self {
            name: &job.name.value,
            problems,
            notes,
            next_start,
            databases: job.databases.iter().map(|database| database.value.to_string()).collect(),
            store: job.store.value.to_string(),
            when: job.when.value.to_string(),
            jitter_seconds: job.jitter.as_secs(),
            missed: match job.missed {
                Missed::RunOnce => "run-once",
                Missed::Skip => "skip",
            },
            retry_first_seconds: job.retry.first_wait.as_secs(),
            retry_longest_seconds: job.retry.longest_wait.as_secs(),
            full_every,
            full_when,
            retention: job.retention.as_deref(),
            verify_parts: job.verify_parts,
            drill: job.drill.as_ref().map(ToString::to_string),
            max_age: max_age.map(|max_age| max_age.to_string()),
            copies: job.copies.iter().map(copy).collect(),
        }
    }
}

impl ForecastSnapshotDocument {
    pub(crate) fn new(source: &SourceId, is_full: bool) -> Self {
        Self { source: source.to_string(), r#type: if is_full { "full" } else { "incremental" } }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.r#type == "full"
    }
}

impl<'a> ForecastJobDocument<'a> {
    /// Describes a job before its first run.
    pub(crate) fn new(job: &'a Job) -> Self {
        Self {
            name: &job.name.value,
            store_read: false,
            runs: 0,
            full: 0,
            incremental: 0,
            oldest: None,
            deleted: 0,
            retention: job.retention.as_deref(),
            retention_problem: None,
        }
    }

    /// Adds a run.
    pub(crate) fn add(&mut self, run: &ForecastRun) {
        self.runs += 1;
        self.deleted += run.deleted;
        self.retention_problem = run.problem.as_ref().map(ToString::to_string);
    }

    /// Sets what the store would hold in the end, and whether it could be read.
    pub(crate) fn end(&mut self, state: &ForecastState, store_read: bool) {
        let ForecastState { full, incremental, oldest, .. } = *state;
        (self.full, self.incremental, self.oldest, self.store_read) = (full, incremental, oldest, store_read);
    }
}
