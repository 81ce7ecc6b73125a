//! Several managers work on one store, step by step, in very many orders, with and without a crash.
//!
//! After every run, every listed snapshot is intact with all its ancestors, and every result that an actor got is true.
//! `two_legs` and `three_legs` run two verbs in systematic schedules, the tests below them run more verbs in random
//! ones, and `scripted_schedules` holds the schedules that are known to be dangerous. They show the safety that
//! docs/CONCURRENCY.md argues: increment and delete for I1, two deletes for I4, garbage collection for I5 to I7, pin and
//! delete for P1 and P2, and readers with deletes for the reading rules R1 to R4.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
mod scripted_schedules;
mod simulated_time;
mod step_scheduler;

use fixture::{Fixture, Schedule, Verb};

/// Runs two actors in schedules of two legs: some steps of the one, some of the other, then each to its end.
///
/// Covers every pair of numbers of steps, without a crash and with a crash of either: each actor crashes after each of
/// its steps, while the other one may be anywhere. If these are too many for a test, it runs one in `one_in`. Returns
/// the number of runs.
async fn explore_two_legs(snapshots: usize, verbs: [Verb; 2], one_in: usize) -> usize {
    let fixture = Fixture::new().await;
    let steps = steps_alone(&fixture, snapshots, verbs).await;
    let (mut number, mut runs) = (0usize, 0);
    for (first, second) in [(0, 1), (1, 0)] {
        for steps_of_first in 0..=steps[first] {
            for steps_of_second in 1..=steps[second] {
                for crash in [None, Some(first), Some(second)] {
                    number += 1;
                    // `one_in` is coprime to the three crashes, so that each crash meets each pair of steps.
                    if !number.is_multiple_of(one_in) {
                        continue;
                    }
                    let legs = vec![(first, steps_of_first), (second, steps_of_second)];
                    let run = fixture.run(snapshots, &verbs, &Schedule { legs, crash, seed: number as u64 }).await;
                    run.check().await;
                    runs += 1;
                }
            }
        }
    }
    runs
}

/// Runs two actors in schedules of three legs: the first actor takes a second turn after the other one, and crashes.
async fn explore_three_legs(snapshots: usize, verbs: [Verb; 2], one_in: usize) -> usize {
    let fixture = Fixture::new().await;
    let steps = steps_alone(&fixture, snapshots, verbs).await;
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
                    fixture.run(snapshots, &verbs, &schedule).await.check().await;
                    runs += 1;
                }
            }
        }
    }
    runs
}

/// Returns how many steps each of two verbs takes alone.
async fn steps_alone(fixture: &Fixture, snapshots: usize, verbs: [Verb; 2]) -> [usize; 2] {
    let mut steps = [0; 2];
    for (steps, verb) in steps.iter_mut().zip(verbs) {
        *steps = fixture.steps_alone(snapshots, verb).await;
    }
    steps
}

/// Runs several actors in random schedules of short legs, some of them with a crash.
async fn explore_random_schedules(snapshots: usize, verbs: &[Verb], seeds: std::ops::Range<u64>) {
    let fixture = Fixture::new().await;
    for seed in seeds {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03);
        let legs = (0..4 + random.below(12)).map(|_| (random.below(verbs.len()), 1 + random.below(9))).collect();
        let crash = (random.below(3) == 0).then(|| random.below(verbs.len()));
        let run = fixture.run(snapshots, verbs, &Schedule { legs, crash, seed }).await;
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

/// Makes a test of two verbs, which start from so many snapshots of the chain. It runs one schedule in `one_in`.
macro_rules! two_verbs {
    ($explore:ident, $($name:ident: $snapshots:literal, $first:expr, $second:expr, 1 in $one_in:literal;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let runs = $explore($snapshots, [$first, $second], $one_in).await;
            assert!(runs > 50, "only {runs} runs");
        }
    )*};
}

/// No snapshot loses its base and no result is false in schedules of two legs.
mod two_legs {
    use super::*;
    use Verb::*;

