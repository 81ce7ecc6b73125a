//! Whether the target has a snapshot already, and whether that one can be relied on. What is copied is decided in `plan`.

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::repo::context::Context;
use crate::repo::inventory::{Inventory, read_metadata};
use crate::repo::snapshot_copy::{State, state_in_target};
use crate::snapshot::checks::Checks;
use crate::text::utc_time;

/// Reads the `metadata.json` of a snapshot, and compares it with that in the target.
pub(super) async fn compare(
    from: &Context,
    to: &Context,
    (source, target): (&Inventory, &Inventory),
    id: &SnapshotId,
) -> Result<State> {
    let (_, json) = read_metadata(from.store.as_ref(), id).await?;
    let state = state_in_target(to, id, &json).await?;
    match (&state, target.error_of(id)) {
        (State::Existing, None) if let Some(corrupt_at) = corrupt_at(target, id.as_str()) => {
            Err(corrupt_copy(to, id.as_str(), corrupt_at))
        }
        (State::Existing, None) if let Some(damage) = target.listing.damaged.get(id.as_str()) => {
            let message = format!(
                "{} has this snapshot, but it is damaged there: {damage}; put the file there back from here, with the same name",
                to.store
            );
            Err(SnapshotError::new(ErrorKind::Corrupt, message))
        }
        (State::Existing, Some(error)) => {
            let message = format!(
                "{} has this snapshot, but it cannot be used there: {error}; copy what depends on it to another store, delete it there with these dependents, and repeat the copy",
                to.store
            );
            Err(SnapshotError::new(error.kind(), message))
        }
        (State::Free(_), _) if let Some(damage) = source.listing.damaged.get(id.as_str()) => {
            let message =
                format!("{damage}, and a copy needs it; `copy --compact` stores the same state as a full snapshot");
            Err(SnapshotError::new(ErrorKind::Corrupt, message))
        }
        _ => Ok(state),
    }
}

/// Returns when a snapshot was found corrupt, if it was not found intact after that.
pub(super) fn corrupt_at(inventory: &Inventory, id: &str) -> Option<DateTime<Utc>> {
    inventory.listing.checks_of(id).and_then(Checks::corrupt_at)
}

/// Returns the error for a snapshot whose copy in the target was found corrupt.
pub(super) fn corrupt_copy(to: &Context, id: &str, corrupt_at: DateTime<Utc>) -> SnapshotError {
    let message = format!(
        "{} has this snapshot, as {id}, but it was found corrupt there at {}; verify it there: if it is intact by now, that clears \
         the mark; if not, copy what depends on it to another store, delete it there with these dependents, and repeat the copy",
        to.store,
        utc_time(corrupt_at)
    );
    SnapshotError::new(ErrorKind::Corrupt, message)
}
