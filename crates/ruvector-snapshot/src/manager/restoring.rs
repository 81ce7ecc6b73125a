//! The verbs of the façade that restore and verify snapshots.

use std::path::Path;

use futures::Stream;
use ruvector_core::VectorDB;
use ruvector_snapshot_format::FormatError;

use super::SnapshotManager;
use crate::error::Result;
use crate::ops::read::{RecordStream, StreamOptions};
use crate::ops::restore::{MergeOptions, MergeReport, PartReport, RestoreDestination, RestoreOptions, RestorePlan};
use crate::ops::verify::{Verification, VerifyOptions, VerifyPlan};
use crate::ops::{read, restore, verify};
use crate::repo::filter::RecordFilter;
use crate::repo::found_corrupt::recorded_with;
use crate::repo::verify::VerifyReport;
use crate::snapshot::Snapshot;
use crate::source::RestoreTarget;

/// Restoring and verifying snapshots.
impl SnapshotManager {
    /// Restores a snapshot into a new database in memory. Building its search index takes most of the time.
    ///
    /// A database in memory cannot hold everything that a file can. Ruvector itself must be able to read the metadata:
    /// a number beyond the range of f64 and a lone surrogate in a string are valid in a file, but not in memory. And
    /// Ruvector must be able to build the index that the snapshot describes.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist, and
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) or [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported)
    /// if it cannot be used, or not in memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let db = manager.restore_snapshot(id).await?;
    /// println!("{} vectors", db.len()?);
    /// # Ok(()) }
    /// ```
    pub async fn restore_snapshot(&self, id: &str) -> Result<VectorDB> {
        self.restore_snapshot_with(id, &RestoreOptions::default()).await
    }

    /// As [`restore_snapshot`](Self::restore_snapshot), with options.
    ///
    /// # Errors
    ///
    /// The same as [`restore_snapshot`](Self::restore_snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::RestoreOptions;
    ///
    /// let db = manager.restore_snapshot_with(id, &RestoreOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn restore_snapshot_with(&self, id: &str, options: &RestoreOptions) -> Result<VectorDB> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            restore::to_memory(&self.context, &id.parse()?, options),
        )
        .await
    }

    /// Restores a snapshot to a database file. The file appears under its name complete and verified, or not at all.
    ///
    /// # Errors
    ///
    /// The same as [`restore_snapshot`](Self::restore_snapshot),
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if the file exists and
    /// [`RestoreOptions::overwrite`] is not set, [`ErrorKind::Busy`](crate::ErrorKind::Busy) if a program holds its lock and
    /// [`RestoreOptions::overwrite_while_open`] is not set, and
    /// [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) if there is no room.
    ///
    /// After an error the file is as it was, unless the message says that it was created or replaced: if its directory
    /// could not be synced after the rename.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::RestoreOptions;
    ///
    /// manager.restore_snapshot_to(id, "restored.db", &RestoreOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn restore_snapshot_to(
        &self,
        id: &str,
        path: impl AsRef<Path>,
        options: &RestoreOptions,
    ) -> Result<Snapshot> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            restore::to_file(&self.context, &id.parse()?, path.as_ref(), options),
        )
        .await
    }

    /// Plans a restore to a file or to a database in memory: what it would read and write, and everything that is in its
    /// way. Writes nothing, neither to the store nor at the destination.
    ///
    /// Reads the `metadata.json` and the block directory of each snapshot of the chain, and asks for the size of each
    /// file. Whether every byte is intact shows only when it is read:
    /// [`verify_snapshot`](Self::verify_snapshot) does that.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist, and the error of the
    /// store if something cannot be read. What a restore could not do is no error: see
    /// [`RestorePlan::blockers`](crate::RestorePlan::blockers).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
    /// #     dimensions: 2, storage_path: "memory://".into(), ..Default::default() })?;
    /// # db.insert(ruvector_core::VectorEntry { id: Some("a".into()), vector: vec![1.0, 2.0], metadata: None })?;
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// # let snapshot = manager.create_snapshot(&db, "example").await?;
    /// # let scratch = tempfile::tempdir()?;
    /// # let path = scratch.path().join("restored.db");
    /// use ruvector_snapshot::RestoreOptions;
    ///
    /// let plan = manager.plan_restore(&snapshot.id, &path, &RestoreOptions::default()).await?;
    /// let bytes = plan.fetch.ok_or("a snapshot of the chain is corrupt")?.bytes;
    /// println!("{} snapshots, {bytes} bytes to read", plan.chain.len());
    /// assert!(plan.is_feasible());
    /// assert!(!path.exists());
    /// # Ok(()) }
    /// ```
    pub async fn plan_restore(
        &self,
        id: &str,
        destination: impl Into<RestoreDestination>,
        options: &RestoreOptions,
    ) -> Result<RestorePlan> {
        restore::plan(&self.context, &id.parse()?, &destination.into(), options).await
    }

    /// Restores a snapshot into a target of the caller's.
    ///
    /// The target gets the description of the database as it is stored, even if Ruvector could not open such a database.
    ///
    /// # Errors
    ///
    /// The same as [`restore_snapshot`](Self::restore_snapshot), and every error that the target returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
    /// #     dimensions: 2, storage_path: "memory://".into(), ..Default::default() })?;
    /// # db.insert(ruvector_core::VectorEntry { id: Some("a".into()), vector: vec![1.0, 2.0], metadata: None })?;
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// # let snapshot = manager.create_snapshot(&db, "example").await?;
    /// use ruvector_snapshot::source::RestoreTarget;
    /// use ruvector_snapshot::{Record, RestoreOptions, Result};
    ///
    /// #[derive(Default)]
    /// struct Ids(Vec<String>);
    ///
    /// impl RestoreTarget for Ids {
    ///     fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
    ///         self.0.extend(records.map(|record| record.id.to_owned()));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut ids = Ids::default();
    /// manager.restore_into(&snapshot.id, &mut ids, &RestoreOptions::default()).await?;
    /// assert_eq!(ids.0, ["a"]);
    /// # Ok(()) }
    /// ```
    pub async fn restore_into(
        &self,
        id: &str,
        target: &mut dyn RestoreTarget,
        options: &RestoreOptions,
    ) -> Result<Snapshot> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            restore::into_target(&self.context, &id.parse()?, target, options),
        )
        .await
    }

    /// Streams the records of a snapshot, in the order of the bytes of their ids. The snapshot is opened when the stream is
    /// polled for the first time.
    ///
    /// A stream that was interrupted goes on after the last id that was seen ([`StreamOptions::after`]), without reading
    /// the blocks before it again. Irregular rows are not records, and are not in the stream: a warning counts them.
    /// [`SnapshotReader`](crate::SnapshotReader) has the description of the database.
    ///
    /// # Errors
    ///
    /// The stream yields [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist,
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if something is corrupt, and the error of the store if something
    /// cannot be read. Then it has ended. A stream of all records yields `Corrupt` at its end if their content checksum
    /// is not that of the snapshot: use no record before the stream has ended, or be ready to discard them.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
    /// #     dimensions: 2, storage_path: "memory://".into(), ..Default::default() })?;
    /// # for id in ["a", "b", "c"] {
    /// #     db.insert(ruvector_core::VectorEntry { id: Some(id.into()), vector: vec![1.0, 2.0], metadata: None })?;
    /// # }
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// # let snapshot = manager.create_snapshot(&db, "example").await?;
    /// use futures::TryStreamExt as _;
    /// use ruvector_snapshot::StreamOptions;
    ///
    /// let mut records = manager.restore_stream(&snapshot.id, StreamOptions::default().after("a"));
    /// let mut ids = Vec::new();
    /// while let Some(batch) = records.try_next().await? {
    ///     ids.extend(batch.records().map(|record| record.id.to_owned()));
    /// }
    /// assert_eq!(ids, ["b", "c"]);
    /// # Ok(()) }
    /// ```
    pub fn restore_stream(&self, id: &str, options: StreamOptions) -> RecordStream {
        read::restore_stream(self.context.clone(), id.to_owned(), options)
    }

    /// Restores the records of a snapshot that a filter accepts to a database file, with the settings of the database. The file
    /// appears under its name complete and verified, or not at all. It is a part of the snapshot, and the report has the
    /// number of its records.
    ///
    /// The digest of every record is verified, and the file is read back and compared with what was written. The content
    /// checksum of the snapshot cannot be compared, because the other records are not read. Irregular rows are not
    /// restored.
    ///
    /// # Errors
    ///
    /// The same as [`restore_snapshot_to`](Self::restore_snapshot_to), and
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if an id of the filter is not in the snapshot, or if the filter
    /// accepts no record.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{RecordFilter, RestoreOptions};
    ///
    /// let filter = RecordFilter::default().ids(["doc-17", "doc-18"]);
    /// let part = manager.restore_part_to(id, "part.db", &filter, &RestoreOptions::default()).await?;
    /// println!("{} of {} records", part.records, part.snapshot.vector_count);
    /// # Ok(()) }
    /// ```
    pub async fn restore_part_to(
        &self,
        id: &str,
        path: impl AsRef<Path>,
        filter: &RecordFilter,
        options: &RestoreOptions,
    ) -> Result<PartReport> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            restore::part_to_file(&self.context, &id.parse()?, path.as_ref(), filter, options),
        )
        .await
    }

    /// Plans a restore of a part to a file: which records it would write, how large the file would be, and everything that
    /// is in its way. Writes nothing, neither to the store nor at the destination.
    ///
    /// Reads the records as the restore does: [`RestorePlan::selection`] is exact.
    ///
    /// # Errors
    ///
    /// The same as [`plan_restore`](Self::plan_restore). Ids that are not in the snapshot, and a filter that accepts no record,
    /// are blockers.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{RecordFilter, RestoreOptions};
    ///
    /// let filter = RecordFilter::default().condition("lang=de".parse()?);
    /// let plan = manager.plan_restore_part(id, "part.db", &filter, &RestoreOptions::default()).await?;
    /// let selection = plan.selection.ok_or("the records cannot be read")?;
    /// println!("{} records would be restored", selection.records);
    /// # Ok(()) }
    /// ```
    pub async fn plan_restore_part(
        &self,
        id: &str,
        path: impl AsRef<Path>,
        filter: &RecordFilter,
        options: &RestoreOptions,
    ) -> Result<RestorePlan> {
        restore::plan_part(&self.context, &id.parse()?, path.as_ref(), filter, options).await
    }

    /// Merges records of a snapshot into an existing database file, in one transaction: all records that the filter
    /// accepts, or none. The database must be closed. Its other records, and its settings, stay as they are.
    ///
    /// The digest of every record is verified. If all records are merged, their content checksum is compared before the
    /// commit.
    ///
    /// # Errors
    ///
    /// The same as [`restore_snapshot`](Self::restore_snapshot);
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) if a program has the database open;
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it has other dimensions or another metric;
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if records differ and
    /// [`MergeOptions::on_conflict`] is [`OnConflict::Fail`](crate::OnConflict::Fail); and
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if an id of the filter is not in the snapshot, or if the filter
    /// accepts no record. After an error the database is as it was, unless the commit itself failed: then it has either all
    /// of the merged records or none of them.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{MergeOptions, OnConflict, RecordFilter};
    ///
    /// let filter = RecordFilter::default().condition("lang=de".parse()?);
    /// let options = MergeOptions::default().filter(filter).on_conflict(OnConflict::Keep);
    /// let report = manager.merge_snapshot_into(id, "vectors.db", &options).await?;
    /// println!("{} inserted, {} kept", report.counts.inserted, report.counts.kept);
    /// # Ok(()) }
    /// ```
    pub async fn merge_snapshot_into(
        &self,
        id: &str,
        path: impl AsRef<Path>,
        options: &MergeOptions,
    ) -> Result<MergeReport> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            restore::merge(&self.context, &id.parse()?, path.as_ref().to_owned(), options),
        )
        .await
    }

    /// Plans a merge: how many records would be inserted, replaced and kept, and everything that is in its way. Writes
    /// nothing. Takes the lock of the database for a moment, to find out whether a program has it open, and reads it without.
    ///
    /// Reads the records as the merge does, and compares them with those of the database: [`RestorePlan::merge`] is exact,
    /// if the database is not changed before the merge.
    ///
    /// # Errors
    ///
    /// The same as [`plan_restore`](Self::plan_restore), and [`ErrorKind::Busy`](crate::ErrorKind::Busy) if the database
    /// changes while it is read. Everything that the merge would be refused for is a blocker.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{MergeOptions, OnConflict};
    ///
    /// let options = MergeOptions::default().on_conflict(OnConflict::Replace);
    /// let plan = manager.plan_merge(id, "vectors.db", &options).await?;
    /// let counts = plan.merge.ok_or("the database cannot be compared")?;
    /// println!("{} would be inserted, {} replaced", counts.inserted, counts.replaced);
    /// # Ok(()) }
    /// ```
    pub async fn plan_merge(&self, id: &str, path: impl AsRef<Path>, options: &MergeOptions) -> Result<RestorePlan> {
        restore::plan_merge(&self.context, &id.parse()?, path.as_ref().to_owned(), options).await
    }

    /// Returns whether a snapshot is intact: every byte, every digest, and the content checksum. `Ok(false)` means that
    /// it is corrupt; [`verify_snapshot_with`](Self::verify_snapshot_with) says where.
    ///
    /// # Errors
    ///
    /// The same as [`verify_snapshot_with`](Self::verify_snapshot_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// if !manager.verify_snapshot(id).await? {
    ///     eprintln!("{id} is corrupt");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn verify_snapshot(&self, id: &str) -> Result<bool> {
        Ok(self.verify_snapshot_with(id, &VerifyOptions::default()).await?.is_intact())
    }

    /// Reads a snapshot and its ancestors, and reports everything that is corrupt, by file and block. Reads every byte,
    /// unless [`VerifyOptions::depth`] says otherwise. Adds the result to the [ledger](Self::ledger) of the snapshot.
    ///
    /// An intact snapshot of which every byte was read can be restored to a file: a restore makes the same checks.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the snapshot does not exist, and the error of the
    /// store if something cannot be read. Returns [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if nothing
    /// is corrupt, but only a newer version can restore the snapshot or one of its ancestors. Corruption is not an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::VerifyOptions;
    ///
    /// let report = manager.verify_snapshot_with(id, &VerifyOptions::default()).await?;
    /// for corruption in &report.corruption {
    ///     println!("{}: {}", corruption.file, corruption.detail);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn verify_snapshot_with(&self, id: &str, options: &VerifyOptions) -> Result<VerifyReport> {
        verify::verify(&self.context, &id.parse()?, options).await
    }

    /// As [`verify_snapshot_with`](Self::verify_snapshot_with), unless the ledger of the snapshot shows that it was found
    /// intact at least so deep within [`VerifyOptions::max_age`]. Then nothing is read, and the answer is
    /// [`Verification::Skipped`].
    ///
    /// # Errors
    ///
    /// The same as [`verify_snapshot_with`](Self::verify_snapshot_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{Verification, VerifyOptions};
    ///
    /// match manager.verify_due(id, &VerifyOptions::default().max_age("7d".parse()?)).await? {
    ///     Verification::Skipped { intact_at, .. } => println!("not read again: it was intact at {intact_at}"),
    ///     verification => println!("intact: {:?}", verification.is_intact()),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn verify_due(&self, id: &str, options: &VerifyOptions) -> Result<Verification> {
        verify::verify_due(&self.context, &id.parse()?, options).await
    }

    /// Verifies every snapshot in the store, newest first. A chain is verified once, from its newest snapshot; if that
    /// is corrupt, its ancestors are verified again one by one. The stream goes on after corruption, and after errors
    /// that concern one snapshot.
    ///
    /// # Errors
    ///
    /// The stream yields an error, and ends, if the store cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager, VerifyOptions};
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// use futures::TryStreamExt as _;
    ///
    /// let mut verifications = std::pin::pin!(manager.verify_all(VerifyOptions::default()));
    /// while let Some(verification) = verifications.try_next().await? {
    ///     println!("{}: {:?}", verification.id(), verification.is_intact());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn verify_all(&self, options: VerifyOptions) -> impl Stream<Item = Result<Verification>> + Send + use<> {
        verify::verify_all(self.context.clone(), options)
    }

    /// Verifies several snapshots, as [`verify_all`](Self::verify_all) does: each chain once, newest first, and each id once.
    /// The stream goes on after corruption, and after errors that concern one snapshot. One that does not exist is
    /// [`Verification::Deleted`].
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a text is not an id. The stream yields an error,
    /// and ends, if the store cannot be listed, or if none of the snapshots is there any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, ids: [&str; 2]) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    /// use ruvector_snapshot::VerifyOptions;
    ///
    /// let mut verifications = std::pin::pin!(manager.verify_each(&ids, VerifyOptions::default())?);
    /// while let Some(verification) = verifications.try_next().await? {
    ///     println!("{}: {:?}", verification.id(), verification.is_intact());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn verify_each(
        &self,
        ids: &[&str],
        options: VerifyOptions,
    ) -> Result<impl Stream<Item = Result<Verification>> + Send + use<>> {
        let ids = ids.iter().map(|id| id.parse()).collect::<Result<_, FormatError>>()?;
        Ok(verify::verify_each(self.context.clone(), ids, options))
    }

    /// Plans the verification of snapshots, with [`VerifyOptions::max_age`] as [`verify_due`](Self::verify_due): which of them
    /// would be read, and how many bytes at most. Reads metadata and sizes, and for a part of the data the block directories.
    /// Writes nothing.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a text is not an id, and
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is only one, which does not exist. Several, of which one
    /// does not exist, are a plan.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::VerifyOptions;
    ///
    /// let plan = manager.plan_verify(&[id], &VerifyOptions::default()).await?;
    /// println!("{} bytes at most", plan.bytes());
    /// # Ok(()) }
    /// ```
    pub async fn plan_verify(&self, ids: &[&str], options: &VerifyOptions) -> Result<VerifyPlan> {
        let ids = ids.iter().map(|id| id.parse()).collect::<Result<_, FormatError>>()?;
        verify::plan(&self.context, Some(ids), options).await
    }

    /// Plans the verification of all snapshots, as [`plan_verify`](Self::plan_verify) does.
    ///
    /// # Errors
    ///
    /// Returns an error if the store cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{VerifyDepth, VerifyOptions};
    ///
    /// let plan = manager.plan_verify_all(&VerifyOptions::default().depth(VerifyDepth::Quick)).await?;
    /// println!("{} snapshots", plan.snapshots.len());
    /// # Ok(()) }
    /// ```
    pub async fn plan_verify_all(&self, options: &VerifyOptions) -> Result<VerifyPlan> {
        verify::plan(&self.context, None, options).await
    }
}
