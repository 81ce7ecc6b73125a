//! The verbs of the façade that search snapshots, and rehearse their recovery.

use std::path::PathBuf;

use ruvector_snapshot_format::id::SnapshotId;

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::drill::{self, DrillOptions, DrillReport};
use crate::ops::restore::{self, RestoreOptions, RestorePlan};
use crate::ops::search::{self, Query, SearchOptions, SearchReport};
use crate::repo::context::Context;
use crate::repo::found_corrupt::recorded_with;

/// Searching snapshots, and rehearsing their recovery.
impl SnapshotManager {
    /// Searches a snapshot for the records nearest to vectors, without restoring it: the exact nearest neighbors, by the
    /// metric of the database and with the distances that Ruvector computes.
    ///
    /// Every record is read once, however many queries there are, and compared with every query. It takes about as long as
    /// [`verify_snapshot`](Self::verify_snapshot). The digest of every record is verified, and at the end their content
    /// checksum: corrupt data is an error, and never a result. Memory is bounded by the settings, the queries and the
    /// results, not by the snapshot.
    ///
    /// A search has at most 10,000 queries, with 1,000,000 neighbors and 256 MiB of vectors in all. Irregular rows are
    /// not searched: [`Snapshot::irregular`](crate::Snapshot::irregular) counts them.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist, or has no record that
    /// is searched for; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a query has other dimensions than the
    /// snapshot or a value that is not finite, if there are no or too many queries or neighbors, if the metadata of the
    /// results takes more than 256 MiB, or if the snapshot records no metric and none is given;
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if something is corrupt; and
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if a newer version wrote the snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
    /// #     dimensions: 2, storage_path: "memory://".into(), ..Default::default() })?;
    /// # for (id, vector) in [("a", [1.0, 0.0]), ("b", [1.0, 0.1]), ("c", [0.0, 1.0])] {
    /// #     db.insert(ruvector_core::VectorEntry { id: Some(id.into()), vector: vector.to_vec(), metadata: None })?;
    /// # }
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// # let snapshot = manager.create_snapshot(&db, "example").await?;
    /// use ruvector_snapshot::{Query, SearchOptions};
    ///
    /// let queries = [Query::vector([0.9, 0.0]), Query::like("c")];
    /// let report = manager.search_snapshot(&snapshot.id, &queries, &SearchOptions::default().k(1)).await?;
    /// assert_eq!(report.results[0].neighbors[0].id, "a");
    /// assert_eq!(report.results[1].neighbors[0].id, "b");
    /// # Ok(()) }
    /// ```
    pub async fn search_snapshot(&self, id: &str, queries: &[Query], options: &SearchOptions) -> Result<SearchReport> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            search::search(&self.context, &id.parse()?, queries, options),
        )
        .await
    }

    /// Rehearses the recovery of a snapshot: restores it to a file in a scratch directory, verifies the file, opens it with
    /// Ruvector, searches for the vectors of some of its records, and compares the results with an exact search. Measures
    /// how long that takes, and how old the data is. Removes what it has made.
    ///
    /// Ruvector builds its search index again whenever it opens a database, so the first search comes long after the data.
    /// [`search_snapshot`](Self::search_snapshot) answers without that.
    ///
    /// A drill that has passed, or has found something corrupt in the store, is recorded beside the snapshot.
    ///
    /// If the future is dropped, the scratch directory is removed. A thread on which Ruvector builds an index ends when the
    /// index is built.
    ///
    /// # Errors
    ///
    /// The same as [`restore_snapshot_to`](Self::restore_snapshot_to);
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the scratch directory does not exist,
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if an option is out of range, and
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if Ruvector cannot open or search the restored database. A
    /// recall that is too low is no error: see [`DrillReport::passed`](crate::DrillReport::passed).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
    /// #     dimensions: 2, storage_path: "memory://".into(), ..Default::default() })?;
    /// # for (id, vector) in [("a", [1.0, 0.0]), ("b", [1.0, 0.1]), ("c", [0.0, 1.0])] {
    /// #     db.insert(ruvector_core::VectorEntry { id: Some(id.into()), vector: vector.to_vec(), metadata: None })?;
    /// # }
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// # let snapshot = manager.create_snapshot(&db, "example").await?;
    /// use ruvector_snapshot::DrillOptions;
    ///
    /// let report = manager.drill_snapshot(&snapshot.id, &DrillOptions::default()).await?;
    /// println!("first search after {:?} ms, recall {:?}", report.time_to_first_search_ms, report.recall);
    /// assert!(report.passed);
    /// # Ok(()) }
    /// ```
    pub async fn drill_snapshot(&self, id: &str, options: &DrillOptions) -> Result<DrillReport> {
        let id: SnapshotId = id.parse()?;
        let restored_id = id.clone();
        let restore = |context: Context, path: PathBuf, progress| async move {
            let options = RestoreOptions { progress, ..RestoreOptions::default() };
            restore::to_file(&context, &restored_id, &path, &options).await
        };
        drill::drill(&self.context, &id, options, restore).await
    }

    /// Plans the restore that [`drill_snapshot`](Self::drill_snapshot) makes: what it would read, how large the restored
    /// database may become and how much space is left in the scratch directory, and everything that is in its way.
    /// [`RestorePlan::memory_bytes`] includes the database that Ruvector opens, with its search index. Writes nothing.
    ///
    /// # Errors
    ///
    /// The same as [`plan_restore`](Self::plan_restore), and [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if an
    /// option is out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::DrillOptions;
    ///
    /// let plan = manager.plan_drill(id, &DrillOptions::default()).await?;
    /// println!("{:?} bytes of memory", plan.memory_bytes);
    /// # Ok(()) }
    /// ```
    pub async fn plan_drill(&self, id: &str, options: &DrillOptions) -> Result<RestorePlan> {
        let path = drill::planned_path(&self.context, options)?;
        restore::plan_opened(&self.context, &id.parse()?, path, &RestoreOptions::default()).await
    }
}
