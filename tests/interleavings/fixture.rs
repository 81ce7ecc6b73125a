//! The actors, the store they start from, how a schedule runs, and what must hold after every run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::TimeDelta;
use futures::TryStreamExt as _;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{
    ChainEnd, CopiedSnapshot, CopyOptions, CopyOutcome, CopySelection, CreateOptions, ErrorKind, PrunePolicy, Result,
    SnapshotConfig, SnapshotError, SnapshotManager, Verification,
};
use ruvector_snapshot_format::layout;
use test_fixtures::{Contents, TestDir, contents, entry, make_database};

use crate::simulated_time::{SimulatedTime, dated_store};
use crate::step_scheduler::StepScheduler;

/// What one actor does. A number is the index of a snapshot in the chain of the [`Fixture`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verb {
    /// Creates an incremental snapshot on this base.
    Increment(usize),
    /// Creates a full snapshot.
    Full,
    /// Deletes a snapshot and its dependents.
    DeleteCascade(usize),
    /// Deletes a snapshot that has no dependents.
    Delete(usize),
    /// Keeps the newest snapshot and collects garbage, all by one plan, as the command does.
    Prune,
    /// Lists the snapshots.
    List,
    /// Reads the `metadata.json` of a snapshot and its ancestors, as `show` does.
    Chain(usize),
    /// Verifies a snapshot.
    Verify(usize),
    /// Verifies all snapshots.
    VerifyAll,
    /// Restores a snapshot.
    Restore(usize),
    /// Compacts an increment into a full snapshot.
    Compact(usize),
    /// Copies a snapshot, and those that it depends on, from another store that has the whole chain.
    Copy(usize),
    /// Pins a snapshot.
    Pin(usize),
    /// Unpins a snapshot.
    Unpin(usize),
    /// Collects the orphans that are there at the start.
    CollectGarbage,
    /// Collects orphans after days in which all other actors stood still.
    CollectGarbageAfterDays,
    /// Removes all objects of a snapshot at once, as if by hand.
    Lose(usize),
    /// Commits the abandoned upload of the start, as a request does that was sent before its process died.
    CommitLate,
}

impl Verb {
    fn collects(self) -> bool {
        matches!(self, Self::Prune | Self::CollectGarbage | Self::CollectGarbageAfterDays)
    }
}

/// A chain of a full snapshot (0) and two increments (1 and 2), and an abandoned upload.
pub(crate) struct Fixture {
    dir: TestDir,
    objects: BTreeMap<String, Bytes>,
    pub(crate) ids: Vec<String>,
    contents: Vec<Contents>,
    /// The key and the bytes of the metadata.json that the abandoned upload never got.
    late_commit: (String, Bytes),
    time: Arc<SimulatedTime>,
}

/// How actors take turns: legs of one actor and a number of its steps, then each actor to its end, in order.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) legs: Vec<(usize, usize)>,
    /// The actor that crashes after the legs.
    pub(crate) crash: Option<usize>,
    pub(crate) seed: u64,
}

/// A run that has ended.
pub(crate) struct Run<'a> {
    fixture: &'a Fixture,
    /// The verbs, the schedule, the results and the steps, for messages.
    pub(crate) description: String,
    store: Arc<dyn SnapshotStore>,
    time: Arc<SimulatedTime>,
    /// How many snapshots of the chain were in the store.
    snapshots: usize,
    verbs: Vec<Verb>,
    crashed: Option<usize>,
    results: Vec<Result<Outcome>>,
    /// The ids of all snapshots that any actor meant to delete.
    planned_deletions: BTreeSet<String>,
    pub(crate) steps: usize,
}

