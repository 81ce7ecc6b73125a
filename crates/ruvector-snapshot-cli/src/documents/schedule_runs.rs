//! The documents of runs of jobs: a line of the daemon, the document of `schedule --once`, and the body of a webhook.

use chrono::{DateTime, SubsecRound as _, Utc};
use ruvector_snapshot::Span;
use ruvector_snapshot::scheduler::{JobStatus, RunOutcome, RunReport, StepError, StepKind, StepReport};
use schemars::JsonSchema;
use serde::Serialize;

use super::envelope::SCHEMA_VERSION;
use super::failure::FailureKind;

/// A run of a job that has ended: a line of `schedule --json`, which runs until it is stopped.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ScheduleLine")]
pub(crate) struct ScheduleLine<'a> {
    /// The version of this contract: 1. Members can be added in the same version, so ignore those that you do not know.
    schema_version: u32,
    /// The command: `schedule`.
    command: &'static str,
    /// The run.
    run: JobRunDocument<'a>,
}

impl<'a> ScheduleLine<'a> {
    pub(crate) fn new(report: &'a RunReport) -> Self {
        Self { schema_version: SCHEMA_VERSION, command: "schedule", run: JobRunDocument::from(report) }
    }
}

/// A job that has become stale: the body of a webhook, and the standard input of the command `on_stale`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StaleLine")]
pub(crate) struct StaleLine<'a> {
    /// The version of this contract: 1. Members can be added in the same version, so ignore those that you do not know.
    schema_version: u32,
    /// The command: `schedule`.
    command: &'static str,
    /// The job.
    stale: StaleJobDocument<'a>,
}

/// A job whose newest success is older than its `max_age`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StaleJob")]
struct StaleJobDocument<'a> {
    /// The name of the job.
    job: &'a str,
    /// When the job was found stale.
    checked_at: DateTime<Utc>,
    /// When a run last succeeded. If none has while the program runs: when the newest snapshot was taken of the database whose newest
    /// one is the oldest. Null if a database has no snapshot.
    succeeded_at: Option<DateTime<Utc>>,
    /// How old that may be, for example `26h`.
    max_age: String,
    /// Number of runs in a row that have failed, while the program runs.
    failures: u32,
    /// Since when a run is at work. Null if none is.
    running_since: Option<DateTime<Utc>>,
    /// When it runs next. Null if never, or if that is not known.
    next_run: Option<DateTime<Utc>>,
}

impl<'a> StaleLine<'a> {
    pub(crate) fn new(
        job: &'a JobStatus,
        succeeded_at: Option<DateTime<Utc>>,
        max_age: Span,
        checked_at: DateTime<Utc>,
    ) -> Self {
        let stale = StaleJobDocument {
            job: &job.name,
            checked_at: in_milliseconds(checked_at),
            succeeded_at: succeeded_at.map(in_milliseconds),
            max_age: max_age.to_string(),
            failures: job.failures,
            running_since: job.running_since.map(in_milliseconds),
            next_run: job.next_run.map(in_milliseconds),
        };
        Self { schema_version: SCHEMA_VERSION, command: "schedule", stale }
    }
}

/// What the runs of `schedule --once` have done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ScheduleOnce")]
pub(crate) struct ScheduleOnceDocument<'a> {
    /// The runs, in the order in which they were started.
    pub(crate) runs: Vec<JobRunDocument<'a>>,
}

/// What a run of a job has done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobRun")]
pub(crate) struct JobRunDocument<'a> {
    /// The name of the job.
    job: &'a str,
    /// How it has ended.
    outcome: RunOutcomeName,
    /// When the run was due. Null if it was asked for, and if the store could not be asked which runs were missed.
    due: Option<DateTime<Utc>>,
    /// 1 for the first run of a due time. More if that has failed.
    attempt: u32,
    /// Number of due times before this one that had no run, at most 1000.
    missed_runs: usize,
    /// Number of runs of this job in a row that have failed before this one, while the program runs.
    failures_before: u32,
    /// When it was started.
    started_at: DateTime<Utc>,
    /// When it has ended.
    finished_at: DateTime<Utc>,
    /// What it has done, in this order.
    steps: Vec<JobStepDocument<'a>>,
}

