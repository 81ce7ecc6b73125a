//! What is left on a disk when a verb is cut off: by the death of the process at every step of it, by a large upload that
//! fails, and by a dropped future. Old snapshots stay whole, and the new one is whole or is none. What a store does that fails
//! or lies at any step is in `faults/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use common::{Place, age, make_database, names, records_of_file};
use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::fault::{Action, Call, Fault, FaultStore, Gate, Moment, Steps};
use ruvector_snapshot::store::{self, Location, SnapshotStore};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Phase, Progress, ProgressUpdate, RestoreOptions, Result, Snapshot, SnapshotManager,
};

/// A place with a database file and one snapshot of it, which must survive everything.
struct Bench {
    place: Place,
    /// Without faults.
    manager: SnapshotManager,
    old: Snapshot,
}

impl Bench {
    async fn new() -> Self {
        let place = Place::new();
        drop(make_database(&place.path("a.db"), 40, 4, 1));
        let manager = place.manager();
        let old = manager.create_snapshot_of_file(place.path("a.db"), "old", &CreateOptions::default()).await.unwrap();
        Self { place, manager, old }
    }

    fn database(&self) -> PathBuf {
        self.place.path("a.db")
    }

    /// A manager to which something happens at each of these steps.
    fn faulty(&self, faults: impl IntoIterator<Item = (usize, Fault)>) -> (SnapshotManager, Arc<Steps>) {
        let (store, steps) = FaultStore::over(local(&self.place.snapshots()), faults);
        (SnapshotManager::with_store(self.place.config(), store).unwrap(), steps)
    }

    /// The new snapshots: every listed one is whole, the old one is among them, and list calls exactly those prefixes
    /// unfinished that hold files and no commit.
    async fn new_ones(&self, what: &str) -> Vec<String> {
        let listing = self.manager.list().await.unwrap();
        assert!(listing.damaged.is_empty(), "{what}: {:?}", listing.damaged);
        for snapshot in &listing.snapshots {
            assert!(self.manager.verify_snapshot(&snapshot.id).await.unwrap(), "{what}: {} is damaged", snapshot.name);
        }
        let unfinished: BTreeSet<String> = listing.unfinished.into_iter().collect();
        assert_eq!(unfinished, unfinished_on_disk(&self.place.snapshots()), "{what}");
        let mut ids: Vec<_> = listing.snapshots.into_iter().map(|snapshot| snapshot.id).collect();
        assert!(ids.contains(&self.old.id), "{what}: the old snapshot is gone");
        ids.retain(|id| *id != self.old.id);
        ids
    }

    /// Asserts that the store holds the old snapshot and nothing else, not even a staged file.
    #[track_caller]
    fn assert_only_old(&self, what: &str) {
        let old = format!("snapshot-{}", self.old.id);
        let mut left = names(&self.place.snapshots());
        left.retain(|name| *name != old);
        let files: Vec<_> = left.iter().map(|name| names(&self.place.snapshots().join(name))).collect();
        assert!(left.is_empty(), "{what} left {left:?} with {files:?}");
    }

    async fn delete_all(&self, ids: Vec<String>) {
        for id in ids {
            self.manager.delete_snapshot(&id).await.unwrap();
        }
    }

    async fn create_next(&self) -> String {
        let next = self.manager.create_snapshot_of_file(self.database(), "next", &CreateOptions::default()).await;
        next.unwrap().id
    }
}

fn local(snapshots: &Path) -> Arc<dyn SnapshotStore> {
    store::open(&Location::Local(snapshots.to_owned()), &store::StoreConfig::default()).unwrap()
}

fn unfinished_on_disk(snapshots: &Path) -> BTreeSet<String> {
    let ids = names(snapshots).into_iter().filter_map(|name| name.strip_prefix("snapshot-").map(str::to_owned));
    ids.filter(|id| {
        let files = names(&snapshots.join(format!("snapshot-{id}")));
        let has = |name: &str| files.iter().any(|file| file == name);
        let is_deleted = files.iter().any(|file| layout::is_deletion_mark(file));
        layout::FILES.into_iter().any(has) && !has(layout::METADATA_JSON) && !is_deleted
    })
    .collect()
}

// ---- the process dies

const VERB: &str = "RUVECTOR_SNAPSHOT_TEST_VERB";

const DIRECTORY: &str = "RUVECTOR_SNAPSHOT_TEST_DIRECTORY";

