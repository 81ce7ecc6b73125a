//! The way of records into a snapshot: groups them into blocks, compresses the blocks in parallel, and writes them in
//! order.
//!
//! At most `workers + 1` blocks are being compressed at a time, and a reader is at most a few blocks ahead. A large block
//! has one row of up to 128 MiB: while it is on its way, nothing else is read. That bounds the memory.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::{Block, BlockOrder, PackedBlock};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::model::LeafTable;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use super::context::{Context, run_blocking};
use super::irregular::{RowsFrom, SourceIrregular};
use super::spec::{Completion, SnapshotSpec};
use super::writer::SnapshotWriter;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, ProgressCounter};
use crate::snapshot::Snapshot;
use crate::source::{SourceReader, SourceRow};

/// Blocks that a reader may be ahead of the compression.
const BLOCKS_AHEAD: usize = 2;

/// A stream of blocks that ends with a `T`.
pub(crate) type BlockStream<'a, T> = BoxStream<'a, Result<BlockEvent<T>>>;

/// An item of a [`BlockStream`].
pub(crate) enum BlockEvent<T> {
    Block(Block, Hold),
    /// The content of the next section of irregular rows. No block comes after it.
    Irregular(Vec<u8>),
    /// The last item. A stream that ends without it was truncated.
    End(T),
}

/// While it exists, the reader that has returned a large block reads nothing else. That of other blocks holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    _reader: Option<oneshot::Sender<Never>>,
}

/// Nothing is sent: the reader waits until the sender is dropped.
#[derive(Debug)]
enum Never {}

/// Waits until the last large block is on its way no more.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Option<oneshot::Receiver<Never>>);

impl Waiting {
    /// Begins the way of a block, for which [`until_free`](Self::until_free) waits if it is large.
    pub(crate) fn hold(&mut self, block: &Block) -> Hold {
        if !block.is_large() {
            return Hold::default();
        }
        let (sender, receiver) = oneshot::channel();
        self.0 = Some(receiver);
        Hold { _reader: Some(sender) }
    }

    pub(crate) async fn until_free(&mut self) {
        if let Some(held) = self.0.take() {
            let _dropped = held.await;
        }
    }

    fn blocking_until_free(&mut self) {
        if let Some(held) = self.0.take() {
            let _dropped = held.blocking_recv();
        }
    }
}

/// What is known of a source after its last record.
#[derive(Debug, Default)]
pub(crate) struct SourceTrailer {
    /// What the source held that no record holds, in words.
    pub(crate) not_captured: Vec<String>,
    /// The leaf tables of the source, if all of it was read from such leaves.
    pub(crate) leaves: Option<[LeafTable; 2]>,
    /// The irregular rows of the source.
    pub(crate) irregular: Option<IrregularInfo>,
    /// The number of rows of the tables `vectors` and `metadata`, read or not.
    pub(crate) row_counts: Option<[u64; 2]>,
}

/// Stores a stream of blocks as a new snapshot, under an id that no other attempt has.
pub(crate) async fn store_blocks<'a, T: Send>(
    context: &Context,
    spec: SnapshotSpec<'_>,
    blocks: BlockStream<'_, T>,
    complete: impl FnOnce(T) -> Completion<'a>,
) -> Result<Snapshot> {
    let id = new_id(context, &spec)?;
    if let Some(progress) = spec.progress {
        progress.started(id.as_str());
    }
    let span = tracing::info_span!("create", snapshot = %id, name = spec.name);
    async {
        let mut writer = SnapshotWriter::begin(context, &id, &spec).await?;
        match write_blocks(context, &mut writer, &spec, blocks).await {
            Ok(end) => writer.commit(spec, complete(end)).await,
            Err(error) => Err(error.leaving(&writer.discard().await)),
        }
    }
    .instrument(span)
    .await
}

