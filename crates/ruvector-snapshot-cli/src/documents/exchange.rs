//! The documents of `export` and `import`.

use std::path::Path;

use ruvector_snapshot::{
    DestinationCheck, ExportPlan, ExportReport, ExportedFile, PlannedExportFile, Snapshot, Transferred,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::findings::{BlockerDocument, DestinationCheckDocument};
use super::shared::{TransferredDocument, lossy};
use super::snapshot::SnapshotDocument;

/// What `export` has written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Export")]
pub(crate) struct ExportDocument<'a> {
    /// The id of the snapshot.
    id: &'a str,
    /// The snapshot.
    snapshot: SnapshotDocument<'a>,
    /// The directory, as it was given. What is not UTF-8 in it is replaced.
    to: String,
    /// The format of the files, as `--format` takes it.
    format: &'a str,
    /// The files.
    files: Each<'a, ExportedFile, ExportedFileDocument<'a>>,
    /// Whether only selected records were exported.
    is_part: bool,
    /// Number of records that were exported.
    records: u64,
    /// The content checksum of the exported records. That of the snapshot, if all were exported and it has no irregular rows.
    checksum: &'a str,
    #[serde(flatten)]
    transferred: TransferredDocument,
}

impl<'a> ExportDocument<'a> {
    pub(crate) fn new(report: &'a ExportReport, to: &Path, transferred: Transferred) -> Self {
        Self {
            id: &report.snapshot.id,
            snapshot: (&report.snapshot).into(),
            to: lossy(to),
            format: report.format.name(),
            files: (&report.files).into(),
            is_part: !report.is_complete,
            records: report.records,
            checksum: &report.checksum,
            transferred: transferred.into(),
        }
    }
}

/// A file of an export.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExportedFile")]
struct ExportedFileDocument<'a> {
    /// The name in the directory.
    name: &'a str,
    /// Size, in bytes.
    bytes: u64,
}

impl<'a> From<&'a ExportedFile> for ExportedFileDocument<'a> {
    fn from(ExportedFile { name, bytes, .. }: &'a ExportedFile) -> Self {
        Self { name, bytes: *bytes }
    }
}

/// What `export` would write, and everything that is in its way. Nothing was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExportPlan")]
pub(crate) struct ExportPlanDocument<'a> {
    /// True: nothing was done.
    dry_run: bool,
    /// The id of the snapshot.
    id: &'a str,
    /// Whether nothing is in the way. If something is, the exit code is that of the export.
    feasible: bool,
    /// The snapshot. Null if a `metadata.json` of the chain cannot be used.
    snapshot: Option<SnapshotDocument<'a>>,
    /// The directory, as it was given. What is not UTF-8 in it is replaced.
    to: String,
    /// The format of the files, as `--format` takes it.
    format: &'a str,
    /// The files. Empty if the snapshot cannot be read.
    files: Each<'a, PlannedExportFile, PlannedExportFileDocument<'a>>,
    /// Whether only selected records would be exported. Null if they cannot be read.
    is_part: Option<bool>,
    /// Number of records that would be exported. Null if they cannot be read.
    records: Option<u64>,
    /// The ids that were asked for and are not in the snapshot. They are in the way.
    missing_ids: &'a [String],
    /// Bytes that the export reads from the store. Of all records at most. Null if that is not known because a snapshot is corrupt.
    store_read_bytes: Option<u64>,
    /// Bytes that the file system has left. Null if that is not known.
    free_bytes: Option<u64>,
    /// Every check of the destination, in the order in which an export makes them.
    checks: Each<'a, DestinationCheck, DestinationCheckDocument<'a>>,
    /// Everything that is in the way. An export fails with the first.
    blockers: Vec<BlockerDocument<'a>>,
}

impl<'a> ExportPlanDocument<'a> {
    pub(crate) fn new(plan: &'a ExportPlan, to: &Path) -> Self {
        Self {
            dry_run: true,
            id: &plan.id,
            feasible: plan.is_feasible(),
            snapshot: plan.snapshot.as_ref().map(Into::into),
            to: lossy(to),
            format: plan.format.name(),
            files: (&plan.files).into(),
            is_part: plan.is_complete.map(|is_complete| !is_complete),
            records: plan.records,
            missing_ids: &plan.missing_ids,
            store_read_bytes: plan.read_bytes,
            free_bytes: plan.free_bytes,
            checks: (&plan.checks).into(),
            blockers: plan.blockers.iter().map(Into::into).collect(),
        }
    }
}

/// A file that an export would write.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedExportFile")]
struct PlannedExportFileDocument<'a> {
    /// The name in the directory.
    name: &'a str,
    /// The file is not smaller, in bytes.
    least_bytes: u64,
    /// About how large the file may become, in bytes. Exact if it is the same as `least_bytes`.
    likely_bytes: u64,
}

impl<'a> From<&'a PlannedExportFile> for PlannedExportFileDocument<'a> {
    fn from(PlannedExportFile { name, least_bytes, likely_bytes, .. }: &'a PlannedExportFile) -> Self {
        Self { name, least_bytes: *least_bytes, likely_bytes: *likely_bytes }
    }
}

/// What `import` has stored.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Import")]
pub(crate) struct ImportDocument<'a> {
    /// The id of the new snapshot.
    id: &'a str,
    /// The new snapshot.
    snapshot: SnapshotDocument<'a>,
    /// The file, as it was given. What is not UTF-8 in it is replaced.
    file: String,
    /// Whether the store had no snapshots before. A surprise may mean a disk that is not mounted.
    store_is_new: bool,
    #[serde(flatten)]
    transferred: TransferredDocument,
}

impl<'a> ImportDocument<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, file: &Path, store_is_new: bool, transferred: Transferred) -> Self {
        Self {
            id: &snapshot.id,
            snapshot: snapshot.into(),
            file: lossy(file),
            store_is_new,
            transferred: transferred.into(),
        }
    }
}
