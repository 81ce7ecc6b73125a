//! Dependencies: a snapshot is kept if a kept snapshot, an unusable snapshot or an upload depends on it.

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::retention::plan;
use ruvector_snapshot::retention::{BaseRef, ExternalRefs};
use ruvector_snapshot::{PrunePolicy, Snapshot};

use crate::{increment, later, lines, moment, planned, snapshot};

/// Returns an hour of one day.
fn at(hour: i64) -> DateTime<Utc> {
    moment("2026-11-23T00:00:00Z") + TimeDelta::hours(hour)
}

#[track_caller]
fn assert_last(count: usize, snapshots: Vec<Snapshot>, expected: &[&str]) {
    let policy = PrunePolicy::default().keep_last(count);
    assert_eq!(lines(&planned(snapshots, &policy).unwrap()), expected);
}

#[test]
fn ancestors_of_kept_snapshots_are_kept_and_are_not_counted_by_rules() {
    let snapshots = vec![
        snapshot("full", at(1)),
        increment("full", snapshot("inc 1", at(2))),
        snapshot("other", at(3)),
        increment("inc 1", snapshot("inc 2", at(4))),
        increment("inc 2", snapshot("inc 3", at(5))),
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
fn a_base_lists_all_kept_dependents_as_reasons() {
    let snapshots = vec![
        snapshot("full", at(1)),
        increment("full", snapshot("a", at(2))),
        increment("full", snapshot("b", at(3))),
        increment("full", snapshot("c", at(4))),
    ];
    let expected = ["keep c: last 2", "keep b: last 2", "keep full: base of c, base of b", "drop a: not in the last 2"];
    assert_last(2, snapshots, &expected);
}

#[test]
fn dependents_are_dropped_before_their_base_whatever_their_times() {
    let snapshots = vec![
        snapshot("new", at(9)),
        increment("inc 1", snapshot("inc 2", at(1))),
        increment("full", snapshot("inc 1", at(5))),
        snapshot("full", at(7)),
        snapshot("between", at(6)),
    ];
    let reason = "not in the last 1";
    let [between, inc_2, inc_1, full] = ["between", "inc 2", "inc 1", "full"].map(|id| format!("drop {id}: {reason}"));
    assert_last(1, snapshots, &["keep new: last 1", &between, &inc_2, &inc_1, &full]);
}

#[test]
fn the_base_of_a_snapshot_from_the_future_is_kept() {
    let snapshots = vec![
        snapshot("full", at(1)),
        snapshot("new", at(2)),
        increment("full", snapshot("clock was wrong", at(1_000_000))),
    ];
    let expected =
        ["keep clock was wrong: dated in the future", "keep new: last 1", "keep full: base of clock was wrong"];
    assert_last(1, snapshots, &expected);
}

/// The base may be repaired later. Until then the increment must not take the place of a snapshot that can be restored.
#[test]
fn an_increment_with_a_missing_base_is_kept_and_is_not_counted_by_rules() {
    let snapshots = vec![
        snapshot("old", at(1)),
        snapshot("other", at(2)),
        increment("lost", snapshot("inc 1", at(3))),
        increment("inc 1", snapshot("inc 2", at(4))),
    ];
    let expected = [
        "keep inc 2: chain broken at lost",
        "keep inc 1: chain broken at lost, base of inc 2",
        "keep other: last 1",
        "drop old: not in the last 1",
    ];
    assert_last(1, snapshots, &expected);
}

#[test]
fn increments_in_a_cycle_are_kept() {
    let snapshots = vec![
        snapshot("other", at(1)),
        increment("self", snapshot("self", at(2))),
        increment("b", snapshot("a", at(3))),
        increment("a", snapshot("b", at(4))),
        increment("a", snapshot("on the cycle", at(5))),
    ];
    let expected = [
        "keep on the cycle: chain broken at a",
        "keep b: chain broken at a, base of a",
        "keep a: chain broken at a, base of on the cycle, base of b",
        "keep self: chain broken at self, base of self",
        "keep other: last 1",
    ];
    assert_last(1, snapshots, &expected);
}

#[test]
fn a_chain_can_be_long() {
    let length = 20_000;
    let id = |number: i64| format!("{number:06}");
    let mut snapshots = vec![snapshot(&id(0), at(0))];
    snapshots.extend((1..length).map(|number| increment(&id(number - 1), snapshot(&id(number), at(number)))));
    snapshots.push(snapshot("newest", at(length)));
    let policy = |keep_last| PrunePolicy::default().keep_last(keep_last);
    let plan = planned(snapshots.clone(), &policy(1)).unwrap();
    let dropped: Vec<_> = plan.drop.into_iter().map(|dropped| dropped.snapshot.id).collect();
    assert_eq!(dropped, (0..length).rev().map(id).collect::<Vec<_>>());
    assert_eq!(planned(snapshots, &policy(2)).unwrap().drop, []);
}

// ---- external references

/// Returns the lines of a plan that keeps the last snapshot, if the store also contains these unusable snapshots.
fn with_unusable(unusable: &[(&str, BaseRef<String>)], snapshots: Vec<Snapshot>) -> Vec<String> {
    let unusable = unusable.iter().map(|(id, base)| ((*id).to_owned(), base.clone())).collect();
    let policy = PrunePolicy::default().keep_last(1);
    lines(&plan(snapshots, &ExternalRefs { unusable, ..ExternalRefs::default() }, &policy, later()).unwrap())
}

#[test]
fn the_base_of_an_unusable_snapshot_is_kept() {
    let snapshots = vec![
        snapshot("1 full", at(1)),
        increment("1 full", snapshot("2 inc", at(2))),
        snapshot("3 other", at(3)),
        snapshot("9 new", at(9)),
    ];
    let unusable = [("4 inc", BaseRef::Base("2 inc".to_owned())), ("5 full", BaseRef::Full)];
    let expected = [
        "keep 9 new: last 1",
        "keep 2 inc: base of 4 inc, which is corrupt",
        "keep 1 full: base of 2 inc",
        "drop 3 other: not in the last 1",
    ];
    assert_eq!(with_unusable(&unusable, snapshots), expected);
}

/// A corrupt byte in the metadata.json of an increment must not lead to the deletion of its base.
#[test]
fn everything_older_than_an_unreadable_base_is_kept() {
    let snapshots = || {
        vec![
            snapshot("1 other", at(1)),
            snapshot("2 full", at(2)),
            increment("3 inc", snapshot("4 inc", at(4))),
            snapshot("5 passing", at(5)),
            snapshot("9 new", at(9)),
        ]
    };
    let [broken, needed] = ["chain broken at 3 inc", "may be needed by 3 inc, which cannot be read"];
    let expected = [
        "keep 9 new: last 1".to_owned(),
        format!("keep 4 inc: {broken}"),
        format!("keep 2 full: {needed}"),
        format!("keep 1 other: {needed}"),
        "drop 5 passing: not in the last 1".to_owned(),
    ];
    assert_eq!(with_unusable(&[("3 inc", BaseRef::Unreadable)], snapshots()), expected);

    // The chain may lead through other unusable snapshots whose bases are known.
    let needed = "may be needed by 0 inc, which cannot be read";
    let unusable = [("3 inc", BaseRef::Base("2 inc".to_owned())), ("2 inc", BaseRef::Base("0 inc".to_owned()))];
    let further = [&unusable[..], &[("0 inc", BaseRef::Unreadable)]].concat();
    let older = [snapshots(), vec![snapshot("/ oldest", at(0))]].concat();
    let found = with_unusable(&further, older);
    assert!(found.contains(&format!("keep / oldest: {needed}")), "{found:?}");
    assert!(found.contains(&"drop 2 full: not in the last 1".to_owned()), "{found:?}");

    // If nothing depends on it, it keeps nothing.
    let alone = vec![snapshot("1 other", at(1)), snapshot("9 new", at(9))];
    let expected = ["keep 9 new: last 1", "drop 1 other: not in the last 1"];
    assert_eq!(with_unusable(&[("3 inc", BaseRef::Unreadable)], alone), expected);
}

#[test]
fn unusable_snapshots_can_be_in_a_cycle() {
    let unusable = [("1", BaseRef::Base("2".to_owned())), ("2", BaseRef::Base("1".to_owned()))];
    let snapshots = vec![increment("1", snapshot("3", at(3))), snapshot("9 new", at(9))];
    assert_eq!(with_unusable(&unusable, snapshots), ["keep 9 new: last 1", "keep 3: chain broken at 1"]);
}

#[test]
fn bases_of_an_upload_in_progress_are_kept_and_are_counted_by_rules() {
    let uploads = [("8 upload".to_owned(), vec!["1 full".to_owned(), "9 new".to_owned(), "gone".to_owned()])].into();
    let external = ExternalRefs { uploads, ..ExternalRefs::default() };
    let policy = PrunePolicy::default().keep_last(1);
    let snapshots = vec![snapshot("1 full", at(1)), snapshot("2 full", at(2)), snapshot("9 new", at(9))];
    let expected = [
        "keep 9 new: last 1, base of upload 8 upload",
        "keep 1 full: base of upload 8 upload",
        "drop 2 full: not in the last 1",
    ];
    assert_eq!(lines(&plan(snapshots, &external, &policy, later()).unwrap()), expected);
}

/// The base of an increment whose data is corrupt may be unreadable as well. Both may be repaired.
#[test]
fn everything_older_than_the_unreadable_base_of_an_unusable_snapshot_is_kept() {
    let unusable = [("5 inc", BaseRef::Base("3 inc".to_owned())), ("3 inc", BaseRef::Unreadable)];
    let snapshots = vec![snapshot("1 full", at(1)), snapshot("4 other", at(4)), snapshot("9 new", at(9))];
    let expected = [
        "keep 9 new: last 1",
        "keep 1 full: may be needed by 3 inc, which cannot be read",
        "drop 4 other: not in the last 1",
    ];
    assert_eq!(with_unusable(&unusable, snapshots), expected);
}

#[test]
fn everything_older_than_the_unreadable_base_of_an_upload_is_kept() {
    let external = ExternalRefs {
        unusable: [("3 inc".to_owned(), BaseRef::Unreadable)].into(),
        uploads: [("8 upload".to_owned(), vec!["3 inc".to_owned()])].into(),
        ..ExternalRefs::default()
    };
    let snapshots = vec![snapshot("1 full", at(1)), snapshot("4 other", at(4)), snapshot("9 new", at(9))];
    let expected = [
        "keep 9 new: last 1",
        "keep 1 full: may be needed by 3 inc, which cannot be read",
        "drop 4 other: not in the last 1",
    ];
    let policy = PrunePolicy::default().keep_last(1);
    assert_eq!(lines(&plan(snapshots, &external, &policy, later()).unwrap()), expected);
}
