//! Orphans: objects that belong to no snapshot and to no upload in progress. Finds them and collects them.
//!
//! A candidate is found by the clock of this machine. Before it is removed it is checked again by the clock of the
//! store, in `markers::collection`.

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use super::annotations::Annotations;
use super::context::Context;
use super::deletion_batches::DeleteOptions;
use super::inventory::Inventory;
use super::keys::is_repository_key;
use super::ledger;
use super::markers::collection::{OrphanCause, collect, collect_marker};
use super::markers::{is_orphan, marker_grace_start, marker_mtime, store_time, upload_bases};
use super::presence::{ObjectsByName, is_being_deleted, is_empty, objects_of};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::snapshot::{Orphan, OrphanKind};
use crate::store::ObjectInfo;

/// Lists the staged files and the empty directories of a local store, whatever their age. Other stores have none.
pub(crate) async fn local_files(context: &Context) -> Result<Vec<ObjectInfo>> {
    match &context.maintenance {
        Some(maintenance) => maintenance.orphans(is_repository_key, DateTime::<Utc>::MAX_UTC).await,
        None => Ok(Vec::new()),
    }
}

/// Finds all orphans older than the grace period. Reads the upload markers.
pub(crate) async fn find_all(context: &Context, inventory: &Inventory) -> Result<Vec<Orphan>> {
    let roots = upload_roots(context, inventory).await;
    let files = local_files(context).await?;
    Ok(find_with(context, inventory, &roots, &files))
}

/// As [`find`], with what is known of the bases of uploads.
pub(crate) fn find_with(
    context: &Context,
    inventory: &Inventory,
    roots: &UploadRoots,
    files: &[ObjectInfo],
) -> Vec<Orphan> {
    // A marker that cannot be read keeps its own upload, but protects nothing else here: nothing of a snapshot is
    // collected.
    let readable: Vec<_> = roots.iter().filter_map(|(_, base_ids)| base_ids.as_ref().ok()).flatten().cloned().collect();
    find(context, inventory, &readable, files)
}

/// Finds all orphans older than the grace period, by the clock of this machine.
///
/// `upload_roots` are the bases that uploads in progress name, and `files` the [`local_files`].
fn find(context: &Context, inventory: &Inventory, upload_roots: &[SnapshotId], files: &[ObjectInfo]) -> Vec<Orphan> {
    let now = context.clock.now();
    // Whatever became of them, snapshots depend on these, or may.
    let unread = inventory.unread();
    let required = inventory.lineage.required_by(|_| true, upload_roots.iter().chain(&unread));
    let grace_start = context.grace_start(now);
    let is_old = |object: &&ObjectInfo| object.modified_at < grace_start;
    let mut orphans = Vec::new();
    for (id, objects) in &inventory.objects {
        if inventory.lost.contains(id) {
            continue;
        }
        let entries = ledger::unneeded_of(objects, now).into_iter().filter(is_old);
        if let Some(commit) = objects.get(layout::METADATA_JSON) {
            orphans.extend(old_markers(context, objects, commit, now));
            orphans.extend(entries.map(|object| of_object(object, OrphanKind::LedgerEntry)));
            orphans
                .extend(included(inventory, id).filter(is_old).map(|object| of_object(object, OrphanKind::Annotation)));
        } else if is_empty(objects) {
            // Nothing adds to what is beside a snapshot that does not exist.
            orphans.extend(objects.values().filter(is_old).map(of_remark));
        } else if objects.iter().all(|(file, object)| is_orphan(context, file, object, now))
            // A deletion marker shows that nothing depends on it.
            && if is_being_deleted(objects) { !required.ids().contains(id) } else { !required.contains(id) }
        {
            orphans.push(of_objects(id, objects));
        }
    }
    orphans.extend(inventory.checks.iter().filter(is_old).map(|object| of_object(object, OrphanKind::Check)));
    orphans.extend(files.iter().filter(is_old).map(of_local_store));
    orphans.sort();
    orphans
}

