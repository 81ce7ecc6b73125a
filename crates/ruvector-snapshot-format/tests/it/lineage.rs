//! The dependency graph: examples, and random graphs with cycles, missing bases and unreadable bases against a naive
//! model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use ruvector_snapshot_format::lineage::{BaseRef, ChainEnd, Lineage};

use BaseRef::{Base, Full, Unreadable};

fn none() -> Vec<u32> {
    Vec::new()
}

fn set<const N: usize>(ids: [u32; N]) -> BTreeSet<u32> {
    ids.into()
}

#[test]
fn ancestors_are_listed_from_the_base_to_the_full_snapshot() {
    let lineage = Lineage::new([(1, Full), (2, Base(1)), (3, Base(2)), (4, Base(2)), (6, Base(5))]);
    let ancestors = |id| lineage.ancestors(&id).copied().collect::<Vec<u32>>();
    assert_eq!(ancestors(1), none());
    assert_eq!(ancestors(4), [2, 1]);
    assert_eq!(ancestors(6), [5], "a missing base is an ancestor");
    assert_eq!(ancestors(9), none(), "an unknown id has no ancestors");
    assert_eq!([1, 3, 6, 9].map(|id| lineage.depth(&id)), [0, 2, 1, 0]);
    assert_eq!([1, 3, 6, 9].map(|id| lineage.base_of(&id).copied()), [None, Some(2), Some(5), None]);
    assert_eq!([1, 5, 6, 9].map(|id| lineage.contains(&id)), [true, false, true, false]);
}

#[test]
fn dependents_are_listed_newest_first() {
    let lineage = Lineage::new([(1, Full), (2, Base(1)), (3, Base(2)), (4, Base(2)), (6, Base(5))]);
    assert_eq!(lineage.dependents(&set([1])), [4, 3, 2]);
    assert_eq!(lineage.dependents(&set([2, 3])), [4]);
    assert_eq!(lineage.dependents(&set([4, 6])), none());
    assert_eq!(lineage.dependents(&set([5, 1])), [6, 4, 3, 2], "a missing base has dependents");
    assert_eq!(lineage.dependents(&set([7])), none());
}

#[test]
fn dependents_come_before_their_base_even_if_the_base_is_newer() {
    let lineage = Lineage::new([(1, Base(9)), (2, Base(1)), (9, Full)]);
    assert_eq!(lineage.dependents(&set([9])), [2, 1]);
    let lineage = Lineage::new([(1, Base(5)), (5, Base(3)), (3, Full)]);
    assert_eq!(lineage.dependents(&set([3])), [1, 5]);
}

#[test]
fn a_chain_ends_at_a_full_snapshot_or_is_broken() {
    let lineage = Lineage::new([
        (1, Full),
        (2, Base(1)),
        (4, Base(3)),
        (5, Base(4)),
        (6, Unreadable),
        (7, Base(6)),
        (8, Base(8)),
        (11, Base(12)),
        (12, Base(11)),
        (13, Base(12)),
    ]);
    for (id, end) in [
        (1, ChainEnd::Full(&1)),
        (2, ChainEnd::Full(&1)),
        (5, ChainEnd::Missing(&3)),
        (6, ChainEnd::Unreadable(&6)),
        (7, ChainEnd::Unreadable(&6)),
        (8, ChainEnd::Cycle(&8)),
        (12, ChainEnd::Cycle(&11)),
        (13, ChainEnd::Cycle(&11)),
    ] {
        assert_eq!(lineage.chain_end(&id), Some(end), "{id}");
    }
    assert_eq!(lineage.chain_end(&99), None);
    assert_eq!([2, 5, 7, 13].map(|id| lineage.broken_at(&id).copied()), [None, Some(3), Some(6), Some(11)]);
}

