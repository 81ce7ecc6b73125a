//! The document of `delete`.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{Listing, SourceInfo};
use schemars::JsonSchema;
use serde::Serialize;

use super::snapshot::SourceDocument;

/// What `delete` has deleted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Delete")]
pub(crate) struct DeleteDocument<'a> {
    /// Whether nothing was done, because of `--dry-run`.
    pub(crate) dry_run: bool,
    /// Whether it was checked that the store can be written to. Null without `--dry-run`.
    pub(crate) write_checked: Option<bool>,
    /// The ids of the snapshots that were to be deleted, each before those that it depends on.
    pub(crate) plan: &'a [String],
    /// The snapshots of `plan`, in its order.
    pub(crate) snapshots: Vec<DeletedSnapshot<'a>>,
    /// The databases of which nothing is left after that, or would be left, that can be restored, as far as is known.
    pub(crate) unprotected: &'a [String],
    /// The ids of the snapshots that were deleted. Empty with `--dry-run`.
    pub(crate) deleted: &'a [String],
}

/// A snapshot that was to be deleted.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeletedSnapshot<'a> {
    /// The id.
    pub(crate) id: &'a str,
    /// The name. Null if it could not be read.
    pub(crate) name: Option<&'a str>,
    /// When the snapshot was taken. Null if its id is no time.
    pub(crate) created_at: Option<DateTime<Utc>>,
    /// Where the records came from. Null if it could not be read.
    pub(crate) source: Option<SourceDocument<'a>>,
    /// The name of the database, or its host and path, or the kind of the source.
    #[serde(skip)]
    pub(crate) source_id: Option<String>,
}

impl<'a> DeletedSnapshot<'a> {
    pub(crate) fn of(listing: &'a Listing, id: &'a str) -> Self {
        let usable = listing.snapshots.iter().find(|snapshot| snapshot.id == id);
        let unusable = listing.unusable.iter().find(|unusable| unusable.id == id);
        let name = usable.map(|snapshot| snapshot.name.as_str());
        let source = usable.map(|snapshot| &snapshot.source).or_else(|| unusable?.source.as_ref());
        Self {
            id,
            name: name.or_else(|| unusable?.name.as_deref()),
            created_at: usable.map(|snapshot| snapshot.created_at).or_else(|| Listing::moment_of(id)),
            source: source.map(Into::into),
            source_id: source.map(SourceInfo::id_or_kind),
        }
    }
}
