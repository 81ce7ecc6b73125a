//! Read: opens the state of a snapshot for reading, as streams of records, of ranges of records, or of index rows.

mod options;
mod records;

use std::sync::Arc;

use futures::stream::{self, BoxStream, Stream, TryStreamExt};
use ruvector_snapshot_format::checksum::Digest;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::irregular::{IrregularItem, IrregularTable};
use ruvector_snapshot_format::model::{Change, DatabaseInfo};

use crate::error::{Result, SnapshotError};
use crate::progress::warn;
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::context::{Context, run_blocking};
use crate::repo::found_corrupt::{recorded, recorded_stream, recorded_with};
use crate::repo::merge::Merge;
use crate::snapshot::Snapshot;
use crate::source::key_range::{DiffRange, KeyRange};

pub use options::StreamOptions;
pub use records::{RecordBatch, RecordStream, StreamProof};

/// Reads the state of a snapshot: of a full one or of a whole chain. Opened by
/// [`SnapshotManager::reader`](crate::SnapshotManager::reader).
///
/// All streams are sorted by the bytes of the ids. Memory is bounded by the settings, not by the snapshot. A stream can
/// be dropped at any time.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use ruvector_snapshot::{CreateOptions, SnapshotConfig, SnapshotManager};
/// # let dir = tempfile::tempdir()?;
/// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
/// #     dimensions: 2, storage_path: dir.path().join("a.db").display().to_string(), ..Default::default() })?;
/// # for id in ["a", "b", "c"] {
/// #     db.insert(ruvector_core::VectorEntry { id: Some(id.into()), vector: vec![1.0, 2.0], metadata: None })?;
/// # }
/// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
/// # let snapshot = manager.create_snapshot(&db, "example").await?;
/// use futures::TryStreamExt as _;
/// use ruvector_snapshot::KeyRange;
///
/// let reader = manager.reader(&snapshot.id).await?;
/// let mut batches = reader.records_in([KeyRange::half_open("b", None)]).await?;
/// while let Some(batch) = batches.try_next().await? {
///     for record in batch.records() {
///         println!("{}: {} bytes", record.id, record.vector.len());
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SnapshotReader {
    context: Context,
    chain: Chain,
    snapshot: Snapshot,
    database: DatabaseInfo,
}

/// What the index of a snapshot says of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexRow {
    /// The id.
    pub id: String,
    /// The digest of the record: the first 16 bytes of its SHA-256 (FORMAT.md, section 2). Equal records have equal
    /// digests.
    pub digest: Digest,
    /// Whether the record has metadata.
    pub has_metadata: bool,
}

/// One of the irregular rows of a snapshot: a row of a database file that is not part of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IrregularRow {
    /// The table. Several rows share it.
    pub table: Arc<IrregularTable>,
    /// The key and the value, with the bytes that the database had. `None` for the table itself, which comes before its
    /// rows.
    pub row: Option<(Vec<u8>, Vec<u8>)>,
}

/// Opens a snapshot when the stream is polled for the first time, and streams its records.
pub(crate) fn restore_stream(context: Context, id: String, options: StreamOptions) -> RecordStream {
    RecordStream::opening(async move {
        let progress = options.progress.clone();
        let reader = recorded_with(&context, progress.as_deref(), open(&context, &id.parse()?)).await?;
        if let Some(warning) = corruption_warning(&context, &reader.chain, Then::ReadsAgain).await {
            warn(options.progress.as_deref(), &warning);
        }
        Ok((reader, options))
    })
}

pub(crate) async fn open(context: &Context, id: &SnapshotId) -> Result<SnapshotReader> {
    let chain = Chain::open(context, id).await?;
    let newest = chain.newest()?;
    let snapshot = newest.describe().await?;
    let database = newest.database().await?;
    Ok(SnapshotReader { context: context.clone(), chain, snapshot, database })
}

impl SnapshotReader {
    /// Returns the snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(reader: ruvector_snapshot::SnapshotReader) {
    /// println!("{} records", reader.snapshot().vector_count);
    /// # }
    /// ```
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the description of the database: dimensions, metric, and all config rows.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(reader: ruvector_snapshot::SnapshotReader) {
    /// println!("{} dimensions", reader.database().dimensions);
    /// # }
    /// ```
    pub fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    /// Streams all records, as [`stream`](Self::stream) does with default options.
    ///
    /// # Errors
    ///
    /// The same as [`stream`](Self::stream).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(reader: ruvector_snapshot::SnapshotReader) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    ///
    /// let count = reader.records().await?.try_fold(0, async |sum, batch| Ok(sum + batch.len())).await?;
    /// # Ok(()) }
    /// ```
    pub async fn records(&self) -> Result<RecordStream> {
        self.stream(&StreamOptions::default()).await
    }

    /// Streams records: all of them, those after an id, or those that a filter accepts. The digest of every record is
    /// verified.
    ///
    /// The end of a stream of all records also verifies that they are complete: if their content checksum is not that of
    /// the snapshot, the last item is an error. [`RecordStream::proof`] returns what was verified.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the block directory is corrupt. The stream yields
    /// the same error for corrupt blocks, and then ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(reader: ruvector_snapshot::SnapshotReader) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    /// use ruvector_snapshot::StreamOptions;
    ///
    /// // Goes on after the last record that was seen.
    /// let mut rest = reader.stream(&StreamOptions::default().after("doc-17")).await?;
    /// while let Some(batch) = rest.try_next().await? {
    ///     println!("{} records", batch.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn stream(&self, options: &StreamOptions) -> Result<RecordStream> {
        RecordStream::of(self, options).await
    }

