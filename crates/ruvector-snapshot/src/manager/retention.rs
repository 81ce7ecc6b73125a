//! What a clean-up keeps and what it drops, and why. Pure: decides from its arguments alone, and asks neither a store
//! nor a clock.
//!
//! [`plan`] puts the parts together: `policy` is what a user asks for, `rule` judges the snapshots by each rule of it,
//! `period` and `span` know the calendar, `history` knows which snapshot stands on which, `others` is what else there
//! is and what that needs, `reason` says why.

mod history;
mod others;
mod period;
mod policy;
mod reason;
mod rule;
mod span;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Snapshot;
use super::prune::Leftover;
use crate::error::{ErrorKind, Result, SnapshotError};
use history::History;
pub use others::{Others, StandsOn};
pub use period::Period;
pub use policy::{LabelPattern, PrunePolicy};
pub use reason::{DropReason, KeepReason};
pub use span::Span;

/// A decision about every snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PrunePlan {
    /// What stays, newest first.
    pub keep: Vec<Kept>,
    /// What goes, in an order in which it can be deleted: newest first, and none before all that stand on it.
    pub drop: Vec<Dropped>,
    /// What killed processes have left and is swept; none where the plan is [`plan`]'s alone.
    pub sweep: Vec<Leftover>,
    /// The ids of the snapshots that cannot be used, newest first. They neither count nor go.
    pub damaged: Vec<String>,
}

/// A snapshot that stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Kept {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// All that keeps it; at least one.
    pub reasons: Vec<KeepReason>,
}

/// A snapshot that goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Dropped {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// Why each rule of the policy does not keep it; one for every rule.
    pub reasons: Vec<DropReason>,
}

/// Decides which snapshots stay and which go.
///
/// A snapshot stays where any rule of the policy keeps it, where it is pinned, where it is dated after `now`, where one
/// that stays stands on it, directly or not, or where one of the `others` needs it. Only the recorded time, the labels,
/// the bases and the content checksum are looked at.
///
/// A snapshot that is dated in the future, and one that cannot be restored because its chain of bases breaks off or
/// leads back to itself, stays and takes no other's place in any rule: the first may be the work of a clock that was
/// wrong, and the base of the second may come back. Were they counted, the one snapshot of a day that can be restored
/// might go. Where such a chain breaks off at one of the others of which nobody knows what it stands on, that may be
/// any older snapshot, so all of them stay.
///
/// # Errors
///
/// `Invalid` for a policy without a rule, for one that would drop every snapshot that can be restored, and where two
/// snapshots have the same id.
pub fn plan(snapshots: Vec<Snapshot>, others: &Others, policy: &PrunePolicy, now: DateTime<Utc>) -> Result<PrunePlan> {
    let rules = policy.rules();
    if rules.is_empty() {
        return Err(invalid(
            "a clean-up that keeps nothing would delete every snapshot; give at least one rule of what to keep, with a \
             count of at least 1",
        ));
    }
    let history = History::new(snapshots)?;
    let mut keep = reasons_apart(&history, &others.pinned, now);
    let mut drop = vec![Vec::new(); keep.len()];
    // The future and the unrestorable take no part in the rules; what is pinned does.
    let is_counted = |at: &usize| keep[*at].iter().all(|reason| *reason == KeepReason::Pinned);
    let counted: Vec<usize> = (0..keep.len()).filter(is_counted).collect();
    let snapshots: Vec<&Snapshot> = counted.iter().map(|at| &history.snapshots[*at]).collect();
    for rule in &rules {
        for (at, verdict) in counted.iter().zip(rule.judge(&snapshots, policy.time_zone)) {
            match verdict {
                Ok(reason) => keep[*at].push(reason),
                Err(reason) => drop[*at].push(reason),
            }
        }
    }
    others::keep_what_is_needed(others, &history, &mut keep);
    keep_bases(&history, &mut keep);
    let usable: Vec<usize> = (0..keep.len()).filter(|at| history.break_of(*at).is_none()).collect();
    if !usable.is_empty() && usable.iter().all(|at| keep[*at].is_empty()) {
        return Err(invalid(format!(
            "the rules keep none of the {} snapshots that can be restored, which would delete every one; give another rule, \
             as one that keeps the last",
            usable.len()
        )));
    }
    let damaged = others.damaged.keys().rev().cloned().collect();
    Ok(PrunePlan { damaged, ..divide(history, keep, drop) })
}

/// The reasons that come from no rule: for each snapshot of the history, in its order.
fn reasons_apart(history: &History, pinned: &BTreeSet<String>, now: DateTime<Utc>) -> Vec<Vec<KeepReason>> {
    let reasons = |(at, snapshot): (usize, &Snapshot)| {
        let pinned = pinned.contains(&snapshot.id).then_some(KeepReason::Pinned);
        let future = (snapshot.created_at > now).then_some(KeepReason::Future);
        let broken = history.break_of(at).map(|id| KeepReason::BrokenChain { at: id.to_owned() });
        pinned.into_iter().chain(future).chain(broken).collect()
    };
    history.snapshots.iter().enumerate().map(reasons).collect()
}

/// Gives every snapshot that one which stays stands on its reason to stay.
fn keep_bases(history: &History, keep: &mut [Vec<KeepReason>]) {
    let mut stays: Vec<bool> = keep.iter().map(|reasons| !reasons.is_empty()).collect();
    for at in 0..keep.len() {
        let mut next = if stays[at] { history.base_of(at) } else { None };
        // The bases of one that stays already are, or will be, seen from there.
        while let Some(base) = next.filter(|base| !stays[*base]) {
            stays[base] = true;
            next = history.base_of(base);
        }
    }
    for at in (0..keep.len()).filter(|at| stays[*at]) {
        if let Some(base) = history.base_of(at) {
            keep[base].push(KeepReason::BaseOf { id: history.snapshots[at].id.clone() });
        }
    }
}

fn divide(history: History, keep: Vec<Vec<KeepReason>>, drop: Vec<Vec<DropReason>>) -> PrunePlan {
    let goes: Vec<bool> = keep.iter().map(Vec::is_empty).collect();
    let turns = history.turns_to_go(&goes);
    let mut plan = PrunePlan::default();
    let mut dropped = Vec::new();
    for (at, ((snapshot, keep), drop)) in history.snapshots.into_iter().zip(keep).zip(drop).enumerate() {
        match goes[at] {
            false => plan.keep.push(Kept { snapshot, reasons: keep }),
            true => dropped.push((turns[at], Dropped { snapshot, reasons: drop })),
        }
    }
    dropped.sort_by_key(|(turn, _)| *turn);
    plan.drop = dropped.into_iter().map(|(_, dropped)| dropped).collect();
    plan
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::Invalid, message)
}
