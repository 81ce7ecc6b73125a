//! Whether a snapshot exists, and the second check of one that seems to be missing or corrupt (reading rules R1 to R4 of
//! `docs/CONCURRENCY.md`).
//!
//! Readers take no steps, so a snapshot can be deleted while it is read. What a reader misses then is not damage. All
//! readers find out the difference here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use super::keys::is_of_snapshot;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::store::{ObjectInfo, SnapshotStore};

/// The objects under the prefix of one snapshot, by name: its files, markers, ledger entries and annotations.
pub(crate) type ObjectsByName = BTreeMap<String, ObjectInfo>;

/// Returns whether the snapshot is committed.
pub(crate) async fn exists(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<bool> {
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Lists the objects under the prefix of one snapshot.
pub(crate) async fn objects_of(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<ObjectsByName> {
    let objects = store.list(&layout::prefix(id)).try_filter_map(|object| async {
        let file = layout::parse_key(&object.key).map(|(_, file)| file.to_owned());
        Ok(file.filter(|file| is_of_snapshot(file)).map(|file| (file, object)))
    });
    objects.try_collect().await
}

/// Returns whether the objects include a deletion marker.
pub(crate) fn is_being_deleted(objects: &ObjectsByName) -> bool {
    objects.keys().any(|file| layout::is_deletion_marker(file))
}

/// Returns whether there is nothing but ledger entries and annotations, which a deletion can leave: no snapshot and no upload.
pub(crate) fn is_empty(objects: &ObjectsByName) -> bool {
    objects.keys().all(|file| layout::is_remark(file))
}

/// Returns whether objects of a snapshot that has lost its `metadata.json` are left. Markers are deleted last, so of one
/// that is being deleted there is a marker.
pub(crate) fn is_lost(objects: &ObjectsByName) -> bool {
    !is_empty(objects) && !objects.contains_key(layout::METADATA_JSON) && !is_being_deleted(objects)
}

/// Returns whether objects without `metadata.json` are certainly those of a snapshot that has lost it, and not those of an upload: a
/// pin, a ledger entry or an annotation is only added to a snapshot that exists, and this one was added after the data. An older
/// one can be left of a snapshot that was deleted and is copied again. Stores have coarse times, so an equal one counts as later.
pub(crate) fn was_snapshot(objects: &ObjectsByName) -> bool {
    let is_remark = |file: &str| layout::is_remark(file) || file == layout::PINNED_JSON;
    let is_data = |file: &str| layout::FILES.contains(&file);
    let newest = |is_wanted: &dyn Fn(&str) -> bool| {
        objects.iter().filter(|(file, _)| is_wanted(file)).map(|(_, object)| object.modified_at).max()
    };
    is_lost(objects) && newest(&is_data).is_some_and(|data| newest(&is_remark) >= Some(data))
}

/// Returns whether objects without `metadata.json` may be those of a snapshot that has lost it: all other files are there, and
/// all are older than this time. An upload commits soon after its last other file is there.
pub(crate) fn may_be_lost(objects: &ObjectsByName, long_ago: DateTime<Utc>) -> bool {
    let mut others = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON);
    let is_old = |file| objects.get(file).is_some_and(|object: &ObjectInfo| object.modified_at < long_ago);
    is_lost(objects) && others.all(is_old)
}

/// Lists the objects of a snapshot that seems to have lost its `metadata.json` (reading rule R4).
///
/// A listing is not atomic: it can contain data that is deleted while it runs and miss the marker that is deleted after
/// the data. The next listing contains neither (invariant I3).
pub(crate) async fn list_again(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<ObjectsByName> {
    let objects = objects_of(store, id).await?;
    if is_lost(&objects) { objects_of(store, id).await } else { Ok(objects) }
}

/// Returns the error to report for one that was found while the snapshot `id` was read, in it or in an ancestor.
///
/// If the snapshot is gone by now, it was deleted meanwhile or is lost (R1). That also holds for a missing ancestor: a
/// deletion deletes dependents first (D4), so an ancestor that is missing while the snapshot exists is lost (R2). A
/// deletion marker beside a snapshot that exists proves nothing: it can be left for days (R3).
pub(crate) async fn judge(store: &dyn SnapshotStore, id: &SnapshotId, found: SnapshotError) -> SnapshotError {
    if found.kind() != ErrorKind::Corrupt {
        return found;
    }
    match exists(store, id).await {
        Ok(true) => found,
        Ok(false) => gone(store, id).await,
        // It stays unknown whether it is damage.
        Err(error) => error,
    }
}

/// Returns the error for a snapshot whose `metadata.json` existed and is gone: `NotFound` if it was deleted meanwhile,
/// and `Corrupt` if the file is lost. A deletion leaves data only together with its marker.
pub(crate) async fn gone(store: &dyn SnapshotStore, id: &SnapshotId) -> SnapshotError {
    match list_again(store, id).await {
        Ok(objects) if is_lost(&objects) => lost_metadata_json(id),
        Ok(objects) if objects.contains_key(layout::METADATA_JSON) => {
            let message = "the store said that the object does not exist, and then that it does; try again";
            SnapshotError::new(ErrorKind::Unavailable, message).with_key(layout::key(id, layout::METADATA_JSON))
        }
        Ok(_) => {
            let message = format!("snapshot {id} was deleted meanwhile; `list` shows all snapshots");
            SnapshotError::new(ErrorKind::NotFound, message).with_snapshot(id)
        }
        Err(error) => error,
    }
}

/// Returns the error for a snapshot without `metadata.json` that may never have existed. It says so if files
/// are left that no deletion has left.
pub(crate) async fn absent(store: &dyn SnapshotStore, id: &SnapshotId) -> SnapshotError {
    match list_again(store, id).await {
        Ok(objects) if was_snapshot(&objects) => lost_metadata_json(id),
        Ok(objects) if is_lost(&objects) => {
            let message = format!(
                "snapshot {id} does not exist: files of it are there, but no metadata.json; it is an upload that has not \
                 ended, or its metadata.json is lost"
            );
            SnapshotError::new(ErrorKind::NotFound, message).with_snapshot(id)
        }
        Ok(_) => no_snapshot(id),
        Err(error) => error,
    }
}

pub(crate) fn no_snapshot(id: &SnapshotId) -> SnapshotError {
    let message = format!("snapshot {id} does not exist or was deleted meanwhile; `list` shows all snapshots");
    SnapshotError::new(ErrorKind::NotFound, message).with_snapshot(id)
}

pub(crate) fn lost_metadata_json(id: &SnapshotId) -> SnapshotError {
    let error = corrupt(
        "the file is missing, so the snapshot cannot be read; put the object back from a copy of the store or from an older \
         version of it",
    );
    error.with_key(layout::key(id, layout::METADATA_JSON))
}
