//! The user's own JSON in `metadata.json`: the labels, and the metadata of a snapshot.

use std::collections::BTreeMap;

use ruvector_snapshot_format::Labels;
use ruvector_snapshot_format::annotation::check_note;
use serde_json::Value;

use super::names::check_label;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::text::composed;

/// The labels and the metadata of the user as JSON, in bytes. Together with the rest they must fit in metadata.json.
const USER_JSON_BYTES_MAX: u64 = 512 << 10;

/// Refuses labels that a new snapshot cannot have. Snapshots of earlier programs may have them.
pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    labels.iter().try_for_each(|(key, value)| check_label(key, value))
}

/// Returns labels with composed keys and values. Refuses two keys that are the same then.
pub(crate) fn composed_labels(labels: &BTreeMap<String, String>) -> Result<Labels> {
    let mut all = BTreeMap::new();
    for (key, value) in labels {
        if all.insert(composed(key).into_owned(), composed(value).into_owned()).is_some() {
            let message = format!("the label {key:?} is given twice, in two spellings, but a label has one value");
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
        }
    }
    Ok(all.into())
}

/// Returns a note in the composed form. Refuses what no snapshot can have.
pub(crate) fn composed_note(note: &str) -> Result<String> {
    let note = composed(note).into_owned();
    check_note(&note)?;
    Ok(note)
}

/// Refuses what `metadata.json` cannot hold.
pub(crate) fn check(labels: &BTreeMap<String, String>, metadata: &Value) -> Result<()> {
    let invalid = |what: &str| SnapshotError::new(ErrorKind::InvalidInput, what.to_owned());
    let json = serde_json::to_vec(&(labels, metadata))
        .map_err(|error| invalid("the labels or the metadata of the snapshot are not valid JSON").with_source(error))?;
    if json.len() as u64 > USER_JSON_BYTES_MAX {
        return Err(invalid("the labels and the metadata of the snapshot are larger than 512 KiB together"));
    }
    let nested = serde_json::from_slice::<Value>(&json);
    nested.map(drop).map_err(|error| invalid("the metadata of the snapshot is nested too deeply").with_source(error))
}
