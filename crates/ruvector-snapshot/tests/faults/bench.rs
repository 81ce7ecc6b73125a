//! Where the walks start from, how they go, and what must hold wherever they end.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::fault::{Call, Fault, FaultStore, Gate, Moment, Step, Steps};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, ErrorKind, Listing, Result, Snapshot, SnapshotError, SnapshotManager};

use crate::common::{Contents, Place, contents, make_database};

/// Three snapshots of three databases, and a fourth database that has none.
pub(crate) struct Bench {
    pub(crate) place: Place,
    /// What the store holds at the start of every run.
    pub(crate) objects: BTreeMap<String, Bytes>,
    /// Oldest first.
    pub(crate) ids: Vec<String>,
    /// What each database held; the fourth is the one that the runs take a snapshot of.
    pub(crate) contents: Vec<Contents>,
}

/// One verb on its way, in a store of its own.
pub(crate) struct Run<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) manager: SnapshotManager,
    /// What the manager asked for.
    pub(crate) steps: Arc<Steps>,
    /// What of it came through to the store.
    pub(crate) inner: Arc<Steps>,
    /// What is there in truth, without faults.
    pub(crate) store: Arc<dyn SnapshotStore>,
    pub(crate) healthy: SnapshotManager,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let place = Place::new();
        let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
        let manager = SnapshotManager::with_store(place.config(), store.clone()).unwrap();
        let manager = manager.with_clock(Arc::new(EveryMinute::default()));
        let (mut ids, mut all) = (Vec::new(), Vec::new());
        for number in 0..4 {
            let path = place.path(&format!("{number}.db"));
            all.push(contents(&make_database(&path, 10 + number, 4, number as u64)));
            if number < 3 {
                let made = manager.create_snapshot_of_file(&path, "kept", &CreateOptions::default()).await;
                ids.push(made.unwrap().id);
            }
        }
        Self { place, objects: objects(store.as_ref()).await, ids, contents: all }
    }

    pub(crate) async fn run(&self, faults: impl IntoIterator<Item = (usize, Fault)>) -> Run<'_> {
        let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
        for (key, bytes) in &self.objects {
            store.create(key, bytes.clone()).await.unwrap();
        }
        let (counted, inner) = FaultStore::over(store.clone(), []);
        let (faulty, steps) = FaultStore::over(counted, faults);
        let manager = |store| SnapshotManager::with_store(self.place.config(), store).unwrap();
        Run { bench: self, manager: manager(faulty), steps, inner, healthy: manager(store.clone()), store }
    }

    /// Carries a verb out with each fault at each step that it fits, and judges what came of it. Returns how many such runs
    /// there were, and asserts that the verb works where no fault comes.
    pub(crate) async fn walk<T>(
        &self,
        faults: impl IntoIterator<Item = Fault>,
        verb: impl AsyncFn(SnapshotManager) -> Result<T>,
        judge: impl AsyncFn(&Run<'_>, &Case, Result<T>),
    ) -> usize {
        let mut runs = 0;
        for fault in faults {
            for at in 0.. {
                let run = self.run([(at, fault.clone())]).await;
                let answer = verb(run.manager.clone()).await;
                run.manager.settle().await;
                let Some(step) = run.steps.at(at) else {
                    assert!(answer.is_ok(), "it fails without a fault: {:?}", answer.err());
                    break;
                };
                if fault.fits(&step) {
                    runs += 1;
                    judge(&run, &Case { at, fault: fault.clone(), step }, answer).await;
                }
            }
        }
        runs
    }

    /// Holds a verb up at each step, has a look at the store as others see it meanwhile, and lets the verb go on.
    pub(crate) async fn walk_slowly<T>(
        &self,
        kept: &[usize],
        verb: impl AsyncFn(SnapshotManager) -> Result<T>,
        judge: impl AsyncFn(&Run<'_>, &str, T),
    ) -> usize {
        let mut at = 0;
        loop {
            let gate = Gate::new();
            let run = self.run([(at, Fault::Wait(gate.clone()))]).await;
            let mut verb = pin!(verb(run.manager.clone()));
            let what = tokio::select! {
                answer = &mut verb => {
                    assert!(answer.is_ok(), "it fails without a fault: {:?}", answer.err());
                    return at;
                }
                () = gate.reached() => format!("held up {}", run.steps.at(at).unwrap()),
            };
            let listing = run.check_shown(&what, kept).await;
            assert!(listing.damaged.is_empty(), "{what}: {:?}", listing.damaged);
            gate.open();
            let answer = verb.await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            judge(&run, &what, answer).await;
            at += 1;
        }
    }
}

/// A fault, and where it struck.
pub(crate) struct Case {
    pub(crate) at: usize,
    pub(crate) fault: Fault,
    pub(crate) step: Step,
}

impl Case {
    pub(crate) fn what(&self) -> String {
        format!("{:?} at step {}, {}", self.fault, self.at, self.step)
    }

    /// Whether the program did not come to clean up after itself.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self.fault, Fault::FailFromHereOn(_) | Fault::Crash)
    }

    pub(crate) fn is_at(&self, moment: Moment, call: Call, file: &str) -> bool {
        self.step.moment == moment && self.step.call == call && self.step.key.ends_with(&format!("/{file}"))
    }

    /// The kind that an error because of this has.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self.fault {
            Fault::Fail(kind) | Fault::FailFromHereOn(kind) | Fault::Cut(kind) => kind,
            Fault::FlipBit(_) => ErrorKind::Damaged,
            _ => ErrorKind::Unavailable,
        }
    }

    /// Asserts that an error is about this fault: its kind, and what it happened to.
    #[track_caller]
    pub(crate) fn assert_told(&self, error: &SnapshotError) {
        let what = self.what();
        assert_eq!(error.kind(), self.kind(), "{what}: {error:?}");
        let (shown, with_causes) = (error.to_string(), format!("{error:?}"));
        match self.fault {
            // Of a store that is away the verb may tell a later step.
            Fault::FailFromHereOn(_) | Fault::Crash => assert!(with_causes.contains("injected at step "), "{what}"),
            Fault::PretendDone | Fault::StoreHalf | Fault::FlipBit(_) => {}
            _ => assert!(with_causes.ends_with(&format!("injected at step {}", self.at)), "{what}: {error:?}"),
        }
        let id = self.step.key.split('/').next().unwrap_or_default().trim_start_matches("snapshot-");
        let names_it = if self.is_lasting() { shown.contains("snapshot") } else { shown.contains(id) };
        assert!(names_it || self.step.call == Call::List, "{what}: the error does not say where: {shown}");
    }
}

