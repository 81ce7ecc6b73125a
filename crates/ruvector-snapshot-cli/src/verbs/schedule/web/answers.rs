//! What the probes and the metrics of the daemon answer, as text. Pure: asks no store and no clock.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::board::{Counts, Known};
use super::view::{JobView, View};
use super::watched::Watched;
use crate::metrics::{Labels, Metrics, StoreMetrics, seconds};

/// Reasons that a probe has of each job at most.
const REASONS_MAX: usize = 10;

/// The answer of `/healthz`.
#[derive(Debug, Serialize)]
struct Health {
    alive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness<'a> {
    fresh: bool,
    stale: Vec<StaleJob<'a>>,
}

#[derive(Debug, Serialize)]
struct StaleJob<'a> {
    job: &'a str,
    reasons: &'a [String],
}

/// Returns whether the scheduler is polled, and the document that says so.
pub(super) fn health(view: &View) -> (bool, String) {
    let reason = (!view.is_alive).then_some("the scheduler has not decided anything for more than two minutes");
    (view.is_alive, document(&Health { alive: view.is_alive, reason }))
}

/// Returns whether every job is fresh, and the document that says why not.
pub(super) fn readiness(view: &View) -> (bool, String) {
    let stale: Vec<StaleJob<'_>> = view
        .jobs
        .iter()
        .filter(|job| !job.stale.is_empty())
        .map(|JobView { name, stale, .. }| StaleJob { job: name, reasons: stale.get(..REASONS_MAX).unwrap_or(stale) })
        .collect();
    let fresh = stale.is_empty();
    (fresh, document(&Readiness { fresh, stale }))
}

fn document(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document).unwrap_or_else(|_| "{}".to_owned());
    text + "\n"
}

/// Returns the metrics. Their names are in `docs/OPERATIONS.md`.
pub(super) fn metrics(
    view: &View,
    counts: &Counts,
    (watched, known): (&Watched, &BTreeMap<String, Known>),
) -> Result<String, fmt::Error> {
    let mut metrics = Metrics::new();
    let started = [(Labels::new(), seconds(Some(view.started_at)))];
    metrics.gauge("daemon_start_timestamp_seconds", "When the daemon was started", started);
    jobs(&mut metrics, view);
    counters(&mut metrics, counts);
    let of_databases = watched.stores.iter().flat_map(|store| {
        store.databases.iter().flat_map(|database| {
            let labels = |job: &String| of_job_in(job, &store.location, &database.source);
            database.jobs.iter().map(move |job| (labels(job), 1.0))
        })
    });
    metrics.gauge("job_database", "1 for each database that a job has in a store", of_databases);
    let listed = watched.stores.iter().zip(view.stores.iter());
    let listed = listed.map(|(store, view)| (vec![("store", store.location.clone())], seconds(view.read_at)));
    metrics.gauge("store_listed_timestamp_seconds", "When the store was last listed, 0 if never", listed);
    let stores = watched.stores.iter().filter_map(|store| {
        let known = known.get(&store.location)?;
        Some(StoreMetrics {
            store: &store.location,
            is_read: known.error.is_none() && known.freshness.is_some(),
            checked_at: known.tried_at,
            freshness: known.freshness.as_deref(),
            has_orphans: false,
        })
    });
    metrics.stores(&stores.collect::<Vec<_>>());
    metrics.text()
}

fn jobs(metrics: &mut Metrics, view: &View) {
    let mut each = |name: &str, help: &str, value: fn(&JobView) -> f64| {
        let series = view.jobs.iter().map(|job| (vec![("job", job.name.clone())], value(job)));
        metrics.gauge(name, help, series);
    };
    each("job_stale", "Whether a database of the job is stale in one of its stores", |job| {
        if job.stale.is_empty() { 0.0 } else { 1.0 }
    });
    each(
        "job_running",
        "Whether a run of the job is at work",
        |job| {
            if job.running_since.is_some() { 1.0 } else { 0.0 }
        },
    );
    each("job_next_run_timestamp_seconds", "When the job runs next, 0 if that is not known", |job| {
        seconds(job.next_run)
    });
    each(
        "job_last_success_timestamp_seconds",
        "When a run of the job last succeeded, 0 if none has since the start",
        |job| seconds(job.succeeded_at),
    );
    each("job_failures_in_a_row", "Runs of the job that have failed since the last success", |job| {
        f64::from(job.failures)
    });
    each("job_last_run_timestamp_seconds", "When the last run of the job has ended, 0 if none has", |job| {
        seconds(job.last_run.as_ref().map(|run| run.ended_at))
    });
    each("job_last_run_duration_seconds", "How long the last run of the job took", |job| {
        job.last_run.as_ref().map_or(0.0, |run| run.seconds)
    });
    each("job_last_run_stored_bytes", "Bytes that the last run of the job stored, with copies", |job| {
        job.last_run.as_ref().map_or(0.0, |run| run.stored_bytes as f64)
    });
    each("job_last_run_records", "Records of the snapshots that the last run of the job took", |job| {
        job.last_run.as_ref().map_or(0.0, |run| run.records as f64)
    });
}

fn counters(metrics: &mut Metrics, counts: &Counts) {
    let runs = counts
        .runs
        .iter()
        .map(|((job, outcome), number)| (vec![("job", job.clone()), ("outcome", outcome.name().to_owned())], *number));
    metrics.counter("job_runs", "Runs of the job that have ended since the start, by how they ended", runs);
    let failed = counts.failed_steps.iter().map(|((job, step, kind), number)| {
        (vec![("job", job.clone()), ("step", step.clone()), ("kind", kind.clone())], *number)
    });
    metrics.counter("job_failed_steps", "Steps of runs that have failed since the start, by the kind of error", failed);
}

fn of_job_in(job: &str, store: &str, source: &str) -> Labels {
    vec![("job", job.to_owned()), ("store", store.to_owned()), ("source", source.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_say_why_they_fail() {
        let mut view = View { is_alive: true, jobs: vec![JobView::default()], ..View::default() };
        assert_eq!(health(&view), (true, "{\"alive\":true}\n".to_owned()));
        assert_eq!(readiness(&view), (true, "{\"fresh\":true,\"stale\":[]}\n".to_owned()));
        view.is_alive = false;
        view.jobs[0].stale = (0..50).map(|number| format!("reason \"{number}\"")).collect();
        let (is_alive, text) = health(&view);
        assert!(!is_alive && text.contains("\"alive\":false") && text.contains("more than two minutes"), "{text}");
        let (is_fresh, text) = readiness(&view);
        assert!(!is_fresh && text.contains("reason \\\"9\\\"") && !text.contains("reason \\\"10\\\""), "{text}");
    }
}
