//! The five files of one new snapshot on their way into the store, up to the commit. Knows no source.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::super::chain::Chain;
use super::super::delete;
use super::super::delta::Totals;
use super::super::{Snapshot, SnapshotManager, catalog, failed_task, unblock};
use crate::clock::Stopwatch;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::PackedBlock;
use crate::format::checksum::{ContentSum, hex};
use crate::format::id::SnapshotId;
use crate::format::index::{self, BlockEntry, DatabaseInfo};
use crate::format::layout::{self, DataFile};
use crate::format::limits;
use crate::format::member::{self, Coding};
use crate::format::metadata::{
    FORMAT, FORMAT_VERSION, FileInfo, SectionInfo, SnapshotMetadata, SnapshotType, SourceInfo,
};
use crate::store::{SnapshotStore, Upload};

mod looks;
use looks::{Doubt, Looks, settle};

/// How much is read back with one request.
const READ_BACK_BYTES: u64 = 8 << 20;

/// What a snapshot is called and where it came from.
pub(super) struct Identity {
    pub(super) id: SnapshotId,
    pub(super) name: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) metadata: serde_json::Value,
    pub(super) source: SourceInfo,
    pub(super) compression_level: u32,
}

/// What a snapshot holds besides its blocks.
pub(super) struct Contents<'a> {
    pub(super) database: &'a DatabaseInfo,
    /// The section of the leaf table.
    pub(super) leaves: Option<Vec<u8>>,
    pub(super) increment: Option<Increment<'a>>,
    /// What the rows must sum to, where that is known.
    pub(super) checksum: Option<ContentSum>,
}

/// What makes a snapshot an increment.
pub(super) struct Increment<'a> {
    pub(super) chain: &'a Chain,
    pub(super) totals: Totals,
}

/// Takes packed blocks in order, and commits.
pub(super) struct SnapshotWriter {
    unfinished: Unfinished,
    /// As in [`DataFile::ALL`].
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
    /// Begins the uploads of the three data files.
    pub(super) async fn begin(
        manager: &SnapshotManager,
        id: &SnapshotId,
        size_bounds_bytes: Option<[u64; 3]>,
        base_ids: Vec<SnapshotId>,
    ) -> Result<Self> {
        check_unused(manager.store.as_ref(), id).await?;
        let mut unfinished = Unfinished {
            base_ids,
            manager: manager.clone(),
            id: Some(id.clone()),
            uploads: Vec::new(),
            finishing: JoinSet::new(),
        };
        if let Err(error) = unfinished.looks(id).mark_bases().await {
            unfinished.discard().await;
            return Err(error);
        }
        for (at, file) in DataFile::ALL.into_iter().enumerate() {
            let bound_bytes = size_bounds_bytes.and_then(|bounds| bounds.get(at).copied());
            match manager.store.upload(&layout::key(id, file.name()), bound_bytes).await {
                Ok(upload) => unfinished.uploads.push(upload),
                Err(error) => {
                    unfinished.discard().await;
                    return Err(error);
                }
            }
        }
        Ok(Self { unfinished, files: Default::default(), entries: Vec::new(), sum: ContentSum::default(), records: 0 })
    }

    /// Appends one block to the three files.
    pub(super) async fn append(&mut self, block: PackedBlock) -> Result<()> {
        let PackedBlock { vectors, index, payloads, mut entry, sum, raw_bytes } = block;
        let [vectors_file, index_file, payloads_file] = &self.files;
        entry.vectors_offset = vectors_file.bytes;
        entry.index_offset = index_file.bytes;
        entry.payloads_offset = payloads_file.bytes;
        self.records += u64::from(entry.rows);
        self.sum.merge(&sum);
        self.entries.push(entry);
        self.write([vectors, index, payloads], raw_bytes).await
    }

    /// Ends the files, and makes them a snapshot.
    pub(super) async fn commit(mut self, identity: Identity, contents: Contents<'_>) -> Result<Snapshot> {
        let metadata = match self.finish(identity, contents).await {
            Ok(metadata) => metadata,
            Err(error) => {
                self.discard().await;
                return Err(error);
            }
        };
        // From here on nothing is cancelled: a commit whose outcome nobody waits for is completed all the same.
        let Self { unfinished, .. } = self;
        let tasks = unfinished.manager.tasks.clone();
        let committed = tasks.spawn(unfinished.commit(metadata).in_current_span());
        committed.await.unwrap_or_else(|error| {
            Err(SnapshotError::new(ErrorKind::Internal, format!("the commit failed: {error}")).because(error))
        })
    }

