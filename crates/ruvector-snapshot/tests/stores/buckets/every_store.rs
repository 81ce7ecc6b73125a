//! Every store that a location can name: each passes the conformance suite and supports every operation.

use std::time::Duration;

use ruvector_snapshot::store::testing::conformance;
use ruvector_snapshot::{ErrorKind, SnapshotConfig, SnapshotManager};
use ruvector_snapshot_format::layout::DataFile;
use test_fixtures::{TestDir, create_full, objects};

use super::fixture::{Kind, Opened, PART_BYTES, assert_restores, ids, make_large, make_small, uncompressed_config};

/// Far longer than the suite takes. A request that never ends fails the test.
const SUITE_TIMEOUT: Duration = Duration::from_secs(60);

async fn assert_conforms(kind: Kind, max_concurrent_io: usize) {
    let opened = Opened::new(kind, max_concurrent_io);
    let suite = conformance::run_all(opened.store.clone(), "suite");
    tokio::time::timeout(SUITE_TIMEOUT, suite).await.expect("the suite did not end").unwrap();
    assert_eq!(opened.open_uploads(), 0, "{kind:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_passes_the_conformance_suite() {
    assert_conforms(Kind::Memory, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_passes_the_conformance_suite() {
    assert_conforms(Kind::Local, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_passes_the_conformance_suite() {
    assert_conforms(Kind::S3, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_passes_the_conformance_suite() {
    assert_conforms(Kind::Gcs, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_works_on_every_store() {
    for kind in Kind::ALL {
        let dir = TestDir::new();
        let opened = Opened::new(kind, 4);
        // Of one source, so that the clean-up keeps the newest of all.
        let config = SnapshotConfig { source_name: Some("one of all".to_owned()), ..dir.config() };
        let manager = SnapshotManager::with_store(config, opened.store.clone()).unwrap();
        let databases = [3, 50, 400].map(|rows| make_small(&dir, &format!("{rows}.db"), rows));
        let mut made = Vec::new();
        for (at, database) in databases.iter().enumerate() {
            made.push(create_full(&manager, database, &format!("number {at}")).await.unwrap());
        }

        let listing = manager.list().await.unwrap();
        assert_eq!(listing.snapshots.iter().rev().cloned().collect::<Vec<_>>(), made, "{kind:?}");
        assert!(listing.unusable.is_empty() && listing.pending_uploads.is_empty(), "{kind:?}: {listing:?}");
        assert_eq!(manager.get_snapshot(&made[1].id).await.unwrap().as_ref(), Some(&made[1]), "{kind:?}");
        assert_eq!(manager.resolve("number 1").await.unwrap(), made[1].id, "{kind:?}");
        for (snapshot, database) in made.iter().zip(&databases) {
            assert_restores(&manager, &snapshot.id, database).await;
        }

        manager.delete_snapshot(&made[1].id).await.unwrap();
        assert_eq!(manager.get_snapshot(&made[1].id).await.unwrap(), None, "{kind:?}");
        let again = manager.delete_snapshot(&made[1].id).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotFound, "{kind:?}: {again:?}");
        assert_eq!(manager.cleanup_old_snapshots(1).await.unwrap(), 1, "{kind:?}");
        assert_eq!(ids(&manager.list().await.unwrap()).into_iter().collect::<Vec<_>>(), [made[2].id.as_str()]);
        assert_restores(&manager, &made[2].id, &databases[2]).await;
        manager.delete_snapshot(&made[2].id).await.unwrap();
        assert!(objects(opened.store.as_ref()).await.is_empty(), "{kind:?}");
        assert_eq!(opened.open_uploads(), 0, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_snapshot_works_on_every_store() {
    let dir = TestDir::new();
    let database = make_large(&dir);
    let narrow_and_wide = Kind::ALL.into_iter().flat_map(|kind| [(kind, 1), (kind, 4)]);
    for (kind, max_concurrent_io) in narrow_and_wide.filter(|pair| *pair != (Kind::Local, 1)) {
        let opened = Opened::new(kind, max_concurrent_io);
        let config = ruvector_snapshot::SnapshotConfig { max_concurrent_io, ..uncompressed_config(&dir) };
        let manager = SnapshotManager::with_store(config, opened.store.clone()).unwrap();
        let made = create_full(&manager, &database, "large").await.unwrap();
        assert!(made.files[DataFile::Vectors.name()] > PART_BYTES, "{kind:?}: the vectors fit in one part");
        assert_eq!(opened.open_uploads(), 0, "{kind:?}");
        assert_restores(&manager, &made.id, &database).await;
    }
}
