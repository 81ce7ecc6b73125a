//! Retention: which snapshots a policy keeps and which it drops, and why.
//!
//! Pure. [`plan`] decides from its arguments alone, and must not read a store or a clock.
//!
//! | file | contents |
//! |------|----------|
//! | `policy` | the policy, as the user states it |
//! | `group` | the groups of snapshots that a policy is applied to |
//! | `rule` | one rule of a policy, and its result for each snapshot |
//! | `calendar`, `calendar_span`, `time_zone` | periods, spans and time zones |
//! | `external_refs` | pins, unusable snapshots and uploads; what they and kept snapshots depend on |
//! | `reason` | reasons to keep or drop, as data and as text |

mod calendar;
mod calendar_span;
mod external_refs;
mod group;
mod label_pattern;
mod policy;
mod reason;
mod rule;
mod time_zone;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use ruvector_snapshot_format::lineage::BaseRef;
use ruvector_snapshot_format::lineage::Lineage;

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::snapshot::problems::SnapshotProblem;
use crate::snapshot::{Orphan, Snapshot, is_in_future, newest_first};
use crate::text::label;
pub use calendar::Period;
pub use calendar_span::Span;
pub use external_refs::ExternalRefs;
pub use group::{GroupBy, SnapshotGroup};
pub use label_pattern::LabelPattern;
pub use policy::PrunePolicy;
pub use reason::{DropReason, KeepReason};
use rule::Rule;
pub use time_zone::TimeZone;

/// A decision about every snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use = "a plan deletes nothing until it is applied"]
pub struct PrunePlan {
    /// What the snapshots were grouped by.
    pub group_by: GroupBy,
    /// The groups that the rules were applied to, sorted. The snapshots that lack what the others are grouped by are
    /// the last one.
    pub groups: Vec<PlannedGroup>,
    /// The snapshots to keep, newest first.
    pub keep: Vec<KeptSnapshot>,
    /// The snapshots to delete, in deletion order: newest first, and each before the snapshots it depends on.
    pub drop: Vec<DroppedSnapshot>,
    /// The orphans to collect. Always empty in a plan that [`plan`] returns.
    pub orphans: Vec<Orphan>,
    /// What else belongs to no snapshot. It is not collected now: it is younger than the grace period, so that a running
    /// command may own it, or a snapshot may depend on it, or it is a multipart upload, which is never collected.
    pub unfinished: Vec<Orphan>,
    /// Whether `unfinished` has all multipart uploads of the store, as
    /// [`Listing::multipart_uploads_known`](crate::Listing::multipart_uploads_known). False in a plan that [`plan`] returns.
    pub multipart_uploads_known: bool,
    /// The ids of the unusable snapshots, newest first. They are not deleted, and rules do not count them.
    pub unusable: Vec<String>,
    /// The ids of those of `unusable` that could not be read, newest first. They may be intact, so everything that is older
    /// than the newest of them is kept.
    pub unread: Vec<String>,
    /// The rules for labels that no snapshot has. They may be mistyped.
    pub unmatched: Vec<LabelPattern>,
    /// Why snapshots of `keep` cannot be relied on, the newest first: their chain is broken, or something was found corrupt.
    /// Always empty in a plan that [`plan`] returns.
    pub problems: Vec<SnapshotProblem>,
    /// What may be snapshots that have lost their `metadata.json`, as
    /// [`Listing::possible_losses`](crate::Listing::possible_losses). Some of it can be in `orphans`. Always empty in a plan
    /// that [`plan`] returns.
    pub possible_losses: Vec<SnapshotProblem>,
    /// The databases of which there are snapshots, but none of `keep` without a problem. Always empty in a plan that
    /// [`plan`] returns.
    pub unprotected: Vec<String>,
    /// The databases of which `keep` has at most half of the records that a snapshot of the drop list has. Always empty in a plan
    /// that [`plan`] returns.
    pub shrunken: Vec<ShrunkenDatabase>,
    /// The database files of which `drop` has every snapshot, while `keep` has snapshots of another file under the same name of
    /// a source. Always empty in a plan that [`plan`] returns.
    pub displaced: Vec<DisplacedDatabase>,
}

/// A database file of which nothing is kept, because snapshots of another file have the name of its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DisplacedDatabase {
    /// The name of the source.
    pub source: String,
    /// The path of the database of which nothing is kept.
    pub path: String,
    /// The path of a database of which a snapshot is kept.
    pub kept_path: String,
}

