//! `max_concurrent_io`, as the server sees it: the number of simultaneous requests reaches the limit and never exceeds
//! it.

use ruvector_snapshot::{RestoreOptions, SnapshotConfig, SnapshotManager};
use test_fixtures::{TestDir, create_full, records_of_file};
use test_servers::{Fault, Gate};
use tokio::time::timeout;

use super::fixture::{HANG_TIMEOUT, SERVERS, make_large, uncompressed_config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_exceeds_max_concurrent_io() {
    let dir = TestDir::new();
    let database = make_large(&dir);
    for (start, max_concurrent_io) in SERVERS.into_iter().flat_map(|start| [1, 2, 5].map(|most| (start, most))) {
        let server = start();
        let config = SnapshotConfig { max_concurrent_io, ..uncompressed_config(&dir) };
        let manager = SnapshotManager::with_store(config, server.open_wide(max_concurrent_io)).unwrap();
        let assert_within_limit = |operation: &str| {
            let most = server.wire().max_in_flight();
            assert!(
                (1..=max_concurrent_io).contains(&most),
                "{operation}: {most} requests at once, the limit is {max_concurrent_io}"
            );
            server.wire().reset_log();
        };
        let made = create_full(&manager, &database, "large").await.unwrap();
        assert_within_limit("create");
        assert!(manager.verify_snapshot(&made.id).await.unwrap());
        assert_within_limit("verify");
        manager.restore_snapshot_to(&made.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        assert_within_limit("restore");
        assert!(records_of_file(&dir.restored()) == records_of_file(&database));
        std::fs::remove_file(dir.restored()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reads_use_the_whole_limit() {
    for start in SERVERS {
        let server = start();
        let store = server.open_wide(5);
        // The first five responses wait for each other, so the five requests must be in flight at the same time.
        store.create("key", "bytes".into()).await.unwrap();
        let gate = Gate::closed();
        server.wire().set(move |_, number| {
            if number == 4 {
                gate.open();
            }
            Some(Fault::Hold(gate.clone()))
        });
        server.wire().reset_log();
        let reads = futures::future::join_all((0..20).map(|_| store.get("key", 100)));
        for read in timeout(HANG_TIMEOUT, reads).await.expect("five reads at once were not possible") {
            assert_eq!(read.unwrap(), "bytes");
        }
        assert_eq!(server.wire().max_in_flight(), 5);
    }
}
