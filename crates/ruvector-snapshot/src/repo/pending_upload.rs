//! The objects of a snapshot that is not committed yet: the uploads in progress, the commit, and the removal of
//! everything if it fails.

use std::sync::Arc;

use bytes::Bytes;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument as _;

use super::commit_guard::{CommitGuard, CommitOutcome, Origin, resolve_lost_answer};
use super::context::{Context, failed_task};
use super::markers::STEP_TIME_LIMIT;
use super::presence::exists;
use crate::clock::Stopwatch;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::StoredCounter;
use crate::snapshot::Snapshot;
use crate::store::{SnapshotStore, Upload};

/// Objects under the prefix of a snapshot that is not committed. If it is dropped, they are removed in the background.
pub(crate) struct PendingUpload {
    context: Context,
    /// All ancestors of an increment.
    base_ids: Vec<SnapshotId>,
    /// `None` if there is nothing left to remove, or nothing that may be removed.
    id: Option<SnapshotId>,
    /// The uploads of the data files, in order, until they are finished.
    uploads: Vec<Box<dyn Upload>>,
    /// The uploads that are being finished.
    finishing: JoinSet<(DataFile, Result<()>)>,
    /// The names of the objects that may be stored by now.
    stored: Vec<&'static str>,
    counter: StoredCounter,
}

impl PendingUpload {
    /// Announces the bases (steps C1 and C2) and starts the uploads of the data files (step C3).
    pub(crate) async fn begin(
        context: &Context,
        id: &SnapshotId,
        base_ids: Vec<SnapshotId>,
        size_bounds_bytes: Option<[u64; 3]>,
        counter: StoredCounter,
    ) -> Result<Self> {
        check_unused(context.store.as_ref(), id).await?;
        let mut pending = Self {
            context: context.clone(),
            base_ids,
            id: Some(id.clone()),
            uploads: Vec::new(),
            finishing: JoinSet::new(),
            stored: Vec::new(),
            counter,
        };
        match pending.start_uploads(id, size_bounds_bytes).await {
            Ok(()) => Ok(pending),
            Err(error) => Err(error.leaving(&pending.discard().await)),
        }
    }

    async fn start_uploads(&mut self, id: &SnapshotId, size_bounds_bytes: Option<[u64; 3]>) -> Result<()> {
        self.stored.extend(self.marker());
        self.guard(id).announce_bases().await?;
        for (at, file) in DataFile::ALL.into_iter().enumerate() {
            let bound_bytes = size_bounds_bytes.and_then(|bounds| bounds.get(at).copied());
            let mut upload = self.context.store.upload(&layout::key(id, file.name()), bound_bytes).await?;
            upload.count_sent(self.counter.of_upload());
            self.uploads.push(upload);
        }
        Ok(())
    }

    /// Appends one piece to each data file.
    pub(crate) async fn write(&mut self, pieces: [Bytes; 3]) -> Result<()> {
        for (upload, piece) in self.uploads.iter_mut().zip(pieces) {
            if !piece.is_empty() {
                upload.write(piece).await?;
            }
        }
        Ok(())
    }

    /// Finishes the uploads at the same time. From the first request that can publish one on, they are finished even if
    /// the caller is cancelled: an upload whose finish is dropped could appear after it was deleted.
    pub(crate) async fn finish_uploads(&mut self, sizes_bytes: [u64; 3]) -> Result<()> {
        let Some(id) = self.id.clone() else { return Ok(()) };
        futures::future::try_join_all(self.uploads.iter_mut().map(|upload| upload.send_rest())).await?;
        for ((upload, file), bytes) in self.uploads.drain(..).zip(DataFile::ALL).zip(sizes_bytes) {
            let finish = finish(self.context.store.clone(), upload, layout::key(&id, file.name()), bytes);
            self.stored.push(file.name());
            let finish = async move { (file, finish.await) };
            self.finishing.spawn(self.context.track(finish.in_current_span()));
        }
        let mut outcome = Ok(());
        // In the order in which they end, so that the first error is returned.
        while let Some(finished) = self.finishing.join_next().await {
            outcome = outcome.and(self.finished(finished));
        }
        outcome
    }

    /// Takes the outcome of a finish.
    fn finished(&mut self, finished: Result<(DataFile, Result<()>), JoinError>) -> Result<()> {
        let (file, outcome) = finished.map_err(failed_task)?;
        outcome.inspect_err(|error| self.not_stored(file.name(), error))
    }

