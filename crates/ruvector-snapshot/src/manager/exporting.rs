//! The verb of the façade that exports snapshots.

use std::path::Path;

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::export;
use crate::ops::export::{ExportOptions, ExportReport};

/// Exporting snapshots.
impl SnapshotManager {
    /// Exports the records of a snapshot to files that other programs read, in a new directory. The directory appears under
    /// its name with all of its files, complete and synced, or not at all. Memory is bounded by the settings.
    ///
    /// The records are in the order of the bytes of their ids. Values of vectors are written with the same bits. The digest
    /// of every record is verified, and if all records are exported, their content checksum is compared with that of the
    /// snapshot. The settings of the database are not exported, and neither are irregular rows: a warning counts them.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist, an id of the filter is
    /// not in it, or the filter accepts no record; [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if something is
    /// corrupt; [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if the path is that of a file, or of a
    /// directory that is not empty; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is inside a snapshot of
    /// a store; [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) if there is no room; and the error of the store if
    /// something cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
    /// #     dimensions: 2, storage_path: "memory://".into(), ..Default::default() })?;
    /// # db.insert(ruvector_core::VectorEntry { id: Some("a".into()), vector: vec![1.0, 2.0], metadata: None })?;
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// # let snapshot = manager.create_snapshot(&db, "example").await?;
    /// use ruvector_snapshot::ExportOptions;
    ///
    /// let path = dir.path().join("exported");
    /// let report = manager.export_snapshot(&snapshot.id, &path, &ExportOptions::default()).await?;
    /// assert_eq!((report.records, report.is_complete), (1, true));
    /// assert_eq!(std::fs::read_to_string(path.join("records.jsonl"))?, "{\"id\":\"a\",\"metadata\":null}\n");
    /// # Ok(()) }
    /// ```
    pub async fn export_snapshot(
        &self,
        id: &str,
        path: impl AsRef<Path>,
        options: &ExportOptions,
    ) -> Result<ExportReport> {
        export::export(&self.context, &id.parse()?, path.as_ref().to_owned(), options).await
    }
}
