//! Each rule by itself and all together; what is refused; what no rule decides.

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::manager::retention::plan;
use ruvector_snapshot::{ErrorKind, LabelPattern, Others, PrunePolicy, Span};
use serde_json::json;

use crate::{assert_table, lines, moment, on, pinned, planned, snapshot};

#[test]
fn the_last_are_the_newest_by_their_recorded_time() {
    assert_table(
        &PrunePolicy { keep_last: 2, ..PrunePolicy::default() },
        &[
            ("2026-11-23T08:00:01Z", "keep last 2"),
            ("2026-11-23T08:00:00Z", "keep last 2"),
            ("2026-11-23T07:59:59Z", "drop not in the last 2"),
            ("1999-01-01T00:00:00Z", "drop not in the last 2"),
        ],
    );
}

#[test]
fn the_newest_of_a_day_stands_for_it_and_days_without_a_snapshot_do_not_count() {
    assert_table(
        &PrunePolicy { keep_daily: 3, ..PrunePolicy::default() },
        &[
            ("2026-11-23T20:00:00Z", "keep daily 2026-11-23"),
            ("2026-11-23T08:00:00Z", "drop daily 2026-11-23 has a newer one"),
            ("2026-11-20T08:00:00Z", "keep daily 2026-11-20"),
            ("2025-02-01T23:00:00Z", "keep daily 2025-02-01"),
            ("2025-02-01T08:00:00Z", "drop daily 2025-02-01 has a newer one"),
            ("2025-01-31T08:00:00Z", "drop not in the last 3 daily"),
        ],
    );
}

#[test]
fn a_snapshot_stays_that_any_rule_keeps_and_each_rule_counts_for_itself() {
    assert_table(
        &PrunePolicy {
            keep_last: 1,
            keep_hourly: 2,
            keep_monthly: 2,
            keep_quarterly: 2,
            keep_yearly: 2,
            ..PrunePolicy::default()
        },
        &[
            (
                "2026-11-23T20:40:00Z",
                "keep last 1, hourly 2026-11-23 20:00 +00:00, monthly 2026-11, quarterly 2026-Q4, yearly 2026",
            ),
            (
                "2026-11-23T20:20:00Z",
                "drop not in the last 1, hourly 2026-11-23 20:00 +00:00 has a newer one, monthly 2026-11 has a newer one, \
                 quarterly 2026-Q4 has a newer one, yearly 2026 has a newer one",
            ),
            ("2026-11-23T19:00:00Z", "keep hourly 2026-11-23 19:00 +00:00"),
            ("2026-10-01T00:00:00Z", "keep monthly 2026-10"),
            ("2026-09-30T23:59:59Z", "keep quarterly 2026-Q3"),
            (
                "2026-06-01T00:00:00Z",
                "drop not in the last 1, not in the last 2 hourly, not in the last 2 monthly, not in the last 2 quarterly, \
                 yearly 2026 has a newer one",
            ),
            ("2024-01-01T00:00:00Z", "keep yearly 2024"),
        ],
    );
}

#[test]
fn within_is_counted_from_the_newest_snapshot_so_that_nothing_runs_out() {
    let policy = PrunePolicy { keep_within: Some("7d".parse().unwrap()), ..PrunePolicy::default() };
    assert_table(
        &policy,
        &[
            ("2026-11-23T08:00:00Z", "keep within 7d"),
            ("2026-11-16T08:00:00Z", "keep within 7d"),
            ("2026-11-16T07:59:59Z", "drop not within 7d"),
        ],
    );
}

#[test]
fn labels_are_kept_by_key_or_by_key_and_value() {
    let labelled = |id: &str, key: &str, value: &str| {
        let mut labelled = snapshot(id, moment("2026-11-23T08:00:00Z"));
        labelled.labels.insert(key.to_owned(), value.to_owned());
        labelled
    };
    let snapshots = vec![labelled("d", "host", "db1"), labelled("c", "host", "db2"), labelled("b", "keep", "")];
    let keep_labels = ["host=db1", "keep"].map(|text| text.parse().unwrap()).into();
    let plan = planned(snapshots, &PrunePolicy { keep_labels, ..PrunePolicy::default() }).unwrap();
    assert_eq!(
        lines(&plan),
        ["keep d: label host=db1", "keep b: label keep", "drop c: no label host=db1, no label keep"]
    );
}

