//! Concurrent operations on one store: limits of concurrency, and races between operations that must not look like
//! corruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ruvector_snapshot::store::testing::fault::{Action, Call, Fault, FaultStore, Moment, Steps};
use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotConfig, SnapshotManager, VerifyOptions};
use test_fixtures::{
    CountingStore, StoredSnapshot, TestDir, create_full, make_database, make_many_blocks, names, records_of_file,
};

async fn dir_with_database() -> (TestDir, SnapshotManager) {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 60, 4, 1));
    let manager = dir.manager();
    (dir, manager)
}

async fn create(dir: &TestDir, manager: &SnapshotManager, name: &str) -> String {
    create_full(manager, &dir.path("a.db"), name).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creates_make_one_snapshot_each() {
    let (dir, manager) = dir_with_database().await;
    let other = dir.manager();
    let (a, b, c) = tokio::join!(create(&dir, &manager, "a"), create(&dir, &manager, "a"), create(&dir, &other, "c"));
    let mut ids = vec![a, b, c];
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    for id in &ids {
        assert!(manager.verify_snapshot(id).await.unwrap());
    }
    assert_eq!(names(&dir.snapshots()).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_see_corruption_while_snapshots_are_created_and_deleted() {
    const ROUNDS: usize = 15;
    let (dir, manager) = dir_with_database().await;
    let kept = create(&dir, &manager, "kept").await;
    let ended = AtomicBool::new(false);
    let churn = async {
        for _ in 0..ROUNDS {
            let id = create(&dir, &manager, "temporary").await;
            manager.delete_snapshot(&id).await.unwrap();
        }
        ended.store(true, Ordering::SeqCst);
    };
    let watch = async {
        while !ended.load(Ordering::SeqCst) {
            let listing = dir.manager().list().await.unwrap();
            assert!(listing.unusable.is_empty(), "{:?}", listing.unusable);
            assert!(listing.snapshots.iter().any(|snapshot| snapshot.id == kept));
            for snapshot in &listing.snapshots {
                match manager.verify_snapshot_with(&snapshot.id, &VerifyOptions::default()).await {
                    Ok(report) => assert!(report.is_intact(), "{:?}", report.corruption),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
                }
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(churn, watch);
    // A verification that ended after a delete leaves its entry.
    for name in names(&dir.snapshots()).into_iter().filter(|name| *name != format!("snapshot-{kept}")) {
        let left = names(&dir.snapshots().join(&name));
        assert!(!left.is_empty() && left.iter().all(|file| file.starts_with("checked-")), "{name}: {left:?}");
    }
    assert_eq!(manager.list().await.unwrap().snapshots.len(), 1);
}

/// Returns a manager whose store deletes a snapshot through another manager at one step.
fn manager_with_deletion_at(
    dir: &TestDir,
    manager: &SnapshotManager,
    id: &str,
    at: usize,
) -> (SnapshotManager, Arc<Steps>) {
    let (other, id) = (manager.clone(), id.to_owned());
    let delete = move || {
        let (other, id) = (other.clone(), id.clone());
        async move { other.delete_snapshot(&id).await.unwrap() }
    };
    let (store, steps) = FaultStore::over(dir.local_store(), [(at, Fault::Do(Action::new(delete)))]);
    (dir.manager_with_store(store), steps)
}

#[tokio::test]
async fn a_deletion_at_any_step_of_verify_is_not_corruption() {
    let (dir, manager) = dir_with_database().await;
    for at in 0.. {
        let id = create(&dir, &manager, "doomed").await;
        let (reader, steps) = manager_with_deletion_at(&dir, &manager, &id, at);
        match reader.verify_snapshot_with(&id, &VerifyOptions::default()).await {
            Ok(report) => assert!(report.is_intact(), "{:?}: {:?}", steps.at(at), report.corruption),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{:?}: {error:?}", steps.at(at)),
        }
        if steps.at(at).is_none() {
            assert!(at > 10, "only {at} steps");
            break;
        }
    }
}

#[tokio::test]
async fn a_deletion_at_any_step_of_restore_is_not_found_and_leaves_no_file() {
    let (dir, manager) = dir_with_database().await;
    let expected = records_of_file(&dir.path("a.db"));
    for at in 0.. {
        let id = create(&dir, &manager, "doomed").await;
        let (reader, steps) = manager_with_deletion_at(&dir, &manager, &id, at);
        match reader.restore_snapshot_to(&id, dir.restored(), &RestoreOptions::default()).await {
            Ok(_) => {
                assert!(records_of_file(&dir.restored()) == expected, "{:?}", steps.at(at));
                std::fs::remove_file(dir.restored()).unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{:?}: {error:?}", steps.at(at)),
        }
        dir.assert_nothing_restored();
        if steps.at(at).is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn a_deletion_at_any_step_of_list_get_and_delete_is_not_an_error() {
    let (dir, manager) = dir_with_database().await;
    let kept = create(&dir, &manager, "kept").await;
    for at in 0.. {
        let doomed = create(&dir, &manager, "doomed").await;
        let (reader, steps) = manager_with_deletion_at(&dir, &manager, &doomed, at);
        let listing = reader.list().await.unwrap();
        assert!(listing.unusable.is_empty(), "{:?}: {:?}", steps.at(at), listing.unusable);
        assert!(listing.snapshots.iter().any(|snapshot| snapshot.id == kept), "{:?}", steps.at(at));
        if steps.at(at).is_none() {
            manager.delete_snapshot(&doomed).await.unwrap();
            break;
        }
    }
    for at in 0.. {
        let doomed = create(&dir, &manager, "doomed").await;
        let (reader, steps) = manager_with_deletion_at(&dir, &manager, &doomed, at);
        assert!(reader.get_snapshot(&doomed).await.is_ok(), "{:?}", steps.at(at));
        if steps.at(at).is_none() {
            manager.delete_snapshot(&doomed).await.unwrap();
            break;
        }
    }
    // Two managers delete the same snapshot. Both succeed, or the later one does not find it.
    for at in 0..2 {
        let doomed = create(&dir, &manager, "doomed").await;
        let (reader, steps) = manager_with_deletion_at(&dir, &manager, &doomed, at);
        let result = reader.delete_snapshot(&doomed).await;
        assert!(result.is_ok() || result.unwrap_err().kind() == ErrorKind::NotFound, "{:?}", steps.at(at));
    }
    assert_eq!(names(&dir.snapshots()), [format!("snapshot-{kept}")]);
}

/// A file is missing and the snapshot is deleted during the listing. Only a listing that ends before that may report
/// it.
#[tokio::test]
async fn a_missing_file_of_a_snapshot_that_is_being_deleted_is_not_corruption() {
    let (dir, manager) = dir_with_database().await;
    for at in 0.. {
        let doomed = create(&dir, &manager, "doomed").await;
        std::fs::remove_file(dir.snapshots().join(format!("snapshot-{doomed}/vectors.bin.gz"))).unwrap();
        let (reader, steps) = manager_with_deletion_at(&dir, &manager, &doomed, at);
        let unusable: Vec<_> = reader.list().await.unwrap().unusable.into_iter().map(|unusable| unusable.id).collect();
        let Some(step) = steps.at(at) else {
            assert_eq!(unusable, [doomed], "nothing deleted the snapshot");
            break;
        };
        let was_last_step =
            step.moment == Moment::After && step.call == Call::Head && step.key.ends_with("metadata.json");
        assert_eq!(unusable.len(), usize::from(was_last_step), "{step}");
    }
}

#[tokio::test]
async fn a_cleanup_reports_only_the_snapshots_that_it_deleted_itself() {
    let (dir, manager) = dir_with_database().await;
    for name in ["a", "b", "c", "d"] {
        create(&dir, &manager, name).await;
    }
    let plan = manager.plan_cleanup(2).await.unwrap();
    let dropped: Vec<_> = plan.drop.iter().map(|dropped| dropped.snapshot.name.as_str()).collect();
    assert_eq!(dropped, ["b", "a"]);
    manager.delete_snapshot(&plan.drop[0].snapshot.id).await.unwrap();
    let done = manager.apply_prune(&plan).await.unwrap();
    assert_eq!((done.deleted, done.kept), (vec![plan.drop[1].snapshot.id.clone()], Vec::new()));
    let left: Vec<_> = manager.list_snapshots().await.unwrap().into_iter().map(|snapshot| snapshot.name).collect();
    assert_eq!(left, ["d", "c"]);
    assert_eq!(manager.cleanup_old_snapshots(0).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(manager.cleanup_old_snapshots(usize::MAX).await.unwrap(), 0);
}

// ---- limits

#[tokio::test]
async fn at_most_max_concurrent_io_ranges_are_read_at_once() {
    let dir = TestDir::new();
    drop(make_many_blocks(&dir.path("a.db"), 1500, 1));
    let id = create(&dir, &dir.manager(), "many").await;
    let blocks = StoredSnapshot::read(&dir.snapshots(), &id).entries().len();
    assert!(blocks >= 5, "only {blocks} blocks");
    for (max_concurrent_io, workers) in [(1, 8), (3, 8), (3, 1), (1, 1)] {
        let store = CountingStore::over(dir.local_store());
        let config = SnapshotConfig { max_concurrent_io, workers, ..dir.config() };
        let manager = SnapshotManager::with_store(config, store.clone()).unwrap();
        let what = format!("{max_concurrent_io} reads, {workers} workers");
        assert!(manager.verify_snapshot(&id).await.unwrap());
        assert_eq!(store.take_most_concurrent_ranges(), max_concurrent_io, "verify, {what}");
        manager.restore_snapshot(&id).await.unwrap();
        assert_eq!(store.take_most_concurrent_ranges(), max_concurrent_io, "restore into memory, {what}");
        manager.restore_snapshot_to(&id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        assert_eq!(store.take_most_concurrent_ranges(), max_concurrent_io, "restore to a file, {what}");
        assert!(records_of_file(&dir.restored()) == records_of_file(&dir.path("a.db")));
        std::fs::remove_file(dir.restored()).unwrap();
    }
}

// ---- wait_for_cleanup

#[tokio::test]
async fn wait_for_cleanup_returns_while_another_clone_keeps_working() {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 20, 4, 1));
    let (manager, other) = (dir.manager(), dir.manager());
    let clone = manager.clone();
    for worker in [manager.clone(), other] {
        let work = async {
            for _ in 0..300 {
                let id = create(&dir, &worker, "passing").await;
                worker.wait_for_cleanup().await;
                worker.delete_snapshot(&id).await.unwrap();
            }
        };
        let wait = async {
            for _ in 0..10 {
                tokio::join!(manager.wait_for_cleanup(), clone.wait_for_cleanup());
                // Drops a create and waits until it has been cleaned up.
                let mut dropped = Box::pin(create(&dir, &manager, "dropped"));
                for _ in 0..5 {
                    drop(futures::poll!(dropped.as_mut()));
                    tokio::task::yield_now().await;
                }
                drop(dropped);
                manager.wait_for_cleanup().await;
            }
        };
        tokio::select! {
            () = work => panic!("wait_for_cleanup did not return while another clone created 300 snapshots"),
            () = wait => {}
        }
        manager.wait_for_cleanup().await;
        worker.wait_for_cleanup().await;
        for snapshot in manager.list_snapshots().await.unwrap() {
            assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
        }
        assert_eq!(manager.list().await.unwrap().pending_uploads, Vec::<String>::new());
    }
}
