//! The document of `restore --dry-run`: of a whole snapshot, of a part of it, and of a merge.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{
    DestinationCheck, MergeCounts, PlannedFetch, PlannedFile, PlannedObject, PlannedSelection, PlannedSnapshot,
    PlannedState, RestorePlan,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::findings::{BlockerDocument, DestinationCheckDocument};
use super::snapshot::{IrregularDocument, SnapshotType, SourceDocument};

/// What a restore or a merge would read and write, and everything that is in its way. Nothing was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestorePlan")]
pub(crate) struct RestorePlanDocument<'a> {
    /// True: nothing was done.
    dry_run: bool,
    /// The id of the snapshot.
    id: &'a str,
    /// Whether nothing is in the way. If something is, the exit code is that of the restore.
    feasible: bool,
    /// The state of the snapshot, which a restored database would have. Null if a `metadata.json` of the chain cannot be used.
    state: Option<StateDocument<'a>>,
    /// The ids of the snapshots that are read: from the full one on, the snapshot included. Empty if `state` is null.
    chain: Vec<&'a str>,
    /// The same snapshots, with what is read of each.
    chain_snapshots: Each<'a, PlannedSnapshot, PlannedSnapshotDocument<'a>>,
    /// What is read of all snapshots of the chain. Null for a part and a merge, whose `selection` says it, and if it is not known because one of them is corrupt.
    fetch: Option<FetchDocument>,
    /// The records that `--id`, `--ids-from` and `--where` select, or `--merge` without them. Null for a restore of all records, and if they cannot be read.
    selection: Option<SelectionDocument<'a>>,
    /// What a merge would do with these records. Null without `--merge`, and if the database cannot be compared with them.
    merge: Option<MergeCountsDocument>,
    /// The file that would be written. Null for a path that no file can have, and if a check of the database that is merged into has failed.
    file: Option<FileDocument<'a>>,
    /// Memory that the restore takes at most, in bytes: an estimate. Null if `fetch` is.
    memory_bytes: Option<u64>,
    /// Every check of the destination, in the order in which a restore makes them.
    checks: Each<'a, DestinationCheck, DestinationCheckDocument<'a>>,
    /// Everything that is in the way. A restore fails with the first.
    blockers: Vec<BlockerDocument<'a>>,
}

impl<'a> From<&'a RestorePlan> for RestorePlanDocument<'a> {
    fn from(plan: &'a RestorePlan) -> Self {
        Self {
            dry_run: true,
            id: &plan.id,
            feasible: plan.is_feasible(),
            state: plan.state.as_ref().map(Into::into),
            chain: plan.chain.iter().map(|snapshot| snapshot.id.as_str()).collect(),
            chain_snapshots: (&plan.chain).into(),
            fetch: plan.fetch.map(Into::into),
            selection: plan.selection.as_ref().map(Into::into),
            merge: plan.merge.map(Into::into),
            file: plan.file.as_ref().map(Into::into),
            memory_bytes: plan.memory_bytes,
            checks: (&plan.checks).into(),
            blockers: plan.blockers.iter().map(Into::into).collect(),
        }
    }
}

/// The state that a restored database would have.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedState")]
struct StateDocument<'a> {
    /// The name of the snapshot.
    name: &'a str,
    /// When the snapshot was taken.
    created_at: DateTime<Utc>,
    /// Where the records came from.
    source: SourceDocument<'a>,
    /// Number of records.
    records: u64,
    /// Number of values in each vector.
    dimensions: u64,
    /// The distance metric, as Ruvector writes it. Null if the database did not record it.
    distance_metric: Option<&'a str>,
    /// The content checksum.
    checksum: &'a str,
    /// Rows that are no records, and are restored too. Null if there are none.
    irregular: Option<IrregularDocument<'a>>,
}

impl<'a> From<&'a PlannedState> for StateDocument<'a> {
    fn from(state: &'a PlannedState) -> Self {
        let source = SourceDocument { not_captured: &state.not_captured, ..(&state.source).into() };
        Self {
            name: &state.name,
            created_at: state.created_at,
            source,
            records: state.records,
            dimensions: state.dimensions,
            distance_metric: state.distance_metric.as_deref(),
            checksum: &state.checksum,
            irregular: state.irregular.as_ref().map(Into::into),
        }
    }
}

