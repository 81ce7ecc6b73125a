//! The markers that keep concurrent creates, deletions and collections apart, without locks.
//!
//! `docs/CONCURRENCY.md` has the protocol: its steps (C1 to C7 of a create, D1 to D5 of a delete, G1 to G4 of a
//! collection) and the argument why no snapshot loses its base. The numbers are cited here and in the tests.
//!
//! | marker           | written by           | means                                              |
//! |------------------|----------------------|----------------------------------------------------|
//! | `upload.json`    | an incremental create | the upload depends on the snapshots that it names |
//! | `deleting-…`     | a delete, a collection | the objects beside it are about to be deleted    |
//! | `pinned.json`    | pin                  | the snapshot must not be deleted                   |
//!
//! This module writes, reads and removes markers. `deletion` and `collection` execute the steps that depend on them.
//! None of them decides which snapshots a policy deletes.

pub(crate) mod collection;
pub(crate) mod deletion;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::{layout, limits};
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::inventory;
use super::presence::{ObjectsByName, exists, is_being_deleted, objects_of};
use crate::clock::{Stopwatch, sleep};
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::store::{ObjectInfo, SnapshotStore};

/// Age below which a marker is never collected, however short the grace period is (invariant I5).
pub(crate) const MARKER_AGE_MIN: TimeDelta = TimeDelta::hours(1);

/// Time after its first marker in which a deletion may still delete a `metadata.json`, and time after its last check in
/// which a create may still commit. The rest of [`MARKER_AGE_MIN`] is for the request: it takes effect in that time, or
/// never (invariant I6).
pub(crate) const STEP_TIME_LIMIT: TimeDelta = TimeDelta::minutes(30);

/// Waits between checks for a deletion marker, in milliseconds. About three seconds in all.
const UNMARKED_WAITS_MILLIS: [u64; 5] = [100, 200, 400, 800, 1600];

/// The contents of `upload.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadMarker {
    /// All ancestors of the new snapshot.
    pub(crate) base_ids: Vec<SnapshotId>,
}

impl UploadMarker {
    pub(crate) fn encode(&self) -> Result<Bytes> {
        let json = serde_json::to_vec(self).map_err(|error| {
            SnapshotError::new(ErrorKind::Internal, "cannot write the upload marker as JSON").with_source(error)
        })?;
        Ok(json.into())
    }
}

