//! Clocks that are wrong by any amount: no verb panics, nothing is lost, and a snapshot whose date could not be written is
//! refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Datelike as _, TimeDelta, TimeZone as _, Utc};
use futures::StreamExt as _;
use proptest::prelude::*;
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CreateOptions, ErrorKind, PrunePolicy, Result, Snapshot, SnapshotConfig, SnapshotManager, Span, VerifyOptions,
};
use test_fixtures::{TestDir, create_full, local_store, make_database, memory_store};

/// A clock that always says the same time, and no random number twice.
#[derive(Debug)]
struct StoppedClock {
    now: DateTime<Utc>,
    random: AtomicU64,
}

impl Clock for StoppedClock {
    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn random(&self) -> Result<u64> {
        Ok(self.random.fetch_add(1, Ordering::SeqCst))
    }
}

/// A database, which each case takes snapshots of into a store of its own.
struct Fixture {
    dir: TestDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = TestDir::new();
        drop(make_database(&dir.path("a.db"), 10, 4, 1));
        Self { dir }
    }

    fn manager(&self, store: &Arc<dyn SnapshotStore>, now: DateTime<Utc>, grace: TimeDelta) -> SnapshotManager {
        let config = SnapshotConfig { grace, ..self.dir.config() };
        let manager = SnapshotManager::with_store(config, store.clone()).unwrap();
        manager.with_clock(Arc::new(StoppedClock { now, random: AtomicU64::new(0) }))
    }

    async fn increment(&self, manager: &SnapshotManager, base: &Snapshot) -> Result<Snapshot> {
        let options = CreateOptions::default().base_id(&base.id);
        manager.create_snapshot_of_file(self.dir.path("a.db"), "increment", &options).await
    }

    /// Runs every verb that reads the clock at this time, beside a chain of two snapshots of 2026.
    async fn check(&self, store: Arc<dyn SnapshotStore>, now: DateTime<Utc>, grace: TimeDelta) {
        let then = Utc.with_ymd_and_hms(2026, 11, 23, 8, 0, 0).unwrap();
        let before = self.manager(&store, then, TimeDelta::hours(24));
        let base = create_full(&before, &self.dir.path("a.db"), "base").await.unwrap();
        let hour_later = self.manager(&store, then + TimeDelta::hours(1), TimeDelta::hours(24));
        let increment = self.increment(&hour_later, &base).await.unwrap();

        let manager = self.manager(&store, now, grace);
        let is_writable = (0..=9999).contains(&now.year());
        let created = create_full(&manager, &self.dir.path("a.db"), "now").await;
        assert_eq!(created.is_ok(), is_writable, "{now}: {created:?}");
        if let Err(error) = created {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.message().contains("correct the clock"), "{error}");
        }
        let newer = self.increment(&manager, &increment).await;
        // An increment is newer than its base.
        assert_eq!(newer.is_ok(), is_writable && now > increment.created_at, "{now}: {newer:?}");
        if let Err(error) = newer {
            assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("clock"), "{error}");
        }

        let listing = manager.list().await.unwrap();
        assert!(listing.unusable.is_empty(), "{listing:?}");
        assert_eq!(listing.is_dated_in_future(&base.id), now < then - TimeDelta::minutes(5), "{now}");
        manager.resolve("latest").await.unwrap();
        manager.resolve("base").await.unwrap();
        manager.pin_snapshot(&base.id).await.unwrap();
        manager.unpin_snapshot(&base.id).await.unwrap();
        let verified: Vec<_> = manager.verify_all(VerifyOptions::default()).collect().await;
        assert!(verified.iter().all(Result::is_ok), "{verified:?}");
        drop(manager.restore_snapshot_to(&increment.id, self.dir.restored(), &Default::default()).await.unwrap());
        std::fs::remove_file(self.dir.restored()).unwrap();

        manager.compact_snapshot(&increment.id, None).await.unwrap();
        let orphans = manager.orphans().await;
        assert!(orphans.is_ok() || !is_writable, "{orphans:?}");
        let widest = Span { years: u32::MAX, months: u32::MAX, days: u32::MAX, hours: u32::MAX, ..Span::default() };
        let all = PrunePolicy::default().keep_within(widest).keep_hourly(usize::MAX).keep_yearly(usize::MAX);
        assert_eq!(manager.plan_prune(&all).await.unwrap().drop.len(), 0);
        let least = PrunePolicy::default().keep_last(1).keep_weekly(1).keep_within("1h".parse().unwrap());
        let plan = manager.plan_prune(&least).await.unwrap();
        assert!(now >= then || plan.keep.iter().any(|kept| kept.snapshot.id == base.id), "{now}");
        manager.apply_prune(&plan).await.unwrap();
        let left = manager.list().await.unwrap();
        assert!(!left.snapshots.is_empty() && left.unusable.is_empty(), "{now}");
        for snapshot in manager.list().await.unwrap().snapshots.iter() {
            manager.apply_delete(&manager.plan_delete(&[&snapshot.id], true).await.unwrap()).await.unwrap();
        }
        assert!(manager.list().await.unwrap().snapshots.is_empty());
    }
}

