//! The chains of the snapshots of a listing. Asks no store.

use ruvector_snapshot_format::lineage::{BaseRef, Lineage};
use serde::Serialize;

use super::{Listing, Snapshot};

/// The bases of a snapshot, as far as a [`Listing`] shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ancestry {
    /// Ids of the ancestors, the direct base first.
    pub ids: Vec<String>,
    /// How the chain ends. If it does not end with a full snapshot, the last of `ids` is the one that is missing,
    /// unusable or being deleted.
    pub end: ChainEnd,
}

/// How a chain of bases ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChainEnd {
    /// With a full snapshot. The snapshot can be restored.
    Full,
    /// A base is missing.
    Missing,
    /// A base is listed in [`Listing::unusable`].
    Unusable,
    /// A base is being deleted.
    Deleting,
}

/// The bases of all snapshots of a listing, computed once.
#[derive(Debug)]
pub struct Ancestries<'a> {
    listing: &'a Listing,
    lineage: Lineage<&'a str>,
}

impl Ancestries<'_> {
    /// Returns the ancestors of a snapshot and how its chain ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// let ancestries = listing.ancestries();
    /// for snapshot in &listing.snapshots {
    ///     println!("{}: {:?}", snapshot.id, ancestries.of(snapshot));
    /// }
    /// # }
    /// ```
    pub fn of(&self, snapshot: &Snapshot) -> Ancestry {
        let ids = self.lineage.ancestors(&snapshot.id.as_str()).map(|id| (*id).to_owned()).collect();
        let end = match self.lineage.broken_at(&snapshot.id.as_str()) {
            None => ChainEnd::Full,
            Some(id) => self.listing.why_unavailable(id),
        };
        Ancestry { ids, end }
    }
}

impl Listing {
    /// Returns the ancestors of a snapshot and how its chain ends. For several snapshots, [`ancestries`](Self::ancestries)
    /// computes them once.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// if let Some(newest) = listing.snapshots.first() {
    ///     println!("{}: {:?}", newest.id, listing.ancestry(newest));
    /// }
    /// # }
    /// ```
    pub fn ancestry(&self, snapshot: &Snapshot) -> Ancestry {
        self.ancestries().of(snapshot)
    }

    /// Returns the bases of all snapshots.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// let ancestries = listing.ancestries();
    /// println!("{}", listing.snapshots.iter().filter(|snapshot| ancestries.of(snapshot).ids.is_empty()).count());
    /// # }
    /// ```
    pub fn ancestries(&self) -> Ancestries<'_> {
        Ancestries { listing: self, lineage: self.lineage() }
    }

    /// Returns the ids of all direct and indirect dependents of these snapshots, newest first, without the snapshots
    /// themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing, id: &str) {
    /// println!("{} snapshots depend on {id}", listing.dependents(&[id]).len());
    /// # }
    /// ```
    pub fn dependents(&self, ids: &[&str]) -> Vec<String> {
        let given = ids.iter().copied().collect();
        self.lineage().dependents(&given).into_iter().map(str::to_owned).collect()
    }

    pub(super) fn lineage(&self) -> Lineage<&str> {
        let base = |snapshot| Snapshot::base_id(snapshot).map_or(BaseRef::Full, BaseRef::Base);
        Lineage::new(self.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), base(snapshot))))
    }

    pub(super) fn why_unavailable(&self, id: &str) -> ChainEnd {
        if self.unusable.iter().any(|unusable| unusable.id == id) {
            ChainEnd::Unusable
        } else if self.deleting.iter().any(|deleting| deleting == id) {
            ChainEnd::Deleting
        } else {
            ChainEnd::Missing
        }
    }
}
