//! The documents of `copy`, and of its dry run.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{BlockedCopy, CopiedSnapshot, CopyOutcome, CopyPlan, CopyReport, PlannedCopy, SourceInfo};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::shared::{ItemError, chain};

/// What `copy` has copied.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Copy")]
pub(crate) struct CopyDocument<'a> {
    /// False.
    dry_run: bool,
    /// The target, as it was given.
    to: &'a str,
    /// Whether the target had no snapshots before. A surprise may mean a disk that is not mounted.
    target_is_new: bool,
    /// Whether every snapshot is in the target.
    complete: bool,
    /// Every snapshot, the oldest first.
    snapshots: Each<'a, CopiedSnapshot, CopiedDocument<'a>>,
    /// Bytes that were read from the store.
    store_read_bytes: u64,
    /// Bytes that were written to the target.
    store_written_bytes: u64,
}

impl<'a> CopyDocument<'a> {
    pub(crate) fn new(to: &'a str, plan: &CopyPlan, report: &'a CopyReport) -> Self {
        Self {
            dry_run: false,
            to,
            target_is_new: plan.target_is_empty,
            complete: report.is_complete(),
            snapshots: (&report.snapshots).into(),
            store_read_bytes: report.read_bytes,
            store_written_bytes: report.written_bytes,
        }
    }
}

/// What became of a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CopiedSnapshot")]
struct CopiedDocument<'a> {
    /// The id in the store.
    id: &'a str,
    /// The name. Null if it cannot be read.
    name: Option<&'a str>,
    /// The name of the database, or its host and path, or the kind of the source. Null if it cannot be read.
    source_id: Option<String>,
    /// What became of it.
    outcome: CopyOutcomeDocument,
    /// The id in the target: another one for a compacted snapshot. Null if it is not there.
    target_id: Option<&'a str>,
    /// Number of annotations that were copied: changes of its labels and its note that the target did not have.
    annotations: u64,
    /// Why it was not copied, or not pinned, or why its annotations were not copied. Null if all was.
    error: Option<ItemError>,
}

impl<'a> From<&'a CopiedSnapshot> for CopiedDocument<'a> {
    fn from(copied: &'a CopiedSnapshot) -> Self {
        let outcome = match copied.outcome {
            CopyOutcome::Copied => CopyOutcomeDocument::Copied,
            CopyOutcome::Existing => CopyOutcomeDocument::Existing,
            CopyOutcome::Failed => CopyOutcomeDocument::Failed,
            _ => CopyOutcomeDocument::Skipped,
        };
        let error =
            copied.kind.map(|kind| ItemError { kind: kind.into(), message: copied.error.clone().unwrap_or_default() });
        Self {
            id: &copied.id,
            name: copied.name.as_deref(),
            source_id: copied.source.as_ref().map(SourceInfo::id_or_kind),
            outcome,
            target_id: copied.target_id.as_deref(),
            annotations: copied.annotations,
            error,
        }
    }
}

/// What became of a snapshot that was to be copied.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "CopyOutcome")]
#[serde(rename_all = "snake_case")]
enum CopyOutcomeDocument {
    /// It was copied.
    Copied,
    /// The target had it already.
    Existing,
    /// It could not be copied.
    Failed,
    /// It was not tried, because a snapshot that it depends on was not copied, or a store does not answer or is full.
    Skipped,
}

/// What `copy --dry-run` would copy.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CopyPlan")]
pub(crate) struct CopyPlanDocument<'a> {
    /// True: nothing was done.
    dry_run: bool,
    /// The target, as it was given.
    to: &'a str,
    /// Whether the target has no snapshots.
    target_is_new: bool,
    /// Whether it is known that the target can be written to. False for a bucket, which says it only when it is tried. Null if
    /// nothing would be written.
    write_checked: Option<bool>,
    /// Bytes that the file system of the target has left. Null for a bucket, if the file system does not say it, and if
    /// nothing would be written.
    target_free_bytes: Option<u64>,
    /// Bytes that are to be copied. Those of compacted snapshots are an estimate: the size of the chain.
    bytes: u64,
    /// What would be copied, the oldest first.
    copy: Each<'a, PlannedCopy, PlannedCopyDocument<'a>>,
    /// What the target has already, the oldest first.
    existing: Each<'a, PlannedCopy, PlannedCopyDocument<'a>>,
    /// What cannot be copied, the oldest first.
    blocked: Each<'a, BlockedCopy, BlockedDocument<'a>>,
}

impl<'a> CopyPlanDocument<'a> {
    pub(crate) fn new(
        to: &'a str,
        plan: &'a CopyPlan,
        write_checked: Option<bool>,
        target_free_bytes: Option<u64>,
    ) -> Self {
        Self {
            dry_run: true,
            to,
            target_is_new: plan.target_is_empty,
            write_checked,
            target_free_bytes,
            bytes: plan.bytes(),
            copy: (&plan.copy).into(),
            existing: (&plan.existing).into(),
            blocked: (&plan.blocked).into(),
        }
    }
}

/// A snapshot that would be copied.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedCopy")]
struct PlannedCopyDocument<'a> {
    /// The id in the store.
    id: &'a str,
    /// The name.
    name: &'a str,
    /// The name of the database, or its host and path, or the kind of the source.
    source_id: String,
    /// When the snapshot was taken.
    created_at: DateTime<Utc>,
    /// The ids of its chain in the target: from the full snapshot on, this one included.
    chain: Vec<&'a str>,
    /// Whether it is stored in the target as a full snapshot with an id of its own.
    compact: bool,
    /// Whether it is to be pinned in the target.
    pin: bool,
    /// Number of annotations that would be copied: changes of its labels and its note that the target does not have.
    annotations: u64,
    /// Number of objects that are read.
    objects: u64,
    /// Size of these objects in the store, in bytes.
    stored_bytes: u64,
    /// Size of those that an interrupted copy has stored in the target, in bytes. They are not copied again.
    target_stored_bytes: u64,
    /// The id in the target. Null for a compacted snapshot that is not there yet.
    target_id: Option<&'a str>,
}

impl<'a> From<&'a PlannedCopy> for PlannedCopyDocument<'a> {
    fn from(planned: &'a PlannedCopy) -> Self {
        let members = std::iter::once(&planned.id).chain(&planned.ancestors);
        Self {
            id: &planned.id,
            name: &planned.name,
            source_id: planned.source.id_or_kind(),
            created_at: planned.created_at,
            chain: chain(members.map(String::as_str)),
            compact: planned.compact,
            pin: planned.pin,
            annotations: planned.annotations,
            objects: planned.objects,
            stored_bytes: planned.bytes,
            target_stored_bytes: planned.stored_bytes,
            target_id: planned.target_id.as_deref(),
        }
    }
}

/// A snapshot that cannot be copied.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BlockedCopy")]
struct BlockedDocument<'a> {
    /// The id in the store.
    id: &'a str,
    /// The name. Null if it cannot be read.
    name: Option<&'a str>,
    /// Why it cannot be copied.
    error: ItemError,
}

impl<'a> From<&'a BlockedCopy> for BlockedDocument<'a> {
    fn from(BlockedCopy { id, name, kind, reason, .. }: &'a BlockedCopy) -> Self {
        Self { id, name: name.as_deref(), error: ItemError { kind: (*kind).into(), message: reason.clone() } }
    }
}
