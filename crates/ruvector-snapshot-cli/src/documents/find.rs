//! The document of `find`.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{FindReport, FoundRecord, RecordState};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::snapshot::SourceDocument;

/// In which snapshots a record is. Which ones that is not known of is in `warnings`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Find")]
pub(crate) struct FindDocument<'a> {
    /// The id of the record.
    record_id: &'a str,
    /// Whether any snapshot has the record. If none has, the exit code is 1, and 4 if there are no snapshots.
    found: bool,
    /// All snapshots that can be used, the newest first.
    snapshots: Each<'a, FoundRecord, FoundDocument<'a>>,
    /// The ids of the snapshots that cannot be used, the newest first. Whether they have the record is not known.
    unusable: &'a [String],
}

impl<'a> From<&'a FindReport> for FindDocument<'a> {
    fn from(report: &'a FindReport) -> Self {
        let FindReport { record_id, snapshots, unusable, .. } = report;
        Self { record_id, found: report.is_found(), snapshots: snapshots.into(), unusable }
    }
}

/// A snapshot, and what became of the record in it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FoundRecord")]
struct FoundDocument<'a> {
    /// The id of the snapshot.
    id: &'a str,
    /// The name of the snapshot.
    name: &'a str,
    /// When the snapshot was taken.
    created_at: DateTime<Utc>,
    /// Where the records of the snapshot came from.
    source: SourceDocument<'a>,
    /// The id of the base of an incremental snapshot. Null for a full one.
    base_id: Option<&'a str>,
    /// What became of the record since the snapshot before: the base, or else the one before of the same source.
    change: RecordChange,
    /// The digest of the record: 64 hexadecimal digits. Equal contents have equal digests. Null if the snapshot does not
    /// have it, or that is not known.
    digest: Option<&'a str>,
}

impl<'a> From<&'a FoundRecord> for FoundDocument<'a> {
    fn from(found: &'a FoundRecord) -> Self {
        let change = match found.state {
            RecordState::Absent => RecordChange::Absent,
            RecordState::Added => RecordChange::Added,
            RecordState::Present => RecordChange::Present,
            RecordState::Same => RecordChange::Same,
            RecordState::VectorChanged => RecordChange::Vector,
            RecordState::MetadataChanged => RecordChange::Metadata,
            RecordState::Changed => RecordChange::Changed,
            RecordState::Removed => RecordChange::Removed,
            _ => RecordChange::Unknown,
        };
        Self {
            id: &found.snapshot.id,
            name: &found.snapshot.name,
            created_at: found.snapshot.created_at,
            source: (&found.snapshot.source).into(),
            base_id: found.snapshot.base_id(),
            change,
            digest: found.digest.as_deref(),
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "FoundChange")]
#[serde(rename_all = "snake_case")]
enum RecordChange {
    /// The snapshot does not have the record, and the one before did not either.
    Absent,
    /// The snapshot has the record, and the one before does not.
    Added,
    /// The snapshot has the record. The one before cannot be read.
    Present,
    /// The snapshot has the record as the one before.
    Same,
    /// The vector is another one.
    Vector,
    /// The metadata is another one.
    Metadata,
    /// The vector or the metadata is another one, or both.
    Changed,
    /// The snapshot does not have the record, and the one before has it.
    Removed,
    /// It is not known, because something cannot be read.
    Unknown,
}
