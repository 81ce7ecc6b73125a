//! Everything in a store beside the usable snapshots that a plan has to respect, and the snapshots that are kept
//! because something depends on them. Must not know rules.

use std::collections::{BTreeMap, BTreeSet};

use ruvector_snapshot_format::lineage::{BaseRef, Lineage};
use ruvector_snapshot_format::model::SnapshotType;

use super::Snapshot;
use super::reason::KeepReason;
use crate::snapshot::Listing;
use crate::snapshot::problems::SnapshotProblem;

/// Everything that a plan has to respect and does not decide about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalRefs {
    /// The ids of the pinned snapshots.
    pub pinned: BTreeSet<String>,
    /// The ids of the snapshots that were found corrupt or are damaged, or have such an ancestor. They may be repaired later.
    pub corrupt: BTreeSet<String>,
    /// The snapshots that cannot be used now, and their bases. They may be repaired later.
    pub unusable: BTreeMap<String, BaseRef<String>>,
    /// The ids of those of `unusable` that could not be read. They may be intact, and depend on any older snapshot.
    pub unread: BTreeSet<String>,
    /// The uploads in progress, and all bases of each, direct or not.
    pub uploads: BTreeMap<String, Vec<String>>,
}

impl ExternalRefs {
    /// Returns what a listing alone shows. It has neither the bases of unusable snapshots nor those of uploads, which
    /// [`plan_prune`](crate::SnapshotManager::plan_prune) reads. So a plan that is made with it is for a display, and not for a deletion.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::retention::{self, ExternalRefs};
    /// use ruvector_snapshot::PrunePolicy;
    ///
    /// let listing = manager.list().await?;
    /// let (external, policy) = (ExternalRefs::of_listing(&listing), PrunePolicy::default().keep_last(7));
    /// for kept in retention::plan(listing.snapshots, &external, &policy, listing.listed_at)?.keep {
    ///     println!("{}: {}", kept.snapshot.id, kept.reasons.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn of_listing(listing: &Listing) -> Self {
        Self::of_problems(listing, &listing.problems())
    }

    /// As [`of_listing`](Self::of_listing), with the problems of the listing.
    pub(crate) fn of_problems(listing: &Listing, problems: &BTreeMap<String, SnapshotProblem>) -> Self {
        let pinned = listing.snapshots.iter().filter(|snapshot| snapshot.pinned);
        let corrupt =
            listing.checks.iter().filter(|(_, checks)| checks.corrupt_at().is_some()).map(|(id, _)| id.clone());
        let is_damaged = |problem: &SnapshotProblem| matches!(problem, SnapshotProblem::Damaged { .. });
        let damaged = problems.iter().filter(|(_, problem)| is_damaged(problem)).map(|(id, _)| id.clone());
        let unread = listing.unusable.iter().filter(|unusable| unusable.is_unread());
        Self {
            pinned: pinned.map(|snapshot| snapshot.id.clone()).collect(),
            corrupt: corrupt.chain(damaged).collect(),
            unusable: listing.unusable.iter().map(|one| (one.id.clone(), BaseRef::Unreadable)).collect(),
            unread: unread.map(|unusable| unusable.id.clone()).collect(),
            uploads: BTreeMap::new(),
        }
    }

    /// Returns the dependency graph of the usable snapshots together with the unusable ones.
    pub(super) fn lineage<'a>(&'a self, snapshots: &'a [Snapshot]) -> Lineage<&'a str> {
        let unusable = self.unusable.iter().map(|(id, base)| (id.as_str(), borrowed(base)));
        Lineage::new(unusable.chain(snapshots.iter().map(|snapshot| (snapshot.id.as_str(), base_ref(snapshot)))))
    }
}

/// Returns the base of a usable snapshot.
pub(super) fn base_ref(snapshot: &Snapshot) -> BaseRef<&str> {
    match &snapshot.snapshot_type {
        SnapshotType::Full => BaseRef::Full,
        SnapshotType::Incremental { base_id } => BaseRef::Base(base_id),
    }
}

/// Adds a reason to every snapshot that something kept depends on. `keep` holds the reasons of each of `snapshots`; one
/// with a reason is kept.
///
/// Unusable snapshots are never deleted, so they count as kept.
pub(super) fn keep_required(
    snapshots: &[Snapshot],
    external: &ExternalRefs,
    lineage: &Lineage<&str>,
    keep: &mut [Vec<KeepReason>],
) {
    let index: BTreeMap<&str, usize> = snapshots.iter().zip(0..).map(|(snapshot, at)| (&*snapshot.id, at)).collect();
    let kept: BTreeSet<&str> = snapshots
        .iter()
        .zip(&*keep)
        .filter(|(_, reasons)| !reasons.is_empty())
        .map(|(snapshot, _)| &*snapshot.id)
        .collect();
    let upload_bases = external.uploads.values().flatten();
    let roots: Vec<&str> = upload_bases.chain(&external.unread).map(String::as_str).collect();
    let is_survivor = |id: &&str| kept.contains(id) || external.unusable.contains_key(*id);
    let required = lineage.required_by(is_survivor, &roots);
    for (id, base) in &external.unusable {
        if let BaseRef::Base(base_id) = base
            && let Some(at) = index.get(base_id.as_str())
        {
            keep[*at].push(KeepReason::BaseOfUnusable { id: id.clone() });
        }
    }
    for (id, base_ids) in &external.uploads {
        for at in base_ids.iter().filter_map(|base_id| index.get(base_id.as_str())) {
            keep[*at].push(KeepReason::BaseOfUpload { id: id.clone() });
        }
    }
    for id in required.unreadable_bases() {
        for (_, reasons) in snapshots.iter().zip(&mut *keep).filter(|(snapshot, _)| *snapshot.id < **id) {
            reasons.push(KeepReason::MayBeNeededBy { id: (*id).to_owned() });
        }
    }
    for snapshot in snapshots.iter().filter(|snapshot| required.contains(&&*snapshot.id)) {
        if let Some(at) = lineage.base_of(&&*snapshot.id).and_then(|base_id| index.get(base_id)) {
            keep[*at].push(KeepReason::BaseOf { id: snapshot.id.clone() });
        }
    }
}

fn borrowed(base: &BaseRef<String>) -> BaseRef<&str> {
    match base {
        BaseRef::Full => BaseRef::Full,
        BaseRef::Base(id) => BaseRef::Base(id),
        BaseRef::Unreadable => BaseRef::Unreadable,
    }
}
