//! What these tests share: a state as a map, random changes of it, a clock that goes on, and the files of a store. No
//! test stands here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use redb::Database;
use ruvector_core::VectorDB;
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::{CreateOptions, RestoreOptions, Result, Snapshot, SnapshotManager};

use crate::common::{METADATA, Place, VECTORS, names, options, rows_of_file};

/// Takes a snapshot of a database file, on a base where one is given.
pub(crate) async fn take(manager: &SnapshotManager, path: &Path, base: Option<&Snapshot>) -> Result<Snapshot> {
    let base_id = base.map(|base| base.id.clone());
    let options = CreateOptions { base_id, ..CreateOptions::default() };
    manager.create_snapshot_of_file(path, "increments", &options).await
}

/// Makes a database file without records.
pub(crate) fn make_empty(path: &Path, dimensions: usize) {
    drop(VectorDB::new(options(path, dimensions)).unwrap());
}

/// The rows of the two tables of a database, word for word. Metadata may be there without a vector.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) vectors: BTreeMap<String, Vec<u8>>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl State {
    pub(crate) fn of_file(path: &Path) -> Self {
        let rows = rows_of_file(path);
        Self { vectors: rows.vectors, metadata: rows.metadata }
    }

    /// Makes the tables of a database that holds `before` hold this, in one commit that touches only what differs.
    pub(crate) fn write_over(&self, before: &Self, path: &Path) {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut vectors = transaction.open_table(VECTORS).unwrap();
        let mut metadata = transaction.open_table(METADATA).unwrap();
        for id in before.vectors.keys().filter(|id| !self.vectors.contains_key(*id)) {
            vectors.remove(id.as_str()).unwrap();
        }
        for id in before.metadata.keys().filter(|id| !self.metadata.contains_key(*id)) {
            metadata.remove(id.as_str()).unwrap();
        }
        for (id, vector) in self.vectors.iter().filter(|(id, vector)| before.vectors.get(*id) != Some(vector)) {
            vectors.insert(id.as_str(), vector.as_slice()).unwrap();
        }
        for (id, text) in self.metadata.iter().filter(|(id, text)| before.metadata.get(*id) != Some(text)) {
            metadata.insert(id.as_str(), text.as_str()).unwrap();
        }
        drop((vectors, metadata));
        transaction.commit().unwrap();
    }

    /// What a snapshot captures: metadata of an id that has no vector belongs to no record.
    pub(crate) fn captured(mut self) -> Self {
        self.metadata.retain(|id, _| self.vectors.contains_key(id));
        self
    }
}

/// Asserts that a snapshot restores to exactly this state.
pub(crate) async fn assert_restores(manager: &SnapshotManager, place: &Place, id: &str, state: &State) {
    manager.restore_snapshot_to(id, place.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(State::of_file(&place.restored()) == *state, "{id} is not what it was");
    std::fs::remove_file(place.restored()).unwrap();
}

/// Every file below a directory of snapshots, by its path there.
pub(crate) fn files(snapshots: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dir in names(snapshots) {
        for name in names(&snapshots.join(&dir)) {
            files.insert(format!("{dir}/{name}"), std::fs::read(snapshots.join(&dir).join(&name)).unwrap());
        }
    }
    files
}

/// Numbers that are the same in every run.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 20) % limit as u64) as usize
    }

    /// Values of any bits, not numbers among them.
    pub(crate) fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| f32::from_bits((self.next() >> 32) as u32)).collect()
    }
}

/// A clock that goes on a second each time it is asked.
#[derive(Debug)]
pub(crate) struct Ticking {
    begin: DateTime<Utc>,
    ticks: AtomicU64,
}

impl Ticking {
    /// From the beginning of a year on.
    pub(crate) fn from_year(year: i32) -> Self {
        Self { begin: Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap(), ticks: AtomicU64::new(0) }
    }
}

impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        self.begin + TimeDelta::seconds(self.ticks.fetch_add(1, Ordering::SeqCst) as i64)
    }

    fn random(&self) -> Result<u64> {
        Ok(self.ticks.fetch_add(1, Ordering::SeqCst))
    }
}
