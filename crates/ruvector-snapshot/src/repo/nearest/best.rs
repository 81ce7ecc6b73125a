//! The nearest records of each query so far, in bounded memory. Pure.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use ruvector_snapshot_format::block::Block;

use super::distance::{Distance, Point};
use crate::repo::filter::Condition;

/// What is searched for.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// A vector of the dimensions of the snapshot.
    pub(crate) point: Point,
    /// The id of a record that is no result.
    pub(crate) without: Option<String>,
}

/// A record and its distance. Of two, the nearer one is less; of equal distances the one whose id comes first.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) distance: f32,
    pub(crate) id: Arc<str>,
}

impl Candidate {
    fn order(&self, distance: f32, id: &str) -> Ordering {
        order_of(self.distance, distance).then_with(|| self.id.as_ref().cmp(id))
    }
}

/// Compares two distances. What is no number comes after every number.
pub(crate) fn order_of(one: f32, other: f32) -> Ordering {
    one.partial_cmp(&other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order(other.distance, &other.id)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// The nearest candidates of one query, at most `k`.
#[derive(Debug, Clone)]
pub(crate) struct Best {
    k: usize,
    heap: BinaryHeap<Candidate>,
    id_bytes: usize,
}

impl Best {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new(), id_bytes: 0 }
    }

    /// Returns the size of the ids, in bytes.
    pub(crate) fn id_bytes(&self) -> usize {
        self.id_bytes
    }

    /// Returns the distance that a candidate with a later id must be below. `None` if every candidate is taken.
    pub(crate) fn limit(&self) -> Option<f32> {
        self.heap.peek().filter(|_| self.heap.len() >= self.k).map(|worst| worst.distance)
    }

    fn accepts(&self, distance: f32, id: &str) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|worst| worst.order(distance, id).is_gt())
    }

    fn push(&mut self, candidate: Candidate) {
        self.id_bytes += candidate.id.len();
        self.heap.push(candidate);
        if self.heap.len() > self.k
            && let Some(worst) = self.heap.pop()
        {
            self.id_bytes -= worst.id.len();
        }
    }

    /// Adds the candidates of another part of the records.
    pub(crate) fn merge(&mut self, other: Self) {
        for candidate in other.heap {
            if self.accepts(candidate.distance, &candidate.id) {
                self.push(candidate);
            }
        }
    }

    /// Returns the candidates, the nearest first.
    pub(crate) fn into_sorted(self) -> Vec<Candidate> {
        self.heap.into_sorted_vec()
    }
}

/// A search that is applied to one block after the other.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) distance: Distance,
    pub(crate) targets: Vec<Target>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) k: usize,
}

impl Scan {
    /// Returns the nearest records of a block for each target. `limits` are those of the blocks before it: a candidate at
    /// the limit is no better, because its id comes later. Ends at the next record when the search is cancelled: with
    /// thousands of targets, a block takes many seconds.
    pub(crate) fn nearest_in(
        &self,
        block: &Block,
        limits: &[Option<f32>],
        is_cancelled: impl Fn() -> bool,
    ) -> Vec<Best> {
        let mut nearest = vec![Best::new(self.k); self.targets.len()];
        let mut point = Point::default();
        for record in block.rows().take_while(|_| !is_cancelled()) {
            self.distance.fill(&mut point, record.values());
            // Conditions are compared, and the id is copied, only if the record is a candidate.
            let (mut holds, mut shared) = (None, None::<Arc<str>>);
            for ((target, best), limit) in self.targets.iter().zip(&mut nearest).zip(limits) {
                let distance = self.distance.between(&target.point, &point);
                if limit.is_some_and(|limit| order_of(distance, limit).is_ge()) || !best.accepts(distance, record.id) {
                    continue;
                }
                let is_wanted = target.without.as_deref() != Some(record.id)
                    && *holds.get_or_insert_with(|| self.conditions.iter().all(|one| one.holds(record.metadata)));
                if is_wanted {
                    let id = shared.get_or_insert_with(|| Arc::from(record.id)).clone();
                    best.push(Candidate { distance, id });
                }
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use ruvector_core::types::DbOptions;
    use ruvector_snapshot_format::model::Record;

    use super::*;

    #[test]
    fn a_search_that_is_cancelled_compares_no_further_record_of_its_block() {
        let mut block = Block::new(1);
        for id in ["a", "b", "c", "d"] {
            block.push(Record { id, vector: &1_f32.to_le_bytes(), metadata: None }).unwrap();
        }
        let distance = Distance::of(&DbOptions { hnsw_config: None, ..DbOptions::default() });
        let target = Target { point: distance.point([1.0].into_iter()), without: None };
        let scan = Scan { distance, targets: vec![target], conditions: Vec::new(), k: 10 };
        let compared = |records: usize| {
            let begun = Cell::new(0);
            let is_cancelled = || begun.replace(begun.get() + 1) >= records;
            scan.nearest_in(&block, &[None], is_cancelled).remove(0).into_sorted().len()
        };
        assert_eq!([0, 2, 4, 9].map(compared), [0, 2, 4, 4]);
    }

    #[test]
    fn candidates_are_sorted_by_distance_and_then_by_id_and_what_is_no_number_comes_last() {
        let mut best = Best::new(4);
        let distances = [("e", f32::NAN), ("d", 1.0), ("c", f32::INFINITY), ("b", -0.0), ("a", 1.0), ("f", 0.0)];
        for (id, distance) in distances {
            let mut other = Best::new(4);
            other.push(Candidate { distance, id: id.into() });
            best.merge(other);
        }
        assert_eq!((best.limit(), best.id_bytes()), (Some(1.0), 4));
        let ids: Vec<_> = best.into_sorted().into_iter().map(|candidate| candidate.id.to_string()).collect();
        assert_eq!(ids, ["b", "f", "a", "d"]);
        assert!(order_of(f32::NAN, f32::INFINITY).is_gt() && order_of(f32::NAN, -f32::NAN).is_eq());
    }
}
