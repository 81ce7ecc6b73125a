//! Each rule on its own and in combination, refused policies, and snapshots that rules do not decide about.

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::retention::{BaseRef, ExternalRefs, TimeZone, plan};
use ruvector_snapshot::{ErrorKind, LabelPattern, PrunePolicy, Span};
use serde_json::json;

use crate::{assert_table, increment, lines, moment, pinned, planned, snapshot};

#[test]
fn keep_last_keeps_the_newest_by_recorded_time() {
    assert_table(
        &PrunePolicy::default().keep_last(2),
        &[
            ("2026-11-23T08:00:01Z", "keep last 2"),
            ("2026-11-23T08:00:00Z", "keep last 2"),
            ("2026-11-23T07:59:59Z", "drop not in the last 2"),
            ("1999-01-01T00:00:00Z", "drop not in the last 2"),
        ],
    );
}

#[test]
fn keep_daily_keeps_the_newest_of_each_day_and_skips_days_without_a_snapshot() {
    assert_table(
        &PrunePolicy::default().keep_daily(3),
        &[
            ("2026-11-23T20:00:00Z", "keep daily 2026-11-23"),
            ("2026-11-23T08:00:00Z", "drop not the newest of 2026-11-23"),
            ("2026-11-20T08:00:00Z", "keep daily 2026-11-20"),
            ("2025-02-01T23:00:00Z", "keep daily 2025-02-01"),
            ("2025-02-01T08:00:00Z", "drop not the newest of 2025-02-01"),
            ("2025-01-31T08:00:00Z", "drop not in the last 3 daily"),
        ],
    );
}

#[test]
fn a_snapshot_is_kept_if_any_rule_keeps_it_and_each_rule_counts_on_its_own() {
    assert_table(
        &PrunePolicy::default().keep_last(1).keep_hourly(2).keep_monthly(2).keep_quarterly(2).keep_yearly(2),
        &[
            (
                "2026-11-23T20:40:00Z",
                "keep last 1, hourly 2026-11-23 20:00 +00:00, monthly 2026-11, quarterly 2026-Q4, yearly 2026",
            ),
            (
                "2026-11-23T20:20:00Z",
                "drop not in the last 1, not the newest of 2026-11-23 20:00 +00:00, not the newest of 2026-11, \
                 not the newest of 2026-Q4, not the newest of 2026",
            ),
            ("2026-11-23T19:00:00Z", "keep hourly 2026-11-23 19:00 +00:00"),
            ("2026-10-01T00:00:00Z", "keep monthly 2026-10"),
            ("2026-09-30T23:59:59Z", "keep quarterly 2026-Q3"),
            (
                "2026-06-01T00:00:00Z",
                "drop not in the last 1, not in the last 2 hourly, not in the last 2 monthly, not in the last 2 quarterly, \
                 not the newest of 2026",
            ),
            ("2024-01-01T00:00:00Z", "keep yearly 2024"),
        ],
    );
}

