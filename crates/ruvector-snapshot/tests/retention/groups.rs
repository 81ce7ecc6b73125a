//! Groups: the rules of a policy apply to each group on its own, and dependencies cross groups.

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::retention::GroupBy;
use ruvector_snapshot::{ErrorKind, PrunePolicy, Snapshot};
use serde_json::json;

use crate::{increment, lines, moment, pinned, planned, snapshot};

/// Returns an hour of one day.
fn at(hour: i64) -> DateTime<Utc> {
    moment("2026-11-23T00:00:00Z") + TimeDelta::hours(hour)
}

fn of_name(id: &str, hour: i64, name: &str) -> Snapshot {
    let mut made = snapshot(id, at(hour));
    made.source.name = Some(name.to_owned());
    made
}

fn of_path(id: &str, hour: i64, host: Option<&str>, path: &str) -> Snapshot {
    let mut made = snapshot(id, at(hour));
    (made.source.host, made.source.path) = (host.map(str::to_owned), Some(path.to_owned()));
    made
}

fn with_label(id: &str, hour: i64, key: &str, value: &str) -> Snapshot {
    let mut made = snapshot(id, at(hour));
    made.labels.insert(key, value);
    made
}

/// Returns a line for each group: its heading, the ids to keep, and the ids to drop.
#[track_caller]
fn groups(policy: &PrunePolicy, snapshots: Vec<Snapshot>) -> Vec<String> {
    let plan = planned(snapshots, policy).unwrap();
    let line = |group: &ruvector_snapshot::PlannedGroup| {
        format!("{}: {} | {}", group.group, group.keep.join(" "), group.drop.join(" "))
    };
    plan.groups.iter().map(line).collect()
}

fn last(count: usize) -> PrunePolicy {
    PrunePolicy::default().keep_last(count)
}

/// A store for several databases: the newest snapshot of one must not push those of another out.
#[test]
fn keep_last_keeps_a_snapshot_of_every_source() {
    let snapshots = vec![
        of_path("old", 1, Some("db1"), "/srv/a.db"),
        of_path("other host", 2, Some("db2"), "/srv/a.db"),
        of_path("other path", 3, Some("db1"), "/srv/b.db"),
        of_name("named", 4, "orders"),
        snapshot("nameless 1", at(5)),
        snapshot("nameless 2", at(6)),
        of_path("new", 7, Some("db1"), "/srv/a.db"),
    ];
    let expected = [
        "source \"orders\": named | ",
        "source db1:/srv/a.db: new | old",
        "source db2:/srv/a.db: other host | ",
        "source db1:/srv/b.db: other path | ",
        "sources of the kind \"file\" without a name or path: nameless 2 | nameless 1",
    ];
    let mut found = groups(&last(1), snapshots.clone());
    assert_eq!(found.pop().as_deref(), expected.last().copied(), "the rest is not the last group");
    found.sort();
    let mut sorted = expected[..4].to_vec();
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    let all_together = groups(&last(1).group_by(GroupBy::None), snapshots);
    assert_eq!(all_together, ["all snapshots: new | nameless 2 nameless 1 named other path other host old"]);
}

#[test]
fn sources_that_look_alike_as_text_are_different_groups() {
    let snapshots = vec![
        of_name("named", 1, "db1:/a.db"),
        of_path("hosted", 2, Some("db1"), "/a.db"),
        of_path("without host", 3, None, "db1:/a.db"),
    ];
    let plan = planned(snapshots, &last(1)).unwrap();
    assert_eq!((plan.groups.len(), plan.drop.len()), (3, 0));
}

#[test]
fn a_given_name_identifies_a_source_wherever_the_file_is() {
    let mut moved = of_path("moved", 2, Some("db2"), "/new/a.db");
    moved.source.name = Some("orders".to_owned());
    let mut first = of_path("first", 1, Some("db1"), "/srv/a.db");
    first.source.name = Some("orders".to_owned());
    assert_eq!(groups(&last(1), vec![first, moved]), ["source \"orders\": moved | first"]);
}

