//! The embedding identity of a new snapshot: what the database records, and what the user has said or has said of the base.

use std::collections::BTreeMap;

use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::DatabaseInfo;

use super::CreateOptions;
use crate::error::Result;
use crate::source::embedding::other_embedding;
use crate::text::composed;

/// Returns the identity of a full snapshot.
pub(super) fn identity(database: &DatabaseInfo, options: &CreateOptions) -> EmbeddingInfo {
    let given = options.embedding.iter().map(|(key, value)| (key.clone(), composed(value).into_owned()));
    EmbeddingInfo { given: given.collect::<BTreeMap<_, _>>().into(), ..EmbeddingInfo::recorded_in(&database.rows) }
}

/// Returns the identity of an increment, and a warning if that of its base is another one and that is accepted.
pub(super) fn identity_on(
    base: &SnapshotMetadata,
    own: EmbeddingInfo,
    accepts_other: bool,
) -> Result<(EmbeddingInfo, Option<String>)> {
    let Some(bases) = &base.embedding else { return Ok((own, None)) };
    let differences = bases.differences(&own);
    if !differences.is_empty() {
        let doing = format!("use snapshot {} as a base", base.id);
        let between = ["the base", "the database"];
        let warning = other_embedding(&doing, between, &differences, accepts_other)?;
        return Ok((own, Some(warning)));
    }
    // What they both have is the same.
    let given = bases.given.iter().chain(own.given.iter()).collect();
    Ok((EmbeddingInfo { given, ..own }, None))
}
