//! The verbs of the façade that delete: delete, pin, prune, and the collection of orphans.

use ruvector_snapshot_format::FormatError;
use ruvector_snapshot_format::id::SnapshotId;

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::delete::DeletePlan;
use crate::ops::pin::PinPlan;
use crate::ops::{delete, pin, prune};
use crate::policy::retention::{ExternalRefs, PrunePlan, PrunePolicy};
use crate::repo::deletion_batches::{DeleteOptions, DeleteReport};
use crate::snapshot::{Orphan, Snapshot};

/// Deleting snapshots.
impl SnapshotManager {
    /// Deletes a snapshot. Its `metadata.json` goes first, so that it is never half a snapshot.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist,
    /// [`ErrorKind::HasDependents`](crate::ErrorKind::HasDependents) if others depend on it,
    /// [`ErrorKind::InUse`](crate::ErrorKind::InUse) if an upload does, and
    /// [`ErrorKind::Pinned`](crate::ErrorKind::Pinned) if it is pinned. If a newer
    /// version wrote another snapshot in the store, or a newer snapshot cannot be read, an error of that kind is returned:
    /// it may depend on this one.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// manager.delete_snapshot(id).await?;
    /// # Ok(()) }
    /// ```
    pub async fn delete_snapshot(&self, id: &str) -> Result<()> {
        let plan = self.plan_delete(&[id], false).await?;
        self.apply_delete(&plan).await.map(drop)
    }

    /// Plans the deletion of snapshots, with `cascade` also of all their dependents. Deletes nothing.
    ///
    /// # Errors
    ///
    /// The same as [`delete_snapshot`](Self::delete_snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_delete(&[id], true).await?;
    /// manager.apply_delete(&plan).await?;
    /// # Ok(()) }
    /// ```
    pub async fn plan_delete(&self, ids: &[&str], cascade: bool) -> Result<DeletePlan> {
        let ids: Vec<SnapshotId> = ids.iter().map(|id| id.parse()).collect::<Result<_, FormatError>>()?;
        delete::plan(&self.context, &ids, cascade).await
    }

    /// Deletes the snapshots of the plan, each before those that it depends on, and returns how many were deleted.
    /// Snapshots that do not exist any more do not count.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InUse`](crate::ErrorKind::InUse) if a snapshot was kept because it was pinned or has a new
    /// dependent.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_delete(&[id], false).await?;
    /// let deleted = manager.apply_delete(&plan).await?;
    /// println!("{deleted} deleted");
    /// # Ok(()) }
    /// ```
    pub async fn apply_delete(&self, plan: &DeletePlan) -> Result<usize> {
        self.apply_delete_with(plan, &DeleteOptions::default()).await
    }

