//! Deletes a set of snapshots without a lock (steps D1 to D5 of `docs/CONCURRENCY.md`).
//!
//! | step | action                                                                                              |
//! |------|-----------------------------------------------------------------------------------------------------|
//! | D1   | write a deletion marker beside each snapshot, with a name that no other deletion uses               |
//! | D2   | list the store: snapshots that something else now depends on, or that are pinned, are kept           |
//! | D3   | remove the markers of those that are kept                                                           |
//! | D4   | delete each `metadata.json`, newest first, each after a check of its marker and of the time          |
//! | D5   | delete the data, and the markers last                                                               |
//!
//! A caller who vouches that nothing else is at work can do without the markers: see [`delete_exclusively`].
//!
//! Until D4 everything can be read as before. After D4 anybody can finish the rest, any number of times. A deletion
//! removes only its own markers, so several can run at once.

use std::collections::BTreeSet;

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use super::{DeletionMarker, data_keys, upload_bases};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::repo::context::Context;
use crate::repo::inventory::Inventory;
use crate::repo::presence::{ObjectsByName, exists};
use crate::snapshot::UnusableSnapshot;
use crate::store::SnapshotStore;

/// The outcome of a deletion.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    pub(crate) deleted: BTreeSet<SnapshotId>,
    /// Snapshots that were kept because they have a new dependent or were pinned.
    pub(crate) kept: BTreeSet<SnapshotId>,
}

/// Deletes a set of snapshots. Those that do not exist any more are skipped.
pub(crate) async fn delete(context: &Context, ids: &[SnapshotId]) -> Result<Deleted> {
    let store = context.store.as_ref();
    let marker = DeletionMarker::new(context)?;
    let mut marked = BTreeSet::new();
    let decided = async {
        // D1
        for id in ids {
            if exists(store, id).await? {
                // Recorded before the answer, which may be lost.
                marked.insert(id.clone());
                marker.write(store, id).await?;
            }
        }
        let (deleted, inventory) = decide(context, &marked).await?;
        // D3
        for id in marked.difference(&deleted.deleted) {
            store.delete(&marker.key(id)).await?;
        }
        Ok((deleted, inventory))
    }
    .await;
    match decided {
        Ok((deleted, inventory)) => apply(store, &deleted.deleted, &marker, &inventory).await.map(|()| deleted),
        Err(error) => {
            marker.remove_all(store, &marked).await;
            Err(error)
        }
    }
}

/// Deletes a set of snapshots without markers. The caller vouches that nothing else is at work at the store.
///
/// The decision is that of step D2. Each snapshot is then deleted with everything beside it, `metadata.json` first, and the
/// newest snapshot first. So what is left after an interruption is orphans of one snapshot, and no snapshot has lost its
/// base.
pub(crate) async fn delete_exclusively(context: &Context, ids: &[SnapshotId]) -> Result<Deleted> {
    let store = context.store.as_ref();
    let mut existing = BTreeSet::new();
    for id in ids {
        if exists(store, id).await? {
            existing.insert(id.clone());
        }
    }
    let (deleted, inventory) = decide(context, &existing).await?;
    let none = ObjectsByName::new();
    for id in deleted.deleted.iter().rev() {
        let is_remark = |key: &String| layout::parse_key(key).is_some_and(|(_, file)| layout::is_remark(file));
        let keys = data_keys(id, inventory.objects.get(id).unwrap_or(&none));
        let (remarks, data): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_remark);
        // First: data with younger remarks and without metadata.json would be a snapshot that has lost it.
        for key in remarks {
            store.delete(&key).await?;
        }
        store.delete(&layout::key(id, layout::METADATA_JSON)).await?;
        tracing::info!(snapshot = %id, "deleted a snapshot");
        for key in data {
            store.delete(&key).await.map_err(|error| not_removed(key, error))?;
        }
    }
    Ok(deleted)
}

