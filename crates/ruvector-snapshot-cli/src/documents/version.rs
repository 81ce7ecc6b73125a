//! The document of `version`.

use schemars::JsonSchema;
use serde::Serialize;

/// What this program is, and what it was built of.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Version")]
pub(crate) struct VersionDocument {
    /// The version of the program.
    pub(crate) version: &'static str,
    /// The commit that it was built from. Null if it is not known.
    pub(crate) commit: Option<&'static str>,
    /// The target that it was built for.
    pub(crate) target: &'static str,
    /// What is built in: `aws`, `gcp`, `azure`, `parquet`.
    pub(crate) features: Vec<&'static str>,
    /// The versions of the stored format.
    pub(crate) format_versions: FormatVersions,
    /// The version of ruvector-core that it was built with.
    pub(crate) ruvector_version: &'static str,
    /// The version of redb that Ruvector uses, whose files it reads.
    pub(crate) redb_version: &'static str,
}

/// Versions of the stored format.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FormatVersions {
    /// Those that are read.
    pub(crate) read: [u32; 2],
    /// Those that are written: the second only for snapshots with irregular rows.
    pub(crate) write: [u32; 2],
}
