//! The dependency graph of snapshots: which snapshot depends on which.
//!
//! An incremental snapshot depends on its base, the base on its own base, and so on, down to a full snapshot. All code
//! that asks what depends on what, or what has to be kept for something else, asks a [`Lineage`].
//!
//! This module is pure. It knows ids and bases. It must not know stores, markers, pins or retention rules: callers pass
//! everything that is kept for such a reason to [`Lineage::required_by`], as a survivor or as a root.
//!
//! # Unreadable bases
//!
//! If the metadata of a snapshot cannot be read, its base is unknown. The metadata may be repaired later, and then the
//! base must still exist. A base is always older than its dependents. This gives one rule:
//!
//! **If a required snapshot depends on a snapshot whose base is unreadable, every snapshot older than the latter is
//! required.**
//!
//! [`Lineage::required_by`] is the only place that applies this rule. A snapshot with an unreadable base and without
//! dependents requires nothing. Otherwise one corrupt object would prevent every deletion in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

/// The base of a snapshot, as far as its metadata can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseRef<K> {
    /// None: the snapshot is full.
    Full,
    /// The snapshot with this id, whether it exists or not.
    Base(K),
    /// Unknown, because the metadata of the snapshot cannot be read. Any older snapshot may be the base.
    Unreadable,
}

