//! A server that stays away from one request of a verb on: an error that says what and where, in bounded time, and
//! nothing that was committed before is lost. When it comes back, so do the verbs.

use std::fmt::Debug;

use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotError};
use test_servers::Fault;
use tokio::time::timeout;

use crate::common::Place;
use crate::stores::{PATIENCE, SERVERS, Server, create, ids, make_large, make_small, whole_text};

const IMPATIENT: &[(&str, &str)] = &[("retry_timeout", "300ms"), ("stall_timeout", "2s")];
/// The server answers no request any more from the one of this number on.
fn fail_from(server: &Server, at: usize, fault: &Fault) {
    let fault = fault.clone();
    server.wire().set(move |_, number| (number >= at).then(|| fault.clone()));
}

/// It ends, and in an error that says what and where.
async fn fails<T: Debug>(what: &str, verb: impl Future<Output = Result<T, SnapshotError>>) {
    let ended = timeout(PATIENCE, verb).await.unwrap_or_else(|_| panic!("{what}: it does not end"));
    let error = &ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error:?}");
    let is_listing = error.message().starts_with("cannot list");
    assert!(is_listing || error.key().is_some_and(|key| key.contains("snapshot-")), "{what}: {error:?}");
    assert!(!whole_text(error).contains("test-servers-"), "{what}: {error:?}");
}

async fn create_fails(start: fn() -> Server, is_large: bool, at: usize, fault: Fault) {
    let what = format!("{fault:?} from request {at} on");
    let (server, place) = (start(), Place::new());
    let small = make_small(&place, "small.db", 20);
    let database = if is_large { make_large(&place) } else { make_small(&place, "other.db", 30) };
    let healthy = server.manager(&place, &[]);
    let kept = create(&healthy, &small, "kept").await.unwrap().id;
    let manager = server.manager(&place, IMPATIENT);
    fail_from(&server, at, &fault);
    fails(&what, create(&manager, &database, "new")).await;
    manager.settle().await;

    server.wire().clear();
    let listing = healthy.list().await.unwrap();
    assert_eq!(ids(&listing), [kept.as_str()].into(), "{what}");
    assert!(listing.damaged.is_empty(), "{what}: {listing:?}");
    let next = create(&manager, &database, "next").await.unwrap();
    assert!(manager.verify_snapshot(&next.id).await.unwrap(), "{what}");
    assert!(manager.verify_snapshot(&kept).await.unwrap(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create() {
    let mut cases = Vec::new();
    for start in SERVERS {
        for fault in [Fault::ResetBefore, Fault::Status(500), Fault::Hang] {
            // A look at the id, a file, a size, checksum.sha256, and the commit.
            cases.extend([0, 2, 5, 7, 8].map(|at| create_fails(start, false, at, fault.clone()).boxed()));
        }
        // A part, and the completion.
        cases.extend([2, 6].map(|at| create_fails(start, true, at, Fault::Status(503)).boxed()));
    }
    stream::iter(cases).buffer_unordered(20).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_that_read_and_delete() {
    let mut cases = Vec::new();
    for start in SERVERS {
        for fault in [Fault::ResetBefore, Fault::ResetAfter, Fault::StatusAfter(500), Fault::Truncate(0)] {
            cases.push(reads_fail(start, fault).boxed());
        }
    }
    stream::iter(cases).buffer_unordered(20).collect::<()>().await;
}

async fn reads_fail(start: fn() -> Server, fault: Fault) {
    let (server, place) = (start(), Place::new());
    let database = make_small(&place, "small.db", 20);
    let made = create(&server.manager(&place, &[]), &database, "kept").await.unwrap();
    let manager = server.manager(&place, IMPATIENT);
    for at in [0, 3] {
        let what = format!("{fault:?} from request {at} on");
        fail_from(&server, at, &fault);
        fails(&what, manager.verify_snapshot(&made.id)).await;
        fail_from(&server, at, &fault);
        let options = RestoreOptions::default();
        fails(&what, manager.restore_snapshot_to(&made.id, place.restored(), &options)).await;
        place.assert_nothing_restored();
    }
    fail_from(&server, 0, &fault);
    let what = format!("{fault:?}");
    fails(&what, manager.list()).await;
    fails(&what, manager.delete_snapshot(&made.id)).await;
    server.wire().clear();
    assert!(manager.verify_snapshot(&made.id).await.unwrap());
    manager.delete_snapshot(&made.id).await.unwrap();
}
