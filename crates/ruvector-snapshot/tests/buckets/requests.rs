//! How many requests a verb costs, counted on the wire. A change of these numbers is a change of what users pay and
//! wait for; `faults/requests.rs` has the calls of the store that they come from.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ruvector_snapshot::RestoreOptions;
use ruvector_snapshot::format::layout;
use test_servers::{Fault, Request};

use crate::common::Place;
use crate::common::stored::edit;
use crate::stores::{SERVERS, Server, create, make_large, make_small, objects};

fn name(request: &Request) -> &'static str {
    type Is = fn(&Request) -> bool;
    let names: [(&str, Is); 9] = [
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

/// How many there were of each since the last time this was asked.
fn counted(server: &Server) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for request in server.wire().requests() {
        *counts.entry(name(&request)).or_default() += 1;
    }
    server.wire().forget();
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_of_a_small_snapshot() {
    let place = Place::new();
    let database = make_small(&place, "small.db", 20);
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&place, &[]);
        let made = create(&manager, &database, "small").await.unwrap();
        // Whether the id is free, and three sizes; three files, checksum.sha256 and metadata.json; two looks before the commit and after it.
        assert_eq!(counted(&server), BTreeMap::from([("head", 4), ("put", 5), ("list", 4)]));
        assert!(manager.verify_snapshot(&made.id).await.unwrap());
        // metadata.json, checksum.sha256, three sections, three pieces of the one block and the end of the index file;
        // three sizes.
        assert_eq!(counted(&server), BTreeMap::from([("get", 9), ("head", 3)]));
        manager.restore_snapshot_to(&made.id, place.restored(), &RestoreOptions::default()).await.unwrap();
        std::fs::remove_file(place.restored()).unwrap();
        assert_eq!(counted(&server), BTreeMap::from([("get", 6)]));
        manager.list().await.unwrap();
        assert_eq!(counted(&server), BTreeMap::from([("list", 1), ("get", 1)]));
        manager.get_snapshot(&made.id).await.unwrap();
        assert_eq!(counted(&server), BTreeMap::from([("get", 1), ("head", 1)]));
        manager.delete_snapshot(&made.id).await.unwrap();
        // Once to plan and once after the mark was put, a look at the snapshot and at the mark; the five files and the mark.
        let expected = [("list", 2), ("get", 2), ("head", 2), ("put", 1), ("delete", 6)];
        assert_eq!(counted(&server), BTreeMap::from(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_of_several_parts() {
    let place = Place::new();
    let database = make_large(&place);
    for start in SERVERS {
        let server = start();
        create(&server.manager(&place, &[]), &database, "large").await.unwrap();
        let expected = [("head", 4), ("initiate", 1), ("part", 2), ("complete", 1), ("put", 4), ("list", 4)];
        assert_eq!(counted(&server), BTreeMap::from(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_1000_snapshots() {
    let place = Place::new();
    let database = make_small(&place, "small.db", 3);
    let server = Server::s3();
    let manager = server.manager(&place, &[]);
    let made = create(&manager, &database, "first").await.unwrap();
    let store = server.open_wide(16);
    let first = objects(store.as_ref()).await;
    manager.delete_snapshot(&made.id).await.unwrap();
    let ids = (0..1000).map(|number| format!("{}-{number:016x}", &made.id[..19]));
    let copies = ids.flat_map(|id| {
        let copy = |file: &str| {
            let bytes = first[&layout::key(&made.id.parse().unwrap(), file)].clone();
            let bytes = match file {
                layout::METADATA_JSON => Bytes::from(edit(&bytes, |json| json["id"] = id.clone().into())),
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
    server.wire().forget();

    assert_eq!(manager.list_snapshots().await.unwrap().len(), 1000);
    // 5,000 keys, of which a page has 1,000, and every metadata.json.
    assert_eq!(counted(&server), BTreeMap::from([("list", 5), ("get", 1000)]));

    // An answer that breaks off is asked for again, and what came before it is told once.
    server.wire().set(|_, number| (number == 2).then_some(Fault::Truncate(1000)));
    let keys: Vec<_> = store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    assert_eq!((keys.len(), keys.into_iter().collect::<BTreeSet<_>>().len()), (5000, 5000));
    assert_eq!(counted(&server), BTreeMap::from([("list", 3 + 5)]));
}
