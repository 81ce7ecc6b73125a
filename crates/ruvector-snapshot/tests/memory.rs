//! Snapshots of a database in memory that is being written: one moment of it or an error, and writes that were paused go
//! on whatever happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use common::{Place, contents, map, names, options};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::store::fault::{Call, Fault, FaultStore, Gate};
use ruvector_snapshot::store::{Location, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, ErrorKind, PauseWrites, Phase, Progress, ProgressUpdate, SnapshotManager};

const RECORDS: usize = 120;

fn record(at: usize, generation: u64) -> VectorEntry {
    let vector = vec![generation as f32, at as f32];
    VectorEntry { id: Some(format!("{at:04}")), vector, metadata: map(serde_json::json!({ "generation": generation })) }
}

fn database() -> Arc<VectorDB> {
    let db = VectorDB::new(options("memory://written", 2)).unwrap();
    (0..RECORDS).for_each(|at| drop(db.insert(record(at, 0)).unwrap()));
    Arc::new(db)
}

/// An application that can pause its writes.
#[derive(Debug, Default)]
struct Application {
    state: Mutex<State>,
    changed: Condvar,
    pauses: AtomicUsize,
    resumes: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
    ended: bool,
}

impl Application {
    /// Carries out a write unless writes are paused; then, if asked to wait, waits. False once the application has ended.
    fn write(&self, wait: bool, write: impl FnOnce()) -> bool {
        let mut state = self.state.lock().unwrap();
        while state.paused && !state.ended && wait {
            state = self.changed.wait(state).unwrap();
        }
        if !state.paused && !state.ended {
            write();
        }
        !state.ended
    }

    fn end(&self) {
        self.state.lock().unwrap().ended = true;
        self.changed.notify_all();
    }

    fn calls(&self) -> (usize, usize) {
        (self.pauses.load(Ordering::SeqCst), self.resumes.load(Ordering::SeqCst))
    }
}

impl PauseWrites for Application {
    fn pause(&self) {
        self.state.lock().unwrap().paused = true;
        self.pauses.fetch_add(1, Ordering::SeqCst);
    }

    fn resume(&self) {
        self.state.lock().unwrap().paused = false;
        self.resumes.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_all();
    }
}

/// Writes between the two looks at the database, every time, unless writes are paused.
struct WritesInBetween {
    db: Arc<VectorDB>,
    application: Arc<Application>,
    tries: AtomicUsize,
}

impl std::fmt::Debug for WritesInBetween {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WritesInBetween")
    }
}

impl Progress for WritesInBetween {
    fn update(&self, update: ProgressUpdate) {
        if update.phase == Phase::Create && update.records == 0 {
            let number = self.tries.fetch_add(1, Ordering::SeqCst) + 1;
            self.application.write(false, || drop(self.db.insert(record(number, 100 + number as u64)).unwrap()));
        }
    }
}

/// A database that is written to during every try to read it.
fn busy(pause: bool) -> (Arc<VectorDB>, Arc<Application>, Arc<WritesInBetween>, CreateOptions) {
    let (db, application) = (database(), Arc::new(Application::default()));
    let tries = AtomicUsize::new(0);
    let writes = Arc::new(WritesInBetween { db: db.clone(), application: application.clone(), tries });
    let options = CreateOptions {
        progress: Some(writes.clone()),
        pause_writes: pause.then(|| application.clone() as Arc<dyn PauseWrites>),
        ..CreateOptions::default()
    };
    (db, application, writes, options)
}

#[tokio::test]
async fn a_write_during_every_try_is_an_error_and_leaves_nothing() {
    let place = Place::new();
    let manager = place.manager();
    let (db, application, writes, options) = busy(false);
    let error = manager.create_snapshot_with(&db, "busy", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("pause_writes"), "{error}");
    assert_eq!(writes.tries.load(Ordering::SeqCst), 3);
    assert_eq!(application.calls(), (0, 0));
    assert_eq!(names(&place.snapshots()), Vec::<String>::new());
    // As soon as nobody writes, it works.
    let snapshot = manager.create_snapshot(&db, "at rest").await.unwrap();
    assert!(contents(&manager.restore_snapshot(&snapshot.id).await.unwrap()) == contents(&db));
}