impl Run<'_> {
    /// What a healthy manager sees: every listed snapshot is whole, those that are to be kept are among them, and each
    /// restores to what was captured.
    pub(crate) async fn check_shown(&self, what: &str, kept: &[usize]) -> Listing {
        let listing = self.healthy.list().await.unwrap();
        let shown: BTreeSet<_> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
        for number in kept {
            assert!(shown.contains(self.bench.ids[*number].as_str()), "{what}: snapshot {number} is lost");
        }
        for id in shown {
            assert!(self.healthy.verify_snapshot(id).await.unwrap(), "{what}: {id} is shown and damaged");
            let restored = contents(&self.healthy.restore_snapshot(id).await.unwrap());
            assert!(restored == *self.captured(id), "{what}: {id} restores to something else");
        }
        for damaged in &listing.damaged {
            let id = &damaged.id;
            assert!(!self.healthy.verify_snapshot(id).await.unwrap(), "{what}: {id} is called damaged and whole");
            if let Ok(db) = self.healthy.restore_snapshot(id).await {
                assert!(contents(&db) == *self.captured(id), "{what}: {id} restores to something else");
            }
        }
        for id in &listing.unfinished {
            let error = self.healthy.restore_snapshot(id).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error:?}");
        }
        listing
    }

    /// What must hold after every run: [`check_shown`](Self::check_shown), no upload is open, and a snapshot can be taken.
    pub(crate) async fn check(&self, case: &Case, kept: &[usize]) -> Listing {
        let what = case.what();
        let listing = self.check_shown(&what, kept).await;
        if !matches!(case.fault, Fault::Crash) {
            assert_eq!(self.inner.open_uploads(), 0, "{what}: uploads were left open");
        }
        let next = self.create_with(&self.healthy).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert!(self.healthy.verify_snapshot(&next.id).await.unwrap(), "{what}");
        self.healthy.delete_snapshot(&next.id).await.unwrap();
        listing
    }

    /// Asserts that the store holds what it held at the start, and nothing else.
    pub(crate) async fn assert_unchanged(&self, what: &str) {
        let found = objects(self.store.as_ref()).await;
        if found != self.bench.objects {
            let keys: Vec<_> = found.into_keys().filter(|key| !self.bench.objects.contains_key(key)).collect();
            panic!("{what}: the store is not as it was; new in it is {keys:?}");
        }
    }

    /// The ids of the snapshots that were not there at the start.
    pub(crate) fn new_ids(&self, listing: &Listing) -> Vec<String> {
        let ids = listing.snapshots.iter().map(|snapshot| snapshot.id.clone());
        ids.filter(|id| !self.bench.ids.contains(id)).collect()
    }

    pub(crate) async fn create_with(&self, manager: &SnapshotManager) -> Result<Snapshot> {
        create(self.bench, manager).await
    }

    fn captured(&self, id: &str) -> &Contents {
        let number = self.bench.ids.iter().position(|kept| kept == id).unwrap_or(3);
        &self.bench.contents[number]
    }
}

/// Takes a snapshot of the database that has none.
pub(crate) async fn create(bench: &Bench, manager: &SnapshotManager) -> Result<Snapshot> {
    manager.create_snapshot_of_file(bench.place.path("3.db"), "new", &CreateOptions::default()).await
}

/// Every object of a store.
pub(crate) async fn objects(store: &dyn SnapshotStore) -> BTreeMap<String, Bytes> {
    let infos: Vec<_> = store.list("").try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for info in infos {
        let bytes = store.get(&info.key, info.size_bytes).await.unwrap();
        objects.insert(info.key, bytes);
    }
    objects
}

/// Every fault but those that end the process or wait.
pub(crate) fn faults() -> [Fault; 9] {
    [
        Fault::Fail(ErrorKind::Unavailable),
        Fault::Fail(ErrorKind::Denied),
        Fault::FailFromHereOn(ErrorKind::NoSpace),
        Fault::Crash,
        Fault::Cut(ErrorKind::Unavailable),
        Fault::PretendDone,
        Fault::StoreHalf,
        Fault::FlipBit(0),
        Fault::FlipBit(1203),
    ]
}

/// The key of a file of a snapshot.
pub(crate) fn key(id: &str, file: &str) -> String {
    layout::key(&id.parse().unwrap(), file)
}

/// A clock that goes on a minute each time it is asked, long ago.
#[derive(Debug, Default)]
struct EveryMinute(AtomicU64);

impl Clock for EveryMinute {
    fn now(&self) -> DateTime<Utc> {
        let minutes = self.0.fetch_add(1, Ordering::SeqCst);
        Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).unwrap() + TimeDelta::minutes(minutes as i64)
    }

    fn random(&self) -> Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}
