//! Futures that are dropped while an operation is in flight, and a runtime that shuts down: clean-up tasks remove what
//! was written, unless the commit has already begun.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Gate, Moment, Step};
use ruvector_snapshot::{CreateOptions, ErrorKind, Phase, Progress, ProgressUpdate, RestoreOptions, SnapshotManager};
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, config, create_full, local_store, make_database, memory_store, names};

use super::fixture::Fixture;

const DIRECTORY: &str = "RUVECTOR_SNAPSHOT_TEST_DIRECTORY";

// ---- create and restore

#[tokio::test]
async fn a_create_dropped_at_any_step_is_rolled_back_or_committed() {
    let fixture = Fixture::new().await;
    for at in 0.. {
        let gate = Gate::new();
        let (manager, steps) = fixture.manager_with_faults([(at, Fault::Wait(gate.clone()))]);
        let options = CreateOptions::default();
        let completed = {
            let create = manager.create_snapshot_of_file(fixture.database(), "dropped", &options);
            tokio::select! {
                result = create => Some(result.unwrap()),
                () = gate.reached() => None,
            }
        };
        gate.open();
        manager.wait_for_cleanup().await;
        let Some(step) = steps.at(at) else {
            assert!(completed.is_some() && at > 20, "only {at} steps");
            break;
        };
        let new = fixture.new_ids(&step.to_string()).await;
        // The commit begins with the check of the sizes, and then always runs to its end. The first `head` of the
        // create is no part of it: it checks that the id is free.
        let is_check_of_id = step.call == Call::Head && step.key.ends_with(layout::METADATA_JSON);
        if (step.call == Call::Head && !is_check_of_id) || matches!(step.call, Call::Create | Call::List) {
            assert_eq!(new.len(), 1, "{step}: the commit had begun but was not completed");
            fixture.delete_all(new).await;
        }
        fixture.assert_only_old(&step.to_string());
        fixture.dir.assert_scratch_empty();
    }
}

/// An object that is being finished while the future is dropped can be removed only after the finish.
#[tokio::test]
async fn a_create_dropped_during_the_finish_of_an_upload_leaves_no_objects() {
    let fixture = Fixture::new().await;
    for at in 0.. {
        let gate = Gate::new();
        let memory = memory_store();
        let (store, steps) = FaultStore::over(memory.clone(), [(at, Fault::Wait(gate.clone()))]);
        let manager = fixture.dir.manager_with_store(store);
        let options = CreateOptions::default();
        {
            let create = manager.create_snapshot_of_file(fixture.database(), "dropped", &options);
            tokio::select! {
                made = create => drop(made.unwrap()),
                () = gate.reached() => {}
            }
        }
        let Some(step) = steps.at(at) else { break };
        // Gives a task that does not wait for the finish the time to run ahead of it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.open();
        manager.wait_for_cleanup().await;
        if step.call == Call::Finish {
            let left: Vec<_> = futures::TryStreamExt::try_collect(memory.list("")).await.unwrap();
            assert_eq!(left, [], "{step}");
        }
    }
}

/// The clean-up of a failed create runs in the future of the create. If that is dropped, the clean-up is resumed.
#[tokio::test]
async fn a_failed_create_dropped_during_its_cleanup_leaves_no_objects() {
    let fixture = Fixture::new().await;
    let (store, steps) = FaultStore::over(memory_store(), []);
    create_full(&fixture.dir.manager_with_store(store), &fixture.database(), "complete").await.unwrap();
    let is_finish = |step: &Step| step.call == Call::Finish && step.moment == Moment::Before;
    let last_finish = steps.log().iter().rposition(is_finish).unwrap();
    let mut dropped_in_deletes = 0;
    for at in last_finish + 1.. {
        let gate = Gate::new();
        let memory = memory_store();
        let faults = [(last_finish, Fault::Fail(ErrorKind::PermissionDenied)), (at, Fault::Wait(gate.clone()))];
        let (store, steps) = FaultStore::over(memory.clone(), faults);
        let manager = fixture.dir.manager_with_store(store);
        let options = CreateOptions::default();
        {
            let create = manager.create_snapshot_of_file(fixture.database(), "dropped", &options);
            tokio::select! {
                result = create => drop(result.unwrap_err()),
                () = gate.reached() => {}
            }
        }
        gate.open();
        manager.wait_for_cleanup().await;
        let left: Vec<_> = futures::TryStreamExt::try_collect(memory.list("")).await.unwrap();
        let Some(step) = steps.at(at) else { break };
        assert_eq!(left, [], "{step}");
        dropped_in_deletes += usize::from(step.call == Call::Delete);
    }
    assert!(dropped_in_deletes > 4, "only {dropped_in_deletes} deletes were interrupted");
}