/// Not a test of its own: a process that carries out a verb, and at a step of it dies or stands still.
#[test]
#[ignore = "started by the tests of a process that dies"]
fn crashing_process() {
    let Ok(verb) = std::env::var(VERB) else { return };
    let words: Vec<&str> = verb.split('\n').collect();
    let [verb, dir, at, id] = words[..] else { panic!("{words:?}") };
    let stand_still = || async {
        let mut out = std::io::stdout();
        writeln!(out, "reached").and_then(|()| out.flush()).unwrap();
        futures::future::pending().await
    };
    let fault = if verb == "create" { Fault::Do(Action::new(stand_still)) } else { Fault::Die };
    let dir = Path::new(dir);
    let (store, _) = FaultStore::over(local(&dir.join("snapshots")), [(at.parse().unwrap(), fault)]);
    let manager = SnapshotManager::with_store(common::config(dir), store).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let done: Result<()> = runtime.block_on(async {
        match verb {
            "create" => {
                manager.create_snapshot_of_file(dir.join("a.db"), "new", &CreateOptions::default()).await.map(drop)
            }
            "restore" => {
                let place = dir.join("restored/restored.db");
                manager.restore_snapshot_to(id, place, &RestoreOptions::default()).await.map(drop)
            }
            _ => manager.delete_snapshot(id).await,
        }
    });
    done.unwrap();
}

