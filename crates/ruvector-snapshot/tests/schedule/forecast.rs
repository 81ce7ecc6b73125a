//! What the next runs would take and keep.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::retention::{BaseRef, ExternalRefs};
use ruvector_snapshot::schedule::{
    ForecastDatabase, ForecastJob, ForecastState, FullRule, Schedule, StoreForecast, upcoming,
};
use ruvector_snapshot::{PrunePolicy, Snapshot, SnapshotType, SourceId};
use serde_json::json;

use crate::{moment, when};

/// Midnight of a day of January 2026.
fn day(number: i64) -> DateTime<Utc> {
    moment("2025-12-31T00:00:00Z") + TimeDelta::days(number)
}

/// A snapshot of a source that was taken on a day, whose base is that of another day. Its id is the number of the day.
fn taken(source: &str, number: i64, base: Option<i64>) -> Snapshot {
    let document = json!({
        "id": number.to_string(), "name": "nightly", "created_at": day(number), "size_bytes": 0, "checksum": number.to_string(),
        "snapshot_type": "full", "vector_count": 0, "dimensions": 4, "distance_metric": null, "labels": {}, "metadata": null,
        "source": { "kind": "file", "name": source }, "raw_bytes": 0, "files": {}, "changes": null, "pinned": false, "writer": "",
    });
    let mut snapshot: Snapshot = serde_json::from_value(document).unwrap();
    if let Some(base) = base {
        snapshot.snapshot_type = SnapshotType::Incremental { base_id: base.to_string() };
    }
    snapshot
}

fn job(sources: &[&str], full: FullRule) -> ForecastJob {
    let database = |source: &&str| ForecastDatabase {
        source: SourceId::Name((*source).to_owned()),
        name: "nightly".to_owned(),
        labels: [("team".to_owned(), "search".to_owned())].into_iter().collect(),
    };
    ForecastJob::new(full, sources.iter().map(database).collect())
}

/// A store with these snapshots and nothing else.
fn store(snapshots: Vec<Snapshot>) -> StoreForecast {
    StoreForecast::new(snapshots, ExternalRefs::default())
}

/// Runs a job at midnight of these days. Returns of which days the snapshot of its first database would be a full one.
fn full_days(store: &mut StoreForecast, job: &ForecastJob, days: std::ops::Range<i64>) -> Vec<i64> {
    days.filter(|number| store.run(job, day(*number)).full[0]).collect()
}

#[test]
fn runs_of_all_jobs_are_in_the_order_in_which_they_start() {
    let jobs = [Schedule::new(when("0 2 * * *")), Schedule::new(when("every 12h")), Schedule::new(when("0 0 * * *"))];
    let runs = upcoming(&jobs.each_ref(), day(1), 6);
    let runs: Vec<_> = runs.iter().map(|run| (run.job, (run.start - day(1)).num_hours())).collect();
    assert_eq!(runs, [(0, 2), (1, 12), (1, 24), (2, 24), (0, 26), (1, 36)]);
    assert_eq!(upcoming(&[], day(1), 6), []);
    assert_eq!(upcoming(&jobs.each_ref(), day(1), 0), []);
}

#[test]
fn a_due_time_that_has_passed_counts_until_its_jitter_has() {
    let schedule = Schedule::new(when("@daily")).jitter(Duration::from_secs(3600), "articles");
    let start = schedule.start_of(day(1));
    assert!(start > day(1), "the jitter of this seed is 0");
    let first = |now| upcoming(&[&schedule], now, 1)[0];
    let before = first(start - TimeDelta::milliseconds(1));
    assert_eq!((before.due, before.start), (day(1), start));
    assert_eq!(first(start).due, day(2));
}

#[test]
fn chains_go_on_from_what_the_store_has() {
    let (every, weekly) = (FullRule::Every(3), FullRule::When(when("0 0 * * THU")));
    let chain = || vec![taken("a", 1, None), taken("a", 2, Some(1)), taken("b", 3, None)];
    assert_eq!(full_days(&mut store(chain()), &job(&["a"], every.clone()), 4..12), [5, 8, 11]);
    // 1 January 2026 is a Thursday.
    assert_eq!(full_days(&mut store(chain()), &job(&["a"], weekly), 4..17), [8, 15]);
    assert_eq!(full_days(&mut StoreForecast::default(), &job(&["a"], every.clone()), 4..12), [4, 7, 10]);
    let run = store(chain()).run(&job(&["a", "c"], every), day(4));
    assert_eq!(run.full, [false, true]);
}

