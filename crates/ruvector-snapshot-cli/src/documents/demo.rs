//! The document of `demo`.

use ruvector_snapshot::Snapshot;
use schemars::JsonSchema;
use serde::Serialize;

use super::snapshot::SnapshotDocument;

/// What `demo` has shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Demo")]
pub(crate) struct DemoDocument<'a> {
    /// The full snapshot.
    snapshot: SnapshotDocument<'a>,
    /// The incremental snapshot.
    increment: SnapshotDocument<'a>,
    /// The checks, in order. All of them passed: one that does not ends the demo.
    checks: &'a [String],
    /// The directory with the files, as it was given. Null if they were removed.
    dir: Option<String>,
}

impl<'a> DemoDocument<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        increment: &'a Snapshot,
        checks: &'a [String],
        dir: Option<String>,
    ) -> Self {
        Self { snapshot: snapshot.into(), increment: increment.into(), checks, dir }
    }
}
