//! The documents of `pin` and `unpin`.

use schemars::JsonSchema;
use serde::Serialize;

/// What `pin` or `unpin` has done, or with `--dry-run` would do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Pin")]
pub(crate) struct PinDocument<'a> {
    /// Whether nothing was changed, because of `--dry-run`.
    pub(crate) dry_run: bool,
    /// The snapshots that were given, each once.
    pub(crate) snapshots: Vec<PinnedSnapshot<'a>>,
}

/// A snapshot that was to be pinned or unpinned.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PinnedSnapshot<'a> {
    /// The id.
    pub(crate) id: &'a str,
    /// The name, if it can be read.
    pub(crate) name: Option<&'a str>,
    /// Whether the snapshot is protected from deletion after it.
    pub(crate) pinned: bool,
    /// Whether the command changes that. False if it was so before.
    pub(crate) changed: bool,
}
