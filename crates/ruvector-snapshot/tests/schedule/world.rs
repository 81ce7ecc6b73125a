//! A simulated world for a scheduler: a clock that follows tokio's paused time and can be set, a store that can fail, databases, and a
//! listener that keeps what it hears.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::schedule::Schedule;
use ruvector_snapshot::scheduler::{Job, JobDatabase, JobListener, RunReport, RunStart, SnapshotScheduler};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{CreateOptions, ErrorKind, Listing, Result, SnapshotConfig, SnapshotError, SnapshotManager};
use test_fixtures::{ForwardingStore, Method, StoreHooks, TestDir, make_database, memory_store};
use tokio::time::Instant;

/// Lets simulated time pass.
#[expect(clippy::disallowed_methods, reason = "no time is waited for: it is simulated")]
pub(crate) async fn passes(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The time of tokio, from a date on. It can be set, as the clock of a machine can.
#[derive(Debug)]
pub(crate) struct WorldClock {
    began: Instant,
    set_seconds: AtomicI64,
    random: AtomicU64,
}

impl WorldClock {
    #[expect(clippy::disallowed_methods, reason = "the time is simulated")]
    fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), set_seconds: AtomicI64::new(0), random: AtomicU64::new(1) })
    }

    /// Sets the clock ahead or back.
    pub(crate) fn set(&self, by: TimeDelta) {
        self.set_seconds.fetch_add(by.num_seconds(), Ordering::SeqCst);
    }
}

impl Clock for WorldClock {
    fn now(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.began.elapsed()).unwrap();
        super::moment("2026-01-01T00:00:00Z") + elapsed + TimeDelta::seconds(self.set_seconds.load(Ordering::SeqCst))
    }

    fn random(&self) -> Result<u64> {
        Ok(self.random.fetch_add(1, Ordering::SeqCst))
    }
}

/// Whether the store answers.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    pub(crate) is_down: AtomicBool,
    /// Whether calls that create an object wait for ever.
    pub(crate) hangs: AtomicBool,
}

struct Sky(Arc<Weather>);

#[async_trait]
impl StoreHooks for Sky {
    type Guard = ();

    async fn before(&self, method: Method, key: &str) -> Result<()> {
        while self.0.hangs.load(Ordering::SeqCst) && matches!(method, Method::Create | Method::FinishUpload) {
            passes(Duration::from_secs(1)).await;
        }
        match self.0.is_down.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(SnapshotError::new(ErrorKind::Unavailable, "the store is down").with_key(key)),
        }
    }

    fn list<'a>(
        &'a self,
        inner: &'a dyn SnapshotStore,
        prefix: &str,
    ) -> futures::stream::BoxStream<'a, Result<ruvector_snapshot::store::ObjectInfo>> {
        if self.0.is_down.load(Ordering::SeqCst) {
            let down = SnapshotError::new(ErrorKind::Unavailable, "the store is down");
            return Box::pin(futures::stream::once(async { Err(down) }));
        }
        inner.list(prefix)
    }
}

/// A listener that keeps what it hears.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    pub(crate) started: Mutex<Vec<RunStart>>,
    pub(crate) reports: Mutex<Vec<RunReport>>,
    /// Why no run may start.
    pub(crate) refusal: Mutex<Option<String>>,
    /// What is said of a run that starts.
    pub(crate) warning: Mutex<Option<String>>,
    /// The runs whose work was done.
    pub(crate) finished: Mutex<Vec<RunReport>>,
    /// Why a run has failed whose work is done.
    pub(crate) complaint: Mutex<Option<String>>,
    /// Whether time passes during a run. By default it stands still, as if runs took no time: threads at work are not seen by the
    /// paused time.
    pub(crate) time_passes: AtomicBool,
    held: Mutex<BTreeMap<String, mpsc::Sender<()>>>,
}

impl Ears {
    /// Lets time pass again after a crash.
    pub(crate) fn release(&self) {
        self.held.lock().unwrap().clear();
    }
}

