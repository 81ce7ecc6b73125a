//! A server that fails from one request of an operation on: the operation fails in bounded time with an error that
//! names the object, and committed snapshots are kept. After the outage every operation works again.

use std::fmt::Debug;

use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotError};
use test_fixtures::{TestDir, create_full};
use test_servers::Fault;
use tokio::time::timeout;

use super::fixture::{HANG_TIMEOUT, SERVERS, Server, full_text, ids, make_large, make_small};

const SHORT_TIMEOUTS: &[(&str, &str)] = &[("retry_timeout", "300ms"), ("stall_timeout", "2s")];

/// Injects the fault into every request from this number on.
fn fail_from(server: &Server, at: usize, fault: &Fault) {
    let fault = fault.clone();
    server.wire().set(move |_, number| (number >= at).then(|| fault.clone()));
}

/// Asserts that an operation fails in time, as unavailable, with an error that names the object.
async fn assert_fails<T: Debug>(what: &str, operation: impl Future<Output = Result<T, SnapshotError>>) {
    let ended = timeout(HANG_TIMEOUT, operation).await.unwrap_or_else(|_| panic!("{what}: it did not end"));
    let error = &ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error:?}");
    let is_listing = error.message().starts_with("cannot list");
    assert!(is_listing || error.key().is_some_and(|key| key.contains("snapshot-")), "{what}: {error:?}");
    assert!(!full_text(error).contains("test-servers-"), "{what}: {error:?}");
}

async fn assert_create_fails(start: fn() -> Server, is_large: bool, at: usize, fault: Fault) {
    let what = format!("{fault:?} from request {at} on");
    let (server, dir) = (start(), TestDir::new());
    let small = make_small(&dir, "small.db", 20);
    let database = if is_large { make_large(&dir) } else { make_small(&dir, "other.db", 30) };
    let healthy = server.manager(&dir, &[]);
    let kept = create_full(&healthy, &small, "kept").await.unwrap().id;
    let manager = server.manager(&dir, SHORT_TIMEOUTS);
    fail_from(&server, at, &fault);
    assert_fails(&what, create_full(&manager, &database, "new")).await;
    manager.wait_for_cleanup().await;

    server.wire().clear();
    let listing = healthy.list().await.unwrap();
    assert_eq!(ids(&listing), [kept.as_str()].into(), "{what}");
    assert!(listing.unusable.is_empty(), "{what}: {listing:?}");
    let next = create_full(&manager, &database, "next").await.unwrap();
    assert!(manager.verify_snapshot(&next.id).await.unwrap(), "{what}");
    assert!(manager.verify_snapshot(&kept).await.unwrap(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_fails_in_time_and_works_again_after_the_outage() {
    let mut cases = Vec::new();
    for start in SERVERS {
        for fault in [Fault::ResetBefore, Fault::Status(500), Fault::Hang] {
            // The check of the id, a file, a size, checksum.sha256, and the commit.
            cases.extend([0, 2, 5, 7, 8].map(|at| assert_create_fails(start, false, at, fault.clone()).boxed()));
        }
        // A part, and the completion.
        cases.extend([2, 6].map(|at| assert_create_fails(start, true, at, Fault::Status(503)).boxed()));
    }
    stream::iter(cases).buffer_unordered(20).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_deletes_fail_in_time_and_work_again_after_the_outage() {
    let mut cases = Vec::new();
    for start in SERVERS {
        for fault in [Fault::ResetBefore, Fault::ResetAfter, Fault::StatusAfter(500), Fault::Truncate(0)] {
            cases.push(assert_reads_fail(start, fault).boxed());
        }
    }
    stream::iter(cases).buffer_unordered(20).collect::<()>().await;
}

async fn assert_reads_fail(start: fn() -> Server, fault: Fault) {
    let (server, dir) = (start(), TestDir::new());
    let database = make_small(&dir, "small.db", 20);
    let made = create_full(&server.manager(&dir, &[]), &database, "kept").await.unwrap();
    let manager = server.manager(&dir, SHORT_TIMEOUTS);
    for at in [0, 3] {
        let what = format!("{fault:?} from request {at} on");
        fail_from(&server, at, &fault);
        assert_fails(&what, manager.verify_snapshot(&made.id)).await;
        fail_from(&server, at, &fault);
        let options = RestoreOptions::default();
        assert_fails(&what, manager.restore_snapshot_to(&made.id, dir.restored(), &options)).await;
        dir.assert_nothing_restored();
    }
    fail_from(&server, 0, &fault);
    let what = format!("{fault:?}");
    assert_fails(&what, manager.list()).await;
    assert_fails(&what, manager.delete_snapshot(&made.id)).await;
    server.wire().clear();
    assert!(manager.verify_snapshot(&made.id).await.unwrap());
    manager.delete_snapshot(&made.id).await.unwrap();
}
