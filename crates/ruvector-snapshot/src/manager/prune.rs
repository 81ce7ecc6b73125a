//! delete, clean-up and sweep: asks the store what a plan has to know, and carries it out. How a deletion goes is in
//! `delete.rs`, which snapshots a policy keeps in `retention.rs`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::Instrument as _;

use super::catalog::{self, Survey, is_being_deleted};
use super::delete::{self, Remains, marks_grace_begins};
use super::dependants::dependants;
use super::retention::{self, Others, PrunePlan, PrunePolicy, StandsOn};
use super::{SnapshotManager, failed_task, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout;
use crate::store::ObjectInfo;

/// Snapshots that are marked together. With a second for each, all are marked and gone long before their marks are too old.
const DELETED_AT_ONCE: usize = 256;

/// What is to be deleted, each before what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeletePlan {
    /// The ids that were asked for, and with `cascade` everything that stands on them.
    pub ids: Vec<String>,
}

/// What became of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeleteReport {
    /// The ids of what is gone now, newest first. One that was gone already is not among them.
    pub gone: Vec<String>,
    /// The ids of what stays after all, newest first: it was pinned, or something has come to stand on it.
    pub kept: Vec<String>,
}

/// Something that a process which was killed has left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Leftover {
    /// The key of an object, what all keys of it begin with, or what the store calls a file of its own.
    pub key: String,
    /// What it is.
    pub what: LeftoverKind,
    /// What it takes up.
    pub bytes: u64,
}

/// What a [`Leftover`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftoverKind {
    /// An upload that was never committed.
    Upload,
    /// A deletion that was begun and cut off.
    Deletion,
    /// A mark beside a snapshot that is of no use any more.
    Mark,
    /// An object of a check of the store.
    Check,
    /// A file that the store itself was writing.
    Staged,
    /// An empty directory of a snapshot or of a check of the store.
    Directory,
}

/// Decides by a policy what stays and what goes; with `sweeps` also what is swept before that.
pub(super) async fn plan_prune(manager: &SnapshotManager, policy: &PrunePolicy, sweeps: bool) -> Result<PrunePlan> {
    let survey = catalog::survey(manager).await?;
    survey.check_all_known()?;
    let sweep = if sweeps { leftovers(manager, &survey).await? } else { Vec::new() };
    let mut unreadable = None;
    let mut others = Others::default();
    for (id, base_ids) in catalog::uploads(manager.store.as_ref(), &survey).await {
        match base_ids {
            // Swept before anything is deleted.
            _ if sweep.iter().any(|leftover| leftover.key == layout::prefix(&id)) => {}
            Ok(base_ids) => {
                let base_ids = base_ids.iter().map(ToString::to_string).collect();
                others.uploads.insert(id.to_string(), base_ids);
            }
            Err(error) => unreadable = Some(error),
        }
    }
    for damaged in &survey.listing.damaged {
        let base_id = damaged.id.parse().ok().and_then(|id: SnapshotId| survey.bases.get(&id));
        let stands_on = match base_id {
            Some(base_id) => StandsOn::Base(base_id.to_string()),
            // What has a name is known by its metadata.json.
            None if damaged.name.is_some() => StandsOn::Nothing,
            None => StandsOn::Unknown,
        };
        others.damaged.insert(damaged.id.clone(), stands_on);
    }
    let snapshots = survey.listing.snapshots;
    others.pinned = snapshots.iter().filter(|snapshot| snapshot.pinned).map(|snapshot| snapshot.id.clone()).collect();
    let plan = retention::plan(snapshots, &others, policy, manager.clock.now())?;
    match unreadable {
        Some(error) if !plan.drop.is_empty() => Err(error),
        _ => Ok(PrunePlan { sweep, ..plan }),
    }
}

