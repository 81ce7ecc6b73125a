//! Delete: removes the snapshots that a user names. How a deletion goes is in `repo::markers::deletion`.

use std::collections::BTreeSet;

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;
use serde::Serialize;

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::repo::context::Context;
use crate::repo::deletion_batches::{DeleteOptions, DeleteReport, delete_in_batches};
use crate::repo::inventory::Inventory;
use crate::repo::orphans::upload_roots;
use crate::repo::presence::{is_being_deleted, no_snapshot};
use crate::snapshot::Snapshot;
use crate::snapshot::problems::{most_records, unprotected};

/// Number of dependents that an error message names.
const DEPENDENTS_SHOWN: usize = 5;

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[must_use = "a plan deletes nothing until it is applied"]
pub struct DeletePlan {
    /// The ids of the snapshots, each before those that it depends on: the given ones, and with `cascade` all that
    /// depend on them.
    pub ids: Vec<String>,
    /// The databases of which nothing would be left that can be restored, as far as is known.
    pub unprotected: Vec<String>,
}

/// Plans the deletion of these snapshots. Deletes nothing.
pub(crate) async fn plan(context: &Context, ids: &[SnapshotId], cascade: bool) -> Result<DeletePlan> {
    if ids.is_empty() {
        return Ok(DeletePlan { ids: Vec::new(), unprotected: Vec::new() });
    }
    let inventory = Inventory::read(context).await?;
    let given: BTreeSet<SnapshotId> = ids.iter().cloned().collect();
    given.iter().try_for_each(|id| check_known(&inventory, id))?;
    inventory.check_all_known_except(&given)?;
    let dependents = inventory.lineage.dependents(&given);
    if !cascade && !dependents.is_empty() {
        return Err(has_dependents(&inventory, &given, &dependents));
    }
    let doomed: BTreeSet<SnapshotId> = given.into_iter().chain(dependents).collect();
    if let Some(pinned) = doomed.iter().find(|id| inventory.has(id, layout::PINNED_JSON)) {
        let message = format!("nothing was deleted: snapshot {pinned} is pinned; unpin it first");
        return Err(SnapshotError::new(ErrorKind::Pinned, message).with_snapshot(pinned));
    }
    check_unreadable_bases(&inventory, &doomed)?;
    check_uploads(context, &inventory, &doomed).await?;
    let unprotected = unprotected_without(&inventory, &doomed);
    let newest_first: Vec<SnapshotId> = doomed.into_iter().rev().collect();
    let ids = inventory.lineage.deletion_order(&newest_first).iter().map(ToString::to_string).collect();
    Ok(DeletePlan { ids, unprotected })
}

/// Returns the databases of these snapshots of which no other snapshot can be restored. Empty if a snapshot could not be read: it may
/// be intact, and of any database.
fn unprotected_without(inventory: &Inventory, doomed: &BTreeSet<SnapshotId>) -> Vec<String> {
    if !inventory.unread().is_empty() {
        return Vec::new();
    }
    let doomed: BTreeSet<&str> = doomed.iter().map(SnapshotId::as_str).collect();
    let is_doomed = |snapshot: &&Snapshot| doomed.contains(snapshot.id.as_str());
    let listing = &inventory.listing;
    let (doomed, kept): (Vec<&Snapshot>, Vec<_>) = listing.snapshots.iter().partition(is_doomed);
    unprotected(most_records(doomed), listing.without_marked(kept), &listing.problems())
}

/// Deletes what the plan says, and returns the number of snapshots that were deleted.
pub(crate) async fn apply(context: &Context, plan: &DeletePlan, options: DeleteOptions) -> Result<usize> {
    let ids = plan.ids.iter().map(String::as_str);
    let DeleteReport { deleted, kept } = delete_in_batches(context, ids, options).await?;
    let Some(id) = kept.first() else { return Ok(deleted.len()) };
    let message = format!(
        "snapshot {id} was kept: it was pinned, or a snapshot or an upload depends on it by now; check again, and if an upload was \
         interrupted, prune removes it after the grace period"
    );
    Err(SnapshotError::new(ErrorKind::InUse, message))
}

