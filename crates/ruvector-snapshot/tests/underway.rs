//! Verbs that are under way: how much they read at the same time, a delete that is dropped half-way, and who waits for whom.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::watched::Watched;
use common::{Place, make_database, make_many_blocks, names, records_of_file};
use ruvector_snapshot::store::fault::{Call, Fault, FaultStore, Gate};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager};

fn local(place: &Place) -> Arc<dyn SnapshotStore> {
    open(&Location::Local(place.snapshots()), &StoreConfig::default()).unwrap()
}

async fn create(place: &Place, manager: &SnapshotManager, name: &str) -> String {
    let made = manager.create_snapshot_of_file(place.path("a.db"), name, &CreateOptions::default()).await;
    made.unwrap().id
}

// ---- reads at the same time

#[tokio::test]
async fn no_more_is_read_at_once_than_was_allowed() {
    let place = Place::new();
    drop(make_many_blocks(&place.path("a.db"), 1500, 1));
    let id = create(&place, &place.manager(), "many").await;
    let blocks = common::stored::Stored::read(&place.snapshots(), &id).entries().len();
    assert!(blocks >= 5, "only {blocks} blocks");
    for (max_concurrent_io, workers) in [(1, 8), (3, 8), (3, 1), (1, 1)] {
        let store = Watched::over(local(&place));
        let config = SnapshotConfig { max_concurrent_io, workers, ..place.config() };
        let manager = SnapshotManager::with_store(config, store.clone()).unwrap();
        let what = format!("{max_concurrent_io} reads, {workers} workers");
        assert!(manager.verify_snapshot(&id).await.unwrap());
        assert_eq!(store.most_at_once(), max_concurrent_io, "verify, {what}");
        manager.restore_snapshot(&id).await.unwrap();
        assert_eq!(store.most_at_once(), max_concurrent_io, "restore into memory, {what}");
        manager.restore_snapshot_to(&id, place.restored(), &RestoreOptions::default()).await.unwrap();
        assert_eq!(store.most_at_once(), max_concurrent_io, "restore to a file, {what}");
        assert!(records_of_file(&place.restored()) == records_of_file(&place.path("a.db")));
        std::fs::remove_file(place.restored()).unwrap();
    }
}

// ---- a delete that is dropped

/// The snapshot is whole, or nothing of it is left, and the other one is whole either way. Returns whether it is there.
async fn is_whole_or_gone(place: &Place, manager: &SnapshotManager, id: &str, kept: &str, what: &str) -> bool {
    let listing = manager.list().await.unwrap();
    assert!(listing.damaged.is_empty(), "{what}: {:?}", listing.damaged);
    assert_eq!(listing.unfinished, Vec::<String>::new(), "{what}");
    assert!(manager.verify_snapshot(kept).await.unwrap(), "{what}");
    let is_there = listing.snapshots.iter().any(|snapshot| snapshot.id == id);
    if is_there {
        assert!(manager.verify_snapshot(id).await.unwrap(), "{what}");
    } else {
        assert_eq!(names(&place.snapshots()), [format!("snapshot-{kept}")], "{what}");
    }
    is_there
}

#[tokio::test]
async fn a_delete_dropped_at_any_step() {
    let place = Place::new();
    drop(make_database(&place.path("a.db"), 20, 4, 1));
    let manager = place.manager();
    let kept = create(&place, &manager, "kept").await;
    for at in 0.. {
        let doomed = create(&place, &manager, "doomed").await;
        let gate = Gate::new();
        let (store, steps) = FaultStore::over(local(&place), [(at, Fault::Wait(gate.clone()))]);
        let held_up = SnapshotManager::with_store(place.config(), store).unwrap();
        {
            tokio::select! {
                deleted = held_up.delete_snapshot(&doomed) => deleted.unwrap(),
                () = gate.reached() => {}
            }
        }
        gate.open();
        held_up.settle().await;
        let step = steps.at(at);
        let what = format!("dropped at {step:?}");
        let is_there = is_whole_or_gone(&place, &manager, &doomed, &kept, &what).await;
        if step.as_ref().is_none_or(|step| step.call == Call::Delete) {
            assert!(!is_there, "{what}: a delete that had begun was not carried through");
        }
        if is_there {
            manager.delete_snapshot(&doomed).await.unwrap();
        }
        if step.is_none() {
            assert!(at > 12, "only {at} steps");
            break;
        }
    }
}

#[tokio::test]
async fn a_delete_or_a_clean_up_dropped_after_any_number_of_polls() {
    let place = Place::new();
    drop(make_database(&place.path("a.db"), 20, 4, 1));
    let manager = place.manager();
    for polls in 0..60 {
        let doomed = create(&place, &manager, "doomed").await;
        let kept = create(&place, &manager, "kept").await;
        {
            let mut delete = Box::pin(async {
                match polls % 2 {
                    0 => manager.delete_snapshot(&doomed).await.unwrap(),
                    _ => drop(manager.cleanup_old_snapshots(1).await.unwrap()),
                }
            });
            for _ in 0..polls / 2 {
                if futures::poll!(delete.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        manager.settle().await;
        let what = format!("{polls} polls");
        let is_there = is_whole_or_gone(&place, &manager, &doomed, &kept, &what).await;
        for id in [is_there.then_some(doomed), Some(kept)].into_iter().flatten() {
            manager.delete_snapshot(&id).await.unwrap();
        }
    }
}

// ---- clones that settle

#[tokio::test]
async fn settle_returns_while_another_clone_is_at_work() {
    let place = Place::new();
    drop(make_database(&place.path("a.db"), 20, 4, 1));
    let (manager, other) = (place.manager(), place.manager());
    let clone = manager.clone();
    for worker in [manager.clone(), other] {
        let work = async {
            for _ in 0..300 {
                let id = create(&place, &worker, "passing").await;
                // Both settle, at any time, and neither keeps the other from it.
                worker.settle().await;
                worker.delete_snapshot(&id).await.unwrap();
            }
        };
        let settle = async {
            for _ in 0..10 {
                tokio::join!(manager.settle(), clone.settle());
                // As a program does that gives something up and then waits for it to be cleaned up.
                let mut dropped = Box::pin(create(&place, &manager, "dropped"));
                for _ in 0..5 {
                    drop(futures::poll!(dropped.as_mut()));
                    tokio::task::yield_now().await;
                }
                drop(dropped);
                manager.settle().await;
            }
        };
        tokio::select! {
            () = work => panic!("settle did not return while another clone made 300 snapshots"),
            () = settle => {}
        }
        manager.settle().await;
        worker.settle().await;
        for snapshot in manager.list_snapshots().await.unwrap() {
            assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
        }
        assert_eq!(manager.list().await.unwrap().unfinished, Vec::<String>::new());
    }
}
