//! The verbs of the façade that list snapshots, find them, and open them for reading.

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use ruvector_snapshot_format::metadata::SourceId;

use super::SnapshotManager;
use crate::error::{ErrorKind, Result};
use crate::ops::diff::{self, DiffOptions, SnapshotDiff};
use crate::ops::find::{self, FindReport};
use crate::ops::freshness;
use crate::ops::read::{self, SnapshotReader};
use crate::policy::freshness::{Freshness, FreshnessLimits};
use crate::policy::list_filter::ListFilter;
use crate::policy::stats::StoreStats;
use crate::progress::Progress;
use crate::repo::chain::Chain;
use crate::repo::chain_checks::read_ledger;
use crate::repo::found_corrupt::recorded;
use crate::repo::inventory::{self, Inventory};
use crate::repo::ledger::Ledger;
use crate::repo::location;
use crate::repo::orphans;
use crate::repo::resolve::{self, ResolvedId, SeveralNamed};
use crate::snapshot::{Listing, Snapshot};
use crate::store::multipart_uploads_of;

/// Listing and reading snapshots.
impl SnapshotManager {
    /// Returns the snapshots in the store, newest first.
    ///
    /// # Errors
    ///
    /// If a snapshot cannot be used, returns its error: [`ErrorKind::Corrupt`], or [`ErrorKind::Unsupported`] if a
    /// newer version wrote it. [`list`](Self::list) returns usable and unusable snapshots separately.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// for snapshot in manager.list_snapshots().await? {
    ///     println!("{} {:?}", snapshot.id, snapshot.name);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn list_snapshots(&self) -> Result<Vec<Snapshot>> {
        let listing = Inventory::read(&self.context).await?.listing;
        match listing.unusable.into_iter().next() {
            None => Ok(listing.snapshots),
            Some(unusable) => Err(unusable.error),
        }
    }

    /// Returns everything in the store: snapshots, unusable snapshots, and uploads. Reads one listing and every
    /// `metadata.json`, at most `max_concurrent_io` at a time, and no data. Snapshots are without
    /// [`metadata`](Snapshot::metadata) of more than 4 KiB.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unavailable`] or [`ErrorKind::PermissionDenied`] if the store cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let listing = manager.list().await?;
    /// println!("{} snapshots, {} unusable", listing.snapshots.len(), listing.unusable.len());
    /// # Ok(()) }
    /// ```
    pub async fn list(&self) -> Result<Listing> {
        let inventory = Inventory::read(&self.context).await?;
        let files = orphans::local_files(&self.context).await?;
        let multipart = multipart_uploads_of(self.context.store.as_ref()).await;
        let unfinished = orphans::unfinished(&inventory, &files, &multipart.uploads);
        Ok(Listing { unfinished, multipart_uploads_known: multipart.is_complete, ..inventory.listing })
    }

    /// Returns what the snapshots that a filter accepts add up to: their sizes for each database, type and day. Reads what
    /// [`list`](Self::list) reads.
    ///
    /// # Errors
    ///
    /// The same as [`list`](Self::list).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # use ruvector_snapshot::{ListFilter, SnapshotConfig, SnapshotManager};
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let stats = manager.stats(&ListFilter::default()).await?;
    /// assert_eq!(stats.totals.snapshots, 0);
    /// # Ok(()) }
    /// ```
    pub async fn stats(&self, filter: &ListFilter) -> Result<StoreStats> {
        let listing = Inventory::read(&self.context).await?.listing;
        Ok(StoreStats::of(&listing, filter, listing.listed_at))
    }

    /// Returns whether the databases of the store are backed up: how old the newest snapshot of each is that can be restored, as
    /// far as is known, and when one was last verified and drilled. Reads what [`list`](Self::list) reads, and the upload
    /// markers.
    ///
    /// # Errors
    ///
    /// The same as [`list`](Self::list). Then nothing is known of the databases.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # use ruvector_snapshot::{FreshnessLimits, SnapshotConfig, SnapshotManager};
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let freshness = manager.freshness(&FreshnessLimits::default().max_age("26h".parse()?)).await?;
    /// assert!(freshness.is_stale(), "the store is empty");
    /// # Ok(()) }
    /// ```
    pub async fn freshness(&self, limits: &FreshnessLimits) -> Result<Freshness> {
        freshness::freshness(&self.context, limits).await
    }

    /// Returns whether the store has a snapshot, intact or not. Reads one listing, up to the first snapshot.
    ///
    /// Before a create, it shows whether the store is new: a mistyped location, or a disk that is not mounted, looks
    /// like a new store too. [`SnapshotConfig::require_store`](crate::SnapshotConfig::require_store) makes that an error.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unavailable`] or [`ErrorKind::PermissionDenied`] if the store cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// assert!(!manager.has_snapshots().await?);
    /// # Ok(()) }
    /// ```
    pub async fn has_snapshots(&self) -> Result<bool> {
        location::has_snapshots(self.context.store.as_ref()).await
    }

    /// Returns the time by the clock of this manager: what the ages of snapshots are counted from.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(manager: ruvector_snapshot::SnapshotManager, snapshot: ruvector_snapshot::Snapshot) {
    /// println!("{} minutes old", (manager.now() - snapshot.created_at).num_minutes());
    /// # }
    /// ```
    pub fn now(&self) -> DateTime<Utc> {
        self.context.clock.now()
    }

    /// Returns the ids of the newest snapshots, newest first and at most `max` of them. Reads one listing, and no
    /// `metadata.json`: a snapshot that cannot be used is one of them. For a quick overview of a large store, for example
    /// while a user types.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unavailable`] or [`ErrorKind::PermissionDenied`] if the store cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// assert!(manager.newest_ids(10).await?.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn newest_ids(&self, max: usize) -> Result<Vec<String>> {
        location::newest_ids(self.context.store.as_ref(), max).await
    }

    /// Returns a snapshot by its id, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`] for an invalid id, and [`ErrorKind::Corrupt`] or [`ErrorKind::Unsupported`]
    /// if `metadata.json` cannot be used.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(snapshot) = manager.get_snapshot(id).await? {
    ///     println!("{} bytes", snapshot.size_bytes);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn get_snapshot(&self, id: &str) -> Result<Option<Snapshot>> {
        let store = self.context.store.as_ref();
        match inventory::read_metadata(store, &id.parse()?).await {
            Ok((metadata, bytes)) => {
                Ok(Some(inventory::describe_annotated(store, &metadata, bytes.len() as u64).await?))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the ledger of a snapshot: when it was verified, how deep, and with what result. Reads one listing of the
    /// snapshot, and the contents of the newest 100 entries.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if the snapshot does not exist. An entry that cannot be read is not an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// for entry in manager.ledger(id).await?.entries {
    ///     println!("{} {}: {}", entry.time, entry.depth, entry.result);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn ledger(&self, id: &str) -> Result<Ledger> {
        read_ledger(&self.context, &id.parse()?).await
    }

    /// Returns a snapshot and its ancestors, newest first. Reads no data. Ancestors are without
    /// [`metadata`](Snapshot::metadata) of more than 4 KiB.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if the snapshot does not exist, and [`ErrorKind::Corrupt`] or
    /// [`ErrorKind::Unsupported`] if an ancestor is missing or cannot be used.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let chain = manager.chain(id).await?;
    /// println!("a restore reads {} snapshots", chain.len());
    /// # Ok(()) }
    /// ```
    pub async fn chain(&self, id: &str) -> Result<Vec<Snapshot>> {
        let chain = Chain::open(&self.context, &id.parse()?).await?;
        let described = chain.snapshots().iter().map(|snapshot| snapshot.describe());
        let described = futures::stream::iter(described.collect::<Vec<_>>());
        described.buffered(self.context.config.max_concurrent_io).try_collect().await
    }

    /// Returns the id of the snapshot that a user means: an id, a prefix of one id, a name (its newest snapshot), or
    /// `latest`.
    ///
    /// A name and `latest` mean a snapshot that is [dated in the future](Listing::dated_in_future) only if they can mean
    /// no other. [`resolve_with`](Self::resolve_with) reports that.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if there is none, and [`ErrorKind::Ambiguous`] if it can mean several.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = manager.resolve("latest").await?;
    /// let snapshot = manager.get_snapshot(&id).await?;
    /// # Ok(()) }
    /// ```
    pub async fn resolve(&self, text: &str) -> Result<String> {
        Ok(resolve::resolve(&self.context, text, None, SeveralNamed::Newest, None).await?.id)
    }

    /// Returns the id of the snapshot that a user means as the base of an increment: as [`resolve`](Self::resolve), but
    /// a name and `latest` mean only snapshots of this source. The same path on another host is another source.
    ///
    /// An id is returned as it is. A create refuses it if it is of another source.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if there is none, and [`ErrorKind::Ambiguous`] if it can mean several.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::CreateOptions;
    ///
    /// let options = CreateOptions::default();
    /// let source = manager.source_of_file("/srv/vectors.db", &options)?;
    /// let options = options.base_id(manager.resolve_base("latest", &source).await?);
    /// let increment = manager.create_snapshot_of_file("/srv/vectors.db", "hourly", &options).await?;
    /// # Ok(()) }
    /// ```
    pub async fn resolve_base(&self, text: &str, source: &SourceId) -> Result<String> {
        Ok(resolve::resolve(&self.context, text, Some(source), SeveralNamed::Newest, None).await?.id)
    }

    /// As [`resolve`](Self::resolve), or with a source as [`resolve_base`](Self::resolve_base), and reports a warning
    /// to the listener if a snapshot is dated in the future and was skipped, or used because there is no other. Returns the
    /// ids of the listing too, if there was one.
    ///
    /// # Errors
    ///
    /// The same as [`resolve_base`](Self::resolve_base).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{Progress, ProgressUpdate};
    ///
    /// #[derive(Debug)]
    /// struct Printer;
    ///
    /// impl Progress for Printer {
    ///     fn update(&self, _update: ProgressUpdate) {}
    ///
    ///     fn warning(&self, message: &str) {
    ///         println!("warning: {message}");
    ///     }
    /// }
    ///
    /// println!("{}", manager.resolve_with("latest", None, &Printer).await?.id);
    /// # Ok(()) }
    /// ```
    pub async fn resolve_with(
        &self,
        text: &str,
        source: Option<&SourceId>,
        progress: &dyn Progress,
    ) -> Result<ResolvedId> {
        resolve::resolve(&self.context, text, source, SeveralNamed::Newest, Some(progress)).await
    }

    /// As [`resolve_with`](Self::resolve_with), and refuses a name that several snapshots have, and less than 9 characters of an
    /// id. For what cannot be undone: the newest of them may not be the one that is meant.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if there is none, and [`ErrorKind::Ambiguous`] if it can mean several. The error lists
    /// those that have the name.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, listener: &dyn ruvector_snapshot::Progress) -> Result<(), Box<dyn std::error::Error>> {
    /// let resolved = manager.resolve_only("before-upgrade", listener).await?;
    /// manager.delete_snapshot(&resolved.id).await?;
    /// # Ok(()) }
    /// ```
    pub async fn resolve_only(&self, text: &str, progress: &dyn Progress) -> Result<ResolvedId> {
        resolve::resolve(&self.context, text, None, SeveralNamed::Refused, Some(progress)).await
    }

    /// As [`resolve_with`](Self::resolve_with), and refuses a name, and `latest`, if snapshots of several databases could be meant.
    /// For what replaces or changes a database: the newest snapshot may be that of another one.
    ///
    /// # Errors
    ///
    /// The same as [`resolve_only`](Self::resolve_only). The error names the newest snapshot of each database.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, listener: &dyn ruvector_snapshot::Progress) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::RestoreOptions;
    ///
    /// let resolved = manager.resolve_of_one_source("latest", listener).await?;
    /// manager.restore_snapshot_to(&resolved.id, "vectors.db", &RestoreOptions::default().overwrite(true)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn resolve_of_one_source(&self, text: &str, progress: &dyn Progress) -> Result<ResolvedId> {
        resolve::resolve(&self.context, text, None, SeveralNamed::NewestOfOneSource, Some(progress)).await
    }

    /// Finds the snapshots that have a record, and those in which it changed. Reads every metadata.json, and of the index of
    /// each snapshot the block directory and at most one piece: no vectors and no metadata.
    ///
    /// Digests are compared as they are stored. Nothing but CRC-32 checksums verifies them.
    ///
    /// # Errors
    ///
    /// The same as [`list_snapshots`](Self::list_snapshots). Snapshots that cannot be used are
    /// [`problems`](FindReport::problems) of the report.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// for found in manager.find_record("doc-17").await?.snapshots {
    ///     println!("{}: {:?}", found.snapshot.id, found.state);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn find_record(&self, record_id: &str) -> Result<FindReport> {
        find::find(&self.context, Inventory::read(&self.context).await?.listing, record_id).await
    }

    /// Compares two snapshots, related or not, and streams the records that differ, in the order of their ids. The first
    /// snapshot is `id` of this store, the second one is `other_id` of the store of `other`, which can be this one.
    ///
    /// Reads the indexes, and nothing if the content checksums are equal. Snapshots that both chains have are read only
    /// where they matter. Of a record that differs, the metadata of both is read, and the vector of one of the two if the metadata
    /// has changed and it is not known whether the vector has. If the dimensions or the metric differ, the
    /// [summary](SnapshotDiff::summary) says so, and the records are compared all the same. Of irregular rows it only says
    /// whether they differ.
    ///
    /// The ids and digests that were compared are verified by the content checksums of both snapshots when the stream has
    /// ended. Metadata is only verified by the CRC-32 of its block; [`verify_snapshot`](Self::verify_snapshot) reads
    /// everything. Of two snapshots with the same content checksum no data is read: their files must exist with the recorded
    /// sizes.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if a snapshot does not exist, and
    /// [`ErrorKind::Corrupt`], also from the stream, if what is read is corrupt.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, offsite: ruvector_snapshot::SnapshotManager) -> ruvector_snapshot::Result<()> {
    /// use ruvector_snapshot::DiffOptions;
    ///
    /// let (yesterday, today) = ("20260130T080000000Z-0123456789abcdef", "20260131T080000000Z-0123456789abcdef");
    /// let diff = manager.diff(yesterday, &manager, today, &DiffOptions::default()).await?;
    /// let summary = diff.finish().await?;
    /// println!("{} added, {} removed", summary.added, summary.removed);
    /// let same = manager.diff(today, &offsite, today, &DiffOptions::default()).await?;
    /// assert!(same.finish().await?.is_equal());
    /// # Ok(()) }
    /// ```
    pub async fn diff(&self, id: &str, other: &Self, other_id: &str, options: &DiffOptions) -> Result<SnapshotDiff> {
        diff::diff([&self.context, &other.context], [&id.parse()?, &other_id.parse()?], options).await
    }

    /// Opens a snapshot for reading: all records, ranges of records, or its index. See [`SnapshotReader`] for an
    /// example.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if the snapshot does not exist, and [`ErrorKind::Corrupt`] or
    /// [`ErrorKind::Unsupported`] if its chain cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    ///
    /// let reader = manager.reader(id).await?;
    /// let mut batches = reader.records().await?;
    /// while let Some(batch) = batches.try_next().await? {
    ///     println!("{} records", batch.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn reader(&self, id: &str) -> Result<SnapshotReader> {
        recorded(&self.context, read::open(&self.context, &id.parse()?)).await
    }
}
