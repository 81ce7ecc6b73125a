//! A stream of records, and what is verified at its end.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::model::Record;

use super::{SnapshotReader, StreamOptions};
use crate::error::{Result, corrupt};
use crate::progress::{Phase, Progress, ProgressUpdate, warn};
use crate::repo::context::Context;
use crate::repo::found_corrupt::{recorded, recorded_stream, recorded_with};
use crate::repo::reader::StoredSnapshot;
use crate::repo::selection::{MissingIds, selected_blocks};
use crate::source::key_range::{KeyRange, coalesced};

/// Some consecutive records of a snapshot. Their digests have been verified.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    block: Block,
}

impl RecordBatch {
    /// Returns the number of records.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(batch: ruvector_snapshot::RecordBatch) {
    /// println!("{} records", batch.len());
    /// # }
    /// ```
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Returns whether the batch has no records.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(batch: ruvector_snapshot::RecordBatch) {
    /// assert!(!batch.is_empty());
    /// # }
    /// ```
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Iterates over the records. Each vector is `dimensions` f32 values, little-endian; the metadata is canonical
    /// JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(batch: ruvector_snapshot::RecordBatch) {
    /// for record in batch.records() {
    ///     println!("{}: {:?}", record.id, record.values().collect::<Vec<_>>());
    /// }
    /// # }
    /// ```
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.block.rows()
    }
}

/// What a stream has verified of the records that it has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamProof {
    /// They are all records of the snapshot, and together they have its content checksum.
    ContentChecksum,
    /// Each has the digest that the snapshot has of it. The stream did not have all records, so the content checksum of
    /// the snapshot could not be compared.
    RecordDigests,
}

/// A stream of batches of records, in the order of the bytes of their ids. Dropping it ends all its reads.
///
/// Memory is bounded by the settings, not by the snapshot. After an error the stream has ended.
///
/// # Examples
///
/// ```
/// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt as _;
/// use ruvector_snapshot::{StreamOptions, StreamProof};
///
/// let mut records = manager.restore_stream(id, StreamOptions::default());
/// while let Some(batch) = records.try_next().await? {
///     batch.records().for_each(|record| println!("{}", record.id));
/// }
/// assert_eq!(records.proof(), Some(StreamProof::ContentChecksum));
/// # Ok(()) }
/// ```
#[must_use = "a stream reads nothing until it is polled"]
pub struct RecordStream {
    batches: BoxStream<'static, Result<RecordBatch>>,
    outcome: Outcome,
}

/// What is known when the stream has ended. A clone shares it.
#[derive(Debug, Clone, Default)]
struct Outcome {
    proof: Arc<OnceLock<StreamProof>>,
    missing: MissingIds,
}

impl RecordStream {
    /// Returns what was verified of the records. `None` until the stream has ended, and after an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(reader: ruvector_snapshot::SnapshotReader) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    /// use ruvector_snapshot::{StreamOptions, StreamProof};
    ///
    /// let mut rest = reader.stream(&StreamOptions::default().after("doc-17")).await?;
    /// while rest.try_next().await?.is_some() {}
    /// assert_eq!(rest.proof(), Some(StreamProof::RecordDigests));
    /// # Ok(()) }
    /// ```
    pub fn proof(&self) -> Option<StreamProof> {
        self.outcome.proof.get().copied()
    }

    /// Returns the ids of the filter that are not in the snapshot, sorted. Until the stream has ended: those that were not
    /// found yet. Ids that the stream has skipped, because they are not after
    /// [`StreamOptions::after`], are not among them.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(reader: ruvector_snapshot::SnapshotReader) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    /// use ruvector_snapshot::{RecordFilter, StreamOptions};
    ///
    /// let filter = RecordFilter::default().ids(["doc-1", "no such record"]);
    /// let mut records = reader.stream(&StreamOptions::default().filter(filter)).await?;
    /// while records.try_next().await?.is_some() {}
    /// assert_eq!(records.missing_ids(), ["no such record"]);
    /// # Ok(()) }
    /// ```
    pub fn missing_ids(&self) -> Vec<String> {
        self.outcome.missing.list()
    }

    /// Streams what `opening` opens when the stream is polled for the first time.
    pub(super) fn opening(
        opening: impl Future<Output = Result<(SnapshotReader, StreamOptions)>> + Send + 'static,
    ) -> Self {
        let outcome = Outcome::default();
        let shared = outcome.clone();
        let opened = async move {
            let (reader, options) = opening.await?;
            let progress = options.progress.clone();
            let started = Running::start(&reader, &options, &shared);
            recorded_with(&reader.context, progress.as_deref(), started).await.map(Running::into_stream)
        };
        Self { batches: stream::once(opened).try_flatten().boxed(), outcome }
    }