/// Finds everything that belongs to no snapshot, whatever its age, with the [`local_files`] and the multipart uploads.
/// Commands that are running own some of it.
pub(crate) fn unfinished(inventory: &Inventory, files: &[ObjectInfo], uploads: &[ObjectInfo]) -> Vec<Orphan> {
    let without_snapshot = inventory
        .objects
        .iter()
        .filter(|(id, objects)| !objects.contains_key(layout::METADATA_JSON) && !inventory.lost.contains(*id));
    let mut found = Vec::new();
    for (id, objects) in without_snapshot {
        match is_empty(objects) {
            true => found.extend(objects.values().map(of_remark)),
            false => found.push(of_objects(id, objects)),
        }
    }
    found.extend(inventory.checks.iter().map(|object| of_object(object, OrphanKind::Check)));
    found.extend(files.iter().map(of_local_store));
    found.extend(uploads.iter().map(|upload| of_object(upload, OrphanKind::Multipart)));
    found.sort();
    found
}

/// The bases that each upload in progress names.
pub(crate) type UploadRoots = Vec<(SnapshotId, Result<Vec<SnapshotId>>)>;

/// Returns the bases that uploads in progress name, with an error for each marker that cannot be read.
pub(crate) async fn upload_roots(context: &Context, inventory: &Inventory) -> UploadRoots {
    let mut roots = Vec::new();
    for id in inventory.uploads_with_marker() {
        roots.push((id.clone(), upload_bases(context.store.as_ref(), id).await));
    }
    roots
}

/// Collects orphans, and returns those that were removed. What is in use after all is kept. If some cannot be removed,
/// all others are removed before the error is returned.
pub(crate) async fn collect_all(context: &Context, orphans: &[Orphan], options: DeleteOptions) -> Result<Vec<Orphan>> {
    let (context, orphans) = (context.clone(), orphans.to_vec());
    let work = {
        let context = context.clone();
        async move { collect_each(&context, &orphans, options.exclusive).await }
    };
    context.run_to_completion(work).await
}

async fn collect_each(context: &Context, orphans: &[Orphan], is_exclusive: bool) -> Result<Vec<Orphan>> {
    let (mut collected, mut failed) = (Vec::new(), Vec::new());
    // Ages are compared with the clock of the store. That of this machine may be wrong by days, which matters only if
    // something else is at work.
    let now = match needs_store_time(orphans) {
        false => DateTime::<Utc>::MIN_UTC,
        true if is_exclusive => context.clock.now(),
        true => match store_time(context).await {
            Ok(now) => now,
            // Then only orphans that get a marker of their own are old.
            Err(error) => {
                failed.push(("the time of the store", error));
                DateTime::<Utc>::MIN_UTC
            }
        },
    };
    for orphan in orphans {
        match collect_one(context, orphan, now, is_exclusive).await {
            Ok(true) => {
                tracing::info!(key = %orphan.key, "removed an orphan");
                collected.push(orphan.clone());
            }
            Ok(false) => {}
            Err(error) => failed.push((orphan.key.as_str(), error)),
        }
    }
    if let Some(maintenance) = context.maintenance.as_ref().filter(|_| orphans.iter().any(is_of_local_store)) {
        // All are removed at once. Those that were not asked for are as old as the others.
        match maintenance.collect_garbage(is_repository_key, context.grace_start(now)).await {
            Ok(removed) => collected.extend(removed.iter().map(of_local_store)),
            Err(error) => failed.push(("temporary files", error)),
        }
    }
    collected.sort();
    not_collected(failed).map_or(Ok(collected), Err)
}

fn needs_store_time(orphans: &[Orphan]) -> bool {
    orphans.iter().any(|orphan| !matches!(orphan.kind, OrphanKind::Upload | OrphanKind::Deletion))
}

/// Joins all failures in one error.
fn not_collected(failed: Vec<(&str, SnapshotError)>) -> Option<SnapshotError> {
    let messages: Vec<String> = failed.iter().map(|(key, error)| format!("{key}: {}", error.problem())).collect();
    let message = format!("some orphans could not be removed: {}", messages.join("; "));
    // What can be done about one of them is said once.
    let remedy = failed.iter().find_map(|(_, error)| Some((error.remedy()?, error.advice()?.to_owned())));
    let (_, first) = failed.into_iter().next()?;
    let error = SnapshotError::new(first.kind(), message).with_source(first);
    Some(match remedy {
        Some((remedy, advice)) => error.with_remedy(remedy, &advice),
        None => error,
    })
}

