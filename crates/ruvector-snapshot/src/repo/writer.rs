//! Writes the five files of one new snapshot, up to the commit. Knows no source.
//!
//! `Writer` of the format turns blocks into the bytes of the files, and `pending_upload` owns the uploads and the commit.
//! This file joins them. A draft makes the same files and stores none of them.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::PackedBlock;
use ruvector_snapshot_format::checksum::{ContentSum, hex};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::{DatabaseInfo, SnapshotType};
use ruvector_snapshot_format::writer::{DataSummary, Pieces, Writer};
use sha2::{Digest as _, Sha256};

use super::context::{Context, run_blocking};
use super::pending_upload::PendingUpload;
use super::spec::{Completion, Content, SnapshotSpec};
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::progress::{Phase, StoredCounter};
use crate::snapshot::Snapshot;
use crate::source::description::check_restorable;
use crate::store::SnapshotStore;

/// The program that writes, and the version of ruvector-core that it is made for. No crate can ask another for its
/// version, so a test compares it with Cargo.lock.
const WRITER: &str = concat!("ruvector-snapshot ", env!("CARGO_PKG_VERSION"), " for ruvector-core 2.4.0");
/// Bytes that are read back with one request.
const READ_BACK_BYTES: u64 = 8 << 20;

/// Takes compressed blocks in order, and commits.
pub(crate) struct SnapshotWriter {
    context: Context,
    id: SnapshotId,
    /// `None` for a draft.
    pending: Option<PendingUpload>,
    /// Counts what the store has received.
    counter: StoredCounter,
    data: Writer,
}

impl SnapshotWriter {
    /// Announces the bases and starts the uploads of the three data files.
    pub(crate) async fn begin(context: &Context, id: &SnapshotId, spec: &SnapshotSpec<'_>) -> Result<Self> {
        let draft = Self::draft(context, id, spec)?;
        let (base_ids, bounds, counter) = (spec.base_ids.clone(), spec.source.size_bounds_bytes, draft.counter.clone());
        let pending = PendingUpload::begin(context, id, base_ids, bounds, counter).await?;
        Ok(Self { pending: Some(pending), ..draft })
    }

    /// Starts a draft: its files are made, and nothing is stored.
    pub(crate) fn draft(context: &Context, id: &SnapshotId, spec: &SnapshotSpec<'_>) -> Result<Self> {
        // A description that cannot be stored or restored must fail before anything is stored.
        index::encode_database(&spec.source.database)?;
        check_restorable(&spec.source.database).map_err(|error| {
            let message = format!("no snapshot of this database could be restored: {}", error.message());
            SnapshotError::new(ErrorKind::InvalidInput, message).with_source(error)
        })?;
        let counter = StoredCounter::silent(spec.progress.cloned(), Phase::Store);
        Ok(Self { context: context.clone(), id: id.clone(), pending: None, counter, data: Writer::new() })
    }

    async fn write(&mut self, pieces: Pieces) -> Result<()> {
        match &mut self.pending {
            Some(pending) => pending.write(pieces.map(Bytes::from)).await,
            None => Ok(()),
        }
    }

    /// Appends one block to the three files.
    pub(crate) async fn append(&mut self, block: PackedBlock) -> Result<()> {
        let mut data = std::mem::take(&mut self.data);
        let (data, pieces) = run_blocking(move || {
            let pieces = data.append(block);
            Ok((data, pieces))
        })
        .await?;
        self.data = data;
        self.write(pieces).await
    }

    /// Appends the next section of irregular rows. No block can be appended after it.
    pub(crate) async fn append_irregular(&mut self, raw: Vec<u8>) -> Result<()> {
        let (mut data, level) = (std::mem::take(&mut self.data), self.context.config.level());
        let (data, pieces) = run_blocking(move || {
            let pieces = data.append_irregular(&raw, level)?;
            Ok((data, pieces))
        })
        .await?;
        self.data = data;
        self.write(pieces).await
    }

    /// Completes the files and commits the snapshot.
    pub(crate) async fn commit(mut self, spec: SnapshotSpec<'_>, completion: Completion<'_>) -> Result<Snapshot> {
        match (self.finish(spec, completion).await, self.pending.take()) {
            (Ok(metadata), Some(pending)) => pending.commit(metadata).await,
            (Ok(_), None) => Err(SnapshotError::new(ErrorKind::Internal, "a draft cannot be committed")),
            (Err(error), pending) => {
                self.pending = pending;
                Err(error.leaving(&self.discard().await))
            }
        }
    }

    /// Completes the files of a draft. Returns the snapshot as it would be, with the sizes of the draft.
    pub(crate) async fn complete_draft(
        mut self,
        spec: SnapshotSpec<'_>,
        completion: Completion<'_>,
    ) -> Result<Snapshot> {
        let metadata = self.finish(spec, completion).await?;
        Snapshot::new(&metadata, metadata.encode()?.len() as u64)
    }

