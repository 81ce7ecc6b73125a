//! Verbs of several actors in one store, step by step, in very many orders, with and without a crash: no snapshot is
//! ever without what it stands on, and what everybody was told is true.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod stepped;

use bench::{Bench, Schedule, Verb};

/// Two actors, in schedules with two switches: so many steps of the one, so many of the other, then each to its end,
/// or as far as it came before it crashed. Of all of those one in `one_in`. Returns how many runs there were.
async fn explore_two(snapshots: usize, verbs: [Verb; 2], one_in: usize) -> usize {
    let bench = Bench::new().await;
    let mut steps = [0; 2];
    for (steps, verb) in steps.iter_mut().zip(verbs) {
        let alone = Schedule { legs: vec![(0, usize::MAX)], crash: None, seed: 0 };
        *steps = bench.run(snapshots, &[verb], &alone).await.steps;
    }
    let (mut number, mut runs) = (0usize, 0);
    for (first, second) in [(0, 1), (1, 0)] {
        for steps_of_first in 0..=steps[first] {
            for steps_of_second in 1..=steps[second] {
                number += 1;
                // What is left out lies apart in both directions.
                if (steps_of_first * 7 + steps_of_second) % one_in != 0 {
                    continue;
                }
                let legs = vec![(first, steps_of_first), (second, steps_of_second)];
                let crash = [None, Some(first), None, Some(second)][runs % 4];
                let run = bench.run(snapshots, &verbs, &Schedule { legs, crash, seed: number as u64 }).await;
                run.check().await;
                runs += 1;
            }
        }
    }
    runs
}

/// Several actors, in schedules that chance makes: short legs, at times a crash.
async fn explore_by_chance(snapshots: usize, verbs: &[Verb], seeds: std::ops::Range<u64>) {
    let bench = Bench::new().await;
    for seed in seeds {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03);
        let legs = (0..4 + random.below(12)).map(|_| (random.below(verbs.len()), 1 + random.below(9))).collect();
        let crash = (random.below(3) == 0).then(|| random.below(verbs.len()));
        let run = bench.run(snapshots, verbs, &Schedule { legs, crash, seed }).await;
        run.check().await;
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

// ---- two

#[tokio::test]
async fn an_increment_while_its_base_is_deleted() {
    let runs = explore_two(1, [Verb::Increment(0), Verb::Delete(0)], 1).await;
    assert!(runs > 300, "only {runs} runs");
}

#[tokio::test]
async fn an_increment_while_its_chain_is_deleted() {
    let runs = explore_two(2, [Verb::Increment(1), Verb::DeleteCascade(0)], 2).await;
    assert!(runs > 100, "only {runs} runs");
}

#[tokio::test]
async fn two_deletions_of_one_chain() {
    let runs = explore_two(2, [Verb::DeleteCascade(0), Verb::DeleteCascade(0)], 2).await;
    assert!(runs > 100, "only {runs} runs");
}

#[tokio::test]
async fn a_verify_while_the_chain_is_deleted() {
    let runs = explore_two(2, [Verb::Verify(1), Verb::DeleteCascade(0)], 2).await;
    assert!(runs > 50, "only {runs} runs");
}

/// An upload that is taken for left over is whole or fails.
#[tokio::test]
async fn an_increment_that_is_swept_while_it_is_uploaded() {
    let runs = explore_two(1, [Verb::Increment(0), Verb::SweepAll], 2).await;
    assert!(runs > 100, "only {runs} runs");
}

#[tokio::test]
async fn a_full_snapshot_that_is_swept_while_it_is_uploaded() {
    let runs = explore_two(1, [Verb::Full, Verb::SweepAll], 2).await;
    assert!(runs > 50, "only {runs} runs");
}

// ---- one schedule, written out

/// An upload that is taken for left over as a whole after its last look and before its commit:
///
/// 1. the create finishes its three files and looks at their sizes;
/// 2. the sweep marks them, sees no metadata.json, removes them, and its mark last;
/// 3. the create writes checksum.sha256 and metadata.json, and finds no mark.
///
/// It must look for its files too, or a snapshot without data is committed.
#[tokio::test]
async fn a_sweep_between_the_last_look_at_the_files_and_the_commit() {
    let bench = Bench::new().await;
    // Whether the id is free, three files, three sizes.
    let legs = vec![(0, 1 + 3 + 3), (1, usize::MAX)];
    let run = bench.run(1, &[Verb::Full, Verb::SweepAll], &Schedule { legs, crash: None, seed: 0 }).await;
    run.check().await;
    assert!(run.what.contains("it was swept as left over"), "{}", run.what);
}

// ---- more

#[tokio::test]
async fn increments_and_deletions() {
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::DeleteCascade(0), Verb::Increment(0)];
    explore_by_chance(1, &verbs, 0..400).await;
}

#[tokio::test]
async fn increments_deletions_and_readers_of_a_chain() {
    let verbs = [Verb::Increment(1), Verb::DeleteCascade(1), Verb::Verify(2), Verb::Prune, Verb::Compact(2)];
    explore_by_chance(3, &verbs, 0..400).await;
}

#[tokio::test]
async fn what_nobody_deletes_can_be_read_at_every_moment() {
    let verbs = [Verb::Verify(1), Verb::Restore(1), Verb::DeleteCascade(2), Verb::Increment(2), Verb::SweepOther];
    explore_by_chance(3, &verbs, 0..400).await;
}

#[tokio::test]
async fn a_sweep_with_grace_among_increments_and_deletions() {
    let verbs = [Verb::Increment(0), Verb::Sweep, Verb::Delete(1), Verb::SweepOther, Verb::SweepOther];
    explore_by_chance(2, &verbs, 0..400).await;
}
