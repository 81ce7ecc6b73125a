//! Verbs at the same time, in one store: nobody sees damage that is not there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Place, make_database, names, records_of_file};
use ruvector_snapshot::store::fault::{Action, Call, Fault, FaultStore, Moment, Steps};
use ruvector_snapshot::store::{Location, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, ErrorKind, RestoreOptions, SnapshotManager, VerifyOptions};

async fn place_with_database() -> (Place, SnapshotManager) {
    let place = Place::new();
    drop(make_database(&place.path("a.db"), 60, 4, 1));
    let manager = place.manager();
    (place, manager)
}

async fn create(place: &Place, manager: &SnapshotManager, name: &str) -> String {
    let created = manager.create_snapshot_of_file(place.path("a.db"), name, &CreateOptions::default()).await;
    created.unwrap().id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_at_once_make_a_snapshot_each() {
    let (place, manager) = place_with_database().await;
    let other = place.manager();
    let (a, b, c) =
        tokio::join!(create(&place, &manager, "a"), create(&place, &manager, "a"), create(&place, &other, "c"));
    let mut ids = vec![a, b, c];
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    for id in &ids {
        assert!(manager.verify_snapshot(id).await.unwrap());
    }
    assert_eq!(names(&place.snapshots()).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_verbs_at_once() {
    const ROUNDS: usize = 15;
    let (place, manager) = place_with_database().await;
    let kept = create(&place, &manager, "kept").await;
    let ended = AtomicBool::new(false);
    let churn = async {
        for _ in 0..ROUNDS {
            let id = create(&place, &manager, "passing").await;
            manager.delete_snapshot(&id).await.unwrap();
        }
        ended.store(true, Ordering::SeqCst);
    };
    let watch = async {
        while !ended.load(Ordering::SeqCst) {
            let listing = place.manager().list().await.unwrap();
            assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
            assert!(listing.snapshots.iter().any(|snapshot| snapshot.id == kept));
            for snapshot in &listing.snapshots {
                match manager.verify_snapshot_with(&snapshot.id, &VerifyOptions::default()).await {
                    Ok(report) => assert!(report.is_whole(), "{:?}", report.damage),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
                }
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(churn, watch);
    assert_eq!(names(&place.snapshots()), [format!("snapshot-{kept}")]);
}

/// A manager in whose way a snapshot is deleted, by somebody else, at a step.
fn deleted_at(place: &Place, manager: &SnapshotManager, id: &str, at: usize) -> (SnapshotManager, Arc<Steps>) {
    let (other, id) = (manager.clone(), id.to_owned());
    let delete = move || {
        let (other, id) = (other.clone(), id.clone());
        async move { other.delete_snapshot(&id).await.unwrap() }
    };
    let local = open(&Location::Local(place.snapshots()), &StoreConfig::default()).unwrap();
    let (store, steps) = FaultStore::over(local, [(at, Fault::Do(Action::new(delete)))]);
    (SnapshotManager::with_store(place.config(), store).unwrap(), steps)
}

#[tokio::test]
async fn a_snapshot_deleted_at_any_step_of_verify() {
    let (place, manager) = place_with_database().await;
    for at in 0.. {
        let id = create(&place, &manager, "doomed").await;
        let (meanwhile, steps) = deleted_at(&place, &manager, &id, at);
        match meanwhile.verify_snapshot_with(&id, &VerifyOptions::default()).await {
            Ok(report) => assert!(report.is_whole(), "{:?}: {:?}", steps.at(at), report.damage),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{:?}: {error:?}", steps.at(at)),
        }
        if steps.at(at).is_none() {
            assert!(at > 10, "only {at} steps");
            break;
        }
    }
}

#[tokio::test]
async fn a_snapshot_deleted_at_any_step_of_restore() {
    let (place, manager) = place_with_database().await;
    let expected = records_of_file(&place.path("a.db"));
    for at in 0.. {
        let id = create(&place, &manager, "doomed").await;
        let (meanwhile, steps) = deleted_at(&place, &manager, &id, at);
        match meanwhile.restore_snapshot_to(&id, place.restored(), &RestoreOptions::default()).await {
            Ok(_) => {
                assert!(records_of_file(&place.restored()) == expected, "{:?}", steps.at(at));
                std::fs::remove_file(place.restored()).unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{:?}: {error:?}", steps.at(at)),
        }
        place.assert_nothing_restored();
        if steps.at(at).is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn a_snapshot_deleted_at_any_step_of_list_get_and_delete() {
    let (place, manager) = place_with_database().await;
    let kept = create(&place, &manager, "kept").await;
    for at in 0.. {
        let doomed = create(&place, &manager, "doomed").await;
        let (meanwhile, steps) = deleted_at(&place, &manager, &doomed, at);
        let listing = meanwhile.list().await.unwrap();
        assert!(listing.damaged.is_empty(), "{:?}: {:?}", steps.at(at), listing.damaged);
        assert!(listing.snapshots.iter().any(|snapshot| snapshot.id == kept), "{:?}", steps.at(at));
        if steps.at(at).is_none() {
            manager.delete_snapshot(&doomed).await.unwrap();
            break;
        }
    }
    for at in 0.. {
        let doomed = create(&place, &manager, "doomed").await;
        let (meanwhile, steps) = deleted_at(&place, &manager, &doomed, at);
        assert!(meanwhile.get_snapshot(&doomed).await.is_ok(), "{:?}", steps.at(at));
        if steps.at(at).is_none() {
            manager.delete_snapshot(&doomed).await.unwrap();
            break;
        }
    }
    // Two that delete the same snapshot: both succeed, or the later one finds none.
    for at in 0..2 {
        let doomed = create(&place, &manager, "doomed").await;
        let (meanwhile, steps) = deleted_at(&place, &manager, &doomed, at);
        let answer = meanwhile.delete_snapshot(&doomed).await;
        assert!(answer.is_ok() || answer.unwrap_err().kind() == ErrorKind::NotFound, "{:?}", steps.at(at));
    }
    assert_eq!(names(&place.snapshots()), [format!("snapshot-{kept}")]);
}

/// A file is missing from the listing and from the store, because a delete is under way: that is no damage.
#[tokio::test]
async fn a_file_that_went_with_its_snapshot_is_no_damage() {
    let (place, manager) = place_with_database().await;
    for at in 0.. {
        let doomed = create(&place, &manager, "doomed").await;
        std::fs::remove_file(place.snapshots().join(format!("snapshot-{doomed}/vectors.bin.gz"))).unwrap();
        let (meanwhile, steps) = deleted_at(&place, &manager, &doomed, at);
        let damaged: Vec<_> = meanwhile.list().await.unwrap().damaged.into_iter().map(|damaged| damaged.id).collect();
        let Some(step) = steps.at(at) else {
            assert_eq!(damaged, [doomed], "nobody deleted it");
            break;
        };
        let last_look = step.moment == Moment::After && step.call == Call::Head && step.key.ends_with("metadata.json");
        assert_eq!(damaged.len(), usize::from(last_look), "{step}");
    }
}

#[tokio::test]
async fn a_clean_up_counts_what_it_deleted_itself() {
    let (place, manager) = place_with_database().await;
    for name in ["a", "b", "c", "d"] {
        create(&place, &manager, name).await;
    }
    let plan = manager.plan_cleanup(2).await.unwrap();
    let dropped: Vec<_> = plan.drop.iter().map(|dropped| dropped.snapshot.name.as_str()).collect();
    assert_eq!(dropped, ["b", "a"]);
    manager.delete_snapshot(&plan.drop[0].snapshot.id).await.unwrap();
    let done = manager.carry_out(&plan).await.unwrap();
    assert_eq!((done.gone, done.kept), (vec![plan.drop[1].snapshot.id.clone()], Vec::new()));
    let left: Vec<_> = manager.list_snapshots().await.unwrap().into_iter().map(|snapshot| snapshot.name).collect();
    assert_eq!(left, ["d", "c"]);
    assert_eq!(manager.cleanup_old_snapshots(0).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(manager.cleanup_old_snapshots(usize::MAX).await.unwrap(), 0);
}
