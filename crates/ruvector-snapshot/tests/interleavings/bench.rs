//! The actors, where they start from, how a schedule runs, and what must hold after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, ErrorKind, Result, SnapshotConfig, SnapshotError, SnapshotManager};

use crate::common::{Contents, Place, contents, entry, make_database};
use crate::stepped::{Stepped, Turns};

/// What one actor does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verb {
    /// Makes an increment on the snapshot of this number.
    Increment(usize),
    /// Makes a full snapshot.
    Full,
    /// Deletes a snapshot, and with it what stands on it.
    DeleteCascade(usize),
    /// Deletes a snapshot on which nothing stands.
    Delete(usize),
    /// Keeps the newest.
    Prune,
    /// Verifies a snapshot.
    Verify(usize),
    /// Restores a snapshot.
    Restore(usize),
    /// Makes a full snapshot of an increment.
    Compact(usize),
    /// Sweeps the leftover that was there at the start, without grace.
    SweepOther,
    /// Sweeps everything that looks left over, without grace.
    SweepAll,
    /// Sweeps with the grace that everybody has.
    Sweep,
}

/// A full snapshot (0), increments on it (1) and on that (2), and what an upload has left that was killed.
pub(crate) struct Bench {
    place: Place,
    objects: BTreeMap<String, Bytes>,
    pub(crate) ids: Vec<String>,
    contents: Vec<Contents>,
    leftover_id: String,
}

/// How actors take turns: so many steps of one after the other, then each to its end, in order.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) legs: Vec<(usize, usize)>,
    /// Who crashes after the legs.
    pub(crate) crash: Option<usize>,
    pub(crate) seed: u64,
}

/// One run that has ended.
pub(crate) struct Run<'a> {
    bench: &'a Bench,
    pub(crate) what: String,
    store: Arc<dyn SnapshotStore>,
    /// How many snapshots of the chain there were.
    snapshots: usize,
    verbs: Vec<Verb>,
    crashed: Option<usize>,
    answers: Vec<Result<Answer>>,
    /// What was to be deleted, by any actor.
    doomed: BTreeSet<String>,
    /// How many steps were taken.
    pub(crate) steps: usize,
}