#[test]
fn snapshots_are_grouped_by_name_or_by_label() {
    let mut hourly = snapshot("1", at(1));
    hourly.name = "hourly".to_owned();
    let snapshots = vec![hourly, snapshot("2", at(2)), snapshot("3", at(3))];
    assert_eq!(
        groups(&last(1).group_by(GroupBy::Name), snapshots),
        ["name \"hourly\": 1 | ", "name \"nightly\": 3 | 2"]
    );

    let snapshots = vec![
        with_label("1", 1, "host", "db1"),
        with_label("2", 2, "host", "db1"),
        with_label("3", 3, "host", "db2"),
        with_label("4", 4, "reason", "db2"),
        snapshot("5", at(5)),
    ];
    let expected = ["label host=\"db1\": 2 | 1", "label host=\"db2\": 3 | ", "no label host: 5 | 4"];
    assert_eq!(groups(&last(1).group_by("label:host".parse().unwrap()), snapshots), expected);
}

#[test]
fn every_rule_counts_in_each_group() {
    let policy = PrunePolicy::default().keep_daily(1).keep_within("2h".parse().unwrap());
    let snapshots = vec![
        of_name("a 1", 1, "a"),
        of_name("a 2", 8, "a"),
        of_name("a 3", 10, "a"),
        // The newest of b is older than all that `within` keeps of a.
        of_name("b 1", -30, "b"),
        of_name("b 2", -21, "b"),
        of_name("b 3", -20, "b"),
    ];
    assert_eq!(groups(&policy, snapshots), ["source \"a\": a 3 a 2 | a 1", "source \"b\": b 3 b 2 | b 1"]);
}

#[test]
fn a_base_is_kept_for_a_dependent_of_another_group() {
    let snapshots = vec![
        of_name("full", 1, "a"),
        increment("full", of_name("moved", 2, "b")),
        of_name("new", 3, "a"),
        of_name("between", 2, "a"),
    ];
    let plan = planned(snapshots, &last(1)).unwrap();
    let expected =
        ["keep new: last 1", "keep moved: last 1", "keep full: base of moved", "drop between: not in the last 1"];
    assert_eq!(lines(&plan), expected);
}

/// The dependents of a base can be in another group, and must go first.
#[test]
fn snapshots_of_all_groups_are_dropped_in_one_order() {
    let snapshots = vec![
        of_name("full", 1, "a"),
        increment("full", of_name("inc", 2, "b")),
        of_name("new a", 3, "a"),
        of_name("new b", 4, "b"),
    ];
    let reason = "not in the last 1";
    let [inc, full] = ["inc", "full"].map(|id| format!("drop {id}: {reason}"));
    let plan = planned(snapshots, &last(1)).unwrap();
    assert_eq!(lines(&plan), ["keep new b: last 1", "keep new a: last 1", &inc, &full]);
}

/// Pinned snapshots count in their group. Snapshots from the future and those with a broken chain do not.
#[test]
fn pins_wrong_clocks_and_broken_chains_are_treated_as_before_in_each_group() {
    let snapshots = vec![
        of_name("a 1", 1, "a"),
        increment("lost", of_name("a broken", 2, "a")),
        of_name("a future", 1_000_000, "a"),
        of_name("b 1", 1, "b"),
        of_name("b pinned", 2, "b"),
    ];
    let plan = ruvector_snapshot::retention::plan(snapshots, &pinned(["b pinned"]), &last(1), crate::later()).unwrap();
    let expected = [
        "keep a future: dated in the future",
        "keep b pinned: pinned, last 1",
        "keep a broken: chain broken at lost",
        "keep a 1: last 1",
        "drop b 1: not in the last 1",
    ];
    assert_eq!(lines(&plan), expected);
}

