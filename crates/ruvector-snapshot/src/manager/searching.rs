//! The verbs of the façade that search snapshots.

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::search::{self, Query, SearchOptions, SearchReport};

/// Searching snapshots.
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
    /// not searched: a warning counts them.
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
        search::search(&self.context, &id.parse()?, queries, options).await
    }
}