#[test]
fn deletion_order_is_the_given_order_except_that_dependents_come_before_their_bases() {
    let lineage = Lineage::new([(1, Full), (2, Base(1)), (3, Base(2)), (5, Full), (8, Base(7))]);
    assert_eq!(lineage.deletion_order(&[5, 3, 2, 1]), [5, 3, 2, 1]);
    assert_eq!(lineage.deletion_order(&[1, 2, 5, 3]), [5, 3, 2, 1]);
    assert_eq!(lineage.deletion_order(&[1, 5, 3]), [5, 3, 1], "3 depends on 1 through 2, which is not deleted");
    assert_eq!(lineage.deletion_order(&[7, 8]), [8, 7], "7 does not exist and is the base of 8");
    assert_eq!(lineage.deletion_order(&[99, 2, 98, 2]), [99, 98, 2], "unknown ids keep their places");
}

#[test]
fn ancestors_of_survivors_and_of_roots_are_required() {
    let lineage = Lineage::new([(1, Full), (2, Base(1)), (3, Base(2)), (4, Full), (5, Base(4)), (7, Base(6))]);
    let required = |survivors: &[u32], roots: &[u32]| {
        let required = lineage.required_by(|id| survivors.contains(id), roots);
        assert!(required.unreadable_bases().is_empty());
        required.ids().clone()
    };
    assert_eq!(required(&[3], &[]), set([1, 2, 3]));
    assert_eq!(required(&[2, 4], &[]), set([1, 2, 4]));
    assert_eq!(required(&[7], &[5]), set([4, 5, 6, 7]));
    assert_eq!(required(&[], &[99]), set([99]), "a root may be unknown to the graph");
    assert_eq!(required(&[], &[]), set([]));
}

#[test]
fn everything_older_than_an_unreadable_base_is_required() {
    let lineage = Lineage::new([(1, Full), (2, Base(1)), (4, Unreadable), (5, Base(4)), (6, Base(5)), (7, Full)]);
    let required = lineage.required_by(|id| *id == 6, []);
    assert_eq!(required.ids(), &set([1, 2, 4, 5, 6]));
    assert_eq!(required.unreadable_bases(), &set([4]));
    // It may be a snapshot whose metadata.json is lost, which is not in the graph.
    assert_eq!([0, 3, 4, 7].map(|id| required.contains(&id)), [true, true, true, false]);
}

#[test]
fn an_unreadable_snapshot_without_dependents_requires_nothing() {
    let lineage = Lineage::new([(1, Full), (4, Unreadable), (5, Base(4))]);
    let required = lineage.required_by(|id| *id == 4, []);
    assert_eq!((required.ids(), required.unreadable_bases()), (&set([4]), &set([])));
    assert!(!required.contains(&1));
}

#[test]
fn the_base_of_an_upload_in_progress_may_be_unreadable() {
    let lineage = Lineage::new([(1, Full), (4, Unreadable)]);
    let required = lineage.required_by(|_| false, &[4]);
    assert_eq!((required.ids(), required.unreadable_bases()), (&set([1, 4]), &set([4])));
}

/// The survivor 9 needs 5, which is kept for that reason alone. What 5 depends on is unreadable.
#[test]
fn a_snapshot_that_is_kept_for_another_may_have_an_unreadable_base() {
    let lineage = Lineage::new([(1, Full), (4, Unreadable), (5, Base(4)), (9, Base(5))]);
    let required = lineage.required_by(|id| *id == 9, []);
    assert_eq!(required.ids(), &set([1, 4, 5, 9]));
}

#[test]
fn chains_and_cycles_may_be_long() {
    let length = 200_000;
    let chain = Lineage::new((0..length).map(|id| (id, if id == 0 { Full } else { Base(id - 1) })));
    assert_eq!(chain.chain_end(&(length - 1)), Some(ChainEnd::Full(&0)));
    assert_eq!(chain.ancestors(&(length - 1)).count(), length - 1);
    let oldest_first: Vec<usize> = (0..length).collect();
    let newest_first: Vec<usize> = (0..length).rev().collect();
    assert_eq!(chain.deletion_order(&oldest_first), newest_first);
    assert_eq!(chain.dependents(&BTreeSet::from([0])), newest_first[..length - 1]);
    assert_eq!(chain.required_by(|id| *id == length - 1, []).ids().len(), length);

    let cycle = Lineage::new((0..length).map(|id| (id, Base((id + 1) % length))));
    assert_eq!(cycle.chain_end(&7), Some(ChainEnd::Cycle(&0)));
    assert_eq!(cycle.ancestors(&7).count(), length - 1);
    assert_eq!(cycle.dependents(&BTreeSet::from([0])).len(), length - 1);
}

