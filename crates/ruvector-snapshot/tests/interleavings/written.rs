//! Schedules that are written out, each for a way in which something could get lost.

use std::ops::{Range, RangeInclusive};

use crate::bench::{Bench, Schedule, Verb};

/// So many steps more of a deletion, of which days have passed over the first: the rest of the list of the plan, a read, a
/// look, the mark, and the begin of the list.
const BEGINS_TO_LIST: usize = 1 + 1 + 1 + 1 + 1;

/// To the end.
const ALL: usize = usize::MAX;

async fn steps_alone(bench: &Bench, verb: Verb) -> usize {
    bench.run(1, &[verb], &schedule(vec![(0, ALL)], 0)).await.steps
}

fn schedule(legs: Vec<(usize, usize)>, seed: usize) -> Schedule {
    Schedule { legs, crash: None, seed: seed as u64 }
}

/// An increment (0), the deletion of its base (1) and a sweep after days (2), in legs that two numbers of steps of the increment
/// set, each with so many seeds, with and without a crash of the increment behind them.
async fn an_upload_of_days(
    before: RangeInclusive<usize>,
    after: Range<usize>,
    seeds: usize,
    legs: impl Fn(usize, usize) -> Vec<(usize, usize)>,
) {
    let bench = Bench::new().await;
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::SweepAfterDays];
    for (before, after) in before.flat_map(|before| after.clone().map(move |after| (before, after))) {
        for (seed, crash) in (0..seeds).flat_map(|seed| [(seed, None), (seed, Some(0))]) {
            bench.run(1, &verbs, &Schedule { crash, ..schedule(legs(before, after), seed) }).await.check().await;
        }
    }
}

/// A deletion stands still for days, wherever it is, its mark is swept, and an increment is made on what it was to delete.
#[tokio::test(start_paused = true)]
async fn a_mark_that_is_swept_from_under_a_deletion_that_stood_still() {
    let bench = Bench::new().await;
    let verbs = [Verb::Increment(0), Verb::Delete(0), Verb::SweepAfterDays];
    let mut both = 0;
    for steps in 0..=steps_alone(&bench, Verb::Delete(0)).await {
        let run = bench.run(1, &verbs, &schedule(vec![(1, steps), (2, ALL), (0, ALL)], steps)).await;
        run.check().await;
        both += usize::from(run.is_ok(0) && !run.is_ok(1));
    }
    assert!(both > 3, "the deletion gave up only {both} times");
}

/// The upload takes days, and ends while its base is being deleted and a sweep is at work:
///
/// 1. the deletion marks the base, and its listing passes the place of the increment's metadata.json;
/// 2. the increment is committed, and its process dies, or does not;
/// 3. the sweep finds an upload.json that is days old, beside a snapshot;
/// 4. the listing of the deletion passes its place.
#[tokio::test(start_paused = true)]
async fn an_old_upload_json_is_not_swept_while_a_base_is_marked() {
    let legs = |before, after| vec![(0, before), (2, 1), (1, BEGINS_TO_LIST), (0, after), (2, ALL), (1, ALL)];
    an_upload_of_days(9..=10, 12..21, 12, legs).await;
}

/// The upload takes days, and a sweep removes its upload.json. The create puts another before it commits: without one, a
/// deletion whose listing has begun would not know of the increment, whose process dies once it is committed.
#[tokio::test(start_paused = true)]
async fn an_upload_json_that_was_swept_is_there_again_before_the_commit() {
    let legs = |before, after| vec![(0, before), (2, ALL), (1, BEGINS_TO_LIST), (0, after), (1, ALL)];
    an_upload_of_days(7..=10, 10..21, 4, legs).await;
}