    /// Gives the snapshot up and removes what was stored for it. Returns what cannot be removed.
    pub(crate) async fn discard(mut self) -> Vec<String> {
        match &mut self.pending {
            Some(pending) => pending.discard().await,
            None => Vec::new(),
        }
    }

    /// Completes the files, and reads them back if the settings say so.
    async fn finish(&mut self, spec: SnapshotSpec<'_>, completion: Completion<'_>) -> Result<SnapshotMetadata> {
        let Completion { not_captured, leaves, irregular, content } = completion;
        let irregular_sum = irregular.as_ref().map_or_else(ContentSum::default, |info| info.checksum);
        if let Content::Compacted(expected) = &content {
            let mut found = self.data.checksum();
            found.merge(&irregular_sum);
            if found != *expected {
                let message = format!("the contents of the chain have the checksum {found} instead of {expected}");
                return Err(corrupt(message));
            }
        }
        let database = spec.source.database;
        let data = self.write_sections(&database, leaves).await?;
        let mut metadata = SnapshotMetadata::new(self.id.clone(), spec.name, spec.created_at, &database, data);
        metadata.labels = spec.labels;
        metadata.note = spec.note;
        metadata.metadata = spec.metadata;
        metadata.source = spec.source.info.with_not_captured(not_captured);
        metadata.embedding = Some(spec.embedding).filter(|embedding| !embedding.is_empty());
        metadata.compression_level = self.context.config.level();
        metadata.writer = WRITER.to_owned();
        if let Content::Increment { base, changes, checksum } = content {
            let kept = base.vector_count.checked_sub(changes.removed).ok_or_else(|| {
                let (removed, had) = (changes.removed, base.vector_count);
                corrupt(format!("{removed} records were removed, but the base has only {had}"))
            })?;
            metadata.snapshot_type = SnapshotType::Incremental { base_id: base.id.to_string() };
            metadata.vector_count = kept.saturating_add(changes.added);
            metadata.base_checksum = Some(base.checksum);
            metadata.changes = Some(changes);
            metadata.checksum = checksum;
        }
        metadata.checksum.merge(&irregular_sum);
        metadata.set_irregular(irregular);
        self.finish_uploads(&metadata).await?;
        if self.context.config.verify_after_write && self.pending.is_some() {
            for file in DataFile::ALL {
                read_back(self.context.store.as_ref(), &metadata, file, self.context.config.max_concurrent_io).await?;
            }
        }
        Ok(metadata)
    }

    /// Writes the sections, with which the three files end.
    async fn write_sections(&mut self, database: &DatabaseInfo, leaves: Option<Vec<u8>>) -> Result<DataSummary> {
        let (data, database, level) = (std::mem::take(&mut self.data), database.clone(), self.context.config.level());
        let (pieces, summary) = run_blocking(move || Ok(data.finish(&database, leaves, level)?)).await?;
        self.write(pieces).await?;
        Ok(summary)
    }

    /// Finishes the three uploads.
    async fn finish_uploads(&mut self, metadata: &SnapshotMetadata) -> Result<()> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let stored = Snapshot::new(metadata, metadata.encode()?.len() as u64)?;
        self.counter.report_from_now(0, stored.size_bytes);
        let bytes = |file: DataFile| stored.files.get(file.name()).copied().unwrap_or_default();
        pending.finish_uploads(DataFile::ALL.map(bytes)).await
    }
}

/// Reads a file back, a few ranges ahead, and compares its SHA-256 with that of the bytes that were sent.
pub(super) async fn read_back(
    store: &dyn SnapshotStore,
    metadata: &SnapshotMetadata,
    file: DataFile,
    max_concurrent_io: usize,
) -> Result<()> {
    let key = layout::key(&metadata.id, file.name());
    let info = metadata.file(file)?;
    let starts = (0..info.bytes).step_by(READ_BACK_BYTES as usize);
    let ranges = starts.map(|start| store.get_range(&key, start..info.bytes.min(start + READ_BACK_BYTES)));
    let mut pieces = stream::iter(ranges).buffered(max_concurrent_io);
    let mut hash = Sha256::new();
    while let Some(piece) = pieces.try_next().await? {
        hash = run_blocking(move || {
            hash.update(&piece);
            Ok(hash)
        })
        .await?;
    }
    let found = hex(&hash.finalize());
    if found == info.sha256 {
        return Ok(());
    }
    let message = format!(
        "the store returned other bytes than were sent (SHA-256 {found} instead of {}), so no snapshot was created; try again, and \
         if the error persists do not trust this store",
        info.sha256
    );
    Err(corrupt(message).with_key(key.clone()))
}