    /// Gives the snapshot up and removes what was stored for it.
    pub(super) async fn discard(mut self) {
        self.unfinished.discard().await;
    }

    /// Ends the files, and reads them back where the settings say so.
    async fn finish(&mut self, identity: Identity, contents: Contents<'_>) -> Result<SnapshotMetadata> {
        let Contents { database, leaves, increment, checksum } = contents;
        if checksum.is_some_and(|checksum| checksum != self.sum) {
            let what =
                format!("the records of the chain come to another content checksum, {}, than was recorded", self.sum);
            return Err(SnapshotError::new(ErrorKind::Damaged, what));
        }
        let sections = self.finish_files(database, leaves, identity.compression_level).await?;
        let mut metadata = self.metadata(identity, database, sections);
        if let Some(Increment { chain, totals }) = increment {
            let base = &chain.newest()?.metadata;
            metadata.snapshot_type = SnapshotType::Incremental { base_id: base.id.to_string() };
            let kept = base.vector_count.checked_sub(totals.changes.removed);
            let more_gone = || {
                let (removed, had) = (totals.changes.removed, base.vector_count);
                SnapshotError::new(ErrorKind::Damaged, format!("{removed} of the {had} records of the base are gone"))
            };
            metadata.vector_count = kept.ok_or_else(more_gone)?.saturating_add(totals.changes.added);
            metadata.base_checksum = Some(base.checksum);
            metadata.changes = Some(totals.changes);
            metadata.checksum = totals.checksum;
        }
        let SnapshotManager { store, config, .. } = &self.unfinished.manager;
        if config.verify_after_write {
            for file in DataFile::ALL {
                read_back(store.as_ref(), &metadata, file, config.max_concurrent_io).await?;
            }
        }
        Ok(metadata)
    }

    /// Writes the sections and finishes the three uploads.
    async fn finish_files(
        &mut self,
        database: &DatabaseInfo,
        leaves: Option<Vec<u8>>,
        level: u32,
    ) -> Result<Vec<SectionInfo>> {
        let json = serde_json::to_vec(database)
            .map_err(|error| SnapshotError::new(ErrorKind::Internal, "the options are no JSON").because(error))?;
        let mut sections = Vec::new();
        let directory = index::encode_directory(&self.entries);
        // Beyond the limit the next increment does without, which is slower.
        let leaves = leaves.filter(|raw| raw.len() as u64 <= limits::SECTION_BYTES).map(|raw| (index::LEAVES, raw));
        for (name, raw) in [(index::DIRECTORY, directory), (index::DATABASE, json)].into_iter().chain(leaves) {
            let (raw_bytes, packed) = unblock(move || {
                let mut packed = Vec::new();
                member::pack(&raw, Coding::at_level(level), &mut packed)?;
                Ok((raw.len() as u64, packed))
            })
            .await?;
            let [_, index_file, _] = &self.files;
            let (offset, bytes) = (index_file.bytes, packed.len() as u64);
            sections.push(SectionInfo { name: name.to_owned(), offset, bytes, raw_bytes });
            self.write([Vec::new(), packed, Vec::new()], [0, raw_bytes, 0]).await?;
        }
        let mut empty_member = Vec::new();
        member::pack(&[], Coding::Stored, &mut empty_member)?;
        let fill = |file: &FileState| if file.bytes == 0 { empty_member.clone() } else { Vec::new() };
        let [vectors, index, payloads] = &self.files;
        self.write([fill(vectors), fill(index), fill(payloads)], [0; 3]).await?;
        self.unfinished.finish_uploads(self.files.each_ref().map(|file| file.bytes)).await?;
        Ok(sections)
    }

    async fn write(&mut self, pieces: [Vec<u8>; 3], raw_bytes: [u64; 3]) -> Result<()> {
        let pieces = pieces.map(Bytes::from);
        let hashes = self.files.each_mut().map(|file| std::mem::take(&mut file.hash));
        let hashed = pieces.clone();
        let hashes = unblock(move || {
            let mut hashes = hashes;
            hashes.iter_mut().zip(&hashed).for_each(|(hash, piece)| hash.update(piece));
            Ok(hashes)
        })
        .await?;
        for ((file, hash), raw_bytes) in self.files.iter_mut().zip(hashes).zip(raw_bytes) {
            file.hash = hash;
            file.raw_bytes += raw_bytes;
        }
        for ((file, upload), piece) in self.files.iter_mut().zip(&mut self.unfinished.uploads).zip(pieces) {
            if !piece.is_empty() {
                file.bytes += piece.len() as u64;
                upload.write(piece).await?;
            }
        }
        Ok(())
    }

