//! What a caller sees of chains and pins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use ruvector_snapshot::{CreateOptions, ErrorKind, Snapshot, SnapshotConfig, SnapshotManager};

async fn take(
    manager: &SnapshotManager,
    place: &Place,
    base: Option<&Snapshot>,
) -> ruvector_snapshot::Result<Snapshot> {
    let base_id = base.map(|base| base.id.clone());
    let options = CreateOptions { base_id, ..CreateOptions::default() };
    manager.create_snapshot_of_file(place.path("a.db"), "chains", &options).await
}

#[tokio::test]
async fn a_chain_is_told_from_the_newest_to_the_full_one() {
    let place = Place::new();
    let manager = place.manager();
    make_database(&place.path("a.db"), 100, 4, 1);
    let full = take(&manager, &place, None).await.unwrap();
    let one = take(&manager, &place, Some(&full)).await.unwrap();
    let two = take(&manager, &place, Some(&one)).await.unwrap();
    let beside = take(&manager, &place, Some(&full)).await.unwrap();
    assert_eq!(manager.chain(&two.id).await.unwrap(), [two, one.clone(), full.clone()]);
    assert_eq!(manager.chain(&beside.id).await.unwrap(), [beside, full.clone()]);
    assert_eq!(manager.chain(&full.id).await.unwrap(), std::slice::from_ref(&full));

    std::fs::remove_dir_all(place.snapshots().join(format!("snapshot-{}", full.id))).unwrap();
    assert_eq!(manager.chain(&full.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = manager.chain(&one.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains(&full.id), "{error}");
}

#[tokio::test]
async fn a_pin_shows_wherever_a_snapshot_is_told_of() {
    let place = Place::new();
    let manager = place.manager();
    make_database(&place.path("a.db"), 100, 4, 1);
    let full = take(&manager, &place, None).await.unwrap();
    let one = take(&manager, &place, Some(&full)).await.unwrap();
    for pinned in [true, false] {
        // Twice is as good as once.
        for _ in 0..2 {
            match pinned {
                true => manager.pin_snapshot(&full.id).await.unwrap(),
                false => manager.unpin_snapshot(&full.id).await.unwrap(),
            }
        }
        let told = |snapshots: Vec<Snapshot>| snapshots.iter().map(|snapshot| snapshot.pinned).collect::<Vec<_>>();
        assert_eq!(told(manager.list_snapshots().await.unwrap()), [false, pinned]);
        assert_eq!(told(manager.chain(&one.id).await.unwrap()), [false, pinned]);
        assert_eq!(manager.get_snapshot(&full.id).await.unwrap().unwrap().pinned, pinned);
    }
}

#[tokio::test]
async fn a_chain_ends_at_its_longest() {
    let place = Place::new();
    make_database(&place.path("a.db"), 10, 4, 1);
    let config = SnapshotConfig { max_chain_length: 2, ..place.config() };
    let manager = SnapshotManager::new(config).unwrap();
    let full = take(&manager, &place, None).await.unwrap();
    let one = take(&manager, &place, Some(&full)).await.unwrap();
    let error = take(&manager, &place, Some(&one)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("3 snapshots"), "{error}");
    assert_eq!(manager.list_snapshots().await.unwrap().len(), 2);
    for max_chain_length in [0, 1001] {
        let config = SnapshotConfig { max_chain_length, ..place.config() };
        let error = SnapshotManager::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("max_chain_length"), "{error}");
    }
}

#[tokio::test]
async fn nothing_stands_on_a_snapshot_that_lacks_a_file() {
    let place = Place::new();
    let manager = place.manager();
    make_database(&place.path("a.db"), 100, 4, 1);
    let full = take(&manager, &place, None).await.unwrap();
    let one = take(&manager, &place, Some(&full)).await.unwrap();
    let file = place.snapshots().join(format!("snapshot-{}", full.id)).join("vectors.bin.gz");
    let bytes = std::fs::read(&file).unwrap();
    for left in [None, Some(&bytes[..bytes.len() - 1])] {
        match left {
            None => std::fs::remove_file(&file).unwrap(),
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
        }
        for base in [&full, &one] {
            let error = take(&manager, &place, Some(base)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert!(error.key().is_some_and(|key| key.contains(&full.id)), "{error}");
        }
        assert_eq!(names(&place.snapshots()).len(), 2);
    }
    std::fs::write(&file, bytes).unwrap();
    take(&manager, &place, Some(&one)).await.unwrap();
}
