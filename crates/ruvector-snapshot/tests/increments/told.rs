//! What a caller sees of chains and pins.

use ruvector_snapshot::{ErrorKind, Snapshot};

use crate::bench::take;
use crate::common::*;

#[tokio::test]
async fn a_chain_is_told_from_the_newest_to_the_full_one() {
    let place = Place::new();
    let manager = place.manager();
    make_database(&place.path("a.db"), 100, 4, 1);
    let full = take(&manager, &place.path("a.db"), None).await.unwrap();
    let one = take(&manager, &place.path("a.db"), Some(&full)).await.unwrap();
    let two = take(&manager, &place.path("a.db"), Some(&one)).await.unwrap();
    let beside = take(&manager, &place.path("a.db"), Some(&full)).await.unwrap();
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
    let full = take(&manager, &place.path("a.db"), None).await.unwrap();
    let one = take(&manager, &place.path("a.db"), Some(&full)).await.unwrap();
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
