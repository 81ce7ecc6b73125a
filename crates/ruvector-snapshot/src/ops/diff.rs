//! Diff: which records differ between two snapshots, of one store or of two, as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, Progress, ProgressUpdate, warn};
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::comparison::{Comparison, RecordChange};
use crate::repo::context::Context;
use crate::repo::found_corrupt::{self, recorded};
use crate::store::metered::Meter;

/// Settings of a diff. Start from `default()`.
///
/// # Examples
///
/// ```
/// let options = ruvector_snapshot::DiffOptions::default();
/// assert!(options.progress.is_none());
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DiffOptions {
    /// A listener for progress, in rows of indexes. The default is none.
    pub progress: Option<Arc<dyn Progress>>,
}

impl DiffOptions {
    /// Sets the listener for progress.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listener: std::sync::Arc<dyn ruvector_snapshot::Progress>) {
    /// let options = ruvector_snapshot::DiffOptions::default().progress(listener);
    /// # }
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress) }
    }
}

/// A record that is not the same in both snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiffEntry {
    /// The id of the record.
    pub id: String,
    /// What became of it from the first snapshot to the second one.
    pub change: RecordChange,
}

/// What a diff says of one of the two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiffedSnapshot {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
    /// Number of records.
    pub records: u64,
    /// f32 values per vector. 0 if the database is empty and does not record it.
    pub dimensions: u64,
    /// The distance metric; `None` if the database does not record it.
    pub distance_metric: Option<String>,
    /// The content checksum, in hexadecimal.
    pub checksum: String,
}

/// How many records differ between two snapshots. Each record counts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiffSummary {
    /// The first snapshot.
    pub first: DiffedSnapshot,
    /// The second snapshot.
    pub second: DiffedSnapshot,
    /// Records that only the second snapshot has.
    pub added: u64,
    /// Records that only the first snapshot has.
    pub removed: u64,
    /// Records with another vector and the same metadata.
    pub vector_changed: u64,
    /// Records with other metadata and the same vector.
    pub metadata_changed: u64,
    /// Records with another vector and other metadata.
    pub vector_and_metadata_changed: u64,
    /// Records that are the same in both.
    pub unchanged: u64,
    /// Whether the irregular rows of the two differ. Which ones is not compared.
    pub irregular_rows_differ: bool,
    /// Bytes that were read of both stores.
    pub read_bytes: u64,
}

impl DiffSummary {
    fn new(first: &SnapshotMetadata, second: &SnapshotMetadata) -> Self {
        Self {
            first: described(first),
            second: described(second),
            added: 0,
            removed: 0,
            vector_changed: 0,
            metadata_changed: 0,
            vector_and_metadata_changed: 0,
            unchanged: 0,
            irregular_rows_differ: first.irregular_checksum() != second.irregular_checksum(),
            read_bytes: 0,
        }
    }

    /// Returns how many records differ.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(summary: ruvector_snapshot::DiffSummary) {
    /// println!("{} of {} records differ", summary.differences(), summary.second.records);
    /// # }
    /// ```
    pub fn differences(&self) -> u64 {
        let changed = self.vector_changed + self.metadata_changed + self.vector_and_metadata_changed;
        self.added + self.removed + changed
    }

    /// Returns whether both snapshots are of databases with the same dimensions and the same metric.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(summary: ruvector_snapshot::DiffSummary) {
    /// if !summary.has_same_shape() {
    ///     println!("{} and {} dimensions", summary.first.dimensions, summary.second.dimensions);
    /// }
    /// # }
    /// ```
    pub fn has_same_shape(&self) -> bool {
        let shape = |snapshot: &DiffedSnapshot| (snapshot.dimensions, snapshot.distance_metric.clone());
        shape(&self.first) == shape(&self.second)
    }

    /// Returns whether nothing differs: no record, no irregular row, neither the dimensions nor the metric.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(summary: ruvector_snapshot::DiffSummary) {
    /// assert!(summary.is_equal() || summary.differences() > 0 || summary.irregular_rows_differ || !summary.has_same_shape());
    /// # }
    /// ```
    pub fn is_equal(&self) -> bool {
        self.differences() == 0 && !self.irregular_rows_differ && self.has_same_shape()
    }

