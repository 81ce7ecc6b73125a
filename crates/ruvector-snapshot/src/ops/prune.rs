//! Prune: applies a retention policy. Which snapshots a policy keeps is decided in `policy::retention`; how a deletion
//! goes is in `repo::markers::deletion`. This file asks the store what a plan has to know, and executes a plan.

use std::collections::{BTreeMap, BTreeSet};

use ruvector_snapshot_format::layout;
use ruvector_snapshot_format::lineage::BaseRef;
use ruvector_snapshot_format::metadata::SourceInfo;

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::policy::retention::{self, DisplacedDatabase, ExternalRefs, PrunePlan, PrunePolicy, ShrunkenDatabase};
use crate::repo::context::Context;
use crate::repo::deletion_batches::{DeleteOptions, DeleteReport, delete_in_batches};
use crate::repo::inventory::Inventory;
use crate::repo::orphans::{self, upload_roots};
use crate::snapshot::problems::{SnapshotProblem, database_of, most_records, shown_files, taken_in_turn, unprotected};
use crate::snapshot::{Orphan, Snapshot, newest_first};
use crate::store::multipart_uploads_of;
use crate::text::composed;

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
        orphans = orphans::find_with(context, &inventory, &roots, &files);
        let collected: BTreeSet<&Orphan> = orphans.iter().collect();
        let multipart = multipart_uploads_of(context.store.as_ref()).await;
        multipart_uploads_known = multipart.is_complete;
        unfinished = orphans::unfinished(&inventory, &files, &multipart.uploads);
        unfinished.retain(|one| !collected.contains(one));
    }
    let mut problems = inventory.listing.problems();
    let mut refs = external_refs(&inventory, &problems);
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
    let possible_losses = inventory.listing.possible_losses().collect();
    let mut records = most_records(&inventory.listing.snapshots);
    inventory.listing.databases().into_iter().for_each(|database| _ = records.entry(database).or_default());
    let marked: BTreeSet<String> = inventory.listing.marked_for_deletion.iter().cloned().collect();
    let snapshots = inventory.listing.snapshots;
    let plan = retention::plan(snapshots, &refs, policy, context.clock.now())?;
    // What could not be read may be intact, of any database.
    let unprotected = match refs.unread.is_empty() {
        true => {
            let kept = plan.keep.iter().map(|kept| &kept.snapshot).filter(|kept| !marked.contains(&kept.id));
            unprotected(records, kept, &problems)
        }
        false => Vec::new(),
    };
    if !policy.allow_unprotected {
        check_protected(&plan, &unprotected, &problems)?;
    }
    let (shrunken, displaced) = (shrunken(&plan, &problems), displaced(&plan, &problems));
    let problems = plan.keep.iter().filter_map(|kept| problems.remove(&kept.snapshot.id)).collect();
    match unreadable_marker {
        Some(error) if !plan.drop.is_empty() => Err(error),
        _ => {
            let mut unusable = inventory.listing.unusable.into_iter();
            let unread = unusable.find(|unusable| unusable.is_unread()).map(|unusable| (unusable.id, unusable.error));
            let plan = PrunePlan { problems, possible_losses, unprotected, shrunken, displaced, ..plan };
            Ok((PrunePlan { orphans, unfinished, multipart_uploads_known, ..plan }, unread))
        }
    }
}

/// Fails if the plan would drop a snapshot that protects a database, and would leave none that does.
fn check_protected(
    plan: &PrunePlan,
    unprotected: &[String],
    problems: &BTreeMap<String, SnapshotProblem>,
) -> Result<()> {
    let dropped = plan.drop.iter().map(|dropped| &dropped.snapshot);
    let mut sound = dropped.filter(|snapshot| !problems.contains_key(&snapshot.id));
    let Some(last) = sound.find(|snapshot| unprotected.contains(&database_of(&snapshot.source))) else { return Ok(()) };
    let message = format!(
        "the rules would leave no snapshot of {} that can be restored and has records; the newest that they drop is {}. Nothing was \
         deleted",
        database_of(&last.source),
        last.id
    );
    let advice = "group snapshots by source, add a rule that keeps it, or allow that nothing is left of a database";
    Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_remedy(Remedy::AllowUnprotected, advice))
}

/// Returns what a plan has to respect, apart from uploads.
fn external_refs(inventory: &Inventory, problems: &BTreeMap<String, SnapshotProblem>) -> ExternalRefs {
    let mut refs = ExternalRefs::of_problems(&inventory.listing, problems);
    for (id, base) in &mut refs.unusable {
        *base = id.parse().ok().and_then(|id| inventory.base_ref(&id)).unwrap_or(BaseRef::Unreadable);
    }
    refs
}