/// Returns the snapshots that an upload in progress depends on.
///
/// If the upload has ended meanwhile, it may have become a snapshot; then its base is returned.
pub(crate) async fn upload_bases(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Vec<SnapshotId>> {
    let key = layout::key(id, layout::UPLOAD_JSON);
    let bytes = match store.get(&key, limits::METADATA_JSON_BYTES).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match inventory::read_metadata(store, id).await {
                Ok((metadata, _)) => Ok(metadata.base_id()?.into_iter().collect()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        answer => answer?,
    };
    let marker: UploadMarker = serde_json::from_slice(&bytes).map_err(|error| {
        let message = "cannot read which snapshots this upload depends on, so nothing can be deleted; delete this object if no \
                       create is running";
        SnapshotError::new(ErrorKind::Corrupt, message).with_key(key).with_source(error)
    })?;
    Ok(marker.base_ids)
}

/// Returns the objects of a snapshot after waiting until no deletion or collection marks it, for about three seconds at
/// most.
///
/// Markers are deleted last, so they are checked before the files: a file that is deleted together with its marker is
/// not seen either (invariant I3).
pub(crate) async fn await_unmarked(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<ObjectsByName> {
    for wait in UNMARKED_WAITS_MILLIS.map(Duration::from_millis) {
        if !is_being_deleted(&objects_of(store, id).await?) {
            let objects = objects_of(store, id).await?;
            if !is_being_deleted(&objects) {
                return Ok(objects);
            }
        }
        sleep(wait).await;
    }
    objects_of(store, id).await
}

/// Protects a snapshot from deletion (steps P1 and P2).
pub(crate) async fn pin(context: &Context, id: &SnapshotId) -> Result<()> {
    let store = context.store.as_ref();
    check_readable(store, id, "pin").await?;
    let pinned = serde_json::json!({ "pinned_at": context.clock.now() }).to_string();
    let key = layout::key(id, layout::PINNED_JSON);
    match store.create(&key, pinned.into()).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // A store that is full, or that this user cannot write to, may have the pin already.
        Err(error) if store.head(&key).await.is_err() => return Err(error),
        _ => {}
    }
    // A deletion writes its marker before it checks for pins, so at least one of the two sees the other.
    let objects = await_unmarked(store, id).await.map_err(|error| {
        let message =
            "the pin was written, but it could not be checked that the snapshot is not being deleted; pin it again";
        SnapshotError::new(error.kind(), message).with_key(key.as_str()).with_source(error)
    })?;
    if !objects.contains_key(layout::METADATA_JSON) {
        store.delete(&key).await?;
        let message = format!("snapshot {id} was deleted while it was being pinned");
        return Err(SnapshotError::new(ErrorKind::NotFound, message));
    }
    if is_being_deleted(&objects) {
        // The pin stays: somebody else may already rely on it.
        let message = format!(
            "snapshot {id} is being deleted, or its deletion was interrupted. The pin was written and takes effect if the \
             snapshot is kept; pin it again later to be sure"
        );
        return Err(SnapshotError::new(ErrorKind::Unavailable, message));
    }
    Ok(())
}

/// Allows a snapshot to be deleted again.
pub(crate) async fn unpin(context: &Context, id: &SnapshotId) -> Result<()> {
    let store = context.store.as_ref();
    match check_readable(store, id, "unpin").await {
        // A snapshot that is corrupt or has lost its metadata.json could not be deleted otherwise.
        Err(error) if is_of_lost(&error) && objects_of(store, id).await?.contains_key(layout::PINNED_JSON) => {}
        readable => readable?,
    }
    context.store.delete(&layout::key(id, layout::PINNED_JSON)).await
}

/// Returns the name of a snapshot, and whether it is pinned. Fails as a pin would, or an unpin, before it writes anything.
pub(crate) async fn pin_state(context: &Context, id: &SnapshotId, pins: bool) -> Result<(String, bool)> {
    let store = context.store.as_ref();
    let verb = if pins { "pin" } else { "unpin" };
    let objects = objects_of(store, id).await?;
    let is_pinned = objects.contains_key(layout::PINNED_JSON);
    let metadata = match inventory::read_metadata(store, id).await {
        Ok((metadata, _)) => metadata,
        Err(error) if !pins && is_pinned && is_of_lost(&error) => return Ok((String::new(), true)),
        Err(error) => return Err(while_pinning(error, id, verb)),
    };
    if pins && is_being_deleted(&objects) {
        let message = format!("snapshot {id} is being deleted, or its deletion was interrupted; it cannot be pinned");
        return Err(SnapshotError::new(ErrorKind::Unavailable, message));
    }
    Ok((metadata.name, is_pinned))
}

/// Returns whether a snapshot is corrupt or not there, and not only of a newer version or unreadable for this user.
fn is_of_lost(error: &SnapshotError) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
}

fn while_pinning(error: SnapshotError, id: &SnapshotId, verb: &str) -> SnapshotError {
    error.while_doing(&format!("{verb} snapshot {id}"), "its pin was not changed")
}

/// Checks that the snapshot exists and that this version can read it.
async fn check_readable(store: &dyn SnapshotStore, id: &SnapshotId, verb: &str) -> Result<()> {
    let read = inventory::read_metadata(store, id).await.map(drop);
    read.map_err(|error| while_pinning(error, id, verb))
}

/// Returns the start of the grace period of markers at the time `now`: never less than [`MARKER_AGE_MIN`] ago.
pub(crate) fn marker_grace_start(context: &Context, now: DateTime<Utc>) -> DateTime<Utc> {
    context.grace_start(now).min(now.checked_sub_signed(MARKER_AGE_MIN).unwrap_or(DateTime::<Utc>::MIN_UTC))
}

/// Returns whether an object without a snapshot is an orphan at the time `now` of the store's clock. Deletion markers,
/// and `checksum.sha256`, which a create writes just before its commit, are kept as long as markers are: both sides of
/// the protocol rely on it.
pub(crate) fn is_orphan(context: &Context, file: &str, object: &ObjectInfo, now: DateTime<Utc>) -> bool {
    // What is beside a snapshot that had this id before makes an upload no younger.
    if layout::is_remark(file) {
        return true;
    }
    let is_marker = layout::is_deletion_marker(file) || file == layout::CHECKSUM_SHA256;
    let start = if is_marker { marker_grace_start(context, now) } else { context.grace_start(now) };
    object.modified_at < start
}

/// Returns when a marker beside a committed snapshot was last needed. `upload.json` is needed until the commit: before
/// it, nothing else names the base.
pub(crate) fn marker_mtime(file: &str, marker: &ObjectInfo, commit: &ObjectInfo) -> DateTime<Utc> {
    if file == layout::UPLOAD_JSON { marker.modified_at.max(commit.modified_at) } else { marker.modified_at }
}

/// Returns the time by the store's clock: that of an object that is written for this purpose and deleted again, under
/// an id that no snapshot has.
pub(crate) async fn store_time(context: &Context) -> Result<DateTime<Utc>> {
    let marker = DeletionMarker::new(context)?;
    let id = SnapshotId::new(context.clock.now(), context.clock.random()?)?;
    let store = context.store.as_ref();
    let written = async {
        marker.write(store, &id).await?;
        store.head(&marker.key(&id)).await
    };
    let answer = written.await;
    marker.remove_all(store, &BTreeSet::from([id])).await;
    Ok(answer?.modified_at)
}

/// The marker that one deletion writes beside each of its snapshots, and the time since its first use.
struct DeletionMarker {
    file: String,
    watch: Stopwatch,
}

impl DeletionMarker {
    /// Starts the time before the first marker is written, so that no marker is older than the measured time.
    fn new(context: &Context) -> Result<Self> {
        let file = layout::deletion_marker(context.clock.random()?);
        Ok(Self { file, watch: Stopwatch::start(&context.clock) })
    }

    fn key(&self, id: &SnapshotId) -> String {
        layout::key(id, &self.file)
    }

    /// Writes the marker beside a snapshot. Where nothing can be written, the error says how to do without it.
    async fn write(&self, store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
        let key = self.key(id);
        let Err(error) = store.create(&key, Bytes::new()).await else { return Ok(()) };
        if error.kind() != ErrorKind::StorageFull {
            return Err(error);
        }
        let message = "the store is full, so the marker that announces a deletion cannot be written";
        let advice = "make room in another way, or, if nothing else is at work at this store, delete without markers \
                      (DeleteOptions::exclusive)";
        let error = SnapshotError::new(ErrorKind::StorageFull, message).with_source(error);
        Err(error.with_remedy(Remedy::Exclusive, advice).with_key(key))
    }

    /// Makes the last check before a `metadata.json` is deleted: the marker exists, and the time is not over. The time
    /// is checked last (invariant I6). Returns `false` if another deletion was faster.
    async fn check(&self, store: &dyn SnapshotStore, id: &SnapshotId) -> Result<bool> {
        match store.head(&self.key(id)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !exists(store, id).await? {
                    return Ok(false);
                }
                let message = format!(
                    "the deletion marker was removed while the deletion was running, so snapshot {id} and those after it were \
                     kept; delete them again"
                );
                return Err(SnapshotError::new(ErrorKind::Unavailable, message)
                    .with_key(self.key(id))
                    .with_source(error));
            }
            answer => answer?,
        };
        self.check_time(id).map(|()| true)
    }

    fn check_time(&self, id: &SnapshotId) -> Result<()> {
        if self.watch.elapsed() < STEP_TIME_LIMIT {
            return Ok(());
        }
        let message = format!(
            "the deletion took more than {} minutes, so its markers may have been collected; snapshot {id} and those after it \
             were kept, delete them again",
            STEP_TIME_LIMIT.num_minutes()
        );
        Err(SnapshotError::new(ErrorKind::Unavailable, message).with_key(layout::prefix(id)))
    }

    /// Removes the markers after another error, which is the one to report. A marker that remains is collected later.
    async fn remove_all(&self, store: &dyn SnapshotStore, ids: &BTreeSet<SnapshotId>) {
        for id in ids {
            if let Err(error) = store.delete(&self.key(id)).await {
                tracing::debug!(%error, "a deletion marker could not be removed; garbage collection removes it later");
            }
        }
    }

    /// Returns the keys of everything beside the snapshot except `metadata.json`, this marker and those of other
    /// deletions that may still be running, old deletion markers last.
    ///
    /// A snapshot that was deleted can be copied from another store again, but not beside a marker. If this deletion
    /// removed the marker of another one, the other one could go on and delete the copy (invariant I4).
    fn data_keys(&self, id: &SnapshotId, objects: &ObjectsByName) -> Vec<String> {
        let now = objects.get(&self.file).map(|own| own.modified_at);
        let start = now.and_then(|now| now.checked_sub_signed(MARKER_AGE_MIN));
        let is_old = |object: &ObjectInfo| start.is_some_and(|start| object.modified_at < start);
        let kept = objects.iter().filter(|(file, object)| layout::is_deletion_marker(file) && !is_old(object));
        let kept: BTreeSet<String> = kept.map(|(file, _)| layout::key(id, file)).chain([self.key(id)]).collect();
        data_keys(id, objects).into_iter().filter(|key| !kept.contains(key)).collect()
    }
}

/// Returns the keys of everything beside a snapshot except `metadata.json`, deletion markers last.
fn data_keys(id: &SnapshotId, objects: &ObjectsByName) -> Vec<String> {
    let data = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON);
    let remarks = objects.keys().map(String::as_str).filter(|file| layout::is_remark(file));
    let markers = layout::MARKERS.into_iter().filter(|file| objects.contains_key(*file));
    let deletion_markers = objects.keys().map(String::as_str).filter(|file| layout::is_deletion_marker(file));
    data.chain(remarks).chain(markers).chain(deletion_markers).map(|file| layout::key(id, file)).collect()
}