    /// Records that an object was not stored, if the error leaves no doubt.
    fn not_stored(&mut self, file: &str, error: &SnapshotError) {
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound) {
            self.stored.retain(|other| *other != file);
        }
    }

    /// Checks the sizes, writes `checksum.sha256`, and commits with `metadata.json` (steps C4 to C7). Runs to
    /// completion even if the caller is cancelled.
    pub(crate) async fn commit(self, metadata: SnapshotMetadata) -> Result<Snapshot> {
        let context = self.context.clone();
        context.run_to_completion(self.commit_in_task(metadata)).await
    }

    async fn commit_in_task(mut self, metadata: SnapshotMetadata) -> Result<Snapshot> {
        let id = self.id.clone();
        let outcome = match self.try_commit(&metadata).await {
            Ok(snapshot) => self.guard(&metadata.id).after_commit().await.map(|()| snapshot),
            failed => failed,
        };
        match outcome {
            // The data is kept, because it may be a snapshot.
            Err(CommitOutcome::Indeterminate(error)) => {
                self.id = None;
                Err(error)
            }
            Err(CommitOutcome::NotCommitted(error)) => {
                self.id = id;
                Err(error.leaving(&self.discard().await))
            }
            Ok(snapshot) => {
                self.id = None;
                Ok(snapshot)
            }
        }
    }

    async fn try_commit(&mut self, metadata: &SnapshotMetadata) -> Result<Snapshot, CommitOutcome> {
        let (store, id) = (self.context.store.clone(), &metadata.id);
        let sizes = DataFile::ALL.map(|file| check_stored_size(store.as_ref(), metadata, file));
        futures::future::try_join_all(sizes).await?;
        let json = Bytes::from(metadata.encode()?);
        // No collection starts from here until the time is over: checksum.sha256 is younger than this.
        let watch = Stopwatch::start(&self.context.clock);
        let checksum = Bytes::from(metadata.checksum_sha256(&json)?);
        let (checksum_bytes, json_bytes) = (checksum.len() as u64, json.len() as u64);
        let checksum_key = layout::key(id, layout::CHECKSUM_SHA256);
        self.stored.push(layout::CHECKSUM_SHA256);
        if let Err(error) = store.create(&checksum_key, checksum.clone()).await {
            if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::AlreadyExists) {
                self.not_stored(layout::CHECKSUM_SHA256, &error);
                return Err(error.into());
            }
            resolve_lost_answer(store.as_ref(), &checksum_key, &checksum, error)
                .await
                .map_err(CommitOutcome::before_commit)?;
        }
        self.counter.add_bytes(checksum_bytes);
        let snapshot = Snapshot::new(metadata, json_bytes)?;
        self.guard(id).before_commit().await?;
        check_commit_time(id, &watch)?;
        // C5. From here on it may be a snapshot, and nothing of it is removed unless it is known not to be one.
        self.id = None;
        let key = layout::key(id, layout::METADATA_JSON);
        if let Err(error) = store.create(&key, json.clone()).await {
            resolve_lost_answer(store.as_ref(), &key, &json, error).await?;
        }
        self.counter.add_bytes(json_bytes);
        tracing::info!(snapshot = %snapshot.id, records = snapshot.vector_count, stored_bytes = snapshot.size_bytes, "stored a snapshot");
        Ok(snapshot)
    }

    fn guard<'a>(&'a self, id: &'a SnapshotId) -> CommitGuard<'a> {
        CommitGuard { context: &self.context, id, origin: Origin::Created, base_ids: &self.base_ids }
    }

    /// Aborts the uploads and removes what was stored. What cannot be removed is not a snapshot, and is collected
    /// later. Reports it, and returns how errors call it.
    pub(crate) async fn discard(&mut self) -> Vec<String> {
        while let Some(finished) = self.finishing.join_next().await {
            let _either_way = self.finished(finished);
        }
        for upload in self.uploads.drain(..) {
            // The stores of this crate report what is left.
            if let Err(error) = upload.abort().await {
                tracing::debug!(%error, "an upload could not be aborted");
            }
        }
        let Some(id) = self.id.clone() else { return Vec::new() };
        // The upload marker goes last: until then no base is deleted.
        let files = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON);
        for file in files.chain(self.marker()) {
            let key = layout::key(&id, file);
            match self.context.store.delete(&key).await {
                Err(error) if self.stored.contains(&file) => report_left(&self.context, &key, &error).await,
                _ => {}
            }
        }
        // Not before: if this future is dropped, `drop` starts again.
        self.id = None;
        self.context.notices.take_left(&layout::prefix(&id))
    }

    /// The upload marker of an increment.
    fn marker(&self) -> Option<&'static str> {
        (!self.base_ids.is_empty()).then_some(layout::UPLOAD_JSON)
    }
}