/// Times at which something ends, and times far from everything.
fn extreme() -> Vec<DateTime<Utc>> {
    let of_year = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap();
    let moment = TimeDelta::nanoseconds(1);
    [-262_000, -10_000, -9_999, -5_000, -1, 0, 1, 1969, 1970, 2038, 9999, 10_000, 50_000, 262_000]
        .into_iter()
        .flat_map(|year| [of_year(year), of_year(year) - moment])
        .chain([DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC])
        .collect()
}

fn any_moment() -> impl Strategy<Value = DateTime<Utc>> {
    let (first, last) = (DateTime::<Utc>::MIN_UTC.timestamp(), DateTime::<Utc>::MAX_UTC.timestamp());
    prop_oneof![
        (first..=last).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap()),
        prop::sample::select(extreme()),
        (-62_167_219_200i64..253_402_300_800)
            .prop_map(|seconds| DateTime::from_timestamp(seconds, 999_999_999).unwrap()),
    ]
}

fn any_grace() -> impl Strategy<Value = TimeDelta> {
    prop::sample::select(vec![TimeDelta::zero(), TimeDelta::hours(24), TimeDelta::MAX])
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn no_time_of_the_clock_makes_a_verb_panic_on_disk() {
    let fixture = Fixture::new();
    for (number, now) in extreme().into_iter().enumerate() {
        let directory = fixture.dir.path(&format!("snapshots-{number}"));
        std::fs::create_dir(&directory).unwrap();
        runtime().block_on(fixture.check(local_store(&directory), now, TimeDelta::MAX));
    }
}

#[test]
fn no_time_of_the_clock_makes_a_verb_panic() {
    let fixture = Fixture::new();
    proptest!(ProptestConfig::with_cases(24), |(now in any_moment(), grace in any_grace())| {
        runtime().block_on(fixture.check(memory_store(), now, grace));
    });
}

/// Some file systems hold any number of seconds.
#[tokio::test]
async fn files_whose_time_is_in_no_calendar_are_read_as_others() {
    let fixture = Fixture::new();
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return };
    let store = local_store(directory.path());
    let times = [i64::MAX as u64 / 1000, 1 << 46].map(Duration::from_secs);
    let epoch = SystemTime::UNIX_EPOCH;
    let times = times.into_iter().flat_map(|far| [epoch.checked_add(far).unwrap(), epoch.checked_sub(far).unwrap()]);
    for (hours, time) in times.enumerate() {
        let now = Utc.with_ymd_and_hms(2026, 11, 23, hours as u32, 0, 0).unwrap();
        let manager = fixture.manager(&store, now, TimeDelta::zero());
        let wrong = create_full(&manager, &fixture.dir.path("a.db"), "wrong").await.unwrap();
        for file in std::fs::read_dir(directory.path().join(wrong.prefix())).unwrap() {
            let file = std::fs::OpenOptions::new().write(true).open(file.unwrap().path()).unwrap();
            file.set_modified(time).unwrap();
        }
        let later = fixture.manager(&store, now + TimeDelta::minutes(1), TimeDelta::zero());
        let right = create_full(&later, &fixture.dir.path("a.db"), "right").await.unwrap();
        let listing = later.list().await.unwrap();
        let listed: Vec<&str> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
        for made in [&wrong, &right] {
            assert!(listed.contains(&made.id.as_str()) && listing.unusable.is_empty(), "{listing:?}");
            assert!(later.verify_snapshot(&made.id).await.unwrap());
        }
        assert!(later.orphans().await.unwrap().is_empty());
        if hours % 2 == 0 {
            later.delete_snapshot(&wrong.id).await.unwrap();
        }
    }
}
