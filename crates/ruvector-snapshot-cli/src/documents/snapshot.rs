//! A snapshot in a document.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ruvector_snapshot::{Changes, EmbeddingInfo, IrregularInfo, Labels, RawJson, Snapshot, SourceInfo};
use schemars::JsonSchema;
use serde::Serialize;

/// A snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Snapshot")]
pub(crate) struct SnapshotDocument<'a> {
    /// The id: 36 characters, never used twice, sorts by time.
    pub(crate) id: &'a str,
    /// The name. Several snapshots can have the same name.
    pub(crate) name: &'a str,
    /// When the snapshot was taken.
    pub(crate) created_at: DateTime<Utc>,
    /// Whether it has all records, or only the changes since its base.
    pub(crate) r#type: SnapshotType,
    /// The id of the base of an incremental snapshot. Null for a full one.
    pub(crate) base_id: Option<&'a str>,
    /// Number of records of the state, those of the chain included.
    pub(crate) records: u64,
    /// Number of values in each vector.
    pub(crate) dimensions: u64,
    /// The distance metric, as Ruvector writes it. Null if the database did not record it.
    pub(crate) distance_metric: Option<&'a str>,
    /// Size of its five files in the store, in bytes. Without its ancestors.
    pub(crate) stored_bytes: u64,
    /// Size of its data files when expanded, in bytes. Without its ancestors.
    pub(crate) logical_bytes: u64,
    /// The content checksum of the state: 64 hexadecimal digits. Equal contents have equal checksums.
    pub(crate) checksum: &'a str,
    /// The labels. `list` and `show` have them as they are now, with what `annotate` has changed; other commands as they were stored.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) labels: &'a Labels,
    /// The note, as it is now or as it was stored, like the labels. Null if there is none.
    pub(crate) note: Option<&'a str>,
    /// Sentences about annotations that could not be read. What they have changed is not in the labels and the note.
    pub(crate) unreadable_annotations: &'a [String],
    /// The JSON that a program gave when it created the snapshot, as it is, or null. Missing if it is large: `show` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub(crate) metadata: Option<&'a RawJson>,
    /// Where the records came from.
    pub(crate) source: SourceDocument<'a>,
    /// What is known of the embedding model of the vectors. Null if nothing is, and in a list if it is large.
    pub(crate) embedding: Option<EmbeddingDocument<'a>>,
    /// What the snapshot holds apart from records. Null if that is nothing.
    pub(crate) irregular: Option<IrregularDocument<'a>>,
    /// Size of each of its files in the store, in bytes, by name.
    pub(crate) files: &'a BTreeMap<String, u64>,
    /// Number of records that an incremental snapshot adds, changes and removes. Null for a full one.
    pub(crate) changes: Option<ChangesDocument>,
    /// Whether the snapshot is protected from deletion.
    pub(crate) pinned: bool,
    /// The program that wrote the snapshot, with its version.
    pub(crate) writer: &'a str,
}

impl<'a> From<&'a Snapshot> for SnapshotDocument<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self {
            id: &snapshot.id,
            name: &snapshot.name,
            created_at: snapshot.created_at,
            r#type: if snapshot.base_id().is_some() { SnapshotType::Incremental } else { SnapshotType::Full },
            base_id: snapshot.base_id(),
            records: snapshot.vector_count as u64,
            dimensions: snapshot.dimensions as u64,
            distance_metric: snapshot.distance_metric.as_deref(),
            stored_bytes: snapshot.size_bytes,
            logical_bytes: snapshot.raw_bytes,
            checksum: &snapshot.checksum,
            labels: &snapshot.labels,
            note: snapshot.note.as_deref(),
            unreadable_annotations: &snapshot.unreadable_annotations,
            metadata: snapshot.metadata.as_ref(),
            source: (&snapshot.source).into(),
            embedding: snapshot.embedding.as_ref().map(Into::into),
            irregular: snapshot.irregular.as_ref().map(Into::into),
            files: &snapshot.files,
            changes: snapshot.changes.as_ref().map(Into::into),
            pinned: snapshot.pinned,
            writer: &snapshot.writer,
        }
    }
}

