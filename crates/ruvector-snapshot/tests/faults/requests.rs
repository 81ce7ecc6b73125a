//! How many requests a verb costs. A change of these numbers is a change of what users pay and wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ruvector_snapshot::SnapshotManager;
use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::fault::{Call, FaultStore, Moment, Steps};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};

use crate::bench::{Bench, create, key};
use crate::common::stored::edit;

/// How often each call was made, without those that never were.
fn requests(steps: &Steps) -> BTreeMap<Call, usize> {
    let mut counts = BTreeMap::new();
    for step in steps.log().into_iter().filter(|step| step.moment == Moment::Before) {
        *counts.entry(step.call).or_default() += 1;
    }
    counts
}

fn counting(bench: &Bench, store: &Arc<dyn SnapshotStore>) -> (SnapshotManager, Arc<Steps>) {
    let (store, steps) = FaultStore::over(store.clone(), []);
    (SnapshotManager::with_store(bench.place.config(), store).unwrap(), steps)
}

/// Puts the files of one snapshot under 1,000 ids.
async fn a_thousand(bench: &Bench) -> Arc<dyn SnapshotStore> {
    let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
    let first = &bench.ids[0];
    for number in 0..1000 {
        let id = format!("{}-{number:016x}", &first[..19]);
        for file in layout::FILES {
            let bytes = bench.objects[&key(first, file)].clone();
            let bytes = match file {
                layout::METADATA_JSON => Bytes::from(edit(&bytes, |json| json["id"] = id.clone().into())),
                _ => bytes,
            };
            store.create(&key(&id, file), bytes).await.unwrap();
        }
    }
    store
}

#[tokio::test]
async fn a_list_of_1000_snapshots_takes_one_listing_and_1000_reads() {
    let bench = Bench::new().await;
    let store = a_thousand(&bench).await;
    let (manager, steps) = counting(&bench, &store);
    assert_eq!(manager.list_snapshots().await.unwrap().len(), 1000);
    assert_eq!(requests(&steps), BTreeMap::from([(Call::List, 1), (Call::Get, 1000)]));
    let read: BTreeSet<_> =
        steps.log().into_iter().filter(|step| step.call == Call::Get).map(|step| step.key).collect();
    assert_eq!(read.len(), 1000);
    assert!(read.iter().all(|key| key.ends_with("/metadata.json")));
}

#[tokio::test]
async fn a_create_of_a_small_database() {
    let bench = Bench::new().await;
    let (manager, steps) = counting(&bench, &open(&Location::Memory, &StoreConfig::default()).unwrap());
    create(&bench, &manager).await.unwrap();
    let expected = [
        // Whether the id is free, and the size of each data file.
        (Call::Head, 1 + 3),
        (Call::Upload, 3),
        // The pieces of the one block, the three sections: buffered, and sent as one request by the finish.
        (Call::Write, 3 + 3),
        (Call::Finish, 3),
        // checksum.sha256 and metadata.json.
        (Call::Create, 2),
        // Whether it was swept in the meantime, before the commit and after it: the marks, then the files.
        (Call::List, 2 * 2),
    ];
    assert_eq!(requests(&steps), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_verify_of_a_small_snapshot() {
    let bench = Bench::new().await;
    let run = bench.run([]).await;
    assert!(run.manager.verify_snapshot(&bench.ids[0]).await.unwrap());
    let expected = [
        // metadata.json and checksum.sha256.
        (Call::Get, 2),
        // The size of each data file.
        (Call::Head, 3),
        // Three sections, the pieces of the one block, and the end of the index file, where the sections are.
        (Call::GetRange, 3 + 3 + 1),
    ];
    assert_eq!(requests(&run.steps), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_restore_of_a_small_snapshot() {
    let bench = Bench::new().await;
    // metadata.json, two sections, and the pieces of the one block.
    let expected = BTreeMap::from([(Call::Get, 1), (Call::GetRange, 2 + 3)]);
    let run = bench.run([]).await;
    run.manager.restore_snapshot(&bench.ids[0]).await.unwrap();
    assert_eq!(requests(&run.steps), expected);
    let run = bench.run([]).await;
    run.manager.restore_snapshot_to(&bench.ids[0], bench.place.restored(), &Default::default()).await.unwrap();
    assert_eq!(requests(&run.steps), expected);
}

#[tokio::test]
async fn a_delete_and_a_clean_up() {
    let bench = Bench::new().await;
    let run = bench.run([]).await;
    run.manager.delete_snapshot(&bench.ids[0]).await.unwrap();
    // A look at the three snapshots that are there, one at the commit, the mark, the same look again, one at the mark,
    // five files and the mark.
    let expected = [(Call::List, 2), (Call::Get, 6), (Call::Head, 2), (Call::Create, 1), (Call::Delete, 5 + 1)];
    assert_eq!(requests(&run.steps), BTreeMap::from(expected));
    let run = bench.run([]).await;
    assert_eq!(run.manager.cleanup_old_snapshots(1).await.unwrap(), 2);
    let expected = [(Call::List, 2), (Call::Get, 6), (Call::Head, 4), (Call::Create, 2), (Call::Delete, 2 * (5 + 1))];
    assert_eq!(requests(&run.steps), BTreeMap::from(expected));
}