/// What an actor was told.
#[derive(Debug)]
enum Answer {
    Made(String),
    Gone(Vec<String>),
    Read,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let place = Place::new();
        let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
        let manager = SnapshotManager::with_store(config(&place), store.clone()).unwrap();
        let manager = manager.with_clock(Arc::new(Ticking::at(Utc::now() - TimeDelta::hours(1))));
        let db = make_database(&place.path("a.db"), 12, 4, 1);
        let (mut ids, mut all): (Vec<String>, _) = (Vec::new(), Vec::new());
        for number in 0..3 {
            db.insert(entry(format!("new-{number}"), number, 4, 2)).unwrap();
            let options = CreateOptions { base_id: ids.last().cloned(), ..CreateOptions::default() };
            let made = manager.create_snapshot_of_file(place.path("a.db"), "kept", &options).await;
            ids.push(made.unwrap().id);
            all.push(contents(&db));
        }
        let leftover_id = manager.create_snapshot_of_file(place.path("a.db"), "left", &CreateOptions::default()).await;
        let leftover_id = leftover_id.unwrap().id;
        store.delete(&key(&leftover_id, layout::METADATA_JSON)).await.unwrap();
        db.insert(entry("newest".to_owned(), 3, 4, 2)).unwrap();
        drop(db);
        let infos: Vec<_> = store.list("").try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for info in infos {
            objects.insert(info.key.clone(), store.get(&info.key, info.size_bytes).await.unwrap());
        }
        Self { place, objects, ids, contents: all, leftover_id }
    }

    /// A store with the first `snapshots` of the chain.
    async fn store(&self, snapshots: usize) -> Arc<dyn SnapshotStore> {
        let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
        let absent: Vec<_> = self.ids[snapshots..].iter().map(|id| format!("snapshot-{id}/")).collect();
        for (key, bytes) in &self.objects {
            if !absent.iter().any(|prefix| key.starts_with(prefix)) {
                store.create(key, bytes.clone()).await.unwrap();
            }
        }
        store
    }

    fn manager(&self, store: Arc<dyn SnapshotStore>, clock: Arc<Ticking>, grace: TimeDelta) -> SnapshotManager {
        let config = SnapshotConfig { grace, ..config(&self.place) };
        SnapshotManager::with_store(config, store).unwrap().with_clock(clock)
    }

    /// Lets actors take turns as a schedule says, over the first `snapshots` of the chain.
    pub(crate) async fn run(&self, snapshots: usize, verbs: &[Verb], schedule: &Schedule) -> Run<'_> {
        let store = self.store(snapshots).await;
        let turns = Turns::of(verbs.len(), schedule.seed);
        let clock = Arc::new(Ticking::at(Utc::now()));
        // By this one what was written while the schedule ran is old as well.
        let ahead = Arc::new(Ticking::at(Utc::now() + TimeDelta::hours(1)));
        let doomed = Arc::new(Mutex::new(BTreeSet::new()));
        let mut actors = Vec::new();
        for (number, verb) in verbs.iter().enumerate() {
            let stepped = Stepped::over(store.clone(), turns.clone(), number);
            let (clock, grace) = match verb {
                Verb::SweepOther | Verb::SweepAll => (&ahead, TimeDelta::zero()),
                _ => (&clock, TimeDelta::hours(24)),
            };
            let manager = self.manager(stepped, clock.clone(), grace);
            let act = Act {
                manager,
                verb: *verb,
                ids: self.ids.clone(),
                leftover: layout::prefix(&self.leftover_id.parse().unwrap()),
                database: self.place.path("a.db"),
                contents: self.contents.clone(),
                doomed: doomed.clone(),
            };
            let turns = turns.clone();
            actors.push(tokio::spawn(async move {
                let _ending = Ending(turns, number);
                let answer = act.carry_out().await;
                act.manager.settle().await;
                answer
            }));
        }
        let steps = walk(&turns, verbs.len(), schedule).await;
        let mut answers = Vec::new();
        for actor in actors {
            answers
                .push(actor.await.unwrap_or_else(|error| panic!("{error}: {verbs:?}, {schedule:?}\n{}", turns.log())));
        }
        let what = format!("{verbs:?}, {schedule:?}, answers {answers:?}\n{}", turns.log());
        let doomed = doomed.lock().unwrap().clone();
        let (verbs, crashed) = (verbs.to_vec(), schedule.crash);
        Run { bench: self, what, store, snapshots, verbs, crashed, answers, doomed, steps }
    }
}

/// Walks the legs, crashes who is to crash, and lets everybody come to the end. Returns how many steps were taken.
async fn walk(turns: &Turns, actors: usize, schedule: &Schedule) -> usize {
    let mut taken = 0;
    for (actor, steps) in &schedule.legs {
        for _ in 0..*steps {
            if !turns.step(*actor).await {
                break;
            }
            taken += 1;
        }
    }
    if let Some(crash) = schedule.crash {
        turns.crash(crash);
    }
    let order = schedule.legs.iter().map(|(actor, _)| *actor).chain(0..actors);
    for actor in order {
        while turns.step(actor).await {
            taken += 1;
        }
    }
    taken
}

/// Ends an actor when it is dropped, be it that it panics.
struct Ending(Arc<Turns>, usize);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// One actor, on its way.
struct Act {
    manager: SnapshotManager,
    verb: Verb,
    ids: Vec<String>,
    leftover: String,
    database: std::path::PathBuf,
    contents: Vec<Contents>,
    doomed: Arc<Mutex<BTreeSet<String>>>,
}

