//! The document of `prune`.

use ruvector_snapshot::retention::Period;
use ruvector_snapshot::{
    DropReason, DroppedSnapshot, KeepReason, KeptSnapshot, Orphan, PlannedGroup, PrunePlan, SnapshotGroup, SourceId,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::shared::OrphanDocument;
use super::snapshot::SnapshotDocument;

/// What `prune` has kept, deleted and collected.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Prune")]
pub(crate) struct PruneDocument<'a> {
    /// Whether nothing was done, because of `--dry-run`.
    dry_run: bool,
    /// Whether it was checked that the store can be written to. Null without `--dry-run`, and if nothing would be deleted.
    write_checked: Option<bool>,
    /// What the snapshots were grouped by, as `--group-by` takes it.
    group_by: String,
    /// The groups that the rules were applied to.
    groups: Each<'a, PlannedGroup, PlannedGroupDocument<'a>>,
    /// The snapshots to keep, the newest first.
    keep: Each<'a, KeptSnapshot, KeptDocument<'a>>,
    /// The snapshots to delete, each before those that it depends on.
    drop: Each<'a, DroppedSnapshot, DroppedDocument<'a>>,
    /// What belongs to no snapshot and is to be collected.
    orphans: Each<'a, Orphan, OrphanDocument<'a>>,
    /// What else belongs to no snapshot. It is not collected now: a running command may own it, or a snapshot may depend on
    /// it, or it is a multipart upload.
    unfinished: Each<'a, Orphan, OrphanDocument<'a>>,
    /// Whether `unfinished` has all multipart uploads of the store.
    multipart_uploads_known: bool,
    /// The ids of the snapshots that cannot be used, the newest first. They are not deleted.
    unusable: &'a [String],
    /// The ids of those of `unusable` that could not be read, the newest first. Everything older than the newest of them is
    /// kept. If there is any, the exit code is 1.
    unread: &'a [String],
    /// The ids of the snapshots that were deleted.
    deleted: &'a [String],
    /// The ids of the snapshots that were to be deleted and were kept, because they are pinned or needed by now. If there is
    /// any, the exit code is 1.
    kept: &'a [String],
    /// What was collected of `orphans`.
    collected: Each<'a, Orphan, OrphanDocument<'a>>,
    /// Bytes that were freed in the store.
    freed_bytes: u64,
}

/// What became of a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pruned<'a> {
    pub(crate) dry_run: bool,
    pub(crate) write_checked: Option<bool>,
    pub(crate) deleted: &'a [String],
    pub(crate) kept: &'a [String],
    pub(crate) collected: &'a [Orphan],
    pub(crate) freed_bytes: u64,
}

impl<'a> PruneDocument<'a> {
    pub(crate) fn new(plan: &'a PrunePlan, pruned: Pruned<'a>) -> Self {
        let Pruned { dry_run, write_checked, deleted, kept, collected, freed_bytes } = pruned;
        Self {
            dry_run,
            write_checked,
            group_by: plan.group_by.to_string(),
            groups: (&plan.groups).into(),
            keep: (&plan.keep).into(),
            drop: (&plan.drop).into(),
            orphans: (&plan.orphans).into(),
            unfinished: (&plan.unfinished).into(),
            multipart_uploads_known: plan.multipart_uploads_known,
            unusable: &plan.unusable,
            unread: &plan.unread,
            deleted,
            kept,
            collected: collected.into(),
            freed_bytes,
        }
    }
}

/// A group of snapshots, and which of them to keep and to delete.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedGroup")]
struct PlannedGroupDocument<'a> {
    /// What the snapshots have in common.
    group: GroupDocument<'a>,
    /// The ids of those that are kept, the newest first.
    keep: &'a [String],
    /// The ids of those that are deleted, the newest first.
    drop: &'a [String],
}

impl<'a> From<&'a PlannedGroup> for PlannedGroupDocument<'a> {
    fn from(PlannedGroup { group, keep, drop, .. }: &'a PlannedGroup) -> Self {
        Self { group: group.into(), keep, drop }
    }
}

/// What the snapshots of a group have in common. Without members if it is the group of all snapshots.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Group")]
struct GroupDocument<'a> {
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<GroupSource<'a>>,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// The value of a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<GroupLabel<'a>>,
}

/// The source of a group.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct GroupSource<'a> {
    /// The kind, of sources that have neither a name nor a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    /// The name of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// The host name of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    /// The absolute path of the database file.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
}

/// The label of a group.
#[derive(Debug, Serialize, JsonSchema)]
struct GroupLabel<'a> {
    /// The key.
    key: &'a str,
    /// The value. Null for the snapshots without the label.
    value: Option<&'a str>,
}

