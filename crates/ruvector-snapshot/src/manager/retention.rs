//! What a clean-up keeps and what it drops. Pure: decides from its arguments alone, and does nothing.

use serde::Serialize;

use super::Snapshot;
use crate::error::{ErrorKind, Result, SnapshotError};

/// A decision about every snapshot, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PrunePlan {
    /// What stays.
    pub keep: Vec<Snapshot>,
    /// What goes.
    pub drop: Vec<Snapshot>,
}

/// Keeps the newest `keep` by their recorded time.
///
/// # Errors
///
/// `Invalid` for 0, which would drop everything.
pub fn keep_newest(mut snapshots: Vec<Snapshot>, keep: usize) -> Result<PrunePlan> {
    if keep == 0 {
        return Err(SnapshotError::new(
            ErrorKind::Invalid,
            "keeping 0 snapshots would delete all of them; keep at least 1, or delete them one by one",
        ));
    }
    snapshots.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    let drop = snapshots.split_off(keep.min(snapshots.len()));
    Ok(PrunePlan { keep: snapshots, drop })
}
