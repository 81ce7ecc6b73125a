//! Writes the five files of one new snapshot, up to the commit. Knows no source.
//!
//! `pending_upload` owns the uploads and the commit; this file fills them.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::PackedBlock;
use ruvector_snapshot_format::checksum::{ContentSum, hex};
use ruvector_snapshot_format::codec::piece;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::limits;
use ruvector_snapshot_format::metadata::{FORMAT, FORMAT_VERSION, FileInfo, SectionInfo, SnapshotMetadata};
use ruvector_snapshot_format::model::SnapshotType;
use sha2::{Digest as _, Sha256};

use super::context::{Context, run_blocking};
use super::pending_upload::PendingUpload;
use super::spec::{Completion, Content, SnapshotSpec};
use crate::error::{Result, corrupt};
use crate::snapshot::Snapshot;
use crate::store::SnapshotStore;

/// Bytes that are read back with one request.
const READ_BACK_BYTES: u64 = 8 << 20;

/// Takes compressed blocks in order, and commits.
pub(crate) struct SnapshotWriter {
    context: Context,
    id: SnapshotId,
    pending: PendingUpload,
    /// The section that describes the database.
    database_json: Vec<u8>,
    /// In the order of [`DataFile::ALL`].
    files: [FileState; 3],
    entries: Vec<BlockEntry>,
    sum: ContentSum,
    records: u64,
}

/// What has been written to one data file so far.
#[derive(Default)]
struct FileState {
    hash: Sha256,
    bytes: u64,
    raw_bytes: u64,
}

impl SnapshotWriter {
    /// Announces the bases and starts the uploads of the three data files.
    pub(crate) async fn begin(context: &Context, id: &SnapshotId, spec: &SnapshotSpec<'_>) -> Result<Self> {
        // A description that cannot be stored must fail before anything is stored.
        let database_json = index::encode_database(&spec.source.database)?;
        let pending = PendingUpload::begin(context, id, spec.base_ids.clone(), spec.source.size_bounds_bytes).await?;
        Ok(Self {
            context: context.clone(),
            id: id.clone(),
            pending,
            database_json,
            files: Default::default(),
            entries: Vec::new(),
            sum: ContentSum::default(),
            records: 0,
        })
    }

    /// Appends one block to the three files.
    pub(crate) async fn append(&mut self, block: PackedBlock) -> Result<()> {
        let PackedBlock { vectors, index, payloads, mut entry, sum, raw_bytes, .. } = block;
        let [vectors_file, index_file, payloads_file] = &self.files;
        entry.vectors_offset = vectors_file.bytes;
        entry.index_offset = index_file.bytes;
        entry.payloads_offset = payloads_file.bytes;
        self.records += u64::from(entry.rows);
        self.sum.merge(&sum);
        self.entries.push(entry);
        self.write([vectors, index, payloads], raw_bytes).await
    }

    /// Completes the files and commits the snapshot.
    pub(crate) async fn commit(mut self, spec: SnapshotSpec<'_>, completion: Completion<'_>) -> Result<Snapshot> {
        match self.finish(spec, completion).await {
            Ok(metadata) => self.pending.commit(metadata).await,
            Err(error) => {
                self.discard().await;
                Err(error)
            }
        }
    }

    /// Gives the snapshot up and removes what was stored for it.
    pub(crate) async fn discard(mut self) {
        self.pending.discard().await;
    }

    /// Completes the files, and reads them back if the settings say so.
    async fn finish(&mut self, spec: SnapshotSpec<'_>, completion: Completion<'_>) -> Result<SnapshotMetadata> {
        let Completion { not_captured, leaves, content } = completion;
        if let Content::Compacted(expected) = &content
            && *expected != self.sum
        {
            let message =
                format!("the records of the chain have the content checksum {} instead of {expected}", self.sum);
            return Err(corrupt(message));
        }
        let sections = self.finish_files(leaves).await?;
        let mut metadata = self.full_metadata(spec, not_captured, sections);
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
        if self.context.config.verify_after_write {
            for file in DataFile::ALL {
                read_back(self.context.store.as_ref(), &metadata, file, self.context.config.max_concurrent_io).await?;
            }
        }
        Ok(metadata)
    }