#[async_trait]
impl JobListener for Ears {
    async fn starting(&self, run: &RunStart) -> Result<Vec<String>> {
        self.started.lock().unwrap().push(run.clone());
        if !self.time_passes.load(Ordering::SeqCst) {
            let (end, ended) = mpsc::channel();
            self.held.lock().unwrap().insert(run.job.clone(), end);
            // Paused time does not pass while a blocking task is at work.
            drop(tokio::task::spawn_blocking(move || ended.recv()));
        }
        match &*self.refusal.lock().unwrap() {
            None => Ok(self.warning.lock().unwrap().iter().cloned().collect()),
            Some(why) => Err(SnapshotError::new(ErrorKind::Unavailable, why.clone())),
        }
    }

    async fn finishing(&self, report: &RunReport) -> Result<Vec<String>> {
        self.finished.lock().unwrap().push(report.clone());
        match &*self.complaint.lock().unwrap() {
            None => Ok(Vec::new()),
            Some(why) => Err(SnapshotError::new(ErrorKind::Unavailable, why.clone())),
        }
    }

    async fn ended(&self, report: &RunReport) {
        self.held.lock().unwrap().remove(&report.start.job);
        self.reports.lock().unwrap().push(report.clone());
    }
}

pub(crate) struct World {
    pub(crate) dir: TestDir,
    pub(crate) clock: Arc<WorldClock>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) ears: Arc<Ears>,
    store: Arc<dyn SnapshotStore>,
}

impl World {
    /// Begins at 2026-01-01. Must be called in a runtime whose time is paused.
    pub(crate) fn new() -> Self {
        let weather = Arc::new(Weather::default());
        let store = ForwardingStore::new(memory_store(), Sky(weather.clone()));
        Self { dir: TestDir::new(), clock: WorldClock::new(), weather, ears: Arc::default(), store }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn manager(&self) -> SnapshotManager {
        self.manager_at(self.store.clone())
    }

    pub(crate) fn manager_at(&self, store: Arc<dyn SnapshotStore>) -> SnapshotManager {
        let config = SnapshotConfig { workers: 2, ..self.dir.config() };
        SnapshotManager::with_store(config, store).unwrap().with_clock(self.clock.clone())
    }

    /// Removes an object behind the back of everyone.
    pub(crate) async fn remove(&self, key: &str) {
        self.store.delete(key).await.unwrap();
    }

    /// Creates a database file of so many records, and returns its path.
    pub(crate) fn database(&self, name: &str, rows: usize) -> PathBuf {
        let path = self.dir.path(&format!("{name}.db"));
        drop(make_database(&path, rows, 4, 1));
        path
    }

    /// Returns a job of a database whose source has its name.
    pub(crate) fn job(&self, name: &str, when: &str) -> Job {
        let path = self.dir.path(&format!("{name}.db"));
        if !path.exists() {
            self.database(name, 12);
        }
        let database = JobDatabase::new(path, name).options(CreateOptions::default().source_name(name));
        Job::new(name, self.manager(), Schedule::new(when.parse().unwrap())).database(database)
    }

    pub(crate) fn scheduler(&self, jobs: Vec<Job>) -> SnapshotScheduler {
        SnapshotScheduler::new(jobs).unwrap().clock(self.clock.clone()).listener(self.ears.clone())
    }

    /// Runs jobs for so long.
    pub(crate) async fn run(&self, jobs: Vec<Job>, hours: u64) {
        let stop = passes(Duration::from_secs(hours * 3600));
        self.scheduler(jobs).run(stop, Duration::from_secs(3600)).await;
    }

    pub(crate) async fn listing(&self) -> Listing {
        self.manager().list().await.unwrap()
    }

    /// Returns what was reported since the last call.
    pub(crate) fn take_reports(&self) -> Vec<RunReport> {
        std::mem::take(&mut self.ears.reports.lock().unwrap())
    }
}
