//! Random histories against a model: a map and a real repository go through the same inserts, updates, deletes,
//! snapshots of both types, deletions, cleanups, compactions and restores, on every kind of store, and must never
//! differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{CreateOptions, ErrorKind, RestoreOptions, SnapshotManager, SnapshotType};
use serde_json::Value;
use test_fixtures::{TestDir, encode_vector, entry, json_object, memory_store, options, records_of_file};
use test_servers::{GcsServer, S3Server};

use crate::common::bucket_stores::{gcs_store, s3_store};

const DIMENSIONS: usize = 8;

/// One step of a history. Snapshots are picked by number, modulo the number of snapshots.
#[derive(Debug, Clone)]
enum Op {
    Put {
        first: u16,
        count: u16,
        seed: u64,
    },
    Remove {
        first: u16,
        count: u16,
    },
    /// Replaces or removes the metadata of a record and keeps its vector.
    Describe {
        id: u16,
        text: Option<u32>,
    },
    Full,
    Increment {
        base: usize,
    },
    Delete {
        snapshot: usize,
        cascade: bool,
    },
    CleanUp {
        keep: usize,
    },
    Compact {
        snapshot: usize,
    },
    Restore {
        snapshot: usize,
    },
    Pin {
        snapshot: usize,
        pinned: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u16..600, 1u16..40, any::<u64>()).prop_map(|(first, count, seed)| Op::Put { first, count, seed }),
        2 => (0u16..600, 1u16..30).prop_map(|(first, count)| Op::Remove { first, count }),
        2 => (0u16..600, any::<Option<u32>>()).prop_map(|(id, text)| Op::Describe { id, text }),
        1 => Just(Op::Full),
        5 => any::<usize>().prop_map(|base| Op::Increment { base }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(snapshot, cascade)| Op::Delete { snapshot, cascade }),
        1 => (3usize..12).prop_map(|keep| Op::CleanUp { keep }),
        1 => any::<usize>().prop_map(|snapshot| Op::Compact { snapshot }),
        2 => any::<usize>().prop_map(|snapshot| Op::Restore { snapshot }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(snapshot, pinned)| Op::Pin { snapshot, pinned }),
    ]
}

/// The records of a database file.
type State = (BTreeMap<String, Vec<u8>>, BTreeMap<String, Value>);

/// A snapshot in the model.
struct KeptSnapshot {
    state: State,
    base_id: Option<String>,
    pinned: bool,
}

struct Model {
    dir: TestDir,
    db: VectorDB,
    manager: SnapshotManager,
    state: State,
    snapshots: BTreeMap<String, KeptSnapshot>,
}

impl Model {
    fn new(store: impl FnOnce(&TestDir) -> Arc<dyn SnapshotStore>) -> Self {
        let dir = TestDir::new();
        let db = VectorDB::new(options(dir.path("a.db"), DIMENSIONS)).unwrap();
        let manager = SnapshotManager::with_store(dir.config(), store(&dir)).unwrap();
        Self { dir, db, manager, state: State::default(), snapshots: BTreeMap::new() }
    }

    fn put(&mut self, entry: VectorEntry) {
        let id = entry.id.clone().unwrap();
        self.state.0.insert(id.clone(), encode_vector(&entry.vector));
        match &entry.metadata {
            Some(metadata) => drop(self.state.1.insert(id.clone(), serde_json::to_value(metadata).unwrap())),
            None => drop(self.state.1.remove(&id)),
        }
        // Inserting a record without metadata would keep the metadata that is there.
        self.db.delete(&id).unwrap();
        self.db.insert(entry).unwrap();
    }

    fn pick(&self, number: usize) -> Option<String> {
        let count = self.snapshots.len();
        (count > 0).then(|| self.snapshots.keys().nth(number % count).unwrap().clone())
    }

