//! Increments and what they stand on: nothing goes that something which stays needs.

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::manager::retention::plan;
use ruvector_snapshot::{Others, PrunePolicy, Snapshot, StandsOn};

use crate::{later, lines, moment, on, planned, snapshot};

/// At an hour of one day.
fn at(hour: i64) -> DateTime<Utc> {
    moment("2026-11-23T00:00:00Z") + TimeDelta::hours(hour)
}

#[track_caller]
fn assert_last(count: usize, snapshots: Vec<Snapshot>, expected: &[&str]) {
    let policy = PrunePolicy { keep_last: count, ..PrunePolicy::default() };
    assert_eq!(lines(&planned(snapshots, &policy).unwrap()), expected);
}

#[test]
fn what_a_kept_snapshot_stands_on_stays_and_takes_nobodys_place() {
    let snapshots = vec![
        snapshot("full", at(1)),
        on("full", snapshot("inc 1", at(2))),
        snapshot("other", at(3)),
        on("inc 1", snapshot("inc 2", at(4))),
        on("inc 2", snapshot("inc 3", at(5))),
    ];
    let expected = [
        "keep inc 3: last 1",
        "keep inc 2: base of inc 3",
        "keep inc 1: base of inc 2",
        "keep full: base of inc 1",
        "drop other: not in the last 1",
    ];
    assert_last(1, snapshots.clone(), &expected);
    let expected = [
        "keep inc 3: last 3",
        "keep inc 2: last 3, base of inc 3",
        "keep other: last 3",
        "keep inc 1: base of inc 2",
        "keep full: base of inc 1",
    ];
    assert_last(3, snapshots, &expected);
}

#[test]
fn a_base_tells_all_that_stand_on_it_and_stay() {
    let snapshots = vec![
        snapshot("full", at(1)),
        on("full", snapshot("a", at(2))),
        on("full", snapshot("b", at(3))),
        on("full", snapshot("c", at(4))),
    ];
    let expected = ["keep c: last 2", "keep b: last 2", "keep full: base of c, base of b", "drop a: not in the last 2"];
    assert_last(2, snapshots, &expected);
}

#[test]
fn what_stands_on_a_snapshot_goes_before_it_whatever_their_times_say() {
    let snapshots = vec![
        snapshot("new", at(9)),
        on("inc 1", snapshot("inc 2", at(1))),
        on("full", snapshot("inc 1", at(5))),
        snapshot("full", at(7)),
        snapshot("between", at(6)),
    ];
    let reason = "not in the last 1";
    let [between, inc_2, inc_1, full] = ["between", "inc 2", "inc 1", "full"].map(|id| format!("drop {id}: {reason}"));
    assert_last(1, snapshots, &["keep new: last 1", &between, &inc_2, &inc_1, &full]);
}

#[test]
fn what_is_dated_in_the_future_keeps_its_base() {
    let snapshots =
        vec![snapshot("full", at(1)), snapshot("new", at(2)), on("full", snapshot("clock was wrong", at(1_000_000)))];
    let expected =
        ["keep clock was wrong: dated in the future", "keep new: last 1", "keep full: base of clock was wrong"];
    assert_last(1, snapshots, &expected);
}

/// Its base may be damaged, and come back. Meanwhile it must not push a snapshot out that can be restored.
#[test]
fn an_increment_whose_base_is_missing_stays_and_takes_nobodys_place() {
    let snapshots = vec![
        snapshot("old", at(1)),
        snapshot("whole", at(2)),
        on("lost", snapshot("inc 1", at(3))),
        on("inc 1", snapshot("inc 2", at(4))),
    ];
    let expected = [
        "keep inc 2: chain broken at lost",
        "keep inc 1: chain broken at lost, base of inc 2",
        "keep whole: last 1",
        "drop old: not in the last 1",
    ];
    assert_last(1, snapshots, &expected);
}

#[test]
fn increments_in_a_circle_stay() {
    let snapshots = vec![
        snapshot("whole", at(1)),
        on("self", snapshot("self", at(2))),
        on("b", snapshot("a", at(3))),
        on("a", snapshot("b", at(4))),
        on("a", snapshot("on the circle", at(5))),
    ];
    let expected = [
        "keep on the circle: chain broken at a",
        "keep b: chain broken at a, base of a",
        "keep a: chain broken at a, base of on the circle, base of b",
        "keep self: chain broken at self, base of self",
        "keep whole: last 1",
    ];
    assert_last(1, snapshots, &expected);
}

#[test]
fn a_chain_may_be_long() {
    let length = 20_000;
    let id = |number: i64| format!("{number:06}");
    let mut snapshots = vec![snapshot(&id(0), at(0))];
    snapshots.extend((1..length).map(|number| on(&id(number - 1), snapshot(&id(number), at(number)))));
    snapshots.push(snapshot("newest", at(length)));
    let policy = |keep_last| PrunePolicy { keep_last, ..PrunePolicy::default() };
    let plan = planned(snapshots.clone(), &policy(1)).unwrap();
    let dropped: Vec<_> = plan.drop.into_iter().map(|dropped| dropped.snapshot.id).collect();
    assert_eq!(dropped, (0..length).rev().map(id).collect::<Vec<_>>());
    assert_eq!(planned(snapshots, &policy(2)).unwrap().drop, []);
}

