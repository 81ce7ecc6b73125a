//! The verb of the façade that copies snapshots to another store: plan and apply.

use std::sync::Arc;

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::copy::{self, CopyOptions, CopyPlan, CopyReport, CopySelection};
use crate::progress::Progress;

/// Copying snapshots to another store.
impl SnapshotManager {
    /// Plans the copy of snapshots, and of those that they depend on, to the store of `target`. Writes nothing. What the
    /// target has already, with the same bytes, is not copied again.
    ///
    /// A snapshot that cannot be copied is no error, but in [`CopyPlan::blocked`]: it is corrupt or cannot be read, it is
    /// being deleted in the target, or the target has another or an unusable snapshot with its id.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such snapshot, and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the target is the store of this manager.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// use ruvector_snapshot::{CopyOptions, CopySelection, SnapshotConfig, SnapshotManager};
    ///
    /// let local = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let offsite = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let plan = local.plan_copy(&offsite, &CopySelection::All, &CopyOptions::default()).await?;
    /// println!("{} snapshots with {} bytes to copy", plan.copy.len(), plan.bytes());
    /// # Ok(()) }
    /// ```
    pub async fn plan_copy(&self, target: &Self, selection: &CopySelection, options: &CopyOptions) -> Result<CopyPlan> {
        copy::plan(&self.context, &target.context, selection, *options).await
    }

    /// Copies what the plan says: the same ids and bytes, each snapshot after those that it depends on. The SHA-256 of every
    /// file is verified on the way, and `metadata.json` is written last.
    ///
    /// If a snapshot cannot be copied, those that depend on it are skipped, and the others are copied: ask
    /// [`CopyReport::is_complete`]. What was stored of it stays in the target for the next attempt, and is collected after
    /// the grace period otherwise. Pass each snapshot to one copy at a time: two copies of the same snapshot to the same
    /// target can disturb each other.
    ///
    /// # Errors
    ///
    /// Errors of snapshots are in the report.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(local: ruvector_snapshot::SnapshotManager, offsite: ruvector_snapshot::SnapshotManager) -> ruvector_snapshot::Result<()> {
    /// use ruvector_snapshot::{CopyOptions, CopySelection};
    ///
    /// let plan = local.plan_copy(&offsite, &CopySelection::All, &CopyOptions::default()).await?;
    /// let report = local.apply_copy(&offsite, &plan, None).await?;
    /// for failed in report.snapshots.iter().filter(|copied| copied.error.is_some()) {
    ///     println!("{}: {:?}", failed.id, failed.error);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn apply_copy(
        &self,
        target: &Self,
        plan: &CopyPlan,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<CopyReport> {
        copy::apply(&self.context, &target.context, plan, progress).await
    }
}