    fn add(&mut self, change: RecordChange) {
        let count = match change {
            RecordChange::Added => &mut self.added,
            RecordChange::Removed => &mut self.removed,
            RecordChange::Vector => &mut self.vector_changed,
            RecordChange::Metadata => &mut self.metadata_changed,
            RecordChange::VectorAndMetadata => &mut self.vector_and_metadata_changed,
        };
        *count += 1;
    }
}

fn described(metadata: &SnapshotMetadata) -> DiffedSnapshot {
    DiffedSnapshot {
        id: metadata.id.to_string(),
        name: metadata.name.clone(),
        created_at: metadata.created_at,
        records: metadata.vector_count,
        dimensions: metadata.dimensions,
        distance_metric: metadata.distance_metric.clone(),
        checksum: metadata.checksum.to_string(),
    }
}

/// The records that differ between two snapshots, in the order of the bytes of their ids. Dropping it ends all its reads.
///
/// Memory is bounded by the settings, not by the snapshots. After an error the stream has ended.
///
/// # Examples
///
/// ```
/// # async fn example(manager: ruvector_snapshot::SnapshotManager, before: &str, after: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt as _;
/// use ruvector_snapshot::DiffOptions;
///
/// let mut diff = manager.diff(before, &manager, after, &DiffOptions::default()).await?;
/// while let Some(entry) = diff.try_next().await? {
///     println!("{:?} {}", entry.change, entry.id);
/// }
/// println!("{} unchanged", diff.summary().map_or(0, |summary| summary.unchanged));
/// # Ok(()) }
/// ```
#[must_use = "a stream reads nothing until it is polled"]
pub struct SnapshotDiff {
    entries: BoxStream<'static, Result<DiffEntry>>,
    summary: Arc<OnceLock<DiffSummary>>,
}

impl SnapshotDiff {
    /// Returns the counts. `None` until the stream has ended, and after an error: only at the end it is known that the
    /// indexes were complete.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(diff: ruvector_snapshot::SnapshotDiff) {
    /// assert!(diff.summary().is_none(), "nothing was read yet");
    /// # }
    /// ```
    pub fn summary(&self) -> Option<&DiffSummary> {
        self.summary.get()
    }

    /// Reads to the end, and returns the counts.
    ///
    /// # Errors
    ///
    /// As the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, before: &str, after: &str) -> ruvector_snapshot::Result<()> {
    /// let diff = manager.diff(before, &manager, after, &Default::default()).await?;
    /// println!("{} records differ", diff.finish().await?.differences());
    /// # Ok(()) }
    /// ```
    pub async fn finish(mut self) -> Result<DiffSummary> {
        while self.entries.try_next().await?.is_some() {}
        let missing = || SnapshotError::new(ErrorKind::Internal, "a diff has ended without a summary");
        self.summary.get().cloned().ok_or_else(missing)
    }
}

impl Stream for SnapshotDiff {
    type Item = Result<DiffEntry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.entries.poll_next_unpin(context)
    }
}

impl fmt::Debug for SnapshotDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotDiff").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// Opens both chains, and compares them as the stream is read. Of snapshots with the same content checksum nothing is read,
/// but their files must be there: a copy that has lost its data is not the same.
pub(crate) async fn diff(
    contexts: [&Context; 2],
    ids: [&SnapshotId; 2],
    options: &DiffOptions,
) -> Result<SnapshotDiff> {
    let [(first, meter), (second, other_meter)] = contexts.map(Context::metered);
    let [id, other_id] = ids;
    let are_two = !Arc::ptr_eq(&contexts[0].store, &contexts[1].store);
    let (chain, other_chain) = futures::try_join!(
        recorded_in(&first, are_two, Chain::open(&first, id)),
        recorded_in(&second, are_two, Chain::open(&second, other_id))
    )?;
    let (known, also_known) = futures::join!(
        corruption_warning(&first, &chain, Then::Compares),
        corruption_warning(&second, &other_chain, Then::Compares)
    );
    known.iter().chain(&also_known).for_each(|warning| warn(options.progress.as_deref(), warning));
    let owners = Owners::new(contexts, [&chain, &other_chain]);
    let (metadata, other_metadata) = (chain.newest()?.metadata.clone(), other_chain.newest()?.metadata.clone());
    let summary = DiffSummary::new(&metadata, &other_metadata);
    let comparison = match metadata.checksum == other_metadata.checksum {
        true => {
            futures::try_join!(
                recorded_in(&first, are_two, chain.check_sizes(&first.config)),
                recorded_in(&second, are_two, other_chain.check_sizes(&second.config))
            )?;
            None
        }
        false => Some(
            owners
                .recorded(Comparison::open([chain, other_chain], [&first, &second]), options.progress.as_deref())
                .await?,
        ),
    };
    let done = Arc::new(OnceLock::new());
    let running = Running {
        owners,
        comparison,
        summary,
        meters: [meter, other_meter],
        listener: options.progress.clone(),
        done: done.clone(),
    };
    Ok(SnapshotDiff { entries: running.into_stream(), summary: done })
}

