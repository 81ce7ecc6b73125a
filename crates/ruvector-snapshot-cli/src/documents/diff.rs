//! The document of `diff`. With `--list` it is printed in parts: the beginning, each record that differs, and the end.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{DiffEntry, DiffSummary, DiffedSnapshot, RecordChange};
use schemars::JsonSchema;
use serde::Serialize;

/// With `--list`: how two snapshots differ, and which records do.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "DiffList")]
#[expect(dead_code, reason = "it is printed in parts, and this is its schema")]
pub(crate) struct DiffDocument<'a> {
    #[schemars(flatten)]
    begin: DiffBegin<'a>,
    /// The records that differ, in the order of the bytes of their ids. With `--jsonl`, each is a line, and nothing else is
    /// printed.
    changes: Vec<ChangeDocument<'a>>,
    #[schemars(flatten)]
    end: DiffEnd<'a>,
}

/// What was printed of the differences before a failure.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it is printed in parts, and this is its schema")]
pub(crate) struct DiffFailed<'a> {
    #[schemars(flatten)]
    begin: DiffBegin<'a>,
    /// The records that differ, as far as they were printed.
    changes: Vec<ChangeDocument<'a>>,
}

/// The members before the records that differ.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiffBegin<'a> {
    /// The store of the second snapshot, as it was given.
    pub(crate) other_store: &'a str,
}

/// How two snapshots differ.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Diff")]
pub(crate) struct DiffCounts<'a> {
    #[serde(flatten)]
    pub(crate) begin: DiffBegin<'a>,
    #[serde(flatten)]
    pub(crate) end: DiffEnd<'a>,
}

/// The members after the records that differ.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiffEnd<'a> {
    /// The first snapshot.
    first: DiffedDocument<'a>,
    /// The second snapshot.
    second: DiffedDocument<'a>,
    /// Whether the two snapshots are equal: their records, their dimensions, their metric and their irregular rows.
    equal: bool,
    /// Number of records that differ.
    differences: u64,
    /// Records that only the second snapshot has.
    added: u64,
    /// Records that only the first snapshot has.
    removed: u64,
    /// Records with another vector and the same metadata.
    vector_changed: u64,
    /// Records with other metadata and the same vector.
    metadata_changed: u64,
    /// Records with another vector and other metadata.
    vector_and_metadata_changed: u64,
    /// Records that are the same in both.
    unchanged: u64,
    /// Whether the irregular rows differ. Which ones is not compared.
    irregular_rows_differ: bool,
    /// Bytes that were read from the stores.
    store_read_bytes: u64,
}

impl<'a> From<&'a DiffSummary> for DiffEnd<'a> {
    fn from(summary: &'a DiffSummary) -> Self {
        Self {
            first: (&summary.first).into(),
            second: (&summary.second).into(),
            equal: summary.is_equal(),
            differences: summary.differences(),
            added: summary.added,
            removed: summary.removed,
            vector_changed: summary.vector_changed,
            metadata_changed: summary.metadata_changed,
            vector_and_metadata_changed: summary.vector_and_metadata_changed,
            unchanged: summary.unchanged,
            irregular_rows_differ: summary.irregular_rows_differ,
            store_read_bytes: summary.read_bytes,
        }
    }
}

/// One of two snapshots that are compared.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DiffedSnapshot")]
pub(crate) struct DiffedDocument<'a> {
    /// The id.
    id: &'a str,
    /// The name.
    name: &'a str,
    /// When the snapshot was taken.
    created_at: DateTime<Utc>,
    /// Number of records.
    records: u64,
    /// Number of values in each vector. 0 if the database is empty and does not record it.
    dimensions: u64,
    /// The distance metric, as Ruvector writes it. Null if the database did not record it.
    distance_metric: Option<&'a str>,
    /// The content checksum.
    checksum: &'a str,
}

impl<'a> From<&'a DiffedSnapshot> for DiffedDocument<'a> {
    fn from(snapshot: &'a DiffedSnapshot) -> Self {
        Self {
            id: &snapshot.id,
            name: &snapshot.name,
            created_at: snapshot.created_at,
            records: snapshot.records,
            dimensions: snapshot.dimensions,
            distance_metric: snapshot.distance_metric.as_deref(),
            checksum: &snapshot.checksum,
        }
    }
}

/// A record that is not the same in both snapshots.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Change")]
pub(crate) struct ChangeDocument<'a> {
    /// The id of the record.
    id: &'a str,
    /// What became of it from the first snapshot to the second one.
    change: ChangeKind,
}

impl<'a> From<&'a DiffEntry> for ChangeDocument<'a> {
    fn from(DiffEntry { id, change, .. }: &'a DiffEntry) -> Self {
        Self { id, change: (*change).into() }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    /// Only the second snapshot has it.
    Added,
    /// Only the first snapshot has it.
    Removed,
    /// Both have it, with the same metadata and another vector.
    Vector,
    /// Both have it, with the same vector and other metadata.
    Metadata,
    /// Both have it, with another vector and other metadata.
    VectorAndMetadata,
}

impl From<RecordChange> for ChangeKind {
    fn from(change: RecordChange) -> Self {
        match change {
            RecordChange::Added => Self::Added,
            RecordChange::Removed => Self::Removed,
            RecordChange::Vector => Self::Vector,
            RecordChange::Metadata => Self::Metadata,
            _ => Self::VectorAndMetadata,
        }
    }
}
