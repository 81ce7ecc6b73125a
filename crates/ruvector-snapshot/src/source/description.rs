//! What a snapshot says of a database, compared with what Ruvector can open. The restore and the verification of a
//! snapshot ask the same function, so that they never disagree.

use std::collections::BTreeMap;

use ruvector_core::types::DbOptions;
use ruvector_snapshot_format::model::DatabaseInfo;
use serde_json::error::Category;

use super::{OPTIONS_ROW, database_info, database_options};
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};

/// Parses the row of the `config` table in which Ruvector stores its options.
///
/// # Errors
///
/// Returns [`ErrorKind::Corrupt`] if it is not JSON, and [`ErrorKind::Unsupported`] if it is JSON that this version of
/// Ruvector does not understand.
pub(crate) fn parse_options(text: &str) -> Result<DbOptions> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => {
            let message = "cannot read the options of the database; a newer version of Ruvector may have written them";
            SnapshotError::new(ErrorKind::Unsupported, message).with_source(error)
        }
        _ => corrupt(format!("the config row {OPTIONS_ROW:?}, the options of the database, is not JSON"))
            .with_source(error),
    })
}

/// Checks that a database of this description can be restored: that Ruvector can read its options, and that they agree
/// with the snapshot.
///
/// # Errors
///
/// Returns [`ErrorKind::Corrupt`] if the description contradicts itself, and [`ErrorKind::Unsupported`] if this version
/// of Ruvector does not know a value in it.
pub(crate) fn check_restorable(database: &DatabaseInfo) -> Result<()> {
    let Some(text) = database.rows.get(OPTIONS_ROW) else {
        // A restore writes the row itself, unless the database was written by a version of Ruvector that had none.
        let has_options = database.distance_metric.is_some();
        return if has_options { database_options(database, "").map(drop) } else { Ok(()) };
    };
    let options = database_info(&parse_options(text)?, BTreeMap::new())?;
    let contradicts = |what: String| {
        Err(corrupt(format!(
            "the config row {OPTIONS_ROW:?}, the options of the database, contradicts the snapshot: {what}"
        )))
    };
    if options.dimensions != database.dimensions {
        return contradicts(format!("{} dimensions instead of {}", options.dimensions, database.dimensions));
    }
    match (&options.distance_metric, &database.distance_metric) {
        (Some(found), Some(expected)) if found != expected => {
            contradicts(format!("the metric {found} instead of {expected}"))
        }
        _ => Ok(()),
    }
}
