//! Freshness: what is stale, and what is not.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_core::VectorDB;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CreateOptions, DatabaseFreshness, DrillOptions, Freshness, FreshnessLimits, Snapshot, SnapshotConfig,
    SnapshotManager, StaleReason, VerifyOptions,
};
use ruvector_snapshot_format::layout;
use test_fixtures::{FixedClock, TestDir, make_database, memory_store};

fn at(hours: i64) -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hours)
}

fn manager(store: &Arc<dyn SnapshotStore>, now: DateTime<Utc>) -> SnapshotManager {
    let config = SnapshotConfig { workers: 2, ..SnapshotConfig::default() };
    let random = u64::try_from(now.timestamp()).unwrap();
    SnapshotManager::with_store(config, store.clone()).unwrap().with_clock(Arc::new(FixedClock { now, random }))
}

struct Databases(TestDir);

impl Databases {
    fn new() -> Self {
        Self(TestDir::new())
    }

    fn of(&self, rows: usize) -> VectorDB {
        let path = self.0.path(&format!("{rows}.db"));
        if path.exists() {
            VectorDB::new(test_fixtures::options(path, 8)).unwrap()
        } else {
            make_database(&path, rows, 8, 1)
        }
    }

    async fn create(&self, store: &Arc<dyn SnapshotStore>, hours: i64, source: &str, rows: usize) -> Snapshot {
        let options = CreateOptions::default().source_name(source);
        manager(store, at(hours)).create_snapshot_with(&self.of(rows), "nightly", &options).await.unwrap()
    }
}

async fn freshness(store: &Arc<dyn SnapshotStore>, now: DateTime<Utc>, limits: &FreshnessLimits) -> Freshness {
    manager(store, now).freshness(limits).await.unwrap()
}

fn kinds(freshness: &Freshness) -> Vec<&'static str> {
    let kinds: Vec<_> = freshness.reasons().map(StaleReason::kind).collect();
    // What is not among them has no metric.
    assert!(kinds.iter().all(|kind| StaleReason::KINDS.contains(kind)), "{kinds:?}");
    kinds
}

fn only(freshness: &Freshness) -> &DatabaseFreshness {
    assert_eq!(freshness.databases.len(), 1, "{freshness:?}");
    &freshness.databases[0]
}

#[tokio::test]
async fn a_store_without_snapshots_is_stale() {
    let found = freshness(&memory_store(), at(0), &FreshnessLimits::default()).await;
    assert_eq!((kinds(&found), found.databases.len()), (vec!["empty_store"], 0));
    let found = freshness(&memory_store(), at(0), &FreshnessLimits::default().source("articles")).await;
    assert_eq!(kinds(&found), ["empty_store", "no_snapshot"]);
    assert_eq!(only(&found).source, "articles");
}

#[tokio::test]
async fn a_database_is_stale_when_its_newest_snapshot_is_older_than_is_allowed() {
    let (store, databases) = (memory_store(), Databases::new());
    databases.create(&store, 0, "articles", 10).await;
    let newest = databases.create(&store, 2, "articles", 12).await;
    databases.create(&store, 20, "users", 5).await;
    let limits = FreshnessLimits::default();
    let last_moment = at(2 + 26);
    let found = freshness(&store, last_moment, &limits).await;
    assert!(!found.is_stale(), "{found:?}");
    let articles = &found.databases[0];
    let snapshot = articles.newest.as_ref().unwrap();
    assert_eq!((&articles.source, articles.snapshots, &snapshot.id), (&"articles".to_owned(), 2, &newest.id));
    assert_eq!((snapshot.records, snapshot.records_added, snapshot.chain_length), (12, Some(2), 1));
    assert_eq!(snapshot.age_seconds, 26 * 3600);
    let found = freshness(&store, last_moment + TimeDelta::seconds(1), &limits).await;
    assert_eq!(kinds(&found), ["too_old"]);
    assert!(found.databases[1].stale.is_empty(), "{found:?}");
    let words = found.databases[0].stale[0].to_string();
    assert_eq!(
        words,
        "the newest snapshot that can be restored was taken at 2026-01-01 02:00:00 UTC, and it may be 26h old"
    );
    let longer = limits.max_age("8d".parse().unwrap());
    assert!(!freshness(&store, at(7 * 24), &longer).await.is_stale());
}

