//! Collects the objects of abandoned uploads and interrupted deletions, and markers that are no longer needed (steps G1
//! to G4 of `docs/CONCURRENCY.md`).
//!
//! `orphans` finds candidates. Each one is checked again here, under a deletion marker of the collection's own, by the
//! clock of the store.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use super::{DeletionMarker, data_keys, is_orphan, marker_mtime, upload_bases};
use crate::error::{ErrorKind, Result};
use crate::repo::context::Context;
use crate::repo::presence::{ObjectsByName, is_being_deleted, objects_of};
use crate::store::{ObjectInfo, SnapshotStore};

/// Why objects that belong to no snapshot are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrphanCause {
    /// An upload or a deletion was interrupted, as far as the age of the objects shows.
    Interrupted,
    /// It was a snapshot that lost its `metadata.json`, and the user asked to delete it. No upload owns it, whatever
    /// its age.
    LostMetadata,
}

/// Removes the objects of something that is not a snapshot. Returns `false` if it is in use after all.
///
/// `is_exclusive` says that the caller vouches that nothing else is at work at the store. Then there is no marker.
pub(crate) async fn collect(
    context: &Context,
    id: &SnapshotId,
    cause: OrphanCause,
    is_exclusive: bool,
) -> Result<bool> {
    let store = context.store.as_ref();
    if is_exclusive {
        return collect_exclusively(context, id, cause).await;
    }
    let marker = DeletionMarker::new(context)?;
    // G1, G2
    let listed = async {
        marker.write(store, id).await?;
        uncommitted(store, id).await
    };
    let objects = match listed.await {
        Ok(objects) => objects,
        Err(error) => {
            marker.remove_all(store, &BTreeSet::from([id.clone()])).await;
            return Err(error);
        }
    };
    // The age of each object is compared with the time that the store gave the marker.
    let abandoned = objects.filter(|objects| {
        objects.get(&marker.file).is_some_and(|own| {
            let mut others = objects.iter().filter(|(file, _)| **file != marker.file);
            others.all(|(file, object)| is_abandoned(context, file, object, cause, own.modified_at))
        })
    });
    let Some(objects) = abandoned else {
        store.delete(&marker.key(id)).await?;
        return Ok(false);
    };
    // G3: a create that commits from now on sees the marker, or that files are missing, and rolls back. Its
    // metadata.json is deleted, too.
    for key in marker.data_keys(id, &objects).into_iter().chain([layout::key(id, layout::METADATA_JSON)]) {
        marker.check_time(id)?;
        store.delete(&key).await?;
    }
    // G4
    store.delete(&marker.key(id)).await.map(|()| true)
}

/// Lists the objects of something that has no `metadata.json`; `None` if it has one and so is a snapshot.
///
/// A listing leaves out what is not readable as an object, such as a symbolic link. So `metadata.json` is also read by its
/// key, and it is an error if it is not known whether there is one.
async fn uncommitted(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Option<ObjectsByName>> {
    let objects = objects_of(store, id).await?;
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(objects)),
        Err(error) => Err(error),
    }
}

/// Returns whether an object is no `metadata.json`, and old enough at the time `now`.
fn is_abandoned(context: &Context, file: &str, object: &ObjectInfo, cause: OrphanCause, now: DateTime<Utc>) -> bool {
    file != layout::METADATA_JSON && (cause == OrphanCause::LostMetadata || is_orphan(context, file, object, now))
}

/// Removes the objects without a marker. Nothing else is at work, so that the clock of this machine is good enough.
async fn collect_exclusively(context: &Context, id: &SnapshotId, cause: OrphanCause) -> Result<bool> {
    let store = context.store.as_ref();
    let Some(objects) = uncommitted(store, id).await? else { return Ok(false) };
    let now = context.clock.now();
    if !objects.iter().all(|(file, object)| is_abandoned(context, file, object, cause, now)) {
        return Ok(false);
    }
    for key in data_keys(id, &objects) {
        store.delete(&key).await?;
    }
    Ok(true)
}

/// Removes a marker beside a committed snapshot, if it was last needed before `grace_start` by the clock of the store.
///
/// `upload.json` may go only if the base is known from `metadata.json` and no ancestor has a deletion marker: a
/// deletion that is running may have listed the key of `metadata.json` before the commit, and may list the key of
/// `upload.json` next.
pub(crate) async fn collect_marker(context: &Context, key: &str, grace_start: DateTime<Utc>) -> Result<bool> {
    let store = context.store.as_ref();
    let Some((id, file)) = layout::parse_key(key) else { return Ok(false) };
    let objects = objects_of(store, &id).await?;
    let (Some(object), Some(commit)) = (objects.get(file), objects.get(layout::METADATA_JSON)) else {
        return Ok(false);
    };
    if marker_mtime(file, object, commit) >= grace_start {
        return Ok(false);
    }
    if file == layout::UPLOAD_JSON {
        let base_ids = match upload_bases(store, &id).await {
            // The marker is unreadable, so its age has to suffice.
            Err(error) if error.kind() == ErrorKind::Corrupt => Vec::new(),
            answer => answer?,
        };
        for base_id in &base_ids {
            if is_being_deleted(&objects_of(store, base_id).await?) {
                return Ok(false);
            }
        }
    }
    store.delete(key).await.map(|()| true)
}
