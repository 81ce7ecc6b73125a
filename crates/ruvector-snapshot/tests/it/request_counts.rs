//! The number of requests of each operation. A change of these numbers changes what users pay and how long they wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ruvector_snapshot::SnapshotManager;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Call, FaultStore, Steps};
use ruvector_snapshot_format::layout;
use test_fixtures::{edit_metadata, memory_store};

use crate::common::count_calls;
use crate::common::three_snapshots::{ThreeSnapshots, key};

/// Returns a manager over a store, and the log of its calls.
fn manager_with_log(fixture: &ThreeSnapshots, store: Arc<dyn SnapshotStore>) -> (SnapshotManager, Arc<Steps>) {
    let (store, steps) = FaultStore::over(store, []);
    (fixture.dir.manager_with_store(store), steps)
}

/// Stores copies of one snapshot under 1,000 ids.
async fn store_with_1000_snapshots(fixture: &ThreeSnapshots) -> Arc<dyn SnapshotStore> {
    let store = memory_store();
    let first = &fixture.ids[0];
    for number in 0..1000 {
        let id = format!("{}-{number:016x}", &first[..19]);
        for file in layout::FILES {
            let bytes = fixture.objects[&key(first, file)].clone();
            let bytes = match file {
                layout::METADATA_JSON => Bytes::from(edit_metadata(&bytes, |json| json["id"] = id.clone().into())),
                _ => bytes,
            };
            store.create(&key(&id, file), bytes).await.unwrap();
        }
    }
    store
}

#[tokio::test]
async fn a_list_of_1000_snapshots_takes_one_listing_and_1000_reads() {
    let fixture = ThreeSnapshots::new().await;
    let (manager, steps) = manager_with_log(&fixture, store_with_1000_snapshots(&fixture).await);
    assert_eq!(manager.list_snapshots().await.unwrap().len(), 1000);
    assert_eq!(count_calls(&steps.log()), BTreeMap::from([(Call::List, 1), (Call::Get, 1000)]));
    let read: BTreeSet<_> =
        steps.log().into_iter().filter(|step| step.call == Call::Get).map(|step| step.key).collect();
    assert_eq!(read.len(), 1000);
    assert!(read.iter().all(|key| key.ends_with("/metadata.json")));
}

#[tokio::test]
async fn a_create_makes_a_known_number_of_requests() {
    let fixture = ThreeSnapshots::new().await;
    let (manager, steps) = manager_with_log(&fixture, memory_store());
    fixture.create_fourth(&manager).await.unwrap();
    let expected = [
        // Whether the id is free, and the size of each data file.
        (Call::Head, 1 + 3),
        (Call::Upload, 3),
        // The pieces of the one block, and the sections. They are buffered; the finish sends them as one request.
        (Call::Write, 3 + 1),
        (Call::Finish, 3),
        // checksum.sha256 and metadata.json.
        (Call::Create, 2),
        // Whether the upload was collected meanwhile, before and after the commit: the markers, then the files.
        (Call::List, 2 * 2),
    ];
    assert_eq!(count_calls(&steps.log()), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_verify_makes_a_known_number_of_requests() {
    let fixture = ThreeSnapshots::new().await;
    let (manager, steps) = manager_with_log(&fixture, fixture.new_store().await);
    assert!(manager.verify_snapshot(&fixture.ids[0]).await.unwrap());
    let expected = [
        // metadata.json and checksum.sha256.
        (Call::Get, 2),
        // The size of each data file, and whether the snapshot is still there when its entry is written.
        (Call::Head, 3 + 1),
        (Call::Create, 1),
        // The names of the annotations.
        (Call::List, 1),
        // Three sections, the pieces of the one block, and the end of the index file, which holds the sections.
        (Call::GetRange, 3 + 3 + 1),
    ];
    assert_eq!(count_calls(&steps.log()), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_restore_makes_a_known_number_of_requests() {
    let fixture = ThreeSnapshots::new().await;
    // metadata.json, the names of the ledger entries, two sections, and the pieces of the one block.
    let expected = BTreeMap::from([(Call::Get, 1), (Call::List, 1), (Call::GetRange, 2 + 3)]);
    let (manager, steps) = manager_with_log(&fixture, fixture.new_store().await);
    manager.restore_snapshot(&fixture.ids[0]).await.unwrap();
    assert_eq!(count_calls(&steps.log()), expected);
    let (manager, steps) = manager_with_log(&fixture, fixture.new_store().await);
    manager.restore_snapshot_to(&fixture.ids[0], fixture.dir.restored(), &Default::default()).await.unwrap();
    assert_eq!(count_calls(&steps.log()), expected);
}

#[tokio::test]
async fn a_delete_and_a_cleanup_make_a_known_number_of_requests() {
    let fixture = ThreeSnapshots::new().await;
    let (manager, steps) = manager_with_log(&fixture, fixture.new_store().await);
    manager.delete_snapshot(&fixture.ids[0]).await.unwrap();
    // Reads the three snapshots and checks the metadata.json, writes the marker, reads and checks both again, and
    // deletes the five files and the marker.
    let expected = [(Call::List, 2), (Call::Get, 6), (Call::Head, 2), (Call::Create, 1), (Call::Delete, 5 + 1)];
    assert_eq!(count_calls(&steps.log()), BTreeMap::from(expected));
    let (manager, steps) = manager_with_log(&fixture, fixture.new_store().await);
    assert_eq!(manager.cleanup_old_snapshots(1).await.unwrap(), 2);
    let expected = [(Call::List, 2), (Call::Get, 6), (Call::Head, 4), (Call::Create, 2), (Call::Delete, 2 * (5 + 1))];
    assert_eq!(count_calls(&steps.log()), BTreeMap::from(expected));
}
