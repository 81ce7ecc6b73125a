//! The document of `compact`.

use ruvector_snapshot::{Snapshot, Transferred};
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::{TransferredDocument, chain};
use super::snapshot::SnapshotDocument;

/// What `compact` has stored.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Compact")]
pub(crate) struct CompactDocument<T> {
    /// The new snapshots, in the order in which their sources were given.
    pub(crate) snapshots: T,
}

/// A full snapshot that was made from a chain.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CompactedSnapshot")]
pub(crate) struct CompactedDocument<'a> {
    #[serde(flatten)]
    snapshot: SnapshotDocument<'a>,
    /// Whether the snapshot was there before, from an earlier compact. Then nothing was stored.
    existing: bool,
    /// The id of the incremental snapshot that it was made from.
    from_id: Option<&'a str>,
    /// The ids of the chain that it was made from: from the full snapshot on.
    from_chain: Vec<&'a str>,
    /// Size of all snapshots of that chain in the store, in bytes.
    from_chain_stored_bytes: u64,
    #[serde(flatten)]
    transferred: TransferredDocument,
}

impl<'a> CompactedDocument<'a> {
    /// `from` has the ids of the chain, the newest first.
    pub(crate) fn new(
        (snapshot, is_existing): (&'a Snapshot, bool),
        from: &'a [String],
        from_bytes: u64,
        transferred: Transferred,
    ) -> Self {
        Self {
            snapshot: snapshot.into(),
            existing: is_existing,
            from_id: from.first().map(String::as_str),
            from_chain: chain(from.iter().map(String::as_str)),
            from_chain_stored_bytes: from_bytes,
            transferred: transferred.into(),
        }
    }
}