#[test]
fn what_is_pinned_stays_and_takes_its_place_like_any_other() {
    let snapshots: Vec<_> =
        ["3", "2", "1"].map(|day| snapshot(day, moment(&format!("2026-11-0{day}T08:00:00Z")))).into();
    let planned = |ids: &[&str]| {
        let pinned = Others { pinned: ids.iter().map(|id| (*id).to_owned()).collect(), ..Others::default() };
        let policy = PrunePolicy { keep_last: 1, ..PrunePolicy::default() };
        lines(&plan(snapshots.clone(), &pinned, &policy, moment("2026-11-23T08:00:00Z")).unwrap())
    };
    assert_eq!(planned(&["1"]), ["keep 3: last 1", "keep 1: pinned", "drop 2: not in the last 1"]);
    assert_eq!(planned(&["3", "unknown"])[0], "keep 3: pinned, last 1");
    assert_eq!(planned(&["3"])[1..], ["drop 2: not in the last 1", "drop 1: not in the last 1"]);
}

#[test]
fn what_is_dated_in_the_future_stays_and_takes_nobodys_place() {
    let now = moment("2026-11-23T08:00:00Z");
    let at = |id: &str, seconds| snapshot(id, now + TimeDelta::seconds(seconds));
    let snapshots = vec![at("tomorrow", 86_400), at("soon", 1), at("now", 0), at("before", -1)];
    let policy =
        PrunePolicy { keep_last: 1, keep_daily: 1, keep_within: Some("1h".parse().unwrap()), ..PrunePolicy::default() };
    assert_eq!(
        lines(&plan(snapshots, &Others::default(), &policy, now).unwrap()),
        [
            "keep tomorrow: dated in the future",
            "keep soon: dated in the future",
            "keep now: last 1, daily 2026-11-23, within 1h",
            "keep before: within 1h",
        ]
    );
}

#[test]
fn a_policy_without_a_rule_is_refused_whatever_is_pinned() {
    let one = || vec![snapshot("a", moment("2026-11-23T08:00:00Z"))];
    let nothing = PrunePolicy::default();
    let no_span = PrunePolicy { keep_within: Some(Span::default()), ..PrunePolicy::default() };
    for policy in [&nothing, &no_span] {
        for snapshots in [one(), Vec::new()] {
            let error = plan(snapshots, &pinned(["a"]), policy, moment("2026-11-24T00:00:00Z")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("at least one rule"), "{error}");
        }
    }
}

#[test]
fn a_policy_that_would_drop_everything_is_refused() {
    let snapshots: Vec<_> = ["a", "b"].map(|id| snapshot(id, moment("2026-11-23T08:00:00Z"))).into();
    let policy = PrunePolicy { keep_labels: vec!["keep".parse().unwrap()], ..PrunePolicy::default() };
    let error = planned(snapshots.clone(), &policy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("keep none of the 2 snapshots"), "{error}");
    assert_eq!(lines(&plan(snapshots, &pinned(["a"]), &policy, crate::later()).unwrap())[0], "keep a: pinned");
    assert_eq!(lines(&planned(Vec::new(), &policy).unwrap()), Vec::<String>::new());
}

/// That something stays which nobody can restore is no comfort.
#[test]
fn a_policy_that_would_drop_everything_that_can_be_restored_is_refused() {
    let taken = moment("2026-11-23T08:00:00Z");
    let broken = || on("lost", snapshot("broken", taken));
    let policy = PrunePolicy { keep_labels: vec!["keep".parse().unwrap()], ..PrunePolicy::default() };
    let error = planned(vec![broken(), snapshot("a", taken), snapshot("b", taken)], &policy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("keep none of the 2 snapshots that can be restored"), "{error}");
    // Where there is none that could go, nothing is wrong.
    assert_eq!(lines(&planned(vec![broken()], &policy).unwrap()), ["keep broken: chain broken at lost"]);
    let future = snapshot("future", moment("2200-01-01T00:00:00Z"));
    let kept = planned(vec![future, snapshot("a", taken)], &policy).unwrap();
    assert_eq!(lines(&kept), ["keep future: dated in the future", "drop a: no label keep"]);
}

/// A compaction makes a full snapshot of the moment and the state of an increment, and a number by chance.
#[test]
fn what_was_compacted_takes_the_place_of_the_increment_whatever_its_number() {
    let hour = |hour: u32| moment(&format!("2026-11-23T{hour:02}:00:00Z"));
    for copy in ["a copy", "z copy"] {
        let mut compacted = snapshot(copy, hour(3));
        compacted.checksum = "inc".to_owned();
        let snapshots =
            vec![snapshot("old", hour(1)), snapshot("full", hour(2)), on("full", snapshot("inc", hour(3))), compacted];
        let last = |keep_last| {
            let policy = PrunePolicy { keep_last, ..PrunePolicy::default() };
            lines(&planned(snapshots.clone(), &policy).unwrap())
        };
        let (copy_stays, same) =
            (|rule: &str| format!("keep {copy}: {rule}"), format!("drop inc: the state of {copy}"));
        let not_last = |id: &str, count: usize| format!("drop {id}: not in the last {count}");
        assert_eq!(last(1), [copy_stays("last 1"), same.clone(), not_last("full", 1), not_last("old", 1)]);
        let expected = [copy_stays("last 2"), "keep full: last 2".to_owned(), same, not_last("old", 2)];
        assert_eq!(last(2), expected);
    }
}

