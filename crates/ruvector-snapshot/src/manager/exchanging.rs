//! The verbs of the façade that exchange data with other programs: export and import.

use std::path::Path;

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::export::{ExportOptions, ExportPlan, ExportReport};
use crate::ops::import::{ImportOptions, ImportPlan};
use crate::ops::{export, import};
use crate::repo::found_corrupt::recorded_with;
use crate::snapshot::Snapshot;

/// Exporting snapshots, and importing files of other programs.
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
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            export::export(&self.context, &id.parse()?, path.as_ref().to_owned(), options),
        )
        .await
    }

    /// Plans an export: the files that it would write, and everything that is in its way. Writes nothing, neither to the store
    /// nor at the destination.
    ///
    /// If all records are exported, reads `metadata.json` and the block directories, and asks for the sizes of the data files.
    /// Selected records are read as the export reads them, and counted.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist, and the error of the store if
    /// something cannot be read. What the export would be refused for is no error: see [`ExportPlan::blockers`].
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_export(id, "exported", &ruvector_snapshot::ExportOptions::default()).await?;
    /// for file in &plan.files {
    ///     println!("{}: {} bytes at least", file.name, file.least_bytes);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn plan_export(&self, id: &str, path: impl AsRef<Path>, options: &ExportOptions) -> Result<ExportPlan> {
        export::plan(&self.context, &id.parse()?, path.as_ref().to_owned(), options).await
    }

    /// Imports a file `ID.snapshot.gz` of the crate ruvector-snapshot 2.3.0, as it was published: its records
    /// become a full snapshot.
    ///
    /// The file is read as a whole before anything is stored, and the SHA-256 of its contents is compared with that in its
    /// sidecar `ID.metadata.json`. Its records are in no order: they are sorted in a temporary file without a name in
    /// [`SnapshotConfig::scratch_dir`](crate::SnapshotConfig::scratch_dir), which takes about twice as much as the
    /// expanded records. Memory is bounded.
    ///
    /// The snapshot is dated as the file is: its records are as old. The labels `imported-id` and `imported-version` have
    /// the id in the file and the version of the crate. The name and the source are those of the options, or else the name
    /// of the collection. The file has the dimensions, the metric and three parameters of the index, and no other setting
    /// of a database: `source.not_captured` says so.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the file or its sidecar does not exist;
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if one of them is not what the crate has written;
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is another kind of file, or if no database can hold
    /// its records: an id that is there twice, a vector with other dimensions than the collection, a payload that is not a
    /// JSON object; and the errors of a create. After an error there is no new snapshot.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::ImportOptions;
    ///
    /// let options = ImportOptions::default().name("from-the-old-server");
    /// let snapshot = manager.import_file("old/0b7c8a52-2d6a-4b0f-9d5e-3b1f5a3c9e01.snapshot.gz", &options).await?;
    /// println!("{} records of {}", snapshot.vector_count, snapshot.created_at);
    /// # Ok(()) }
    /// ```
    pub async fn import_file(&self, path: impl AsRef<Path>, options: &ImportOptions) -> Result<Snapshot> {
        import::import_file(&self.context, path.as_ref().to_owned(), options).await
    }

    /// Plans the import of a file: what would be stored, and how many bytes the store would take at most. Writes nothing to
    /// the store.
    ///
    /// Reads, checks and sorts the whole file as [`import_file`](Self::import_file) does, which takes as much in the scratch
    /// directory. What is not tried is the compression, and whether the store can be written to. Warnings go to
    /// [`ImportOptions::progress`].
    ///
    /// # Errors
    ///
    /// Returns the error that the import would return before it writes.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::ImportOptions;
    ///
    /// let plan = manager.plan_import("old/articles.snapshot.gz", &ImportOptions::default()).await?;
    /// println!("{} records, {} bytes at most", plan.records, plan.stored_bytes_max);
    /// # Ok(()) }
    /// ```
    pub async fn plan_import(&self, path: impl AsRef<Path>, options: &ImportOptions) -> Result<ImportPlan> {
        import::plan(&self.context, path.as_ref().to_owned(), options).await
    }
}
