//! The verb of the façade that annotates.

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::annotate::{self, AnnotateOptions, AnnotatePlan};

/// Annotating snapshots.
impl SnapshotManager {
    /// Changes the labels and the note of a snapshot that exists, and returns what was changed. Listings,
    /// [`get_snapshot`](Self::get_snapshot) and retention policies see them as they are then. Nothing that is stored is
    /// rewritten: an object is written beside the snapshot. If everything is so already, nothing is written.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist or was deleted meanwhile,
    /// and [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the options contradict each other or are too large.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::AnnotateOptions;
    ///
    /// let options = AnnotateOptions::default().label("keep", "yearly").note("before the upgrade");
    /// manager.annotate_snapshot(id, &options).await?;
    /// # Ok(()) }
    /// ```
    pub async fn annotate_snapshot(&self, id: &str, options: &AnnotateOptions) -> Result<AnnotatePlan> {
        let plan = self.plan_annotate(id, options).await?;
        self.apply_annotate(&plan).await
    }

    /// Plans what [`annotate_snapshot`](Self::annotate_snapshot) would change. Writes nothing.
    ///
    /// # Errors
    ///
    /// The same as [`annotate_snapshot`](Self::annotate_snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::AnnotateOptions;
    ///
    /// let plan = manager.plan_annotate(id, &AnnotateOptions::default().remove_label("keep")).await?;
    /// println!("{}: {:?}", plan.id, plan.labels);
    /// # Ok(()) }
    /// ```
    pub async fn plan_annotate(&self, id: &str, options: &AnnotateOptions) -> Result<AnnotatePlan> {
        annotate::plan(&self.context, &id.parse()?, options).await
    }

    /// Applies a plan to the labels and the note as they are now, and returns what was changed.
    ///
    /// # Errors
    ///
    /// The same as [`annotate_snapshot`](Self::annotate_snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::AnnotateOptions;
    ///
    /// let plan = manager.plan_annotate(id, &AnnotateOptions::default().note("good")).await?;
    /// if plan.changes {
    ///     manager.apply_annotate(&plan).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn apply_annotate(&self, plan: &AnnotatePlan) -> Result<AnnotatePlan> {
        annotate::apply(&self.context, plan).await
    }
}