/// What a verb reported.
#[derive(Debug)]
enum Outcome {
    Created(String),
    Deleted(Vec<String>),
    /// What the copy has committed, and why it has not committed the rest.
    Copied(Vec<String>, Vec<(ErrorKind, String)>),
    Done,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let (dir, time) = (TestDir::new(), SimulatedTime::new());
        let store = dated_store(open(&Location::Memory, &StoreConfig::default()).unwrap(), time.clone());
        let manager = SnapshotManager::with_store(config(&dir), store.clone()).unwrap().with_clock(time.clone());
        let db = make_database(&dir.path("a.db"), 12, 4, 1);
        let (mut ids, mut all_contents): (Vec<String>, _) = (Vec::new(), Vec::new());
        for number in 0..3 {
            db.insert(entry(format!("new-{number}"), number, 4, 2)).unwrap();
            let options = match ids.last() {
                Some(base_id) => CreateOptions::default().base_id(base_id),
                None => CreateOptions::default(),
            };
            let created = manager.create_snapshot_of_file(dir.path("a.db"), "kept", &options).await;
            ids.push(created.unwrap().id);
            all_contents.push(contents(&db));
        }
        let abandoned = manager.create_snapshot_of_file(dir.path("a.db"), "left", &CreateOptions::default()).await;
        let late_key = key(&abandoned.unwrap().id, layout::METADATA_JSON);
        let late_commit = (late_key.clone(), store.get(&late_key, u64::MAX).await.unwrap());
        store.delete(&late_key).await.unwrap();
        db.insert(entry("newest".to_owned(), 3, 4, 2)).unwrap();
        drop(db);
        let infos: Vec<_> = store.list("").try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for info in infos {
            objects.insert(info.key.clone(), store.get(&info.key, info.size_bytes).await.unwrap());
        }
        Self { dir, objects, ids, contents: all_contents, late_commit, time }
    }

    pub(crate) fn abandoned_id(&self) -> String {
        layout::parse_key(&self.late_commit.0).unwrap().0.to_string()
    }

    /// Returns a store with the first `snapshots` of the chain.
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

    fn manager(&self, store: Arc<dyn SnapshotStore>, time: Arc<SimulatedTime>) -> SnapshotManager {
        SnapshotManager::with_store(config(&self.dir), store).unwrap().with_clock(time)
    }

    /// Returns a time that starts an hour after the fixture was made.
    fn later_time(&self) -> Arc<SimulatedTime> {
        SimulatedTime::starting_at(self.time.start() + TimeDelta::hours(1))
    }

    /// Puts an upload marker and a deletion marker into the store just now, and collects garbage by a clock that is
    /// days ahead of the store. Returns the orphans that were found and those that were removed.
    pub(crate) async fn collect_garbage_with_a_clock_ahead(&self) -> [Vec<String>; 2] {
        let time = self.later_time();
        let store = dated_store(self.store(1).await, time.clone());
        for file in [layout::UPLOAD_JSON, "deleting-0123456789abcdef"] {
            store.create(&key(&self.ids[0], file), r#"{"base_ids":[]}"#.into()).await.unwrap();
        }
        let manager = self.manager(store, SimulatedTime::starting_at(time.start() + TimeDelta::days(2)));
        let found = manager.orphans().await.unwrap();
        let removed = manager.collect_garbage(&found).await.unwrap();
        [found, removed].map(|orphans| orphans.into_iter().map(|orphan| orphan.key).collect())
    }

    /// Runs one verb alone, on the first `snapshots` of the chain, and returns how many steps it takes.
    pub(crate) async fn steps_alone(&self, snapshots: usize, verb: Verb) -> usize {
        let alone = Schedule { legs: vec![(0, usize::MAX)], crash: None, seed: 0 };
        self.run(snapshots, &[verb], &alone).await.steps
    }

    /// Lets one actor per verb take turns as a schedule says, on the first `snapshots` of the chain.
    pub(crate) async fn run(&self, snapshots: usize, verbs: &[Verb], schedule: &Schedule) -> Run<'_> {
        let time = self.later_time();
        let store = dated_store(self.store(snapshots).await, time.clone());
        let scheduler = StepScheduler::new(verbs.len(), time.clone(), schedule.seed);
        let planned_deletions = Arc::new(Mutex::new(BTreeSet::new()));
        let mut tasks = Vec::new();
        for (number, verb) in verbs.iter().enumerate() {
            let actor = Actor {
                manager: self.manager(scheduler.store_of(number, store.clone()), time.clone()),
                store: store.clone(),
                whole_chain: self.manager(self.store(self.ids.len()).await, time.clone()),
                late_commit: self.late_commit.clone(),
                number,
                scheduler: scheduler.clone(),
                verb: *verb,
                ids: self.ids.clone(),
                database: self.dir.path("a.db"),
                contents: self.contents.clone(),
                planned_deletions: planned_deletions.clone(),
            };
            let scheduler = scheduler.clone();
            tasks.push(tokio::spawn(async move {
                let _end = EndOnDrop(scheduler, number);
                let result = actor.run().await;
                actor.manager.wait_for_cleanup().await;
                result
            }));
        }
        let steps = follow(schedule, &scheduler, verbs.len()).await;
        let mut results = Vec::new();
        for task in tasks {
            let result = task.await;
            results
                .push(result.unwrap_or_else(|error| panic!("{error}: {verbs:?}, {schedule:?}\n{}", scheduler.log())));
        }
        let description = format!("{verbs:?}, {schedule:?}, results {results:?}\n{}", scheduler.log());
        let planned_deletions = planned_deletions.lock().unwrap().clone();
        let (verbs, crashed) = (verbs.to_vec(), schedule.crash);
        Run { fixture: self, description, store, time, snapshots, verbs, crashed, results, planned_deletions, steps }
    }
}

