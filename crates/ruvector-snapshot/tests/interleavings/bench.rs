//! The actors, where they start from, how a schedule runs, and what must hold after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, PrunePolicy, Result, SnapshotConfig, SnapshotError, SnapshotManager,
};

use crate::common::{Contents, Place, contents, entry, make_database};
use crate::stepped::{Stepped, Turns};
use crate::time::{Dated, Time};

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
    /// Keeps the newest, and sweeps: as the command does, by one plan.
    Prune,
    /// Verifies a snapshot.
    Verify(usize),
    /// Restores a snapshot.
    Restore(usize),
    /// Makes a full snapshot of an increment.
    Compact(usize),
    /// Pins a snapshot.
    Pin(usize),
    /// Lets a snapshot be deleted again.
    Unpin(usize),
    /// Sweeps what is left over: what was there at the start.
    Sweep,
    /// Sweeps after days in which all others stood still.
    SweepAfterDays,
    /// Loses all objects of a snapshot at once, as by hand.
    Lose(usize),
    /// Commits what was left over at the start, as by a request that was under way when its process died.
    CommitLate,
}

/// A full snapshot (0), increments on it (1) and on that (2), and what an upload has left that was killed.
pub(crate) struct Bench {
    place: Place,
    objects: BTreeMap<String, Bytes>,
    pub(crate) ids: Vec<String>,
    contents: Vec<Contents>,
    /// The metadata.json that the leftover never got.
    late: (String, Bytes),
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
    time: Arc<Time>,
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
    Done,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let place = Place::new();
        let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
        let manager = SnapshotManager::with_store(config(&place), store.clone()).unwrap();
        let manager = manager.with_clock(Time::at(Utc::now() - TimeDelta::hours(1)));
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
        let late_key = key(&leftover_id.unwrap().id, layout::METADATA_JSON);
        let late = (late_key.clone(), store.get(&late_key, u64::MAX).await.unwrap());
        store.delete(&late_key).await.unwrap();
        db.insert(entry("newest".to_owned(), 3, 4, 2)).unwrap();
        drop(db);
        let infos: Vec<_> = store.list("").try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for info in infos {
            objects.insert(info.key.clone(), store.get(&info.key, info.size_bytes).await.unwrap());
        }
        Self { place, objects, ids, contents: all, late }
    }

    pub(crate) fn leftover_id(&self) -> String {
        layout::parse_key(&self.late.0).unwrap().0.to_string()
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

    fn manager(&self, store: Arc<dyn SnapshotStore>, time: Arc<Time>) -> SnapshotManager {
        SnapshotManager::with_store(config(&self.place), store).unwrap().with_clock(time)
    }

    /// What a sweep whose own clock is days ahead of the store finds left over, and what it takes, where the marks of an
    /// upload and of a deletion have just been put.
    pub(crate) async fn sweep_with_a_clock_ahead(&self) -> [Vec<String>; 2] {
        let store = Dated::over(self.store(1).await, Time::at(Utc::now()));
        for file in [layout::UPLOAD_JSON, "deleting-0123456789abcdef"] {
            store.create(&key(&self.ids[0], file), r#"{"base_ids":[]}"#.into()).await.unwrap();
        }
        let manager = self.manager(store, Time::at(Utc::now() + TimeDelta::days(2)));
        let found = manager.leftovers().await.unwrap();
        let swept = manager.sweep(&found).await.unwrap();
        [found, swept].map(|left| left.into_iter().map(|leftover| leftover.key).collect())
    }

    /// Lets actors take turns as a schedule says, over the first `snapshots` of the chain.
    pub(crate) async fn run(&self, snapshots: usize, verbs: &[Verb], schedule: &Schedule) -> Run<'_> {
        let time = Time::at(Utc::now());
        let store = Dated::over(self.store(snapshots).await, time.clone());
        let turns = Turns::of(verbs.len(), time.clone(), schedule.seed);
        let doomed = Arc::new(Mutex::new(BTreeSet::new()));
        let mut actors = Vec::new();
        for (number, verb) in verbs.iter().enumerate() {
            let stepped = Stepped::over(store.clone(), turns.clone(), number);
            let act = Act {
                manager: self.manager(stepped, time.clone()),
                store: store.clone(),
                late: self.late.clone(),
                number,
                turns: turns.clone(),
                verb: *verb,
                ids: self.ids.clone(),
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
        Run { bench: self, what, store, time, snapshots, verbs, crashed, answers, doomed, steps }
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
    /// The store, where no step is waited for.
    store: Arc<dyn SnapshotStore>,
    late: (String, Bytes),
    number: usize,
    turns: Arc<Turns>,
    verb: Verb,
    ids: Vec<String>,
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
                let policy = PrunePolicy { keep_last: 1, ..PrunePolicy::default() };
                let plan = manager.plan_prune(&policy).await?;
                let ids: Vec<_> = plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect();
                self.doomed.lock().unwrap().extend(ids);
                manager.carry_out(&plan).await?;
                manager.sweep(&plan.sweep).await.map(|_| Answer::Done)
            }
            Verb::Verify(number) => match manager.verify_snapshot_with(&self.ids[number], &Default::default()).await {
                Ok(report) if report.is_whole() => Ok(Answer::Done),
                Ok(report) => panic!("a verify found damage: {:?}", report.damage),
                Err(error) => Err(error),
            },
            Verb::Restore(number) => {
                let restored = contents(&manager.restore_snapshot(&self.ids[number]).await?);
                assert!(restored == self.contents[number], "restored to something else");
                Ok(Answer::Done)
            }
            Verb::Compact(number) => {
                manager.compact_snapshot(&self.ids[number], None).await.map(|made| Answer::Made(made.id))
            }
            Verb::Pin(number) => manager.pin_snapshot(&self.ids[number]).await.map(|()| Answer::Done),
            Verb::Unpin(number) => manager.unpin_snapshot(&self.ids[number]).await.map(|()| Answer::Done),
            Verb::Sweep | Verb::SweepAfterDays => {
                if self.verb == Verb::SweepAfterDays {
                    self.turns.let_days_pass(self.number).await?;
                }
                let leftovers = manager.leftovers().await?;
                manager.sweep(&leftovers).await.map(|_| Answer::Done)
            }
            Verb::Lose(number) => {
                let _turn = self.turns.take(self.number, "loses", &self.ids[number]).await?;
                self.doomed.lock().unwrap().insert(self.ids[number].clone());
                for file in layout::FILES {
                    self.store.delete(&key(&self.ids[number], file)).await?;
                }
                Ok(Answer::Done)
            }
            Verb::CommitLate => {
                let _turn = self.turns.take(self.number, "commits", &self.late.0).await?;
                self.store.create(&self.late.0, self.late.1.clone()).await.map(|()| Answer::Done)
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
        let listed = self.check_listed().await;
        let pinned = self.pinned().await;
        for (number, answer) in self.answers.iter().enumerate() {
            if self.crashed != Some(number) {
                self.check_answer(self.verbs[number], answer, &listed, &pinned);
            }
        }
        for id in &self.bench.ids[..self.snapshots] {
            assert!(self.doomed.contains(id) || listed.contains(id), "{id} is lost: {}", self.what);
        }
        self.check_told(&listed);
        self.check_after_grace(&listed, &pinned).await;
    }

    /// What is new is what somebody was told of, or was being made by the one who crashed.
    fn check_told(&self, listed: &BTreeSet<String>) {
        let told = self.answers.iter().filter_map(|answer| match answer {
            Ok(Answer::Made(id)) => Some(id),
            _ => None,
        });
        let told: BTreeSet<&String> = told.collect();
        let new = listed.iter().filter(|id| !self.bench.ids.contains(id) && !told.contains(id)).count();
        let makes = |verb: &Verb| matches!(verb, Verb::Full | Verb::Increment(_) | Verb::Compact(_));
        let crashed = self.crashed.is_some_and(|crashed| makes(&self.verbs[crashed]));
        assert!(new <= usize::from(crashed), "more was made than was told: {}", self.what);
    }

    /// Whether the actor of this number was told that it worked.
    pub(crate) fn is_ok(&self, actor: usize) -> bool {
        self.answers[actor].is_ok()
    }

    /// Every snapshot that is listed is whole, with what it stands on.
    pub(crate) async fn check_listed(&self) -> BTreeSet<String> {
        let manager = self.manager();
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

    /// What an actor was told is true, and a refusal has a reason.
    fn check_answer(&self, verb: Verb, answer: &Result<Answer>, listed: &BTreeSet<String>, pinned: &BTreeSet<String>) {
        let id_of = |number: usize| &self.bench.ids[number];
        match (verb, answer) {
            (_, Ok(Answer::Made(id))) => {
                assert!(listed.contains(id) || self.doomed.contains(id), "{id} is not there: {}", self.what);
            }
            (_, Ok(Answer::Gone(ids))) => {
                assert!(!ids.iter().any(|id| listed.contains(id)), "not all are gone: {}", self.what);
            }
            (Verb::Pin(number), Ok(_)) => {
                let holds = pinned.contains(id_of(number)) || self.verbs.contains(&Verb::Unpin(number));
                assert!(listed.contains(id_of(number)) && holds, "a pin does not hold: {}", self.what);
            }
            (_, Ok(Answer::Done)) => {}
            (_, Err(error)) => self.check_refusal(verb, error),
        }
    }

    fn check_refusal(&self, verb: Verb, error: &SnapshotError) {
        let is_doomed = |number: usize| self.doomed.contains(&self.bench.ids[number]);
        let days_passed = self.verbs.contains(&Verb::SweepAfterDays);
        let kind = error.kind();
        let is_right = match verb {
            Verb::Verify(number) | Verb::Restore(number) => is_doomed(number) && kind == ErrorKind::NotFound,
            // Its base was marked, be it that the mark was taken back, or gone.
            Verb::Increment(number) if is_doomed(number) => {
                matches!(kind, ErrorKind::NotFound | ErrorKind::Unavailable)
            }
            Verb::Compact(number) if is_doomed(number) && kind == ErrorKind::NotFound => true,
            // What was just made may be dropped at once, and a sweep may find what stood still for days.
            Verb::Increment(_) | Verb::Full | Verb::Compact(_) => {
                let was_dropped =
                    ["was stored, and deleted", "was taken back"].map(|what| error.message().contains(what));
                let stood_still = days_passed && kind == ErrorKind::Unavailable;
                was_dropped.contains(&true) && self.verbs.contains(&Verb::Prune) || stood_still
            }
            Verb::Pin(number) | Verb::Unpin(number) => {
                is_doomed(number) && matches!(kind, ErrorKind::NotFound | ErrorKind::Unavailable)
            }
            // Nothing is there any more, or something stands on it, or it is pinned.
            Verb::Delete(_) | Verb::DeleteCascade(_) => {
                matches!(kind, ErrorKind::NotFound | ErrorKind::Invalid)
                    || days_passed && kind == ErrorKind::Unavailable
            }
            Verb::Lose(_) | Verb::CommitLate => false,
            Verb::Prune | Verb::Sweep | Verb::SweepAfterDays => days_passed && kind == ErrorKind::Unavailable,
        };
        assert!(is_right, "{error:?}: {}", self.what);
    }

    /// Once days have passed, a sweep leaves nothing but the snapshots, and everything can be deleted.
    async fn check_after_grace(&self, listed: &BTreeSet<String>, pinned: &BTreeSet<String>) {
        self.time.pass();
        let manager = self.manager();
        for _ in 0..2 {
            let leftovers = manager.leftovers().await.unwrap();
            manager.sweep(&leftovers).await.unwrap();
        }
        assert_eq!(self.check_listed().await, *listed, "a sweep changed the snapshots: {}", self.what);
        assert_eq!(self.pinned().await, *pinned, "a sweep changed the pins: {}", self.what);
        for object in self.objects().await {
            let (id, file) = layout::parse_key(&object).unwrap();
            let is_of_snapshot = layout::FILES.contains(&file) || file == layout::PINNED_JSON;
            assert!(listed.contains(id.as_str()) && is_of_snapshot, "{object} is left: {}", self.what);
        }
        for id in pinned {
            manager.unpin_snapshot(id).await.unwrap();
        }
        let ids: Vec<&str> = listed.iter().map(String::as_str).collect();
        if !ids.is_empty() {
            let plan = manager.plan_delete(&ids, true).await.unwrap();
            assert_eq!(manager.carry_out_delete(&plan).await.unwrap(), listed.len(), "{}", self.what);
        }
        assert_eq!(self.objects().await, Vec::<String>::new(), "{}", self.what);
    }

    async fn pinned(&self) -> BTreeSet<String> {
        let listing = self.manager().list().await.unwrap();
        listing.snapshots.into_iter().filter(|snapshot| snapshot.pinned).map(|snapshot| snapshot.id).collect()
    }

    fn manager(&self) -> SnapshotManager {
        self.bench.manager(self.store.clone(), self.time.clone())
    }

    pub(crate) async fn objects(&self) -> Vec<String> {
        self.store.list("").map_ok(|object| object.key).try_collect().await.unwrap()
    }
}

fn config(place: &Place) -> SnapshotConfig {
    SnapshotConfig { workers: 1, max_concurrent_io: 4, compression_level: 1, ..place.config() }
}

fn key(id: &str, file: &str) -> String {
    layout::key(&id.parse().unwrap(), file)
}