impl Drop for PendingUpload {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let mut left = Self {
            context: self.context.clone(),
            base_ids: std::mem::take(&mut self.base_ids),
            // Set only when the task runs: a runtime that is shutting down drops the task at once, which must not come
            // back here.
            id: None,
            uploads: std::mem::take(&mut self.uploads),
            finishing: std::mem::take(&mut self.finishing),
            stored: std::mem::take(&mut self.stored),
            counter: self.counter.clone(),
        };
        // Without a runtime nothing can be sent any more, and dropping the uploads is all that can be done.
        self.context.spawn_cleanup(async move {
            left.id = Some(id);
            left.discard().await;
        });
    }
}

/// Reports an object that cannot be deleted, unless it is not there.
async fn report_left(context: &Context, key: &str, error: &SnapshotError) {
    let store = &context.store;
    // A store that does not respond is not asked for more.
    let found = match error.kind() {
        ErrorKind::Unavailable => None,
        _ => Some(store.head(key).await),
    };
    let left = match found {
        Some(Ok(object)) => format!("{key} ({} bytes)", object.size_bytes),
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => return,
        Some(Err(_)) | None => key.to_owned(),
    };
    let why = error.message();
    let notice = format!(
        "the clean-up of a snapshot that was not created left {left} in {store}: {why}; prune removes it after the grace period"
    );
    context.notices.add_left(key, &left, &notice);
}

/// The last check of step C4: whether a collection that has started since could have seen an old `checksum.sha256`.
pub(super) fn check_commit_time(id: &SnapshotId, watch: &Stopwatch) -> Result<()> {
    if watch.elapsed() < STEP_TIME_LIMIT {
        return Ok(());
    }
    let message =
        format!("the upload of {id} stalled for so long that it may have been collected as abandoned; try again");
    Err(SnapshotError::new(ErrorKind::Unavailable, message))
}

/// Finishes one upload. A lost answer is resolved by the size of the object: no other process writes to the key.
pub(super) async fn finish(
    store: Arc<dyn SnapshotStore>,
    upload: Box<dyn Upload>,
    key: String,
    bytes: u64,
) -> Result<()> {
    match upload.finish().await {
        Ok(_) => Ok(()),
        // An upload that does not exist was completed, or collected.
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound) => {
            match store.head(&key).await {
                Ok(object) if object.size_bytes == bytes => Ok(()),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Checks that the store holds as many bytes as were sent.
pub(super) async fn check_stored_size(
    store: &dyn SnapshotStore,
    metadata: &SnapshotMetadata,
    file: DataFile,
) -> Result<()> {
    let key = layout::key(&metadata.id, file.name());
    let found = match store.head(&key).await {
        // Not as `NotFound`: the caller did not ask for it, and another try may help.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = "the store confirmed this upload, but the object does not exist; try again";
            return Err(SnapshotError::new(ErrorKind::Unavailable, message).with_key(key).with_source(error));
        }
        answer => answer?.size_bytes,
    };
    let expected = metadata.file(file)?.bytes;
    if found == expected {
        return Ok(());
    }
    let message = format!("the store holds {found} of the {expected} bytes that were sent; try again");
    Err(SnapshotError::new(ErrorKind::Unavailable, message).with_key(key))
}

/// Ids are never used twice, so this fails only if the clock or the randomness repeats itself. Uploads would replace
/// the existing snapshot, and giving up would delete it.
async fn check_unused(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
    if !exists(store, id).await? {
        return Ok(());
    }
    let message = format!(
        "snapshot {id} already exists and was not changed; the clock returned the same time and random number twice"
    );
    Err(SnapshotError::new(ErrorKind::AlreadyExists, message))
}
