//! What a run has to do, decided from a listing and the time. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use ruvector_snapshot_format::ledger::VerifyDepth;
use ruvector_snapshot_format::metadata::SourceId;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::policy::schedule::full::{self, is_of};
use crate::policy::schedule::{FullRule, When};
use crate::snapshot::checks::Checks;
use crate::snapshot::{Listing, Snapshot};
use crate::text::composed_source;

/// Returns the usable snapshots of a source that are not dated in the future and are not being deleted, newest first.
pub(super) fn snapshots_of<'a>(listing: &'a Listing, source: &SourceId) -> impl Iterator<Item = &'a Snapshot> {
    let source = composed_source(source.clone());
    let is_credible = |snapshot: &&Snapshot| !listing.is_dated_in_future(&snapshot.id);
    listing.without_marked(&listing.snapshots).filter(move |snapshot| is_of(snapshot, &source)).filter(is_credible)
}

/// Returns the sources, if each is there once: the second database of a name would be taken for the first one.
pub(super) fn distinct(sources: Vec<SourceId>) -> Result<Vec<SourceId>> {
    let mut known = BTreeSet::new();
    match sources.iter().find(|source| !known.insert(composed_source((*source).clone()).to_string())) {
        None => Ok(sources),
        Some(twice) => {
            let message = format!("two databases of the job are called {twice}; give each a source of its own");
            Err(SnapshotError::new(ErrorKind::InvalidInput, message))
        }
    }
}

/// Why a store that had snapshots of a job must not be begun anew.
pub(super) const LOST_ALL: &str = "the store has no snapshots of this job any more; check that its disk is mounted. If they were \
    deleted on purpose, take one again, or stop the scheduler and start it again";

/// Returns why a run must not begin a new store, if it must not: its disk may not be mounted.
pub(super) fn problem_of_store(
    listing: &Listing,
    sources: &[SourceId],
    requires_store: bool,
    is_known: bool,
) -> Option<&'static str> {
    let sources: Vec<SourceId> = sources.iter().cloned().map(composed_source).collect();
    // Also one that is dated in the future or is being deleted shows that this is the store.
    let has_own = || listing.snapshots.iter().any(|snapshot| sources.iter().any(|source| is_of(snapshot, source)));
    if requires_store && is_empty(listing) {
        return Some("the store has no snapshots, and the job requires that it has; check that its disk is mounted");
    }
    (is_known && listing.unusable.is_empty() && !has_own()).then_some(LOST_ALL)
}

/// Returns whether a store has no snapshots, not even such as cannot be used.
pub(super) fn is_empty(listing: &Listing) -> bool {
    listing.ids().next().is_none()
}

/// Returns the id of the base of the next snapshot of a source. `None` if it is a full one.
pub(super) fn base_of_next<'a>(
    listing: &'a Listing,
    source: &SourceId,
    rule: (&FullRule, usize),
    now: DateTime<Utc>,
) -> Option<&'a str> {
    let problems = listing.problems();
    let is_sound = |snapshot: &Snapshot| {
        !problems.contains_key(&snapshot.id) && !listing.marked_for_deletion.contains(&snapshot.id)
    };
    full::base_of_next(&listing.snapshots, is_sound, source, rule, now).map(|base| base.id.as_str())
}

/// Returns the ids of the snapshots of these sources that a verification reads: also of those that cannot be used, and of those whose
/// source cannot be read.
pub(super) fn to_verify<'a>(listing: &'a Listing, sources: &[SourceId]) -> Vec<&'a str> {
    let usable = sources.iter().flat_map(|source| snapshots_of(listing, source));
    let usable = usable.map(|snapshot| snapshot.id.as_str()).collect::<Vec<_>>();
    usable.into_iter().chain(unusable_of(listing, sources)).collect()
}

/// Returns why snapshots of these sources, or of sources that cannot be read, cannot be relied on, as sentences.
pub(super) fn problems_of(listing: &Listing, sources: &[SourceId]) -> Vec<String> {
    let known = listing.problems();
    let usable = sources.iter().flat_map(|source| snapshots_of(listing, source));
    let usable = usable.filter_map(|snapshot| known.get(&snapshot.id).cloned());
    let unusable = unusable_of(listing, sources).filter_map(|id| listing.problem_of(id));
    usable.chain(unusable).chain(listing.possible_losses()).map(|problem| problem.to_string()).collect()
}

fn unusable_of<'a>(listing: &'a Listing, sources: &[SourceId]) -> impl Iterator<Item = &'a str> {
    let sources: Vec<SourceId> = sources.iter().cloned().map(composed_source).collect();
    let is_own = move |source: Option<SourceId>| source.is_none_or(|source| sources.contains(&composed_source(source)));
    let unusable = listing.unusable.iter();
    let own = unusable.filter(move |one| is_own(one.source.as_ref().and_then(|source| source.id())));
    own.map(|one| one.id.as_str())
}

/// Returns when the oldest of the newest snapshots of these sources was taken: every due time until then has had its run. `None` if a
/// source has no snapshot.
pub(super) fn handled_until(listing: &Listing, sources: &[SourceId]) -> Option<DateTime<Utc>> {
    let newest = sources.iter().map(|source| snapshots_of(listing, source).next().map(|newest| newest.created_at));
    newest.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// Returns those of the snapshots that were not found intact to this depth on a day. Another program may have done it: the daemon before
/// a restart, or a run that was asked for.
pub(super) fn not_verified_on<'a>(
    listing: &Listing,
    ids: Vec<&'a str>,
    depth: VerifyDepth,
    day: NaiveDate,
) -> Vec<&'a str> {
    let (problems, usable) = (listing.problems(), listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()));
    let sound: BTreeSet<&str> = usable.filter(|id| !problems.contains_key(*id)).collect();
    let was_verified = |id: &str| {
        let intact_at = listing.checks_of(id).and_then(|checks| checks.intact_at(depth));
        sound.contains(id) && intact_at.is_some_and(|at| at.date_naive() >= day)
    };
    ids.into_iter().filter(|id| !was_verified(id)).collect()
}

/// Returns the part that is verified on a day: each of them once in as many days.
pub(super) fn part_of(day: NaiveDate, parts: u16) -> Result<VerifyDepth> {
    let days = day.signed_duration_since(NaiveDate::default()).num_days();
    let number = days.rem_euclid(i64::from(parts.max(1))) + 1;
    Ok(VerifyDepth::subset(u16::try_from(number).unwrap_or(1), parts)?)
}

/// Returns the snapshot of a source that is to be drilled: the newest, if a due time has passed since the last drill, or since the
/// first snapshot.
pub(super) fn drill_of<'a>(
    listing: &'a Listing,
    source: &SourceId,
    when: &When,
    now: DateTime<Utc>,
) -> Option<&'a Snapshot> {
    let checks = |snapshot: &Snapshot| listing.checks_of(&snapshot.id).cloned().unwrap_or_default();
    let drilled_at = |snapshot: &Snapshot| {
        let checks = checks(snapshot);
        [Checks::drilled_at, Checks::drill_failed_at].into_iter().filter_map(|at| at(&checks)).max()
    };
    let newest = snapshots_of(listing, source).next()?;
    let last = snapshots_of(listing, source).filter_map(drilled_at).max();
    // A snapshot that was taken at the due time is one of it.
    let first = snapshots_of(listing, source).map(|snapshot| snapshot.created_at - TimeDelta::seconds(1)).min();
    let since = last.or(first)?;
    when.next_after(since).is_some_and(|due| due <= now).then_some(newest)
}