    two_verbs! { explore_two_legs,
        are_safe_for_full_and_prune: 3, Full, Prune, 1 in 5;
        are_safe_for_full_and_delete: 1, Full, Delete(0), 1 in 2;
        are_safe_for_full_and_cascade: 2, Full, DeleteCascade(0), 1 in 5;
        are_safe_for_full_and_garbage_collection: 1, Full, CollectGarbage, 1 in 1;
        are_safe_for_full_and_garbage_collection_after_days: 1, Full, CollectGarbageAfterDays, 1 in 4;
        are_safe_for_full_and_verify: 1, Full, Verify(0), 1 in 5;
        are_safe_for_increment_and_prune: 3, Increment(2), Prune, 1 in 11;
        are_safe_for_increment_and_delete: 1, Increment(0), Delete(0), 1 in 1;
        are_safe_for_increment_and_cascade: 2, Increment(1), DeleteCascade(0), 1 in 5;
        are_safe_for_increment_and_garbage_collection: 1, Increment(0), CollectGarbage, 1 in 5;
        are_safe_for_increment_and_garbage_collection_after_days: 1, Increment(0), CollectGarbageAfterDays, 1 in 4;
        are_safe_for_increment_and_verify: 1, Increment(0), Verify(0), 1 in 5;
        are_safe_for_compact_and_prune: 3, Compact(1), Prune, 1 in 11;
        are_safe_for_compact_and_delete: 2, Compact(1), Delete(1), 1 in 5;
        are_safe_for_compact_and_cascade: 2, Compact(1), DeleteCascade(0), 1 in 5;
        are_safe_for_compact_and_garbage_collection: 2, Compact(1), CollectGarbage, 1 in 5;
        are_safe_for_compact_and_garbage_collection_after_days: 2, Compact(1), CollectGarbageAfterDays, 1 in 5;
        are_safe_for_compact_and_verify: 2, Compact(1), Verify(1), 1 in 5;
        are_safe_for_copy_and_delete_of_the_base: 1, Copy(1), Delete(0), 1 in 11;
        are_safe_for_copy_and_cascade: 2, Copy(2), DeleteCascade(0), 1 in 31;
        are_safe_for_copy_and_delete_of_what_it_copies: 2, Copy(2), Delete(1), 1 in 31;
        are_safe_for_copy_and_prune: 2, Copy(2), Prune, 1 in 53;
        are_safe_for_copy_and_garbage_collection: 1, Copy(1), CollectGarbage, 1 in 17;
        are_safe_for_copy_and_garbage_collection_after_days: 1, Copy(1), CollectGarbageAfterDays, 1 in 17;
        are_safe_for_copy_and_increment_of_the_base: 1, Copy(1), Increment(0), 1 in 53;
        are_safe_for_two_copies_of_one_snapshot: 1, Copy(1), Copy(1), 1 in 53;
        are_safe_for_pin_and_delete: 1, Pin(0), Delete(0), 1 in 1;
        are_safe_for_two_pins: 1, Pin(0), Pin(0), 1 in 1;
        are_safe_for_unpin_and_delete: 1, Unpin(0), Delete(0), 1 in 1;
        are_safe_for_two_cascades: 2, DeleteCascade(0), DeleteCascade(0), 1 in 5;
        are_safe_for_list_and_cascade: 3, List, DeleteCascade(0), 1 in 2;
        are_safe_for_list_and_prune: 3, List, Prune, 1 in 5;
        are_safe_for_chain_and_cascade: 3, Chain(2), DeleteCascade(0), 1 in 2;
        are_safe_for_verify_and_cascade: 2, Verify(1), DeleteCascade(0), 1 in 5;
        are_safe_for_verify_all_and_cascade: 3, VerifyAll, DeleteCascade(0), 1 in 7;
        are_safe_for_verify_all_and_prune: 3, VerifyAll, Prune, 1 in 23;
        are_safe_for_restore_and_cascade: 2, Restore(1), DeleteCascade(0), 1 in 5;
        are_safe_for_delete_and_garbage_collection_after_days: 1, Delete(0), CollectGarbageAfterDays, 1 in 1;
        are_safe_for_two_garbage_collections: 1, CollectGarbage, CollectGarbageAfterDays, 1 in 4;
    }
}

/// No snapshot loses its base and no result is false in schedules of three legs.
mod three_legs {
    use super::*;
    use Verb::*;

    two_verbs! { explore_three_legs,
        are_safe_for_increment_and_delete: 1, Increment(0), Delete(0), 1 in 53;
        are_safe_for_increment_and_garbage_collection_after_days: 1, Increment(0), CollectGarbageAfterDays, 1 in 53;
        are_safe_for_full_and_garbage_collection_after_days: 1, Full, CollectGarbageAfterDays, 1 in 23;
        are_safe_for_full_and_prune: 2, Full, Prune, 1 in 61;
        are_safe_for_compact_and_cascade: 2, Compact(1), DeleteCascade(0), 1 in 97;
        are_safe_for_copy_and_delete_of_the_base: 1, Copy(1), Delete(0), 1 in 97;
        are_safe_for_copy_and_garbage_collection_after_days: 0, Copy(1), CollectGarbageAfterDays, 1 in 97;
        are_safe_for_pin_and_delete: 1, Pin(0), Delete(0), 1 in 5;
    }
}