/// Where a chain ends, seen from one of its snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEnd<'a, K> {
    /// At this full snapshot. The chain is complete.
    Full(&'a K),
    /// At this id, which is the base of a snapshot and does not exist.
    Missing(&'a K),
    /// At this snapshot, whose own base is unreadable.
    Unreadable(&'a K),
    /// In a cycle. This is its oldest snapshot.
    Cycle(&'a K),
}

/// The snapshots of a store, and the base of each.
///
/// `K` is the type of the ids. Its order is age: an id that is smaller belongs to an older snapshot. Only the rule for
/// unreadable bases assumes that a base is older than its dependents. Cycles and missing bases are valid input.
///
/// Every method is linear in the number of snapshots, apart from the look-up of ids, and none is recursive.
///
/// ```
/// use std::collections::BTreeSet;
///
/// use ruvector_snapshot_format::lineage::{BaseRef, Lineage};
///
/// let lineage = Lineage::new([
///     ("1 full", BaseRef::Full),
///     ("2 increment", BaseRef::Base("1 full")),
///     ("3 corrupt", BaseRef::Unreadable),
///     ("4 increment", BaseRef::Base("3 corrupt")),
///     ("5 full", BaseRef::Full),
/// ]);
/// assert_eq!(lineage.dependents(&BTreeSet::from(["1 full"])), ["2 increment"]);
/// assert_eq!(lineage.broken_at(&"4 increment"), Some(&"3 corrupt"));
///
/// let required = lineage.required_by(|id| *id == "4 increment", []);
/// assert!(required.contains(&"1 full"), "it is older than 3, and may be the base of 3");
/// assert!(!required.contains(&"5 full"));
/// ```
#[derive(Debug, Clone)]
pub struct Lineage<K> {
    /// Every id that was given, or named as a base. Sorted, oldest first.
    ids: Vec<K>,
    /// For each of `ids`.
    nodes: Vec<Node>,
    /// For each of `ids`.
    chains: Vec<Chain>,
}

/// The snapshots that must be kept. See [`Lineage::required_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required<K> {
    ids: BTreeSet<K>,
    unreadable_bases: BTreeSet<K>,
}

/// A snapshot. Its base is an index of [`Lineage::ids`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Full,
    Base(usize),
    Unreadable,
    /// Only named as a base.
    Missing,
}

/// Where the chain of a snapshot ends, and the number of its ancestors.
#[derive(Debug, Clone, Copy)]
struct Chain {
    end: usize,
    is_cycle: bool,
    ancestors: usize,
}

/// Indices to visit, each once.
struct Worklist {
    has: Vec<bool>,
    pending: Vec<usize>,
}

impl<K: Ord + Clone> Lineage<K> {
    /// Builds the graph from every snapshot and its base. If an id is given twice, the last base counts.
    pub fn new(snapshots: impl IntoIterator<Item = (K, BaseRef<K>)>) -> Self {
        let given: BTreeMap<K, BaseRef<K>> = snapshots.into_iter().collect();
        let mut all: BTreeMap<K, Option<BaseRef<K>>> = BTreeMap::new();
        for (id, base) in given {
            if let BaseRef::Base(base_id) = &base {
                all.entry(base_id.clone()).or_default();
            }
            all.insert(id, Some(base));
        }
        let (ids, bases): (Vec<K>, Vec<Option<BaseRef<K>>>) = all.into_iter().unzip();
        let node = |base: Option<BaseRef<K>>| match base {
            None => Node::Missing,
            Some(BaseRef::Full) => Node::Full,
            Some(BaseRef::Unreadable) => Node::Unreadable,
            Some(BaseRef::Base(base_id)) => ids.binary_search(&base_id).map_or(Node::Missing, Node::Base),
        };
        let nodes: Vec<Node> = bases.into_iter().map(node).collect();
        let chains = chains(&nodes);
        Self { ids, nodes, chains }
    }

    /// Returns whether the graph was built with this snapshot. An id that is only named as a base is not contained.
    pub fn contains(&self, id: &K) -> bool {
        self.index_of(id).is_some_and(|at| self.nodes[at] != Node::Missing)
    }

    /// Returns the base of a snapshot, whether it exists or not. Returns `None` if the snapshot is full, unreadable or
    /// not contained.
    pub fn base_of(&self, id: &K) -> Option<&K> {
        self.base_index(self.index_of(id)?).map(|base| &self.ids[base])
    }

    /// Iterates over the ancestors of a snapshot: its base, the base of that, and so on, as far as they are known.
    ///
    /// The last one is full, missing or unreadable (see [`chain_end`](Self::chain_end)). In a cycle each ancestor is
    /// returned once, and the snapshot itself is not returned.
    pub fn ancestors(&self, id: &K) -> impl Iterator<Item = &K> {
        let start = self.index_of(id);
        let bases = iter::successors(start, |at| self.base_index(*at)).skip(1);
        bases.take(self.depth(id)).map(|at| &self.ids[at])
    }

    /// Returns the number of [`ancestors`](Self::ancestors), in constant time.
    pub fn depth(&self, id: &K) -> usize {
        self.index_of(id).map_or(0, |at| self.chains[at].ancestors)
    }

    /// Returns where the chain of a snapshot ends, or `None` if the id is neither contained nor named as a base.
    pub fn chain_end(&self, id: &K) -> Option<ChainEnd<'_, K>> {
        let chain = self.chains[self.index_of(id)?];
        let end = &self.ids[chain.end];
        Some(match self.nodes[chain.end] {
            _ if chain.is_cycle => ChainEnd::Cycle(end),
            Node::Full => ChainEnd::Full(end),
            Node::Unreadable => ChainEnd::Unreadable(end),
            Node::Missing | Node::Base(_) => ChainEnd::Missing(end),
        })
    }

    /// Returns the id at which the chain of a snapshot is broken, or `None` if the chain is complete.
    pub fn broken_at(&self, id: &K) -> Option<&K> {
        self.chain_end(id).and_then(ChainEnd::broken_at)
    }

    /// Returns every snapshot that depends on one of `ids`, directly or not, without `ids` themselves.
    ///
    /// The newest comes first, and each comes before its own base.
    pub fn dependents(&self, ids: &BTreeSet<K>) -> Vec<K> {
        let mut direct = vec![Vec::new(); self.ids.len()];
        for at in 0..self.ids.len() {
            if let Some(base) = self.base_index(at) {
                direct[base].push(at);
            }
        }
        let mut found = Worklist::new(self.ids.len());
        ids.iter().filter_map(|id| self.index_of(id)).for_each(|at| found.add(at));
        while let Some(at) = found.take() {
            direct[at].iter().for_each(|dependent| found.add(*dependent));
        }
        let newest_first = (0..self.ids.len()).rev().filter(|at| found.has(*at)).map(|at| &self.ids[at]);
        let dependents: Vec<K> = newest_first.filter(|id| !ids.contains(id)).cloned().collect();
        self.deletion_order(&dependents)
    }

    /// Sorts snapshots for deletion: in the given order, except that each comes before all snapshots that it depends
    /// on.
    ///
    /// Indirect dependencies count, even through snapshots that are not in `preferred`. The order within a cycle is
    /// unspecified. Every id is returned once.
    pub fn deletion_order(&self, preferred: &[K]) -> Vec<K> {
        let mut unplaced: BTreeSet<&K> = preferred.iter().collect();
        let mut passed = vec![false; self.ids.len()];
        let mut last_first = Vec::with_capacity(unplaced.len());
        // From the end of the list. Before an id takes the last free place, its ancestors take their places behind it.
        for id in preferred.iter().rev() {
            // The graph may not know the id.
            let mut path = vec![id];
            let mut next = self.index_of(id);
            while let Some(at) = next.filter(|at| !passed[*at]) {
                passed[at] = true;
                path.push(&self.ids[at]);
                next = self.base_index(at);
            }
            last_first.extend(path.into_iter().rev().filter(|id| unplaced.remove(id)).cloned());
        }
        last_first.reverse();
        last_first
    }

    /// Returns everything that must be kept so that every survivor can still be restored.
    ///
    /// The result contains the survivors, the roots and all their ancestors. If one of these chains ends at a snapshot
    /// whose base is unreadable, the result also contains every snapshot older than that one.
    ///
    /// `roots` are the bases of snapshots that are not in the graph yet, for example those that the marker of an upload
    /// in progress names. A corrupt snapshot is a survivor too, unless it is about to be deleted.
    pub fn required_by<'a>(
        &self,
        is_survivor: impl Fn(&K) -> bool,
        roots: impl IntoIterator<Item = &'a K>,
    ) -> Required<K>
    where
        K: 'a,
    {
        let mut required = Worklist::new(self.ids.len());
        let survivors =
            (0..self.ids.len()).filter(|at| self.nodes[*at] != Node::Missing && is_survivor(&self.ids[*at]));
        survivors.for_each(|at| required.add(at));
        let (mut unreadable, mut not_in_graph) = (BTreeSet::new(), BTreeSet::new());
        for root in roots {
            match self.index_of(root) {
                Some(at) => self.require_base(at, &mut required, &mut unreadable),
                None => drop(not_in_graph.insert(root.clone())),
            }
        }
        while let Some(at) = required.take() {
            if let Some(base) = self.base_index(at) {
                self.require_base(base, &mut required, &mut unreadable);
            }
        }
        let ids = (0..self.ids.len()).filter(|at| required.has(*at)).map(|at| self.ids[at].clone());
        Required {
            ids: ids.chain(not_in_graph).collect(),
            unreadable_bases: unreadable.into_iter().map(|at| self.ids[at].clone()).collect(),
        }
    }

    /// Requires a snapshot that a required snapshot depends on, and applies the rule for unreadable bases.
    fn require_base(&self, base: usize, required: &mut Worklist, unreadable: &mut BTreeSet<usize>) {
        required.add(base);
        if self.nodes[base] == Node::Unreadable {
            let already_required = unreadable.last().copied().unwrap_or(0);
            (already_required..base).for_each(|older| required.add(older));
            unreadable.insert(base);
        }
    }

    fn index_of(&self, id: &K) -> Option<usize> {
        self.ids.binary_search(id).ok()
    }

    fn base_index(&self, at: usize) -> Option<usize> {
        match self.nodes[at] {
            Node::Base(base) => Some(base),
            Node::Full | Node::Unreadable | Node::Missing => None,
        }
    }
}