impl Act {
    async fn carry_out(&self) -> Result<Answer> {
        let manager = &self.manager;
        match self.verb {
            Verb::Increment(base) => self.create(Some(self.ids[base].clone())).await,
            Verb::Full => self.create(None).await,
            Verb::DeleteCascade(number) => self.delete(number, true).await,
            Verb::Delete(number) => self.delete(number, false).await,
            Verb::Prune => {
                let plan = manager.plan_cleanup(1).await?;
                let ids: Vec<_> = plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect();
                self.doomed.lock().unwrap().extend(ids);
                manager.carry_out(&plan).await.map(|_| Answer::Read)
            }
            Verb::Verify(number) => match manager.verify_snapshot_with(&self.ids[number], &Default::default()).await {
                Ok(report) if report.is_whole() => Ok(Answer::Read),
                Ok(report) => panic!("a verify found damage: {:?}", report.damage),
                Err(error) => Err(error),
            },
            Verb::Restore(number) => {
                let restored = contents(&manager.restore_snapshot(&self.ids[number]).await?);
                assert!(restored == self.contents[number], "restored to something else");
                Ok(Answer::Read)
            }
            Verb::Compact(number) => {
                manager.compact_snapshot(&self.ids[number], None).await.map(|made| Answer::Made(made.id))
            }
            Verb::SweepOther => {
                let mut leftovers = manager.leftovers().await?;
                leftovers.retain(|leftover| leftover.key == self.leftover);
                manager.sweep(&leftovers).await.map(|_| Answer::Read)
            }
            Verb::SweepAll | Verb::Sweep => {
                let leftovers = manager.leftovers().await?;
                manager.sweep(&leftovers).await.map(|_| Answer::Read)
            }
        }
    }

    async fn create(&self, base_id: Option<String>) -> Result<Answer> {
        let options = CreateOptions { base_id, ..CreateOptions::default() };
        let made = self.manager.create_snapshot_of_file(&self.database, "new", &options).await;
        made.map(|made| Answer::Made(made.id))
    }

    async fn delete(&self, number: usize, cascade: bool) -> Result<Answer> {
        let plan = self.manager.plan_delete(&[self.ids[number].as_str()], cascade).await?;
        self.doomed.lock().unwrap().extend(plan.ids.iter().cloned());
        self.manager.carry_out_delete(&plan).await.map(|_| Answer::Gone(plan.ids))
    }
}