    /// Returns a snapshot and its dependents, direct and indirect.
    fn with_dependents(&self, id: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::from([id.to_owned()]);
        loop {
            let more: Vec<String> = self
                .snapshots
                .iter()
                .filter(|(id, kept)| !all.contains(*id) && kept.base_id.as_ref().is_some_and(|base| all.contains(base)))
                .map(|(id, _)| id.clone())
                .collect();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    fn chain_length(&self, id: &str) -> usize {
        1 + self.snapshots[id].base_id.as_ref().map_or(0, |base| self.chain_length(base))
    }

    async fn create(&mut self, base_id: Option<String>) {
        let create = base_id.iter().fold(CreateOptions::default(), |options, base_id| options.base_id(base_id));
        let made = self.manager.create_snapshot_of_file(self.dir.path("a.db"), "step", &create).await.unwrap();
        assert_eq!(made.vector_count, self.state.0.len());
        let kept = KeptSnapshot { state: self.state.clone(), base_id, pinned: false };
        self.snapshots.insert(made.id, kept);
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Put { first, count, seed } => {
                for at in *first..first + count {
                    self.put(entry(format!("id/{at:05}"), usize::from(at), DIMENSIONS, *seed));
                }
            }
            Op::Remove { first, count } => {
                for at in *first..first + count {
                    let id = format!("id/{at:05}");
                    let was_there = self.state.0.remove(&id).is_some();
                    self.state.1.remove(&id);
                    assert_eq!(self.db.delete(&id).unwrap(), was_there);
                }
            }
            Op::Describe { id, text } => {
                let id = format!("id/{id:05}");
                if let Some(mut entry) = self.db.get(&id).unwrap() {
                    let metadata =
                        text.and_then(|text| json_object(serde_json::json!({ "text": text, "same": [1, null] })));
                    (entry.id, entry.metadata) = (Some(id), metadata);
                    self.put(entry);
                }
            }
            Op::Full => self.create(None).await,
            Op::Increment { base } => match self.pick(*base) {
                Some(base_id) if self.chain_length(&base_id) < 20 => self.create(Some(base_id)).await,
                _ => self.create(None).await,
            },
            Op::Delete { snapshot, cascade } => self.delete(*snapshot, *cascade).await,
            Op::CleanUp { keep } => self.clean_up(*keep).await,
            Op::Compact { snapshot } => self.compact(*snapshot).await,
            Op::Restore { snapshot } => {
                if let Some(id) = self.pick(*snapshot) {
                    self.assert_restores(&id).await;
                }
            }
            Op::Pin { snapshot, pinned } => {
                if let Some(id) = self.pick(*snapshot) {
                    match pinned {
                        true => self.manager.pin_snapshot(&id).await.unwrap(),
                        false => self.manager.unpin_snapshot(&id).await.unwrap(),
                    }
                    self.snapshots.get_mut(&id).unwrap().pinned = *pinned;
                }
            }
        }
    }

    async fn delete(&mut self, snapshot: usize, cascade: bool) {
        let Some(id) = self.pick(snapshot) else { return };
        let going = self.with_dependents(&id);
        let is_pinned = going.iter().any(|id| self.snapshots[id].pinned);
        let deleted = match self.manager.plan_delete(&[&id], cascade).await {
            Ok(plan) => self.manager.apply_delete(&plan).await,
            Err(error) => Err(error),
        };
        if is_pinned && (cascade || going.len() == 1) || !cascade && going.len() > 1 {
            assert!(matches!(deleted.unwrap_err().kind(), ErrorKind::Pinned | ErrorKind::HasDependents));
            return;
        }
        assert_eq!(deleted.unwrap(), going.len());
        self.snapshots.retain(|id, _| !going.contains(id));
    }

    async fn clean_up(&mut self, keep: usize) {
        // A compacted copy has the timestamp of its increment. Snapshots of one timestamp count once, and the full one
        // is the newest of them.
        let mut moments = BTreeMap::new();
        for (id, kept) in &self.snapshots {
            let newest: &mut (bool, &String) = moments.entry(&id[..19]).or_insert((false, id));
            *newest = (*newest).max((kept.base_id.is_none(), id));
        }
        let newest: Vec<String> = moments.into_values().rev().take(keep).map(|(_, id)| id.clone()).collect();
        let pinned = self.snapshots.iter().filter(|(_, kept)| kept.pinned).map(|(id, _)| id.clone());
        let mut kept: BTreeSet<String> = newest.into_iter().chain(pinned).collect();
        let mut pending: Vec<String> = kept.iter().cloned().collect();
        while let Some(id) = pending.pop() {
            if let Some(base_id) = self.snapshots[&id].base_id.clone()
                && kept.insert(base_id.clone())
            {
                pending.push(base_id);
            }
        }
        let gone = self.snapshots.len() - kept.len();
        assert_eq!(self.manager.cleanup_old_snapshots(keep).await.unwrap(), gone);
        self.snapshots.retain(|id, _| kept.contains(id));
    }

    async fn compact(&mut self, snapshot: usize) {
        let Some(id) = self.pick(snapshot) else { return };
        if self.snapshots[&id].base_id.is_none() {
            assert_eq!(self.manager.compact_snapshot(&id, None).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            return;
        }
        let made = self.manager.compact_snapshot(&id, None).await.unwrap();
        assert_eq!(made.snapshot_type, SnapshotType::Full);
        let kept = KeptSnapshot { state: self.snapshots[&id].state.clone(), base_id: None, pinned: false };
        self.snapshots.insert(made.id, kept);
    }

    async fn assert_restores(&self, id: &str) {
        self.manager.restore_snapshot_to(id, self.dir.restored(), &RestoreOptions::default()).await.unwrap();
        assert!(records_of_file(&self.dir.restored()) == self.snapshots[id].state, "{id} restores to another state");
        std::fs::remove_file(self.dir.restored()).unwrap();
    }

    async fn assert_same(&self) {
        assert!(records_of_file(&self.dir.path("a.db")) == self.state, "the database differs from the model");
        let listing = self.manager.list().await.unwrap();
        assert!(listing.unusable.is_empty() && listing.pending_uploads.is_empty() && listing.deleting.is_empty());
        let listed: BTreeSet<&str> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
        assert_eq!(listed, self.snapshots.keys().map(String::as_str).collect());
        for snapshot in &listing.snapshots {
            let kept = &self.snapshots[&snapshot.id];
            assert_eq!(snapshot.pinned, kept.pinned);
            assert_eq!(snapshot.vector_count, kept.state.0.len());
        }
    }
}

/// Runs a history that depends only on the seed, and prints each step, so that a failing run shows how it got there.
async fn run_history(seed: u8, steps: usize, store: impl FnOnce(&TestDir) -> Arc<dyn SnapshotStore>) {
    let mut model = Model::new(store);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for number in 0..steps {
        let op = op().new_tree(&mut runner).unwrap().current();
        println!("seed {seed}, step {number}: {op:?}");
        model.step(&op).await;
        model.assert_same().await;
    }
    let ids: Vec<String> = model.snapshots.keys().cloned().collect();
    for id in ids {
        assert!(model.manager.verify_snapshot(&id).await.unwrap(), "{id}");
        model.assert_restores(&id).await;
    }
}

#[tokio::test]
async fn random_histories_in_memory_match_the_model() {
    for seed in 0..4 {
        run_history(seed, 120, |_| memory_store()).await;
    }
}

#[tokio::test]
async fn random_histories_on_disk_match_the_model() {
    for seed in 10..12 {
        run_history(seed, 100, TestDir::local_store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_in_s3_matches_the_model() {
    let server = S3Server::start();
    run_history(20, 100, |_| s3_store(&server, "model")).await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_in_gcs_matches_the_model() {
    let server = GcsServer::start();
    run_history(30, 60, |_| gcs_store(&server, "model")).await;
    assert_eq!(server.open_uploads(), 0);
}
