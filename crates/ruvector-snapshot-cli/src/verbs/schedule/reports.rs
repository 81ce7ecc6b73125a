//! What became of the runs of jobs: a line for each, the events of the log, and whether anything is wrong. Runs nothing.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::TimeDelta;
use ruvector_snapshot::scheduler::{
    Job, JobListener, JobStatus, RunOutcome, RunReport, RunStart, StepKind, StepReport,
};
use ruvector_snapshot::{Result, SnapshotManager};

use super::hooks::Hooks;
use super::service::Service;
use crate::documents::ScheduleLine;
use crate::failure::Failure;
use crate::logs::PRINTED;
use crate::output::{Output, Text, Tone, count, counted, size};

/// Prints what the runs of the daemon have done, and reports to the service manager that it is alive.
pub(super) struct Reporter {
    output: Output,
    service: Arc<Service>,
    hooks: Hooks,
    /// The stores of each job, of which warnings are taken.
    stores: Mutex<BTreeMap<String, Vec<SnapshotManager>>>,
    was_interrupted: AtomicBool,
    /// Whether it was said that standard output cannot be written.
    is_output_lost: AtomicBool,
}

impl Reporter {
    pub(super) fn new(output: Output, service: Arc<Service>, hooks: Hooks, jobs: &[Job]) -> Self {
        let (was_interrupted, is_output_lost) = (AtomicBool::default(), AtomicBool::default());
        let this = Self { output, service, hooks, stores: Mutex::default(), was_interrupted, is_output_lost };
        this.set_jobs(jobs);
        this
    }

    /// Sets the jobs of which runs are reported from now on.
    pub(super) fn set_jobs(&self, jobs: &[Job]) {
        let stores = jobs.iter().map(|job| (job.name.clone(), stores_of(job))).collect();
        *self.stores.lock().unwrap_or_else(PoisonError::into_inner) = stores;
    }

    /// Returns whether a run was stopped before its end.
    pub(super) fn was_interrupted(&self) -> bool {
        self.was_interrupted.load(Ordering::Relaxed)
    }

    /// Waits until what stopped runs have left is removed, in all stores.
    pub(super) async fn wait_for_cleanup(&self) {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for store in stores.values().flatten() {
            store.wait_for_cleanup().await;
        }
    }

    pub(super) fn warn(&self, message: &str) {
        warn(&self.output, message);
    }

    fn print(&self, report: &RunReport) -> std::result::Result<(), Failure> {
        match self.output.json {
            true if report.is_success() && self.output.quiet => Ok(()),
            true => self.output.document_line(&ScheduleLine::new(report)),
            false => print(&self.output, report, true),
        }
    }
}

impl Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

#[async_trait]
impl JobListener for Reporter {
    async fn starting(&self, run: &RunStart) -> Result<Vec<String>> {
        log_start(run);
        self.hooks.starting(run).await
    }

    async fn finishing(&self, report: &RunReport) -> Result<Vec<String>> {
        self.hooks.finishing(report).await
    }

    async fn ended(&self, report: &RunReport) {
        log_end(report);
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).get(&report.start.job).cloned();
        for warning in stores.iter().flatten().flat_map(SnapshotManager::take_warnings) {
            self.warn(&format!("job {}: {warning}", report.start.job));
        }
        if report.outcome == RunOutcome::Interrupted {
            self.was_interrupted.store(true, Ordering::Relaxed);
        }
        if let Err(failure) = self.print(report)
            && !self.is_output_lost.swap(true, Ordering::Relaxed)
        {
            self.warn(&format!("{}; the runs go on", failure.sentence()));
        }
        self.hooks.ended(report, &said(report)).await;
    }

    fn waiting(&self, jobs: &[JobStatus]) {
        self.service.waiting(jobs);
        self.hooks.waiting(jobs);
    }
}

/// Returns the stores that runs of a job use.
pub(super) fn stores_of(job: &Job) -> Vec<SnapshotManager> {
    let copies = job.copies.iter().map(|copy| copy.store.clone());
    std::iter::once(job.store.clone()).chain(copies).collect()
}

/// Prints a warning, and logs it. It is not kept: the program may run for years.
pub(super) fn warn(output: &Output, message: &str) {
    tracing::warn!(target: PRINTED, "{message}");
    output.message(format_args!("warning: {message}"));
}

pub(super) fn log_start(run: &RunStart) {
    let RunStart { job, due, attempt, missed_runs, .. } = run;
    let due = due.map(|due| due.to_rfc3339()).unwrap_or_default();
    tracing::info!(job, due, attempt, missed_runs, "a run of a job was started");
}

