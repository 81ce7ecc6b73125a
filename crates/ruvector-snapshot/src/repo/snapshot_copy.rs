//! The copy of one snapshot into another store, byte by byte: the transfer of its files and the commit (steps T1 to T5
//! of `docs/CONCURRENCY.md`). Which snapshots are copied is decided in `ops::copy`.
//!
//! What was stored stays if the copy fails or is killed: the next attempt continues with it, after it has read it and
//! compared its SHA-256, and otherwise it is collected like an abandoned upload.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use ruvector_snapshot_format::checksum::hex;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::commit_guard::{CommitGuard, CommitOutcome, Origin, resolve_lost_answer};
use super::context::{Context, run_blocking};
use super::found_corrupt::recorded_bytes;
use super::inventory::read_metadata;
use super::pending_upload::{check_commit_time, check_stored_size, finish};
use super::presence::{ObjectsByName, exists, is_being_deleted, judge, objects_of};
use super::writer::read_back;
use crate::clock::Stopwatch;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::progress::StoredCounter;
use crate::store::Upload;

/// Bytes that are read from the source with one request: as many as a permit of the store's budget covers.
const PIECE_BYTES: u64 = 8 << 20;

/// Pieces of one file that are read at the same time.
const PIECES_AHEAD: usize = 2;

/// What became of the copy of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copied {
    Committed,
    /// The target has the same snapshot already: another copy was faster.
    Existing,
}

/// Two stores, and what all copies between them share.
#[derive(Clone)]
pub(crate) struct Transfer {
    pub(crate) from: Context,
    pub(crate) to: Context,
    /// A permit for each piece in memory.
    pieces: Arc<Semaphore>,
    counter: StoredCounter,
}

impl Transfer {
    /// `counter` counts the bytes that the target has received, or has already.
    pub(crate) fn new(from: Context, to: Context, counter: StoredCounter) -> Self {
        let pieces = Arc::new(Semaphore::new(from.config.max_concurrent_io));
        Self { from, to, pieces, counter }
    }

    /// Copies one snapshot. Its ancestors, the newest first, must be in the target.
    pub(crate) async fn copy(&self, id: &SnapshotId, ancestors: &[SnapshotId]) -> Result<Copied> {
        let (metadata, json) = recorded_bytes(&self.from, read_metadata(self.from.store.as_ref(), id)).await?;
        if metadata.base_id()?.as_ref() != ancestors.first() {
            let message = format!("the plan of the copy does not have the base of snapshot {id}; plan it again");
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
        }
        let copy = SnapshotCopy { between: self.clone(), metadata, json, ancestors: ancestors.to_vec() };
        copy.run().await
    }
}

/// One snapshot that is being copied.
struct SnapshotCopy {
    between: Transfer,
    metadata: SnapshotMetadata,
    /// The bytes of `metadata.json`.
    json: Bytes,
    ancestors: Vec<SnapshotId>,
}

impl SnapshotCopy {
    async fn run(self) -> Result<Copied> {
        let (from, to) = (self.between.from.clone(), self.between.to.clone());
        if let State::Existing = state_in_target(&to, &self.metadata.id, &self.json).await? {
            return Ok(Copied::Existing);
        }
        if let Err(error) = self.transfer(&from, &to).await {
            // Another copy of it may have ended meanwhile, and has removed its upload marker.
            return match state_in_target(&to, &self.metadata.id, &self.json).await {
                Ok(State::Existing) => Ok(Copied::Existing),
                _ => Err(error),
            };
        }
        let checksum = self.checksum_upload(&to).await?;
        to.run_to_completion(self.commit(checksum)).await
    }

    /// Stores everything but `checksum.sha256` and `metadata.json`.
    async fn transfer(&self, from: &Context, to: &Context) -> Result<()> {
        recorded_bytes(from, self.check_checksum_sha256(from)).await?;
        self.announce(to).await?;
        // What is corrupt in the target is written again, so corruption is that of the source.
        let files = DataFile::ALL.map(|file| self.copy_file(file));
        recorded_bytes(from, futures::future::try_join_all(files)).await?;
        if to.config.verify_after_write { self.read_back(to).await } else { Ok(()) }
    }

    fn id(&self) -> &SnapshotId {
        &self.metadata.id
    }

    /// Checks that the source has the `checksum.sha256` that the copy will have.
    async fn check_checksum_sha256(&self, from: &Context) -> Result<()> {
        let key = layout::key(self.id(), layout::CHECKSUM_SHA256);
        let expected = self.metadata.checksum_sha256(&self.json)?;
        let problem = match from.store.get(&key, expected.len() as u64).await {
            Ok(found) if found == expected.as_bytes() => return Ok(()),
            Ok(_) => corrupt("it does not have the checksums of the other files"),
            Err(error) if error.kind() == ErrorKind::NotFound => corrupt("the file is missing").with_source(error),
            Err(error) => error,
        };
        Err(judge(from.store.as_ref(), self.id(), problem.with_key(key)).await)
    }

