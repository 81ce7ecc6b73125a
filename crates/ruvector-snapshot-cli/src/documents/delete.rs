//! The document of `delete`.

use schemars::JsonSchema;
use serde::Serialize;

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
    /// The ids of the snapshots that were deleted. Empty with `--dry-run`.
    pub(crate) deleted: &'a [String],
}