/// The type of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SnapshotType {
    /// It has all records.
    Full,
    /// It has the changes since its base.
    Incremental,
}

impl SnapshotType {
    /// Returns the type, and the id of the base.
    pub(crate) fn of(stored: &ruvector_snapshot::SnapshotType) -> (Self, Option<&str>) {
        match stored {
            ruvector_snapshot::SnapshotType::Full => (Self::Full, None),
            ruvector_snapshot::SnapshotType::Incremental { base_id } => (Self::Incremental, Some(base_id)),
        }
    }
}

/// Where the records of a snapshot came from.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Source")]
pub(crate) struct SourceDocument<'a> {
    /// The kind, for example `ruvector-redb-file`.
    pub(crate) kind: &'a str,
    /// The name of the database, wherever it is. Null if it was given none.
    pub(crate) name: Option<&'a str>,
    /// The host name of the machine. Null if it is not known.
    pub(crate) host: Option<&'a str>,
    /// The absolute path of the database file. Null if there is none.
    pub(crate) path: Option<&'a str>,
    /// The commit of the database that the snapshot has. Null if it is not known.
    pub(crate) transaction_id: Option<u64>,
    /// The number of the device that the file was on. Null if it is not known.
    pub(crate) device: Option<u64>,
    /// The number of the file on its device. Null if it is not known.
    pub(crate) inode: Option<u64>,
    /// What the database has and the snapshot does not hold, one sentence each. A list has the first 64.
    pub(crate) not_captured: &'a [String],
}

impl<'a> From<&'a SourceInfo> for SourceDocument<'a> {
    fn from(source: &'a SourceInfo) -> Self {
        Self {
            kind: &source.kind,
            name: source.name.as_deref(),
            host: source.host.as_deref(),
            path: source.path.as_deref(),
            transaction_id: source.transaction_id,
            device: source.device,
            inode: source.inode,
            not_captured: &source.not_captured,
        }
    }
}

/// What is known of the embedding model of the vectors.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Embedding")]
pub(crate) struct EmbeddingDocument<'a> {
    /// What the database records, by the name of the row.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) recorded: &'a Labels,
    /// What the user has said.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) given: &'a Labels,
}

impl<'a> From<&'a EmbeddingInfo> for EmbeddingDocument<'a> {
    fn from(EmbeddingInfo { recorded, given }: &'a EmbeddingInfo) -> Self {
        Self { recorded, given }
    }
}

/// Rows of the database file that are no records, and are kept as they are.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Irregular")]
pub(crate) struct IrregularDocument<'a> {
    /// Number of ids whose rows form no record.
    pub(crate) records: u64,
    /// Number of rows of the table `config`.
    pub(crate) config_rows: u64,
    /// Number of tables of other programs.
    pub(crate) tables: u64,
    /// Number of rows of these tables.
    pub(crate) table_rows: u64,
    /// What they add to the content checksum.
    pub(crate) checksum: String,
    /// The first of them, as sentences.
    pub(crate) examples: &'a [String],
}

impl<'a> From<&'a IrregularInfo> for IrregularDocument<'a> {
    fn from(irregular: &'a IrregularInfo) -> Self {
        Self {
            records: irregular.records,
            config_rows: irregular.config_rows,
            tables: irregular.tables,
            table_rows: irregular.table_rows,
            checksum: irregular.checksum.to_string(),
            examples: &irregular.examples,
        }
    }
}

/// How many records an incremental snapshot changes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Changes")]
pub(crate) struct ChangesDocument {
    /// Records that the base does not have.
    pub(crate) added: u64,
    /// Records that the base has with another vector or other metadata.
    pub(crate) changed: u64,
    /// Records of the base that were removed.
    pub(crate) removed: u64,
}

impl From<&Changes> for ChangesDocument {
    fn from(changes: &Changes) -> Self {
        Self { added: changes.added, changed: changes.changed, removed: changes.removed }
    }
}