/// Checks an orphan again, at the time `now` of the store's clock, and removes it.
async fn collect_one(context: &Context, orphan: &Orphan, now: DateTime<Utc>, is_exclusive: bool) -> Result<bool> {
    match orphan.kind {
        OrphanKind::Marker => collect_marker(context, &orphan.key, marker_grace_start(context, now)).await,
        OrphanKind::Annotation if !is_unneeded(context, &orphan.key).await? => Ok(false),
        // An entry that is not needed is not needed later either.
        OrphanKind::Check | OrphanKind::LedgerEntry | OrphanKind::Annotation => {
            match context.store.head(&orphan.key).await {
                Ok(object) if object.modified_at < context.grace_start(now) => {
                    context.store.delete(&orphan.key).await.map(|()| true)
                }
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(false),
            }
        }
        OrphanKind::Staged | OrphanKind::Directory | OrphanKind::Multipart => Ok(false),
        OrphanKind::Upload | OrphanKind::Deletion => match layout::parse_prefix(&orphan.key) {
            Some(id) => collect(context, &id, OrphanCause::Interrupted, is_exclusive).await,
            None => Ok(false),
        },
    }
}

/// Converts the objects of something that is no snapshot.
fn of_objects(id: &SnapshotId, objects: &ObjectsByName) -> Orphan {
    let kind = if is_being_deleted(objects) { OrphanKind::Deletion } else { OrphanKind::Upload };
    // A server can claim any size.
    let bytes = objects.values().map(|object| object.size_bytes).fold(0, u64::saturating_add);
    let written_at = objects.values().map(|object| object.modified_at).min();
    Orphan { key: layout::prefix(id), kind, bytes, written_at }
}

fn of_object(object: &ObjectInfo, kind: OrphanKind) -> Orphan {
    Orphan { key: object.key.clone(), kind, bytes: object.size_bytes, written_at: Some(object.modified_at) }
}

/// Converts a ledger entry or an annotation of a snapshot that was deleted.
fn of_remark(object: &ObjectInfo) -> Orphan {
    let is_annotation = layout::parse_key(&object.key).is_some_and(|(_, file)| !layout::is_ledger_entry(file));
    of_object(object, if is_annotation { OrphanKind::Annotation } else { OrphanKind::LedgerEntry })
}

/// Returns whether an annotation is still not needed: its snapshot may have been copied to this store again.
async fn is_unneeded(context: &Context, key: &str) -> Result<bool> {
    let Some((id, file)) = layout::parse_key(key) else { return Ok(false) };
    let objects = objects_of(context.store.as_ref(), &id).await?;
    if !objects.contains_key(layout::METADATA_JSON) {
        return Ok(true);
    }
    let all = Annotations::read(context.store.as_ref(), &id, &objects).await?;
    Ok(all.included().any(|included| included == file))
}

/// Returns the annotations that newer ones include.
fn included<'a>(inventory: &'a Inventory, id: &SnapshotId) -> impl Iterator<Item = &'a ObjectInfo> {
    let names: Vec<String> = inventory.annotations.get(id).map_or(Vec::new(), |all| all.included().collect());
    let objects = inventory.objects.get(id);
    names.into_iter().filter_map(move |name| objects?.get(&name))
}

/// Converts what the maintenance of a local store has found.
fn of_local_store(object: &ObjectInfo) -> Orphan {
    of_object(object, if object.key.ends_with('/') { OrphanKind::Directory } else { OrphanKind::Staged })
}

fn is_of_local_store(orphan: &Orphan) -> bool {
    matches!(orphan.kind, OrphanKind::Staged | OrphanKind::Directory)
}

/// Returns the markers beside a committed snapshot that are no longer needed.
fn old_markers<'a>(
    context: &Context,
    objects: &'a ObjectsByName,
    commit: &'a ObjectInfo,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Orphan> + use<'a> {
    let grace_start = marker_grace_start(context, now);
    let is_marker = |file: &str| file == layout::UPLOAD_JSON || layout::is_deletion_marker(file);
    let old = objects
        .iter()
        .filter(move |(file, object)| is_marker(file) && marker_mtime(file, object, commit) < grace_start);
    old.map(|(_, object)| of_object(object, OrphanKind::Marker))
}