/// Plans the deletion of these snapshots.
pub(super) async fn plan_delete(manager: &SnapshotManager, ids: &[SnapshotId], cascade: bool) -> Result<DeletePlan> {
    if ids.is_empty() {
        return Ok(DeletePlan { ids: Vec::new() });
    }
    let survey = &catalog::survey(manager).await?;
    let asked: BTreeSet<SnapshotId> = ids.iter().cloned().collect();
    for id in &asked {
        let found = survey.found.get(id);
        match found {
            Some(objects) if objects.contains_key(layout::METADATA_JSON) || survey.lost.contains(id) => {}
            Some(objects) if is_being_deleted(objects) => {
                let what = format!(
                    "snapshot {id} is being deleted already, or a deletion of it was cut off; prune finishes that later"
                );
                return Err(SnapshotError::new(ErrorKind::NotFound, what));
            }
            _ => return Err(no_snapshot(id)),
        }
    }
    survey.check_all_known_but(&asked)?;
    let others = dependants(&survey.bases, &asked);
    if !cascade && !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|id| id.as_str()).take(5).collect();
        let more = others.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let is_needed = |id: &&SnapshotId| others.iter().any(|other| survey.bases.get(other) == Some(*id));
        let needed: Vec<&str> = asked.iter().filter(is_needed).map(SnapshotId::as_str).collect();
        let (snapshots, them) = if needed.len() == 1 { ("snapshot", "it") } else { ("snapshots", "them") };
        let is = if needed.len() == 1 { "is" } else { "are" };
        let what = format!(
            "{snapshots} {} {is} needed: {}{more} stand on {them}; delete those first, or all of them with cascade",
            needed.join(", "),
            names.join(", ")
        );
        return Err(SnapshotError::new(ErrorKind::Invalid, what));
    }
    let all: BTreeSet<&SnapshotId> = asked.iter().chain(&others).collect();
    if let Some(unknown) = survey.newest_unknown(|id| all.contains(id))
        && let Some(id) = all.iter().find(|id| ***id < unknown)
    {
        let what = format!(
            "snapshot {id} stays: snapshot {unknown} is damaged, on which others stand, and nobody can read whether it stands on that; \
             repair {unknown}, or delete it as well, with cascade"
        );
        return Err(SnapshotError::new(ErrorKind::Invalid, what));
    }
    let is_pinned =
        |id: &&&SnapshotId| survey.found.get(**id).is_some_and(|found| found.contains_key(layout::PINNED_JSON));
    if let Some(pinned) = all.iter().find(is_pinned) {
        let what = format!("snapshot {pinned} is pinned, so nothing was deleted; unpin it first");
        return Err(SnapshotError::new(ErrorKind::Invalid, what));
    }
    for (upload, base_ids) in catalog::uploads(manager.store.as_ref(), survey).await {
        if let Some(id) = survey.with_all_below(base_ids?).into_iter().find(|id| all.contains(id)) {
            let what = format!(
                "snapshot {id} stays: the upload {upload} will stand on it; look again when that has ended, and if it was killed, \
                 prune sweeps what it left once the time of grace is over"
            );
            return Err(SnapshotError::new(ErrorKind::Invalid, what));
        }
    }
    Ok(DeletePlan { ids: all.into_iter().rev().map(ToString::to_string).collect() })
}

/// Deletes what the plan says. Carried through even where nobody waits for it.
pub(super) async fn delete(manager: &SnapshotManager, plan: &DeletePlan) -> Result<usize> {
    let deleted = carry_out(manager, plan.ids.iter().map(String::as_str)).await?;
    match deleted.kept.first() {
        None => Ok(deleted.gone.len()),
        Some(id) => {
            let what = format!(
                "snapshot {id} stays: it was pinned, or a snapshot or an upload has come to stand on it; look again, and if an \
                 upload was killed, prune sweeps what it left once the time of grace is over"
            );
            Err(SnapshotError::new(ErrorKind::Invalid, what))
        }
    }
}

