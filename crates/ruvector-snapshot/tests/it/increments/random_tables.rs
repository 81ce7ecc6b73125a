//! Random changes of the tables, in several files and B-tree layouts, on bases of every kind. Each increment has the
//! content checksum of a full snapshot of the same state, and each snapshot restores to its state byte for byte.

use std::path::{Path, PathBuf};

use redb::Database;
use ruvector_snapshot::{Snapshot, SnapshotManager};
use test_fixtures::{METADATA, TestDir, TickingClock, VECTORS, memory_store};

use super::fixture::{State, assert_restores, create, create_from_elsewhere, make_empty_database};
use super::random_changes::{Change, Kinds, RowGenerator};

const DIMENSIONS: usize = 16;
/// The maximum length of a chain in these tests.
const LINKS_MAX: usize = 30;

struct Taken {
    snapshot: Snapshot,
    state: State,
    /// The snapshots of its chain.
    links: usize,
}

/// A database, its state as a map, and the snapshots of it.
struct Walk {
    dir: TestDir,
    manager: SnapshotManager,
    path: PathBuf,
    rows: RowGenerator,
    state: State,
    taken: Vec<Taken>,
    /// The number of bases that are compacted copies, and of those taken from a database in memory.
    compacted: usize,
    from_memory: usize,
}

impl Walk {
    fn new(seed: u64, kinds: Kinds) -> Self {
        let dir = TestDir::new();
        let path = dir.path("first.db");
        make_empty_database(&path, DIMENSIONS);
        let manager = dir.manager_with_store(memory_store()).with_clock(TickingClock::seconds_from_year(2020));
        let mut rows = RowGenerator::new(seed, DIMENSIONS, 700);
        rows.kinds = kinds;
        let (state, taken) = Default::default();
        Self { dir, manager, path, rows, state, taken, compacted: 0, from_memory: 0 }
    }

    /// Changes the database in place, or writes the new state to another file, which has no leaf in common with the
    /// first.
    fn change(&mut self, number: usize) -> Change {
        let change = Change::any(&mut self.rows.random);
        let next = self.rows.changed(&self.state, change);
        if self.rows.random.below(12) == 0 {
            self.path = self.dir.path(&format!("{number}.db"));
            make_empty_database(&self.path, DIMENSIONS);
            self.write_shuffled(&next, &self.path.clone());
        } else {
            next.write_over(&self.state, &self.path);
        }
        self.state = next;
        change
    }

    fn write_shuffled(&mut self, state: &State, path: &Path) {
        let mut rows: Vec<_> = state.vectors.iter().collect();
        for at in (1..rows.len()).rev() {
            rows.swap(at, self.rows.random.below(at + 1));
        }
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        for (id, vector) in rows {
            transaction.open_table(VECTORS).unwrap().insert(id.as_str(), vector.as_slice()).unwrap();
        }
        for (id, text) in state.metadata.iter().rev() {
            transaction.open_table(METADATA).unwrap().insert(id.as_str(), text.as_str()).unwrap();
        }
        transaction.commit().unwrap();
    }

    /// Returns the newest snapshot, any other one, or sometimes none.
    fn base(&mut self) -> Option<usize> {
        if self.taken.is_empty() || self.rows.random.below(15) == 0 {
            return None;
        }
        let newest = self.taken.len() - 1;
        let at = if self.rows.random.below(2) == 0 { newest } else { self.rows.random.below(self.taken.len()) };
        Some(at).filter(|at| self.taken[*at].links < LINKS_MAX)
    }

    async fn step(&mut self, number: usize) {
        let change = self.change(number);
        let base = self.base();
        // The tables are shuffled by writing them to another file.
        let made =
            create_from_elsewhere(&self.manager, &self.path, base.map(|at| &self.taken[at].snapshot)).await.unwrap();
        let full = create(&self.manager, &self.path, None).await.unwrap();
        assert_eq!(made.checksum, full.checksum, "step {number}: {change:?}");
        let irregular = made.irregular.as_ref().map_or(0, |irregular| irregular.records as usize);
        assert_eq!((made.vector_count, irregular), self.state.records(DIMENSIONS), "step {number}: {change:?}");
        let links = base.map_or(1, |at| self.taken[at].links + 1);
        self.keep(made.clone(), links);
        match self.rows.random.below(10) {
            0 if links > 1 => {
                let compacted = self.manager.compact_snapshot(&made.id, None).await.unwrap();
                assert_eq!(compacted.checksum, full.checksum, "step {number}: {change:?}");
                self.compacted += 1;
                self.keep(compacted, 1);
            }
            1 if made.irregular.is_none() => {
                let database = self.manager.restore_snapshot(&made.id).await.unwrap();
                let in_memory = self.manager.create_snapshot(&database, "in memory").await.unwrap();
                assert_eq!(in_memory.checksum, full.checksum, "step {number}: {change:?}");
                self.from_memory += 1;
                self.keep(in_memory, 1);
            }
            _ => {}
        }
        self.manager.delete_snapshot(&full.id).await.unwrap();
    }

    fn keep(&mut self, snapshot: Snapshot, links: usize) {
        self.taken.push(Taken { snapshot, state: self.state.clone(), links });
    }
}

async fn walk(seed: u64, steps: usize, kinds: Kinds) {
    let mut walk = Walk::new(seed, kinds);
    for number in 0..steps {
        walk.step(number).await;
    }
    assert!(
        walk.compacted > 0 && (walk.from_memory > 0 || kinds != Kinds::Records),
        "{} compacted, {} from memory",
        walk.compacted,
        walk.from_memory
    );
    assert!(walk.taken.iter().any(|taken| taken.links > 4), "every chain is short");
    for Taken { snapshot, state, .. } in &walk.taken {
        assert!(walk.manager.verify_snapshot(&snapshot.id).await.unwrap(), "{}", snapshot.id);
        assert_restores(&walk.manager, &walk.dir, &snapshot.id, state).await;
    }
}

#[tokio::test]
async fn random_changes_are_captured_byte_for_byte_with_seed_1() {
    walk(1, 50, Kinds::Records).await;
}

#[tokio::test]
async fn random_changes_are_captured_byte_for_byte_with_seed_2() {
    walk(2, 50, Kinds::Records).await;
}

#[tokio::test]
async fn random_changes_are_captured_byte_for_byte_with_seed_3() {
    walk(3, 50, Kinds::Records).await;
}

#[tokio::test]
async fn random_changes_with_metadata_without_vectors_are_captured_byte_for_byte() {
    walk(4, 50, Kinds::Orphans).await;
}

#[tokio::test]
async fn random_changes_with_rows_of_no_record_are_captured_byte_for_byte_with_seed_5() {
    walk(5, 50, Kinds::All).await;
}

#[tokio::test]
async fn random_changes_with_rows_of_no_record_are_captured_byte_for_byte_with_seed_6() {
    walk(6, 50, Kinds::All).await;
}
