//! One rule of a policy, and its result for each snapshot. Must not know other rules, dependencies or pins.

use std::collections::{BTreeMap, BTreeSet};

use super::Snapshot;
use super::calendar::Period;
use super::calendar_span::Span;
use super::label_pattern::LabelPattern;
use super::reason::{DropReason, KeepReason};
use super::time_zone::{TimeZone, timestamp};

/// A rule that is in effect: its count is not 0, its span is not empty.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Last { count: usize },
    NewestOf { period: Period, count: usize },
    Within { span: Span },
    Label { pattern: LabelPattern },
}

/// Why the rule keeps a snapshot, or why it does not.
pub(super) type RuleResult = Result<KeepReason, DropReason>;

impl Rule {
    /// Returns a result for each snapshot. The snapshots must be sorted, newest first.
    pub(super) fn evaluate(&self, newest_first: &[&Snapshot], time_zone: &TimeZone) -> Vec<RuleResult> {
        match self {
            Self::Last { count } => evaluate_last(newest_first, *count),
            Self::NewestOf { period, count } => evaluate_newest_of(newest_first, *period, *count, time_zone),
            Self::Within { span } => evaluate_within(newest_first, *span, time_zone),
            Self::Label { pattern } => evaluate_label(newest_first, pattern),
        }
    }
}

fn evaluate_last(newest_first: &[&Snapshot], count: usize) -> Vec<RuleResult> {
    // An increment and the full snapshot that it was compacted into are one state, and count once.
    let mut kept = BTreeMap::new();
    let evaluate = |snapshot: &&Snapshot| {
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
    newest_first.iter().map(evaluate).collect()
}

fn evaluate_newest_of(
    newest_first: &[&Snapshot],
    period: Period,
    count: usize,
    time_zone: &TimeZone,
) -> Vec<RuleResult> {
    // A set rather than the previous name: if clocks are set back across midnight, a day continues after the next one
    // has begun.
    let mut seen = BTreeSet::new();
    let evaluate = |snapshot: &&Snapshot| {
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
    newest_first.iter().map(evaluate).collect()
}

fn evaluate_within(newest_first: &[&Snapshot], span: Span, time_zone: &TimeZone) -> Vec<RuleResult> {
    let start = newest_first.first().and_then(|newest| span.before(timestamp(newest.created_at), time_zone));
    let evaluate = |snapshot: &&Snapshot| {
        let is_within = start.is_none_or(|start| timestamp(snapshot.created_at) >= start);
        if is_within { Ok(KeepReason::Within { span }) } else { Err(DropReason::NotWithin { span }) }
    };
    newest_first.iter().map(evaluate).collect()
}

fn evaluate_label(newest_first: &[&Snapshot], pattern: &LabelPattern) -> Vec<RuleResult> {
    let evaluate = |snapshot: &&Snapshot| {
        let pattern = pattern.clone();
        if pattern.matches(&snapshot.labels) {
            Ok(KeepReason::Label { pattern })
        } else if !snapshot.unreadable_annotations.is_empty() {
            Ok(KeepReason::MayHaveLabel { pattern })
        } else {
            Err(DropReason::NoLabel { pattern })
        }
    };
    newest_first.iter().map(evaluate).collect()
}
