//! What a reader finds corrupt is recorded only if it is proven, and only in the store that was read. A failure to record is a
//! warning.

use std::sync::{Arc, Mutex};

use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Moment, Step};
use ruvector_snapshot::{
    DiffOptions, ErrorKind, Phase, Progress, ProgressUpdate, RestoreOptions, SnapshotManager, VerifyDepth,
};
use test_fixtures::{TestDir, local_store, objects};

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

/// A bit can flip on the way, or in the memory of this machine.
#[tokio::test]
async fn a_single_bad_read_is_no_corruption_of_the_snapshot() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let newest = &fixture.ids[2];
    let (store, steps) = FaultStore::over(fixture.new_store().await, []);
    let manager = dir.manager_with_store(store);
    manager.restore_snapshot_to(newest, dir.path("intact.db"), &RestoreOptions::default()).await.unwrap();
    let flip = Fault::FlipBit(200);
    let log = steps.log();
    let reads = log.iter().enumerate().filter(|(_, step)| flip.fits(step)).map(|(at, _)| at);
    let mut noticed = 0;
    for at in reads {
        let inner = fixture.new_store().await;
        let before = objects(inner.as_ref()).await;
        let (store, _) = FaultStore::over(inner.clone(), [(at, flip.clone())]);
        let manager = dir.manager_with_store(store);
        let path = dir.path(&format!("restored-{at}.db"));
        if let Err(error) = manager.restore_snapshot_to(newest, path, &RestoreOptions::default()).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{at}: {error}");
            assert!(error.message().contains("a second read was intact"), "{at}: {error}");
            noticed += 1;
        }
        assert!(objects(inner.as_ref()).await == before, "{at}");
        assert_eq!(manager.take_warnings(), Vec::<String>::new());
    }
    assert!(noticed > 5, "{noticed}");
}

#[tokio::test]
async fn what_cannot_be_read_a_second_time_is_not_recorded_and_stays_corruption() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let (full, newest) = (&fixture.ids[0], &fixture.ids[2]);
    let damaged = async || {
        let store = fixture.new_store().await;
        store.delete(&key(full, "vectors.bin.gz")).await.unwrap();
        store
    };
    let (store, steps) = FaultStore::over(damaged().await, []);
    restore(&dir.manager_with_store(store), &dir, newest).await;
    let log = steps.log();
    // The last read before the entry is created is that of the second check of the file.
    let created = log.iter().position(|step| step.call == Call::Create).unwrap();
    let is_check = |step: &Step| step.moment == Moment::Before && step.key == key(full, "vectors.bin.gz");
    let again = log.iter().take(created).rposition(is_check).unwrap();
    let inner = damaged().await;
    let before = objects(inner.as_ref()).await;
    let (store, _) = FaultStore::over(inner.clone(), [(again, Fault::FailFromHereOn(ErrorKind::Unavailable))]);
    let manager = dir.manager_with_store(store);
    assert_eq!(restore(&manager, &dir, newest).await, ErrorKind::Corrupt);
    let warnings = manager.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("could not be read a second time"), "{warnings:?}");
    assert!(objects(inner.as_ref()).await == before);
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
        assert!(failed.kind() == ErrorKind::Corrupt && failed.message().starts_with("in memory://: "), "{failed}");
    }
    assert_eq!(depths(&corrupt, newest).await, [VerifyDepth::Read; 2]);
    assert_eq!(depths(&intact, newest).await, []);
}

/// Of two stores that have the snapshot, it is corrupt in one.
#[tokio::test]
async fn a_diff_of_a_snapshot_with_its_copy_names_the_store_in_which_it_is_corrupt_and_records_it_there() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let newest = &fixture.ids[2];
    for is_first in [true, false] {
        let paths = ["corrupt", "intact"].map(|name| dir.path(&format!("{name}-{is_first}")));
        let [corrupt, intact] = paths.each_ref().map(|path| {
            std::fs::create_dir(path).unwrap();
            local_store(path)
        });
        for (key, bytes) in &fixture.objects {
            corrupt.create(key, bytes.clone()).await.unwrap();
            intact.create(key, bytes.clone()).await.unwrap();
        }
        corrupt.delete(&key(newest, "index.bin.gz")).await.unwrap();
        let [corrupt, intact] = [corrupt, intact].map(|store| dir.manager_with_store(store));
        let (first, second) = if is_first { (&corrupt, &intact) } else { (&intact, &corrupt) };
        let failed = first.diff(newest, second, newest, &DiffOptions::default()).await.unwrap_err();
        let named = format!("in {}: ", paths[0].display());
        assert!(failed.kind() == ErrorKind::Corrupt && failed.message().starts_with(&named), "{failed}");
        assert_eq!(depths(&corrupt, newest).await, [VerifyDepth::Read]);
        assert_eq!(depths(&intact, newest).await, []);
    }
}

#[derive(Debug, Default)]
struct Phases(Mutex<Vec<(Phase, u64, u64)>>);

impl Progress for Phases {
    fn update(&self, update: ProgressUpdate) {
        self.0.lock().unwrap().push((update.phase, update.bytes, update.bytes_total));
    }
}

/// It takes as long as reading the file and verifying all that depends on it.
#[tokio::test]
async fn the_second_read_has_progress() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let newest = &fixture.ids[2];
    let (store, steps) = FaultStore::over(fixture.new_store().await, []);
    let restore = async |store, path: &str, listener: &Arc<Phases>| {
        let options = RestoreOptions::default().progress(listener.clone());
        dir.manager_with_store(store).restore_snapshot_to(newest, dir.path(path), &options).await
    };
    restore(store, "intact.db", &Arc::default()).await.unwrap();
    let flip = Fault::FlipBit(200);
    let log = steps.log();
    let is_of_vectors = |step: &Step| flip.fits(step) && step.key.ends_with("vectors.bin.gz");
    let at = log.iter().rposition(is_of_vectors).unwrap();
    let (store, _) = FaultStore::over(fixture.new_store().await, [(at, flip.clone())]);
    let listener = Arc::<Phases>::default();
    let error = restore(store, "restored.db", &listener).await.unwrap_err();
    assert!(error.message().contains("a second read was intact"), "{error}");
    let updates = listener.0.lock().unwrap();
    let again: Vec<_> = updates.iter().filter(|(phase, ..)| *phase == Phase::ReadAgain).collect();
    let (_, bytes, bytes_total) = again.last().unwrap();
    assert!(again[0].1 == 0 && *bytes > 0 && bytes == bytes_total, "{updates:?}");
    assert_eq!(updates.last().unwrap().0, Phase::Verify, "{updates:?}");
}