/// A step of a run. A member that a kind of step does not have is null.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobStep")]
struct JobStepDocument<'a> {
    /// What it does.
    step: StepName,
    /// The database: the name of its source, or its host and path.
    database: Option<&'a str>,
    /// The store, if it is another one than that of the job: `@NAME` for a profile of the file, or the location.
    store: Option<&'a str>,
    /// When it was started.
    started_at: DateTime<Utc>,
    /// When it has ended.
    finished_at: DateTime<Utc>,
    /// The id of the snapshot that was created or drilled.
    snapshot_id: Option<&'a str>,
    /// The id of the base of the snapshot that was created. Null for a full one.
    base_id: Option<&'a str>,
    /// Number of records of the snapshot that was created.
    records: Option<u64>,
    /// Bytes that were stored: of the snapshot that was created, or of what was copied.
    stored_bytes: Option<u64>,
    /// Number of snapshots that were copied, deleted or verified. Of a list: 0 if the store had none.
    snapshots: Option<u64>,
    /// What a person should know, one sentence each.
    warnings: &'a [String],
    /// Why it has failed. Null if it has not.
    error: Option<JobStepErrorDocument<'a>>,
}

/// Why a step has failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobStepError")]
struct JobStepErrorDocument<'a> {
    /// What the failure means.
    kind: FailureKind,
    /// What failed, and why. For people: programs use `kind`.
    message: &'a str,
    /// Whether a scheduled run is tried again because of it.
    tried_again: bool,
}

/// How a run has ended. Treat one that you do not know as `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RunOutcome")]
pub(crate) enum RunOutcomeName {
    /// All is done.
    Succeeded,
    /// All is done, and there are warnings.
    Warnings,
    /// Something has failed.
    Failed,
    /// It was stopped before its end.
    Interrupted,
}

/// What a step does.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StepName")]
enum StepName {
    /// What comes before the first of the others, for example the command `before` of the job.
    Start,
    /// Lists the store.
    List,
    /// Pauses the application.
    Pause,
    /// Takes a snapshot.
    Create,
    /// Lets the application go on.
    Resume,
    /// Copies snapshots to another store.
    Copy,
    /// Deletes snapshots that the retention policy drops.
    Prune,
    /// Verifies a part of the snapshots.
    Verify,
    /// Restores the newest snapshot as a drill.
    Drill,
    /// Removes what was stored of an unfinished snapshot.
    Cleanup,
    /// Runs the command `after` of the job.
    Finish,
}

impl<'a> From<&'a RunReport> for JobRunDocument<'a> {
    fn from(report: &'a RunReport) -> Self {
        let RunReport { start, ended_at, outcome, steps, .. } = report;
        Self {
            job: &start.job,
            outcome: RunOutcomeName::from(*outcome),
            due: start.due,
            attempt: start.attempt,
            missed_runs: start.missed_runs,
            failures_before: start.failures_before,
            started_at: in_milliseconds(start.started_at),
            finished_at: in_milliseconds(*ended_at),
            steps: steps.iter().map(JobStepDocument::from).collect(),
        }
    }
}

impl<'a> From<&'a StepReport> for JobStepDocument<'a> {
    fn from(step: &'a StepReport) -> Self {
        let StepReport { started_at, ended_at, records, stored_bytes, snapshots, warnings, .. } = step;
        Self {
            step: StepName::from(step.step),
            database: step.database.as_deref(),
            store: step.store.as_deref(),
            started_at: in_milliseconds(*started_at),
            finished_at: in_milliseconds(*ended_at),
            snapshot_id: step.snapshot_id.as_deref(),
            base_id: step.base_id.as_deref(),
            records: *records,
            stored_bytes: *stored_bytes,
            snapshots: *snapshots,
            warnings,
            error: step.error.as_ref().map(JobStepErrorDocument::from),
        }
    }
}

impl<'a> From<&'a StepError> for JobStepErrorDocument<'a> {
    fn from(error: &'a StepError) -> Self {
        Self { kind: error.kind.into(), message: &error.message, tried_again: error.is_tried_again }
    }
}

/// As every document has its times.
fn in_milliseconds(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(3)
}

impl From<RunOutcome> for RunOutcomeName {
    fn from(outcome: RunOutcome) -> Self {
        match outcome {
            RunOutcome::Succeeded => Self::Succeeded,
            RunOutcome::Warnings => Self::Warnings,
            RunOutcome::Interrupted => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<StepKind> for StepName {
    fn from(step: StepKind) -> Self {
        match step {
            StepKind::List => Self::List,
            StepKind::Pause => Self::Pause,
            StepKind::Create => Self::Create,
            StepKind::Resume => Self::Resume,
            StepKind::Copy => Self::Copy,
            StepKind::Prune => Self::Prune,
            StepKind::Verify => Self::Verify,
            StepKind::Drill => Self::Drill,
            StepKind::Cleanup => Self::Cleanup,
            StepKind::Finish => Self::Finish,
            _ => Self::Start,
        }
    }
}
