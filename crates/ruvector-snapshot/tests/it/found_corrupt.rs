//! What a reader finds corrupt is recorded only if it is proven, and only in the store that was read. A failure to record is a
//! warning.

use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Moment, Step};
use ruvector_snapshot::{DiffOptions, ErrorKind, RestoreOptions, SnapshotManager, VerifyDepth};
use test_fixtures::{TestDir, objects};

use crate::common::chain_and_full::chain_and_full;
use crate::common::three_snapshots::key;

async fn restore(manager: &SnapshotManager, dir: &TestDir, id: &str) -> ErrorKind {
    let path = dir.path("restored.db");
    manager.restore_snapshot_to(id, path, &RestoreOptions::default()).await.unwrap_err().kind()
}

async fn depths(manager: &SnapshotManager, id: &str) -> Vec<VerifyDepth> {
    manager.ledger(id).await.unwrap().entries.iter().map(|entry| entry.depth).collect()
}

#[tokio::test]
async fn a_missing_file_of_an_ancestor_is_recorded_and_a_failed_request_is_not() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let (full, newest) = (&fixture.ids[0], &fixture.ids[2]);
    let (store, steps) = FaultStore::over(fixture.new_store().await, []);
    let manager = dir.manager_with_store(store);
    manager.restore_snapshot_to(newest, dir.path("intact.db"), &RestoreOptions::default()).await.unwrap();
    // A listing of the ledgers may fail.
    let log = steps.log();
    let is_read = |(_, step): &(usize, &Step)| step.moment == Moment::Before && step.call != Call::List;
    let reads = log.iter().enumerate().filter(is_read).map(|(at, _)| at);
    for at in reads {
        for kind in [ErrorKind::Unavailable, ErrorKind::PermissionDenied] {
            let inner = fixture.new_store().await;
            let before = objects(inner.as_ref()).await;
            let (store, _) = FaultStore::over(inner.clone(), [(at, Fault::Fail(kind))]);
            let failed = restore(&dir.manager_with_store(store), &dir, newest).await;
            assert_ne!(failed, ErrorKind::Corrupt, "{at}");
            assert!(objects(inner.as_ref()).await == before, "{at}");
        }
    }
    let inner = fixture.new_store().await;
    inner.delete(&key(full, "vectors.bin.gz")).await.unwrap();
    let manager = dir.manager_with_store(inner);
    assert_eq!(restore(&manager, &dir, newest).await, ErrorKind::Corrupt);
    assert_eq!(depths(&manager, full).await, [VerifyDepth::Read]);
    assert_eq!(depths(&manager, newest).await, []);
    assert_eq!(manager.take_warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn corruption_that_cannot_be_recorded_stays_corruption() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let (full, newest) = (&fixture.ids[0], &fixture.ids[2]);
    let damaged = async || {
        let store = fixture.new_store().await;
        store.delete(&key(full, "vectors.bin.gz")).await.unwrap();
        store
    };
    let (store, steps) = FaultStore::over(damaged().await, []);
    restore(&dir.manager_with_store(store), &dir, newest).await;
    let created =
        steps.log().iter().position(|step| step.call == Call::Create && step.moment == Moment::Before).unwrap();
    let (store, _) = FaultStore::over(damaged().await, [(created, Fault::Fail(ErrorKind::PermissionDenied))]);
    let manager = dir.manager_with_store(store);
    assert_eq!(restore(&manager, &dir, newest).await, ErrorKind::Corrupt);
    let warnings = manager.take_warnings();
    let expected = format!("that snapshot {full} is corrupt could not be recorded beside it");
    assert!(warnings.len() == 1 && warnings[0].contains(&expected), "{warnings:?}");
}

/// A copy of a corrupt snapshot in another store may be intact.
#[tokio::test]
async fn a_diff_of_two_stores_records_what_is_corrupt_where_it_is() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let (middle, newest) = (&fixture.ids[1], &fixture.ids[2]);
    let [corrupt, intact] = [fixture.new_store().await, fixture.new_store().await];
    corrupt.delete(&key(newest, "index.bin.gz")).await.unwrap();
    let [corrupt, intact] = [corrupt, intact].map(|store| dir.manager_with_store(store));
    for (first, second, ids) in [(&corrupt, &intact, [newest, middle]), (&intact, &corrupt, [middle, newest])] {
        let diff = first.diff(ids[0], second, ids[1], &DiffOptions::default()).await;
        let failed = match diff {
            Ok(diff) => diff.finish().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(failed.kind(), ErrorKind::Corrupt, "{failed}");
    }
    assert_eq!(depths(&corrupt, newest).await, [VerifyDepth::Read; 2]);
    assert_eq!(depths(&intact, newest).await, []);
}
