//! delete, clean-up and sweep: carries plans out and decides nothing. How a deletion goes is in `delete.rs`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::Instrument as _;

use super::catalog::Survey;
use super::dependants::dependants;
use super::retention::PrunePlan;
use super::{SnapshotManager, delete, failed_task, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout;

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
    /// The key of an object, or what all keys of it begin with.
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
            Some(objects) if objects.contains_key(layout::DELETED_JSON) => {
                let what = format!(
                    "snapshot {id} is being deleted already, or a deletion of it was cut off; prune finishes that later"
                );
                return Err(SnapshotError::new(ErrorKind::NotFound, what));
            }
            _ => return Err(no_snapshot(id)),
        }
    }
    survey_without(survey, &asked)?;
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

/// Refuses where a snapshot other than those cannot be read: it may stand on others.
fn survey_without(survey: &Survey, asked: &BTreeSet<SnapshotId>) -> Result<()> {
    let is_other = |id: &str| !asked.iter().any(|asked| asked.as_str() == id);
    let unknown =
        survey.listing.damaged.iter().find(|other| other.error.kind() != ErrorKind::Damaged && is_other(&other.id));
    if unknown.is_some() { survey.check_all_known() } else { Ok(()) }
}

/// Deletes what the plan says. Carried through even where nobody waits for it.
pub(super) async fn delete(manager: &SnapshotManager, plan: &DeletePlan) -> Result<usize> {
    let ids: Vec<SnapshotId> = plan.ids.iter().map(|id| id.parse()).collect::<Result<_>>()?;
    let deleted = in_task(manager, move |manager| async move { delete::delete(&manager, &ids).await }).await?;
    match deleted.put_back.first() {
        None => Ok(deleted.gone.len()),
        Some(id) => {
            let what = format!("snapshot {id} stays: a snapshot came to stand on it while it was being deleted");
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
pub(super) fn leftovers(survey: &Survey, grace_begins: DateTime<Utc>) -> Vec<Leftover> {
    let is_old = |object: &crate::store::ObjectInfo| object.modified_at < grace_begins;
    let mut left = Vec::new();
    for (id, found) in &survey.found {
        let bytes = found.values().map(|object| object.size_bytes).sum();
        let deleted = found.get(layout::DELETED_JSON);
        if found.contains_key(layout::METADATA_JSON) {
            let marks = [deleted, found.get(layout::UPLOAD_JSON)].into_iter().flatten().filter(|mark| is_old(mark));
            left.extend(marks.map(|mark| Leftover {
                key: mark.key.clone(),
                what: LeftoverKind::Mark,
                bytes: mark.size_bytes,
            }));
        } else if let Some(mark) = deleted {
            if is_old(mark) {
                left.push(Leftover { key: layout::prefix(id), what: LeftoverKind::Deletion, bytes });
            }
        } else if found.values().all(is_old) {
            left.push(Leftover { key: layout::prefix(id), what: LeftoverKind::Upload, bytes });
        }
    }
    let checks = survey.checks.iter().filter(|object| is_old(object));
    left.extend(checks.map(|object| Leftover {
        key: object.key.clone(),
        what: LeftoverKind::Check,
        bytes: object.size_bytes,
    }));
    left.sort();
    left
}

/// Removes leftovers; returns those that are gone.
pub(super) async fn sweep(manager: &SnapshotManager, left: &[Leftover]) -> Result<Vec<Leftover>> {
    let left = left.to_vec();
    in_task(manager, move |manager| async move {
        let mut swept = Vec::new();
        for leftover in left {
            if sweep_one(&manager, &leftover).await? {
                swept.push(leftover);
            }
        }
        Ok(swept)
    })
    .await
}

async fn sweep_one(manager: &SnapshotManager, leftover: &Leftover) -> Result<bool> {
    let store = manager.store.as_ref();
    match leftover.what {
        LeftoverKind::Mark | LeftoverKind::Check => store.delete(&leftover.key).await.map(|()| true),
        LeftoverKind::Staged => Ok(false),
        LeftoverKind::Upload => match layout::parse_prefix(&leftover.key) {
            Some(id) => delete::sweep_upload(manager, &id).await,
            None => Ok(false),
        },
        LeftoverKind::Deletion => {
            let id = layout::parse_prefix(&leftover.key);
            Ok(!delete::take_up(manager, id).await?.gone.is_empty())
        }
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