fn crash(bench: &Bench, verb: &str, at: usize, id: &str) -> Child {
    let dir = bench.place.path("");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crashing_process", "--ignored", "--nocapture"])
        .env(VERB, format!("{verb}\n{}\n{at}\n{id}", dir.to_str().unwrap()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the process where it stands still; false where it came to its end instead.
fn kill_at_step(mut process: Child) -> bool {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let reached = lines.map_while(std::io::Result::ok).any(|line| line.ends_with("reached"));
    let _killed = process.kill();
    let status = process.wait().unwrap();
    assert!(reached || status.success(), "the process failed by itself");
    reached
}

#[tokio::test]
async fn a_process_killed_at_any_step_of_create() {
    let bench = Bench::new().await;
    let mut at = 0;
    let mut committed = 0;
    while kill_at_step(crash(&bench, "create", at, "")) {
        let new = bench.new_ones(&format!("killed at step {at}")).await;
        assert!(new.len() <= 1);
        committed += new.len();
        bench.delete_all(new).await;
        let next = bench.create_next().await;
        assert_eq!(bench.new_ones("the next create").await, [next.as_str()]);
        bench.delete_all(vec![next]).await;
        at += 1;
    }
    assert!(at > 20, "only {at} steps");
    // The answer to the commit, and the two looks at whether the snapshot was swept.
    assert_eq!(committed, 1 + 2 * 2, "the steps that come after the commit");
    let last = bench.new_ones("the end").await;
    assert_eq!(last.len(), 1);
    bench.place.assert_scratch_empty();
    bench.delete_all(last).await;
    assert_everything_is_swept(&bench).await;
}

#[tokio::test]
async fn a_process_that_dies_at_any_step_of_restore() {
    let bench = Bench::new().await;
    let expected = records_of_file(&bench.database());
    for at in 0.. {
        if crash(&bench, "restore", at, &bench.old.id).wait_with_output().unwrap().status.success() {
            assert!(at > 6, "only {at} steps");
            break;
        }
        assert!(!bench.place.restored().exists(), "a file stands there after step {at}");
        // What a dead process could not remove shows that it is no database, and hinders nobody.
        let left = names(&bench.place.path("restored"));
        assert!(left.iter().all(|name| name.starts_with(".restored.db.restoring-")), "{left:?}");
        bench.new_ones("restore").await;
    }
    assert_eq!(records_of_file(&bench.place.restored()), expected);
}

#[tokio::test]
async fn a_process_that_dies_at_any_step_of_delete() {
    let bench = Bench::new().await;
    for at in 0.. {
        let doomed = bench.create_next().await;
        let ended = crash(&bench, "delete", at, &doomed).wait_with_output().unwrap().status.success();
        let left = bench.new_ones(&format!("delete, step {at}")).await;
        assert!(left.is_empty() || left == [doomed.clone()]);
        bench.delete_all(left).await;
        if ended {
            assert!(at > 6, "only {at} steps");
            assert!(!bench.place.snapshots().join(format!("snapshot-{doomed}")).exists());
            assert_everything_is_swept(&bench).await;
            break;
        }
    }
}

/// What dead processes have left goes once the time of grace is over.
async fn assert_everything_is_swept(bench: &Bench) {
    age(&bench.place.snapshots());
    let manager = &bench.manager;
    let leftovers = manager.leftovers().await.unwrap();
    assert!(!leftovers.is_empty());
    assert_eq!(manager.sweep(&leftovers).await.unwrap(), leftovers);
    assert_eq!(manager.leftovers().await.unwrap(), []);
    assert!(manager.verify_snapshot(&bench.old.id).await.unwrap());
    bench.assert_only_old("a sweep");
}

// ---- the store fails

/// Parts of a large file are in the store, or half of one, before there is a file.
#[tokio::test]
async fn a_large_upload_that_fails_leaves_nothing() {
    let bench = Bench::new().await;
    drop(make_database(&bench.place.path("large.db"), 2700, 1024, 3));
    let options = CreateOptions::default();
    let (manager, steps) = bench.faulty([]);
    let made = manager.create_snapshot_of_file(bench.place.path("large.db"), "whole", &options).await.unwrap();
    assert!(made.files["vectors.bin.gz"] > 8 << 20, "it is to take more than one part");
    bench.delete_all(vec![made.id]).await;
    let writes: Vec<_> =
        (0..).zip(steps.log()).filter(|(_, step)| step.call == Call::Write && step.moment == Moment::After).collect();
    let last_of_vectors = writes.iter().rev().find(|(_, step)| step.key.ends_with("vectors.bin.gz")).unwrap().0;
    for at in [last_of_vectors, last_of_vectors + 1, writes.last().unwrap().0, writes.last().unwrap().0 + 1] {
        let (manager, steps) = bench.faulty([(at, Fault::Fail(ErrorKind::Unavailable))]);
        let error = manager.create_snapshot_of_file(bench.place.path("large.db"), "large", &options).await.unwrap_err();
        assert_eq!(error.message(), format!("injected at step {at}"));
        manager.settle().await;
        bench.assert_only_old(&format!("{:?}", steps.at(at)));
        let gate = Gate::new();
        let (manager, steps) = bench.faulty([(at, Fault::Wait(gate.clone()))]);
        {
            let create = manager.create_snapshot_of_file(bench.place.path("large.db"), "large", &options);
            tokio::select! {
                made = create => panic!("it was to be held up: {made:?}"),
                () = gate.reached() => {}
            }
        }
        gate.open();
        manager.settle().await;
        bench.assert_only_old(&format!("dropped at {:?}", steps.at(at)));
    }
}

// ---- the future is dropped

#[tokio::test]
async fn a_create_dropped_at_any_step() {
    let bench = Bench::new().await;
    for at in 0.. {
        let gate = Gate::new();
        let (manager, steps) = bench.faulty([(at, Fault::Wait(gate.clone()))]);
        let options = CreateOptions::default();
        let completed = {
            let create = manager.create_snapshot_of_file(bench.database(), "dropped", &options);
            tokio::select! {
                answer = create => Some(answer.unwrap()),
                () = gate.reached() => None,
            }
        };
        gate.open();
        manager.settle().await;
        let Some(step) = steps.at(at) else {
            assert!(completed.is_some() && at > 20, "only {at} steps");
            break;
        };
        let new = bench.new_ones(&step.to_string()).await;
        // The sizes are looked at first thing in the commit, which is carried through. Before all else one look makes sure
        // that the id is free.
        let is_first_look = step.call == Call::Head && step.key.ends_with(layout::METADATA_JSON);
        if (step.call == Call::Head && !is_first_look) || matches!(step.call, Call::Create | Call::List) {
            assert_eq!(new.len(), 1, "{step}: a commit that had begun was not carried through");
            bench.delete_all(new).await;
        }
        bench.assert_only_old(&step.to_string());
        bench.place.assert_scratch_empty();
    }
}

/// What the store has begun to make visible when the future is dropped is removed once it is there, and not before.
#[tokio::test]
async fn a_create_dropped_while_a_file_is_being_finished() {
    let bench = Bench::new().await;
    for at in 0.. {
        let gate = Gate::new();
        let memory = store::open(&Location::Memory, &store::StoreConfig::default()).unwrap();
        let (store, steps) = FaultStore::over(memory.clone(), [(at, Fault::Wait(gate.clone()))]);
        let manager = SnapshotManager::with_store(bench.place.config(), store).unwrap();
        let options = CreateOptions::default();
        {
            let create = manager.create_snapshot_of_file(bench.database(), "dropped", &options);
            tokio::select! {
                made = create => drop(made.unwrap()),
                () = gate.reached() => {}
            }
        }
        let Some(step) = steps.at(at) else { break };
        // Whatever does not wait for the step gets time to run ahead of it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.open();
        manager.settle().await;
        if step.call == Call::Finish {
            let left: Vec<_> = futures::TryStreamExt::try_collect(memory.list("")).await.unwrap();
            assert_eq!(left, [], "{step}");
        }
    }
}

#[tokio::test]
async fn a_create_dropped_after_any_number_of_polls() {
    let bench = Bench::new().await;
    let db = common::make_database(&bench.place.path("b.db"), 40, 4, 2);
    for polls in 0..80 {
        {
            let mut create = Box::pin(bench.manager.create_snapshot(&db, "dropped"));
            for _ in 0..polls {
                if futures::poll!(create.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        bench.manager.settle().await;
        let new = bench.new_ones(&format!("{polls} polls")).await;
        bench.delete_all(new).await;
        bench.assert_only_old(&format!("{polls} polls"));
        bench.place.assert_scratch_empty();
    }
}

#[tokio::test]
async fn a_restore_dropped_at_any_step() {
    let bench = Bench::new().await;
    for at in 0.. {
        let gate = Gate::new();
        let (manager, steps) = bench.faulty([(at, Fault::Wait(gate.clone()))]);
        let options = RestoreOptions::default();
        {
            let restore = manager.restore_snapshot_to(&bench.old.id, bench.place.restored(), &options);
            tokio::select! {
                answer = restore => drop(answer.unwrap()),
                () = gate.reached() => {}
            }
        }
        manager.settle().await;
        if steps.at(at).is_none() {
            assert!(bench.place.restored().exists());
            break;
        }
        bench.place.assert_nothing_restored();
    }
}

#[tokio::test]
async fn a_restore_dropped_after_any_number_of_polls() {
    let bench = Bench::new().await;
    for polls in 0..80 {
        let options = RestoreOptions::default();
        let mut ready = false;
        {
            let mut restore =
                Box::pin(bench.manager.restore_snapshot_to(&bench.old.id, bench.place.restored(), &options));
            for _ in 0..polls {
                ready = futures::poll!(restore.as_mut()).is_ready();
                if ready {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        bench.manager.settle().await;
        if ready {
            std::fs::remove_file(bench.place.restored()).unwrap();
        }
        assert_eq!(names(&bench.place.path("restored")), Vec::<String>::new(), "dropped after {polls} polls");
    }
}

/// Not a test of its own: a process that shuts its runtime down at a step of a create.
#[test]
#[ignore = "started by a_runtime_that_shuts_down_during_a_create"]
fn process_that_shuts_down() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let dir = Path::new(&dir);
    for at in 0.. {
        let gate = Gate::new();
        let (store, steps) = FaultStore::over(local(&dir.join("snapshots")), [(at, Fault::Wait(gate.clone()))]);
        let manager = SnapshotManager::with_store(common::config(dir), store).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let path = dir.join("a.db");
        let create = async move {
            manager.create_snapshot_of_file(path, "shut down", &CreateOptions::default()).await.map(drop)
        };
        let create = runtime.spawn(create);
        runtime.block_on(async {
            tokio::select! {
                made = create => made.unwrap().unwrap(),
                () = gate.reached() => {}
            }
        });
        drop(runtime);
        if steps.at(at).is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn a_runtime_that_shuts_down_during_a_create() {
    let bench = Bench::new().await;
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_that_shuts_down", "--ignored"])
        .env(DIRECTORY, bench.place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    bench.new_ones("shut down").await;
}

/// Holds a restore up where it begins to read back what it wrote.
#[derive(Debug)]
struct HoldUp {
    reached: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
    /// Hung up when the last one that could tell progress is gone.
    _alive: mpsc::Sender<()>,
}

impl Progress for HoldUp {
    fn update(&self, update: ProgressUpdate) {
        if update.phase == Phase::Prove && update.records == 0 {
            self.reached.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_dropped_while_it_is_proved_leaves_no_file() {
    let bench = Bench::new().await;
    let (reached, was_reached) = mpsc::channel();
    let (go_on, going_on) = mpsc::channel();
    let (alive, gone) = mpsc::channel();
    let hold_up = HoldUp { reached, go_on: Mutex::new(going_on), _alive: alive };
    let options = RestoreOptions { progress: Some(Arc::new(hold_up)), ..RestoreOptions::default() };
    let (manager, id, path) = (bench.manager.clone(), bench.old.id.clone(), bench.place.restored());
    let restore = tokio::spawn(async move { manager.restore_snapshot_to(&id, path, &options).await.map(drop) });
    tokio::task::block_in_place(|| was_reached.recv().unwrap());
    restore.abort();
    assert!(restore.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    bench.manager.settle().await;
    tokio::task::block_in_place(|| gone.recv().unwrap_err());
    bench.place.assert_nothing_restored();
}
