//! Operations that are dropped while requests are in flight: after `wait_for_cleanup` the bucket is unchanged, whatever
//! the server had started.

use ruvector_snapshot::SnapshotManager;
use test_fixtures::{TestDir, create_full};
use test_servers::{Fault, Gate, Request};
use tokio::sync::mpsc;

use super::fixture::{SERVERS, Server, ids, keys_of, make_large, make_small};

/// Responses that are held back until the gate opens, so that the operation makes no progress before it is dropped.
struct HeldResponses {
    gate: Gate,
    arrived: mpsc::UnboundedReceiver<()>,
}

impl HeldResponses {
    /// Holds back the responses to the requests that `which` selects.
    fn new(server: &Server, which: impl Fn(&Request, usize) -> bool + Send + 'static) -> Self {
        let (gate, (sender, arrived)) = (Gate::closed(), mpsc::unbounded_channel());
        let held = gate.clone();
        server.wire().set(move |request, number| {
            which(request, number).then(|| {
                let _receiver_may_be_gone = sender.send(());
                Fault::Hold(held.clone())
            })
        });
        Self { gate, arrived }
    }

    /// Drops the work when such a request arrives, and releases the responses. Returns true if the work ended before
    /// that.
    async fn drop_work<T>(mut self, work: impl Future<Output = T>) -> bool {
        let has_ended = tokio::select! {
            biased;
            _ = self.arrived.recv() => false,
            _ = work => true,
        };
        self.gate.open();
        has_ended
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_dropped_at_any_request_is_rolled_back_or_committed() {
    let dir = TestDir::new();
    let (small, large) = (make_small(&dir, "small.db", 20), make_large(&dir));
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&dir, &[]);
        let kept = create_full(&manager, &small, "kept").await.unwrap().id;
        for at in 0.. {
            let held = HeldResponses::new(&server, move |_, number| number >= at);
            let has_ended = held.drop_work(create_full(&manager, &large, "dropped")).await;
            manager.wait_for_cleanup().await;
            assert_eq!(server.open_uploads(), 0, "dropped at request {at}");
            let listing = manager.list().await.unwrap();
            let held = keys_of(ids(&listing)).into_iter().map(|key| format!("backups/{key}"));
            assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), held.collect::<Vec<_>>(), "{at}");
            let others: Vec<_> = ids(&listing).into_iter().filter(|id| *id != kept).collect();
            // Before the seventh request all data has been sent. The check of the sizes and the commit then run to
            // their end.
            assert_eq!(others.len(), usize::from(at >= 7), "new snapshots after a drop at request {at}");
            for id in others {
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

/// The upload exists on the server, but its id, which an abort needs, is in a response that has not arrived yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_dropped_between_the_start_of_an_upload_and_its_response_leaves_no_upload() {
    let dir = TestDir::new();
    let large = make_large(&dir);
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&dir, &[]);
        let mut held = HeldResponses::new(&server, |request, _| request.is_initiate());
        let begun = async {
            held.arrived.recv().await;
            while server.open_uploads() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            made = create_full(&manager, &large, "dropped") => panic!("the create was not dropped: {made:?}"),
            () = begun => {}
        }
        held.gate.open();
        manager.wait_for_cleanup().await;
        assert_eq!(server.open_uploads(), 0);
        assert!(server.objects().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_check_dropped_at_any_request_leaves_no_objects() {
    let dir = TestDir::new();
    for start in SERVERS {
        let server = start();
        let manager: SnapshotManager = server.manager(&dir, &[]);
        // The first object, the uploads and their parts, the aborted upload, the concurrent creates, and the speed
        // test.
        for at in [0, 13, 14, 15, 21, 40] {
            let held = HeldResponses::new(&server, move |_, number| number >= at);
            assert!(!held.drop_work(manager.check_store()).await, "the check ended before request {at}");
            manager.wait_for_cleanup().await;
            assert_eq!(server.open_uploads(), 0, "dropped at request {at}");
            assert!(server.objects().is_empty(), "dropped at request {at}: {:?}", server.objects().keys());
        }
    }
}
