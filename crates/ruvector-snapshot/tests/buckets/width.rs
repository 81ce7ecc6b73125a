//! `max_concurrent_io`, as the server sees it: so many requests are under way at the same time, and never more.

use ruvector_snapshot::{RestoreOptions, SnapshotConfig, SnapshotManager};
use test_servers::{Fault, Gate};
use tokio::time::timeout;

use crate::common::{Place, records_of_file};
use crate::stores::{PATIENCE, SERVERS, config, create, make_large};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_are_under_way_than_was_allowed() {
    let place = Place::new();
    let database = make_large(&place);
    for (start, max_concurrent_io) in SERVERS.into_iter().flat_map(|start| [1, 2, 5].map(|most| (start, most))) {
        let server = start();
        let config = SnapshotConfig { max_concurrent_io, ..config(&place) };
        let manager = SnapshotManager::with_store(config, server.open_wide(max_concurrent_io)).unwrap();
        let assert_narrow = |verb: &str| {
            let most = server.wire().most_at_once();
            assert!((1..=max_concurrent_io).contains(&most), "{verb}: {most} at once, of {max_concurrent_io}");
            server.wire().forget();
        };
        let made = create(&manager, &database, "large").await.unwrap();
        assert_narrow("create");
        assert!(manager.verify_snapshot(&made.id).await.unwrap());
        assert_narrow("verify");
        manager.restore_snapshot_to(&made.id, place.restored(), &RestoreOptions::default()).await.unwrap();
        assert_narrow("restore");
        assert!(records_of_file(&place.restored()) == records_of_file(&database));
        std::fs::remove_file(place.restored()).unwrap();
    }
}

/// The narrowest limit still lets everything through at once that is asked for at once, and a wide one is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_is_used() {
    for start in SERVERS {
        let server = start();
        let store = server.open_wide(5);
        // The first five answers wait for one another, so that they have to be under way at the same time.
        store.create("key", "bytes".into()).await.unwrap();
        let gate = Gate::closed();
        server.wire().set(move |_, number| {
            if number == 4 {
                gate.open();
            }
            Some(Fault::Hold(gate.clone()))
        });
        server.wire().forget();
        let reads = futures::future::join_all((0..20).map(|_| store.get("key", 100)));
        for read in timeout(PATIENCE, reads).await.expect("five are not let through at once") {
            assert_eq!(read.unwrap(), "bytes");
        }
        assert_eq!(server.wire().most_at_once(), 5);
    }
}
