//! Snapshots that were taken while a clock was wrong, and are dated in the future: a name and `latest` mean one of them only
//! if they can mean no other.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use ruvector_snapshot::{CreateOptions, ErrorKind, Listing, PrunePolicy, Snapshot, SnapshotManager, SourceId};
use test_fixtures::{FixedClock, TestDir, Warnings, create_full, edit_metadata, make_database};

struct Fixture {
    dir: TestDir,
}

/// The time of the machine that resolves.
fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 8, 0, 0).unwrap()
}

impl Fixture {
    fn new() -> Self {
        let dir = TestDir::new();
        for name in ["a.db", "b.db"] {
            drop(make_database(&dir.path(name), 10, 4, 1));
        }
        Self { dir }
    }

    /// Returns a manager whose clock is wrong by so many seconds.
    fn manager(&self, seconds: i64) -> SnapshotManager {
        let random = seconds.unsigned_abs();
        self.dir.manager().with_clock(Arc::new(FixedClock { now: now() + TimeDelta::seconds(seconds), random }))
    }

    async fn take(&self, name: &str, seconds: i64) -> Snapshot {
        create_full(&self.manager(seconds), &self.dir.path("a.db"), name).await.unwrap()
    }

    fn source(&self, database: &str) -> SourceId {
        self.manager(0).source_of_file(self.dir.path(database), &CreateOptions::default()).unwrap()
    }

    /// Returns the id that is meant, and the only warning.
    async fn resolve(&self, text: &str) -> (String, Option<String>) {
        let warnings = Warnings::default();
        let id = self.manager(0).resolve_with(text, None, &warnings).await.unwrap().id;
        assert_eq!(self.manager(0).resolve(text).await.unwrap(), id);
        let mut warnings = warnings.list();
        let warning = warnings.pop();
        assert_eq!(warnings, Vec::<String>::new());
        (id, warning)
    }

    async fn list(&self) -> Listing {
        self.manager(0).list().await.unwrap()
    }
}

#[tokio::test]
async fn a_name_and_latest_skip_snapshots_that_are_dated_more_than_five_minutes_ahead() {
    let fixture = Fixture::new();
    let old = fixture.take("nightly", -86_400).await.id;
    let new = fixture.take("nightly", -3_600).await.id;
    let next_week = fixture.take("nightly", 604_800).await.id;
    let next_year = fixture.take("nightly", 365 * 86_400).await.id;
    for text in ["latest", "nightly"] {
        let (id, warning) = fixture.resolve(text).await;
        assert_eq!(id, new, "{text}");
        let warning = warning.unwrap();
        assert!(warning.contains(&new) && warning.contains(&next_year) && warning.contains("5 minutes"), "{warning}");
        assert_eq!(fixture.manager(0).resolve_base(text, &fixture.source("a.db")).await.unwrap(), new);
    }
    // An id and the start of one mean what they say.
    for text in [&next_week, &next_week[..10], &next_year, &old] {
        let (id, warning) = fixture.resolve(text).await;
        assert!(id.starts_with(text) && warning.is_none(), "{id}: {warning:?}");
    }
    let listing = fixture.list().await;
    assert_eq!(listing.dated_in_future, [next_year.clone(), next_week.clone()]);
    let listed: Vec<&str> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    assert_eq!(listed, [&next_year, &next_week, &new, &old], "the order is not changed");
    // When its time has come, it is a snapshot like any other.
    assert_eq!(fixture.manager(604_800).resolve("latest").await.unwrap(), next_week);
}

#[tokio::test]
async fn five_minutes_are_the_limit() {
    let fixture = Fixture::new();
    fixture.take("nightly", 0).await;
    let within = fixture.take("nightly", 300).await.id;
    let beyond = fixture.take("nightly", 301).await.id;
    assert_eq!(fixture.resolve("latest").await.0, within);
    assert_eq!(fixture.list().await.dated_in_future, [beyond]);
    let plan = fixture.manager(0).plan_prune(&PrunePolicy::default().keep_last(1)).await.unwrap();
    let reasons: Vec<String> = plan.keep.iter().map(|kept| kept.reasons[0].to_string()).collect();
    assert_eq!(reasons, ["dated in the future", "last 1"]);
}