/// Makes what [`store_blocks`] would store, without compression, and stores nothing. Returns the snapshot as it would be,
/// with the sizes that its files have without compression.
pub(crate) async fn draft_blocks<'a, T: Send>(
    context: &Context,
    spec: SnapshotSpec<'_>,
    blocks: BlockStream<'_, T>,
    complete: impl FnOnce(T) -> Completion<'a>,
) -> Result<Snapshot> {
    let mut context = context.clone();
    context.config.compression = false;
    let context = &context;
    let mut writer = SnapshotWriter::draft(context, &new_id(context, &spec)?, &spec)?;
    let end = write_blocks(context, &mut writer, &spec, blocks).await?;
    writer.complete_draft(spec, complete(end)).await
}

fn new_id(context: &Context, spec: &SnapshotSpec<'_>) -> Result<SnapshotId> {
    let id = SnapshotId::new(spec.created_at, context.clock.random()?)?;
    match spec.base_ids.first() {
        Some(newest_base) => check_newer(&id, newest_base).map(|()| id),
        None => Ok(id),
    }
}

/// Compresses blocks on several threads and writes them in order. Returns the end of the stream.
async fn write_blocks<T: Send>(
    context: &Context,
    writer: &mut SnapshotWriter,
    spec: &SnapshotSpec<'_>,
    blocks: BlockStream<'_, T>,
) -> Result<T> {
    enum Packed<T> {
        Block(Box<PackedBlock>, Hold),
        Irregular(Vec<u8>),
        End(T),
    }
    let level = context.config.level();
    let mut progress =
        ProgressCounter::start(spec.progress.map(|progress| &**progress), Phase::Create, spec.source.records_expected);
    let packed = blocks.map(|event| async move {
        match event? {
            BlockEvent::Block(block, hold) => {
                let packed = run_blocking(move || Ok(Box::new(block.pack(level)?))).await?;
                Ok::<_, SnapshotError>(Packed::Block(packed, hold))
            }
            BlockEvent::Irregular(raw) => Ok(Packed::Irregular(raw)),
            BlockEvent::End(end) => Ok(Packed::End(end)),
        }
    });
    let mut packed = packed.buffered(context.config.workers + 1);
    let mut end = None;
    while let Some(next) = packed.try_next().await? {
        match next {
            Packed::Block(block, _hold) => {
                let [vectors_bytes, _, payloads_bytes] = block.raw_bytes;
                let rows = u64::from(block.entry.rows);
                writer.append(*block).await?;
                progress.add(rows, vectors_bytes + payloads_bytes);
            }
            Packed::Irregular(raw) => {
                let bytes = raw.len() as u64;
                writer.append_irregular(raw).await?;
                progress.add(0, bytes);
            }
            Packed::End(last) => end = Some(last),
        }
    }
    // A truncated stream must not pass for a complete database.
    end.ok_or_else(truncated_source)
}

pub(crate) fn truncated_source() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "reading the database ended without its end")
}

/// Ids sort by time, and an increment must be newer than its base.
fn check_newer(id: &SnapshotId, base_id: &SnapshotId) -> Result<()> {
    if base_id < id {
        return Ok(());
    }
    let message = format!(
        "cannot use snapshot {base_id} as a base: it is dated in the future, and an increment must be newer than its base; correct \
         the clock of this machine if it is behind, or else take a full snapshot or use another base"
    );
    Err(SnapshotError::new(ErrorKind::InvalidInput, message))
}

/// Reads a source on a thread of its own, a few blocks ahead. The thread ends soon after the stream is dropped.
///
/// `known_irregular` are irregular rows that need not be stored, because the base has them.
pub(crate) fn read_ahead(
    reader: Box<dyn SourceReader>,
    rows: RowsFrom,
    known_irregular: Option<IrregularInfo>,
) -> BlockStream<'static, SourceTrailer> {
    let (sender, mut receiver) = mpsc::channel(BLOCKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut blocks = SourceBlocks::new(reader, rows, known_irregular);
        while blocks.next().is_some_and(|event| sender.blocking_send(event).is_ok()) {
            blocks.waiting.blocking_until_free();
        }
    });
    stream::poll_fn(move |context| receiver.poll_recv(context)).boxed()
}