/// Deletes these snapshots, and says which are gone and which stay.
pub(super) async fn carry_out(manager: &SnapshotManager, ids: impl Iterator<Item = &str>) -> Result<DeleteReport> {
    let mut ids: Vec<SnapshotId> = ids.map(str::parse).collect::<Result<_>>()?;
    if ids.is_empty() {
        return Ok(DeleteReport::default());
    }
    // What stands on another has the higher id.
    ids.sort_unstable_by(|a, b| b.cmp(a));
    in_task(manager, move |manager| async move {
        let (mut gone, mut kept) = (BTreeSet::new(), BTreeSet::new());
        // A deletion has half an hour from its first mark on. What a later one finds is what the ones before have left.
        for ids in ids.chunks(DELETED_AT_ONCE) {
            let deleted = delete::delete(&manager, ids).await?;
            gone.extend(deleted.gone);
            kept.extend(deleted.kept);
        }
        for id in &ids {
            if gone.contains(id) || kept.contains(id) || !is_lost(&manager, id).await? {
                continue;
            }
            // What stays may stand on it.
            let is_gone = kept.is_empty() && delete::sweep(&manager, id, Remains::Lost).await?;
            if is_gone {
                gone.insert(id.clone())
            } else {
                kept.insert(id.clone())
            };
        }
        let texts = |ids: BTreeSet<SnapshotId>| ids.iter().rev().map(ToString::to_string).collect();
        Ok(DeleteReport { gone: texts(gone), kept: texts(kept) })
    })
    .await
}

/// Whether anything is there of a snapshot that has lost its metadata.json.
async fn is_lost(manager: &SnapshotManager, id: &SnapshotId) -> Result<bool> {
    let found = catalog::found_under(manager.store.as_ref(), id).await?;
    Ok(!found.is_empty() && !found.contains_key(layout::METADATA_JSON) && !is_being_deleted(&found))
}

/// What killed processes have left and nobody has touched for the time of grace, by the clock of this machine; what is removed
/// is looked at again, by that of the store.
pub(super) async fn leftovers(manager: &SnapshotManager, survey: &Survey) -> Result<Vec<Leftover>> {
    let now = manager.clock.now();
    let (grace_begins, marks_grace_begins) = (manager.grace_before(now), marks_grace_begins(manager, now));
    let is_old = |object: &&ObjectInfo| object.modified_at < grace_begins;
    let leftover = |what: LeftoverKind| move |object: &ObjectInfo| Leftover::of(object, what);
    let unknown = survey.newest_unknown(|_| false);
    let mut left = Vec::new();
    // Whatever became of them, others stand on them.
    let mut needed: BTreeSet<SnapshotId> = survey.bases.values().cloned().collect();
    needed.extend(catalog::uploads(manager.store.as_ref(), survey).await.into_values().flatten().flatten());
    for (id, found) in &survey.found {
        if survey.lost.contains(id) {
            continue;
        }
        if let Some(commit) = found.get(layout::METADATA_JSON) {
            let is_mark = |file: &str| file == layout::UPLOAD_JSON || layout::is_deletion_mark(file);
            let marks = found.iter().filter(|(file, object)| {
                is_mark(file) && delete::mark_touched_at(file, object, commit) < marks_grace_begins
            });
            left.extend(marks.map(|(_, object)| object).map(leftover(LeftoverKind::Mark)));
        } else if found.iter().all(|(file, object)| delete::is_left_over(manager, file, object, now))
            && !needed.contains(id)
            && (is_being_deleted(found) || unknown.as_ref().is_none_or(|unknown| id > unknown))
        {
            let what = if is_being_deleted(found) { LeftoverKind::Deletion } else { LeftoverKind::Upload };
            let bytes = found.values().map(|object| object.size_bytes).sum();
            left.push(Leftover { key: layout::prefix(id), what, bytes });
        }
    }
    left.extend(survey.checks.iter().filter(is_old).map(leftover(LeftoverKind::Check)));
    let staged = manager.store.sweep(catalog::is_ours, grace_begins, false).await?;
    left.extend(staged.iter().map(Leftover::of_store));
    left.sort();
    Ok(left)
}