    fn metadata(
        &mut self,
        identity: Identity,
        database: &DatabaseInfo,
        sections: Vec<SectionInfo>,
    ) -> SnapshotMetadata {
        let files = DataFile::ALL.into_iter().zip(self.files.each_mut()).map(|(file, state)| {
            let sha256 = hex(&std::mem::take(&mut state.hash).finalize());
            (file.name().to_owned(), FileInfo { bytes: state.bytes, sha256, raw_bytes: state.raw_bytes })
        });
        SnapshotMetadata {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            id: identity.id,
            name: identity.name,
            created_at: identity.created_at,
            snapshot_type: SnapshotType::Full,
            vector_count: self.records,
            changes: None,
            base_checksum: None,
            dimensions: database.dimensions,
            distance_metric: database.distance_metric.clone(),
            checksum: self.sum,
            labels: identity.labels,
            metadata: identity.metadata,
            source: identity.source,
            compression_level: identity.compression_level,
            files: files.collect(),
            blocks: self.entries.len() as u64,
            sections,
            writer: concat!("ruvector-snapshot ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Objects under the prefix of a snapshot that is not committed. Dropped, it has them removed in the background.
struct Unfinished {
    manager: SnapshotManager,
    /// What an increment will stand on.
    base_ids: Vec<SnapshotId>,
    /// `None` once there is nothing left to remove, or nothing that may be.
    id: Option<SnapshotId>,
    /// Of the data files, in order, as far as they are not finished.
    uploads: Vec<Box<dyn Upload>>,
    /// The uploads that are being finished.
    finishing: JoinSet<Result<()>>,
}

impl Unfinished {
    /// Checks the sizes, writes checksum.sha256, and commits with metadata.json.
    async fn commit(mut self, metadata: SnapshotMetadata) -> Result<Snapshot> {
        let id = self.id.clone();
        let answer = match self.try_commit(&metadata).await {
            Ok(snapshot) => self.looks(&metadata.id).after_commit().await.map(|()| snapshot),
            failed => failed,
        };
        match answer {
            // The answer to the commit was lost, and so is the one to the question: the data stays, it may be a snapshot.
            Err(Doubt::Unknown(error)) => {
                self.id = None;
                Err(error)
            }
            Err(Doubt::Failed(error)) => {
                self.id = id;
                self.discard().await;
                Err(error)
            }
            Ok(snapshot) => {
                self.id = None;
                Ok(snapshot)
            }
        }
    }

    async fn try_commit(&mut self, metadata: &SnapshotMetadata) -> Result<Snapshot, Doubt> {
        let id = &metadata.id;
        let sizes = DataFile::ALL.map(|file| check_size(self.manager.store.as_ref(), metadata, file));
        futures::future::try_join_all(sizes).await?;
        let json = Bytes::from(metadata.encode()?);
        // From here on until the time is over no sweep begins: checksum.sha256 is younger than this.
        let watch = Stopwatch::start(&self.manager.clock);
        let checksum = catalog::checksum_sha256(&json, metadata)?;
        let (checksum, checksum_key) = (Bytes::from(checksum), layout::key(id, layout::CHECKSUM_SHA256));
        if let Err(error) = self.manager.store.create(&checksum_key, checksum.clone()).await {
            if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::AlreadyExists) {
                return Err(error.into());
            }
            settle(self.manager.store.as_ref(), &checksum_key, &checksum, error)
                .await
                .map_err(Doubt::before_the_commit)?;
        }
        let snapshot = Snapshot::new(metadata, json.len() as u64)?;
        let key = layout::key(id, layout::METADATA_JSON);
        self.looks(id).before_commit().await?;
        if watch.elapsed() >= delete::STEPS_LAST {
            let what =
                format!("the upload of {id} stood still for so long that it may be swept as left over; try again");
            return Err(SnapshotError::new(ErrorKind::Unavailable, what).into());
        }
        // From here on it may be a snapshot, and nothing of it is removed unless it is known not to be one.
        self.id = None;
        match self.manager.store.create(&key, json.clone()).await {
            Ok(()) => Ok(snapshot),
            Err(error) => settle(self.manager.store.as_ref(), &key, &json, error).await.map(|()| snapshot),
        }
    }

    fn looks<'a>(&'a self, id: &'a SnapshotId) -> Looks<'a> {
        Looks { manager: &self.manager, id, base_ids: &self.base_ids }
    }

    /// Finishes the uploads, at the same time. Carried through even where nobody waits for it any more: what was begun to be
    /// stored and then dropped could appear after it was deleted.
    async fn finish_uploads(&mut self, sizes_bytes: [u64; 3]) -> Result<()> {
        let Some(id) = self.id.clone() else { return Ok(()) };
        for ((upload, file), bytes) in self.uploads.drain(..).zip(DataFile::ALL).zip(sizes_bytes) {
            let finish = finish(self.manager.store.clone(), upload, layout::key(&id, file.name()), bytes);
            self.finishing.spawn(self.manager.tasks.track_future(finish.in_current_span()));
        }
        let mut outcome = Ok(());
        // In the order in which they end, so that of several errors the first is told.
        while let Some(finished) = self.finishing.join_next().await {
            outcome = outcome.and(finished.unwrap_or_else(|error| Err(failed_task(error))));
        }
        outcome
    }

    /// Aborts what is under way and removes what is stored. What cannot be removed is no snapshot, and stays.
    async fn discard(&mut self) {
        while let Some(_either_way) = self.finishing.join_next().await {}
        for upload in self.uploads.drain(..) {
            let aborted = upload.abort().await;
            if let Err(error) = aborted {
                tracing::debug!(%error, "an upload could not be aborted");
            }
        }
        if let Some(id) = self.id.take() {
            // The mark of the upload last: until then nothing it stands on goes.
            let marks = if self.base_ids.is_empty() { None } else { Some(layout::UPLOAD_JSON) };
            for file in layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON).chain(marks) {
                let deleted = self.manager.store.delete(&layout::key(&id, file)).await;
                if let Err(error) = deleted {
                    tracing::debug!(%error, "a file of a snapshot that was given up could not be deleted");
                }
            }
        }
    }
}

/// Finishes one upload. An answer that was lost is settled by the size of what stands there: nobody else writes to the key.
async fn finish(store: Arc<dyn SnapshotStore>, upload: Box<dyn Upload>, key: String, bytes: u64) -> Result<()> {
    match upload.finish().await {
        Ok(_) => Ok(()),
        // An upload that is gone is one that was completed, or swept.
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound) => {
            match store.head(&key).await {
                Ok(object) if object.size_bytes == bytes => Ok(()),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let mut left = Self {
            manager: self.manager.clone(),
            base_ids: std::mem::take(&mut self.base_ids),
            // Only once the task runs: a runtime that is shutting down drops it at once, which must not come here again.
            id: None,
            uploads: std::mem::take(&mut self.uploads),
            finishing: std::mem::take(&mut self.finishing),
        };
        // Outside of a runtime nothing can be sent any more, and the uploads' own drop is all there is.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let discard = async move {
                left.id = Some(id);
                left.discard().await;
            };
            drop(self.manager.tasks.spawn_on(discard, &runtime));
        }
    }
}

/// A file has the size that was sent.
async fn check_size(store: &dyn SnapshotStore, metadata: &SnapshotMetadata, file: DataFile) -> Result<()> {
    let key = layout::key(&metadata.id, file.name());
    let found = match store.head(&key).await {
        // Not as `NotFound`: it was not asked for, and to create is worth another try.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let what = "the store said that it holds this file, and does not; try again";
            return Err(SnapshotError::new(ErrorKind::Unavailable, what).at(key).because(error));
        }
        answer => answer?.size_bytes,
    };
    let expected = metadata.file(file)?.bytes;
    if found == expected {
        return Ok(());
    }
    let what = format!("the store holds {found} bytes of the {expected} that were sent; try again");
    Err(SnapshotError::new(ErrorKind::Unavailable, what).at(key))
}

/// Reads a file back, a few ranges ahead, and compares its SHA-256 with that of what was sent.
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
        hash = unblock(move || {
            hash.update(&piece);
            Ok(hash)
        })
        .await?;
    }
    let found = hex(&hash.finalize());
    if found == info.sha256 {
        return Ok(());
    }
    let what = format!(
        "what the store gave back is not what was sent (SHA-256 {found}, and {} was sent), so no snapshot was made; try \
         again, and if it stays so, do not trust this store",
        info.sha256
    );
    Err(SnapshotError::new(ErrorKind::Damaged, what).at(key.clone()))
}

/// Ids are never used twice, so this only meets a clock or a randomness that repeats itself. Uploads would replace what is
/// there, and giving up would remove it.
async fn check_unused(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(SnapshotError::new(
            ErrorKind::AlreadyExists,
            format!(
                "a snapshot {id} exists already, and was left as it is; the clock gave one time and random number twice"
            ),
        )),
    }
}
