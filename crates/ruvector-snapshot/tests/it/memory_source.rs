//! Snapshots of a database in memory that is being written to: they capture one state or fail, and paused writes are
//! always resumed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Gate};
use ruvector_snapshot::{CreateOptions, ErrorKind, PauseWrites, Phase, Progress, ProgressUpdate};
use test_fixtures::{TestDir, contents, json_object, names, options};

const RECORDS: usize = 120;

fn record(at: usize, generation: u64) -> VectorEntry {
    let vector = vec![generation as f32, at as f32];
    VectorEntry {
        id: Some(format!("{at:04}")),
        vector,
        metadata: json_object(serde_json::json!({ "generation": generation })),
    }
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
    /// Runs a write. If writes are paused, waits or skips the write. Returns false once the application has ended.
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

/// Writes during every attempt to read the database, unless writes are paused.
struct ConcurrentWriter {
    db: Arc<VectorDB>,
    application: Arc<Application>,
    attempts: AtomicUsize,
}

impl std::fmt::Debug for ConcurrentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConcurrentWriter")
    }
}

impl Progress for ConcurrentWriter {
    fn update(&self, update: ProgressUpdate) {
        if update.phase == Phase::Create && update.records == 0 {
            let number = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
            self.application.write(false, || drop(self.db.insert(record(number, 100 + number as u64)).unwrap()));
        }
    }
}

/// Returns a database that is written to during every attempt to read it.
fn busy_database(pause: bool) -> (Arc<VectorDB>, Arc<Application>, Arc<ConcurrentWriter>, CreateOptions) {
    let (db, application) = (database(), Arc::new(Application::default()));
    let attempts = AtomicUsize::new(0);
    let writes = Arc::new(ConcurrentWriter { db: db.clone(), application: application.clone(), attempts });
    let options = CreateOptions::default().progress(writes.clone());
    let options = if pause { options.pause_writes(application.clone()) } else { options };
    (db, application, writes, options)
}

#[tokio::test]
async fn a_create_fails_without_objects_if_every_attempt_meets_a_write() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let (db, application, writes, options) = busy_database(false);
    let error = manager.create_snapshot_with(&db, "busy", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("pause_writes"), "{error}");
    assert_eq!(writes.attempts.load(Ordering::SeqCst), 3);
    assert_eq!(application.calls(), (0, 0));
    assert_eq!(names(&dir.snapshots()), Vec::<String>::new());
    // Without writes it succeeds.
    let snapshot = manager.create_snapshot(&db, "at rest").await.unwrap();
    assert!(contents(&manager.restore_snapshot(&snapshot.id).await.unwrap()) == contents(&db));
}