/// Follows a schedule: takes the legs, crashes an actor, and lets every actor end. Returns how many steps were taken.
async fn follow(schedule: &Schedule, scheduler: &StepScheduler, actors: usize) -> usize {
    let mut taken = 0;
    for (actor, steps) in &schedule.legs {
        for _ in 0..*steps {
            if !scheduler.step(*actor).await {
                break;
            }
            taken += 1;
        }
    }
    if let Some(crash) = schedule.crash {
        scheduler.crash(crash);
    }
    let order = schedule.legs.iter().map(|(actor, _)| *actor).chain(0..actors);
    for actor in order {
        while scheduler.step(actor).await {
            taken += 1;
        }
    }
    taken
}

/// Ends an actor when it is dropped, also if the actor panics.
struct EndOnDrop(Arc<StepScheduler>, usize);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// An actor and all that it needs.
struct Actor {
    manager: SnapshotManager,
    /// The store without steps.
    store: Arc<dyn SnapshotStore>,
    /// Another store, with the whole chain.
    whole_chain: SnapshotManager,
    late_commit: (String, Bytes),
    number: usize,
    scheduler: Arc<StepScheduler>,
    verb: Verb,
    ids: Vec<String>,
    database: std::path::PathBuf,
    contents: Vec<Contents>,
    planned_deletions: Arc<Mutex<BTreeSet<String>>>,
}

impl Actor {
    async fn run(&self) -> Result<Outcome> {
        let manager = &self.manager;
        match self.verb {
            Verb::Increment(base) => self.create(CreateOptions::default().base_id(&self.ids[base])).await,
            Verb::Full => self.create(CreateOptions::default()).await,
            Verb::DeleteCascade(number) => self.delete(number, true).await,
            Verb::Delete(number) => self.delete(number, false).await,
            Verb::Prune => {
                let plan = manager.plan_prune(&PrunePolicy::default().keep_last(1)).await?;
                let ids: Vec<_> = plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect();
                self.planned_deletions.lock().unwrap().extend(ids);
                manager.apply_prune(&plan).await?;
                manager.collect_garbage(&plan.orphans).await.map(|_| Outcome::Done)
            }
            Verb::List => {
                let mut listing = manager.list().await?;
                let is_corrupt = |error: &SnapshotError| error.kind() == ErrorKind::Corrupt;
                let is_any_corrupt = listing.unusable.iter().any(|unusable| is_corrupt(&unusable.error));
                assert!(!is_any_corrupt, "{:?}", listing.unusable);
                // The actor has crashed.
                if let Some(unusable) = listing.unusable.pop() {
                    return Err(unusable.error);
                }
                for snapshot in &listing.snapshots {
                    let end = listing.ancestry(snapshot).end;
                    assert!(!matches!(end, ChainEnd::Missing | ChainEnd::Unusable), "{}: {end:?}", snapshot.id);
                }
                Ok(Outcome::Done)
            }
            Verb::Chain(number) => manager.chain(&self.ids[number]).await.map(|_| Outcome::Done),
            Verb::VerifyAll => {
                let all: Vec<_> = manager.verify_all(Default::default()).try_collect().await?;
                assert!(!all.iter().any(|one| one.is_intact() == Some(false)), "{all:?}");
                // The actor has crashed.
                let failed = all.into_iter().find_map(|one| match one {
                    Verification::Failed { error, .. } => Some(error),
                    _ => None,
                });
                failed.map_or(Ok(Outcome::Done), Err)
            }
            Verb::Verify(number) => match manager.verify_snapshot_with(&self.ids[number], &Default::default()).await {
                Ok(report) if report.is_intact() => Ok(Outcome::Done),
                Ok(report) => panic!("a verify reports corruption: {:?}", report.corruption),
                Err(error) => Err(error),
            },
            Verb::Restore(number) => {
                let restored = contents(&manager.restore_snapshot(&self.ids[number]).await?);
                assert!(restored == self.contents[number], "the restored database has other contents");
                Ok(Outcome::Done)
            }
            Verb::Compact(number) => {
                manager.compact_snapshot(&self.ids[number], None).await.map(|created| Outcome::Created(created.id))
            }
            Verb::Copy(number) => self.copy(number).await,
            Verb::Pin(number) => manager.pin_snapshot(&self.ids[number]).await.map(|()| Outcome::Done),
            Verb::Unpin(number) => manager.unpin_snapshot(&self.ids[number]).await.map(|()| Outcome::Done),
            Verb::CollectGarbage => self.collect_garbage().await,
            Verb::CollectGarbageAfterDays => {
                self.scheduler.wait_for_days(self.number).await?;
                self.collect_garbage().await
            }
            Verb::Lose(number) => {
                let _step = self.scheduler.wait_for_turn(self.number, "loses", &self.ids[number]).await?;
                self.planned_deletions.lock().unwrap().insert(self.ids[number].clone());
                for file in layout::FILES {
                    self.store.delete(&key(&self.ids[number], file)).await?;
                }
                Ok(Outcome::Done)
            }
            Verb::CommitLate => {
                let (key, bytes) = &self.late_commit;
                let _step = self.scheduler.wait_for_turn(self.number, "commits", key).await?;
                self.store.create(key, bytes.clone()).await.map(|()| Outcome::Done)
            }
        }
    }