#[tokio::test]
async fn a_create_dropped_after_any_number_of_polls_leaves_no_files() {
    let fixture = Fixture::new().await;
    let db = make_database(&fixture.dir.path("b.db"), 40, 4, 2);
    for polls in 0..80 {
        {
            let mut create = Box::pin(fixture.manager.create_snapshot(&db, "dropped"));
            for _ in 0..polls {
                if futures::poll!(create.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        fixture.manager.wait_for_cleanup().await;
        let new = fixture.new_ids(&format!("{polls} polls")).await;
        fixture.delete_all(new).await;
        fixture.assert_only_old(&format!("{polls} polls"));
        fixture.dir.assert_scratch_empty();
    }
}

#[tokio::test]
async fn a_restore_dropped_at_any_step_leaves_no_file() {
    let fixture = Fixture::new().await;
    for at in 0.. {
        let gate = Gate::new();
        let (manager, steps) = fixture.manager_with_faults([(at, Fault::Wait(gate.clone()))]);
        let options = RestoreOptions::default();
        {
            let restore = manager.restore_snapshot_to(&fixture.old.id, fixture.dir.restored(), &options);
            tokio::select! {
                result = restore => drop(result.unwrap()),
                () = gate.reached() => {}
            }
        }
        manager.wait_for_cleanup().await;
        if steps.at(at).is_none() {
            assert!(fixture.dir.restored().exists());
            break;
        }
        fixture.dir.assert_nothing_restored();
    }
}

#[tokio::test]
async fn a_restore_dropped_after_any_number_of_polls_leaves_no_file() {
    let fixture = Fixture::new().await;
    for polls in 0..80 {
        let options = RestoreOptions::default();
        let mut ready = false;
        {
            let mut restore =
                Box::pin(fixture.manager.restore_snapshot_to(&fixture.old.id, fixture.dir.restored(), &options));
            for _ in 0..polls {
                ready = futures::poll!(restore.as_mut()).is_ready();
                if ready {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        fixture.manager.wait_for_cleanup().await;
        if ready {
            std::fs::remove_file(fixture.dir.restored()).unwrap();
        }
        assert_eq!(names(&fixture.dir.path("restored")), Vec::<String>::new(), "dropped after {polls} polls");
    }
}

/// A child process that shuts its runtime down at each step of a create.
#[test]
#[ignore = "started as a child process by another test"]
fn process_that_shuts_down() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let dir = Path::new(&dir);
    for at in 0.. {
        let gate = Gate::new();
        let (store, steps) = FaultStore::over(local_store(&dir.join("snapshots")), [(at, Fault::Wait(gate.clone()))]);
        let manager = SnapshotManager::with_store(config(dir), store).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let path = dir.join("a.db");
        let create = runtime.spawn(async move { create_full(&manager, &path, "shut down").await.map(drop) });
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
async fn a_runtime_shutdown_at_any_step_of_a_create_leaves_other_snapshots_intact() {
    let fixture = Fixture::new().await;
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_flight::process_that_shuts_down", "--ignored"])
        .env(DIRECTORY, fixture.dir.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    fixture.new_ids("shut down").await;
}

/// Blocks a restore when it begins to read back the file that it wrote.
#[derive(Debug)]
struct BlockBeforeReadBack {
    reached: mpsc::Sender<()>,
    resume: Mutex<mpsc::Receiver<()>>,
    /// Disconnects when the last task that can report progress has ended.
    _alive: mpsc::Sender<()>,
}

impl Progress for BlockBeforeReadBack {
    fn update(&self, update: ProgressUpdate) {
        if update.phase == Phase::VerifyRestored && update.records == 0 {
            self.reached.send(()).unwrap();
            self.resume.lock().unwrap().recv().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_dropped_during_its_verification_leaves_no_file() {
    let fixture = Fixture::new().await;
    let (reached, was_reached) = mpsc::channel();
    let (resume, resumed) = mpsc::channel();
    let (alive, gone) = mpsc::channel();
    let progress = BlockBeforeReadBack { reached, resume: Mutex::new(resumed), _alive: alive };
    let options = RestoreOptions::default().progress(Arc::new(progress));
    let (manager, id, path) = (fixture.manager.clone(), fixture.old.id.clone(), fixture.dir.restored());
    let restore = tokio::spawn(async move { manager.restore_snapshot_to(&id, path, &options).await.map(drop) });
    tokio::task::block_in_place(|| was_reached.recv().unwrap());
    restore.abort();
    assert!(restore.await.unwrap_err().is_cancelled());
    resume.send(()).unwrap();
    fixture.manager.wait_for_cleanup().await;
    tokio::task::block_in_place(|| gone.recv().unwrap_err());
    fixture.dir.assert_nothing_restored();
}

/// A large file has several parts in the store, or half of one, before its object exists.
#[tokio::test]
async fn a_multipart_upload_that_fails_or_is_dropped_leaves_no_files() {
    let fixture = Fixture::new().await;
    drop(make_database(&fixture.dir.path("large.db"), 2700, 1024, 3));
    let large = fixture.dir.path("large.db");
    let (manager, steps) = fixture.manager_with_faults([]);
    let made = create_full(&manager, &large, "complete").await.unwrap();
    assert!(made.files["vectors.bin.gz"] > 8 << 20, "the upload must have several parts");
    fixture.delete_all(vec![made.id]).await;
    let writes: Vec<_> =
        (0..).zip(steps.log()).filter(|(_, step)| step.call == Call::Write && step.moment == Moment::After).collect();
    let last_of_vectors = writes.iter().rev().find(|(_, step)| step.key.ends_with("vectors.bin.gz")).unwrap().0;
    for at in [last_of_vectors, last_of_vectors + 1, writes.last().unwrap().0, writes.last().unwrap().0 + 1] {
        let (manager, steps) = fixture.manager_with_faults([(at, Fault::Fail(ErrorKind::Unavailable))]);
        let error = create_full(&manager, &large, "large").await.unwrap_err();
        assert_eq!(error.message(), format!("injected at step {at}"));
        manager.wait_for_cleanup().await;
        fixture.assert_only_old(&format!("{:?}", steps.at(at)));
        let gate = Gate::new();
        let (manager, steps) = fixture.manager_with_faults([(at, Fault::Wait(gate.clone()))]);
        {
            tokio::select! {
                made = create_full(&manager, &large, "large") => panic!("the create did not wait at the gate: {made:?}"),
                () = gate.reached() => {}
            }
        }
        gate.open();
        manager.wait_for_cleanup().await;
        fixture.assert_only_old(&format!("dropped at {:?}", steps.at(at)));
    }
}

// ---- delete

async fn create(dir: &TestDir, manager: &SnapshotManager, name: &str) -> String {
    create_full(manager, &dir.path("a.db"), name).await.unwrap().id
}

/// Returns true if the snapshot exists. Asserts that it is intact or completely gone, and that the kept one is intact.
async fn exists_or_is_gone(dir: &TestDir, manager: &SnapshotManager, id: &str, kept: &str, what: &str) -> bool {
    let listing = manager.list().await.unwrap();
    assert!(listing.unusable.is_empty(), "{what}: {:?}", listing.unusable);
    assert_eq!(listing.pending_uploads, Vec::<String>::new(), "{what}");
    assert!(manager.verify_snapshot(kept).await.unwrap(), "{what}");
    let is_there = listing.snapshots.iter().any(|snapshot| snapshot.id == id);
    if is_there {
        assert!(manager.verify_snapshot(id).await.unwrap(), "{what}");
    } else {
        assert_eq!(names(&dir.snapshots()), [format!("snapshot-{kept}")], "{what}");
    }
    is_there
}

#[tokio::test]
async fn a_delete_dropped_at_any_step_is_completed_or_rolled_back() {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 20, 4, 1));
    let manager = dir.manager();
    let kept = create(&dir, &manager, "kept").await;
    for at in 0.. {
        let doomed = create(&dir, &manager, "doomed").await;
        let gate = Gate::new();
        let (store, steps) = FaultStore::over(dir.local_store(), [(at, Fault::Wait(gate.clone()))]);
        let suspended = dir.manager_with_store(store);
        tokio::select! {
            deleted = suspended.delete_snapshot(&doomed) => deleted.unwrap(),
            () = gate.reached() => {}
        }
        gate.open();
        suspended.wait_for_cleanup().await;
        let step = steps.at(at);
        let what = format!("dropped at {step:?}");
        let is_there = exists_or_is_gone(&dir, &manager, &doomed, &kept, &what).await;
        if step.as_ref().is_none_or(|step| step.call == Call::Delete) {
            assert!(!is_there, "{what}: the deletion had begun but was not completed");
        }
        if is_there {
            manager.delete_snapshot(&doomed).await.unwrap();
        }
        if step.is_none() {
            assert!(at > 12, "only {at} steps");
            break;
        }
    }
}

#[tokio::test]
async fn a_delete_or_cleanup_dropped_after_any_number_of_polls_is_completed_or_rolled_back() {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 20, 4, 1));
    let manager = dir.manager();
    for polls in 0..60 {
        let doomed = create(&dir, &manager, "doomed").await;
        let kept = create(&dir, &manager, "kept").await;
        {
            let mut delete = Box::pin(async {
                match polls % 2 {
                    0 => manager.delete_snapshot(&doomed).await.unwrap(),
                    _ => drop(manager.cleanup_old_snapshots(1).await.unwrap()),
                }
            });
            for _ in 0..polls / 2 {
                if futures::poll!(delete.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        manager.wait_for_cleanup().await;
        let what = format!("{polls} polls");
        let is_there = exists_or_is_gone(&dir, &manager, &doomed, &kept, &what).await;
        for id in [is_there.then_some(doomed), Some(kept)].into_iter().flatten() {
            manager.delete_snapshot(&id).await.unwrap();
        }
    }
}