/// A snapshot of the chain that a restore reads.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedSnapshot")]
struct PlannedSnapshotDocument<'a> {
    /// The id.
    id: &'a str,
    /// Whether it has all records, or only the changes since its base.
    r#type: SnapshotType,
    /// The id of its base. Null for a full snapshot.
    base_id: Option<&'a str>,
    /// When the snapshot was taken.
    created_at: DateTime<Utc>,
    /// The version of the stored format.
    format_version: u32,
    /// The program that wrote the snapshot, with its version.
    writer: &'a str,
    /// The objects that are read.
    objects: Each<'a, PlannedObject, ObjectDocument<'a>>,
}

impl<'a> From<&'a PlannedSnapshot> for PlannedSnapshotDocument<'a> {
    fn from(snapshot: &'a PlannedSnapshot) -> Self {
        let (r#type, base_id) = SnapshotType::of(&snapshot.snapshot_type);
        Self {
            id: &snapshot.id,
            r#type,
            base_id,
            created_at: snapshot.created_at,
            format_version: snapshot.format_version,
            writer: &snapshot.writer,
            objects: (&snapshot.objects).into(),
        }
    }
}

/// An object in the store that a restore reads.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedObject")]
struct ObjectDocument<'a> {
    /// The key.
    key: &'a str,
    /// Size of the object, in bytes.
    stored_bytes: u64,
    /// What is read of it. Null if that is not known because a snapshot of the chain is corrupt.
    fetch: Option<FetchDocument>,
}

impl<'a> From<&'a PlannedObject> for ObjectDocument<'a> {
    fn from(PlannedObject { key, size_bytes, fetch, .. }: &'a PlannedObject) -> Self {
        Self { key, stored_bytes: *size_bytes, fetch: fetch.map(Into::into) }
    }
}

/// What is read from the store, at most.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "Fetch")]
struct FetchDocument {
    /// Number of objects.
    objects: u64,
    /// Number of bytes.
    bytes: u64,
    /// Number of requests.
    requests: u64,
}

impl From<PlannedFetch> for FetchDocument {
    fn from(PlannedFetch { objects, bytes, requests, .. }: PlannedFetch) -> Self {
        Self { objects, bytes, requests }
    }
}

/// The records that are selected. They were read to find that out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedSelection")]
struct SelectionDocument<'a> {
    /// Number of records that are selected.
    records: u64,
    /// The ids that were asked for and are not in the snapshot. They are in the way.
    missing_ids: &'a [String],
    /// The content checksum of the selected records. It is not that of the snapshot, unless it has no others.
    checksum: &'a str,
    /// Bytes that were read from the store. The restore reads as many.
    store_read_bytes: u64,
}

impl<'a> From<&'a PlannedSelection> for SelectionDocument<'a> {
    fn from(selection: &'a PlannedSelection) -> Self {
        let PlannedSelection { records, missing_ids, checksum, read_bytes, .. } = selection;
        Self { records: *records, missing_ids, checksum, store_read_bytes: *read_bytes }
    }
}

/// What a merge would do with the selected records.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "PlannedMerge")]
struct MergeCountsDocument {
    /// Records that the database does not have.
    inserted: u64,
    /// Records that the database has with other values, and that would be replaced.
    replaced: u64,
    /// Records that the database has with other values, and that would stay as they are. With `--on-conflict fail`, the merge fails if there are any.
    kept: u64,
    /// Records that the database has already.
    same: u64,
}

impl From<MergeCounts> for MergeCountsDocument {
    fn from(MergeCounts { inserted, replaced, kept, same, .. }: MergeCounts) -> Self {
        Self { inserted, replaced, kept, same }
    }
}

/// The file that a restore would write.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedFile")]
struct FileDocument<'a> {
    /// The path that is really written: a symbolic link is followed. What is not UTF-8 in it is replaced.
    path: &'a str,
    /// Size of the file that is replaced, in bytes. Null if there is none.
    replaced_bytes: Option<u64>,
    /// The restored file is not smaller, in bytes. Null if the snapshot cannot be read, and for a merge.
    least_bytes: Option<u64>,
    /// About how large the restored file may become, in bytes. Null if the snapshot cannot be read, and for a merge.
    likely_bytes: Option<u64>,
    /// Bytes that the file system has left. Null if that is not known.
    free_bytes: Option<u64>,
}

impl<'a> From<&'a PlannedFile> for FileDocument<'a> {
    fn from(file: &'a PlannedFile) -> Self {
        Self {
            path: &file.path,
            replaced_bytes: file.replaced_bytes,
            least_bytes: file.least_bytes,
            likely_bytes: file.likely_bytes,
            free_bytes: file.free_bytes,
        }
    }
}