/// Step D2: decides which of the marked snapshots are deleted and which are kept. Those that do not exist any more are
/// neither.
async fn decide(context: &Context, marked: &BTreeSet<SnapshotId>) -> Result<(Deleted, Inventory)> {
    let inventory = Inventory::read(context).await?;
    inventory.check_all_known_except(marked)?;
    let is_doomed = |id: &SnapshotId| marked.contains(id) && !inventory.has(id, layout::PINNED_JSON);
    let mut roots = Vec::new();
    for id in inventory.uploads_with_marker() {
        roots.extend(upload_bases(context.store.as_ref(), id).await?);
    }
    let required = inventory.lineage.required_by(|id| !is_doomed(id), &roots);
    let unread = inventory.unread();
    let required_then = inventory.lineage.required_by(|id| !is_doomed(id), roots.iter().chain(&unread));
    // The plan knew nothing of it: that snapshot could be read then.
    if let Some(id) = marked.iter().find(|id| required_then.contains(id) && !required.contains(id)) {
        return Err(may_be_needed(id, inventory.listing.unusable));
    }
    // A marked snapshot of a newer version that is kept depends on others, and it is unknown on which.
    let is_kept = |id: &str| marked.iter().any(|marked| marked.as_str() == id && required.contains(marked));
    let is_unknown_and_kept =
        |other: &UnusableSnapshot| other.error.kind() == ErrorKind::Unsupported && is_kept(&other.id);
    if inventory.listing.unusable.iter().any(is_unknown_and_kept) {
        inventory.check_all_known()?;
    }
    let existing = marked.iter().filter(|id| inventory.has(id, layout::METADATA_JSON)).cloned();
    let (kept, deleted) = existing.partition(|id| required.contains(id));
    Ok((Deleted { deleted, kept }, inventory))
}

/// Returns the error for a snapshot that cannot be read, or that one of those that cannot may depend on.
fn may_be_needed(id: &SnapshotId, unusable: Vec<UnusableSnapshot>) -> SnapshotError {
    let mut unread = unusable.into_iter().filter(UnusableSnapshot::is_unread);
    let unread = unread.find(|unread| unread.id.as_str() >= id.as_str());
    let (other, kind) = unread.as_ref().map_or(("", ErrorKind::Internal), |unread| (&*unread.id, unread.error.kind()));
    let message = match other == id.as_str() {
        true => format!("nothing was deleted: snapshot {id} cannot be read"),
        false => format!("nothing was deleted: snapshot {other} cannot be read, and may depend on {id}"),
    };
    let error = SnapshotError::new(kind, message);
    match unread {
        Some(unread) => error.with_source(unread.error),
        None => error,
    }
}

/// Steps D4 and D5. Deletes what can be deleted, and returns the first error.
async fn apply(
    store: &dyn SnapshotStore,
    doomed: &BTreeSet<SnapshotId>,
    marker: &DeletionMarker,
    inventory: &Inventory,
) -> Result<()> {
    let (mut left, mut deleted, mut outcome) = (doomed.clone(), Vec::new(), Ok(()));
    // Newest first: ids sort by time, and a dependent is newer than its base.
    for id in doomed.iter().rev() {
        match marker.check(store, id).await {
            Ok(true) => {}
            Ok(false) => {
                left.remove(id);
                continue;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        if let Err(error) = store.delete(&layout::key(id, layout::METADATA_JSON)).await {
            if may_take_effect_later(&error) {
                left.remove(id);
            }
            outcome = Err(indeterminate(id, error));
            break;
        }
        left.remove(id);
        deleted.push(id);
    }
    marker.remove_all(store, &left).await;
    let none = ObjectsByName::new();
    for id in deleted {
        let removed = remove_data(store, id, marker, inventory.objects.get(id).unwrap_or(&none)).await;
        outcome = outcome.and(removed);
    }
    outcome
}

/// Returns whether a delete request that failed like this can still take effect.
fn may_take_effect_later(error: &SnapshotError) -> bool {
    !matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput)
}

fn indeterminate(id: &SnapshotId, error: SnapshotError) -> SnapshotError {
    if !may_take_effect_later(&error) {
        return error;
    }
    // The marker stays: a snapshot that used this one as its base now would lose it.
    let message = format!(
        "it is not known whether snapshot {id} was deleted, because the store gave no clear answer; it stays marked, and cannot \
         be used as a base, until it is deleted again or garbage collection removes the marker"
    );
    SnapshotError::new(error.kind(), message).with_key(layout::key(id, layout::METADATA_JSON)).with_source(error)
}

/// Step D5: deletes all objects of a snapshot that no longer exists, its markers last.
async fn remove_data(
    store: &dyn SnapshotStore,
    id: &SnapshotId,
    marker: &DeletionMarker,
    objects: &ObjectsByName,
) -> Result<()> {
    for key in marker.data_keys(id, objects).into_iter().chain([marker.key(id)]) {
        store.delete(&key).await.map_err(|error| not_removed(key, error))?;
    }
    Ok(())
}

fn not_removed(key: String, error: SnapshotError) -> SnapshotError {
    let message = "the snapshot was deleted, but this object of it could not be; garbage collection deletes it later";
    SnapshotError::new(error.kind(), message).with_key(key).with_source(error)
}