pub(super) fn log_end(report: &RunReport) {
    let (job, attempt, seconds) = (&report.start.job, report.start.attempt, taken(report).num_seconds());
    match report.outcome {
        RunOutcome::Succeeded => {
            tracing::info!(job, attempt, seconds, did = said(report), "a run of a job is done")
        }
        RunOutcome::Warnings => {
            tracing::warn!(job, attempt, seconds, did = said(report), "a run of a job is done, with warnings");
        }
        RunOutcome::Interrupted => {
            tracing::warn!(job, attempt, seconds, did = said(report), "a run of a job was interrupted");
        }
        _ => tracing::error!(job, attempt, seconds, did = said(report), "a run of a job has failed"),
    }
}

/// Prints the line of a run, with or without its warnings. What is wrong is printed with --quiet too.
pub(super) fn print(output: &Output, report: &RunReport, has_warnings: bool) -> std::result::Result<(), Failure> {
    let output = if report.is_success() { *output } else { output.always() };
    let (tone, outcome) = match report.outcome {
        RunOutcome::Succeeded => (Tone::Good, "done"),
        RunOutcome::Warnings => (Tone::Caution, "done, with warnings"),
        RunOutcome::Interrupted => (Tone::Caution, "interrupted"),
        _ => (Tone::Bad, "FAILED"),
    };
    let line = Text::default()
        .add(format_args!("{} {}: ", output.time(report.ended_at), report.start.job))
        .tone(tone, outcome)
        .add(format_args!(
            " after {}{}: {}",
            in_words(taken(report)),
            circumstances(&report.start),
            said_with(report, has_warnings)
        ));
    output.line(line)
}

/// Returns how long a run took.
pub(super) fn taken(report: &RunReport) -> TimeDelta {
    report.ended_at.signed_duration_since(report.start.started_at).max(TimeDelta::zero())
}

fn in_words(taken: TimeDelta) -> String {
    match taken.num_seconds() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

fn circumstances(start: &RunStart) -> String {
    let attempt = (start.attempt > 1).then(|| format!("attempt {}", count(start.attempt.into())));
    let missed = (start.missed_runs > 0).then(|| counted(start.missed_runs as u64, "missed run") + " before");
    let all: Vec<String> = attempt.into_iter().chain(missed).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// Returns what a run has done, and first of all what has failed.
pub(super) fn said(report: &RunReport) -> String {
    said_with(report, true)
}

/// As [`said`], with or without what a person should know.
fn said_with(report: &RunReport, has_warnings: bool) -> String {
    let failed = report.steps.iter().filter_map(failure);
    let warnings = report.steps.iter().filter(|_| has_warnings).flat_map(|step| &step.warnings).cloned();
    let said: Vec<String> = failed.chain(report.steps.iter().filter_map(success)).chain(warnings).collect();
    if said.is_empty() { "nothing was to be done".to_owned() } else { said.join("; ") }
}

/// Returns what has failed in a step, and why.
pub(super) fn failure(step: &StepReport) -> Option<String> {
    let (database, store) = (step.database.as_deref().unwrap_or_default(), step.store.as_deref().unwrap_or_default());
    let what = match step.step {
        StepKind::List => "list of the store".to_owned(),
        StepKind::Pause => "pause of the application".to_owned(),
        StepKind::Create => format!("create of {database}"),
        StepKind::Resume => "resumption of the application".to_owned(),
        StepKind::Copy => format!("copy to {store}"),
        StepKind::Prune if store.is_empty() => "prune".to_owned(),
        StepKind::Prune => format!("prune of {store}"),
        StepKind::Verify => "verify".to_owned(),
        StepKind::Drill => format!("drill of {database}"),
        StepKind::Cleanup => "clean-up".to_owned(),
        StepKind::Finish => "finish".to_owned(),
        _ => "start".to_owned(),
    };
    step.error.as_ref().map(|error| format!("{what}: {}", error.message))
}

fn success(step: &StepReport) -> Option<String> {
    if step.error.is_some() {
        return None;
    }
    let id = step.snapshot_id.as_deref().unwrap_or_default();
    let snapshots = || counted(step.snapshots.unwrap_or_default(), "snapshot");
    let bytes = || size(step.stored_bytes.unwrap_or_default());
    Some(match (step.step, &step.store) {
        (StepKind::List, _) if step.snapshots == Some(0) => "the store had no snapshots before".to_owned(),
        (StepKind::Create, _) => {
            let form = if step.base_id.is_some() { "increment" } else { "full" };
            let records = counted(step.records.unwrap_or_default(), "record");
            format!("created {id} ({form}, {records}, {})", bytes())
        }
        (StepKind::Copy, Some(store)) => format!("copied {} to {store} ({})", snapshots(), bytes()),
        (StepKind::Prune, _) if step.snapshots.unwrap_or_default() == 0 => return None,
        (StepKind::Prune, Some(store)) => format!("deleted {} of {store}", snapshots()),
        (StepKind::Prune, None) => format!("deleted {}", snapshots()),
        (StepKind::Verify, _) => format!("verified a part of {}", snapshots()),
        (StepKind::Drill, _) => format!("drilled {id}"),
        _ => return None,
    })
}