    async fn create(&self, options: CreateOptions) -> Result<Outcome> {
        let created = self.manager.create_snapshot_of_file(&self.database, "new", &options).await;
        created.map(|created| Outcome::Created(created.id))
    }

    async fn copy(&self, number: usize) -> Result<Outcome> {
        let selection = CopySelection::Ids(vec![self.ids[number].clone()]);
        let plan = self.whole_chain.plan_copy(&self.manager, &selection, &CopyOptions::default()).await?;
        let report = self.whole_chain.apply_copy(&self.manager, &plan, None).await?;
        let is_copied = |copied: &&CopiedSnapshot| copied.outcome == CopyOutcome::Copied;
        let copied = report.snapshots.iter().filter(is_copied).map(|copied| copied.id.clone()).collect();
        let failed = report.snapshots.into_iter().filter_map(|copied| copied.kind.zip(copied.error));
        Ok(Outcome::Copied(copied, failed.collect()))
    }

    async fn delete(&self, number: usize, cascade: bool) -> Result<Outcome> {
        let plan = self.manager.plan_delete(&[self.ids[number].as_str()], cascade).await?;
        self.planned_deletions.lock().unwrap().extend(plan.ids.iter().cloned());
        self.manager.apply_delete(&plan).await.map(|_| Outcome::Deleted(plan.ids))
    }

    async fn collect_garbage(&self) -> Result<Outcome> {
        let orphans = self.manager.orphans().await?;
        self.manager.collect_garbage(&orphans).await.map(|_| Outcome::Done)
    }
}

