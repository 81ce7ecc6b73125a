//! delete: takes snapshots away, without a lock, so that none that stands is ever without what it stands on. Decides
//! nothing but that.
//!
//! The order, for a set of snapshots:
//!
//! 1. a mark is put beside each of them, of a name that no other deletion uses: from here on nobody begins to stand on
//!    it;
//! 2. the store is listed: of what a snapshot outside of the set stands on by now, or an upload that has begun
//!    (upload.json), the marks are taken back, and it stays;
//! 3. metadata.json of each of the others is deleted, the newest first: it is no snapshot any more, and never becomes
//!    one again;
//! 4. the data is deleted, and the marks last.
//!
//! Why nothing loses its base: who makes an increment writes upload.json first, then looks for such marks beside its
//! bases, and does not remove upload.json before it has looked again after the commit. So of two who meet, one at
//! least sees the other: either the marks stood when the increment looked, which gives up, or upload.json stood when
//! the store was listed, and the base stays. A deletion only ever takes its own marks back, so several of them may run
//! at once, and none needs to be the only one: nothing rests on a create that refuses a key that exists. Until step 3
//! everything can be read as before, and after it all that is left to do may be done by anybody, several times.
//!
//! A crash before step 3 leaves marks beside a snapshot that is whole, and the deletion can be repeated at once; a
//! crash after it leaves objects that belong to no snapshot. Both are leftovers, which are swept once nobody has
//! touched them for the time of grace. Nobody may stand still for that long between two of these steps.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::SnapshotManager;
use super::catalog::{self, Found, Survey};
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
    pub(super) gone: BTreeSet<SnapshotId>,
    /// What stays, since something has come to stand on it, or it has been pinned.
    pub(super) kept: BTreeSet<SnapshotId>,
}

/// Deletes a set of snapshots. One that is gone already is passed over.
pub(super) async fn delete(manager: &SnapshotManager, ids: &[SnapshotId]) -> Result<Deleted> {
    let store = manager.store.as_ref();
    let mark = layout::deletion_mark(manager.clock.random()?);
    let mut marked = BTreeSet::new();
    let decided = async {
        for id in ids {
            if is_there(store, id).await? {
                // Before the answer: it may have got lost.
                marked.insert(id.clone());
                store.create(&layout::key(id, &mark), Bytes::new()).await?;
            }
        }
        decide(manager, &marked).await
    }
    .await;
    let (deleted, survey) = match decided {
        Ok(decided) => decided,
        Err(error) => {
            take_back(store, &marked, &mark).await;
            return Err(error);
        }
    };
    for id in marked.difference(&deleted.gone) {
        store.delete(&layout::key(id, &mark)).await?;
    }
    carry_out(store, &deleted.gone, &mark, &survey).await.map(|()| deleted)
}

/// Removes what belongs to no snapshot: what an upload that was never committed has left, or a deletion that was cut
/// off. It is marked and looked at again before that; whoever commits looks for marks, and for its files, after that.
/// So an upload that wakes up after all is whole or fails.
pub(super) async fn sweep(manager: &SnapshotManager, id: &SnapshotId) -> Result<bool> {
    let store = manager.store.as_ref();
    let mark = layout::deletion_mark(manager.clock.random()?);
    let marked = BTreeSet::from([id.clone()]);
    let looked = async {
        store.create(&layout::key(id, &mark), Bytes::new()).await?;
        catalog::found_under(store, id).await
    };
    let found = match looked.await {
        Ok(found) => found,
        Err(error) => {
            take_back(store, &marked, &mark).await;
            return Err(error);
        }
    };
    let grace_begins = manager.grace_begins();
    let is_touched = found.iter().any(|(file, object)| *file != mark && object.modified_at >= grace_begins);
    if is_touched || found.contains_key(layout::METADATA_JSON) {
        store.delete(&layout::key(id, &mark)).await?;
        return Ok(false);
    }
    remove(store, id, &mark, &found).await.map(|()| true)
}

