//! Drill: rehearses a recovery. Restores a snapshot into a scratch directory, opens the restored database with Ruvector,
//! compares its searches with an exact one, and measures how long everything takes. Removes what it has made.
//!
//! How a snapshot is restored is an argument: that is another verb, which the façade passes.
#![expect(clippy::disallowed_methods, reason = "measures how long a recovery takes")]

mod examine;
mod options;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::ledger::{LedgerEntry, VerifyDepth, VerifyResult};
use tracing::Instrument as _;

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::progress::{Progress, ProgressUpdate, report_transferred, warn};
use crate::repo::context::Context;
use crate::repo::location::check_output;
use crate::repo::{found_corrupt, ledger};
use crate::snapshot::Snapshot;
use crate::source::scratch::ScratchDirectory;
use examine::examine;

pub use options::DrillOptions;
pub use report::DrillReport;

/// The start of the names of scratch directories.
const PREFIX: &str = "ruvector-snapshot-drill-";
/// Probes of one drill.
const PROBES_MAX: usize = 10_000;
const OTHER_RUVECTOR: &str = "open the database with the version of Ruvector that wrote it";

/// Rehearses the recovery of a snapshot. `restore` restores it to a file, and verifies the file.
pub(crate) async fn drill<F>(
    context: &Context,
    id: &SnapshotId,
    options: &DrillOptions,
    restore: impl FnOnce(Context, PathBuf, Option<Arc<dyn Progress>>) -> F,
) -> Result<DrillReport>
where
    F: Future<Output = Result<Snapshot>> + Send,
{
    let span = tracing::info_span!("drill", snapshot = %id);
    async {
        check_options(options)?;
        let started_at = context.clock.now();
        let drilled = rehearse(context, id, options, restore).await;
        match options.record {
            true => recorded(context, id, started_at, options, drilled).await,
            false => drilled,
        }
    }
    .instrument(span)
    .await
}

/// Returns the path of a database that a drill with these options would restore: about that, because a drill creates a
/// directory for it.
pub(crate) fn planned_path(context: &Context, options: &DrillOptions) -> Result<PathBuf> {
    check_options(options)?;
    let parent = ScratchDirectory::absolute(&scratch_parent(context, options)?)?;
    Ok(parent.join(format!("{PREFIX}{:016x}.db", context.clock.random()?)))
}

fn check_options(options: &DrillOptions) -> Result<()> {
    let invalid = |message: String| Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    match (options.probes, options.min_recall) {
        (probes, _) if !(1..=PROBES_MAX).contains(&probes) => {
            invalid(format!("a drill has from 1 to {PROBES_MAX} probes, not {probes}"))
        }
        (_, recall) if !(0.0..=1.0).contains(&recall) => {
            invalid(format!("a recall is from 0 to 1, so {recall} cannot be required"))
        }
        _ => Ok(()),
    }
}

async fn rehearse<F>(
    context: &Context,
    id: &SnapshotId,
    options: &DrillOptions,
    restore: impl FnOnce(Context, PathBuf, Option<Arc<dyn Progress>>) -> F,
) -> Result<DrillReport>
where
    F: Future<Output = Result<Snapshot>> + Send,
{
    // The restored file is read back, whatever the settings say: that is what a drill is for.
    let mut verifying = context.clone();
    verifying.config.verify_checksum = true;
    let (context, meter) = &verifying.metered();
    let started_at = context.clock.now();
    let scratch = scratch_directory(context, options).await?;
    let path = scratch.path().join("restored.db");
    let forwarded = options.progress.clone().map(|listener| Arc::new(Forwarded(listener)) as Arc<dyn Progress>);
    let started = Instant::now();
    let snapshot = restore(context.clone(), path.clone(), forwarded).await?;
    let to_data = started.elapsed();
    let file_bytes = path.metadata().map_or(0, |found| found.len());
    let found = examine(&path, snapshot.vector_count as u64, options.probes, options.progress.clone()).await.map_err(
        |error| {
            // The path is that of a file that is about to be removed.
            let error = error.while_doing(&format!("rehearse the recovery of snapshot {id}"), "nothing was left");
            match error.kind() {
                // The restore has refused what a newer version has written.
                ErrorKind::Unsupported => error.with_remedy(Remedy::OtherRuvector, OTHER_RUVECTOR),
                _ => error,
            }
        },
    )?;
    if snapshot.vector_count == 0 {
        let message = format!(
            "snapshot {id} has no records, so the drill has searched nothing; check that it was taken of the right database"
        );
        warn(options.progress.as_deref(), &message);
    }
    if let Err(error) = context.run_blocking(move || scratch.remove()).await {
        warn(options.progress.as_deref(), &format!("{error}; remove it yourself"));
    }
    report_transferred(options.progress.as_deref(), meter, file_bytes);
    let to_first_search = found.first_search.map(|first| to_data + found.open + first);
    Ok(DrillReport {
        passed: found.recall.is_none_or(|recall| recall >= options.min_recall),
        data_age_ms: (started_at - snapshot.created_at).num_milliseconds(),
        time_to_data_ms: milliseconds(to_data),
        time_to_open_ms: milliseconds(found.open),
        time_to_first_search_ms: to_first_search.map(milliseconds),
        probes: found.probes,
        neighbors: found.neighbors,
        recall: found.recall,
        min_recall: options.min_recall,
        file_bytes,
        store_read_bytes: meter.read_bytes(),
        snapshot,
    })
}