    /// Streams the records whose ids are in these ranges. Only the blocks that can hold such ids are fetched.
    ///
    /// # Errors
    ///
    /// The same as [`stream`](Self::stream).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(reader: ruvector_snapshot::SnapshotReader) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    /// use ruvector_snapshot::KeyRange;
    ///
    /// let ranges = [KeyRange::inclusive("a", "b"), KeyRange::half_open("x", None)];
    /// let batches: Vec<_> = reader.records_in(ranges).await?.try_collect().await?;
    /// # Ok(()) }
    /// ```
    pub async fn records_in(&self, ranges: impl IntoIterator<Item = KeyRange>) -> Result<RecordStream> {
        RecordStream::of_ranges(self, ranges.into_iter().collect()).await
    }

    /// Streams the id and the digest of every record. No vector is fetched.
    ///
    /// Digests are returned as they are stored. Nothing but CRC-32 checksums verifies them.
    ///
    /// # Errors
    ///
    /// The same as [`stream`](Self::stream).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(reader: ruvector_snapshot::SnapshotReader) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    ///
    /// let mut rows = std::pin::pin!(reader.index_rows().await?);
    /// while let Some(row) = rows.try_next().await? {
    ///     println!("{} {}", row.id, row.has_metadata);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn index_rows(&self) -> Result<impl Stream<Item = Result<IndexRow>> + Send + use<>> {
        let everything = Arc::from([DiffRange::all()]);
        let merge = recorded(&self.context, self.chain.rows_in(&everything, &self.context.config)).await?;
        let rows = stream::try_unfold(merge, |mut merge| async move {
            let row = next_row(&mut merge).await?;
            Ok(row.map(|row| (row, merge)))
        });
        Ok(recorded_stream(&self.context, None, rows))
    }
}

impl SnapshotReader {
    /// Streams the irregular rows: what the snapshot holds apart from records, see
    /// [`Snapshot::irregular`](crate::Snapshot::irregular).
    ///
    /// They are verified when the stream has ended: the last item is an error if they are not what metadata.json
    /// records.
    ///
    /// # Errors
    ///
    /// The same as [`stream`](Self::stream).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(reader: ruvector_snapshot::SnapshotReader) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt as _;
    ///
    /// let mut rows = reader.irregular_rows()?;
    /// while let Some(item) = rows.try_next().await? {
    ///     if let Some((key, value)) = item.row {
    ///         println!("{}: {} and {} bytes", item.table.name, key.len(), value.len());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn irregular_rows(&self) -> Result<BoxStream<'static, Result<IrregularRow>>> {
        let state = (self.chain.irregular()?, None);
        let sections = stream::try_unfold(state, |(sections, table)| async move {
            let Some(mut sections) = sections else { return Ok::<_, SnapshotError>(None) };
            let Some(mut section) = sections.next().await? else {
                sections.finish()?;
                return Ok(None);
            };
            let (rows, table, section) = run_blocking(move || {
                let (mut rows, mut table) = (Vec::new(), table);
                section.each(&mut |item| {
                    rows.extend(owned_row(item, &mut table));
                    Ok(())
                })?;
                Ok((rows, table, section))
            })
            .await?;
            sections.decoded(section);
            Ok(Some((stream::iter(rows.into_iter().map(Ok)), (Some(sections), table))))
        });
        Ok(recorded_stream(&self.context, None, sections.try_flatten()))
    }
}

fn owned_row(item: IrregularItem<'_>, current: &mut Option<Arc<IrregularTable>>) -> Option<IrregularRow> {
    let row = match item {
        IrregularItem::Table(table) => {
            *current = Some(Arc::new(table.clone()));
            None
        }
        IrregularItem::Row { key, value, .. } => Some((key.to_vec(), value.to_vec())),
    };
    current.clone().map(|table| IrregularRow { table, row })
}

/// Returns the next record of the state, skipping tombstones.
async fn next_row(merge: &mut Merge) -> Result<Option<IndexRow>> {
    while merge.advance().await? {
        let Some(row) = merge.newest() else { continue };
        if let Change::Put { metadata, .. } = row.change {
            return Ok(Some(IndexRow { id: row.id.to_owned(), digest: row.digest, has_metadata: metadata.is_some() }));
        }
    }
    Ok(None)
}
