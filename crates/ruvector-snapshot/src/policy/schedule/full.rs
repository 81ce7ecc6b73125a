//! When a job takes a full snapshot, and when an increment on which base.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::metadata::SourceId;
use serde::Serialize;

use super::When;
use crate::snapshot::{Snapshot, is_in_future};
use crate::text::composed_source;

/// When a job takes a full snapshot. All others are increments on the newest snapshot of the database.
///
/// A restore reads a whole chain, and everything in it is needed. So there is a full snapshot from time to time.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::schedule::FullRule;
///
/// assert_eq!(FullRule::default(), FullRule::Every(7));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FullRule {
    /// Every so many snapshots: a chain has at most so many. 1 takes only full ones. 0 is as 1.
    Every(u32),
    /// The first snapshot after each of these due times.
    When(When),
}

/// Every seventh: with a snapshot a day, one a week.
impl Default for FullRule {
    fn default() -> Self {
        Self::Every(7)
    }
}

impl FullRule {
    /// Returns whether the next snapshot is a full one, if there is a chain that it could be added to: of so many snapshots, with a
    /// full one that was taken at this time.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use ruvector_snapshot::schedule::FullRule;
    ///
    /// let taken = DateTime::UNIX_EPOCH;
    /// assert!(!FullRule::Every(7).is_due(6, taken, taken));
    /// assert!(FullRule::Every(7).is_due(7, taken, taken));
    ///
    /// let weekly = FullRule::When("@weekly".parse()?);
    /// assert!(!weekly.is_due(99, taken, taken + TimeDelta::days(2)));
    /// assert!(weekly.is_due(1, taken, taken + TimeDelta::days(7)));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn is_due(&self, chain_length: usize, full_taken_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        match self {
            Self::Every(number) => chain_length >= *number as usize,
            Self::When(when) => when.next_after(full_taken_at).is_some_and(|due| due <= now),
        }
    }
}

/// Returns the base of the next snapshot of a source: the newest that can be relied on. `None` if the next one is full: by the rule, if
/// the chain is as long as it can be, or if it is broken. `snapshots` are those of the store that can be used, newest first.
pub(crate) fn base_of_next<'a>(
    snapshots: &'a [Snapshot],
    is_sound: impl Fn(&Snapshot) -> bool,
    source: &SourceId,
    (rule, max_chain_length): (&FullRule, usize),
    now: DateTime<Utc>,
) -> Option<&'a Snapshot> {
    let source = composed_source(source.clone());
    let can_be_base = |snapshot: &&Snapshot| {
        is_of(snapshot, &source) && !is_in_future(snapshot.created_at, now) && is_sound(snapshot)
    };
    let newest = snapshots.iter().find(can_be_base)?;
    let (length, full) = chain(snapshots, newest)?;
    let is_full_due = length >= max_chain_length || rule.is_due(length, full.created_at, now);
    (!is_full_due).then_some(newest)
}

/// Returns whether a snapshot is of a source, in its composed form.
pub(crate) fn is_of(snapshot: &Snapshot, source: &SourceId) -> bool {
    snapshot.source.id().map(composed_source).as_ref() == Some(source)
}

/// Returns the length of the chain of a snapshot, and its full snapshot. `None` if the chain is broken.
fn chain<'a>(snapshots: &'a [Snapshot], snapshot: &'a Snapshot) -> Option<(usize, &'a Snapshot)> {
    let by_id: BTreeMap<&str, &Snapshot> = snapshots.iter().map(|one| (one.id.as_str(), one)).collect();
    let (mut length, mut last) = (1, snapshot);
    while let Some(base_id) = last.base_id() {
        last = by_id.get(base_id)?;
        length += 1;
        // No chain is longer than the store, unless it is a circle.
        if length > by_id.len() {
            return None;
        }
    }
    Some((length, last))
}
