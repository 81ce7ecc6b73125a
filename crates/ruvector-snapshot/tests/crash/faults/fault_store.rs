//! The fault store itself: each fault does what its documentation says, at its step, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::store::testing::fault::{Action, Call, Fault, FaultStore, Gate, Steps};
use ruvector_snapshot::store::{SnapshotStore, Upload, testing::conformance};
use ruvector_snapshot::{ErrorKind, Result};
use test_fixtures::{memory_store, objects};

type Store = Arc<dyn SnapshotStore>;

/// Returns a store with the object `old` and its log, and a store with a fault over it and its log.
async fn with_fault(at: usize, fault: Fault) -> (Store, Arc<Steps>, Store, Arc<Steps>) {
    let memory = memory_store();
    memory.create("old", "0123456789".into()).await.unwrap();
    let (inner, reached) = FaultStore::over(memory, []);
    let (store, steps) = FaultStore::over(inner.clone(), [(at, fault)]);
    (inner, reached, store, steps)
}

/// Uploads `new` in two writes: steps 0 to 7.
async fn upload(store: &Store) -> Result<u64> {
    let mut upload = store.upload("new", None).await?;
    upload.write("abcd".into()).await?;
    upload.write("efghij".into()).await?;
    upload.finish().await
}

async fn new_object(inner: &Store) -> Option<Bytes> {
    objects(inner.as_ref()).await.remove("new")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_faults_passes_the_conformance_suite() {
    let (store, steps) = FaultStore::over(memory_store(), []);
    conformance::run_all(store, "suite").await.unwrap();
    assert!(steps.count(Call::Upload) > 10);
    assert_eq!(steps.open_uploads(), 0);
}

#[tokio::test]
async fn every_call_and_its_response_is_logged() {
    let (store, steps) = FaultStore::over(memory_store(), []);
    upload(&store).await.unwrap();
    assert_eq!(store.head("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    store.list("a").for_each(async |_| {}).await;
    let log: Vec<_> = steps.log().iter().map(ToString::to_string).collect();
    let upload = ["before upload new", "after upload new", "before write new", "after write new"];
    assert_eq!(log[..4], upload);
    assert_eq!(log[4..8], ["before write new", "after write new", "before finish new", "after finish new"]);
    assert_eq!(log[8..], ["before head none", "after head none", "before list a", "after list a"]);
    assert_eq!((steps.count(Call::Write), steps.count(Call::Get)), (2, 0));
    assert_eq!(steps.at(7).unwrap().call, Call::Finish);
    assert_eq!(steps.at(12), None);
}

#[tokio::test]
async fn a_failure_before_a_call_prevents_it_and_after_a_call_loses_the_response() {
    for at in [0, 1] {
        let (inner, _, store, _) = with_fault(at, Fault::Fail(ErrorKind::StorageFull)).await;
        let error = store.create("new", "x".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::StorageFull, Some("new")));
        assert_eq!(new_object(&inner).await.is_some(), at == 1);
        store.delete("old").await.unwrap();
    }
    for at in [6, 7] {
        let (inner, reached, store, _) = with_fault(at, Fault::Fail(ErrorKind::PermissionDenied)).await;
        assert_eq!(upload(&store).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(new_object(&inner).await.is_some(), at == 7);
        assert_eq!(reached.open_uploads(), 0);
    }
    for (at, listed) in [(0, 0), (1, 1)] {
        let (_, _, store, _) = with_fault(at, Fault::Fail(ErrorKind::Unavailable)).await;
        let answers: Vec<_> = store.list("").collect().await;
        assert_eq!((answers.len(), answers.iter().filter(|answer| answer.is_ok()).count()), (listed + 1, listed));
    }
}

#[tokio::test]
async fn an_upload_accepts_nothing_after_an_error() {
    let (inner, reached, store, _) = with_fault(2, Fault::Fail(ErrorKind::Unavailable)).await;
    let mut upload = store.upload("new", None).await.unwrap();
    assert_eq!(upload.write("abcd".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(upload.write("abcd".into()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(upload.finish().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(new_object(&inner).await, None);
    assert_eq!((reached.count(Call::Write), reached.open_uploads()), (0, 0));
}

#[tokio::test]
async fn a_lasting_failure_fails_every_later_call() {
    let (_, reached, store, _) = with_fault(1, Fault::FailFromHereOn(ErrorKind::Unavailable)).await;
    assert!(store.head("old").await.is_err());
    for _ in 0..2 {
        assert_eq!(store.head("old").await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(upload(&store).await.is_err());
    }
    assert_eq!(reached.count(Call::Head), 1);
}

/// After a crash nothing reaches the inner store, not even the abort of a dropped upload.
#[tokio::test]
async fn nothing_reaches_the_inner_store_after_a_crash() {
    for at in 0..8 {
        let (inner, reached, store, _) = with_fault(at, Fault::Crash).await;
        let error = upload(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let steps = reached.log().len();
        store.delete("old").await.unwrap_err();
        drop(store);
        assert_eq!(reached.log().len(), steps, "step {at}");
        // The second step opens the upload. Nothing aborts it, and only the finish ends it.
        assert_eq!(reached.open_uploads(), usize::from((1..7).contains(&at)), "step {at}");
        assert_eq!(new_object(&inner).await.is_some(), at == 7);
    }
    let (_, reached, store, _) = with_fault(4, Fault::Crash).await;
    let uploads = [store.upload("a", None).await.unwrap(), store.upload("b", None).await.unwrap()];
    assert!(store.head("old").await.is_err());
    let [dropped, aborted] = uploads;
    drop(dropped);
    assert!(aborted.abort().await.is_err());
    assert_eq!((reached.open_uploads(), reached.count(Call::Abort)), (2, 0));
}

#[tokio::test]
async fn a_cut_call_reaches_the_store_in_part_and_fails() {
    let (_, reached, store, _) = with_fault(0, Fault::Cut(ErrorKind::Unavailable)).await;
    assert_eq!(store.get_range("old", 0..4).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(reached.count(Call::GetRange), 1);
    assert_eq!(store.get("old", 10).await.unwrap(), "0123456789");

    let (inner, reached, store, _) = with_fault(4, Fault::Cut(ErrorKind::StorageFull)).await;
    assert_eq!(upload(&store).await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((reached.count(Call::Write), reached.open_uploads()), (2, 0));
    assert_eq!(new_object(&inner).await, None);

    let (inner, _, store, _) = with_fault(0, Fault::Cut(ErrorKind::PermissionDenied)).await;
    for key in ["more", "most", "much"] {
        inner.create(key, "x".into()).await.unwrap();
    }
    let answers: Vec<_> = store.list("").collect().await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test]
async fn a_pretended_call_succeeds_without_effect() {
    let (inner, reached, store, _) = with_fault(0, Fault::PretendDone).await;
    store.create("new", "x".into()).await.unwrap();
    assert_eq!(new_object(&inner).await, None);
    assert_eq!(reached.count(Call::Create), 0);

    let (inner, _, store, _) = with_fault(0, Fault::PretendDone).await;
    store.delete("old").await.unwrap();
    inner.head("old").await.unwrap();

    let (inner, reached, store, _) = with_fault(6, Fault::PretendDone).await;
    assert_eq!(upload(&store).await.unwrap(), 10);
    assert_eq!(new_object(&inner).await, None);
    assert_eq!(reached.open_uploads(), 0);
}

#[tokio::test]
async fn a_truncated_upload_stores_half_and_reports_the_full_size() {
    let (inner, reached, store, _) = with_fault(6, Fault::StoreHalf).await;
    assert_eq!(upload(&store).await.unwrap(), 10);
    assert_eq!(new_object(&inner).await.unwrap(), "abcde");
    assert_eq!(reached.open_uploads(), 0);
}

#[tokio::test]
async fn a_flipped_bit_changes_one_read() {
    for (bit, read) in [(0, "1123456789"), (9, "0323456789"), (80, "1123456789")] {
        let (_, _, store, _) = with_fault(0, Fault::FlipBit(bit)).await;
        assert_eq!(store.get("old", 10).await.unwrap(), read);
        assert_eq!(store.get("old", 10).await.unwrap(), "0123456789");
    }
    let (_, _, store, _) = with_fault(0, Fault::FlipBit(1)).await;
    assert_eq!(store.get_range("old", 2..4).await.unwrap(), "03");
    let (_, _, store, _) = with_fault(0, Fault::FlipBit(1)).await;
    assert_eq!(store.get_range("old", 2..2).await.unwrap(), "");
}

#[tokio::test]
async fn a_fault_that_does_not_fit_its_step_has_no_effect() {
    for fault in [Fault::PretendDone, Fault::StoreHalf, Fault::FlipBit(0), Fault::Cut(ErrorKind::PermissionDenied)] {
        for at in [0, 1] {
            let (_, _, store, steps) = with_fault(at, fault.clone()).await;
            assert_eq!(store.head("old").await.unwrap().size_bytes, 10);
            assert!(!fault.fits(&steps.at(at).unwrap()), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn several_faults_happen_each_at_its_own_step() {
    let counted = Arc::new(AtomicUsize::new(0));
    let count = {
        let counted = counted.clone();
        Action::new(move || {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let inner = memory_store();
    let faults = [(0, Fault::Fail(ErrorKind::PermissionDenied)), (1, Fault::Do(count)), (1, Fault::PretendDone)];
    let (store, _) = FaultStore::over(inner.clone(), faults);
    assert_eq!(store.create("new", "x".into()).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    for stored in [None, Some("x".into())] {
        store.create("new", "x".into()).await.unwrap();
        assert_eq!(counted.load(Ordering::SeqCst), 1);
        assert_eq!(new_object(&inner).await, stored);
    }
}

#[tokio::test]
async fn a_step_waits_until_its_gate_opens() {
    let gate = Gate::new();
    let (inner, _, store, _) = with_fault(1, Fault::Wait(gate.clone())).await;
    let create = tokio::spawn(async move { store.create("new", "x".into()).await });
    gate.reached().await;
    assert!(new_object(&inner).await.is_some() && !create.is_finished());
    gate.open();
    create.await.unwrap().unwrap();
}

/// A disk behaves in this way: a rename that has started cannot be cancelled.
#[tokio::test]
async fn a_dropped_finish_is_still_executed() {
    let gate = Gate::new();
    let (inner, reached, store, _) = with_fault(2, Fault::Wait(gate.clone())).await;
    let upload: Box<dyn Upload> = store.upload("new", None).await.unwrap();
    tokio::select! {
        size_bytes = upload.finish() => panic!("the finish did not wait at the gate: {size_bytes:?}"),
        () = gate.reached() => {}
    }
    assert_eq!(new_object(&inner).await, None);
    gate.open();
    while reached.open_uploads() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(new_object(&inner).await.unwrap(), "");
    let listed: Vec<_> = inner.list("").try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
}