#[tokio::test]
async fn only_the_databases_that_are_required_are_checked_and_one_that_is_missing_is_stale() {
    let (store, databases) = (memory_store(), Databases::new());
    databases.create(&store, 0, "old", 10).await;
    databases.create(&store, 100, "articles", 10).await;
    let found = freshness(&store, at(101), &FreshnessLimits::default().source("articles")).await;
    assert!(!found.is_stale(), "{found:?}");
    let found = freshness(&store, at(101), &FreshnessLimits::default().source("articles").source("users")).await;
    assert_eq!(kinds(&found), ["no_snapshot"]);
    assert_eq!(found.databases[1].source, "users");
}

#[tokio::test]
async fn a_database_that_has_lost_its_records_is_stale_for_a_week() {
    let (store, databases) = (memory_store(), Databases::new());
    let full = databases.create(&store, 0, "articles", 100).await;
    databases.create(&store, 1, "articles", 51).await;
    let limits = FreshnessLimits::default();
    assert!(!freshness(&store, at(1), &limits).await.is_stale());
    databases.create(&store, 2, "articles", 50).await;
    databases.create(&store, 3, "articles", 50).await;
    let found = freshness(&store, at(3), &limits).await;
    let earlier_id = full.id.clone();
    assert_eq!(only(&found).stale, [StaleReason::Shrunken { records: 50, earlier_id, earlier_records: 100 }]);
    assert!(!freshness(&store, at(3), &limits.clone().shrink_percent(60)).await.is_stale());
    // A weekend later it still is, and then it is what the database has now.
    let week = 7 * 24;
    databases.create(&store, week, "articles", 50).await;
    assert_eq!(kinds(&freshness(&store, at(week), &limits).await), ["shrunken"]);
    databases.create(&store, week + 1, "articles", 50).await;
    assert!(!freshness(&store, at(week + 1), &limits).await.is_stale());
    // If all of them are gone, it is never what the database has.
    databases.create(&store, 9 * week, "articles", 0).await;
    databases.create(&store, 9 * week + 1, "articles", 0).await;
    let now = at(9 * week + 1);
    assert_eq!(kinds(&freshness(&store, now, &limits).await), ["shrunken"]);
    assert!(!freshness(&store, now, &limits.shrink_percent(100)).await.is_stale());
}

#[tokio::test]
async fn a_database_that_is_expected_has_an_age_of_its_own() {
    let (store, databases) = (memory_store(), Databases::new());
    databases.create(&store, 0, "a", 5).await;
    databases.create(&store, 1, "b", 6).await;
    let limits = FreshnessLimits::default().expect("a", Some("50h".parse().unwrap()));
    let stale = |freshness: Freshness| {
        let stale = freshness.databases.into_iter().filter(|database| !database.stale.is_empty());
        stale.map(|database| database.source).collect::<Vec<_>>()
    };
    assert_eq!(stale(freshness(&store, at(28), &limits).await), ["b"]);
    assert_eq!(stale(freshness(&store, at(51), &limits).await), ["a", "b"]);
    // Two jobs: the shorter age counts. One without an age changes nothing.
    let limits = limits.expect("a", Some("20h".parse().unwrap())).expect("a", None).expect("c", None);
    let freshness = freshness(&store, at(21), &limits).await;
    assert_eq!(kinds(&freshness), ["too_old", "no_snapshot"]);
    assert_eq!(stale(freshness), ["a", "c"]);
}

#[tokio::test]
async fn a_verification_and_a_drill_can_be_required() {
    let (store, databases) = (memory_store(), Databases::new());
    let snapshot = databases.create(&store, 0, "articles", 100).await;
    let limits = FreshnessLimits::default().max_age("1y".parse().unwrap());
    let limits = limits.max_verify_age("7d".parse().unwrap()).max_drill_age("1mo".parse().unwrap());
    assert_eq!(kinds(&freshness(&store, at(1), &limits).await), ["not_verified", "not_drilled"]);
    let now = manager(&store, at(1));
    now.verify_snapshot_with(&snapshot.id, &VerifyOptions::default()).await.unwrap();
    now.drill_snapshot(&snapshot.id, &DrillOptions::default()).await.unwrap();
    let found = freshness(&store, at(2), &limits).await;
    assert!(!found.is_stale(), "{found:?}");
    assert_eq!((only(&found).verified_at, only(&found).drilled_at), (Some(at(1)), Some(at(1))));
    let found = freshness(&store, at(1 + 8 * 24), &limits).await;
    assert_eq!(kinds(&found), ["not_verified"]);
}