/// Only rules for labels can keep nothing of a group. The whole prune is refused, also for the groups that would keep
/// something.
#[test]
fn a_policy_that_keeps_nothing_of_a_group_is_refused() {
    let mut kept = of_name("kept", 1, "a");
    kept.labels.insert("keep", "");
    let snapshots = vec![kept, of_name("a 2", 2, "a"), of_name("b 1", 1, "b"), of_name("b 2", 2, "b")];
    let policy = PrunePolicy::default().keep_label("keep".parse().unwrap());
    let error = planned(snapshots.clone(), &policy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let message = "in the group [source \"b\"] the rules keep none of the 2 snapshots that can be restored";
    assert!(error.message().starts_with(message), "{error}");
    // All together they keep one, and with another rule each group keeps one.
    let plan = planned(snapshots.clone(), &policy.clone().group_by(GroupBy::None)).unwrap();
    assert_eq!(plan.drop.len(), 3);
    assert_eq!(planned(snapshots.clone(), &policy.clone().keep_last(1)).unwrap().drop.len(), 1);
    // A dependent of another group that a rule keeps, keeps one too. A pin does not make up for a rule.
    let mut with_dependent = snapshots.clone();
    let mut dependent = increment("b 2", of_name("dependent", 3, "a"));
    dependent.labels.insert("keep", "");
    with_dependent.push(dependent);
    assert!(planned(with_dependent, &policy).is_ok());
    let with_pin = |pins| ruvector_snapshot::retention::plan(snapshots.clone(), &pins, &policy, crate::later());
    assert!(with_pin(pinned(["b 1"])).unwrap_err().message().starts_with(message));
    assert_eq!(with_pin(pinned(["b 1", "b 2"])).unwrap().drop.len(), 1);
}

#[test]
fn a_group_that_cannot_be_restored_anyway_refuses_nothing() {
    let mut kept = of_name("kept", 1, "a");
    kept.labels.insert("keep", "");
    let broken = increment("lost", of_name("broken", 2, "b"));
    let policy = PrunePolicy::default().keep_label("keep".parse().unwrap());
    assert_eq!(groups(&policy, vec![kept, broken]), ["source \"a\": kept | ", "source \"b\": broken | "]);
}

#[test]
fn sources_without_a_name_or_a_path_are_told_apart_by_their_kind() {
    let of_kind = |id: &str, hour: i64, kind: &str| {
        let mut made = snapshot(id, at(hour));
        (made.source.kind, made.source.host) = (kind.to_owned(), Some("db1".to_owned()));
        made
    };
    let snapshots = vec![
        of_kind("postgres", 1, "postgres"),
        of_kind("redis 1", 2, "redis"),
        of_kind("redis 2", 3, "redis"),
        of_kind("memory", 4, "memory"),
        of_name("named", 5, "z"),
    ];
    let expected = [
        "source \"z\": named | ",
        "sources of the kind \"memory\" without a name or path: memory | ",
        "sources of the kind \"postgres\" without a name or path: postgres | ",
        "sources of the kind \"redis\" without a name or path: redis 2 | redis 1",
    ];
    assert_eq!(groups(&last(1), snapshots), expected);
}

#[test]
fn headings_tell_a_name_from_a_path_and_escape_what_could_deceive() {
    let snapshots = vec![
        of_name("1", 1, "db1:/srv/a.db"),
        of_path("2", 1, Some("db1"), "/srv/a.db"),
        of_name("3", 1, "a\": keep 9\u{1b}[2J\n"),
        of_path("4", 1, Some("db\u{7}"), "/srv/\"b\"\n.db"),
    ];
    let headings: Vec<String> =
        planned(snapshots, &last(1)).unwrap().groups.iter().map(|planned| planned.group.to_string()).collect();
    for expected in [
        r#"source "db1:/srv/a.db""#,
        "source db1:/srv/a.db",
        r#"source "a\": keep 9\u{1b}[2J\n""#,
        r#"source db\u{7}:/srv/\"b\"\n.db"#,
    ] {
        assert!(headings.iter().any(|heading| heading == expected), "{expected} is not in {headings:?}");
    }
    let key = "ho\"st\n";
    let labelled = vec![with_label("1", 1, key, "a\"b"), snapshot("2", at(2))];
    let group_by = GroupBy::Label(key.to_owned());
    let expected = [r#"label ho\"st\n="a\"b": 1 | "#, r#"no label ho\"st\n: 2 | "#];
    assert_eq!(groups(&last(1).group_by(group_by), labelled), expected);
}

/// With a mistyped key all snapshots would be one group, and the only snapshots of other databases would be deleted.
#[test]
fn grouping_by_a_label_that_no_snapshot_has_is_refused() {
    let snapshots = vec![with_label("a", 1, "host", "db1"), with_label("b", 2, "host", "db2"), of_name("c", 3, "c")];
    let mistyped = last(1).group_by("label:hots".parse().unwrap());
    let error = planned(snapshots.clone(), &mistyped).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().starts_with("no snapshot has the label \"hots\""), "{error}");
    assert!(error.message().contains("nothing was deleted"), "{error}");
    assert_eq!(planned(snapshots, &last(1).group_by("label:host".parse().unwrap())).unwrap().drop.len(), 0);
    assert_eq!(planned(Vec::new(), &mistyped).unwrap().drop.len(), 0);
}

/// A snapshot from the future is kept by no rule, and does not make up for the current ones.
#[test]
fn a_snapshot_from_the_future_does_not_stand_in_for_the_current_ones() {
    let future = of_name("future", 1_000_000, "a");
    let current = vec![of_name("1", 1, "a"), of_name("2", 2, "a")];
    let both = || [current.clone(), vec![future.clone()]].concat();
    let policy = PrunePolicy::default().keep_label("nope".parse().unwrap());
    for policy in [policy.clone(), policy.clone().group_by(GroupBy::None)] {
        for pins in [pinned([]), pinned(["future"])] {
            let error = ruvector_snapshot::retention::plan(both(), &pins, &policy, crate::later()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains("the rules keep none of the 2 snapshots"), "{error}");
            assert!(error.message().contains("dated in the future"), "{error}");
        }
    }
    let pins = pinned(["1", "2"]);
    assert_eq!(ruvector_snapshot::retention::plan(both(), &pins, &policy, crate::later()).unwrap().drop.len(), 0);
    // Alone it is kept, and nothing is deleted.
    assert_eq!(planned(vec![future], &policy).unwrap().drop.len(), 0);
}

#[test]
fn groups_are_parsed_printed_and_written_as_json() {
    for (text, group_by) in [
        ("source", GroupBy::Source),
        ("name", GroupBy::Name),
        ("label:host", GroupBy::Label("host".to_owned())),
        ("label:a:b", GroupBy::Label("a:b".to_owned())),
        ("none", GroupBy::None),
    ] {
        assert_eq!(text.parse::<GroupBy>().unwrap(), group_by);
        assert_eq!((group_by.to_string(), json!(group_by)), (text.to_owned(), json!(text)));
    }
    for text in ["", "label", "label:", "Source", "host", "tag:host", "source:a"] {
        let error = text.parse::<GroupBy>().unwrap_err();
        assert!(error.message().contains("label:KEY"), "{text:?}: {error}");
    }
    let group = |policy: &str, snapshot: Snapshot| json!(policy.parse::<GroupBy>().unwrap().group_of(&snapshot));
    let path = of_path("1", 1, Some("db1"), "/a.db");
    assert_eq!(group("source", path.clone()), json!({ "source": { "host": "db1", "path": "/a.db" } }));
    assert_eq!(group("source", of_path("1", 1, None, "/a.db")), json!({ "source": { "host": null, "path": "/a.db" } }));
    assert_eq!(group("source", of_name("1", 1, "orders")), json!({ "source": { "name": "orders" } }));
    assert_eq!(group("source", snapshot("1", at(1))), json!({ "source": { "kind": "file" } }));
    assert_eq!(group("name", path.clone()), json!({ "name": "nightly" }));
    assert_eq!(group("label:host", path.clone()), json!({ "label": { "key": "host", "value": null } }));
    let labelled = with_label("1", 1, "host", "db1");
    assert_eq!(group("label:host", labelled), json!({ "label": { "key": "host", "value": "db1" } }));
    assert_eq!(group("none", path), json!({}));
}
