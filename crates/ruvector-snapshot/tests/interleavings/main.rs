//! Verbs of several actors in one store, step by step, in very many orders, with and without a crash: no snapshot is
//! ever without what it stands on, and what everybody was told is true.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod stepped;
mod time;
mod written;

use bench::{Bench, Schedule, Verb};

/// Two actors, in schedules of two legs: so many steps of the one, so many of the other, then each to its end. Every pair
/// of such numbers, each without a crash, with a crash of the one and with one of the other: so everybody crashes after
/// every step, with the other anywhere. Where these are too many for a test, one in `one_in` is run. Returns how many runs
/// there were.
async fn explore_two(snapshots: usize, verbs: [Verb; 2], one_in: usize) -> usize {
    let bench = Bench::new().await;
    let steps = steps_alone(&bench, snapshots, verbs).await;
    let (mut number, mut runs) = (0usize, 0);
    for (first, second) in [(0, 1), (1, 0)] {
        for steps_of_first in 0..=steps[first] {
            for steps_of_second in 1..=steps[second] {
                for crash in [None, Some(first), Some(second)] {
                    number += 1;
                    // Coprime to the three crashes, so that each of them meets each pair of steps.
                    if !number.is_multiple_of(one_in) {
                        continue;
                    }
                    let legs = vec![(first, steps_of_first), (second, steps_of_second)];
                    let run = bench.run(snapshots, &verbs, &Schedule { legs, crash, seed: number as u64 }).await;
                    run.check().await;
                    runs += 1;
                }
            }
        }
    }
    runs
}

/// As [`explore_two`], in schedules of three legs: the first actor comes to its turn again behind the second, and crashes.
async fn explore_three(snapshots: usize, verbs: [Verb; 2], one_in: usize) -> usize {
    let bench = Bench::new().await;
    let steps = steps_alone(&bench, snapshots, verbs).await;
    let (mut number, mut runs) = (0usize, 0);
    for (first, second) in [(0, 1), (1, 0)] {
        for before in 1..=steps[first] {
            for between in 1..=steps[second] {
                for after in 1..=steps[first] + 1 - before {
                    number += 1;
                    if !number.is_multiple_of(one_in) {
                        continue;
                    }
                    let legs = vec![(first, before), (second, between), (first, after)];
                    let schedule = Schedule { legs, crash: Some(first), seed: number as u64 };
                    bench.run(snapshots, &verbs, &schedule).await.check().await;
                    runs += 1;
                }
            }
        }
    }
    runs
}

/// How many steps each of two actors takes where it is alone.
async fn steps_alone(bench: &Bench, snapshots: usize, verbs: [Verb; 2]) -> [usize; 2] {
    let mut steps = [0; 2];
    for (steps, verb) in steps.iter_mut().zip(verbs) {
        let alone = Schedule { legs: vec![(0, usize::MAX)], crash: None, seed: 0 };
        *steps = bench.run(snapshots, &[verb], &alone).await.steps;
    }
    steps
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

/// A test of two verbs from so many snapshots of the chain.
macro_rules! two {
    ($explore:ident, $($name:ident: $snapshots:literal, $first:expr, $second:expr, 1 in $one_in:literal;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let runs = $explore($snapshots, [$first, $second], $one_in).await;
            assert!(runs > 50, "only {runs} runs");
        }
    )*};
}

mod two_legs {
    use super::*;
    use Verb::*;

