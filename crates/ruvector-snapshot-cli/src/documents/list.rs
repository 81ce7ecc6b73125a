//! The document of `list`. It is printed in parts: each snapshot, and the end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ruvector_snapshot::{ChainEnd, Listing, Orphan, RawJson, Snapshot, UnusableSnapshot};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::shared::{ItemError, OrphanDocument, State, chain};
use super::show::ChecksDocument;
use super::snapshot::SnapshotDocument;

/// What is in a store.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "List")]
#[expect(dead_code, reason = "it is printed in parts, and this is its schema")]
pub(crate) struct ListDocument<'a> {
    /// The snapshots, the newest first.
    snapshots: Vec<ListedDocument<'a>>,
    #[schemars(flatten)]
    end: ListEnd<'a>,
}

/// What was printed of a list before a failure.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it is printed in parts, and this is its schema")]
pub(crate) struct ListFailed<'a> {
    /// The snapshots, as far as they were printed.
    snapshots: Vec<ListedDocument<'a>>,
}

/// A snapshot in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ListedSnapshot")]
pub(crate) struct ListedDocument<'a> {
    #[serde(flatten)]
    snapshot: SnapshotDocument<'a>,
    /// Why `metadata` is missing, if it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_error: Option<&'a str>,
    /// The ids of its chain: from the full snapshot on, this one included. If the chain is broken, from the snapshot that is
    /// missing or cannot be used.
    chain: Vec<&'a str>,
    /// Whether all snapshots of its chain are there and can be used.
    chain_state: ChainState,
    /// Whether it is dated more than 5 minutes in the future, because a clock is or was wrong.
    dated_in_future: bool,
    /// What was recorded of its verifications. Null if nothing was.
    checks: Option<ChecksDocument>,
}

impl<'a> ListedDocument<'a> {
    /// `ancestors` has the ids of the ancestors, the base first. `metadata` is what the listing has left out, or why it
    /// cannot be read.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        listing: &'a Listing,
        (ancestors, end): (&'a [String], ChainEnd),
        metadata: Result<Option<&'a RawJson>, &'a str>,
    ) -> Self {
        let own = SnapshotDocument::from(snapshot);
        let members = std::iter::once(&snapshot.id).chain(ancestors);
        Self {
            metadata_error: metadata.err(),
            chain: chain(members.map(String::as_str)),
            chain_state: match end {
                ChainEnd::Missing | ChainEnd::Unusable => ChainState::Broken,
                _ => ChainState::Complete,
            },
            dated_in_future: listing.is_dated_in_future(&snapshot.id),
            checks: listing.checks_of(&snapshot.id).map(Into::into),
            snapshot: SnapshotDocument { metadata: own.metadata.or(metadata.unwrap_or_default()), ..own },
        }
    }
}

/// Whether a chain can be restored.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ChainState {
    /// All of its snapshots are there, as far as a list shows.
    Complete,
    /// One is missing, or cannot be used.
    Broken,
}

/// The members after the snapshots.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListEnd<'a> {
    /// Snapshots that cannot be used, the newest first. If one is corrupt, the exit code is 3, and else 1.
    unusable: Vec<UnusableDocument<'a>>,
    /// What is wrong with the `checksum.sha256` of those of `snapshots` that have none, or one of another size, by id. They can be
    /// restored, and no increment can be based on them. The exit code is 3.
    damaged: &'a BTreeMap<String, String>,
    /// The ids of uploads that are running or were interrupted, the newest first.
    pending_uploads: &'a [String],
    /// The ids of those of `pending_uploads` that may be snapshots: only `metadata.json` is missing, for more than an hour.
    possibly_lost: &'a [String],
    /// The ids of snapshots that are being deleted, or whose deletion was interrupted, the newest first.
    deleting: &'a [String],
    /// The ids of those of `snapshots` that are marked for deletion and still intact, the newest first.
    marked_for_deletion: &'a [String],
    /// The ids of snapshots that are dated more than 5 minutes in the future, the newest first.
    dated_in_future: &'a [String],
    /// Everything else that commands have written.
    unfinished: Each<'a, Orphan, OrphanDocument<'a>>,
    /// Whether `unfinished` has all multipart uploads of the store.
    multipart_uploads_known: bool,
    /// Number of objects in the store that are not part of any snapshot.
    foreign: u64,
    /// When the store was listed, by the clock of this machine.
    listed_at: DateTime<Utc>,
}

impl<'a> From<&'a Listing> for ListEnd<'a> {
    fn from(listing: &'a Listing) -> Self {
        let unusable = |one: &'a UnusableSnapshot| UnusableDocument {
            id: &one.id,
            name: one.name.as_deref(),
            state: State::of(&one.error),
            error: (&one.error).into(),
            dated_in_future: listing.is_dated_in_future(&one.id),
        };
        Self {
            unusable: listing.unusable.iter().map(unusable).collect(),
            damaged: &listing.damaged,
            pending_uploads: &listing.pending_uploads,
            possibly_lost: &listing.possibly_lost,
            deleting: &listing.deleting,
            marked_for_deletion: &listing.marked_for_deletion,
            dated_in_future: &listing.dated_in_future,
            unfinished: (&listing.unfinished).into(),
            multipart_uploads_known: listing.multipart_uploads_known,
            foreign: listing.foreign,
            listed_at: listing.listed_at,
        }
    }
}

/// A snapshot that cannot be used.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UnusableSnapshot")]
struct UnusableDocument<'a> {
    /// The id.
    id: &'a str,
    /// The name. Null if it cannot be read.
    name: Option<&'a str>,
    /// Whether it is `corrupt`, or `unreadable` and may be intact.
    state: State,
    /// Why it cannot be used.
    error: ItemError,
    /// Whether it is dated more than 5 minutes in the future.
    dated_in_future: bool,
}
