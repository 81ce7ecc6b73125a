//! delete: takes snapshots away, without a lock, so that none that stands is ever without what it stands on. Decides
//! nothing but that.
//!
//! The order, for a set of snapshots, those that stand on others first:
//!
//! 1. metadata.json is copied to deleted.json, by a create: of several who delete one snapshot, one goes on;
//! 2. metadata.json is deleted: from here on nobody can begin to stand on it;
//! 3. the store is listed: what came to stand on it in the meantime, be it only that its upload has begun (upload.json,
//!    written before it looks at its base), has it put back;
//! 4. the data is deleted, and deleted.json last.
//!
//! Who makes an increment writes upload.json first, and looks at the base after that. So of the two one sees the other. A
//! crash leaves deleted.json: readers of a chain take it for metadata.json, and [`take_up`] finishes what it marks.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::catalog::{self, Survey};
use super::{SnapshotManager, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::{layout, limits};
use crate::store::SnapshotStore;

/// What upload.json says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadMark {
    /// The snapshots that the new one will stand on, directly or not.
    pub(super) base_ids: Vec<SnapshotId>,
}

/// What became of a deletion.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// What is gone.
    pub(super) gone: Vec<SnapshotId>,
    /// What was put back, since something came to stand on it.
    pub(super) put_back: Vec<SnapshotId>,
}

/// Deletes a set of snapshots, those that stand on others first. One that is gone already, or that somebody else is
/// deleting, is passed over.
pub(super) async fn delete(manager: &SnapshotManager, ids: &[SnapshotId]) -> Result<Deleted> {
    let store = manager.store.as_ref();
    let mut marked = BTreeSet::new();
    for id in ids {
        match mark(store, id).await {
            Ok(()) => drop(marked.insert(id.clone())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                // What was begun is finished one way or the other; the first error is told.
                let _either_way = finish(manager, marked).await;
                return Err(error);
            }
        }
    }
    finish(manager, marked).await
}

/// Goes on with deletions that were marked and never finished.
pub(super) async fn take_up(manager: &SnapshotManager, ids: impl IntoIterator<Item = SnapshotId>) -> Result<Deleted> {
    finish(manager, ids.into_iter().collect()).await
}

/// Removes what an upload that was never committed has left. It is marked first and looked at again, and whoever commits
/// looks for the mark afterwards: so an upload that wakes up after all is either whole or fails.
pub(super) async fn sweep_upload(manager: &SnapshotManager, id: &SnapshotId) -> Result<bool> {
    let store = manager.store.as_ref();
    let mark = layout::key(id, layout::DELETED_JSON);
    match store.create(&mark, Bytes::new()).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        answer => answer?,
    }
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        answer => {
            store.delete(&mark).await?;
            return answer.map(|_| false);
        }
    }
    remove(store, id).await.map(|()| true)
}

/// Steps 1 and 2.
async fn mark(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
    let key = layout::key(id, layout::METADATA_JSON);
    let json = match store.get(&key, limits::METADATA_JSON_BYTES).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_snapshot(id).because(error)),
        // Too large to be one: what stands there is no metadata.json, and nothing can stand on it.
        Err(error) if error.kind() == ErrorKind::Damaged => Bytes::new(),
        answer => answer?,
    };
    let mark = layout::key(id, layout::DELETED_JSON);
    if let Err(error) = store.create(&mark, json).await {
        return Err(match error.kind() {
            ErrorKind::AlreadyExists => {
                let what = format!(
                    "snapshot {id} is being deleted by somebody else, or a deletion of it was cut off; prune finishes that later"
                );
                SnapshotError::new(ErrorKind::Busy, what).at(mark).because(error)
            }
            _ => error,
        });
    }
    if let Err(error) = store.delete(&key).await {
        // It may be gone or not, and either way this did not work: it stays, and can be deleted another time.
        restore_mark(store, id).await?;
        return Err(error);
    }
    Ok(())
}