/// Returns the directory in which the scratch directory is created. Refuses that of the store.
fn scratch_parent(context: &Context, options: &DrillOptions) -> Result<PathBuf> {
    let chosen = options.scratch_dir.clone().or_else(|| context.config.scratch_dir.clone());
    let parent = chosen.unwrap_or_else(std::env::temp_dir);
    check_output(&parent, "a drill", context.directory().as_deref())?;
    Ok(parent)
}

async fn scratch_directory(context: &Context, options: &DrillOptions) -> Result<ScratchDirectory> {
    let parent = scratch_parent(context, options)?;
    let listener = options.progress.clone();
    let create = move || ScratchDirectory::create(&parent, PREFIX, |warning| warn(listener.as_deref(), warning));
    context.run_blocking(create).await
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Adds a drill to the ledger: one that has passed, one that has found something corrupt in the store, and one whose restored
/// database does not do what it must. Any other failure, such as a full disk, says nothing of the snapshot. Returns the result
/// to report.
async fn recorded(
    context: &Context,
    id: &SnapshotId,
    started_at: DateTime<Utc>,
    options: &DrillOptions,
    drilled: Result<DrillReport>,
) -> Result<DrillReport> {
    let entry = match &drilled {
        Ok(report) => {
            let time = if report.passed { started_at } else { context.clock.now() };
            let result = if report.passed { VerifyResult::Intact } else { VerifyResult::Failed };
            ledger::new_entry(id, time, VerifyDepth::Drill).map(|entry| LedgerEntry {
                result,
                records: report.snapshot.vector_count as u64,
                bytes: report.store_read_bytes,
                checksum: Some(report.snapshot.checksum.clone()),
                drill: serde_json::to_value(Figures::of(report)).ok(),
                ..entry
            })
        }
        Err(error) if is_of_restored(error) => {
            let drill = Some(serde_json::json!({ "error": error.to_string() }));
            let entry = ledger::new_entry(id, context.clock.now(), VerifyDepth::Drill);
            entry.map(|entry| LedgerEntry { result: VerifyResult::Failed, drill, ..entry })
        }
        Err(_) => {
            let listener = options.progress.as_deref();
            return found_corrupt::recorded_with(context, listener, std::future::ready(drilled)).await;
        }
    };
    ledger::record_or_warn(context, entry, options.progress.as_deref()).await;
    drilled
}

/// Returns whether the snapshot was restored and verified, and the restored database cannot be used.
fn is_of_restored(error: &SnapshotError) -> bool {
    error.remedy() == Some(Remedy::OtherRuvector)
}

/// What the ledger has of a drill.
#[derive(serde::Serialize)]
struct Figures {
    recall: Option<f64>,
    min_recall: f64,
    probes: usize,
    neighbors: usize,
    time_to_data_ms: u64,
    time_to_open_ms: u64,
    time_to_first_search_ms: Option<u64>,
    data_age_ms: i64,
}

impl Figures {
    fn of(report: &DrillReport) -> Self {
        Self {
            recall: report.recall,
            min_recall: report.min_recall,
            probes: report.probes,
            neighbors: report.neighbors,
            time_to_data_ms: report.time_to_data_ms,
            time_to_open_ms: report.time_to_open_ms,
            time_to_first_search_ms: report.time_to_first_search_ms,
            data_age_ms: report.data_age_ms,
        }
    }
}

/// A listener that passes on what concerns the drill. That a file was restored does not: it is removed again. What was
/// transferred is reported at the end.
#[derive(Debug)]
struct Forwarded(Arc<dyn Progress>);

impl Progress for Forwarded {
    fn update(&self, update: ProgressUpdate) {
        self.0.update(update);
    }

    fn restored(&self, _path: &Path) {}

    fn warning(&self, message: &str) {
        self.0.warning(message);
    }
}