impl Leftover {
    fn of(object: &ObjectInfo, what: LeftoverKind) -> Self {
        Self { key: object.key.clone(), what, bytes: object.size_bytes }
    }

    /// What the store has found of its own.
    fn of_store(object: &ObjectInfo) -> Self {
        Self::of(object, if object.key.ends_with('/') { LeftoverKind::Directory } else { LeftoverKind::Staged })
    }

    fn is_of_store(&self) -> bool {
        matches!(self.what, LeftoverKind::Staged | LeftoverKind::Directory)
    }
}

/// Removes leftovers; returns those that are gone. Where one cannot be removed the others are, before that is told.
pub(super) async fn sweep(manager: &SnapshotManager, left: &[Leftover]) -> Result<Vec<Leftover>> {
    let left = left.to_vec();
    in_task(manager, move |manager| async move {
        let (mut swept, mut failed) = (Vec::new(), Vec::new());
        let has_its_own = |kind| matches!(kind, LeftoverKind::Upload | LeftoverKind::Deletion);
        // Never by the clock of this machine, which may be wrong by days.
        let now = if left.iter().all(|leftover| has_its_own(leftover.what)) {
            DateTime::<Utc>::MIN_UTC
        } else {
            match delete::store_time(&manager).await {
                Ok(now) => now,
                // Nothing is old then that has no mark of its own.
                Err(error) => {
                    failed.push(("the time of the store", error));
                    DateTime::<Utc>::MIN_UTC
                }
            }
        };
        for leftover in &left {
            match sweep_one(&manager, leftover, now).await {
                Ok(true) => swept.push(leftover.clone()),
                Ok(false) => {}
                Err(error) => failed.push((leftover.key.as_str(), error)),
            }
        }
        if left.iter().any(Leftover::is_of_store) {
            // The store takes them all at once; those that nobody asked for are as old as the others.
            match manager.store.sweep(catalog::is_ours, manager.grace_before(now), true).await {
                Ok(staged) => swept.extend(staged.iter().map(Leftover::of_store)),
                Err(error) => failed.push(("files that were being written", error)),
            }
        }
        swept.sort();
        not_swept(failed).map_or(Ok(swept), Err)
    })
    .await
}

/// One error for all that could not be removed.
fn not_swept(failed: Vec<(&str, SnapshotError)>) -> Option<SnapshotError> {
    let told: Vec<String> = failed.iter().map(|(key, error)| format!("{key}: {}", error.message())).collect();
    let (_, first) = failed.into_iter().next()?;
    let what = format!("not everything that was left over could be removed: {}", told.join("; "));
    Some(SnapshotError::new(first.kind(), what).because(first))
}

/// Looks at a leftover again, where it is `now` by the clock of the store, and removes it.
async fn sweep_one(manager: &SnapshotManager, leftover: &Leftover, now: DateTime<Utc>) -> Result<bool> {
    match leftover.what {
        LeftoverKind::Mark => delete::sweep_mark(manager, &leftover.key, marks_grace_begins(manager, now)).await,
        LeftoverKind::Check => match manager.store.head(&leftover.key).await {
            Ok(object) if object.modified_at < manager.grace_before(now) => {
                manager.store.delete(&leftover.key).await.map(|()| true)
            }
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(false),
        },
        LeftoverKind::Staged | LeftoverKind::Directory => Ok(false),
        LeftoverKind::Upload | LeftoverKind::Deletion => match layout::parse_prefix(&leftover.key) {
            Some(id) => delete::sweep(manager, &id, Remains::LeftOver).await,
            None => Ok(false),
        },
    }
}

/// Runs work that is carried through even where nobody waits for it any more.
async fn in_task<T, W>(manager: &SnapshotManager, work: impl FnOnce(SnapshotManager) -> W) -> Result<T>
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let work = work(manager.clone());
    manager.tasks.spawn(work.in_current_span()).await.unwrap_or_else(|error| Err(failed_task(error)))
}