    two! { explore_two,
        a_full_one_and_a_prune: 3, Full, Prune, 1 in 5;
        a_full_one_and_a_delete: 1, Full, Delete(0), 1 in 2;
        a_full_one_and_a_cascade: 2, Full, DeleteCascade(0), 1 in 5;
        a_full_one_and_a_sweep: 1, Full, Sweep, 1 in 1;
        a_full_one_and_a_sweep_after_days: 1, Full, SweepAfterDays, 1 in 4;
        a_full_one_and_a_verify: 1, Full, Verify(0), 1 in 5;
        an_increment_and_a_prune: 3, Increment(2), Prune, 1 in 11;
        an_increment_and_a_delete: 1, Increment(0), Delete(0), 1 in 1;
        an_increment_and_a_cascade: 2, Increment(1), DeleteCascade(0), 1 in 5;
        an_increment_and_a_sweep: 1, Increment(0), Sweep, 1 in 5;
        an_increment_and_a_sweep_after_days: 1, Increment(0), SweepAfterDays, 1 in 4;
        an_increment_and_a_verify: 1, Increment(0), Verify(0), 1 in 5;
        a_compact_and_a_prune: 3, Compact(1), Prune, 1 in 11;
        a_compact_and_a_delete: 2, Compact(1), Delete(1), 1 in 5;
        a_compact_and_a_cascade: 2, Compact(1), DeleteCascade(0), 1 in 5;
        a_compact_and_a_sweep: 2, Compact(1), Sweep, 1 in 5;
        a_compact_and_a_sweep_after_days: 2, Compact(1), SweepAfterDays, 1 in 5;
        a_compact_and_a_verify: 2, Compact(1), Verify(1), 1 in 5;
        a_pin_and_a_delete: 1, Pin(0), Delete(0), 1 in 1;
        a_pin_and_a_pin: 1, Pin(0), Pin(0), 1 in 1;
        an_unpin_and_a_delete: 1, Unpin(0), Delete(0), 1 in 1;
        two_cascades: 2, DeleteCascade(0), DeleteCascade(0), 1 in 5;
        a_verify_and_a_cascade: 2, Verify(1), DeleteCascade(0), 1 in 5;
        a_delete_and_a_sweep_after_days: 1, Delete(0), SweepAfterDays, 1 in 1;
        two_sweeps: 1, Sweep, SweepAfterDays, 1 in 4;
    }
}

mod three_legs {
    use super::*;
    use Verb::*;

    two! { explore_three,
        an_increment_and_a_delete: 1, Increment(0), Delete(0), 1 in 53;
        an_increment_and_a_sweep_after_days: 1, Increment(0), SweepAfterDays, 1 in 53;
        a_full_one_and_a_sweep_after_days: 1, Full, SweepAfterDays, 1 in 23;
        a_full_one_and_a_prune: 2, Full, Prune, 1 in 71;
        a_compact_and_a_cascade: 2, Compact(1), DeleteCascade(0), 1 in 97;
        a_pin_and_a_delete: 1, Pin(0), Delete(0), 1 in 5;
    }
}

/// An increment, a deletion of its base and a sweep, the last after days in which both stood still: so many steps of the
/// increment, so many of the deletion, then the whole sweep, then the one and the other to the end, either of them first.
/// Each without a crash and with one of either.
#[tokio::test(start_paused = true)]
async fn an_increment_a_deletion_and_a_sweep() {
    let bench = Bench::new().await;
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::SweepAfterDays];
    let steps = steps_alone(&bench, 1, [verbs[0], verbs[1]]).await;
    let mut number = 0usize;
    for (first, second) in [(0, 1), (1, 0)] {
        for steps_of_first in 0..=steps[first] {
            for steps_of_second in 0..=steps[second] {
                for (next, crash) in [(0, None), (1, None), (0, Some(1)), (1, Some(0))] {
                    number += 1;
                    if !number.is_multiple_of(3) {
                        continue;
                    }
                    let legs =
                        vec![(first, steps_of_first), (second, steps_of_second), (2, usize::MAX), (next, usize::MAX)];
                    bench.run(1, &verbs, &Schedule { legs, crash, seed: number as u64 }).await.check().await;
                }
            }
        }
    }
}

// ---- more than two, by chance

#[tokio::test(start_paused = true)]
async fn increments_deletions_and_a_sweep_after_days() {
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::SweepAfterDays];
    explore_by_chance(1, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn increments_and_deletions() {
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::DeleteCascade(0), Verb::Increment(0)];
    explore_by_chance(1, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn increments_deletions_and_readers_of_a_chain() {
    let verbs = [Verb::Increment(1), Verb::DeleteCascade(1), Verb::Verify(2), Verb::Prune, Verb::Compact(2)];
    explore_by_chance(3, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_deletes_can_be_read_at_every_moment() {
    let verbs = [Verb::Verify(1), Verb::Restore(1), Verb::DeleteCascade(2), Verb::Increment(2), Verb::Sweep];
    explore_by_chance(3, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn sweeps_among_increments_and_deletions() {
    let verbs = [Verb::Increment(0), Verb::Sweep, Verb::Delete(1), Verb::Sweep, Verb::SweepAfterDays];
    explore_by_chance(2, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn pins_and_deletions() {
    let verbs = [Verb::Pin(0), Verb::Delete(0), Verb::Pin(0), Verb::Delete(0), Verb::SweepAfterDays];
    explore_by_chance(1, &verbs, 0..200).await;
}