    /// Steps C1 and C2. If the ancestors are not there, nothing of a first attempt is left.
    async fn announce(&self, to: &Context) -> Result<()> {
        let before = objects_of(to.store.as_ref(), self.id()).await?;
        let announced = self.guard().announce_bases().await;
        if announced.is_err() && before.is_empty() && !self.ancestors.is_empty() {
            let key = layout::key(self.id(), layout::UPLOAD_JSON);
            if let Err(error) = to.store.delete(&key).await {
                tracing::debug!(%error, "an upload marker could not be removed; garbage collection removes it later");
            }
        }
        announced
    }

    /// Copies one file, unless an earlier attempt has stored it, which is read for this. It appears in the target only if its bytes are right.
    async fn copy_file(&self, file: DataFile) -> Result<()> {
        let Transfer { from, to, counter, .. } = &self.between;
        let (key, info) = (layout::key(self.id(), file.name()), self.metadata.file(file)?);
        match to.store.head(&key).await {
            Ok(object) if object.size_bytes == info.bytes && self.is_right(to, file).await? => {
                counter.add_bytes(info.bytes);
                return Ok(());
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let mut upload = AbortedOnDrop::begin(to, &key, info.bytes, counter).await?;
        let found = self.send(&key, info.bytes, &mut upload).await?;
        if found != info.sha256 {
            upload.abort().await;
            let message = format!("the file in {} has the SHA-256 {found} instead of {}", from.store, info.sha256);
            return Err(judge(from.store.as_ref(), self.id(), corrupt(message).with_key(key)).await);
        }
        upload.finish().await
    }

    /// Returns whether the file of the target has the right SHA-256. Something else may have stored it.
    async fn is_right(&self, to: &Context, file: DataFile) -> Result<bool> {
        match read_back(to.store.as_ref(), &self.metadata, file, to.config.max_concurrent_io).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a file of the source to the upload, and returns its SHA-256.
    async fn send(&self, key: &str, bytes: u64, upload: &mut AbortedOnDrop) -> Result<String> {
        let ranges = (0..bytes).step_by(PIECE_BYTES as usize).map(|start| start..bytes.min(start + PIECE_BYTES));
        let mut pieces = stream::iter(ranges.map(|range| self.piece(key, range))).buffered(PIECES_AHEAD);
        let mut hash = Sha256::new();
        while let Some((piece, _permit)) = pieces.try_next().await? {
            let hashed = piece.clone();
            hash = run_blocking(move || {
                hash.update(&hashed);
                Ok(hash)
            })
            .await?;
            upload.write(piece).await?;
        }
        Ok(hex(&hash.finalize()))
    }

    /// Reads a piece of a file. The permit is held until the target has it.
    async fn piece(&self, key: &str, range: Range<u64>) -> Result<(Bytes, OwnedSemaphorePermit)> {
        let Transfer { from, pieces, .. } = &self.between;
        let permit = pieces.clone().acquire_owned().await.map_err(|error| {
            SnapshotError::new(ErrorKind::Internal, "a semaphore of this program was closed").with_source(error)
        })?;
        match from.store.get_range(key, range).await {
            Ok(piece) => Ok((piece, permit)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let missing = corrupt("the file is missing").with_key(key).with_source(error);
                Err(judge(from.store.as_ref(), self.id(), missing).await)
            }
            Err(error) => Err(judge(from.store.as_ref(), self.id(), error).await),
        }
    }

    /// Compares the files in the target with their SHA-256. A file that is wrong is removed, or else the next attempt
    /// would continue with it.
    async fn read_back(&self, to: &Context) -> Result<()> {
        for file in DataFile::ALL {
            let compared = read_back(to.store.as_ref(), &self.metadata, file, to.config.max_concurrent_io).await;
            if compared.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
                to.store.delete(&layout::key(self.id(), file.name())).await?;
            }
            compared?;
        }
        Ok(())
    }

    /// Prepares the upload of `checksum.sha256`, of which only the finish is left. The rate limit can make that wait for other
    /// copies, and the commit waits for nothing.
    ///
    /// Not with a create: one that an earlier attempt has left is old, and a collection relies on its age (I7).
    async fn checksum_upload(&self, to: &Context) -> Result<AbortedOnDrop> {
        let checksum = Bytes::from(self.metadata.checksum_sha256(&self.json)?);
        let (key, bytes) = (layout::key(self.id(), layout::CHECKSUM_SHA256), checksum.len() as u64);
        let mut upload = AbortedOnDrop::begin(to, &key, bytes, &self.between.counter).await?;
        upload.write(checksum).await?;
        upload.send_rest().await?;
        Ok(upload)
    }

    /// Steps C4 to C7, with the `checksum.sha256` and the `metadata.json` of the source.
    async fn commit(self, checksum: AbortedOnDrop) -> Result<Copied> {
        let copied = match self.try_commit(checksum).await {
            Ok(Copied::Committed) => self.guard().after_commit().await.map(|()| Copied::Committed),
            outcome => outcome,
        };
        copied.map_err(CommitOutcome::into_error)
    }

    async fn try_commit(&self, checksum: AbortedOnDrop) -> Result<Copied, CommitOutcome> {
        let (to, id) = (&self.between.to, self.id());
        let sizes = DataFile::ALL.map(|file| check_stored_size(to.store.as_ref(), &self.metadata, file));
        futures::future::try_join_all(sizes).await?;
        let watch = Stopwatch::start(&to.clock);
        checksum.finish().await?;
        self.guard().before_commit().await?;
        check_commit_time(id, &watch)?;
        let key = layout::key(id, layout::METADATA_JSON);
        let created = to.store.create(&key, self.json.clone()).await;
        let was_there = created.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        if let Err(error) = created {
            resolve_lost_answer(to.store.as_ref(), &key, &self.json, error).await?;
        }
        self.between.counter.add_bytes(self.json.len() as u64);
        // The copy that has committed it makes the checks after the commit.
        Ok(if was_there { Copied::Existing } else { Copied::Committed })
    }

    fn guard(&self) -> CommitGuard<'_> {
        CommitGuard { context: &self.between.to, id: self.id(), origin: Origin::Copied, base_ids: &self.ancestors }
    }
}

/// What the target has of a snapshot that is to be copied.
pub(crate) enum State {
    /// The same snapshot.
    Existing,
    /// Nothing, or what an earlier attempt has left.
    Free(ObjectsByName),
}

/// Returns what the target has of a snapshot with this `metadata.json`.
///
/// # Errors
///
/// Returns `Unavailable` if there is a deletion marker, whether the snapshot exists or not, and `AlreadyExists` if there
/// is another snapshot of this id.
pub(crate) async fn state_in_target(to: &Context, id: &SnapshotId, json: &Bytes) -> Result<State> {
    let store = to.store.as_ref();
    // The marker is checked before metadata.json: a deletion removes it last (invariant I3).
    let objects = objects_of(store, id).await?;
    if is_being_deleted(&objects) {
        let message = format!(
            "snapshot {id} is being deleted in {store}, or its deletion there was interrupted; repeat the copy when a prune \
             has completed the deletion"
        );
        return Err(SnapshotError::new(ErrorKind::Unavailable, message));
    }
    if !exists(store, id).await? {
        return Ok(State::Free(objects));
    }
    let key = layout::key(id, layout::METADATA_JSON);
    let is_same = match store.get(&key, json.len() as u64).await {
        Ok(found) => found == *json,
        Err(error) if error.kind() == ErrorKind::Corrupt => false,
        Err(error) => return Err(error),
    };
    if is_same {
        return Ok(State::Existing);
    }
    let message = format!(
        "{store} has a snapshot {id} with another metadata.json, which was kept; verify both, and delete the one that is wrong"
    );
    Err(SnapshotError::new(ErrorKind::AlreadyExists, message).with_key(key))
}

/// An upload that is aborted if the copy fails or is cancelled. `wait_for_cleanup` waits for that.
struct AbortedOnDrop {
    context: Context,
    key: String,
    /// The size of the object.
    bytes: u64,
    upload: Option<Box<dyn Upload>>,
}

impl AbortedOnDrop {
    async fn begin(context: &Context, key: &str, bytes: u64, counter: &StoredCounter) -> Result<Self> {
        let mut upload = context.store.upload(key, Some(bytes)).await?;
        upload.count_sent(counter.of_upload());
        Ok(Self { context: context.clone(), key: key.to_owned(), bytes, upload: Some(upload) })
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.upload {
            Some(upload) => upload.write(bytes).await,
            None => Ok(()),
        }
    }

    async fn send_rest(&mut self) -> Result<()> {
        match &mut self.upload {
            Some(upload) => upload.send_rest().await,
            None => Ok(()),
        }
    }

    /// Finishes the upload. From the request that publishes it on, also if the caller is cancelled: an upload whose finish
    /// is dropped could appear at any time.
    async fn finish(mut self) -> Result<()> {
        self.send_rest().await?;
        let Some(upload) = self.upload.take() else { return Ok(()) };
        let finish = finish(self.context.store.clone(), upload, self.key.clone(), self.bytes);
        self.context.run_to_completion(finish).await
    }

    async fn abort(mut self) {
        let Some(upload) = self.upload.take() else { return };
        let abort = async move {
            // The stores of this crate report what is left.
            if let Err(error) = upload.abort().await {
                tracing::debug!(%error, "an upload could not be aborted");
            }
            Ok(())
        };
        let _either_way = self.context.run_to_completion(abort).await;
    }
}

impl Drop for AbortedOnDrop {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        self.context.spawn_cleanup(async move {
            if let Err(error) = upload.abort().await {
                tracing::debug!(%error, "an upload could not be aborted");
            }
        });
    }
}
