//! Where the target of a copy must not be: in the place of the source, inside of it or around it. Reads nothing.

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::repo::context::Context;

/// Refuses a target that is the directory or the prefix of the source, however it is called, or one inside of the other.
pub(super) fn check_places(from: &Context, to: &Context) -> Result<()> {
    let (is_same, is_nested, what) = match (&from.maintenance, &to.maintenance, &from.bucket_place, &to.bucket_place) {
        (Some(one), Some(other), ..) => {
            (one.is_same_directory(other), one.is_inside(other) || other.is_inside(one), "directory")
        }
        (.., Some(one), Some(other)) => {
            (one == other, one.is_inside(other) || other.is_inside(one), "bucket, or a prefix beside this one,")
        }
        _ => return Ok(()),
    };
    if is_same {
        return Err(same_store(from));
    }
    if !is_nested {
        return Ok(());
    }
    let message = format!(
        "of the stores {} and {} one is inside of the other, so both are lost together; choose another {what} for the copy",
        from.store, to.store
    );
    Err(SnapshotError::new(ErrorKind::InvalidInput, message))
}

/// Returns the error for a target that is the store of the snapshots itself.
pub(super) fn same_store(from: &Context) -> SnapshotError {
    let message = format!(
        "the target of the copy is the store of the snapshots itself, {}; a copy there would protect nothing: choose another store",
        from.store
    );
    SnapshotError::new(ErrorKind::InvalidInput, message)
}