    /// Deletes as [`apply_delete`](Self::apply_delete) does, with options.
    ///
    /// # Errors
    ///
    /// The same as [`apply_delete`](Self::apply_delete). If the store is full, so that nothing can be written, the error
    /// is [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) with [`Remedy::Exclusive`](crate::Remedy::Exclusive).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::DeleteOptions;
    ///
    /// let plan = manager.plan_delete(&[id], false).await?;
    /// // Nothing else is at work at this store.
    /// manager.apply_delete_with(&plan, &DeleteOptions::default().exclusive(true)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn apply_delete_with(&self, plan: &DeletePlan, options: &DeleteOptions) -> Result<usize> {
        delete::apply(&self.context, plan, *options).await
    }

    /// Protects a snapshot from deletion, by any policy or by hand, until it is unpinned.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist or was deleted
    /// meanwhile, and [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if it is being deleted.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// manager.pin_snapshot(id).await?;
    /// # Ok(()) }
    /// ```
    pub async fn pin_snapshot(&self, id: &str) -> Result<()> {
        pin::pin(&self.context, &id.parse()?).await
    }

    /// Allows a snapshot to be deleted again.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// manager.unpin_snapshot(id).await?;
    /// # Ok(()) }
    /// ```
    pub async fn unpin_snapshot(&self, id: &str) -> Result<()> {
        pin::unpin(&self.context, &id.parse()?).await
    }

    /// Plans what [`pin_snapshot`](Self::pin_snapshot) would change of these snapshots. Writes nothing.
    ///
    /// # Errors
    ///
    /// Returns the first error that pinning them would end with before anything is written.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_pin(&[id]).await?;
    /// assert!(plan.pinned);
    /// println!("{} would be pinned", plan.snapshots.iter().filter(|snapshot| snapshot.changes).count());
    /// # Ok(()) }
    /// ```
    pub async fn plan_pin(&self, ids: &[&str]) -> Result<PinPlan> {
        pin::plan(&self.context, &parsed(ids)?, true).await
    }

    /// Plans what [`unpin_snapshot`](Self::unpin_snapshot) would change of these snapshots. Writes nothing.
    ///
    /// # Errors
    ///
    /// As [`plan_pin`](Self::plan_pin).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(!manager.plan_unpin(&[id]).await?.pinned);
    /// # Ok(()) }
    /// ```
    pub async fn plan_unpin(&self, ids: &[&str]) -> Result<PinPlan> {
        pin::plan(&self.context, &parsed(ids)?, false).await
    }

    /// Plans what a retention policy keeps and deletes, with reasons. Deletes nothing;
    /// [`apply_prune`](Self::apply_prune) does. Unusable snapshots are not counted and not deleted. The plan also lists
    /// the orphans to [collect](Self::collect_garbage) first.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a policy without a rule, and for one
    /// that would delete snapshots of a group that can be restored and keeps none of them by a rule, or would leave nothing of a
    /// database unless [`PrunePolicy::allow_unprotected`] is set. If a newer version wrote a snapshot in the
    /// store, the error is [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported): it may depend on others. A snapshot
    /// that cannot be read at all is no error: see [`PrunePlan::unread`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # use ruvector_snapshot::{PrunePolicy, SnapshotConfig, SnapshotManager};
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let plan = manager.plan_prune(&PrunePolicy::default().keep_daily(7).keep_monthly(12)).await?;
    /// for dropped in &plan.drop {
    ///     println!("would delete {}", dropped.snapshot.id);
    /// }
    /// manager.collect_garbage(&plan.orphans).await?;
    /// manager.apply_prune(&plan).await?;
    /// # Ok(()) }
    /// ```
    pub async fn plan_prune(&self, policy: &PrunePolicy) -> Result<PrunePlan> {
        prune::plan(&self.context, policy, true).await
    }

    /// Reads what [`retention::plan`](crate::retention::plan) and a [`StoreForecast`](crate::schedule::StoreForecast) are made from:
    /// the snapshots, and what else a policy has to respect. Uploads are not part of it: they have ended when a forecast comes true.
    ///
    /// # Errors
    ///
    /// Returns the error of the store if it cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::schedule::StoreForecast;
    ///
    /// let (snapshots, external) = manager.retention_inputs().await?;
    /// let store = StoreForecast::new(snapshots, external);
    /// # Ok(()) }
    /// ```
    pub async fn retention_inputs(&self) -> Result<(Vec<Snapshot>, ExternalRefs)> {
        prune::inputs(&self.context).await
    }

    /// Deletes the snapshots that the plan drops, in its order, and returns what was deleted and what was kept because
    /// it is needed by now.
    ///
    /// Collect the orphans of the plan first: what an abandoned upload depends on is kept until the upload is
    /// collected.
    ///
    /// # Errors
    ///
    /// Returns the first error. What was deleted before it stays deleted, and the rest is kept: repeat the prune.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::PrunePolicy;
    ///
    /// let plan = manager.plan_prune(&PrunePolicy::default().keep_daily(7)).await?;
    /// manager.collect_garbage(&plan.orphans).await?;
    /// let report = manager.apply_prune(&plan).await?;
    /// println!("{} deleted", report.deleted.len());
    /// # Ok(()) }
    /// ```
    pub async fn apply_prune(&self, plan: &PrunePlan) -> Result<DeleteReport> {
        self.apply_prune_with(plan, &DeleteOptions::default()).await
    }

    /// Deletes as [`apply_prune`](Self::apply_prune) does, with options.
    ///
    /// # Errors
    ///
    /// The same as [`apply_prune`](Self::apply_prune). If the store is full, so that nothing can be written, the error is
    /// [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) with [`Remedy::Exclusive`](crate::Remedy::Exclusive).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{DeleteOptions, PrunePolicy};
    ///
    /// let plan = manager.plan_prune(&PrunePolicy::default().keep_daily(7)).await?;
    /// // Nothing else is at work at this store.
    /// let options = DeleteOptions::default().exclusive(true);
    /// manager.collect_garbage_with(&plan.orphans, &options).await?;
    /// manager.apply_prune_with(&plan, &options).await?;
    /// # Ok(()) }
    /// ```
    pub async fn apply_prune_with(&self, plan: &PrunePlan, options: &DeleteOptions) -> Result<DeleteReport> {
        prune::apply(&self.context, plan, *options).await
    }

    /// Plans what [`cleanup_old_snapshots`](Self::cleanup_old_snapshots) would keep and delete: the policy
    /// [`PrunePolicy::keep_last`] with its default groups, without orphans.
    ///
    /// # Errors
    ///
    /// The same as [`plan_prune`](Self::plan_prune).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_cleanup(7).await?;
    /// println!("{} would be deleted", plan.drop.len());
    /// # Ok(()) }
    /// ```
    pub async fn plan_cleanup(&self, keep: usize) -> Result<PrunePlan> {
        prune::plan(&self.context, &PrunePolicy::default().keep_last(keep), false).await
    }

    /// Deletes all but the newest `keep` snapshots of each source and their ancestors, and returns how many were
    /// deleted.
    ///
    /// The snapshots of all databases in memory that have no name are kept as those of one source, and so are those of
    /// all custom sources of one kind: see [`GroupBy::Source`](crate::GroupBy::Source).
    ///
    /// # Errors
    ///
    /// The same as [`plan_prune`](Self::plan_prune). A `keep` of 0, which would delete everything, is
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput). If a snapshot could not be read, all older ones are
    /// kept, and after everything else its error is returned.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let deleted = manager.cleanup_old_snapshots(7).await?;
    /// println!("{deleted} deleted");
    /// # Ok(()) }
    /// ```
    pub async fn cleanup_old_snapshots(&self, keep: usize) -> Result<usize> {
        prune::clean_up(&self.context, &PrunePolicy::default().keep_last(keep)).await
    }

    /// Finds what interrupted processes have left that is older than
    /// [`SnapshotConfig::grace`](crate::SnapshotConfig::grace).
    ///
    /// # Errors
    ///
    /// The same as [`list`](Self::list).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// for orphan in manager.orphans().await? {
    ///     println!("{}: {} bytes", orphan.key, orphan.bytes);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn orphans(&self) -> Result<Vec<Orphan>> {
        prune::find_orphans(&self.context).await
    }

    /// Collects orphans, and returns those that were removed. What is in use after all is kept.
    ///
    /// # Errors
    ///
    /// Returns one error for all that could not be removed, after everything else has been.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let orphans = manager.orphans().await?;
    /// let collected = manager.collect_garbage(&orphans).await?;
    /// println!("{} removed", collected.len());
    /// # Ok(()) }
    /// ```
    pub async fn collect_garbage(&self, orphans: &[Orphan]) -> Result<Vec<Orphan>> {
        self.collect_garbage_with(orphans, &DeleteOptions::default()).await
    }

    /// Collects as [`collect_garbage`](Self::collect_garbage) does, with options. An exclusive collection compares ages
    /// with the clock of this machine, and not with that of the store.
    ///
    /// # Errors
    ///
    /// The same as [`collect_garbage`](Self::collect_garbage). If the store is full, so that nothing can be written, the
    /// error has [`Remedy::Exclusive`](crate::Remedy::Exclusive).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::DeleteOptions;
    ///
    /// let orphans = manager.orphans().await?;
    /// // Nothing else is at work at this store.
    /// manager.collect_garbage_with(&orphans, &DeleteOptions::default().exclusive(true)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn collect_garbage_with(&self, orphans: &[Orphan], options: &DeleteOptions) -> Result<Vec<Orphan>> {
        prune::collect_garbage(&self.context, orphans, *options).await
    }
}

fn parsed(ids: &[&str]) -> Result<Vec<SnapshotId>> {
    Ok(ids.iter().map(|id| id.parse()).collect::<Result<_, FormatError>>()?)
}
