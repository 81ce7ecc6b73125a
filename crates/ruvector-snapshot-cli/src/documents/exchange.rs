//! The documents of `export` and `import`.

use std::path::Path;

use ruvector_snapshot::{ExportReport, ExportedFile, Snapshot, Transferred};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
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
