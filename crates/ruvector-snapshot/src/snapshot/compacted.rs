//! Which full snapshot of a listing has the state of an incremental one, because a compaction has stored it. Asks no store.

use chrono::{DateTime, Utc};

use super::checks::Checks;
use super::{Listing, Snapshot};
use crate::text::is_same;

impl Listing {
    /// Returns the full snapshot that a compaction of this incremental one has stored, if there is one that is intact as far as
    /// that is known.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let full = match manager.list().await?.compacted_copy(id) {
    ///     Some(full) => full.clone(),
    ///     None => manager.compact_snapshot(id, None).await?,
    /// };
    /// # Ok(()) }
    /// ```
    pub fn compacted_copy(&self, id: &str) -> Option<&Snapshot> {
        let snapshot = self.snapshots.iter().find(|snapshot| snapshot.id == id && snapshot.base_id().is_some())?;
        let copy = self.compacted_copy_of(snapshot).filter(|(_, corrupt_at)| corrupt_at.is_none());
        copy.map(|(copy, _)| copy)
    }

    /// Returns the incremental snapshot that a compaction has stored as this full one: what a name means that both have.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = manager.resolve("nightly").await?;
    /// let listing = manager.list().await?;
    /// let id = listing.compacted_from(&id).map_or(id.as_str(), |incremental| &incremental.id);
    /// # Ok(()) }
    /// ```
    pub fn compacted_from(&self, id: &str) -> Option<&Snapshot> {
        let full = self.snapshots.iter().find(|snapshot| snapshot.id == id && snapshot.base_id().is_none())?;
        self.snapshots.iter().find(|other| other.base_id().is_some() && is_same_state(full, other))
    }

    /// Returns a full snapshot of this name, time and content, and when it was found corrupt. An intact one comes first, as far
    /// as that is known, and one that is being deleted is not there.
    pub(crate) fn compacted_copy_of(&self, snapshot: &Snapshot) -> Option<(&Snapshot, Option<DateTime<Utc>>)> {
        let is_copy = |other: &&Snapshot| {
            other.base_id().is_none() && is_same_state(other, snapshot) && !self.marked_for_deletion.contains(&other.id)
        };
        let copies = self.snapshots.iter().filter(is_copy);
        let checked = copies.map(|copy| (copy, self.checks_of(&copy.id).and_then(Checks::corrupt_at)));
        checked.min_by_key(|(_, corrupt_at)| corrupt_at.is_some())
    }
}

/// Returns whether two snapshots have the same state, of one moment and under one name.
pub(crate) fn is_same_state(one: &Snapshot, other: &Snapshot) -> bool {
    is_same(&one.name, &other.name) && one.created_at == other.created_at && one.checksum == other.checksum
}