// ---- what else there is

/// The lines of a plan that keeps the last one, beside damaged snapshots and what they stand on.
fn beside(damaged: &[(&str, StandsOn)], snapshots: Vec<Snapshot>) -> Vec<String> {
    let damaged = damaged.iter().map(|(id, stands_on)| ((*id).to_owned(), stands_on.clone())).collect();
    let policy = PrunePolicy { keep_last: 1, ..PrunePolicy::default() };
    lines(&plan(snapshots, &Others { damaged, ..Others::default() }, &policy, later()).unwrap())
}

#[test]
fn what_a_damaged_snapshot_stands_on_stays() {
    let snapshots = vec![
        snapshot("1 full", at(1)),
        on("1 full", snapshot("2 inc", at(2))),
        snapshot("3 other", at(3)),
        snapshot("9 new", at(9)),
    ];
    let damaged = [("4 inc", StandsOn::Base("2 inc".to_owned())), ("5 full", StandsOn::Nothing)];
    let expected = [
        "keep 9 new: last 1",
        "keep 2 inc: base of 4 inc, which is damaged",
        "keep 1 full: base of 2 inc",
        "drop 3 other: not in the last 1",
    ];
    assert_eq!(beside(&damaged, snapshots), expected);
}

/// One byte of a metadata.json in the middle of a chain must not cost the full snapshot below it.
#[test]
fn nothing_older_goes_where_nobody_knows_what_a_chain_stands_on() {
    let snapshots = || {
        vec![
            snapshot("1 other", at(1)),
            snapshot("2 full", at(2)),
            on("3 inc", snapshot("4 inc", at(4))),
            snapshot("5 passing", at(5)),
            snapshot("9 new", at(9)),
        ]
    };
    let [broken, needed] = ["chain broken at 3 inc", "may be needed by 3 inc, which is damaged"];
    let expected = [
        "keep 9 new: last 1".to_owned(),
        format!("keep 4 inc: {broken}"),
        format!("keep 2 full: {needed}"),
        format!("keep 1 other: {needed}"),
        "drop 5 passing: not in the last 1".to_owned(),
    ];
    assert_eq!(beside(&[("3 inc", StandsOn::Unknown)], snapshots()), expected);

    // Also where the damage lies further down, below another one that is damaged and can be read.
    let needed = "may be needed by 0 inc, which is damaged";
    let damaged = [("3 inc", StandsOn::Base("2 inc".to_owned())), ("2 inc", StandsOn::Base("0 inc".to_owned()))];
    let further = [&damaged[..], &[("0 inc", StandsOn::Unknown)]].concat();
    let older = [snapshots(), vec![snapshot("/ oldest", at(0))]].concat();
    let found = beside(&further, older);
    assert!(found.contains(&format!("keep / oldest: {needed}")), "{found:?}");
    assert!(found.contains(&"drop 2 full: not in the last 1".to_owned()), "{found:?}");

    // One on which nothing stands holds nobody.
    let alone = vec![snapshot("1 other", at(1)), snapshot("9 new", at(9))];
    let expected = ["keep 9 new: last 1", "drop 1 other: not in the last 1"];
    assert_eq!(beside(&[("3 inc", StandsOn::Unknown)], alone), expected);
}

/// Damage that leads back to itself is no reason to go on for ever.
#[test]
fn damaged_snapshots_in_a_circle_come_to_an_end() {
    let damaged = [("1", StandsOn::Base("2".to_owned())), ("2", StandsOn::Base("1".to_owned()))];
    let snapshots = vec![on("1", snapshot("3", at(3))), snapshot("9 new", at(9))];
    assert_eq!(beside(&damaged, snapshots), ["keep 9 new: last 1", "keep 3: chain broken at 1"]);
}

#[test]
fn what_an_upload_that_is_under_way_will_stand_on_stays_and_takes_its_place() {
    let uploads = [("8 upload".to_owned(), vec!["1 full".to_owned(), "9 new".to_owned(), "gone".to_owned()])].into();
    let others = Others { uploads, ..Others::default() };
    let policy = PrunePolicy { keep_last: 1, ..PrunePolicy::default() };
    let snapshots = vec![snapshot("1 full", at(1)), snapshot("2 full", at(2)), snapshot("9 new", at(9))];
    let expected = [
        "keep 9 new: last 1, base of the upload 8 upload",
        "keep 1 full: base of the upload 8 upload",
        "drop 2 full: not in the last 1",
    ];
    assert_eq!(lines(&plan(snapshots, &others, &policy, later()).unwrap()), expected);
}