/// Reads a borrowed source, which cannot move to another thread, block by block between other work.
pub(crate) fn read_inline<'a>(
    reader: impl SourceReader + 'a,
    rows: RowsFrom,
    known_irregular: Option<IrregularInfo>,
) -> BlockStream<'a, SourceTrailer> {
    let blocks = SourceBlocks::new(reader, rows, known_irregular);
    stream::unfold(blocks, |mut blocks| async {
        tokio::task::yield_now().await;
        blocks.waiting.until_free().await;
        blocks.next().map(|event| (event, blocks))
    })
    .boxed()
}

/// Groups the records of a source into blocks, and its irregular rows into sections.
struct SourceBlocks<R> {
    reader: R,
    irregular: SourceIrregular,
    known_irregular: Option<IrregularInfo>,
    block: Block,
    order: BlockOrder,
    waiting: Waiting,
    are_records_read: bool,
    has_ended: bool,
}

impl<R: SourceReader> SourceBlocks<R> {
    fn new(reader: R, rows: RowsFrom, known_irregular: Option<IrregularInfo>) -> Self {
        let dimensions = usize::try_from(reader.database().dimensions).unwrap_or(usize::MAX);
        Self {
            irregular: SourceIrregular::new(reader.database(), rows),
            reader,
            known_irregular,
            block: Block::new(dimensions),
            order: BlockOrder::default(),
            waiting: Waiting::default(),
            are_records_read: false,
            has_ended: false,
        }
    }

    fn read(&mut self) -> Result<BlockEvent<SourceTrailer>> {
        // A block that the last row has filled is complete before the next row is read, which can be large too.
        while !self.are_records_read && !self.block.is_full() {
            let Some(row) = self.reader.next_row()? else {
                self.are_records_read = true;
                break;
            };
            self.irregular.add_record(row.as_record().id);
            if self.block.is_full_for(row.as_record()) {
                let mut next = self.block.new_like();
                push(&mut next, row)?;
                if next.is_large() {
                    self.reader.release_row();
                }
                return self.complete(next);
            }
            push(&mut self.block, row)?;
            if self.block.is_large() {
                self.reader.release_row();
            }
        }
        if !self.block.is_empty() {
            let next = self.block.new_like();
            return self.complete(next);
        }
        if let Some(raw) = self.irregular.next_section(&mut self.reader, self.known_irregular.as_ref())? {
            return Ok(BlockEvent::Irregular(raw));
        }
        self.has_ended = true;
        Ok(BlockEvent::End(SourceTrailer {
            leaves: self.reader.take_leaves(),
            not_captured: self.reader.not_captured(),
            irregular: self.irregular.summary(),
            row_counts: self.reader.row_counts(),
        }))
    }

    /// Begins the block `next`, and returns the one before it, which is complete.
    fn complete(&mut self, next: Block) -> Result<BlockEvent<SourceTrailer>> {
        let block = std::mem::replace(&mut self.block, next);
        if self.order.follows(&block) {
            let hold = self.waiting.hold(&block);
            return Ok(BlockEvent::Block(block, hold));
        }
        let message = format!("the ids of the source are not in order: {:?} is out of place", block.id(0));
        Err(SnapshotError::new(ErrorKind::Corrupt, message))
    }
}

fn push(block: &mut Block, row: SourceRow<'_>) -> Result<()> {
    match row {
        SourceRow::Record(record) => block.push(record)?,
        SourceRow::MetadataOnly { id, metadata } => block.push_metadata(id, metadata)?,
    }
    Ok(())
}

impl<R: SourceReader> Iterator for SourceBlocks<R> {
    type Item = Result<BlockEvent<SourceTrailer>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let event = self.read();
        self.has_ended |= event.is_err();
        Some(event)
    }
}