/// Steps 3 and 4. What could be deleted is removed, and the first error is told.
async fn carry_out(store: &dyn SnapshotStore, gone: &BTreeSet<SnapshotId>, mark: &str, survey: &Survey) -> Result<()> {
    let mut left = gone.clone();
    let mut outcome = Ok(());
    for id in gone.iter().rev() {
        outcome = store.delete(&layout::key(id, layout::METADATA_JSON)).await;
        if outcome.is_err() {
            break;
        }
        left.remove(id);
    }
    // Of the first of these nobody knows whether it is there, and either way it can be deleted another time.
    take_back(store, &left, mark).await;
    let none = Found::new();
    for id in gone.difference(&left) {
        let removed = remove(store, id, mark, survey.found.get(id).unwrap_or(&none)).await;
        outcome = outcome.and(removed);
    }
    outcome
}

/// Removes all objects of what is no snapshot, the marks of deletions last.
async fn remove(store: &dyn SnapshotStore, id: &SnapshotId, mark: &str, found: &Found) -> Result<()> {
    let data = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON);
    let beside = layout::MARKS.into_iter().filter(|file| found.contains_key(*file));
    let others = found.keys().map(String::as_str).filter(|file| *file != mark && layout::is_deletion_mark(file));
    for file in data.chain(beside).chain(others).chain([mark]) {
        let key = layout::key(id, file);
        store.delete(&key).await.map_err(|error| {
            let what = "the snapshot is deleted, but this file of it could not be removed; prune does that later";
            SnapshotError::new(error.kind(), what).at(key).because(error)
        })?;
    }
    Ok(())
}

/// Takes marks back after an error, which is the one to tell. A mark that stays is swept later.
async fn take_back(store: &dyn SnapshotStore, ids: &BTreeSet<SnapshotId>, mark: &str) {
    for id in ids {
        if let Err(error) = store.delete(&layout::key(id, mark)).await {
            tracing::debug!(%error, "the mark of a deletion could not be taken back; prune does that later");
        }
    }
}

async fn is_there(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<bool> {
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Step 2: which of the marked snapshots go, and which stay. Those that are gone already are neither.
async fn decide(manager: &SnapshotManager, marked: &BTreeSet<SnapshotId>) -> Result<(Deleted, Survey)> {
    let survey = catalog::survey(manager).await?;
    survey.check_all_known_but(marked)?;
    let has = |id: &SnapshotId, file: &str| survey.found.get(id).is_some_and(|found| found.contains_key(file));
    let goes = |id: &SnapshotId| marked.contains(id) && !has(id, layout::PINNED_JSON);
    let mut pending: Vec<SnapshotId> = marked.iter().filter(|id| !goes(id)).cloned().collect();
    pending.extend(survey.bases.iter().filter(|(id, _)| !goes(id)).map(|(_, base_id)| base_id.clone()));
    for (id, found) in &survey.found {
        if found.contains_key(layout::UPLOAD_JSON) && !found.contains_key(layout::METADATA_JSON) {
            pending.extend(bases_of_upload(manager.store.as_ref(), id).await?);
        }
    }
    let mut needed = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if needed.insert(id.clone()) {
            pending.extend(survey.bases.get(&id).cloned());
        }
    }
    // One of the marked that stays after all stands on others, and nobody knows on which.
    let stays = |id: &str| needed.iter().any(|needed| needed.as_str() == id);
    if survey.listing.damaged.iter().any(|other| other.error.kind() == ErrorKind::Unsupported && stays(&other.id)) {
        survey.check_all_known()?;
    }
    let there = marked.iter().filter(|id| has(id, layout::METADATA_JSON)).cloned();
    let (kept, gone) = there.partition(|id| needed.contains(id));
    Ok((Deleted { gone, kept }, survey))
}

/// What an upload that is under way will stand on.
pub(super) async fn bases_of_upload(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Vec<SnapshotId>> {
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