/// What an increment stands on is lost at any moment up to its last look: it fails, and nothing of it stays.
#[tokio::test(start_paused = true)]
async fn a_base_that_is_lost_before_the_last_look() {
    let bench = Bench::new().await;
    let verbs = [Verb::Increment(0), Verb::Lose(0)];
    // The last look, and upload.json goes.
    let last_look = steps_alone(&bench, verbs[0]).await - 2;
    for steps in 0..=last_look {
        let run = bench.run(1, &verbs, &schedule(vec![(0, steps), (1, ALL)], steps)).await;
        assert!(!run.is_ok(0), "{}", run.what);
        assert!(run.check_listed().await.is_empty(), "{}", run.what);
        let left = run.objects().await.into_iter().filter(|key| !key.contains(&bench.leftover_id())).count();
        assert_eq!(left, 0, "{}", run.what);
    }
}

/// A pin that was told to hold holds, whatever another pin that meets a deletion does.
#[tokio::test(start_paused = true)]
async fn a_second_pin_while_a_deletion_is_under_way() {
    let bench = Bench::new().await;
    let verbs = [Verb::Delete(0), Verb::Pin(0), Verb::Pin(0)];
    let (of_delete, of_pin) = (steps_alone(&bench, verbs[0]).await, steps_alone(&bench, verbs[1]).await);
    for first in 0..=of_delete {
        for pin in 1..=of_pin {
            for then in 1..=4 {
                let legs = vec![(0, first), (1, pin), (0, then), (2, ALL), (0, ALL)];
                bench.run(1, &verbs, &schedule(legs, first + pin)).await.check().await;
            }
        }
    }
}

/// A sweep has looked at what it takes for left over, and then the commit comes, of a process that does not live any more:
/// the sweep takes all of it, and leaves nothing that is damaged.
#[tokio::test(start_paused = true)]
async fn a_commit_that_comes_while_it_is_swept() {
    let bench = Bench::new().await;
    let verbs = [Verb::Sweep, Verb::CommitLate];
    let steps = steps_alone(&bench, verbs[0]).await;
    // Four files, metadata.json, the mark.
    for of_sweep in steps - 6..=steps - 2 {
        let run = bench.run(1, &verbs, &schedule(vec![(0, of_sweep), (1, ALL), (0, ALL)], of_sweep)).await;
        run.check().await;
        assert!(!run.check_listed().await.contains(&bench.leftover_id()), "{}", run.what);
    }
}

/// A create stands still for days between its files and its commit, and is swept: it must not commit what has no data.
#[tokio::test(start_paused = true)]
async fn a_create_that_stood_still_before_its_commit() {
    let bench = Bench::new().await;
    let verbs = [Verb::Full, Verb::SweepAfterDays];
    // Whether the id is free, three files, three sizes, checksum.sha256; then two looks at all of them.
    for (steps, told) in [(7, "was swept as left over"), (11, "stood still for so long")] {
        let run = bench.run(1, &verbs, &schedule(vec![(0, steps), (1, ALL)], 0)).await;
        run.check().await;
        assert!(run.what.contains(told), "{}", run.what);
    }
}

/// The upload of an increment takes days, and a sweep has removed its upload.json: it puts another before it commits.
#[tokio::test(start_paused = true)]
async fn an_increment_whose_upload_takes_days() {
    let bench = Bench::new().await;
    let verbs = [Verb::Increment(0), Verb::SweepAfterDays];
    // Four reads of the base, whether the id is free, upload.json, and the look at the base.
    for steps in 5..11 {
        let run = bench.run(1, &verbs, &schedule(vec![(0, steps), (1, ALL)], steps)).await;
        run.check().await;
        assert!(run.is_ok(0), "{}", run.what);
    }
}

/// The clock of a machine that sweeps is days ahead: it is the store that says how old a mark is.
#[tokio::test]
async fn a_sweep_whose_clock_is_ahead_spares_what_is_young() {
    let bench = Bench::new().await;
    let [found, swept] = bench.sweep_with_a_clock_ahead().await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(swept, [format!("snapshot-{}", bench.leftover_id())]);
}
