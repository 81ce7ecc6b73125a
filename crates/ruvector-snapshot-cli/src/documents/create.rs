//! The document of `create`.

use ruvector_snapshot::{Snapshot, Transferred};
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::{TransferredDocument, chain};
use super::snapshot::SnapshotDocument;

/// What `create` has stored.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Create")]
pub(crate) struct CreateDocument<'a> {
    /// The id of the new snapshot.
    id: &'a str,
    /// The new snapshot.
    snapshot: SnapshotDocument<'a>,
    /// The ids of the chain: from the full snapshot on, the new one included.
    chain: Vec<&'a str>,
    /// Size of all snapshots of the chain in the store, in bytes.
    chain_stored_bytes: u64,
    /// Whether the store had no snapshots before. A surprise may mean a disk that is not mounted.
    store_is_new: bool,
    #[serde(flatten)]
    transferred: TransferredDocument,
}

impl<'a> CreateDocument<'a> {
    /// `ancestors` has the newest first.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        ancestors: &'a [Snapshot],
        store_is_new: bool,
        transferred: Transferred,
    ) -> Self {
        let members = || std::iter::once(snapshot).chain(ancestors);
        Self {
            id: &snapshot.id,
            snapshot: snapshot.into(),
            chain: chain(members().map(|member| member.id.as_str())),
            chain_stored_bytes: members().map(|member| member.size_bytes).fold(0, u64::saturating_add),
            store_is_new,
            transferred: transferred.into(),
        }
    }
}