#[tokio::test]
async fn inserts_deletes_and_appends_during_an_attempt_are_detected() {
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
    let dir = TestDir::new();
    let db = database();
    // One change per attempt, in reverse order.
    let changes: Changes = Arc::new(Mutex::new(vec!["insert", "delete", "append"]));
    let progress: Arc<dyn Progress> = Arc::new(Toggle(db.clone(), changes.clone()));
    let options = CreateOptions::default().progress(progress);
    let error = dir.manager().create_snapshot_with(&db, "busy", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(changes.lock().unwrap().is_empty(), "not every change was made");
    assert_eq!(names(&dir.snapshots()), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_pauses_writes_if_it_must_and_resumes_them() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let (db, application, writes, options) = busy_database(true);
    let snapshot = manager.create_snapshot_with(&db, "paused", &options).await.unwrap();
    assert_eq!(application.calls(), (1, 1));
    assert_eq!(writes.attempts.load(Ordering::SeqCst), 4, "three attempts, and one while writes are paused");
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    assert!(contents(&manager.restore_snapshot(&snapshot.id).await.unwrap()) == contents(&db));
    assert_eq!(manager.list().await.unwrap().pending_uploads, Vec::<String>::new());
    // Writes are not paused if they do not interfere.
    let quiet = CreateOptions::default().pause_writes(application.clone());
    manager.create_snapshot_with(&db, "quiet", &quiet).await.unwrap();
    assert_eq!(application.calls(), (1, 1));
}

#[tokio::test]
async fn writes_are_resumed_after_an_error_at_any_step() {
    for at in 0.. {
        let dir = TestDir::new();
        let (db, application, _, options) = busy_database(true);
        let (store, steps) = FaultStore::over(dir.local_store(), [(at, Fault::Fail(ErrorKind::Unavailable))]);
        let result = dir.manager_with_store(store).create_snapshot_with(&db, "failing", &options).await;
        let (pauses, resumes) = application.calls();
        assert_eq!(pauses, resumes, "{:?}: {result:?}", steps.at(at));
        if steps.at(at).is_none() {
            result.unwrap();
            break;
        }
    }
}

#[tokio::test]
async fn writes_are_resumed_when_the_future_is_dropped() {
    let dir = TestDir::new();
    let (db, application, _, options) = busy_database(true);
    // The steps are the same in every run, so in the second run this step also comes after the pause.
    let (store, steps) = FaultStore::over(dir.local_store(), []);
    let manager = dir.manager_with_store(store);
    let made = manager.create_snapshot_with(&db, "to count", &options).await.unwrap();
    manager.delete_snapshot(&made.id).await.unwrap();
    let commit = steps.log().iter().position(|step| step.call == Call::Create).unwrap();
    assert_eq!(application.calls(), (1, 1));

    let (db, application, _, options) = busy_database(true);
    let gate = Gate::new();
    let (store, _) = FaultStore::over(dir.local_store(), [(commit, Fault::Wait(gate.clone()))]);
    let manager = dir.manager_with_store(store);
    {
        let mut create = Box::pin(manager.create_snapshot_with(&db, "dropped", &options));
        tokio::select! {
            result = &mut create => panic!("the create did not wait at the gate: {result:?}"),
            () = gate.reached() => {}
        }
        assert_eq!(application.calls(), (1, 0));
    }
    assert_eq!(application.calls(), (1, 1));
    gate.open();
    manager.wait_for_cleanup().await;
}

/// A thread writes generation after generation, each in the order of the ids. In every state of the database the
/// generations therefore never rise along the ids, and differ by at most one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_under_constant_writes_captures_one_state_or_fails() {
    let dir = TestDir::new();
    let manager = dir.manager();
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
    let paused = CreateOptions::default().pause_writes(application.clone());
    for options in [CreateOptions::default(), paused] {
        for _ in 0..5 {
            let made = match manager.create_snapshot_with(&db, "live", &options).await {
                Ok(made) => made,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
                    assert!(options.pause_writes.is_none(), "writes are paused, but interfere: {error:?}");
                    continue;
                }
            };
            let restored = contents(&manager.restore_snapshot(&made.id).await.unwrap());
            assert_eq!(restored.len(), RECORDS);
            let generations: Vec<f32> = restored.values().map(|(vector, _)| f32::from_bits(vector[0])).collect();
            let falls = generations.windows(2).all(|pair| pair[0] >= pair[1]);
            let (first, last) = (generations[0], generations[RECORDS - 1]);
            assert!(falls && first - last <= 1.0, "the database never had this state: {generations:?}");
        }
    }
    drop(end);
    writer.join().unwrap();
    let (pauses, resumes) = application.calls();
    assert_eq!(pauses, resumes);
    assert!(manager.list().await.unwrap().pending_uploads.is_empty());
}

/// An application whose writes are paused by a task, on the same thread as the create.
#[derive(Debug)]
struct PausedByTask {
    application: Arc<Application>,
    ask: tokio::sync::mpsc::UnboundedSender<()>,
    confirmed: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl PauseWrites for PausedByTask {
    fn pause(&self) {
        self.ask.send(()).unwrap();
        let confirmed = self.confirmed.lock().unwrap().recv_timeout(std::time::Duration::from_secs(60));
        confirmed.expect("the task that pauses the writes was never polled");
    }

    fn resume(&self) {
        self.application.resume();
    }
}

#[tokio::test]
async fn pause_may_block_on_a_task_of_the_same_thread() {
    let dir = TestDir::new();
    let (db, application, _, options) = busy_database(false);
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let (confirm, confirmed) = std::sync::mpsc::channel();
    let task = {
        let application = application.clone();
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                tokio::task::yield_now().await;
                application.pause();
                confirm.send(()).unwrap();
            }
        })
    };
    let pause = PausedByTask { application: application.clone(), ask, confirmed: Mutex::new(confirmed) };
    let options = options.pause_writes(Arc::new(pause));
    let manager = dir.manager();
    let made = manager.create_snapshot_with(&db, "paused", &options).await.unwrap();
    assert_eq!(application.calls(), (1, 1));
    assert!(contents(&manager.restore_snapshot(&made.id).await.unwrap()) == contents(&db));
    drop(options);
    task.await.unwrap();
}