impl<'a> From<&'a SnapshotGroup> for GroupDocument<'a> {
    fn from(group: &'a SnapshotGroup) -> Self {
        let source = |source| Self { source: Some(source), ..Self::default() };
        match group {
            SnapshotGroup::Source(SourceId::Name(name)) => {
                source(GroupSource { name: Some(name), ..GroupSource::default() })
            }
            SnapshotGroup::Source(SourceId::Path { host, path }) => {
                source(GroupSource { host: host.as_deref(), path: Some(path), ..GroupSource::default() })
            }
            SnapshotGroup::SourceKind(kind) => source(GroupSource { kind: Some(kind), ..GroupSource::default() }),
            SnapshotGroup::Name(name) => Self { name: Some(name), ..Self::default() },
            SnapshotGroup::Label { key, value } => {
                Self { label: Some(GroupLabel { key, value: value.as_deref() }), ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}

/// A snapshot to keep.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeptSnapshot")]
struct KeptDocument<'a> {
    #[serde(flatten)]
    snapshot: SnapshotDocument<'a>,
    /// All reasons to keep it.
    reasons: Each<'a, KeepReason, ReasonDocument>,
}

impl<'a> From<&'a KeptSnapshot> for KeptDocument<'a> {
    fn from(KeptSnapshot { snapshot, reasons, .. }: &'a KeptSnapshot) -> Self {
        Self { snapshot: snapshot.into(), reasons: reasons.into() }
    }
}

/// A snapshot to delete.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DroppedSnapshot")]
struct DroppedDocument<'a> {
    #[serde(flatten)]
    snapshot: SnapshotDocument<'a>,
    /// Why the rules do not keep it, with one reason for each rule.
    reasons: Each<'a, DropReason, ReasonDocument>,
}

impl<'a> From<&'a DroppedSnapshot> for DroppedDocument<'a> {
    fn from(DroppedSnapshot { snapshot, reasons, .. }: &'a DroppedSnapshot) -> Self {
        Self { snapshot: snapshot.into(), reasons: reasons.into() }
    }
}

/// Why a snapshot is kept or deleted.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Reason")]
struct ReasonDocument {
    /// The reason. To keep: `pinned`, `future`, `broken_chain`, `corrupt`, `last`, `newest_of`, `within`, `label`,
    /// `base_of`, `base_of_unusable`, `base_of_upload`, `may_be_needed_by` or `other_source`. To delete: `not_last`, `not_newest_of`, `not_last_of`,
    /// `not_within`, `same_state` or `no_label`.
    why: &'static str,
    /// The id of the snapshot or upload that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The number of snapshots or periods that the rule keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    /// The kind of period: `hour`, `day`, `week`, `month`, `quarter` or `year`.
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<&'static str>,
    /// The name of the period, for example `2026-11-23`, `2026-W48` or `2026-Q4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The span that the rule keeps, as `--keep-within` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<String>,
    /// The label that the rule keeps, as `--keep-label` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

impl From<&KeepReason> for ReasonDocument {
    fn from(reason: &KeepReason) -> Self {
        let this = Self::default();
        let of_id = |why, id: &String| Self { why, id: Some(id.clone()), ..Self::default() };
        match reason {
            KeepReason::OtherSource => Self { why: "other_source", ..this },
            KeepReason::Pinned => Self { why: "pinned", ..this },
            KeepReason::Future => Self { why: "future", ..this },
            KeepReason::BrokenChain { at } => of_id("broken_chain", at),
            KeepReason::Corrupt => Self { why: "corrupt", ..this },
            KeepReason::Last { count } => Self { why: "last", count: Some(*count), ..this },
            KeepReason::NewestOf { period, name } => {
                Self { why: "newest_of", period: Some(period_name(*period)), name: Some(name.clone()), ..this }
            }
            KeepReason::Within { span } => Self { why: "within", span: Some(span.to_string()), ..this },
            KeepReason::Label { pattern } => Self { why: "label", label: Some(pattern.to_string()), ..this },
            KeepReason::BaseOf { id } => of_id("base_of", id),
            KeepReason::BaseOfUnusable { id } => of_id("base_of_unusable", id),
            KeepReason::BaseOfUpload { id } => of_id("base_of_upload", id),
            KeepReason::MayBeNeededBy { id } => of_id("may_be_needed_by", id),
            _ => Self { why: "other", ..this },
        }
    }
}

impl From<&DropReason> for ReasonDocument {
    fn from(reason: &DropReason) -> Self {
        let this = Self::default();
        match reason {
            DropReason::NotLast { count } => Self { why: "not_last", count: Some(*count), ..this },
            DropReason::NotNewestOf { period, name } => {
                Self { why: "not_newest_of", period: Some(period_name(*period)), name: Some(name.clone()), ..this }
            }
            DropReason::NotLastOf { period, count } => {
                Self { why: "not_last_of", period: Some(period_name(*period)), count: Some(*count), ..this }
            }
            DropReason::NotWithin { span } => Self { why: "not_within", span: Some(span.to_string()), ..this },
            DropReason::SameState { id } => Self { why: "same_state", id: Some(id.clone()), ..this },
            DropReason::NoLabel { pattern } => Self { why: "no_label", label: Some(pattern.to_string()), ..this },
            _ => Self { why: "other", ..this },
        }
    }
}

fn period_name(period: Period) -> &'static str {
    match period {
        Period::Hour => "hour",
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
        Period::Quarter => "quarter",
        Period::Year => "year",
    }
}
