//! How the snapshots of a listing stand on each other. Pure: asks no store and prints nothing.

use std::collections::{BTreeMap, BTreeSet};

use ruvector_snapshot::{Listing, Snapshot, SnapshotType};

/// At least so much of an id is shown: the moment to the second.
const SHORT_LENGTH: usize = 15;

/// The snapshots of a listing by id.
pub(crate) struct Chains<'a> {
    snapshots: BTreeMap<&'a str, &'a Snapshot>,
    damaged: BTreeSet<&'a str>,
    deleting: BTreeSet<&'a str>,
}

/// What a snapshot stands on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Below<'a> {
    /// The ids, the newest first, as far down as the listing tells.
    pub(crate) ids: Vec<&'a str>,
    /// How the chain ends.
    pub(crate) end: End,
}

/// How a chain ends. Where it is not at a full snapshot, the last of [`Below::ids`] is the one that it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Full,
    Missing,
    /// It cannot be used, and the listing tells why.
    Damaged,
    /// What stands on it keeps it readable; the listing does not tell what it stands on itself.
    Deleting,
}

/// What a snapshot stands on directly.
pub(crate) fn base_id(snapshot: &Snapshot) -> Option<&str> {
    match &snapshot.snapshot_type {
        SnapshotType::Full => None,
        SnapshotType::Incremental { base_id } => Some(base_id),
    }
}

impl<'a> Chains<'a> {
    pub(crate) fn new(listing: &'a Listing) -> Self {
        Self {
            snapshots: listing.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), snapshot)).collect(),
            damaged: listing.damaged.iter().map(|damaged| damaged.id.as_str()).collect(),
            deleting: listing.deleting.iter().map(String::as_str).collect(),
        }
    }

    /// What a snapshot stands on.
    pub(crate) fn below(&self, snapshot: &'a Snapshot) -> Below<'a> {
        let (mut ids, mut current) = (Vec::new(), snapshot);
        while let Some(id) = base_id(current) {
            ids.push(id);
            // Every base is older than what stands on it, so this comes to an end.
            match self.snapshots.get(id) {
                Some(base) => current = base,
                None => return Below { ids, end: self.why_not(id) },
            }
        }
        Below { ids, end: End::Full }
    }

    /// Everything that stands on a snapshot, directly or not, newest first.
    pub(crate) fn above(&self, id: &str) -> Vec<&'a str> {
        let mut standing = BTreeSet::from([id]);
        // A base is older than what stands on it, so one pass from the oldest on sees every base first.
        for (above, snapshot) in &self.snapshots {
            if base_id(snapshot).is_some_and(|base_id| standing.contains(base_id)) {
                standing.insert(above);
            }
        }
        self.snapshots.keys().rev().copied().filter(|above| *above != id && standing.contains(above)).collect()
    }

    /// The start of an id that no other id of the listing has.
    pub(crate) fn short<'b>(&self, id: &'b str) -> &'b str {
        let others = self.snapshots.keys().chain(&self.damaged).chain(&self.deleting).filter(|other| **other != id);
        let same = |other: &&str| id.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let length = others.map(same).max().map_or(SHORT_LENGTH, |same| SHORT_LENGTH.max(same + 1));
        id.get(..length).unwrap_or(id)
    }

    fn why_not(&self, id: &str) -> End {
        match () {
            () if self.damaged.contains(id) => End::Damaged,
            () if self.deleting.contains(id) => End::Deleting,
            () => End::Missing,
        }
    }
}
