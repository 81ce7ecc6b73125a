//! What is to be stored as a new snapshot, apart from its blocks.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::metadata::{SnapshotMetadata, SourceInfo};
use ruvector_snapshot_format::model::{Changes, DatabaseInfo};
use ruvector_snapshot_format::{Labels, RawJson};

use crate::progress::Progress;
use crate::source::SourceReader;

/// What is known of a source before its records are read.
pub(crate) struct SourceSummary {
    pub(crate) database: DatabaseInfo,
    pub(crate) info: SourceInfo,
    /// For progress; 0 if it is not known.
    pub(crate) records_expected: u64,
    pub(crate) size_bounds_bytes: Option<[u64; 3]>,
    /// What is known already of what the snapshot will not hold, as sentences.
    pub(crate) not_captured: Vec<String>,
}

impl SourceSummary {
    pub(crate) fn of(reader: &(impl SourceReader + ?Sized), kind: &str) -> Self {
        let mut info = SourceInfo::new(kind, reader.transaction_id());
        if let Some(file) = reader.file().cloned() {
            (info.path, info.device, info.inode) = (Some(file.path), file.device, file.inode);
        }
        Self {
            database: reader.database().clone(),
            info,
            records_expected: reader.records_expected(),
            size_bounds_bytes: reader.size_bounds_bytes(),
            not_captured: reader.not_captured(),
        }
    }
}

/// What is to be stored, apart from the blocks.
pub(crate) struct SnapshotSpec<'a> {
    pub(crate) name: &'a str,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) labels: Labels,
    pub(crate) note: Option<String>,
    pub(crate) metadata: RawJson,
    pub(crate) source: SourceSummary,
    pub(crate) embedding: EmbeddingInfo,
    /// All ancestors of an increment, the newest first. Empty for a full snapshot.
    pub(crate) base_ids: Vec<SnapshotId>,
    pub(crate) progress: Option<&'a Arc<dyn Progress>>,
}

/// What is known of a snapshot after its last block.
pub(crate) struct Completion<'a> {
    pub(crate) not_captured: Vec<String>,
    /// The encoded section of the leaf tables.
    pub(crate) leaves: Option<Vec<u8>>,
    /// The irregular rows of the state, stored in this snapshot or in an ancestor.
    pub(crate) irregular: Option<IrregularInfo>,
    pub(crate) content: Content<'a>,
}

/// What the blocks of a snapshot are.
pub(crate) enum Content<'a> {
    /// All records.
    Full,
    /// All records, which must have this content checksum.
    Compacted(ContentSum),
    /// The changes since `base`, which result in records with this checksum.
    Increment { base: &'a SnapshotMetadata, changes: Changes, checksum: ContentSum },
}
