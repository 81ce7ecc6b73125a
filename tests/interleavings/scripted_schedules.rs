//! Schedules that are written out, each for one way in which a snapshot could be lost. D2 is a step and I4 an invariant
//! of docs/CONCURRENCY.md.

use std::ops::{Range, RangeInclusive};

use crate::fixture::{Fixture, Schedule, Verb};

/// How many steps a delete takes from the point where days pass until its second listing has begun: the rest of the
/// plan's listing, a read, a check, the marker, and the beginning of the listing.
const BEGINS_TO_LIST: usize = 1 + 1 + 1 + 1 + 1;

/// All remaining steps.
const ALL: usize = usize::MAX;

fn schedule(legs: Vec<(usize, usize)>, seed: usize) -> Schedule {
    Schedule { legs, crash: None, seed: seed as u64 }
}

/// Runs an increment (0), the deletion of its base (1) and a garbage collection after days (2).
///
/// The legs depend on two numbers of steps of the increment. Each schedule runs with so many seeds, without a crash and
/// with a crash of the increment after the legs.
async fn run_upload_that_takes_days(
    before: RangeInclusive<usize>,
    after: Range<usize>,
    seeds: usize,
    legs: impl Fn(usize, usize) -> Vec<(usize, usize)>,
) {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::CollectGarbageAfterDays];
    for (before, after) in before.flat_map(|before| after.clone().map(move |after| (before, after))) {
        for (seed, crash) in (0..seeds).flat_map(|seed| [(seed, None), (seed, Some(0))]) {
            fixture.run(1, &verbs, &Schedule { crash, ..schedule(legs(before, after), seed) }).await.check().await;
        }
    }
}

/// D4 and I6: a delete stands still for days at any step, its marker is collected, and an increment is created on its
/// snapshot.
#[tokio::test(start_paused = true)]
async fn a_delete_that_stood_still_stops_if_its_marker_was_collected() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::CollectGarbageAfterDays];
    let mut stopped = 0;
    for steps in 0..=fixture.steps_alone(1, Verb::Delete(0)).await {
        let run = fixture.run(1, &verbs, &schedule(vec![(1, steps), (2, ALL), (0, ALL)], steps)).await;
        run.check().await;
        stopped += usize::from(run.is_ok(0) && !run.is_ok(1));
    }
    assert!(stopped > 3, "the delete stopped only {stopped} times");
}

/// C7 and I8: an upload takes days, and ends while its base is being deleted and garbage is being collected:
///
/// 1. The delete marks the base, and its listing passes the position of the increment's metadata.json.
/// 2. The increment is committed. Its process may die then.
/// 3. The collection finds an upload.json that is days old, beside a snapshot.
/// 4. The listing of the delete passes the position of upload.json.
#[tokio::test(start_paused = true)]
async fn an_old_upload_marker_is_kept_while_a_base_is_marked_for_deletion() {
    let legs = |before, after| vec![(0, before), (2, 1), (1, BEGINS_TO_LIST), (0, after), (2, ALL), (1, ALL)];
    run_upload_that_takes_days(9..=10, 12..21, 12, legs).await;
}

/// An upload takes days, and a collection removes its upload.json. The create writes another one before it commits.
/// Otherwise a delete whose listing has begun would miss an increment whose process dies after the commit.
#[tokio::test(start_paused = true)]
async fn an_upload_marker_that_was_collected_is_written_again_before_the_commit() {
    let legs = |before, after| vec![(0, before), (2, ALL), (1, BEGINS_TO_LIST), (0, after), (1, ALL)];
    run_upload_that_takes_days(7..=10, 10..21, 4, legs).await;
}

/// The base of an increment is lost at any step up to the last check of it.
#[tokio::test(start_paused = true)]
async fn an_increment_fails_and_leaves_nothing_if_its_base_is_lost() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Increment(0), Verb::Lose(0)];
    // The last two steps are that check and the removal of upload.json.
    let last_check = fixture.steps_alone(1, verbs[0]).await - 2;
    for steps in 0..=last_check {
        let run = fixture.run(1, &verbs, &schedule(vec![(0, steps), (1, ALL)], steps)).await;
        assert!(!run.is_ok(0), "{}", run.description);
        assert!(run.check_listed().await.is_empty(), "{}", run.description);
        let left = run.objects().await.into_iter().filter(|key| !key.contains(&fixture.abandoned_id())).count();
        assert_eq!(left, 0, "{}", run.description);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pin_that_succeeded_holds_if_another_pin_meets_the_same_delete() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Delete(0), Verb::Pin(0), Verb::Pin(0)];
    let delete_steps = fixture.steps_alone(1, verbs[0]).await;
    let pin_steps = fixture.steps_alone(1, verbs[1]).await;
    for first in 0..=delete_steps {
        for pin in 1..=pin_steps {
            for then in 1..=4 {
                let legs = vec![(0, first), (1, pin), (0, then), (2, ALL), (0, ALL)];
                fixture.run(1, &verbs, &schedule(legs, first + pin)).await.check().await;
            }
        }
    }
}

/// G3 and I3: the commit of a process that has died arrives after a collection has found the upload abandoned. The
/// collection removes all of it and leaves no corrupt snapshot.
#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_while_its_upload_is_collected_is_collected_too() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::CollectGarbage, Verb::CommitLate];
    let steps = fixture.steps_alone(1, verbs[0]).await;
    // The last six steps remove four files, metadata.json and the marker.
    for steps_before in steps - 6..=steps - 2 {
        let legs = vec![(0, steps_before), (1, ALL), (0, ALL)];
        let run = fixture.run(1, &verbs, &schedule(legs, steps_before)).await;
        run.check().await;
        assert!(!run.check_listed().await.contains(&fixture.abandoned_id()), "{}", run.description);
    }
}

/// C4 and I7: a create stands still for days between its data and its commit, and its data is collected.
#[tokio::test(start_paused = true)]
async fn a_create_does_not_commit_after_its_data_was_collected() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Full, Verb::CollectGarbageAfterDays];
    // Seven steps: the check whether the id is free, three files, three sizes. Then checksum.sha256, and two checks of
    // all files.
    for (steps, message) in [(7, "took so long that it was collected as abandoned"), (11, "stalled for so long")] {
        let run = fixture.run(1, &verbs, &schedule(vec![(0, steps), (1, ALL)], 0)).await;
        run.check().await;
        assert!(run.description.contains(message), "{}", run.description);
    }
}

/// C6: the upload of an increment takes days, and a collection removes its upload.json.
#[tokio::test(start_paused = true)]
async fn an_increment_succeeds_if_its_upload_takes_days() {
    let fixture = Fixture::new().await;
    let verbs = [Verb::Increment(0), Verb::CollectGarbageAfterDays];
    // Four reads of the base, the check whether the id is free, upload.json, and the check of the base.
    for steps in 5..11 {
        let run = fixture.run(1, &verbs, &schedule(vec![(0, steps), (1, ALL)], steps)).await;
        run.check().await;
        assert!(run.is_ok(0), "{}", run.description);
    }
}

#[tokio::test]
async fn a_garbage_collection_measures_age_by_the_store_if_its_own_clock_is_ahead() {
    let fixture = Fixture::new().await;
    let [found, removed] = fixture.collect_garbage_with_a_clock_ahead().await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(removed, [format!("snapshot-{}", fixture.abandoned_id())]);
}