    /// Writes the sections and finishes the three uploads.
    async fn finish_files(&mut self, leaves: Option<Vec<u8>>) -> Result<Vec<SectionInfo>> {
        let json = std::mem::take(&mut self.database_json);
        let directory = index::encode_directory(&self.entries);
        // Above the limit the table is left out: the next increment is slower and just as exact.
        let leaves = leaves.filter(|raw| raw.len() as u64 <= limits::SECTION_BYTES).map(|raw| (index::LEAVES, raw));
        let mut sections = Vec::new();
        for (name, raw) in [(index::DIRECTORY, directory), (index::DATABASE, json)].into_iter().chain(leaves) {
            sections.push(self.write_section(name, raw).await?);
        }
        let empty_file = piece::pack_empty_file()?;
        let fill = |file: &FileState| if file.bytes == 0 { empty_file.clone() } else { Vec::new() };
        let [vectors, index, payloads] = &self.files;
        self.write([fill(vectors), fill(index), fill(payloads)], [0; 3]).await?;
        self.pending.finish_uploads(self.files.each_ref().map(|file| file.bytes)).await?;
        Ok(sections)
    }

    async fn write_section(&mut self, name: &str, raw: Vec<u8>) -> Result<SectionInfo> {
        let level = self.context.config.level();
        let raw_bytes = raw.len() as u64;
        let packed = run_blocking(move || Ok(piece::pack_section(&raw, level)?)).await?;
        let [_, index_file, _] = &self.files;
        let (offset, bytes) = (index_file.bytes, packed.len() as u64);
        self.write([Vec::new(), packed, Vec::new()], [0, raw_bytes, 0]).await?;
        Ok(SectionInfo { name: name.to_owned(), offset, bytes, raw_bytes })
    }

    /// Hashes one piece for each file, and then uploads them.
    async fn write(&mut self, pieces: [Vec<u8>; 3], raw_bytes: [u64; 3]) -> Result<()> {
        let pieces = pieces.map(Bytes::from);
        let mut hashes = self.files.each_mut().map(|file| std::mem::take(&mut file.hash));
        let hashed = pieces.clone();
        let hashes = run_blocking(move || {
            hashes.iter_mut().zip(&hashed).for_each(|(hash, piece)| hash.update(piece));
            Ok(hashes)
        })
        .await?;
        for (((file, hash), raw_bytes), piece) in self.files.iter_mut().zip(hashes).zip(raw_bytes).zip(&pieces) {
            file.hash = hash;
            file.raw_bytes += raw_bytes;
            file.bytes += piece.len() as u64;
        }
        self.pending.write(pieces).await
    }

    /// Describes the snapshot as a full one.
    fn full_metadata(
        &mut self,
        spec: SnapshotSpec<'_>,
        not_captured: Vec<String>,
        sections: Vec<SectionInfo>,
    ) -> SnapshotMetadata {
        let files = DataFile::ALL.into_iter().zip(self.files.each_mut()).map(|(file, state)| {
            let sha256 = hex(&std::mem::take(&mut state.hash).finalize());
            (file.name().to_owned(), FileInfo { bytes: state.bytes, sha256, raw_bytes: state.raw_bytes })
        });
        SnapshotMetadata {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            id: self.id.clone(),
            name: spec.name.to_owned(),
            created_at: spec.created_at,
            snapshot_type: SnapshotType::Full,
            vector_count: self.records,
            changes: None,
            base_checksum: None,
            dimensions: spec.source.database.dimensions,
            distance_metric: spec.source.database.distance_metric,
            checksum: self.sum,
            labels: spec.labels.clone(),
            metadata: spec.metadata.clone(),
            source: spec.source.info.with_not_captured(not_captured),
            compression_level: self.context.config.level(),
            files: files.collect(),
            blocks: self.entries.len() as u64,
            sections,
            writer: concat!("ruvector-snapshot ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Reads a file back, a few ranges ahead, and compares its SHA-256 with that of the bytes that were sent.
async fn read_back(
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
