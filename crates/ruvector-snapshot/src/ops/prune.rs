//! Prune: applies a retention policy. Which snapshots a policy keeps is decided in `policy::retention`; how a deletion
//! goes is in `repo::markers::deletion`. This file asks the store what a plan has to know, and executes a plan.

use std::collections::BTreeSet;

use ruvector_snapshot_format::layout;
use ruvector_snapshot_format::lineage::BaseRef;

use crate::error::{Result, SnapshotError};
use crate::policy::retention::{self, ExternalRefs, PrunePlan, PrunePolicy};
use crate::repo::context::Context;
use crate::repo::deletion_batches::{DeleteOptions, DeleteReport, delete_in_batches};
use crate::repo::inventory::Inventory;
use crate::repo::orphans::{self, upload_roots};
use crate::snapshot::Orphan;
use crate::store::{ObjectInfo, multipart_uploads_of};

/// Plans what a policy keeps and deletes, and with `with_orphans` also what is collected before. Deletes nothing.
pub(crate) async fn plan(context: &Context, policy: &PrunePolicy, with_orphans: bool) -> Result<PrunePlan> {
    plan_or_warn(context, policy, with_orphans).await.map(|(plan, _)| plan)
}

/// Applies a policy to the snapshots alone, and returns how many were deleted. If a snapshot could not be read, its error
/// is returned after that: less was deleted than the policy drops.
pub(crate) async fn clean_up(context: &Context, policy: &PrunePolicy) -> Result<usize> {
    let (plan, unread) = plan_or_warn(context, policy, false).await?;
    let deleted = apply(context, &plan, DeleteOptions::default()).await?.deleted.len();
    match unread {
        None => Ok(deleted),
        Some((id, error)) => {
            let message = format!(
                "snapshot {id} could not be read and may depend on any older one, so all of these were kept, and {deleted} others \
                 deleted"
            );
            Err(SnapshotError::new(error.kind(), message).with_source(error))
        }
    }
}

/// Plans, and returns the newest snapshot that could not be read, with the reason.
async fn plan_or_warn(
    context: &Context,
    policy: &PrunePolicy,
    with_orphans: bool,
) -> Result<(PrunePlan, Option<(String, SnapshotError)>)> {
    let inventory = Inventory::read(context).await?;
    inventory.check_all_known()?;
    let roots = upload_roots(context, &inventory).await;
    let (mut orphans, mut unfinished, mut multipart_uploads_known) = (Vec::new(), Vec::new(), false);
    if with_orphans {
        let files = orphans::local_files(context).await?;
        orphans = find_orphans_with(context, &inventory, &roots, &files);
        let collected: BTreeSet<&Orphan> = orphans.iter().collect();
        let multipart = multipart_uploads_of(context.store.as_ref()).await;
        multipart_uploads_known = multipart.is_complete;
        unfinished = orphans::unfinished(&inventory, &files, &multipart.uploads);
        unfinished.retain(|one| !collected.contains(one));
    }
    let mut refs = ExternalRefs::default();
    let mut unreadable_marker = None;
    for (id, base_ids) in roots {
        match base_ids {
            // Collected before anything is deleted.
            _ if orphans.iter().any(|orphan| orphan.key == layout::prefix(&id)) => {}
            Ok(base_ids) => {
                let base_ids = base_ids.iter().map(ToString::to_string).collect();
                refs.uploads.insert(id.to_string(), base_ids);
            }
            Err(error) => unreadable_marker = Some(error),
        }
    }
    for unusable in &inventory.listing.unusable {
        let base = unusable.id.parse().ok().and_then(|id| inventory.base_ref(&id)).unwrap_or(BaseRef::Unreadable);
        refs.unusable.insert(unusable.id.clone(), base);
    }
    refs.unread = inventory.unread().iter().map(ToString::to_string).collect();
    let snapshots = inventory.listing.snapshots;
    refs.pinned = snapshots.iter().filter(|snapshot| snapshot.pinned).map(|snapshot| snapshot.id.clone()).collect();
    let corrupt = inventory.listing.checks.iter().filter(|(_, checks)| checks.corrupt_at().is_some());
    refs.corrupt = corrupt.map(|(id, _)| id.clone()).collect();
    let plan = retention::plan(snapshots, &refs, policy, context.clock.now())?;
    match unreadable_marker {
        Some(error) if !plan.drop.is_empty() => Err(error),
        _ => {
            let mut unusable = inventory.listing.unusable.into_iter();
            let unread = unusable.find(|unusable| unusable.is_unread()).map(|unusable| (unusable.id, unusable.error));
            Ok((PrunePlan { orphans, unfinished, multipart_uploads_known, ..plan }, unread))
        }
    }
}

/// Deletes the snapshots that the plan drops. The plan is taken as it is; each snapshot is checked again as part of the
/// deletion.
pub(crate) async fn apply(context: &Context, plan: &PrunePlan, options: DeleteOptions) -> Result<DeleteReport> {
    delete_in_batches(context, plan.drop.iter().map(|dropped| dropped.snapshot.id.as_str()), options).await
}

/// Finds all orphans.
pub(crate) async fn find_orphans(context: &Context) -> Result<Vec<Orphan>> {
    let inventory = Inventory::read(context).await?;
    let roots = upload_roots(context, &inventory).await;
    let files = orphans::local_files(context).await?;
    Ok(find_orphans_with(context, &inventory, &roots, &files))
}

/// Collects orphans.
pub(crate) async fn collect_garbage(
    context: &Context,
    orphans: &[Orphan],
    options: DeleteOptions,
) -> Result<Vec<Orphan>> {
    orphans::collect_all(context, orphans, options).await
}

fn find_orphans_with(
    context: &Context,
    inventory: &Inventory,
    roots: &orphans::UploadRoots,
    files: &[ObjectInfo],
) -> Vec<Orphan> {
    // A marker that cannot be read keeps its own upload, but protects nothing else here: nothing of a snapshot is
    // collected.
    let readable: Vec<_> = roots.iter().filter_map(|(_, base_ids)| base_ids.as_ref().ok()).flatten().cloned().collect();
    orphans::find(context, inventory, &readable, files)
}