/// A database that has lost half of its records or more, as far as a plan shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShrunkenDatabase {
    /// The database.
    pub source: String,
    /// The records of the largest snapshot that is kept and can be relied on.
    pub kept_records: u64,
    /// The records of the largest snapshot that would be dropped.
    pub dropped_records: u64,
}

/// A group of snapshots, and which of them to keep and to delete.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlannedGroup {
    /// What the snapshots have in common.
    pub group: SnapshotGroup,
    /// The ids of its snapshots that are kept, newest first.
    pub keep: Vec<String>,
    /// The ids of its snapshots that are deleted, newest first.
    pub drop: Vec<String>,
}

/// A snapshot to keep.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KeptSnapshot {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// All reasons to keep it. There is at least one.
    pub reasons: Vec<KeepReason>,
}

/// A snapshot to delete.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DroppedSnapshot {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// Why the rules do not keep it, with one reason for each rule of the policy.
    pub reasons: Vec<DropReason>,
}

/// Decides which snapshots to keep and which to delete.
///
/// A snapshot is kept if at least one of these is true:
///
/// - A rule of the policy keeps it.
/// - It is of none of the [sources](PrunePolicy::sources) of the policy.
/// - It is pinned.
/// - It is dated in the future: more than [`CLOCK_TOLERANCE`](crate::CLOCK_TOLERANCE) after `now`.
/// - Its chain is broken.
/// - It or an ancestor was found corrupt.
/// - A kept or unusable snapshot or an upload in progress depends on it, directly or not.
/// - It is older than an unusable snapshot that has dependents and whose own base is unreadable. It may be that base.
///
/// The rules apply to each group of [`PrunePolicy::group_by`] on its own. Everything else crosses groups: a base is kept
/// if a snapshot of any group depends on it.
///
/// Rules do not count snapshots that are dated in the future, which may come from a wrong clock, snapshots with a
/// broken chain, whose base may come back, and snapshots that were found corrupt, which may be repaired. Otherwise the only restorable snapshot of a day could be deleted in favour
/// of one of these.
///
/// The decision depends on the times, labels, bases and content checksums of the snapshots, on what they are grouped by,
/// and on nothing else about them.
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`] if the policy has no rule, if it keeps what is within a span of less than an hour, if
/// it groups by a label that no snapshot has, if two snapshots have the same id, or if it would delete snapshots of a group that
/// can be restored and its rules keep none of them. Only rules for labels can keep nothing of a group: a label may be
/// mistyped. Snapshots that are kept for another reason, for example a pin, do not make up for that.
pub fn plan(
    mut snapshots: Vec<Snapshot>,
    external: &ExternalRefs,
    policy: &PrunePolicy,
    now: DateTime<Utc>,
) -> Result<PrunePlan> {
    policy.check()?;
    let rules = policy.rules();
    snapshots.sort_by(newest_first);
    check_ids_are_distinct(&snapshots)?;
    check_label_exists(&snapshots, &policy.group_by)?;
    // Of the usable snapshots alone: a chain through an unusable snapshot is broken.
    let usable = Lineage::new(snapshots.iter().map(|snapshot| (&*snapshot.id, external_refs::base_ref(snapshot))));
    let mut keep: Vec<Vec<KeepReason>> =
        snapshots.iter().map(|snapshot| unconditional_reasons(snapshot, &usable, external, policy, now)).collect();
    // Rules count pinned snapshots. Those that are dated in the future, are corrupt or have a broken chain they do not.
    let counted: Vec<bool> =
        keep.iter().map(|reasons| reasons.iter().all(|reason| *reason == KeepReason::Pinned)).collect();
    let groups = groups(&snapshots, &policy.group_by);
    let drop = apply_rules(&rules, &snapshots, &groups, &counted, &policy.time_zone, &mut keep);
    let lineage = external.lineage(&snapshots);
    let by_rules = kept_by_rules(&snapshots, &usable, &counted, &keep);
    external_refs::keep_required(&snapshots, external, &lineage, &mut keep);
    let is_allowed = policy.allow_unprotected;
    let check =
        |(group, members): &Group| check_keeps_counted((group, members), is_allowed, &counted, &by_rules, &keep);
    groups.iter().try_for_each(check)?;
    let dropped: Vec<&str> =
        snapshots.iter().zip(&keep).filter(|(_, keep)| keep.is_empty()).map(|(snapshot, _)| &*snapshot.id).collect();
    let order: Vec<String> = lineage.deletion_order(&dropped).into_iter().map(str::to_owned).collect();
    let unusable = external.unusable.keys().rev().cloned().collect();
    let unread = external.unread.iter().rev().cloned().collect();
    let groups = planned_groups(groups, &snapshots, &keep);
    let (group_by, unmatched) = (policy.group_by.clone(), unmatched(&snapshots, policy));
    Ok(PrunePlan { group_by, groups, unusable, unread, unmatched, ..divide(snapshots, keep, drop, &order) })
}

/// A group, and the indices of its snapshots, newest first.
type Group = (SnapshotGroup, Vec<usize>);

/// Divides the snapshots, which must be sorted, newest first. The group of those that lack what the others are grouped
/// by comes last.
fn groups(snapshots: &[Snapshot], group_by: &GroupBy) -> Vec<Group> {
    let mut members: BTreeMap<SnapshotGroup, Vec<usize>> = BTreeMap::new();
    for (at, snapshot) in snapshots.iter().enumerate() {
        members.entry(group_by.group_of(snapshot)).or_default().push(at);
    }
    let (rest, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|(group, _)| group.is_rest());
    others.into_iter().chain(rest).collect()
}

fn planned_groups(groups: Vec<Group>, snapshots: &[Snapshot], keep: &[Vec<KeepReason>]) -> Vec<PlannedGroup> {
    let planned = groups.into_iter().map(|(group, members)| {
        let ids = |is_kept: bool| {
            let chosen = members.iter().filter(|at| keep[**at].is_empty() != is_kept);
            chosen.map(|at| snapshots[*at].id.clone()).collect()
        };
        PlannedGroup { group, keep: ids(true), drop: ids(false) }
    });
    planned.collect()
}

/// If an id occurred twice, one snapshot might be dropped, and the other deleted with it.
fn check_ids_are_distinct(snapshots: &[Snapshot]) -> Result<()> {
    let mut ids = BTreeSet::new();
    match snapshots.iter().find(|snapshot| !ids.insert(&snapshot.id)) {
        None => Ok(()),
        Some(twice) => Err(invalid(format!("two snapshots have the id {}; pass each snapshot once", twice.id))),
    }
}

/// If no snapshot has the label, the key is mistyped. The snapshots of all sources would be one group.
fn check_label_exists(snapshots: &[Snapshot], group_by: &GroupBy) -> Result<()> {
    match group_by {
        GroupBy::Label(key)
            if !snapshots.is_empty() && snapshots.iter().all(|one| label(&one.labels, key).is_none()) =>
        {
            Err(invalid(format!(
                "no snapshot has the label {key:?}; nothing was deleted; check the key that snapshots are grouped by"
            )))
        }
        GroupBy::Label(key) => match snapshots.iter().find(|one| !one.unreadable_annotations.is_empty()) {
            None => Ok(()),
            Some(unknown) => Err(invalid(format!(
                "the label {key:?} of snapshot {} cannot be known, because an annotation cannot be read; nothing was deleted; \
                 annotate the snapshot again, or group snapshots in another way",
                unknown.id
            ))),
        },
        _ => Ok(()),
    }
}

/// Returns the rules for labels that no snapshot has. One whose annotations cannot be read may have any.
fn unmatched(snapshots: &[Snapshot], policy: &PrunePolicy) -> Vec<LabelPattern> {
    let may_match = |pattern: &LabelPattern, snapshot: &Snapshot| {
        pattern.matches(&snapshot.labels) || !snapshot.unreadable_annotations.is_empty()
    };
    let is_unmatched =
        |pattern: &&LabelPattern| !snapshots.is_empty() && !snapshots.iter().any(|one| may_match(pattern, one));
    policy.keep_labels.iter().filter(is_unmatched).cloned().collect()
}

/// Returns the reasons to keep a snapshot that come neither from a rule nor from a dependent.
fn unconditional_reasons(
    snapshot: &Snapshot,
    usable: &Lineage<&str>,
    external: &ExternalRefs,
    policy: &PrunePolicy,
    now: DateTime<Utc>,
) -> Vec<KeepReason> {
    let other = (!policy.includes(&snapshot.source)).then_some(KeepReason::OtherSource);
    let pinned = external.pinned.contains(&snapshot.id).then_some(KeepReason::Pinned);
    let future = is_in_future(snapshot.created_at, now).then_some(KeepReason::Future);
    let broken = usable.broken_at(&&*snapshot.id).map(|id| KeepReason::BrokenChain { at: (*id).to_owned() });
    let corrupt = external.corrupt.contains(&snapshot.id).then_some(KeepReason::Corrupt);
    [other, pinned, future, broken, corrupt].into_iter().flatten().collect()
}

/// Evaluates the rules for each group on its own. Adds the reasons to keep to `keep`, and returns the reasons to drop.
/// Both are in the order of `snapshots`, newest first.
fn apply_rules(
    rules: &[Rule],
    snapshots: &[Snapshot],
    groups: &[Group],
    is_counted: &[bool],
    time_zone: &TimeZone,
    keep: &mut [Vec<KeepReason>],
) -> Vec<Vec<DropReason>> {
    let mut drop = vec![Vec::new(); snapshots.len()];
    for (_, members) in groups {
        let counted: Vec<usize> = members.iter().copied().filter(|at| is_counted[*at]).collect();
        let candidates: Vec<&Snapshot> = counted.iter().map(|at| &snapshots[*at]).collect();
        for rule in rules {
            for (at, result) in counted.iter().zip(rule.evaluate(&candidates, time_zone)) {
                match result {
                    Ok(reason) => keep[*at].push(reason),
                    Err(reason) => drop[*at].push(reason),
                }
            }
        }
    }
    drop
}

/// Returns which snapshots a rule keeps, or are ancestors of one that a rule keeps. `keep` must not have reasons of
/// dependencies yet.
fn kept_by_rules(
    snapshots: &[Snapshot],
    usable: &Lineage<&str>,
    is_counted: &[bool],
    keep: &[Vec<KeepReason>],
) -> Vec<bool> {
    // Apart from a pin, a snapshot that is counted has only the reasons of rules so far.
    let is_chosen = |at: &usize| is_counted[*at] && keep[*at].iter().any(|reason| *reason != KeepReason::Pinned);
    let chosen: BTreeSet<&str> = (0..snapshots.len()).filter(is_chosen).map(|at| &*snapshots[at].id).collect();
    let kept = usable.required_by(|id| chosen.contains(id), []);
    snapshots.iter().map(|snapshot| kept.contains(&&*snapshot.id)).collect()
}

/// Fails if snapshots of a group that rules count would be deleted, and rules keep none of them: a label may be mistyped.
/// What else is kept does not make up for them: a pin or a wrong clock would switch off this check.
fn check_keeps_counted(
    (group, members): (&SnapshotGroup, &[usize]),
    is_allowed: bool,
    is_counted: &[bool],
    by_rules: &[bool],
    keep: &[Vec<KeepReason>],
) -> Result<()> {
    let counted: Vec<usize> = members.iter().copied().filter(|at| is_counted[*at]).collect();
    if counted.iter().any(|at| by_rules[*at]) || counted.iter().all(|at| !keep[*at].is_empty()) {
        return Ok(());
    }
    let group = if *group == SnapshotGroup::All { String::new() } else { format!("in the group [{group}] ") };
    let has = |reason: &KeepReason| members.iter().any(|at| keep[*at].contains(reason));
    let except = match (has(&KeepReason::Pinned), has(&KeepReason::Future)) {
        (true, true) => " (pins, and those that are dated in the future, do not count)",
        (true, false) => " (pins do not count)",
        (false, true) => " (those that are dated in the future do not count)",
        (false, false) => "",
    };
    let none = match counted.len() {
        1 => "do not keep the only snapshot that can be restored".to_owned(),
        number => format!("keep none of the {number} snapshots that can be restored"),
    };
    let although =
        if is_allowed { ", also if it is allowed that nothing is left: a label may be mistyped" } else { "" };
    let problem = format!("{group}the rules {none}{except}, so nothing was deleted{although}");
    let advice = "check the labels of the rules, add a rule, for example one that keeps the last snapshot, or delete these \
                  snapshots by their ids first";
    Err(invalid(problem).with_remedy(Remedy::AddRule, advice))
}

/// Builds the plan. `order` lists the ids of the snapshots without a reason to be kept.
fn divide(
    snapshots: Vec<Snapshot>,
    keep: Vec<Vec<KeepReason>>,
    drop: Vec<Vec<DropReason>>,
    order: &[String],
) -> PrunePlan {
    let mut plan = PrunePlan::default();
    let mut dropped = BTreeMap::new();
    for ((snapshot, keep), drop) in snapshots.into_iter().zip(keep).zip(drop) {
        if keep.is_empty() {
            dropped.insert(snapshot.id.clone(), DroppedSnapshot { snapshot, reasons: drop });
        } else {
            plan.keep.push(KeptSnapshot { snapshot, reasons: keep });
        }
    }
    plan.drop = order.iter().filter_map(|id| dropped.remove(id)).collect();
    plan
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::InvalidInput, message)
}
