//! The document of `annotate`.

use std::collections::BTreeMap;

use ruvector_snapshot::AnnotatePlan;
use schemars::JsonSchema;
use serde::Serialize;

/// What `annotate` has changed, or with `--dry-run` would change.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Annotate")]
pub(crate) struct AnnotateDocument<'a> {
    /// Whether nothing was changed, because of `--dry-run`.
    pub(crate) dry_run: bool,
    /// The snapshots that were given, each once.
    pub(crate) snapshots: Vec<AnnotatedSnapshot<'a>>,
}

/// A snapshot that was to be annotated.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AnnotatedSnapshot<'a> {
    /// The id.
    pub(crate) id: &'a str,
    /// The name.
    pub(crate) name: &'a str,
    /// The labels after it.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// The note after it. Null if there is none.
    pub(crate) note: Option<&'a str>,
    /// Whether something is changed. False if everything was so already.
    pub(crate) changed: bool,
}

impl<'a> From<&'a AnnotatePlan> for AnnotatedSnapshot<'a> {
    fn from(plan: &'a AnnotatePlan) -> Self {
        let AnnotatePlan { id, name, labels, note, changes, .. } = plan;
        Self { id, name, labels, note: note.as_deref(), changed: *changes }
    }
}