// ---- random graphs against a naive model

type Graph = BTreeMap<u32, BaseRef<u32>>;

const IDS: Range<u32> = 0..20;

/// Any graph. In every second one bases are older than their dependents, as in a store.
fn graph() -> impl Strategy<Value = Graph> {
    let base = || prop_oneof![2 => Just(Full), 6 => IDS.prop_map(Base), 1 => Just(Unreadable)];
    (btree_map(IDS, base(), 0..16), any::<bool>()).prop_map(|(mut graph, is_ordered)| {
        if is_ordered {
            graph.retain(|id, base| !matches!(base, Base(base) if *base >= *id));
        }
        graph
    })
}

fn ids() -> impl Strategy<Value = BTreeSet<u32>> {
    btree_set(IDS, 0..8)
}

fn lineage(graph: &Graph) -> Lineage<u32> {
    Lineage::new(graph.iter().map(|(id, base)| (*id, *base)))
}

fn ancestors(graph: &Graph, id: u32) -> Vec<u32> {
    let (mut ancestors, mut at) = (Vec::new(), id);
    while let Some(Base(base)) = graph.get(&at)
        && *base != id
        && !ancestors.contains(base)
    {
        ancestors.push(*base);
        at = *base;
    }
    ancestors
}

/// Adds what is required until nothing is added.
fn required(graph: &Graph, survivors: &BTreeSet<u32>, roots: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut required: BTreeSet<u32> = graph.keys().filter(|id| survivors.contains(id)).copied().collect();
    let mut needed = roots.clone();
    loop {
        let before = (required.len(), needed.len());
        needed.extend(required.iter().flat_map(|id| ancestors(graph, *id)));
        required.extend(&needed);
        let unreadable = needed.iter().filter(|id| graph.get(id) == Some(&Unreadable)).max();
        if let Some(unreadable) = unreadable {
            required.extend(IDS.filter(|id| id < unreadable && is_known(graph, *id)));
        }
        if before == (required.len(), needed.len()) {
            return required;
        }
    }
}

