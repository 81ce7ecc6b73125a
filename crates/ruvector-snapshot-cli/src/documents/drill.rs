//! The document of `drill`.

use ruvector_snapshot::{DrillOptions, DrillReport, RestorePlan};
use schemars::JsonSchema;
use serde::Serialize;

use super::restore_plan::RestorePlanDocument;
use super::snapshot::SnapshotDocument;

/// What a drill has measured. The restored database was verified: it has the content checksum of the snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Drill")]
pub(crate) struct DrillDocument<'a> {
    /// The id of the snapshot.
    id: &'a str,
    /// The snapshot.
    snapshot: SnapshotDocument<'a>,
    /// Whether the restored database has the recall that it must have. True if there was nothing to search. If it is false,
    /// the exit code is 1.
    passed: bool,
    /// Age of the data when the drill started, in milliseconds: what was written since would be lost. It is what a recovery
    /// point objective (RPO) is compared with. Negative if the snapshot is dated in the future.
    data_age_ms: i64,
    /// Time until the database was restored and verified, in milliseconds.
    time_to_data_ms: u64,
    /// Time that Ruvector took to open the restored database, in milliseconds.
    time_to_open_ms: u64,
    /// Time until the first search was answered, in milliseconds. It is what a recovery time objective (RTO) is compared
    /// with. Null if there was nothing to search.
    time_to_first_search_ms: Option<u64>,
    /// Number of vectors that were searched for.
    probes: usize,
    /// Number of neighbors of each.
    neighbors: usize,
    /// Share of the nearest neighbors that Ruvector has found, from 0 to 1. Null if there was nothing to search.
    recall: Option<f64>,
    /// The recall that the restored database must have.
    min_recall: f64,
    /// Size of the restored file, in bytes. It was removed again.
    file_bytes: u64,
    /// Bytes that were read from the store. A request that was repeated counts once.
    store_read_bytes: u64,
}

impl<'a> From<&'a DrillReport> for DrillDocument<'a> {
    fn from(report: &'a DrillReport) -> Self {
        Self {
            id: &report.snapshot.id,
            snapshot: (&report.snapshot).into(),
            passed: report.passed,
            data_age_ms: report.data_age_ms,
            time_to_data_ms: report.time_to_data_ms,
            time_to_open_ms: report.time_to_open_ms,
            time_to_first_search_ms: report.time_to_first_search_ms,
            probes: report.probes,
            neighbors: report.neighbors,
            recall: report.recall,
            min_recall: report.min_recall,
            file_bytes: report.file_bytes,
            store_read_bytes: report.store_read_bytes,
        }
    }
}

/// What a drill would read and write, and everything that is in its way. Nothing was restored. `file` is the restored database
/// in the scratch directory, and `memory_bytes` includes the search index of Ruvector.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DrillPlan")]
pub(crate) struct DrillPlanDocument<'a> {
    #[serde(flatten)]
    restore: RestorePlanDocument<'a>,
    /// Number of vectors that would be searched for.
    probes: usize,
    /// Whether the drill would be recorded beside the snapshot.
    record: bool,
}

impl<'a> DrillPlanDocument<'a> {
    pub(crate) fn new(plan: &'a RestorePlan, options: &DrillOptions) -> Self {
        Self { restore: plan.into(), probes: options.probes, record: options.record }
    }
}
