//! What the documents of several commands have.

use ruvector_snapshot::Transferred;
use schemars::JsonSchema;
use serde::Serialize;

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
