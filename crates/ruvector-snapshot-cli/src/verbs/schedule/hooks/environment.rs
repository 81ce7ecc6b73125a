//! What a command of a job is started with: the variables of its environment, and lines of JSON. Runs nothing.

use chrono::SecondsFormat;
use ruvector_snapshot::scheduler::{RunReport, RunStart, StepKind};
use serde::Serialize;

/// How much of errors is in a variable. The system limits the size of an environment.
const ERROR_CHARS_MAX: usize = 4096;

/// What a command is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Before,
    After,
    Failure,
    Recovery,
    Stale,
    Pause,
    Resume,
}

/// Variables with their values.
pub(super) type Environment = Vec<(&'static str, String)>;

/// What is known of a run. Variables of which nothing is known are empty, so that a script can always read all of them.
#[derive(Default)]
struct Facts {
    outcome: &'static str,
    attempt: String,
    due: String,
    error: String,
    snapshot_ids: String,
}

impl Event {
    /// Returns the key of the command in the configuration file.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Failure => "on_failure",
            Self::Recovery => "on_recovery",
            Self::Stale => "on_stale",
            event => event.name(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::Stale => "stale",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// Returns the environment of a command that is run for a job, and for no run of it. `error` is empty if nothing is wrong.
pub(super) fn of_job(event: Event, job: &str, error: &str) -> Environment {
    variables(event, job, Facts { error: error.to_owned(), ..Facts::default() })
}

/// Returns the environment of a command that is run before a run.
pub(super) fn of_start(event: Event, start: &RunStart) -> Environment {
    variables(event, &start.job, known_of(start))
}

/// Returns the environment of a command that is run after a run.
pub(super) fn of_run(event: Event, report: &RunReport) -> Environment {
    let outcome = report.outcome.name();
    let errors = report.errors().filter_map(|step| step.error.as_ref());
    let errors: Vec<&str> = errors.map(|error| error.message.as_str()).collect();
    let created = report.steps.iter().filter(|step| step.step == StepKind::Create && step.error.is_none());
    let ids: Vec<&str> = created.filter_map(|step| step.snapshot_id.as_deref()).collect();
    let (error, snapshot_ids) = (errors.join("; "), ids.join(" "));
    variables(event, &report.start.job, Facts { outcome, error, snapshot_ids, ..known_of(&report.start) })
}

/// Returns a document as a line.
pub(super) fn line(document: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(document).unwrap_or_default();
    line.push(b'\n');
    line
}

fn known_of(start: &RunStart) -> Facts {
    let due = start.due.map(|due| due.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default();
    Facts { attempt: start.attempt.to_string(), due, ..Facts::default() }
}

fn variables(event: Event, job: &str, facts: Facts) -> Environment {
    let Facts { outcome, attempt, due, error, snapshot_ids } = facts;
    // The system takes no value with the character 0.
    let error = error.chars().filter(|c| *c != '\0').take(ERROR_CHARS_MAX).collect();
    vec![
        ("RUVECTOR_SNAPSHOT_JOB", job.to_owned()),
        ("RUVECTOR_SNAPSHOT_EVENT", event.name().to_owned()),
        ("RUVECTOR_SNAPSHOT_OUTCOME", outcome.to_owned()),
        ("RUVECTOR_SNAPSHOT_ATTEMPT", attempt),
        ("RUVECTOR_SNAPSHOT_DUE", due),
        ("RUVECTOR_SNAPSHOT_ERROR", error),
        ("RUVECTOR_SNAPSHOT_SNAPSHOT_IDS", snapshot_ids),
    ]
}
