//! The snapshots in the order of their recorded times, and which stands on which. Knows no rule.

use std::collections::BTreeMap;

use super::invalid;
use crate::error::Result;
use crate::format::metadata::SnapshotType;
use crate::manager::Snapshot;
use crate::manager::catalog::newest_first;

/// Snapshots, newest first by their recorded time; where that is the same a full one before an increment, then by id.
pub(super) struct History {
    pub(super) snapshots: Vec<Snapshot>,
    places: BTreeMap<String, usize>,
    bases: Vec<Option<usize>>,
    chains: Vec<Chain>,
}

/// Where the bases of a snapshot, one after the other, lead to.
#[derive(Clone)]
enum Chain {
    /// To a full snapshot.
    Whole,
    /// To this id, which is missing or was passed before.
    Broken(String),
}

impl History {
    pub(super) fn new(mut snapshots: Vec<Snapshot>) -> Result<Self> {
        snapshots.sort_by(newest_first);
        let mut places = BTreeMap::new();
        for (at, snapshot) in snapshots.iter().enumerate() {
            // One of the two might be dropped, and the other go with it.
            if places.insert(snapshot.id.clone(), at).is_some() {
                return Err(invalid(format!("two snapshots have the id {}; give each once", snapshot.id)));
            }
        }
        let place = |snapshot: &Snapshot| base_id(snapshot).and_then(|id| places.get(id).copied());
        let bases: Vec<_> = snapshots.iter().map(place).collect();
        let chains = chains(&snapshots, &bases);
        Ok(Self { snapshots, places, bases, chains })
    }

    /// What a snapshot stands on directly, if that is among the snapshots.
    pub(super) fn base_of(&self, at: usize) -> Option<usize> {
        self.bases[at]
    }

    /// The id at which the chain of a snapshot's bases breaks off; `None` where it ends in a full snapshot.
    pub(super) fn break_of(&self, at: usize) -> Option<&str> {
        match &self.chains[at] {
            Chain::Whole => None,
            Chain::Broken(id) => Some(id),
        }
    }

    /// Where a snapshot of this id is.
    pub(super) fn place_of(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// The turn of each snapshot that goes: newest first, but none before what stands on it, whatever times are
    /// recorded.
    pub(super) fn turns_to_go(&self, goes: &[bool]) -> Vec<usize> {
        let mut turns = vec![None; goes.len()];
        let mut turn = goes.len();
        // From the end: the oldest has the last turn, and before one gets its turn its bases have theirs.
        for oldest in (0..goes.len()).rev() {
            let waits = |at: &usize| goes[*at] && turns[*at].is_none();
            let chain: Vec<usize> =
                std::iter::successors(Some(oldest).filter(waits), |at| self.bases[*at].filter(waits)).collect();
            for at in chain.into_iter().rev() {
                turn -= 1;
                turns[at] = Some(turn);
            }
        }
        turns.into_iter().map(Option::unwrap_or_default).collect()
    }
}

fn base_id(snapshot: &Snapshot) -> Option<&str> {
    match &snapshot.snapshot_type {
        SnapshotType::Full => None,
        SnapshotType::Incremental { base_id } => Some(base_id),
    }
}

/// Where the chain of each snapshot leads to. Every snapshot is passed once, however long the chains are.
fn chains(snapshots: &[Snapshot], bases: &[Option<usize>]) -> Vec<Chain> {
    let mut chains: Vec<Option<Chain>> = vec![None; snapshots.len()];
    let mut passed = vec![false; snapshots.len()];
    for start in 0..snapshots.len() {
        let mut path = Vec::new();
        let mut at = start;
        let end = loop {
            if let Some(known) = &chains[at] {
                break known.clone();
            }
            if passed[at] {
                break Chain::Broken(snapshots[at].id.clone());
            }
            passed[at] = true;
            path.push(at);
            match (base_id(&snapshots[at]), bases[at]) {
                (None, _) => break Chain::Whole,
                (Some(_), Some(base)) => at = base,
                (Some(missing), None) => break Chain::Broken(missing.to_owned()),
            }
        };
        path.into_iter().for_each(|at| chains[at] = Some(end.clone()));
    }
    chains.into_iter().map(|chain| chain.unwrap_or(Chain::Whole)).collect()
}
