//! What the documents of several commands have.

use std::path::Path;

use ruvector_snapshot::{ErrorKind, Orphan, OrphanKind, SnapshotError, Transferred};
use schemars::JsonSchema;
use serde::Serialize;

use super::failure::FailureKind;

/// How much was read and written.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct TransferredDocument {
    /// Bytes that were read from the store. A request that was repeated counts once.
    store_read_bytes: u64,
    /// Bytes that were written to the store.
    store_written_bytes: u64,
    /// Bytes that were written to database files and exported files.
    file_written_bytes: u64,
}

impl From<Transferred> for TransferredDocument {
    fn from(transferred: Transferred) -> Self {
        let Transferred { store_read_bytes, store_written_bytes, file_written_bytes, .. } = transferred;
        Self { store_read_bytes, store_written_bytes, file_written_bytes }
    }
}

/// Returns the ids of a chain, from the full snapshot on, of snapshots that are listed with the newest first.
pub(crate) fn chain<'a>(newest_first: impl DoubleEndedIterator<Item = &'a str>) -> Vec<&'a str> {
    newest_first.rev().collect()
}

/// Returns a path as text. What is not UTF-8 in it is replaced.
pub(crate) fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What is known of the bytes of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// What was read is as it was written.
    Intact,
    /// Something is corrupt or missing.
    Corrupt,
    /// It could not be read, so it is not known.
    Unreadable,
}

impl State {
    /// Of a snapshot that cannot be used because of this.
    pub(crate) fn of(error: &SnapshotError) -> Self {
        if error.kind() == ErrorKind::Corrupt { Self::Corrupt } else { Self::Unreadable }
    }
}

/// Why something could not be done with one of several snapshots.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ItemError {
    /// What it means for the caller.
    pub(crate) kind: FailureKind,
    /// What failed, and why.
    pub(crate) message: String,
}

impl From<&SnapshotError> for ItemError {
    fn from(error: &SnapshotError) -> Self {
        Self { kind: FailureKind::of(error.kind(), error.remedy()), message: error.to_string() }
    }
}

/// What was done with one of several snapshots, or why it could not be done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{D}Outcome")]
#[serde(untagged)]
pub(crate) enum OutcomeDocument<D> {
    /// It was done.
    Done(D),
    /// It could not be done.
    Failed {
        /// The id of the snapshot.
        id: String,
        /// Why it could not be done.
        error: ItemError,
    },
}

/// Something in the store that belongs to no snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Orphan")]
pub(crate) struct OrphanDocument<'a> {
    /// The key of the object, or what the keys of the objects start with.
    key: &'a str,
    /// What it is.
    kind: OrphanKindDocument,
    /// Size in the store, in bytes.
    stored_bytes: u64,
}

impl<'a> From<&'a Orphan> for OrphanDocument<'a> {
    fn from(orphan: &'a Orphan) -> Self {
        let kind = match orphan.kind {
            OrphanKind::Upload => OrphanKindDocument::Upload,
            OrphanKind::Deletion => OrphanKindDocument::Deletion,
            OrphanKind::Marker => OrphanKindDocument::Marker,
            OrphanKind::LedgerEntry => OrphanKindDocument::LedgerEntry,
            OrphanKind::Annotation => OrphanKindDocument::Annotation,
            OrphanKind::Check => OrphanKindDocument::Check,
            OrphanKind::Multipart => OrphanKindDocument::Multipart,
            OrphanKind::Directory => OrphanKindDocument::Directory,
            _ => OrphanKindDocument::Staged,
        };
        Self { key: &orphan.key, kind, stored_bytes: orphan.bytes }
    }
}

/// What belongs to no snapshot.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "OrphanKind")]
#[serde(rename_all = "snake_case")]
enum OrphanKindDocument {
    /// An upload that is running or was interrupted.
    Upload,
    /// A deletion that is running or was interrupted.
    Deletion,
    /// A marker that is not needed any more.
    Marker,
    /// An entry of a ledger that is not needed.
    LedgerEntry,
    /// An annotation that is not needed.
    Annotation,
    /// An object of a check of the store.
    Check,
    /// A temporary file.
    Staged,
    /// A multipart upload of a bucket.
    Multipart,
    /// An empty directory.
    Directory,
}
