//! The fault store itself: each fault does what it says, to what it says, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::store::fault::{Action, Call, Fault, FaultStore, Gate, Steps};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, Upload, conformance, open};
use ruvector_snapshot::{ErrorKind, Result};

use crate::bench::objects;

type Store = Arc<dyn SnapshotStore>;

/// A store with the object `old`, counted; and over it one with a fault.
async fn with_fault(at: usize, fault: Fault) -> (Store, Arc<Steps>, Store, Arc<Steps>) {
    let memory = open(&Location::Memory, &StoreConfig::default()).unwrap();
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
async fn without_faults_it_keeps_the_contract() {
    let (store, steps) = FaultStore::over(open(&Location::Memory, &StoreConfig::default()).unwrap(), []);
    conformance::run_all(store, "suite").await.unwrap();
    assert!(steps.count(Call::Upload) > 10);
    assert_eq!(steps.open_uploads(), 0);
}

#[tokio::test]
async fn it_logs_calls_and_their_answers() {
    let (store, steps) = FaultStore::over(open(&Location::Memory, &StoreConfig::default()).unwrap(), []);
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
async fn a_failed_step_is_without_effect_before_and_without_answer_after() {
    for at in [0, 1] {
        let (inner, _, store, _) = with_fault(at, Fault::Fail(ErrorKind::NoSpace)).await;
        let error = store.create("new", "x".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::NoSpace, Some("new")));
        assert_eq!(new_object(&inner).await.is_some(), at == 1);
        store.delete("old").await.unwrap();
    }
    for at in [6, 7] {
        let (inner, reached, store, _) = with_fault(at, Fault::Fail(ErrorKind::Denied)).await;
        assert_eq!(upload(&store).await.unwrap_err().kind(), ErrorKind::Denied);
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
async fn an_upload_takes_nothing_more_after_an_error() {
    let (inner, reached, store, _) = with_fault(2, Fault::Fail(ErrorKind::Unavailable)).await;
    let mut upload = store.upload("new", None).await.unwrap();
    assert_eq!(upload.write("abcd".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(upload.write("abcd".into()).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(upload.finish().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(new_object(&inner).await, None);
    assert_eq!((reached.count(Call::Write), reached.open_uploads()), (0, 0));
}

#[tokio::test]
async fn a_store_that_is_gone_stays_away() {
    let (_, reached, store, _) = with_fault(1, Fault::FailFromHereOn(ErrorKind::Unavailable)).await;
    assert!(store.head("old").await.is_err());
    for _ in 0..2 {
        assert_eq!(store.head("old").await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(upload(&store).await.is_err());
    }
    assert_eq!(reached.count(Call::Head), 1);
}

/// After a crash nothing of the program reaches the inner store, not even that it lets go of an upload.
#[tokio::test]
async fn a_program_that_crashed_does_nothing_any_more() {
    for at in 0..8 {
        let (inner, reached, store, _) = with_fault(at, Fault::Crash).await;
        let error = upload(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let steps = reached.log().len();
        store.delete("old").await.unwrap_err();
        drop(store);
        assert_eq!(reached.log().len(), steps, "step {at}");
        // Begun by the second step, and given up by nobody; ended by the finish itself.
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
async fn a_read_that_is_cut_has_read_and_a_write_has_taken_a_part() {
    let (_, reached, store, _) = with_fault(0, Fault::Cut(ErrorKind::Unavailable)).await;
    assert_eq!(store.get_range("old", 0..4).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(reached.count(Call::GetRange), 1);
    assert_eq!(store.get("old", 10).await.unwrap(), "0123456789");

    let (inner, reached, store, _) = with_fault(4, Fault::Cut(ErrorKind::NoSpace)).await;
    assert_eq!(upload(&store).await.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!((reached.count(Call::Write), reached.open_uploads()), (2, 0));
    assert_eq!(new_object(&inner).await, None);

    let (inner, _, store, _) = with_fault(0, Fault::Cut(ErrorKind::Denied)).await;
    for key in ["more", "most", "much"] {
        inner.create(key, "x".into()).await.unwrap();
    }
    let answers: Vec<_> = store.list("").collect().await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test]
async fn a_store_that_pretends_does_nothing() {
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
async fn half_is_stored_and_the_whole_is_told() {
    let (inner, reached, store, _) = with_fault(6, Fault::StoreHalf).await;
    assert_eq!(upload(&store).await.unwrap(), 10);
    assert_eq!(new_object(&inner).await.unwrap(), "abcde");
    assert_eq!(reached.open_uploads(), 0);
}

#[tokio::test]
async fn one_bit_of_a_read_is_another() {
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
async fn a_fault_that_does_not_fit_its_step_does_nothing() {
    for fault in [Fault::PretendDone, Fault::StoreHalf, Fault::FlipBit(0), Fault::Cut(ErrorKind::Denied)] {
        for at in [0, 1] {
            let (_, _, store, steps) = with_fault(at, fault.clone()).await;
            assert_eq!(store.head("old").await.unwrap().size_bytes, 10);
            assert!(!fault.fits(&steps.at(at).unwrap()), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn several_faults_each_at_its_own_step() {
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
    let inner = open(&Location::Memory, &StoreConfig::default()).unwrap();
    let faults = [(0, Fault::Fail(ErrorKind::Denied)), (1, Fault::Do(count)), (1, Fault::PretendDone)];
    let (store, _) = FaultStore::over(inner.clone(), faults);
    assert_eq!(store.create("new", "x".into()).await.unwrap_err().kind(), ErrorKind::Denied);
    for stored in [None, Some("x".into())] {
        store.create("new", "x".into()).await.unwrap();
        assert_eq!(counted.load(Ordering::SeqCst), 1);
        assert_eq!(new_object(&inner).await, stored);
    }
}

#[tokio::test]
async fn a_step_waits_at_the_gate() {
    let gate = Gate::new();
    let (inner, _, store, _) = with_fault(1, Fault::Wait(gate.clone())).await;
    let create = tokio::spawn(async move { store.create("new", "x".into()).await });
    gate.reached().await;
    assert!(new_object(&inner).await.is_some() && !create.is_finished());
    gate.open();
    create.await.unwrap().unwrap();
}

/// What a disk has begun cannot be called back.
#[tokio::test]
async fn a_finish_that_is_dropped_is_carried_through() {
    let gate = Gate::new();
    let (inner, reached, store, _) = with_fault(2, Fault::Wait(gate.clone())).await;
    let upload: Box<dyn Upload> = store.upload("new", None).await.unwrap();
    tokio::select! {
        size_bytes = upload.finish() => panic!("it was to be held up: {size_bytes:?}"),
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