/// Returns the snapshots, and what else a plan has to respect when the uploads of this moment have ended.
pub(crate) async fn inputs(context: &Context) -> Result<(Vec<Snapshot>, ExternalRefs)> {
    let inventory = Inventory::read(context).await?;
    let refs = external_refs(&inventory, &inventory.listing.problems());
    Ok((inventory.listing.snapshots, refs))
}

/// Returns the databases of which only snapshots with half of the records or less would be left.
fn shrunken(plan: &PrunePlan, problems: &BTreeMap<String, SnapshotProblem>) -> Vec<ShrunkenDatabase> {
    let mut records: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let kept = plan.keep.iter().map(|kept| &kept.snapshot).filter(|kept| !problems.contains_key(&kept.id));
    let dropped = plan.drop.iter().map(|dropped| &dropped.snapshot);
    for (at, snapshot) in kept.map(|kept| (0, kept)).chain(dropped.map(|dropped| (1, dropped))) {
        let largest = records.entry(database_of(&snapshot.source)).or_default();
        if let Some(largest) = largest.get_mut(at) {
            *largest = (*largest).max(snapshot.vector_count as u64);
        }
    }
    let shrunken = records.into_iter().filter(|(_, [kept, dropped])| *kept > 0 && *kept <= dropped / 2);
    let database = |(source, [kept_records, dropped_records]): (String, [u64; 2])| ShrunkenDatabase {
        source,
        kept_records,
        dropped_records,
    };
    shrunken.map(database).collect()
}

/// Returns the database files of which every snapshot is dropped, while snapshots of another file are kept that have the same name of
/// a source: of the same host, or of another if they were taken in turn.
fn displaced(plan: &PrunePlan, problems: &BTreeMap<String, SnapshotProblem>) -> Vec<DisplacedDatabase> {
    let sound = plan.keep.iter().filter(|kept| !problems.contains_key(&kept.snapshot.id));
    let kept: Vec<&SourceInfo> = sound.map(|kept| &kept.snapshot.source).collect();
    let mut displaced: BTreeMap<_, DisplacedDatabase> = BTreeMap::new();
    let in_turn = names_in_turn(plan);
    for source in plan.drop.iter().map(|dropped| &dropped.snapshot.source) {
        let (Some(name), Some(_)) = (&source.name, &source.path) else { continue };
        let name = composed(name);
        let has_name = |other: &&SourceInfo| other.name.as_deref().is_some_and(|other| composed(other) == name);
        let of_name: Vec<_> = kept.iter().copied().filter(|other| has_name(other)).collect();
        if of_name.iter().any(|other| (&other.host, &other.path) == (&source.host, &source.path)) {
            continue;
        }
        // Another host can be the same machine: containers get new names.
        let is_on_host = |other: &&&SourceInfo| other.host == source.host;
        let of_other_host = || of_name.first().filter(|_| in_turn.contains(&*name));
        let other = of_name.iter().find(is_on_host).or_else(of_other_host);
        if let Some(other) = other.filter(|other| other.path.is_some()) {
            let [path, kept_path] = shown_files(source, other);
            let key = (name.to_string(), path.clone());
            displaced.entry(key).or_insert(DisplacedDatabase { source: name.into_owned(), path, kept_path });
        }
    }
    displaced.into_values().collect()
}

/// Returns the names of sources under which snapshots of several database files were taken in turn.
fn names_in_turn(plan: &PrunePlan) -> BTreeSet<String> {
    let kept = plan.keep.iter().map(|kept| &kept.snapshot);
    let mut all: Vec<&Snapshot> = kept.chain(plan.drop.iter().map(|dropped| &dropped.snapshot)).collect();
    all.sort_by(|a, b| newest_first(a, b));
    let mut of_names: BTreeMap<String, Vec<&SourceInfo>> = BTreeMap::new();
    for source in all.into_iter().map(|snapshot| &snapshot.source) {
        if let Some(name) = &source.name {
            of_names.entry(composed(name).into_owned()).or_default().push(source);
        }
    }
    let in_turn = of_names.into_iter().filter(|(_, sources)| taken_in_turn(sources.iter().copied()).is_some());
    in_turn.map(|(name, _)| name).collect()
}

/// Deletes the snapshots that the plan drops. The plan is taken as it is; each snapshot is checked again as part of the
/// deletion.
pub(crate) async fn apply(context: &Context, plan: &PrunePlan, options: DeleteOptions) -> Result<DeleteReport> {
    delete_in_batches(context, plan.drop.iter().map(|dropped| dropped.snapshot.id.as_str()), options).await
}

/// Finds all orphans.
pub(crate) async fn find_orphans(context: &Context) -> Result<Vec<Orphan>> {
    let inventory = Inventory::read(context).await?;
    orphans::find_all(context, &inventory).await
}

/// Collects orphans.
pub(crate) async fn collect_garbage(
    context: &Context,
    orphans: &[Orphan],
    options: DeleteOptions,
) -> Result<Vec<Orphan>> {
    orphans::collect_all(context, orphans, options).await
}
