//! Chains and pins as they are listed.

use ruvector_snapshot::{ErrorKind, Snapshot};
use test_fixtures::{TestDir, make_database};

use super::fixture::create;

#[tokio::test]
async fn a_chain_is_listed_from_the_newest_snapshot_to_the_full_one() {
    let dir = TestDir::new();
    let manager = dir.manager();
    make_database(&dir.path("a.db"), 100, 4, 1);
    let full = create(&manager, &dir.path("a.db"), None).await.unwrap();
    let one = create(&manager, &dir.path("a.db"), Some(&full)).await.unwrap();
    let two = create(&manager, &dir.path("a.db"), Some(&one)).await.unwrap();
    let sibling = create(&manager, &dir.path("a.db"), Some(&full)).await.unwrap();
    assert_eq!(manager.chain(&two.id).await.unwrap(), [two, one.clone(), full.clone()]);
    assert_eq!(manager.chain(&sibling.id).await.unwrap(), [sibling, full.clone()]);
    assert_eq!(manager.chain(&full.id).await.unwrap(), std::slice::from_ref(&full));

    std::fs::remove_dir_all(dir.snapshots().join(format!("snapshot-{}", full.id))).unwrap();
    assert_eq!(manager.chain(&full.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = manager.chain(&one.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains(&full.id), "{error}");
}

#[tokio::test]
async fn a_pin_is_shown_by_list_chain_and_get() {
    let dir = TestDir::new();
    let manager = dir.manager();
    make_database(&dir.path("a.db"), 100, 4, 1);
    let full = create(&manager, &dir.path("a.db"), None).await.unwrap();
    let one = create(&manager, &dir.path("a.db"), Some(&full)).await.unwrap();
    for pinned in [true, false] {
        // Repeating the operation changes nothing.
        for _ in 0..2 {
            match pinned {
                true => manager.pin_snapshot(&full.id).await.unwrap(),
                false => manager.unpin_snapshot(&full.id).await.unwrap(),
            }
        }
        let pinned_flags =
            |snapshots: Vec<Snapshot>| snapshots.iter().map(|snapshot| snapshot.pinned).collect::<Vec<_>>();
        assert_eq!(pinned_flags(manager.list_snapshots().await.unwrap()), [false, pinned]);
        assert_eq!(pinned_flags(manager.chain(&one.id).await.unwrap()), [false, pinned]);
        assert_eq!(manager.get_snapshot(&full.id).await.unwrap().unwrap().pinned, pinned);
    }
}
