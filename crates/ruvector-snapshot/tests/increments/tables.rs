//! Random changes on the tables themselves, in other files and other layouts, on bases of every kind: each increment
//! has the content checksum of a full snapshot of the same moment, and each snapshot restores to its state word for
//! word.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;
use ruvector_snapshot::store::{Location, StoreConfig, open};
use ruvector_snapshot::{Snapshot, SnapshotManager};

use crate::bench::{State, Ticking, assert_restores, make_empty, take};
use crate::changes::{Change, Rows};
use crate::common::{METADATA, Place, VECTORS};

const DIMENSIONS: usize = 16;
/// Links are added to no chain that has so many.
const LINKS_MAX: usize = 30;

struct Taken {
    snapshot: Snapshot,
    state: State,
    /// The snapshots of its chain.
    links: usize,
}

/// A database, the map that says what it holds, and all that was taken of it.
struct Walk {
    place: Place,
    manager: SnapshotManager,
    path: PathBuf,
    rows: Rows,
    state: State,
    taken: Vec<Taken>,
    /// How many bases were made of a chain, and how many of a database in memory.
    compacted: usize,
    from_memory: usize,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let place = Place::new();
        let path = place.path("first.db");
        make_empty(&path, DIMENSIONS);
        let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
        let manager = SnapshotManager::with_store(place.config(), store).unwrap();
        let manager = manager.with_clock(Arc::new(Ticking::from_year(2020)));
        let rows = Rows::new(seed, DIMENSIONS, 700);
        let (state, taken) = Default::default();
        Self { place, manager, path, rows, state, taken, compacted: 0, from_memory: 0 }
    }

    /// Changes the database where it stands, or puts the new state into another file, where no leaf is as it was.
    fn change(&mut self, number: usize) -> Change {
        let change = Change::any(&mut self.rows.random);
        let next = self.rows.changed(&self.state, change);
        if self.rows.random.below(12) == 0 {
            self.path = self.place.path(&format!("{number}.db"));
            make_empty(&self.path, DIMENSIONS);
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

    /// The newest, or any other; now and then none.
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
        let made = take(&self.manager, &self.path, base.map(|at| &self.taken[at].snapshot)).await.unwrap();
        let full = take(&self.manager, &self.path, None).await.unwrap();
        assert_eq!(made.checksum, full.checksum, "step {number}: {change:?}");
        assert_eq!(made.vector_count, self.state.vectors.len(), "step {number}: {change:?}");
        let links = base.map_or(1, |at| self.taken[at].links + 1);
        self.keep(made.clone(), links);
        match self.rows.random.below(10) {
            0 if links > 1 => {
                let compacted = self.manager.compact_snapshot(&made.id, None).await.unwrap();
                assert_eq!(compacted.checksum, full.checksum, "step {number}: {change:?}");
                self.compacted += 1;
                self.keep(compacted, 1);
            }
            1 => {
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
        self.taken.push(Taken { snapshot, state: self.state.clone().captured(), links });
    }
}

async fn walk(seed: u64, steps: usize) {
    let mut walk = Walk::new(seed);
    for number in 0..steps {
        walk.step(number).await;
    }
    assert!(
        walk.compacted > 0 && walk.from_memory > 0,
        "{} compacted, {} from memory",
        walk.compacted,
        walk.from_memory
    );
    assert!(walk.taken.iter().any(|taken| taken.links > 4), "no chain was long");
    for Taken { snapshot, state, .. } in &walk.taken {
        assert!(walk.manager.verify_snapshot(&snapshot.id).await.unwrap(), "{}", snapshot.id);
        assert_restores(&walk.manager, &walk.place, &snapshot.id, state).await;
    }
}

#[tokio::test]
async fn random_changes_of_the_tables_are_captured_word_for_word() {
    walk(1, 50).await;
}

#[tokio::test]
async fn random_changes_of_the_tables_are_captured_word_for_word_again() {
    walk(2, 50).await;
}

#[tokio::test]
async fn random_changes_of_the_tables_are_captured_word_for_word_a_third_time() {
    walk(3, 50).await;
}
