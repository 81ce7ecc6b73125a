//! The number of HTTP requests of each operation. A change of these numbers changes what users pay and how long they
//! wait. The calls of the store that cause them are counted in the `it` binary.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ruvector_snapshot::RestoreOptions;
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, create_full, edit_metadata, objects};
use test_servers::{Fault, Request};

use super::fixture::{SERVERS, Server, make_large, make_small};

fn name(request: &Request) -> &'static str {
    type Is = fn(&Request) -> bool;
    let names: [(&str, Is); 10] = [
        ("list uploads", |request| request.parameter("uploads").is_some() && request.method == "GET"),
        ("list", Request::is_list),
        ("get", Request::is_get),
        ("head", Request::is_head),
        ("put", Request::is_put),
        ("initiate", Request::is_initiate),
        ("part", Request::is_part_upload),
        ("complete", Request::is_complete),
        ("abort", Request::is_abort),
        ("delete", Request::is_delete),
    ];
    names.into_iter().find(|(_, is_one)| is_one(request)).map_or("another", |(name, _)| name)
}

/// Returns the number of requests of each kind since the last call.
fn take_counts(server: &Server) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for request in server.wire().requests() {
        *counts.entry(name(&request)).or_default() += 1;
    }
    server.wire().reset_log();
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_on_a_small_snapshot_make_a_known_number_of_requests() {
    let dir = TestDir::new();
    let database = make_small(&dir, "small.db", 20);
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&dir, &[]);
        let made = create_full(&manager, &database, "small").await.unwrap();
        // Whether the id is free, and three sizes. Three files, checksum.sha256 and metadata.json. Two listings before
        // and after the commit.
        assert_eq!(take_counts(&server), BTreeMap::from([("head", 4), ("put", 5), ("list", 4)]));
        assert!(manager.verify_snapshot(&made.id).await.unwrap());
        // metadata.json, checksum.sha256, three sections, three pieces of the one block and the end of the index file;
        // three sizes; whether the snapshot is still there, and the entry of its ledger. The listing has the annotations.
        assert_eq!(take_counts(&server), BTreeMap::from([("get", 9), ("head", 4), ("put", 1), ("list", 1)]));
        manager.restore_snapshot_to(&made.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        std::fs::remove_file(dir.restored()).unwrap();
        // The listing has the ledger: whether it was found corrupt.
        assert_eq!(take_counts(&server), BTreeMap::from([("get", 6), ("list", 1)]));
        manager.list().await.unwrap();
        assert_eq!(take_counts(&server), BTreeMap::from([("list", 1), ("list uploads", 1), ("get", 1)]));
        manager.get_snapshot(&made.id).await.unwrap();
        // The listing of its prefix names the pin and the annotations.
        assert_eq!(take_counts(&server), BTreeMap::from([("get", 1), ("list", 1)]));
        manager.delete_snapshot(&made.id).await.unwrap();
        // An inventory for the plan and one after the marker, checks of the snapshot and of the marker, the five files,
        // the entry and the marker.
        let expected = [("list", 2), ("get", 2), ("head", 2), ("put", 1), ("delete", 7)];
        assert_eq!(take_counts(&server), BTreeMap::from(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipart_create_makes_a_known_number_of_requests() {
    let dir = TestDir::new();
    let database = make_large(&dir);
    for start in SERVERS {
        let server = start();
        create_full(&server.manager(&dir, &[]), &database, "large").await.unwrap();
        let expected = [("head", 4), ("initiate", 1), ("part", 2), ("complete", 1), ("put", 4), ("list", 4)];
        assert_eq!(take_counts(&server), BTreeMap::from(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_1000_snapshots_takes_five_pages_and_1000_reads() {
    let dir = TestDir::new();
    let database = make_small(&dir, "small.db", 3);
    let server = Server::s3();
    let manager = server.manager(&dir, &[]);
    let made = create_full(&manager, &database, "first").await.unwrap();
    let store = server.open_wide(16);
    let first = objects(store.as_ref()).await;
    manager.delete_snapshot(&made.id).await.unwrap();
    let ids = (0..1000).map(|number| format!("{}-{number:016x}", &made.id[..19]));
    let copies = ids.flat_map(|id| {
        let copy = |file: &str| {
            let bytes = first[&layout::key(&made.id.parse().unwrap(), file)].clone();
            let bytes = match file {
                layout::METADATA_JSON => Bytes::from(edit_metadata(&bytes, |json| json["id"] = id.clone().into())),
                _ => bytes,
            };
            (layout::key(&id.parse().unwrap(), file), bytes)
        };
        layout::FILES.map(copy)
    });
    let copying = stream::iter(copies.collect::<Vec<_>>()).map(|(key, bytes)| {
        let store = store.clone();
        async move { store.create(&key, bytes).await }
    });
    copying.buffer_unordered(16).try_collect::<Vec<()>>().await.unwrap();
    server.wire().reset_log();

    assert_eq!(manager.list_snapshots().await.unwrap().len(), 1000);
    // 5,000 keys in pages of 1,000, and every metadata.json.
    assert_eq!(take_counts(&server), BTreeMap::from([("list", 5), ("get", 1000)]));

    // A truncated page is requested again, and no key is returned twice.
    server.wire().set(|_, number| (number == 2).then_some(Fault::Truncate(1000)));
    let keys: Vec<_> = store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    assert_eq!((keys.len(), keys.into_iter().collect::<BTreeSet<_>>().len()), (5000, 5000));
    assert_eq!(take_counts(&server), BTreeMap::from([("list", 3 + 5)]));
}