#[tokio::test]
async fn an_insert_or_a_delete_during_every_try_is_noticed() {
    type Changes = Arc<Mutex<Vec<&'static str>>>;
    struct Toggle(Arc<VectorDB>, Changes);
    impl std::fmt::Debug for Toggle {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Toggle")
        }
    }
    impl Progress for Toggle {
        fn update(&self, update: ProgressUpdate) {
            if update.records == 0 {
                match self.1.lock().unwrap().pop() {
                    Some("delete") => assert!(self.0.delete("0050").unwrap()),
                    Some("insert") => drop(self.0.insert(record(50, 0)).unwrap()),
                    Some("append") => drop(self.0.insert(record(9999, 0)).unwrap()),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    let place = Place::new();
    let db = database();
    // From the last to the first: one for each of the three tries.
    let changes: Changes = Arc::new(Mutex::new(vec!["insert", "delete", "append"]));
    let progress: Arc<dyn Progress> = Arc::new(Toggle(db.clone(), changes.clone()));
    let options = CreateOptions { progress: Some(progress), ..CreateOptions::default() };
    let error = place.manager().create_snapshot_with(&db, "busy", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(changes.lock().unwrap().is_empty(), "not every change was met");
    assert_eq!(names(&place.snapshots()), Vec::<String>::new());
}

#[tokio::test]
async fn paused_writes_let_it_through_and_are_resumed() {
    let place = Place::new();
    let manager = place.manager();
    let (db, application, writes, options) = busy(true);
    let snapshot = manager.create_snapshot_with(&db, "paused", &options).await.unwrap();
    assert_eq!(application.calls(), (1, 1));
    assert_eq!(writes.tries.load(Ordering::SeqCst), 4, "three tries, and one while writes are paused");
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    assert!(contents(&manager.restore_snapshot(&snapshot.id).await.unwrap()) == contents(&db));
    assert_eq!(manager.list().await.unwrap().unfinished, Vec::<String>::new());
    // Nobody is paused who does not stand in the way.
    let quiet = CreateOptions { pause_writes: Some(application.clone()), ..CreateOptions::default() };
    manager.create_snapshot_with(&db, "quiet", &quiet).await.unwrap();
    assert_eq!(application.calls(), (1, 1));
}

#[tokio::test]
async fn writes_are_resumed_after_an_error_at_any_step() {
    for at in 0.. {
        let place = Place::new();
        let (db, application, _, options) = busy(true);
        let local = open(&Location::Local(place.snapshots()), &StoreConfig::default()).unwrap();
        let (store, steps) = FaultStore::over(local, [(at, Fault::Fail(ErrorKind::Unavailable))]);
        let manager = SnapshotManager::with_store(place.config(), store).unwrap();
        let answer = manager.create_snapshot_with(&db, "failing", &options).await;
        let (pauses, resumes) = application.calls();
        assert_eq!(pauses, resumes, "{:?}: {answer:?}", steps.at(at));
        if steps.at(at).is_none() {
            answer.unwrap();
            break;
        }
    }
}

#[tokio::test]
async fn writes_are_resumed_when_the_future_is_dropped() {
    let place = Place::new();
    let (db, application, _, options) = busy(true);
    // Steps of the tries that failed are the same each time, so the last step of the successful one comes after the pause.
    let local = || open(&Location::Local(place.snapshots()), &StoreConfig::default()).unwrap();
    let (store, steps) = FaultStore::over(local(), []);
    let manager = SnapshotManager::with_store(place.config(), store).unwrap();
    let made = manager.create_snapshot_with(&db, "to count", &options).await.unwrap();
    manager.delete_snapshot(&made.id).await.unwrap();
    let commit = steps.log().iter().position(|step| step.call == Call::Create).unwrap();
    assert_eq!(application.calls(), (1, 1));

    let (db, application, _, options) = busy(true);
    let gate = Gate::new();
    let (store, _) = FaultStore::over(local(), [(commit, Fault::Wait(gate.clone()))]);
    let manager = SnapshotManager::with_store(place.config(), store).unwrap();
    {
        let mut create = Box::pin(manager.create_snapshot_with(&db, "dropped", &options));
        tokio::select! {
            answer = &mut create => panic!("it was to be held up: {answer:?}"),
            () = gate.reached() => {}
        }
        assert_eq!(application.calls(), (1, 0));
    }
    assert_eq!(application.calls(), (1, 1));
    gate.open();
    manager.settle().await;
}

/// One thread sets the records in order, one after the other, to one generation after the other. Whatever the moment, the
/// generations then do not rise along the ids, and differ by one at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_writes_without_rest() {
    let place = Place::new();
    let manager = place.manager();
    let (db, application) = (database(), Arc::new(Application::default()));
    let writer = {
        let (db, application) = (db.clone(), application.clone());
        let writes = (1..).flat_map(|generation| (0..RECORDS).map(move |at| (at, generation)));
        std::thread::spawn(move || {
            for (at, generation) in writes {
                if !application.write(true, || drop(db.insert(record(at, generation)).unwrap())) {
                    break;
                }
            }
        })
    };
    struct End(Arc<Application>);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.end();
        }
    }
    let end = End(application.clone());
    let paused = CreateOptions { pause_writes: Some(application.clone()), ..CreateOptions::default() };
    for options in [CreateOptions::default(), paused] {
        for _ in 0..5 {
            let made = match manager.create_snapshot_with(&db, "live", &options).await {
                Ok(made) => made,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
                    assert!(options.pause_writes.is_none(), "paused, and still in the way: {error:?}");
                    continue;
                }
            };
            let restored = contents(&manager.restore_snapshot(&made.id).await.unwrap());
            assert_eq!(restored.len(), RECORDS);
            let generations: Vec<f32> = restored.values().map(|(vector, _)| f32::from_bits(vector[0])).collect();
            let falls = generations.windows(2).all(|pair| pair[0] >= pair[1]);
            let (first, last) = (generations[0], generations[RECORDS - 1]);
            assert!(falls && first - last <= 1.0, "no moment of the database looked so: {generations:?}");
        }
    }
    drop(end);
    writer.join().unwrap();
    let (pauses, resumes) = application.calls();
    assert_eq!(pauses, resumes);
    assert!(manager.list().await.unwrap().unfinished.is_empty());
}