    pub(super) async fn of(reader: &SnapshotReader, options: &StreamOptions) -> Result<Self> {
        let outcome = Outcome::default();
        let started = Running::start(reader, options, &outcome);
        let running = recorded_with(&reader.context, options.progress.as_deref(), started).await?;
        Ok(Self { batches: running.into_stream(), outcome })
    }

    /// Streams the records in these ranges, which may overlap.
    pub(super) async fn of_ranges(reader: &SnapshotReader, ranges: Vec<KeyRange>) -> Result<Self> {
        let (outcome, ranges) = (Outcome::default(), coalesced(ranges));
        let blocks = match ranges.is_empty() {
            true => stream::empty().boxed(),
            false => recorded(&reader.context, reader.chain.blocks_in(ranges, &reader.context.config)).await?,
        };
        let running = Running::over(reader, blocks, None, &outcome)?;
        Ok(Self { batches: running.into_stream(), outcome })
    }
}

impl Stream for RecordStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(context)
    }
}

impl fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStream").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// A stream that has been opened.
struct Running {
    context: Context,
    blocks: BoxStream<'static, Result<(Block, ContentSum)>>,
    newest: StoredSnapshot,
    /// The sum of what is not in the stream and of the records so far. `None` if the stream does not have all records.
    sum: Option<ContentSum>,
    listener: Option<Arc<dyn Progress>>,
    /// What is warned of at the end if the stream has had no record.
    nothing_selected: Option<String>,
    update: ProgressUpdate,
    outcome: Outcome,
}

impl Running {
    async fn start(reader: &SnapshotReader, options: &StreamOptions, outcome: &Outcome) -> Result<Self> {
        let (chain, config) = (&reader.chain, &reader.context.config);
        let metadata = &chain.newest()?.metadata;
        if let Some(irregular) = &metadata.irregular {
            let warning = format!("irregular rows of the snapshot are not in the stream: {irregular}");
            warn(options.progress.as_deref(), &warning);
        }
        let after = options.after.as_deref();
        let blocks = selected_blocks(chain, config, &options.filter, after, &outcome.missing).await?;
        let sum = options.selects_everything().then(|| metadata.irregular_checksum());
        let mut running = Self::over(reader, blocks, sum, outcome)?;
        running.update.records_total = options.filter.records_max(metadata.vector_count);
        running.listener.clone_from(&options.progress);
        running.nothing_selected = (!options.filter.accepts_everything()).then(|| {
            let outcome = match after {
                Some(after) => format!("no record after {after:?} was streamed"),
                None => "no record was streamed".to_owned(),
            };
            options.filter.accepts_none_of(running.newest.id(), &outcome)
        });
        running.report(0, 0);
        Ok(running)
    }

    fn over(
        reader: &SnapshotReader,
        blocks: BoxStream<'static, Result<(Block, ContentSum)>>,
        sum: Option<ContentSum>,
        outcome: &Outcome,
    ) -> Result<Self> {
        let update = ProgressUpdate::start(Phase::Stream, 0);
        let (newest, outcome) = (reader.chain.newest()?.clone(), outcome.clone());
        let context = reader.context.clone();
        Ok(Self { context, blocks, newest, sum, listener: None, nothing_selected: None, update, outcome })
    }

    fn into_stream(self) -> BoxStream<'static, Result<RecordBatch>> {
        let (context, listener) = (self.context.clone(), self.listener.clone());
        let batches = stream::try_unfold(self, |mut running| async move {
            let batch = running.next().await?;
            Ok(batch.map(|batch| (batch, running)))
        });
        recorded_stream(&context, listener, batches)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some((block, block_sum)) = self.blocks.try_next().await? else {
            self.finish().await?;
            return Ok(None);
        };
        if let Some(sum) = &mut self.sum {
            sum.merge(&block_sum);
        }
        self.report(block.len() as u64, block.content_bytes() as u64);
        Ok(Some(RecordBatch { block }))
    }

    /// Compares the content checksum, if the stream had all records, and notes what is verified.
    async fn finish(&mut self) -> Result<()> {
        let expected = self.newest.metadata.checksum;
        let proof = match self.sum {
            None => StreamProof::RecordDigests,
            Some(found) if found == expected => StreamProof::ContentChecksum,
            Some(found) => {
                let message = format!(
                    "the content checksum of the records is {found} instead of {expected}: records are missing, or do \
                     not belong to the snapshot; do not use what was read"
                );
                return Err(self.newest.judged(corrupt(message).with_key(self.newest.key(DataFile::Index))).await);
            }
        };
        self.outcome.proof.get_or_init(|| proof);
        if let Some(warning) = self.nothing_selected.take()
            && self.update.records == 0
            && self.outcome.missing.list().is_empty()
        {
            warn(self.listener.as_deref(), &warning);
        }
        Ok(())
    }

    fn report(&mut self, records: u64, bytes: u64) {
        self.update.records += records;
        self.update.bytes += bytes;
        if let Some(listener) = &self.listener {
            listener.update(self.update);
        }
    }
}