impl Run<'_> {
    /// Asserts what must hold after every run.
    pub(crate) async fn check(&self) {
        let listed = self.check_listed().await;
        let pinned = self.pinned().await;
        for (number, result) in self.results.iter().enumerate() {
            if self.crashed != Some(number) {
                self.check_result(self.verbs[number], result, &listed, &pinned);
            }
        }
        for id in &self.fixture.ids[..self.snapshots] {
            let is_accounted_for = self.planned_deletions.contains(id) || listed.contains(id);
            assert!(is_accounted_for, "{id} is lost: {}", self.description);
        }
        self.check_new_snapshots(&listed);
        self.check_after_grace_period(&listed, &pinned).await;
    }

    /// Asserts that an actor reported every new snapshot, except for the one that a crashed actor may have created.
    fn check_new_snapshots(&self, listed: &BTreeSet<String>) {
        let reported = self.results.iter().filter_map(|result| match result {
            Ok(Outcome::Created(id)) => Some(id),
            _ => None,
        });
        let reported: BTreeSet<&String> = reported.collect();
        let is_unreported = |id: &&String| !self.fixture.ids.contains(id) && !reported.contains(id);
        let unreported = listed.iter().filter(is_unreported).count();
        let creates = |verb: &Verb| matches!(verb, Verb::Full | Verb::Increment(_) | Verb::Compact(_));
        let creator_crashed = self.crashed.is_some_and(|crashed| creates(&self.verbs[crashed]));
        assert!(unreported <= usize::from(creator_crashed), "a new snapshot was not reported: {}", self.description);
    }

    /// Returns whether the actor of this number succeeded.
    pub(crate) fn is_ok(&self, actor: usize) -> bool {
        self.results[actor].is_ok()
    }

    /// Asserts that every listed snapshot is intact, with its ancestors. Returns the ids.
    pub(crate) async fn check_listed(&self) -> BTreeSet<String> {
        let manager = self.manager();
        let listing = manager.list().await.unwrap();
        assert!(listing.unusable.is_empty(), "{:?}: {}", listing.unusable, self.description);
        let mut listed = BTreeSet::new();
        for snapshot in listing.snapshots {
            let report = manager.verify_snapshot_with(&snapshot.id, &Default::default()).await.unwrap();
            assert!(report.is_intact(), "{:?}: {}", report.corruption, self.description);
            listed.insert(snapshot.id);
        }
        listed
    }

    /// Asserts that what an actor reported is true, and that a failure has a reason.
    fn check_result(&self, verb: Verb, result: &Result<Outcome>, listed: &BTreeSet<String>, pinned: &BTreeSet<String>) {
        let id_of = |number: usize| &self.fixture.ids[number];
        match (verb, result) {
            (_, Ok(Outcome::Created(id))) => {
                let is_there = listed.contains(id) || self.planned_deletions.contains(id);
                assert!(is_there, "{id} was created and is not listed: {}", self.description);
            }
            (_, Ok(Outcome::Copied(ids, failures))) => {
                for id in ids {
                    let is_there = listed.contains(id) || self.planned_deletions.contains(id);
                    assert!(is_there, "{id} was copied and is not listed: {}", self.description);
                }
                for (kind, message) in failures {
                    self.check_failed_copy(*kind, message);
                }
            }
            // It was copied again.
            (_, Ok(Outcome::Deleted(_))) if self.verbs.iter().any(|verb| matches!(verb, Verb::Copy(_))) => {}
            (_, Ok(Outcome::Deleted(ids))) => {
                assert!(!ids.iter().any(|id| listed.contains(id)), "not all are deleted: {}", self.description);
            }
            (Verb::Pin(number), Ok(_)) => {
                let holds = pinned.contains(id_of(number)) || self.verbs.contains(&Verb::Unpin(number));
                assert!(listed.contains(id_of(number)) && holds, "a pin does not hold: {}", self.description);
            }
            (_, Ok(Outcome::Done)) => {}
            (_, Err(error)) => self.check_error(verb, error),
        }
    }

    /// A copy fails only if the snapshot or a base of it was deleted in the target, or something may have collected it.
    fn check_failed_copy(&self, kind: ErrorKind, message: &str) {
        let is_disturbed = !self.planned_deletions.is_empty() || self.verbs.iter().any(|verb| verb.collects());
        let is_right = is_disturbed && matches!(kind, ErrorKind::NotFound | ErrorKind::Unavailable);
        assert!(is_right, "{kind}: {message}: {}", self.description);
    }

    fn check_error(&self, verb: Verb, error: &SnapshotError) {
        let may_be_deleted = |number: usize| self.planned_deletions.contains(&self.fixture.ids[number]);
        let days_passed = self.verbs.contains(&Verb::CollectGarbageAfterDays);
        let kind = error.kind();
        let is_right = match verb {
            Verb::List => false,
            // Where everything was deleted, it cannot tell that from a disk that was unmounted.
            Verb::VerifyAll => {
                may_be_deleted(0)
                    && kind == ErrorKind::Unavailable
                    && error.message().contains("deleted during the verification")
            }
            Verb::Chain(number) | Verb::Verify(number) | Verb::Restore(number) => {
                may_be_deleted(number) && kind == ErrorKind::NotFound
            }
            // The base was marked for deletion or is gone. The marker may have been removed since.
            Verb::Increment(number) if may_be_deleted(number) => {
                matches!(kind, ErrorKind::NotFound | ErrorKind::Unavailable)
            }
            Verb::Compact(number) if may_be_deleted(number) && kind == ErrorKind::NotFound => true,
            // A prune may delete a snapshot that was just created, and a collection may find an upload that stood still
            // for days.
            Verb::Increment(_) | Verb::Full | Verb::Compact(_) => {
                let was_dropped = ["was stored, but was deleted or collected", "rolled back"]
                    .map(|text| error.message().contains(text));
                let stood_still = days_passed && kind == ErrorKind::Unavailable;
                was_dropped.contains(&true) && self.verbs.contains(&Verb::Prune) || stood_still
            }
            Verb::Pin(number) | Verb::Unpin(number) => {
                may_be_deleted(number) && matches!(kind, ErrorKind::NotFound | ErrorKind::Unavailable)
            }
            // The snapshot is gone, has a dependent or is pinned.
            Verb::Delete(_) | Verb::DeleteCascade(_) => {
                matches!(
                    kind,
                    ErrorKind::NotFound
                        | ErrorKind::InvalidInput
                        | ErrorKind::Pinned
                        | ErrorKind::HasDependents
                        | ErrorKind::InUse
                ) || days_passed && kind == ErrorKind::Unavailable
            }
            Verb::Lose(_) | Verb::CommitLate | Verb::Copy(_) => false,
            Verb::Prune | Verb::CollectGarbage | Verb::CollectGarbageAfterDays => {
                days_passed && kind == ErrorKind::Unavailable
            }
        };
        assert!(is_right, "{error:?}: {}", self.description);
    }

    /// Asserts that a collection after the grace period leaves only the snapshots, and that all of them can be deleted.
    async fn check_after_grace_period(&self, listed: &BTreeSet<String>, pinned: &BTreeSet<String>) {
        self.time.pass_days();
        let manager = self.manager();
        for _ in 0..2 {
            let orphans = manager.orphans().await.unwrap();
            manager.collect_garbage(&orphans).await.unwrap();
        }
        assert_eq!(self.check_listed().await, *listed, "a collection changed the snapshots: {}", self.description);
        assert_eq!(self.pinned().await, *pinned, "a collection changed the pins: {}", self.description);
        for object in self.objects().await {
            let (id, file) = layout::parse_key(&object).unwrap();
            let is_beside = file == layout::PINNED_JSON || layout::is_ledger_entry(file);
            let is_of_snapshot = layout::FILES.contains(&file) || is_beside;
            assert!(listed.contains(id.as_str()) && is_of_snapshot, "{object} is left: {}", self.description);
        }
        for id in pinned {
            manager.unpin_snapshot(id).await.unwrap();
        }
        let ids: Vec<&str> = listed.iter().map(String::as_str).collect();
        if !ids.is_empty() {
            let plan = manager.plan_delete(&ids, true).await.unwrap();
            assert_eq!(manager.apply_delete(&plan).await.unwrap(), listed.len(), "{}", self.description);
        }
        assert_eq!(self.objects().await, Vec::<String>::new(), "{}", self.description);
    }

    async fn pinned(&self) -> BTreeSet<String> {
        let listing = self.manager().list().await.unwrap();
        listing.snapshots.into_iter().filter(|snapshot| snapshot.pinned).map(|snapshot| snapshot.id).collect()
    }

    fn manager(&self) -> SnapshotManager {
        self.fixture.manager(self.store.clone(), self.time.clone())
    }

    pub(crate) async fn objects(&self) -> Vec<String> {
        self.store.list("").map_ok(|object| object.key).try_collect().await.unwrap()
    }
}

fn config(dir: &TestDir) -> SnapshotConfig {
    SnapshotConfig { workers: 1, max_concurrent_io: 4, compression_level: 1, ..dir.config() }
}

fn key(id: &str, file: &str) -> String {
    layout::key(&id.parse().unwrap(), file)
}