/// An application whose writes are paused by a task, on the thread that the snapshot is taken on too.
#[derive(Debug)]
struct PausedByATask {
    application: Arc<Application>,
    ask: tokio::sync::mpsc::UnboundedSender<()>,
    answer: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl PauseWrites for PausedByATask {
    fn pause(&self) {
        self.ask.send(()).unwrap();
        let answer = self.answer.lock().unwrap().recv_timeout(std::time::Duration::from_secs(60));
        answer.expect("the task that pauses the writes never got its turn");
    }

    fn resume(&self) {
        self.application.resume();
    }
}

#[tokio::test]
async fn pausing_may_wait_for_a_task_on_the_same_thread() {
    let place = Place::new();
    let (db, application, _, options) = busy(false);
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let (told, answer) = std::sync::mpsc::channel();
    let task = {
        let application = application.clone();
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                tokio::task::yield_now().await;
                application.pause();
                told.send(()).unwrap();
            }
        })
    };
    let pause = PausedByATask { application: application.clone(), ask, answer: Mutex::new(answer) };
    let options = CreateOptions { pause_writes: Some(Arc::new(pause)), ..options };
    let manager = place.manager();
    let made = manager.create_snapshot_with(&db, "paused", &options).await.unwrap();
    assert_eq!(application.calls(), (1, 1));
    assert!(contents(&manager.restore_snapshot(&made.id).await.unwrap()) == contents(&db));
    drop(options);
    task.await.unwrap();
}