/// Steps 3 and 4.
async fn finish(manager: &SnapshotManager, marked: BTreeSet<SnapshotId>) -> Result<Deleted> {
    if marked.is_empty() {
        return Ok(Deleted::default());
    }
    let store = manager.store.as_ref();
    let needed = match look_again(manager).await {
        Ok(needed) => needed,
        Err(error) => {
            // Nobody knows what stands on them, so they stay.
            for id in &marked {
                restore_mark(store, id).await?;
            }
            return Err(error);
        }
    };
    let (put_back, gone): (Vec<_>, Vec<_>) = marked.into_iter().partition(|id| needed.contains(id));
    // The oldest first: whatever is back has what it stands on.
    for id in &put_back {
        restore_mark(store, id).await?;
    }
    for id in &gone {
        remove(store, id).await?;
    }
    Ok(Deleted { gone, put_back })
}

/// Removes all objects of what is no snapshot any more, the mark of the deletion last.
async fn remove(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
    let files = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON).chain(layout::MARKS);
    for key in files.map(|file| layout::key(id, file)) {
        store.delete(&key).await.map_err(|error| {
            let what = "the snapshot is deleted, but this file of it could not be removed; prune does that later";
            SnapshotError::new(error.kind(), what).at(key).because(error)
        })?;
    }
    Ok(())
}

/// What something stands on by now.
async fn look_again(manager: &SnapshotManager) -> Result<BTreeSet<SnapshotId>> {
    let survey = catalog::survey(manager).await?;
    needed(&survey, manager.store.as_ref(), manager.grace_begins()).await
}

/// Makes it a snapshot again.
async fn restore_mark(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
    let mark = layout::key(id, layout::DELETED_JSON);
    let json = store.get(&mark, limits::METADATA_JSON_BYTES).await?;
    match store.create(&layout::key(id, layout::METADATA_JSON), json).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    store.delete(&mark).await
}

/// Everything that something stands on, directly or not: a snapshot, or an upload that is under way. A chain is followed
/// through snapshots that are being deleted.
pub(super) async fn needed(
    survey: &Survey,
    store: &dyn SnapshotStore,
    grace_begins: chrono::DateTime<chrono::Utc>,
) -> Result<BTreeSet<SnapshotId>> {
    survey.check_all_known()?;
    let mut bases = survey.bases.clone();
    let mut pending: Vec<SnapshotId> = bases.values().cloned().collect();
    for (id, found) in &survey.found {
        if found.contains_key(layout::METADATA_JSON) {
            continue;
        }
        if found.contains_key(layout::DELETED_JSON) {
            let mark = store.get(&layout::key(id, layout::DELETED_JSON), limits::METADATA_JSON_BYTES).await;
            if let Some(base_id) = mark.ok().and_then(|json| catalog::base_of(&json, id)) {
                bases.insert(id.clone(), base_id);
            }
        } else if found.get(layout::UPLOAD_JSON).is_some_and(|mark| mark.modified_at >= grace_begins) {
            pending.extend(upload_mark(store, id).await?);
        }
    }
    let mut needed = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if needed.insert(id.clone()) {
            pending.extend(bases.get(&id).cloned());
        }
    }
    Ok(needed)
}

/// What an upload that is under way will stand on.
async fn upload_mark(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Vec<SnapshotId>> {
    let key = layout::key(id, layout::UPLOAD_JSON);
    match store.get(&key, limits::METADATA_JSON_BYTES).await {
        // It ended in the meantime, and may have become a snapshot.
        Err(error) if error.kind() == ErrorKind::NotFound => match catalog::read(store, id).await {
            Ok((metadata, _)) => Ok(metadata.base_id()?.into_iter().collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        },
        answer => {
            let mark: UploadMark = serde_json::from_slice(&answer?).map_err(|error| {
                let what = "it does not say what the upload stands on, so nothing can be deleted; delete this object if no create is under way";
                SnapshotError::new(ErrorKind::Damaged, what).at(key).because(error)
            })?;
            Ok(mark.base_ids)
        }
    }
}