fn check_known(inventory: &Inventory, id: &SnapshotId) -> Result<()> {
    if let Some(unread) = inventory.unread().iter().find(|unread| *unread == id)
        && let Some(error) = inventory.error_of(unread)
    {
        let message = format!("cannot delete snapshot {id}: it cannot be read: {}", error.message());
        return Err(SnapshotError::new(error.kind(), message));
    }
    match inventory.objects.get(id) {
        Some(objects) if objects.contains_key(layout::METADATA_JSON) || inventory.may_be_lost(id) => Ok(()),
        Some(objects) if is_being_deleted(objects) => {
            let message = format!(
                "snapshot {id} is already being deleted, or its deletion was interrupted; prune completes it later"
            );
            Err(SnapshotError::new(ErrorKind::NotFound, message).with_snapshot(id))
        }
        _ => Err(no_snapshot(id)),
    }
}

fn has_dependents(inventory: &Inventory, given: &BTreeSet<SnapshotId>, dependents: &[SnapshotId]) -> SnapshotError {
    let shown: Vec<&str> = dependents.iter().map(|id| id.as_str()).take(DEPENDENTS_SHOWN).collect();
    let more = match dependents.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let is_base = |id: &&SnapshotId| dependents.iter().any(|other| inventory.lineage.base_of(other) == Some(*id));
    let bases: Vec<&str> = given.iter().filter(is_base).map(SnapshotId::as_str).collect();
    let (depend, them) = if dependents.len() == 1 { ("depends", "it") } else { ("depend", "them") };
    let message = format!("cannot delete {}: {}{more} {depend} on it", bases.join(", "), shown.join(", "));
    let advice = format!("delete {them} first, or all of them with cascade");
    SnapshotError::new(ErrorKind::HasDependents, message).with_remedy(Remedy::Cascade, &advice)
}

/// Refuses to delete a snapshot that may be the base of a kept one whose base is unreadable, or which could not be read at
/// all.
fn check_unreadable_bases(inventory: &Inventory, doomed: &BTreeSet<SnapshotId>) -> Result<()> {
    let unread = inventory.unread();
    let required = inventory.lineage.required_by(|id| !doomed.contains(id), &unread);
    let Some(id) = doomed.iter().find(|id| required.contains(id)) else { return Ok(()) };
    let reason = |unread| Some((unread, inventory.error_of(unread)?));
    if let Some((other, error)) = unread.iter().find(|other| *other > id).and_then(reason) {
        let message = format!(
            "cannot delete snapshot {id}: the newer snapshot {other} cannot be read, and may depend on it; make {other} \
             readable: {}",
            error.message()
        );
        return Err(SnapshotError::new(error.kind(), message));
    }
    let unreadable: Vec<&str> = required.unreadable_bases().iter().rev().map(SnapshotId::as_str).take(1).collect();
    let unreadable = unreadable.join("");
    let message = format!(
        "cannot delete snapshot {id}: other snapshots depend on {unreadable}, which is corrupt, and may depend on {id}"
    );
    let advice = format!("repair {unreadable}, or delete it together with {id}, with cascade");
    Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_remedy(Remedy::DeleteUnreadable, &advice))
}

/// Refuses to delete a snapshot that an upload in progress depends on.
async fn check_uploads(context: &Context, inventory: &Inventory, doomed: &BTreeSet<SnapshotId>) -> Result<()> {
    for (upload, base_ids) in upload_roots(context, inventory).await {
        let required = inventory.lineage.required_by(|_| false, &base_ids?);
        if let Some(id) = doomed.iter().find(|id| required.contains(id)) {
            let message = format!(
                "cannot delete snapshot {id}: the upload {upload} depends on it; try again when the upload has ended, and if it was \
                 interrupted, prune removes it after the grace period"
            );
            return Err(SnapshotError::new(ErrorKind::InUse, message).with_snapshot(id));
        }
    }
    Ok(())
}