/// Runs an increment, the deletion of its base, and a garbage collection after days in which both stood still.
///
/// Some steps of the increment, some of the deletion, the whole collection, then each of the two to its end, either of
/// them first. Each schedule runs without a crash and with a crash of either.
#[tokio::test(start_paused = true)]
async fn an_increment_a_delete_and_a_late_garbage_collection_are_safe() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::CollectGarbageAfterDays];
    let steps = steps_alone(&fixture, 1, [verbs[0], verbs[1]]).await;
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
                    fixture.run(1, &verbs, &Schedule { legs, crash, seed: number as u64 }).await.check().await;
                }
            }
        }
    }
}

/// A copy that was killed is repeated days later, while a collection removes what the first one has left.
///
/// Some steps of the first copy, some of the collection, some of the second copy, and then each of the two to its end, either
/// of them first.
#[tokio::test(start_paused = true)]
async fn a_copy_of_what_a_killed_one_has_left_and_a_garbage_collection_are_safe() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Copy(1), Verb::CollectGarbageAfterDays, Verb::Copy(1)];
    let [copy, collection] = steps_alone(&fixture, 1, [verbs[0], verbs[1]]).await;
    let (mut number, mut runs) = (0usize, 0);
    for steps_of_first in 1..=copy {
        for steps_of_collection in 1..=collection {
            for steps_of_second in 0..=copy {
                for next in [1, 2] {
                    number += 1;
                    if !number.is_multiple_of(503) {
                        continue;
                    }
                    let legs =
                        vec![(0, steps_of_first), (1, steps_of_collection), (2, steps_of_second), (next, usize::MAX)];
                    let schedule = Schedule { legs, crash: Some(0), seed: number as u64 };
                    fixture.run(1, &verbs, &schedule).await.check().await;
                    runs += 1;
                }
            }
        }
    }
    assert!(runs > 50, "only {runs} runs");
}

/// A deletion stands still at any step, while another one deletes the same snapshot and a copy stores it again.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_copied_again_is_not_taken_by_an_older_delete_or_garbage_collection() {
    let fixture = Fixture::new().await;
    for old in [Verb::Delete(0), Verb::CollectGarbage] {
        for new in [Verb::Delete(0), Verb::Prune] {
            let verbs = [old, new, Verb::Copy(0)];
            for steps in 0..=fixture.steps_alone(1, old).await {
                let legs = vec![(0, steps), (1, usize::MAX), (2, usize::MAX), (0, usize::MAX)];
                let run = fixture.run(1, &verbs, &Schedule { legs, crash: None, seed: steps as u64 }).await;
                run.check().await;
            }
        }
    }
}

// ---- more than two actors, in random schedules

#[tokio::test(start_paused = true)]
async fn random_schedules_are_safe_for_a_copy_a_delete_and_a_late_garbage_collection() {
    let verbs = [Verb::Copy(2), Verb::DeleteCascade(0), Verb::CollectGarbageAfterDays];
    explore_random_schedules(2, &verbs, 0..100).await;
}

#[tokio::test(start_paused = true)]
async fn random_schedules_are_safe_for_an_increment_a_delete_and_a_late_garbage_collection() {
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::CollectGarbageAfterDays];
    explore_random_schedules(1, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn random_schedules_are_safe_for_two_increments_and_two_deletes() {
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::DeleteCascade(0), Verb::Increment(0)];
    explore_random_schedules(1, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn random_schedules_are_safe_for_an_increment_deletes_and_readers_of_a_chain() {
    let verbs = [Verb::Increment(1), Verb::DeleteCascade(1), Verb::Verify(2), Verb::Prune, Verb::Compact(2)];
    explore_random_schedules(3, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn snapshots_that_nobody_deletes_can_be_read_at_any_time() {
    let verbs = [Verb::Verify(1), Verb::Restore(1), Verb::DeleteCascade(2), Verb::Increment(2), Verb::CollectGarbage];
    explore_random_schedules(3, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn readers_never_see_corruption_in_random_schedules_with_two_deletes_and_a_prune() {
    let readers = [Verb::List, Verb::Chain(2), Verb::VerifyAll];
    let deletes = [Verb::DeleteCascade(0), Verb::DeleteCascade(1), Verb::Prune];
    explore_random_schedules(3, &[readers, deletes].concat(), 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn random_schedules_are_safe_for_three_garbage_collections_an_increment_and_a_delete() {
    let collections = [Verb::CollectGarbage, Verb::CollectGarbage, Verb::CollectGarbageAfterDays];
    let verbs = [Verb::Increment(0), collections[0], Verb::Delete(1), collections[1], collections[2]];
    explore_random_schedules(2, &verbs, 0..200).await;
}

#[tokio::test(start_paused = true)]
async fn random_schedules_are_safe_for_pins_and_deletes() {
    let verbs = [Verb::Pin(0), Verb::Delete(0), Verb::Pin(0), Verb::Delete(0), Verb::CollectGarbageAfterDays];
    explore_random_schedules(1, &verbs, 0..200).await;
}
