//! The embedding identity of a new snapshot: what the database records, and what the user has said or has said of the base.

use std::collections::BTreeMap;

use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::DatabaseInfo;

use super::CreateOptions;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::source::embedding::other_embedding;
use crate::text::composed;

const ENTRIES_MAX: usize = 16;
const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1024;

/// Refuses what the user has said if it cannot be compared.
pub(super) fn check_given(given: &BTreeMap<String, String>) -> Result<()> {
    let invalid = |message: String| Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    if given.len() > ENTRIES_MAX {
        return invalid(format!(
            "the embedding identity has {} entries, more than the {ENTRIES_MAX} allowed",
            given.len()
        ));
    }
    for (key, value) in given {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.chars().all(is_word) {
            return invalid(format!(
                "the embedding identity has the key {key:?}; a key, such as model, revision or normalized, has 1 to \
                 {KEY_BYTES_MAX} lower-case letters, digits, _ and -"
            ));
        }
        if value.trim().is_empty() || value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return invalid(format!(
                "the value of {key} in the embedding identity must have 1 to {VALUE_BYTES_MAX} bytes, and no control \
                 characters"
            ));
        }
        if key == "normalized" && !["true", "false"].contains(&value.as_str()) {
            return invalid(format!("normalized in the embedding identity must be true or false, not {value:?}"));
        }
    }
    Ok(())
}

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
