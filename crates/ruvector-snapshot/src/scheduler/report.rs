//! What a run has done: data, for a person, a log, a webhook and metrics.

use std::error::Error as _;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::error::{ErrorKind, SnapshotError};

/// A run that is about to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunStart {
    /// The name of the job.
    pub job: String,
    /// When the run was due. `None` if it was asked for.
    pub due: Option<DateTime<Utc>>,
    /// 1 for the first run of a due time. More if that has failed.
    pub attempt: u32,
    /// Number of due times before this one that had no run, up to [`MAX_COUNT`](crate::schedule::MAX_COUNT).
    pub missed_runs: usize,
    /// Number of runs of this job in a row that have failed before this one.
    pub failures_before: u32,
    /// When the run has started.
    pub started_at: DateTime<Utc>,
}

/// What a run has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    #[serde(flatten)]
    pub start: RunStart,
    /// When it has ended.
    pub ended_at: DateTime<Utc>,
    /// How it has ended.
    pub outcome: RunOutcome,
    /// What it has done, in this order.
    pub steps: Vec<StepReport>,
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunOutcome {
    /// All is done.
    Succeeded,
    /// All is done, and there is something that a person should know.
    Warnings,
    /// Something has failed.
    Failed,
    /// It was stopped before its end.
    Interrupted,
}

impl RunOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Warnings, Self::Failed, Self::Interrupted];

    /// Returns the name, as it is serialized.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::scheduler::RunOutcome;
    ///
    /// assert_eq!(RunOutcome::ALL.map(RunOutcome::name), ["succeeded", "warnings", "failed", "interrupted"]);
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Warnings => "warnings",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// Asks the listener whether the run may start.
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
    /// Drills the newest snapshot.
    Drill,
    /// Removes what was stored of an unfinished snapshot.
    Cleanup,
    /// Lets the listener finish the run.
    Finish,
}

/// What a step has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// What it does.
    pub step: StepKind,
    /// The database, if it is of one.
    pub database: Option<String>,
    /// The store, if it is another one than that of the job.
    pub store: Option<String>,
    /// When it has started.
    pub started_at: DateTime<Utc>,
    /// When it has ended.
    pub ended_at: DateTime<Utc>,
    /// The id of the snapshot that was taken or drilled.
    pub snapshot_id: Option<String>,
    /// The id of the base of the snapshot that was taken.
    pub base_id: Option<String>,
    /// Number of records of the snapshot that was taken.
    pub records: Option<u64>,
    /// Bytes that were stored: of the snapshot that was taken, or of what was copied.
    pub stored_bytes: Option<u64>,
    /// Number of snapshots that were copied, deleted or verified. Of a list: 0 if the store had none.
    pub snapshots: Option<u64>,
    /// What a person should know, as sentences.
    pub warnings: Vec<String>,
    /// Why it has failed.
    pub error: Option<StepError>,
}

/// Why a step has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepError {
    /// The kind of the error.
    #[serde(serialize_with = "kind_text")]
    pub kind: ErrorKind,
    /// What has failed, why, and what to do, with its causes.
    pub message: String,
    /// Whether the run is tried again because of it. What was found corrupt is corrupt a minute later too.
    pub is_tried_again: bool,
}

fn kind_text<S: Serializer>(kind: &ErrorKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(kind)
}

impl StepError {
    pub(super) fn new(error: &SnapshotError, is_tried_again: bool) -> Self {
        let (mut message, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            // Many causes are part of what they have caused.
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self { kind: error.kind(), message, is_tried_again }
    }
}

/// Returns the report of a job whose store could not be read, so that it is not known which runs were missed.
pub(super) fn without_store(
    job: &str,
    failures_before: u32,
    started_at: DateTime<Utc>,
    ended_at: DateTime<Utc>,
    error: &SnapshotError,
) -> RunReport {
    let start = RunStart { job: job.to_owned(), due: None, attempt: 1, missed_runs: 0, failures_before, started_at };
    let step = StepReport {
        step: StepKind::List,
        database: None,
        store: None,
        started_at,
        ended_at,
        snapshot_id: None,
        base_id: None,
        records: None,
        stored_bytes: None,
        snapshots: None,
        warnings: Vec::new(),
        error: Some(StepError::new(error, true)),
    };
    RunReport { start, ended_at, outcome: RunOutcome::Failed, steps: vec![step] }
}

impl RunReport {
    /// Returns whether everything was done, with or without warnings.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(report: ruvector_snapshot::scheduler::RunReport) {
    /// if !report.is_success() {
    ///     report.errors().for_each(|step| println!("{:?}: {:?}", step.step, step.error));
    /// }
    /// # }
    /// ```
    pub fn is_success(&self) -> bool {
        matches!(self.outcome, RunOutcome::Succeeded | RunOutcome::Warnings)
    }

    /// Returns whether this is the first success after a failure.
    pub fn is_recovery(&self) -> bool {
        self.is_success() && self.start.failures_before > 0
    }

    /// Returns the steps that have failed.
    pub fn errors(&self) -> impl Iterator<Item = &StepReport> {
        self.steps.iter().filter(|step| step.error.is_some())
    }

    /// Returns whether a run that is tried again could do more.
    pub(super) fn is_tried_again(&self) -> bool {
        self.errors().filter_map(|step| step.error.as_ref()).any(|error| error.is_tried_again)
    }
}

impl StepReport {
    /// Returns whether a run that is tried again does not repeat the step.
    pub(super) fn is_done(&self) -> bool {
        self.error.as_ref().is_none_or(|error| !error.is_tried_again)
    }

    /// Returns the store that has snapshots of the job by this step: of its own store, the empty name.
    pub(super) fn filled_store(&self) -> Option<&str> {
        match self.step {
            _ if self.error.is_some() => None,
            StepKind::Create => Some(""),
            StepKind::Copy => self.store.as_deref(),
            _ => None,
        }
    }
}