/// Records what is found corrupt in one store. The error names the store, if it is one of two.
async fn recorded_in<T: Send>(
    context: &Context,
    is_named: bool,
    read: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    recorded(context, read).await.map_err(|error| match error.kind() {
        ErrorKind::Corrupt if is_named => error.in_stores(&[context.store.to_string()]),
        _ => error,
    })
}

/// In which store a snapshot of the two chains is.
struct Owners {
    contexts: [Context; 2],
    ids: [Vec<SnapshotId>; 2],
}

impl Owners {
    fn new(contexts: [&Context; 2], chains: [&Chain; 2]) -> Self {
        let [first, second] = contexts;
        let mut ids = chains.map(Chain::ids);
        if Arc::ptr_eq(&first.store, &second.store) {
            let [first, second] = &mut ids;
            first.append(second);
        }
        Self { contexts: contexts.map(Clone::clone), ids }
    }

    /// Records what is found corrupt, in each store in which a second read finds it corrupt, too. The error names them.
    async fn recorded<T>(&self, read: impl Future<Output = Result<T>>, listener: Option<&dyn Progress>) -> Result<T> {
        let error = match read.await {
            Ok(read) => return Ok(read),
            Err(error) => error,
        };
        let Some(id) = error.snapshot_id() else { return Err(error) };
        let has = |ids: &Vec<SnapshotId>| ids.iter().any(|one| one.as_str() == id);
        let owners = self.contexts.iter().zip(&self.ids).filter(|(_, ids)| has(ids)).map(|(context, _)| context);
        let are_two = self.ids.iter().all(|ids| !ids.is_empty());
        Err(found_corrupt::record_in_stores(&owners.collect::<Vec<_>>(), are_two, error, listener).await)
    }
}

/// A diff that is being read.
struct Running {
    owners: Owners,
    /// `None` if there is nothing to compare.
    comparison: Option<Comparison>,
    summary: DiffSummary,
    meters: [Meter; 2],
    listener: Option<Arc<dyn Progress>>,
    done: Arc<OnceLock<DiffSummary>>,
}

impl Running {
    fn into_stream(self) -> BoxStream<'static, Result<DiffEntry>> {
        let batches = stream::try_unfold(self, |mut running| async move {
            let batch = running.next().await?;
            Ok::<_, SnapshotError>(batch.map(|batch| (stream::iter(batch.into_iter().map(Ok)), running)))
        });
        batches.try_flatten().boxed()
    }

    async fn next(&mut self) -> Result<Option<Vec<DiffEntry>>> {
        let batch = match &mut self.comparison {
            Some(comparison) => self.owners.recorded(comparison.next_batch(), self.listener.as_deref()).await?,
            None => None,
        };
        self.report();
        let Some(batch) = batch else {
            self.finish();
            return Ok(None);
        };
        batch.iter().for_each(|(_, change)| self.summary.add(*change));
        Ok(Some(batch.into_iter().map(|(id, change)| DiffEntry { id, change }).collect()))
    }

    fn finish(&mut self) {
        let summary = &mut self.summary;
        summary.unchanged = summary.second.records.saturating_sub(summary.differences() - summary.removed);
        summary.read_bytes = self.meters.iter().map(Meter::read_bytes).sum();
        self.done.get_or_init(|| summary.clone());
    }

    fn report(&self) {
        let (Some(listener), Some(comparison)) = (&self.listener, &self.comparison) else { return };
        let (records, records_total) = comparison.progress();
        listener.update(ProgressUpdate { records, ..ProgressUpdate::start(Phase::Compare, records_total) });
    }
}
