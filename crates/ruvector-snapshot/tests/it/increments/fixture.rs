//! A database state as a map, random numbers, and the files of a store.

use std::collections::BTreeMap;
use std::path::Path;

use redb::Database;
use ruvector_core::VectorDB;
use ruvector_snapshot::{CreateOptions, RestoreOptions, Result, Snapshot, SnapshotManager};
use test_fixtures::{METADATA, TestDir, VECTORS, names, options, rows_of_file};

/// Takes a snapshot of a database file: an increment if there is a base, a full snapshot otherwise.
pub(crate) async fn create(manager: &SnapshotManager, path: &Path, base: Option<&Snapshot>) -> Result<Snapshot> {
    let options = base.iter().fold(CreateOptions::default(), |options, base| options.base_id(&base.id));
    manager.create_snapshot_of_file(path, "increments", &options).await
}

/// As [`create`], and accepts a base of another file.
pub(crate) async fn create_from_elsewhere(
    manager: &SnapshotManager,
    path: &Path,
    base: Option<&Snapshot>,
) -> Result<Snapshot> {
    let options = CreateOptions::default().base_from_elsewhere(true);
    let options = base.iter().fold(options, |options, base| options.base_id(&base.id));
    manager.create_snapshot_of_file(path, "increments", &options).await
}

pub(crate) fn make_empty_database(path: &Path, dimensions: usize) {
    drop(VectorDB::new(options(path, dimensions)).unwrap());
}

/// The rows of the two tables of a database, byte for byte. There may be metadata without a vector.
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

    /// Changes the tables of a database from the state `before` to this one, in one commit that writes only the
    /// differences.
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

    /// Returns the state without metadata of ids without a vector.
    pub(crate) fn without_orphans(mut self) -> Self {
        self.metadata.retain(|id, _| self.vectors.contains_key(id));
        self
    }

    /// Returns the number of records, and of ids whose rows do not form one. Metadata is compared with what
    /// [`RowGenerator`](super::random_changes::RowGenerator) makes.
    pub(crate) fn records(&self, dimensions: usize) -> (usize, usize) {
        let is_good = |id: &String, value: &Vec<u8>| {
            let vector_fits = value.len() == 4 * dimensions + 1 && usize::from(value[0]) == dimensions;
            vector_fits && self.metadata.get(id).is_none_or(|text| text.starts_with('{') && !text.contains("[["))
        };
        let good = self.vectors.iter().filter(|(id, value)| is_good(id, value)).count();
        let orphans = self.metadata.keys().filter(|id| !self.vectors.contains_key(*id)).count();
        (good, self.vectors.len() - good + orphans)
    }
}

/// Asserts that a snapshot restores to exactly this state.
pub(crate) async fn assert_restores(manager: &SnapshotManager, dir: &TestDir, id: &str, state: &State) {
    manager.restore_snapshot_to(id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(State::of_file(&dir.restored()) == *state, "{id} restores to another state");
    std::fs::remove_file(dir.restored()).unwrap();
}

/// Removes what is recorded of corruption, or else the next command refuses what it would read.
pub(super) fn forget(snapshots: &Path) {
    for file in files(snapshots).keys().filter(|file| file.contains("-read-corrupt-")) {
        std::fs::remove_file(snapshots.join(file)).unwrap();
    }
}

/// Returns every file of a directory of snapshots, by its relative path.
pub(crate) fn files(snapshots: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dir in names(snapshots) {
        for name in names(&snapshots.join(&dir)) {
            files.insert(format!("{dir}/{name}"), std::fs::read(snapshots.join(&dir).join(&name)).unwrap());
        }
    }
    files
}

/// Pseudorandom numbers, the same in every run.
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

    /// Returns values of any bit pattern, NaN included.
    pub(crate) fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| f32::from_bits((self.next() >> 32) as u32)).collect()
    }
}