#[tokio::test]
async fn a_snapshot_from_the_future_is_meant_if_there_is_no_other_and_a_warning_says_so() {
    let fixture = Fixture::new();
    fixture.take("hourly", -60).await;
    fixture.take("nightly", 86_400).await;
    let newest = fixture.take("nightly", 2 * 86_400).await.id;
    let (id, warning) = fixture.resolve("nightly").await;
    assert_eq!(id, newest);
    let warning = warning.unwrap();
    assert!(warning.contains(&newest) && warning.contains("no other"), "{warning}");
    assert_eq!(fixture.resolve("hourly").await.1, None);
}

/// A corrupt `metadata.json` hides the name and the recorded time. The id still has the time.
#[tokio::test]
async fn unusable_snapshots_from_the_future_are_skipped_too() {
    let fixture = Fixture::new();
    let good = fixture.take("nightly", -60).await.id;
    let future = fixture.take("nightly", 86_400).await;
    let path = fixture.dir.snapshots().join(future.prefix());
    std::fs::remove_file(path.join("vectors.bin.gz")).unwrap();
    for text in ["latest", "nightly"] {
        assert_eq!(fixture.resolve(text).await.0, good, "{text}");
    }
    std::fs::write(path.join("metadata.json"), "{").unwrap();
    for text in ["latest", "nightly"] {
        assert_eq!(fixture.resolve(text).await.0, good, "{text}");
    }
    let listing = fixture.list().await;
    assert_eq!((listing.unusable.len(), listing.dated_in_future), (1, vec![future.id.clone()]));

    // One without a name that is not in the future may be the one that is meant.
    let other = fixture.take("nightly", -3_600).await;
    std::fs::write(fixture.dir.snapshots().join(other.prefix()).join("metadata.json"), "{").unwrap();
    assert_eq!(fixture.resolve("nightly").await.0, good);
    fixture.manager(0).delete_snapshot(&good).await.unwrap();
    let last = fixture.take("nightly", 3 * 86_400).await.id;
    let error = fixture.manager(0).resolve("nightly").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert!(error.message().contains(&other.id) && error.message().contains(&last), "{error}");
    assert_eq!(fixture.resolve("latest").await.0, other.id);
}

/// A snapshot of the same path on another host can be of another database. It does not stand in for one of this source
/// that is dated in the future, and that a create refuses as a base.
#[tokio::test]
async fn the_base_of_a_source_from_the_future_is_not_replaced_by_one_of_another_host() {
    let fixture = Fixture::new();
    let elsewhere = fixture.take("nightly", -60).await;
    let path = fixture.dir.snapshots().join(elsewhere.prefix()).join("metadata.json");
    let edited = edit_metadata(&std::fs::read(&path).unwrap(), |document| document["source"]["host"] = "other".into());
    std::fs::write(path, edited).unwrap();
    let future = fixture.take("nightly", 86_400).await.id;
    let (manager, source) = (fixture.manager(0), fixture.source("a.db"));
    let warnings = Warnings::default();
    assert_eq!(manager.resolve_with("latest", Some(&source), &warnings).await.unwrap().id, future);
    assert_eq!(warnings.list().len(), 1);
    let present = fixture.take("nightly", -30).await.id;
    assert_eq!(manager.resolve_base("latest", &source).await.unwrap(), present);
    let other = manager.resolve_base("latest", &fixture.source("b.db")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_base_from_the_future_is_refused_with_advice() {
    let fixture = Fixture::new();
    let future = fixture.take("nightly", 86_400).await.id;
    let options = CreateOptions::default().base_id(&future);
    let created = fixture.manager(0).create_snapshot_of_file(fixture.dir.path("a.db"), "inc", &options).await;
    let error = created.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for text in ["dated in the future", "correct the clock", "take a full snapshot"] {
        assert!(error.message().contains(text), "{error}");
    }
    assert_eq!(fixture.list().await.snapshots.len(), 1);
}

/// The compacted copy has the time of its increment.
#[tokio::test]
async fn the_compacted_copy_of_a_snapshot_from_the_future_is_from_the_future() {
    let fixture = Fixture::new();
    let present = fixture.take("nightly", -60).await.id;
    let options = CreateOptions::default().base_id(&present);
    let manager = fixture.manager(86_400);
    let increment = manager.create_snapshot_of_file(fixture.dir.path("a.db"), "nightly", &options).await.unwrap().id;
    let copy = fixture.manager(7).compact_snapshot(&increment, None).await.unwrap().id;
    let mut expected = [copy, increment];
    expected.sort();
    expected.reverse();
    assert_eq!(fixture.list().await.dated_in_future, expected);
    assert_eq!(fixture.resolve("latest").await.0, present);
}
