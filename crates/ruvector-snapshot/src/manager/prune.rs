//! delete, clean-up and sweep: carries plans out and decides nothing. How a deletion goes is in `delete.rs`.

use std::collections::BTreeSet;

use serde::Serialize;
use tracing::Instrument as _;

use super::catalog::{Survey, is_being_deleted};
use super::dependants::dependants;
use super::retention::PrunePlan;
use super::{SnapshotManager, delete, failed_task, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout;
use crate::store::ObjectInfo;

/// What is to be deleted, each before what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeletePlan {
    /// The ids that were asked for, and with `cascade` everything that stands on them.
    pub ids: Vec<String>,
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
}

/// Plans the deletion of these snapshots.
pub(super) fn plan_delete(survey: &Survey, ids: &[SnapshotId], cascade: bool) -> Result<DeletePlan> {
    let asked: BTreeSet<SnapshotId> = ids.iter().cloned().collect();
    for id in &asked {
        let found = survey.found.get(id);
        match found {
            Some(objects) if objects.contains_key(layout::METADATA_JSON) => {}
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
        let first = asked.iter().next().map(SnapshotId::as_str).unwrap_or_default();
        let what = format!(
            "snapshot {first} is needed: {}{more} stand on it; delete those first, or all of them with cascade",
            names.join(", ")
        );
        return Err(SnapshotError::new(ErrorKind::Invalid, what));
    }
    let all: BTreeSet<&SnapshotId> = asked.iter().chain(&others).collect();
    let is_pinned =
        |id: &&&SnapshotId| survey.found.get(**id).is_some_and(|found| found.contains_key(layout::PINNED_JSON));
    if let Some(pinned) = all.iter().find(is_pinned) {
        let what = format!("snapshot {pinned} is pinned, so nothing was deleted; unpin it first");
        return Err(SnapshotError::new(ErrorKind::Invalid, what));
    }
    Ok(DeletePlan { ids: all.into_iter().rev().map(ToString::to_string).collect() })
}

/// Deletes what the plan says. Carried through even where nobody waits for it.
pub(super) async fn delete(manager: &SnapshotManager, plan: &DeletePlan) -> Result<usize> {
    let ids: Vec<SnapshotId> = plan.ids.iter().map(|id| id.parse()).collect::<Result<_>>()?;
    let deleted = in_task(manager, move |manager| async move { delete::delete(&manager, &ids).await }).await?;
    match deleted.kept.last() {
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

/// Deletes what the plan drops, sweeps what it says, and returns how many snapshots are gone.
pub(super) async fn carry_out(manager: &SnapshotManager, plan: &PrunePlan) -> Result<usize> {
    let ids: Vec<SnapshotId> = plan.drop.iter().map(|dropped| dropped.snapshot.id.parse()).collect::<Result<_>>()?;
    let deleted = in_task(manager, move |manager| async move { delete::delete(&manager, &ids).await }).await?;
    Ok(deleted.gone.len())
}

/// What killed processes have left and nobody has touched since `grace_begins`.
pub(super) async fn leftovers(manager: &SnapshotManager, survey: &Survey) -> Result<Vec<Leftover>> {
    let grace_begins = manager.grace_begins();
    let is_old = |object: &&ObjectInfo| object.modified_at < grace_begins;
    let leftover = |what: LeftoverKind| move |object: &ObjectInfo| Leftover::of(object, what);
    let mut left = Vec::new();
    for (id, found) in &survey.found {
        if found.contains_key(layout::METADATA_JSON) {
            let is_mark = |file: &str| file == layout::UPLOAD_JSON || layout::is_deletion_mark(file);
            let marks = found.iter().filter(|(file, _)| is_mark(file)).map(|(_, object)| object);
            left.extend(marks.filter(is_old).map(leftover(LeftoverKind::Mark)));
        } else if found.values().all(|object| is_old(&object)) {
            let what = if is_being_deleted(found) { LeftoverKind::Deletion } else { LeftoverKind::Upload };
            let bytes = found.values().map(|object| object.size_bytes).sum();
            left.push(Leftover { key: layout::prefix(id), what, bytes });
        }
    }
    left.extend(survey.checks.iter().filter(is_old).map(leftover(LeftoverKind::Check)));
    let staged = manager.store.sweep(grace_begins, false).await?;
    left.extend(staged.iter().map(leftover(LeftoverKind::Staged)));
    left.sort();
    Ok(left)
}

impl Leftover {
    fn of(object: &ObjectInfo, what: LeftoverKind) -> Self {
        Self { key: object.key.clone(), what, bytes: object.size_bytes }
    }
}

/// Removes leftovers; returns those that are gone.
pub(super) async fn sweep(manager: &SnapshotManager, left: &[Leftover]) -> Result<Vec<Leftover>> {
    let left = left.to_vec();
    in_task(manager, move |manager| async move {
        let mut swept = Vec::new();
        for leftover in &left {
            if sweep_one(&manager, leftover).await? {
                swept.push(leftover.clone());
            }
        }
        if left.iter().any(|leftover| leftover.what == LeftoverKind::Staged) {
            // The store takes them all at once; those that nobody asked for are as old as the others.
            let staged = manager.store.sweep(manager.grace_begins(), true).await?;
            swept.extend(staged.iter().map(|object| Leftover::of(object, LeftoverKind::Staged)));
        }
        swept.sort();
        Ok(swept)
    })
    .await
}

async fn sweep_one(manager: &SnapshotManager, leftover: &Leftover) -> Result<bool> {
    match leftover.what {
        LeftoverKind::Mark | LeftoverKind::Check => manager.store.delete(&leftover.key).await.map(|()| true),
        LeftoverKind::Staged => Ok(false),
        LeftoverKind::Upload | LeftoverKind::Deletion => match layout::parse_prefix(&leftover.key) {
            Some(id) => delete::sweep(manager, &id).await,
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