impl<'a, K> ChainEnd<'a, K> {
    /// Returns the id at which the chain is broken, or `None` if it is complete.
    pub fn broken_at(self) -> Option<&'a K> {
        match self {
            Self::Full(_) => None,
            Self::Missing(id) | Self::Unreadable(id) | Self::Cycle(id) => Some(id),
        }
    }
}

impl<K: Ord> Required<K> {
    /// Returns whether an id must be kept. The graph need not contain it: a snapshot that has lost its metadata may be
    /// the base of a snapshot whose base is unreadable.
    pub fn contains(&self, id: &K) -> bool {
        self.ids.contains(id) || self.unreadable_bases.last().is_some_and(|newest| id < newest)
    }

    /// Returns the ids that must be kept, including missing bases. Use [`contains`](Self::contains) for ids that are
    /// not in the graph.
    pub fn ids(&self) -> &BTreeSet<K> {
        &self.ids
    }

    /// Returns the required snapshots that have a dependent and whose own base is unreadable. All snapshots older than
    /// one of them are required.
    pub fn unreadable_bases(&self) -> &BTreeSet<K> {
        &self.unreadable_bases
    }
}

impl Worklist {
    fn new(len: usize) -> Self {
        Self { has: vec![false; len], pending: Vec::new() }
    }

    /// Adds an index, if it was never added before.
    fn add(&mut self, at: usize) {
        if !self.has[at] {
            self.has[at] = true;
            self.pending.push(at);
        }
    }

    /// Returns an index that was added and not returned before.
    fn take(&mut self) -> Option<usize> {
        self.pending.pop()
    }

    /// Returns whether an index was ever added.
    fn has(&self, at: usize) -> bool {
        self.has[at]
    }
}

/// Finds the end of the chain of each node. Visits each node once, however long the chains are.
fn chains(nodes: &[Node]) -> Vec<Chain> {
    let mut chains: Vec<Option<Chain>> = vec![None; nodes.len()];
    let mut passed = vec![false; nodes.len()];
    for start in 0..nodes.len() {
        let (mut path, mut at) = (Vec::new(), start);
        let mut chain = loop {
            if let Some(known) = chains[at] {
                break known;
            }
            if passed[at] {
                let cycle = path.split_off(path.iter().position(|passed| *passed == at).unwrap_or(0));
                let end = cycle.iter().copied().min().unwrap_or(at);
                let in_cycle = Chain { end, is_cycle: true, ancestors: cycle.len() - 1 };
                cycle.into_iter().for_each(|at| chains[at] = Some(in_cycle));
                break in_cycle;
            }
            passed[at] = true;
            path.push(at);
            let Node::Base(base) = nodes[at] else {
                path.pop();
                let end = Chain { end: at, is_cycle: false, ancestors: 0 };
                chains[at] = Some(end);
                break end;
            };
            at = base;
        };
        for at in path.into_iter().rev() {
            chain.ancestors += 1;
            chains[at] = Some(chain);
        }
    }
    // Every node has a chain now.
    chains.into_iter().flatten().collect()
}
