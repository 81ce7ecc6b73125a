//! A verb that is dropped while requests are on their way: after `settle` the bucket is as it was, whatever the server
//! had begun.

use ruvector_snapshot::SnapshotManager;
use test_servers::{Fault, Gate, Request};
use tokio::sync::mpsc;

use crate::common::Place;
use crate::stores::{SERVERS, Server, create, ids, keys_of, make_large, make_small};

/// Answers that are on their way, and stay there until the gate is open, so that the work gets no further before it is
/// dropped.
struct Held {
    gate: Gate,
    came: mpsc::UnboundedReceiver<()>,
}

impl Held {
    /// Holds the answers to the requests that `which` names.
    fn new(server: &Server, which: impl Fn(&Request, usize) -> bool + Send + 'static) -> Self {
        let (gate, (sender, came)) = (Gate::closed(), mpsc::unbounded_channel());
        let held = gate.clone();
        server.wire().set(move |request, number| {
            which(request, number).then(|| {
                let _nobody_listens_any_more = sender.send(());
                Fault::Hold(held.clone())
            })
        });
        Self { gate, came }
    }

    /// Drops the work once such a request has come, and lets the answers go. True where the work ended before.
    async fn drop_work<T>(mut self, work: impl Future<Output = T>) -> bool {
        let has_ended = tokio::select! {
            biased;
            _ = self.came.recv() => false,
            _ = work => true,
        };
        self.gate.open();
        has_ended
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
            let held = Held::new(&server, move |_, number| number >= at);
            let has_ended = held.drop_work(create(&manager, &large, "dropped")).await;
            manager.settle().await;
            assert_eq!(server.open_uploads(), 0, "dropped at request {at}");
            let listing = manager.list().await.unwrap();
            let held = keys_of(ids(&listing)).into_iter().map(|key| format!("backups/{key}"));
            assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), held.collect::<Vec<_>>(), "{at}");
            let others: Vec<_> = ids(&listing).into_iter().filter(|id| *id != kept).collect();
            // From the seventh on all was sent: the looks at the sizes and the commit had begun, which are carried through.
            assert_eq!(others.len(), usize::from(at >= 7), "what came of what was dropped at request {at}");
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

/// The server has begun the upload, and its answer is on its way: the name in it is needed to abort it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_between_the_start_of_an_upload_and_the_answer() {
    let place = Place::new();
    let large = make_large(&place);
    for start in SERVERS {
        let server = start();
        let manager = server.manager(&place, &[]);
        let mut held = Held::new(&server, |request, _| request.is_initiate());
        let begun = async {
            held.came.recv().await;
            while server.open_uploads() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            made = create(&manager, &large, "dropped") => panic!("it was not dropped: {made:?}"),
            () = begun => {}
        }
        held.gate.open();
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
            let held = Held::new(&server, move |_, number| number >= at);
            assert!(!held.drop_work(manager.check_store()).await, "it ended before request {at}");
            manager.settle().await;
            assert_eq!(server.open_uploads(), 0, "dropped at request {at}");
            assert!(server.objects().is_empty(), "dropped at request {at}: {:?}", server.objects().keys());
        }
    }
}