#[tokio::test]
async fn what_cannot_be_restored_does_not_count_and_is_stale() {
    let (store, databases) = (memory_store(), Databases::new());
    let older = databases.create(&store, 0, "articles", 10).await;
    let newest = databases.create(&store, 30, "articles", 10).await;
    let limits = FreshnessLimits::default();
    assert!(!freshness(&store, at(31), &limits).await.is_stale());
    store.delete(&layout::key(&newest.id.parse().unwrap(), "vectors.bin.gz")).await.unwrap();
    let found = freshness(&store, at(31), &limits).await;
    assert_eq!(kinds(&found), ["problem", "too_old"]);
    assert_eq!(only(&found).newest.as_ref().unwrap().id, older.id);
    store.delete(&layout::key(&older.id.parse().unwrap(), "index.bin.gz")).await.unwrap();
    let found = freshness(&store, at(31), &limits).await;
    assert_eq!(kinds(&found), ["no_snapshot", "problem", "problem"]);
}

#[tokio::test]
async fn a_snapshot_that_is_dated_in_the_future_does_not_count() {
    let (store, databases) = (memory_store(), Databases::new());
    databases.create(&store, 0, "articles", 10).await;
    databases.create(&store, 1000, "articles", 10).await;
    let found = freshness(&store, at(30), &FreshnessLimits::default()).await;
    assert_eq!(kinds(&found), ["dated_in_future", "too_old"]);
}

#[tokio::test]
async fn two_files_of_one_name_are_stale_unless_the_database_was_moved() {
    let (store, databases) = (memory_store(), Databases::new());
    databases.create(&store, 0, "articles", 10).await;
    databases.create(&store, 1, "articles", 11).await;
    let limits = FreshnessLimits::default();
    // Each number of rows is a file of its own: the first one may have been moved to the second.
    assert!(!freshness(&store, at(2), &limits).await.is_stale());
    databases.create(&store, 2, "articles", 10).await;
    let found = freshness(&store, at(2), &limits).await;
    assert_eq!(kinds(&found), ["several_files"]);
    assert!(found.reasons().next().unwrap().to_string().contains("11.db"), "{found:?}");
    // A third file proves nothing of the first two.
    databases.create(&store, 3, "articles", 12).await;
    assert_eq!(kinds(&freshness(&store, at(3), &limits).await), ["several_files"]);
}

/// A database was restored to another path for some days.
#[tokio::test]
async fn two_files_of_one_name_are_stale_for_a_week() {
    let (store, databases) = (memory_store(), Databases::new());
    for (hours, rows) in [(0, 10), (1, 11), (2, 10)] {
        databases.create(&store, hours, "articles", rows).await;
    }
    let week = 7 * 24;
    databases.create(&store, week, "articles", 10).await;
    assert_eq!(kinds(&freshness(&store, at(week), &FreshnessLimits::default()).await), ["several_files"]);
    databases.create(&store, week + 3, "articles", 10).await;
    assert!(!freshness(&store, at(week + 3), &FreshnessLimits::default()).await.is_stale());
}

/// The compacted copy has the time and the state of the increment, so it is not what came before.
#[tokio::test]
async fn a_compact_does_not_hide_that_records_were_lost() {
    let (store, databases) = (memory_store(), Databases::new());
    let full = databases.create(&store, 0, "articles", 100).await;
    let options = CreateOptions::default().source_name("articles").base_id(full.id.as_str());
    let later = 30 * 24;
    let increment =
        manager(&store, at(later)).create_snapshot_with(&databases.of(10), "nightly", &options).await.unwrap();
    assert_eq!(kinds(&freshness(&store, at(later), &FreshnessLimits::default()).await), ["shrunken"]);
    manager(&store, at(later + 1)).compact_snapshot(&increment.id, None).await.unwrap();
    let found = freshness(&store, at(later + 1), &FreshnessLimits::default()).await;
    assert_eq!((kinds(&found), only(&found).newest.as_ref().unwrap().records_added), (vec!["shrunken"], Some(-90)));
}

#[tokio::test]
async fn a_snapshot_that_is_being_deleted_does_not_count() {
    let (store, databases) = (memory_store(), Databases::new());
    let only_one = databases.create(&store, 0, "articles", 10).await;
    let marker = format!("snapshot-{}/deleting-0123456789abcdef", only_one.id);
    store.create(&marker, Default::default()).await.unwrap();
    let limits = FreshnessLimits::default().source("articles");
    assert_eq!(kinds(&freshness(&store, at(1), &limits).await), ["no_snapshot"]);
}
