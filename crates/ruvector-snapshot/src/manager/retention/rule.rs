//! One rule of a policy, and its verdict on each snapshot. Knows no other rule and no chain.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use super::period::Period;
use super::policy::LabelPattern;
use super::reason::{DropReason, KeepReason};
use super::span::Span;
use crate::manager::Snapshot;

/// A rule that is set: its count is not 0, its span not empty.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Last { count: usize },
    NewestOf { period: Period, count: usize },
    Within { span: Span },
    Label { pattern: LabelPattern },
}

/// Why the rule keeps a snapshot, or why it does not.
pub(super) type Verdict = Result<KeepReason, DropReason>;

impl Rule {
    /// The verdict on each of the snapshots, which come newest first.
    pub(super) fn judge(&self, newest_first: &[&Snapshot], time_zone: Tz) -> Vec<Verdict> {
        match self {
            Self::Last { count } => judge_last(newest_first, *count),
            Self::NewestOf { period, count } => judge_newest_of(newest_first, *period, *count, time_zone),
            Self::Within { span } => judge_within(newest_first, *span, time_zone),
            Self::Label { pattern } => judge_label(newest_first, pattern),
        }
    }
}

fn judge_last(newest_first: &[&Snapshot], count: usize) -> Vec<Verdict> {
    // What was compacted is there twice, as an increment and as a full snapshot; it is one state.
    let mut kept = BTreeMap::new();
    let verdict = |snapshot: &&Snapshot| {
        let state = (snapshot.created_at, snapshot.checksum.clone());
        match kept.get(&state) {
            Some(id) => Err(DropReason::SameState { id: String::clone(id) }),
            None if kept.len() == count => Err(DropReason::NotLast { count }),
            None => {
                kept.insert(state, snapshot.id.clone());
                Ok(KeepReason::Last { count })
            }
        }
    };
    newest_first.iter().map(verdict).collect()
}

fn judge_newest_of(newest_first: &[&Snapshot], period: Period, count: usize, time_zone: Tz) -> Vec<Verdict> {
    // A set, and not the last name alone: where clocks are put back across midnight, a day comes back after the next
    // has begun.
    let mut seen = BTreeSet::new();
    let verdict = |snapshot: &&Snapshot| {
        let name = period.name(snapshot.created_at, time_zone);
        if seen.contains(&name) {
            Err(DropReason::NotNewestOf { period, name })
        } else if seen.len() == count {
            Err(DropReason::NotLastOf { period, count })
        } else {
            seen.insert(name.clone());
            Ok(KeepReason::NewestOf { period, name })
        }
    };
    newest_first.iter().map(verdict).collect()
}

fn judge_within(newest_first: &[&Snapshot], span: Span, time_zone: Tz) -> Vec<Verdict> {
    let start = newest_first.first().and_then(|newest| span.before(newest.created_at, time_zone));
    let verdict = |snapshot: &&Snapshot| {
        let is_within = start.is_none_or(|start| snapshot.created_at >= start);
        if is_within { Ok(KeepReason::Within { span }) } else { Err(DropReason::NotWithin { span }) }
    };
    newest_first.iter().map(verdict).collect()
}

fn judge_label(newest_first: &[&Snapshot], pattern: &LabelPattern) -> Vec<Verdict> {
    let verdict = |snapshot: &&Snapshot| {
        let pattern = pattern.clone();
        match pattern.is_in(&snapshot.labels) {
            true => Ok(KeepReason::Label { pattern }),
            false => Err(DropReason::NoLabel { pattern }),
        }
    };
    newest_first.iter().map(verdict).collect()
}