#[test]
fn two_snapshots_of_one_id_are_refused() {
    let twice = ["2026-11-23T08:00:00Z", "2026-11-24T08:00:00Z"].map(|taken| snapshot("a", moment(taken)));
    let error = planned(twice.into(), &PrunePolicy { keep_last: 1, ..PrunePolicy::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("two snapshots have the id a"), "{error}");
}

#[test]
fn counts_and_times_at_the_limits_harm_nothing() {
    let at = |id: &str, moment| snapshot(id, moment);
    let extremes = || {
        vec![
            at("first", DateTime::<Utc>::MIN_UTC),
            at("last", DateTime::<Utc>::MAX_UTC),
            at("epoch", Default::default()),
        ]
    };
    for time_zone in ["Pacific/Apia", "America/New_York", "UTC"] {
        let most = u32::MAX;
        let policy = PrunePolicy {
            keep_last: usize::MAX,
            keep_hourly: usize::MAX,
            keep_daily: usize::MAX,
            keep_weekly: usize::MAX,
            keep_monthly: usize::MAX,
            keep_quarterly: usize::MAX,
            keep_yearly: usize::MAX,
            keep_within: Some(Span { years: most, months: most, days: most, hours: most }),
            time_zone: time_zone.parse().unwrap(),
            ..PrunePolicy::default()
        };
        let plan = plan(extremes(), &Others::default(), &policy, DateTime::<Utc>::MAX_UTC).unwrap();
        let reasons: Vec<_> = plan.keep.iter().map(|kept| kept.reasons.len()).collect();
        assert_eq!(reasons, [8, 8, 8], "{time_zone}");
    }
}

#[test]
fn spans_are_written_as_they_are_read() {
    for text in ["1y5m7d2h", "1y", "18m", "30d", "36h", "1y1h", "4294967295d"] {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
    }
    assert_eq!("2h7d".parse::<Span>().unwrap(), Span { days: 7, hours: 2, ..Span::default() });
    for text in ["", "7", "d", "d7", "7x", "7d7d", "-7d", "7 d", "1.5d", "0d", "0y0h", "4294967296d", "7D", "٣d", "7é"]
    {
        let error = text.parse::<Span>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        assert!(error.message().contains("1y5m7d2h"), "{text}: {error}");
    }
}

#[test]
fn label_patterns_are_written_as_they_are_read() {
    let pattern = |key: &str, value: Option<&str>| LabelPattern { key: key.into(), value: value.map(str::to_owned) };
    for (text, expected) in [
        ("host", pattern("host", None)),
        ("host=db1", pattern("host", Some("db1"))),
        ("host=", pattern("host", Some(""))),
        ("why=a=b", pattern("why", Some("a=b"))),
    ] {
        assert_eq!(text.parse::<LabelPattern>().unwrap(), expected);
        assert_eq!(expected.to_string(), text);
    }
    for text in ["", "=", "=db1"] {
        assert_eq!(text.parse::<LabelPattern>().unwrap_err().kind(), ErrorKind::Invalid, "{text}");
    }
}

#[test]
fn a_plan_tells_a_program_what_it_tells_a_person() {
    let taken = ["2026-11-23T08:00:00Z", "2026-11-22T08:00:00Z"].map(|taken| snapshot(taken, moment(taken)));
    let policy = PrunePolicy { keep_daily: 1, keep_within: Some("2h".parse().unwrap()), ..PrunePolicy::default() };
    let document = serde_json::to_value(planned(taken.into(), &policy).unwrap()).unwrap();
    let (keep, drop) = (&document["keep"][0], &document["drop"][0]);
    assert_eq!((&keep["id"], &drop["id"]), (&json!("2026-11-23T08:00:00Z"), &json!("2026-11-22T08:00:00Z")));
    assert_eq!(
        keep["reasons"],
        json!([{ "why": "newest_of", "period": "day", "name": "2026-11-23" }, { "why": "within", "span": "2h" }])
    );
    assert_eq!(
        drop["reasons"],
        json!([{ "why": "not_last_of", "period": "day", "count": 1 }, { "why": "not_within", "span": "2h" }])
    );
}
