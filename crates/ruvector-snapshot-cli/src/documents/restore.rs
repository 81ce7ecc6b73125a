//! The documents of `restore`: of a whole snapshot or a part of it, and of a merge.

use std::path::Path;

use ruvector_snapshot::{MergeReport, PartReport, Snapshot, Transferred};
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::{TransferredDocument, lossy};
use super::snapshot::SnapshotDocument;

/// What `restore` has written to a new file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Restore")]
pub(crate) struct RestoreDocument<'a> {
    /// The id of the snapshot.
    id: &'a str,
    /// The snapshot.
    snapshot: SnapshotDocument<'a>,
    /// The path of the restored database, as it was given. What is not UTF-8 in it is replaced.
    to: String,
    /// Whether only selected records were restored.
    is_part: bool,
    /// Number of records that were restored.
    records: u64,
    /// The content checksum of the restored file, which was read back: that of the snapshot. Null if it is a part.
    verified_checksum: Option<&'a str>,
    /// The content checksum of the restored file, which was read back, if it is a part. It is not that of the snapshot.
    verified_checksum_of_part: Option<&'a str>,
    /// Size of the restored file, in bytes. Null if it cannot be read any more.
    file_bytes: Option<u64>,
    #[serde(flatten)]
    transferred: TransferredDocument,
}

impl<'a> RestoreDocument<'a> {
    /// Of all records of a snapshot.
    pub(crate) fn whole(snapshot: &'a Snapshot, to: &Path, file_bytes: Option<u64>, transferred: Transferred) -> Self {
        Self {
            id: &snapshot.id,
            snapshot: snapshot.into(),
            to: lossy(to),
            is_part: false,
            records: snapshot.vector_count as u64,
            verified_checksum: Some(&snapshot.checksum),
            verified_checksum_of_part: None,
            file_bytes,
            transferred: transferred.into(),
        }
    }

    /// Of selected records.
    pub(crate) fn part(part: &'a PartReport, to: &Path, file_bytes: Option<u64>, transferred: Transferred) -> Self {
        let whole = Self::whole(&part.snapshot, to, file_bytes, transferred);
        Self {
            is_part: true,
            records: part.records,
            verified_checksum: None,
            verified_checksum_of_part: Some(&part.checksum),
            ..whole
        }
    }
}

/// What `restore --merge` has merged into a database.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Merge")]
pub(crate) struct MergeDocument<'a> {
    /// The id of the snapshot.
    id: &'a str,
    /// The snapshot.
    snapshot: SnapshotDocument<'a>,
    /// The path of the database, as it was given. What is not UTF-8 in it is replaced.
    to: String,
    /// Number of records that were selected.
    records: u64,
    /// Records that the database did not have.
    inserted: u64,
    /// Records that the database had with other values, and that were replaced.
    replaced: u64,
    /// Records that the database has with other values, and that stayed as they are.
    kept: u64,
    /// Records that the database had already.
    same: u64,
    #[serde(flatten)]
    transferred: TransferredDocument,
}

impl<'a> MergeDocument<'a> {
    pub(crate) fn new(report: &'a MergeReport, to: &Path, transferred: Transferred) -> Self {
        let MergeReport { snapshot, selected, counts, .. } = report;
        Self {
            id: &snapshot.id,
            snapshot: snapshot.into(),
            to: lossy(to),
            records: *selected,
            inserted: counts.inserted,
            replaced: counts.replaced,
            kept: counts.kept,
            same: counts.same,
            transferred: transferred.into(),
        }
    }
}