/// Whether an id is a snapshot of the graph or named as the base of one.
fn is_known(graph: &Graph, id: u32) -> bool {
    graph.contains_key(&id) || graph.values().any(|base| *base == Base(id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn ancestors_are_those_of_the_model(graph in graph()) {
        let lineage = lineage(&graph);
        for id in IDS {
            let expected = ancestors(&graph, id);
            prop_assert_eq!(lineage.ancestors(&id).copied().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(lineage.depth(&id), expected.len());
            prop_assert_eq!(lineage.base_of(&id).copied(), if let Some(Base(base)) = graph.get(&id) { Some(*base) } else { None });
        }
    }

    #[test]
    fn a_chain_is_broken_where_the_model_says(graph in graph()) {
        let lineage = lineage(&graph);
        for id in graph.keys() {
            let last = ancestors(&graph, *id).last().copied().unwrap_or(*id);
            let expected = match graph.get(&last) {
                None => ChainEnd::Missing(&last),
                Some(Full) => ChainEnd::Full(&last),
                Some(Unreadable) => ChainEnd::Unreadable(&last),
                Some(Base(in_cycle)) => {
                    let oldest = ancestors(&graph, *in_cycle).into_iter().chain([*in_cycle]).min().unwrap();
                    prop_assert_eq!(lineage.chain_end(id), Some(ChainEnd::Cycle(&oldest)));
                    continue;
                }
            };
            prop_assert_eq!(lineage.chain_end(id), Some(expected));
        }
    }

    #[test]
    fn dependents_are_the_inverse_of_ancestors(graph in graph(), ids in ids()) {
        let lineage = lineage(&graph);
        let dependents = lineage.dependents(&ids);
        let expected: BTreeSet<u32> = graph
            .keys()
            .filter(|id| !ids.contains(id) && lineage.ancestors(id).any(|ancestor| ids.contains(ancestor)))
            .copied()
            .collect();
        prop_assert_eq!(dependents.iter().copied().collect::<BTreeSet<_>>(), expected);
        assert_dependents_first(&graph, &dependents)?;
    }

    #[test]
    fn deletion_order_never_puts_a_base_before_a_dependent(graph in graph(), preferred in vec(IDS, 0..16)) {
        let lineage = lineage(&graph);
        let order = lineage.deletion_order(&preferred);
        assert_dependents_first(&graph, &order)?;
        let distinct: BTreeSet<u32> = preferred.iter().copied().collect();
        prop_assert_eq!(order.len(), distinct.len());
        prop_assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), distinct);
        let has_cycle = order.iter().any(|id| matches!(lineage.chain_end(id), Some(ChainEnd::Cycle(_))));
        if !has_cycle {
            prop_assert_eq!(lineage.deletion_order(&order), order, "an order that is right already was changed");
        }
    }

    #[test]
    fn required_is_what_the_model_says(graph in graph(), survivors in ids(), roots in ids()) {
        let found = lineage(&graph).required_by(|id| survivors.contains(id), &roots);
        let expected = required(&graph, &survivors, &roots);
        prop_assert_eq!(found.ids(), &expected);
        for id in IDS {
            let newest = found.unreadable_bases().last();
            prop_assert_eq!(found.contains(&id), expected.contains(&id) || newest.is_some_and(|newest| id < *newest));
        }
    }

    #[test]
    fn survivors_keep_their_chains_if_everything_else_is_deleted(graph in graph(), survivors in ids()) {
        let before = lineage(&graph);
        let required = before.required_by(|id| survivors.contains(id), []);
        let after = Lineage::new(graph.iter().filter(|(id, _)| required.contains(id)).map(|(id, base)| (*id, *base)));
        for id in graph.keys().filter(|id| survivors.contains(id)) {
            prop_assert!(after.contains(id));
            prop_assert_eq!(after.chain_end(id), before.chain_end(id));
            prop_assert!(after.ancestors(id).eq(before.ancestors(id)));
        }
    }

    /// Metadata that was unreadable is repaired after the deletion, and names any older snapshot as its base.
    #[test]
    fn survivors_can_be_restored_after_unreadable_metadata_is_repaired(
        graph in graph(),
        survivors in ids(),
        repairs in vec(proptest::option::weighted(0.8, any::<prop::sample::Index>()), IDS.len()),
    ) {
        let required = lineage(&graph).required_by(|id| survivors.contains(id), []);
        let mut repaired = graph.clone();
        for ((id, base), repair) in repaired.iter_mut().zip(repairs) {
            let older: Vec<u32> = graph.keys().copied().filter(|other| other < id).collect();
            if *base == Unreadable {
                *base = repair.filter(|_| !older.is_empty()).map_or(Full, |at| Base(*at.get(&older)));
            }
        }
        for id in graph.keys().filter(|id| survivors.contains(id) && graph[id] != Unreadable) {
            for ancestor in ancestors(&repaired, *id) {
                prop_assert!(required.contains(&ancestor), "{} needs {}", id, ancestor);
            }
        }
    }

    #[test]
    fn more_survivors_require_no_less(graph in graph(), survivors in ids(), more in ids(), roots in ids()) {
        let lineage = lineage(&graph);
        let fewer = lineage.required_by(|id| survivors.contains(id), []);
        let wider = lineage.required_by(|id| survivors.contains(id) || more.contains(id), &roots);
        prop_assert!(fewer.ids().is_subset(wider.ids()));
        prop_assert!(fewer.unreadable_bases().is_subset(wider.unreadable_bases()));
    }
}

/// Fails if an id comes before one that depends on it. In a cycle both depend on each other.
fn assert_dependents_first(graph: &Graph, order: &[u32]) -> Result<(), TestCaseError> {
    for (at, base) in order.iter().enumerate() {
        for later in &order[at + 1..] {
            let is_base = ancestors(graph, *later).contains(base);
            let is_cycle = ancestors(graph, *base).contains(later);
            prop_assert!(!is_base || is_cycle, "{} comes before {}, which depends on it", base, later);
        }
    }
    Ok(())
}