#[test]
fn keep_within_is_counted_from_the_newest_snapshot() {
    let policy = PrunePolicy::default().keep_within("7d".parse().unwrap());
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
fn keep_label_matches_a_key_or_a_key_and_a_value() {
    let labelled = |id: &str, key: &str, value: &str| {
        let mut labelled = snapshot(id, moment("2026-11-23T08:00:00Z"));
        labelled.labels.insert(key, value);
        labelled
    };
    let snapshots = vec![labelled("d", "host", "db1"), labelled("c", "host", "db2"), labelled("b", "keep", "")];
    let policy = PrunePolicy::default().keep_label("host=db1".parse().unwrap()).keep_label("keep".parse().unwrap());
    let plan = planned(snapshots, &policy).unwrap();
    assert_eq!(
        lines(&plan),
        ["keep d: label host=db1", "keep b: label keep", "drop c: no label host=db1, no label keep"]
    );
}

#[test]
fn pinned_snapshots_are_kept_and_are_counted_by_rules() {
    let snapshots: Vec<_> =
        ["3", "2", "1"].map(|day| snapshot(day, moment(&format!("2026-11-0{day}T08:00:00Z")))).into();
    let planned = |ids: &[&str]| {
        let pinned =
            ExternalRefs { pinned: ids.iter().map(|id| (*id).to_owned()).collect(), ..ExternalRefs::default() };
        let policy = PrunePolicy::default().keep_last(1);
        lines(&plan(snapshots.clone(), &pinned, &policy, moment("2026-11-23T08:00:00Z")).unwrap())
    };
    assert_eq!(planned(&["1"]), ["keep 3: last 1", "keep 1: pinned", "drop 2: not in the last 1"]);
    assert_eq!(planned(&["3", "unknown"])[0], "keep 3: pinned, last 1");
    assert_eq!(planned(&["3"])[1..], ["drop 2: not in the last 1", "drop 1: not in the last 1"]);
}

#[test]
fn snapshots_from_the_future_are_kept_and_are_not_counted_by_rules() {
    let now = moment("2026-11-23T08:00:00Z");
    let at = |id: &str, seconds| snapshot(id, now + TimeDelta::seconds(seconds));
    // Clocks of several machines do not agree exactly.
    let snapshots = vec![at("tomorrow", 86_400), at("soon", 301), at("now", 300), at("before", -1)];
    let policy = PrunePolicy::default().keep_last(1).keep_daily(1).keep_within("1h".parse().unwrap());
    assert_eq!(
        lines(&plan(snapshots, &ExternalRefs::default(), &policy, now).unwrap()),
        [
            "keep tomorrow: dated in the future",
            "keep soon: dated in the future",
            "keep now: last 1, daily 2026-11-23, within 1h",
            "keep before: within 1h",
        ]
    );
}

#[test]
fn a_policy_without_a_rule_is_refused_even_if_snapshots_are_pinned() {
    let one = || vec![snapshot("a", moment("2026-11-23T08:00:00Z"))];
    let nothing = PrunePolicy::default();
    let no_span = PrunePolicy::default().keep_within(Span::default());
    for policy in [&nothing, &no_span] {
        for snapshots in [one(), Vec::new()] {
            let error = plan(snapshots, &pinned(["a"]), policy, moment("2026-11-24T00:00:00Z")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains("at least one rule"), "{error}");
        }
    }
}

#[test]
fn a_policy_that_would_drop_everything_is_refused() {
    let snapshots: Vec<_> = ["a", "b"].map(|id| snapshot(id, moment("2026-11-23T08:00:00Z"))).into();
    let policy = PrunePolicy::default().keep_label("keep".parse().unwrap());
    let error = planned(snapshots.clone(), &policy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("keep none of the 2 snapshots"), "{error}");
    assert_eq!(lines(&planned(Vec::new(), &policy).unwrap()), Vec::<String>::new());
    // A pin keeps one, but no rule does. If the pins keep all, there is nothing to refuse.
    let error = plan(snapshots.clone(), &pinned(["a"]), &policy, crate::later()).unwrap_err();
    assert!(error.message().contains("keep none of the 2 snapshots that can be restored (pins"), "{error}");
    let all = plan(snapshots, &pinned(["a", "b"]), &policy, crate::later()).unwrap();
    assert_eq!(lines(&all), ["keep b: pinned", "keep a: pinned"]);
}

/// Snapshots that cannot be restored, or are dated in the future, do not count.
#[test]
fn a_policy_that_would_drop_every_restorable_snapshot_is_refused() {
    let taken = moment("2026-11-23T08:00:00Z");
    let broken = || increment("lost", snapshot("broken", taken));
    let policy = PrunePolicy::default().keep_label("keep".parse().unwrap());
    let error = planned(vec![broken(), snapshot("a", taken), snapshot("b", taken)], &policy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("keep none of the 2 snapshots that can be restored"), "{error}");
    // It is not an error if there is nothing to drop.
    assert_eq!(lines(&planned(vec![broken()], &policy).unwrap()), ["keep broken: chain broken at lost"]);
    let future = snapshot("future", moment("2200-01-01T00:00:00Z"));
    let error = planned(vec![future, snapshot("a", taken)], &policy).unwrap_err();
    assert!(error.message().contains("do not keep the only snapshot that can be restored"), "{error}");
}

/// Otherwise a mistyped label would delete all but the chain of a pin, or of an upload.
#[test]
fn what_only_pins_and_uploads_keep_does_not_make_up_for_rules_that_keep_nothing() {
    let taken = moment("2026-11-23T08:00:00Z");
    let snapshots =
        || vec![snapshot("full", taken), increment("full", snapshot("inc", taken)), snapshot("other", taken)];
    let mistyped = PrunePolicy::default().keep_label("kep".parse().unwrap());
    let unusable = |id: &str, base| [(id.to_owned(), base)].into();
    let corrupt = unusable("corrupt", BaseRef::Base("full".to_owned()));
    let unread = ["full 2".to_owned()].into();
    let uploads = [("upload".to_owned(), vec!["full".to_owned()])].into();
    for external in [
        pinned(["inc"]),
        ExternalRefs { uploads, ..ExternalRefs::default() },
        ExternalRefs { unusable: corrupt, ..ExternalRefs::default() },
        ExternalRefs { unread, unusable: unusable("full 2", BaseRef::Unreadable), ..ExternalRefs::default() },
    ] {
        let error = plan(snapshots(), &external, &mistyped, crate::later()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{external:?}");
        assert!(error.message().contains("keep none of the 3 snapshots"), "{external:?}: {error}");
    }
    // The rule keeps one that is pinned.
    let mut labelled = snapshots();
    labelled[1].labels.insert("keep", "");
    let policy = PrunePolicy::default().keep_label("keep".parse().unwrap());
    let plan = plan(labelled, &pinned(["inc"]), &policy, crate::later()).unwrap();
    assert_eq!(lines(&plan), ["keep full: base of inc", "keep inc: pinned, label keep", "drop other: no label keep"]);
}

/// Compacting an increment makes a full snapshot with the same moment and state. The random part of its id may be
/// smaller or larger.
#[test]
fn a_compacted_snapshot_takes_the_place_of_its_increment() {
    let hour = |hour: u32| moment(&format!("2026-11-23T{hour:02}:00:00Z"));
    for copy in ["a copy", "z copy"] {
        let mut compacted = snapshot(copy, hour(3));
        compacted.checksum = "inc".to_owned();
        let snapshots = vec![
            snapshot("old", hour(1)),
            snapshot("full", hour(2)),
            increment("full", snapshot("inc", hour(3))),
            compacted,
        ];
        let last = |keep_last| {
            let policy = PrunePolicy::default().keep_last(keep_last);
            lines(&planned(snapshots.clone(), &policy).unwrap())
        };
        let (copy_is_kept, same) =
            (|rule: &str| format!("keep {copy}: {rule}"), format!("drop inc: same state as {copy}"));
        let not_last = |id: &str, count: usize| format!("drop {id}: not in the last {count}");
        assert_eq!(last(1), [copy_is_kept("last 1"), same.clone(), not_last("full", 1), not_last("old", 1)]);
        let expected = [copy_is_kept("last 2"), "keep full: last 2".to_owned(), same, not_last("old", 2)];
        assert_eq!(last(2), expected);
    }
}

#[test]
fn two_snapshots_with_the_same_id_are_refused() {
    let twice = ["2026-11-23T08:00:00Z", "2026-11-24T08:00:00Z"].map(|taken| snapshot("a", moment(taken)));
    let error = planned(twice.into(), &PrunePolicy::default().keep_last(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("two snapshots have the id a"), "{error}");
}

#[test]
fn extreme_counts_spans_and_times_are_valid() {
    let at = |id: &str, moment| snapshot(id, moment);
    let extremes = || {
        vec![
            at("first", DateTime::<Utc>::MIN_UTC),
            at("last", DateTime::<Utc>::MAX_UTC),
            at("epoch", Default::default()),
        ]
    };
    for time_zone in ["Pacific/Apia", "America/New_York", "UTC"] {
        let (all, most) = (usize::MAX, u32::MAX);
        let policy = PrunePolicy::default().keep_last(all).keep_hourly(all).keep_daily(all).keep_weekly(all);
        let policy = policy.keep_monthly(all).keep_quarterly(all).keep_yearly(all);
        let policy = policy.keep_within(Span { years: most, months: most, days: most, hours: most, ..Span::default() });
        let policy = policy.time_zone(time_zone.parse().unwrap());
        let plan = plan(extremes(), &ExternalRefs::default(), &policy, DateTime::<Utc>::MAX_UTC).unwrap();
        let reasons: Vec<_> = plan.keep.iter().map(|kept| kept.reasons.len()).collect();
        assert_eq!(reasons, [8, 8, 8], "{time_zone}");
    }
}

#[test]
fn spans_round_trip_through_text() {
    for text in ["1y5mo7d2h", "1y", "18mo", "30d", "36h", "90m", "2w", "3mo", "1y1mo1w1d1h1m1s", "1mo1m", "4294967295d"]
    {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
    }
    assert_eq!("2h7d".parse::<Span>().unwrap(), Span { days: 7, hours: 2, ..Span::default() });
    for text in ["", "7", "d", "d7", "7x", "7d7d", "-7d", "7 d", "1.5d", "4294967296d", "7D", "٣d", "7é", "7om", "7mom"]
    {
        let error = text.parse::<Span>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        assert!(error.message().contains("1y5mo7d2h"), "{text}: {error}");
    }
    for text in ["0d", "0y0h"] {
        let error = text.parse::<Span>().unwrap_err();
        assert!(error.message().contains("is zero"), "{text}: {error}");
    }
}

#[test]
fn a_span_of_minutes_is_no_policy_unless_it_is_an_hour() {
    let within = |text: &str| PrunePolicy::default().keep_last(1).keep_within(text.parse().unwrap());
    for text in ["6m", "59m", "3599s", "58m60s"] {
        let error = planned(Vec::new(), &within(text)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        assert!(error.message().contains("months are mo"), "{text}: {error}");
    }
    for text in ["60m", "1h", "59m60s", "1d", "1w", "1mo", "1y", "1d1m"] {
        drop(planned(Vec::new(), &within(text)).unwrap());
    }
}

#[test]
fn label_patterns_round_trip_through_text() {
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
        assert_eq!(text.parse::<LabelPattern>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
    }
}

#[test]
fn a_plan_as_json_contains_the_reasons() {
    let taken = ["2026-11-23T08:00:00Z", "2026-11-22T08:00:00Z"].map(|taken| snapshot(taken, moment(taken)));
    let policy = PrunePolicy::default().keep_daily(1).keep_within("2h".parse().unwrap());
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

#[test]
fn time_zones_are_given_by_their_iana_names() {
    let time_zone: TimeZone = "america/new_york".parse().unwrap();
    assert_eq!(time_zone.name(), "America/New_York", "case is ignored");
    assert_eq!(time_zone, "America/New_York".parse().unwrap());
    assert_eq!(PrunePolicy::default().time_zone.to_string(), "UTC");
    for name in ["", "Berlin", "Etc/Unknown", "+02:00", "EST5EDT,M3.2.0,M11.1.0", "../etc/passwd"] {
        let error = name.parse::<TimeZone>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        assert!(error.message().contains("Europe/Berlin"), "{name}: {error}");
    }
}

#[test]
fn a_time_zone_formats_local_times() {
    let time_zone = |name: &str| name.parse::<TimeZone>().unwrap();
    let moment = moment("2026-11-23T22:30:00Z");
    assert_eq!(TimeZone::default().local_time(moment), "2026-11-23 22:30:00 UTC");
    assert_eq!(time_zone("Europe/Berlin").local_time(moment), "2026-11-23 23:30:00 CET");
    assert_eq!(time_zone("Asia/Kathmandu").local_time(moment), "2026-11-24 04:15:00 +0545");
}
