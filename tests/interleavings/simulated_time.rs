//! The time that all actors and the store share, and a store whose objects are dated by it. Days pass only on request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::store::{ObjectInfo, SnapshotStore};
use ruvector_snapshot::{Result, SnapshotError};
use test_fixtures::{ForwardingStore, Method, StoreHooks};

/// How many days pass at once: more than the grace period.
const DAYS: i64 = 2;

/// A clock that advances by a millisecond whenever it is read, and by days on request.
#[derive(Debug)]
pub(crate) struct SimulatedTime {
    start: DateTime<Utc>,
    ticks: AtomicU64,
    days_of_clocks: AtomicI64,
    days_of_stores: AtomicI64,
}

impl SimulatedTime {
    pub(crate) fn starting_at(start: DateTime<Utc>) -> Arc<Self> {
        let (ticks, days_of_clocks, days_of_stores) = Default::default();
        Arc::new(Self { start, ticks, days_of_clocks, days_of_stores })
    }

    /// Starts at a fixed moment: no test depends on the day on which it runs.
    pub(crate) fn new() -> Arc<Self> {
        Self::starting_at("2026-01-31T08:00:00Z".parse().unwrap())
    }

    /// Returns the moment at which this time started.
    pub(crate) fn start(&self) -> DateTime<Utc> {
        self.start
    }

    /// Lets days pass for the clocks and for the store.
    pub(crate) fn pass_days(&self) {
        self.pass_days_for_clocks();
        self.pass_days_for_stores();
    }

    /// Lets days pass for whoever reads the clock. Objects that are stored now still get the old date: their requests
    /// were sent before.
    pub(crate) fn pass_days_for_clocks(&self) {
        self.days_of_clocks.fetch_add(DAYS, Ordering::SeqCst);
    }

    /// Sets the date of the store to that of the clocks.
    pub(crate) fn pass_days_for_stores(&self) {
        self.days_of_stores.store(self.days_of_clocks.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn after(&self, days: &AtomicI64) -> DateTime<Utc> {
        let ticks = self.ticks.fetch_add(1, Ordering::SeqCst);
        self.start + TimeDelta::days(days.load(Ordering::SeqCst)) + TimeDelta::milliseconds(ticks as i64)
    }
}

impl Clock for SimulatedTime {
    fn now(&self) -> DateTime<Utc> {
        self.after(&self.days_of_clocks)
    }

    fn random(&self) -> Result<u64> {
        // Two times that start at different moments return different numbers: a compacted snapshot keeps its moment,
        // and only this number distinguishes its id.
        let base = u64::try_from(self.start.timestamp_millis()).unwrap_or_default() << 20;
        Ok(base + self.ticks.fetch_add(1, Ordering::SeqCst))
    }
}

/// Returns a store whose objects are as old as the time says. Objects that were there before are older than the time.
pub(crate) fn dated_store(inner: Arc<dyn SnapshotStore>, time: Arc<SimulatedTime>) -> Arc<dyn SnapshotStore> {
    ForwardingStore::new(inner, ObjectDates { time, dates: Mutex::default() })
}

struct ObjectDates {
    time: Arc<SimulatedTime>,
    dates: Mutex<BTreeMap<String, DateTime<Utc>>>,
}

#[async_trait]
impl StoreHooks for ObjectDates {
    type Guard = ();

    async fn before(&self, _: Method, _: &str) -> Result<()> {
        Ok(())
    }

    fn after(&self, method: Method, key: &str, result: Result<usize, &SnapshotError>) {
        if matches!(method, Method::Create | Method::FinishUpload) && result.is_ok() {
            let now = self.time.after(&self.time.days_of_stores);
            self.dates.lock().unwrap().insert(key.to_owned(), now);
        }
    }

    fn object_info(&self, info: ObjectInfo) -> ObjectInfo {
        let date = self.dates.lock().unwrap().get(&info.key).copied();
        ObjectInfo { modified_at: date.unwrap_or(self.time.start - TimeDelta::days(DAYS)), ..info }
    }
}
