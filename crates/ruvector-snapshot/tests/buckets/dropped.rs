//! A verb that is dropped while requests are on their way: after `settle` the bucket is as it was, whatever the server
//! had begun.

use std::time::Duration;

use ruvector_snapshot::SnapshotManager;
use test_servers::{Fault, Request};
use tokio::sync::mpsc;

use crate::common::Place;
use crate::stores::{SERVERS, Server, create, ids, keys_of, make_large, make_small};

/// Lets answers take a while, and tells of every request that came.
fn announce(server: &Server, slowed: fn(&Request) -> bool) -> mpsc::UnboundedReceiver<usize> {
    let (sender, came) = mpsc::unbounded_channel();
    server.wire().set(move |request, number| {
        let _nobody_listens_any_more = sender.send(number);
        slowed(request).then_some(Fault::Slow { chunk_bytes: usize::MAX, pause: Duration::from_millis(200) })
    });
    came
}

/// Drops the work once the request of this number has come. True where the work ended before.
async fn drop_at<T>(work: impl Future<Output = T>, came: &mut mpsc::UnboundedReceiver<usize>, at: usize) -> bool {
    let reached = async { while came.recv().await.is_some_and(|number| number < at) {} };
    tokio::select! {
        biased;
        () = reached => false,
        _ = work => true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_at_any_request() {
    let place = Place::new();
    let (small, large) = (make_small(&place, "small.db", 20), make_large(&place));
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&place, &[]);
        let kept = create(&manager, &small, "kept").await.unwrap().id;
        for at in 0.. {
            let mut came = announce(&server, |_| false);
            let has_ended = drop_at(create(&manager, &large, "dropped"), &mut came, at).await;
            manager.settle().await;
            assert_eq!(server.open_uploads(), 0, "dropped at request {at}");
            let listing = manager.list().await.unwrap();
            let held = keys_of(ids(&listing)).into_iter().map(|key| format!("backups/{key}"));
            assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), held.collect::<Vec<_>>(), "{at}");
            for id in ids(&listing).into_iter().filter(|id| *id != kept) {
                // All was sent, so that the looks at the sizes and the commit had begun, which are carried through.
                assert!(at >= 7, "a snapshot came of what was dropped at request {at}");
                assert!(manager.verify_snapshot(id).await.unwrap());
                manager.delete_snapshot(id).await.unwrap();
            }
            assert!(ids(&manager.list().await.unwrap()).contains(kept.as_str()), "{at}");
            if has_ended {
                assert_eq!(at, 16, "the requests of a create of two parts");
                break;
            }
        }
    }
}

/// The server has begun the upload, and its answer is on its way: the name in it is needed to abort it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_between_the_start_of_an_upload_and_the_answer() {
    let place = Place::new();
    let large = make_large(&place);
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&place, &[]);
        let _came = announce(&server, Request::is_initiate);
        let begun = async {
            while server.open_uploads() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            made = create(&manager, &large, "dropped") => panic!("it was not dropped: {made:?}"),
            () = begun => {}
        }
        manager.settle().await;
        assert_eq!(server.open_uploads(), 0);
        assert!(server.objects().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_the_store_at_many_requests() {
    let place = Place::new();
    for start in SERVERS {
        let server = start();
        let manager: SnapshotManager = server.manager(&place, &[]);
        // The first object, the uploads and their parts, the one that is given up, the race, and the measuring.
        for at in [0, 13, 14, 15, 21, 40] {
            let mut came = announce(&server, |_| false);
            assert!(!drop_at(manager.check_store(), &mut came, at).await, "it ended before request {at}");
            manager.settle().await;
            assert_eq!(server.open_uploads(), 0, "dropped at request {at}");
            assert!(server.objects().is_empty(), "dropped at request {at}: {:?}", server.objects().keys());
        }
    }
}