#[test]
fn what_cannot_be_a_base_is_none() {
    let every_ninth = || job(&["a"], FullRule::Every(9));
    let full = |mut store: StoreForecast| store.run(&every_ninth(), day(4)).full[0];
    assert!(full(store(vec![taken("a", 2, Some(1))])), "its base is missing");
    assert!(full(store(vec![taken("a", 1, Some(2)), taken("a", 2, Some(1))])), "the chain is a circle");
    assert!(
        !full(store(vec![taken("a", 1, None), taken("a", 20, None)])),
        "one that is dated in the future is skipped"
    );
    let corrupt = ExternalRefs { corrupt: ["2".to_owned()].into(), ..ExternalRefs::default() };
    assert!(!full(StoreForecast::new(vec![taken("a", 1, None), taken("a", 2, None)], corrupt.clone())));
    assert!(full(StoreForecast::new(vec![taken("a", 2, None)], corrupt)));
}

#[test]
fn a_policy_is_applied_after_each_run_and_to_the_databases_of_the_job_only() {
    let policy = PrunePolicy::default().keep_last(2).group_by("none".parse().unwrap());
    let job_a = job(&["a"], FullRule::Every(1)).retention(policy);
    let mut store =
        store((1..5).flat_map(|number| [taken("a", number, None), taken("b", 10 + number, None)]).collect());
    let run = store.run(&job_a, day(20));
    assert_eq!((run.deleted, run.problem.is_none()), (3, true));
    assert_eq!(store.run(&job_a, day(21)).deleted, 1);
    let state = |full, oldest| (full, 0, Some(day(oldest)));
    let of = |ForecastState { full, incremental, oldest, .. }| (full, incremental, oldest);
    assert_eq!(of(store.state(&job_a)), state(2, 20));
    assert_eq!(of(store.state(&job(&["b"], FullRule::Every(1)))), state(4, 11));
    // Without a policy nothing is deleted.
    let job_b = job(&["b"], FullRule::Every(1));
    assert_eq!(store.run(&job_b, day(22)).deleted, 0);
    assert_eq!(of(store.state(&job_b)), state(5, 11));
}

#[test]
fn pins_bases_and_what_others_depend_on_are_kept() {
    let job = job(&["a"], FullRule::Every(1)).retention(PrunePolicy::default().keep_last(1));
    let pinned = ExternalRefs { pinned: ["1".to_owned()].into(), ..ExternalRefs::default() };
    let snapshots = || vec![taken("a", 1, None), taken("a", 2, None), taken("a", 3, None)];
    assert_eq!(StoreForecast::new(snapshots(), pinned).run(&job, day(5)).deleted, 2);
    // An increment of another source, and one that cannot be read now.
    let foreign = [snapshots(), vec![taken("b", 4, Some(1))]].concat();
    assert_eq!(store(foreign).run(&job, day(5)).deleted, 2);
    let unusable = [("4".to_owned(), BaseRef::Base("2".to_owned()))].into();
    let external = ExternalRefs { unusable, ..ExternalRefs::default() };
    assert_eq!(StoreForecast::new(snapshots(), external).run(&job, day(5)).deleted, 2);
    // The database was moved: its chain begins with a snapshot of another source, which this job does not delete.
    let mut moved = store(vec![taken("b", 1, None), taken("a", 2, Some(1)), taken("a", 3, Some(2))]);
    assert_eq!(moved.run(&job, day(5)).deleted, 2);
    assert!(!moved.run(&self::job(&["b"], FullRule::Every(9)), day(6)).full[0]);
}

#[test]
fn labels_of_the_database_count_and_a_policy_that_would_keep_nothing_is_a_problem() {
    let labelled = |label: &str| PrunePolicy::default().keep_label(label.parse().unwrap());
    let run = |policy| store(vec![taken("a", 1, None)]).run(&job(&["a"], FullRule::Every(1)).retention(policy), day(2));
    let (known, unknown) = (run(labelled("team=search")), run(labelled("taem")));
    assert_eq!((known.deleted, known.problem.is_none()), (1, true));
    assert_eq!(unknown.deleted, 0);
    assert!(unknown.problem.unwrap().to_string().contains("the rules keep none of the 2 snapshots"));
}

#[test]
fn the_longest_distance_of_due_times_is_of_those_that_come_next() {
    let longest = |text: &str, count| when(text).longest_distance(day(1), count).map(|distance| distance.num_hours());
    assert_eq!(longest("every 6h", 10), Some(6));
    assert_eq!(longest("0 2,20 * * *", 10), Some(18));
    assert_eq!(longest("@monthly", 3), Some(31 * 24));
    assert_eq!(longest("@monthly", 1), None);
}