impl Run<'_> {
    /// What must hold after every run.
    pub(crate) async fn check(&self) {
        let listed = self.check_listed(Utc::now()).await;
        for (number, answer) in self.answers.iter().enumerate() {
            if self.crashed != Some(number) {
                self.check_answer(self.verbs[number], answer, &listed);
            }
        }
        for id in &self.bench.ids[..self.snapshots] {
            assert!(self.doomed.contains(id) || listed.contains(id), "{id} is lost: {}", self.what);
        }
        if self.crashed.is_none() {
            let made = self.answers.iter().filter(|answer| matches!(answer, Ok(Answer::Made(_)))).count();
            let new = listed.iter().filter(|id| !self.bench.ids.contains(id)).count();
            assert!(new <= made, "more was made than was told: {}", self.what);
        }
        self.check_after_grace(&listed).await;
    }

    /// Every snapshot that is listed is whole, with what it stands on.
    async fn check_listed(&self, now: DateTime<Utc>) -> BTreeSet<String> {
        let manager = self.manager(now);
        let listing = manager.list().await.unwrap();
        assert!(listing.damaged.is_empty(), "{:?}: {}", listing.damaged, self.what);
        let mut listed = BTreeSet::new();
        for snapshot in listing.snapshots {
            let report = manager.verify_snapshot_with(&snapshot.id, &Default::default()).await.unwrap();
            assert!(report.is_whole(), "{:?}: {}", report.damage, self.what);
            listed.insert(snapshot.id);
        }
        listed
    }

    /// What an actor was told is true.
    fn check_answer(&self, verb: Verb, answer: &Result<Answer>, listed: &BTreeSet<String>) {
        let may_be_gone = |number: usize| self.doomed.contains(&self.bench.ids[number]);
        match (verb, answer) {
            (_, Ok(Answer::Made(id))) => {
                assert!(listed.contains(id) || self.doomed.contains(id), "{id} is not there: {}", self.what);
            }
            (_, Ok(Answer::Gone(ids))) => {
                assert!(!ids.iter().any(|id| listed.contains(id)), "not all are gone: {}", self.what);
            }
            (Verb::Verify(number) | Verb::Restore(number) | Verb::Compact(number), Err(error)) => {
                let is_right = may_be_gone(number) && error.kind() == ErrorKind::NotFound;
                let was_swept = self.verbs.contains(&Verb::SweepAll) && matches!(verb, Verb::Compact(_));
                assert!(is_right || was_swept, "{error:?}: {}", self.what);
            }
            (Verb::Increment(_) | Verb::Full, Err(error)) => {
                let is_alone = self.doomed.is_empty() && !self.verbs.contains(&Verb::SweepAll);
                assert!(!is_alone, "{error:?}: {}", self.what);
            }
            (_, Err(error)) => self.check_refusal(error),
            (_, Ok(Answer::Read)) => {}
        }
    }

    /// A deletion may find that there is nothing, or that something has come to stand on it; nothing else goes wrong.
    fn check_refusal(&self, error: &SnapshotError) {
        assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid), "{error:?}: {}", self.what);
    }

    /// Once time has passed, a sweep leaves nothing but the snapshots, and everything can be deleted.
    async fn check_after_grace(&self, listed: &BTreeSet<String>) {
        let later = Utc::now() + TimeDelta::hours(25);
        let manager = self.manager(later);
        for _ in 0..2 {
            let leftovers = manager.leftovers().await.unwrap();
            manager.sweep(&leftovers).await.unwrap();
        }
        assert_eq!(self.check_listed(later).await, *listed, "a sweep changed the snapshots: {}", self.what);
        for object in self.objects().await {
            let (id, file) = layout::parse_key(&object).unwrap();
            let is_of_snapshot = listed.contains(id.as_str()) && layout::FILES.contains(&file);
            assert!(is_of_snapshot, "{object} is left: {}", self.what);
        }
        let ids: Vec<&str> = listed.iter().map(String::as_str).collect();
        if !ids.is_empty() {
            let plan = manager.plan_delete(&ids, true).await.unwrap();
            assert_eq!(manager.carry_out_delete(&plan).await.unwrap(), listed.len(), "{}", self.what);
        }
        assert_eq!(self.objects().await, Vec::<String>::new(), "{}", self.what);
    }

    fn manager(&self, now: DateTime<Utc>) -> SnapshotManager {
        self.bench.manager(self.store.clone(), Arc::new(Ticking::apart(now)), TimeDelta::hours(24))
    }

    async fn objects(&self) -> Vec<String> {
        self.store.list("").map_ok(|object| object.key).try_collect().await.unwrap()
    }
}

fn config(place: &Place) -> SnapshotConfig {
    SnapshotConfig { workers: 1, max_concurrent_io: 4, compression_level: 1, ..place.config() }
}

fn key(id: &str, file: &str) -> String {
    layout::key(&id.parse().unwrap(), file)
}

/// A clock that goes on by a millisecond whenever it is asked.
#[derive(Debug)]
struct Ticking {
    start: DateTime<Utc>,
    ticks: AtomicU64,
}

impl Ticking {
    fn at(start: DateTime<Utc>) -> Self {
        Self { start, ticks: AtomicU64::new(0) }
    }

    /// One that gives other numbers than the actors get.
    fn apart(start: DateTime<Utc>) -> Self {
        Self { start, ticks: AtomicU64::new(1_000_000) }
    }
}

impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::milliseconds((self.ticks.fetch_add(1, Ordering::SeqCst) % 1_000_000) as i64)
    }

    fn random(&self) -> Result<u64> {
        // Other numbers than those that were made at another time: what is compacted keeps its moment and gets a new number.
        let apart = u64::try_from(self.start.timestamp_millis()).unwrap_or_default() << 20;
        Ok(apart + self.ticks.fetch_add(1, Ordering::SeqCst))
    }
}
