//! The process dies at each step of an operation. Old snapshots stay intact, and a new one is complete or does not
//! exist.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ruvector_snapshot::store::testing::fault::{Action, Fault, FaultStore};
use ruvector_snapshot::{RestoreOptions, Result, SnapshotManager};
use test_fixtures::{config, create_full, local_store, make_old, names, records_of_file};

use super::fixture::Fixture;

const OPERATION: &str = "RUVECTOR_SNAPSHOT_TEST_OPERATION";

/// A child process of the tests below. It runs one operation, and at one step it blocks (create) or aborts.
#[test]
#[ignore = "started as a child process by other tests"]
fn crashing_process() {
    let Ok(operation) = std::env::var(OPERATION) else { return };
    let words: Vec<&str> = operation.split('\n').collect();
    let [operation, dir, at, id] = words[..] else { panic!("{words:?}") };
    let block = || async {
        let mut out = std::io::stdout();
        writeln!(out, "reached").and_then(|()| out.flush()).unwrap();
        futures::future::pending().await
    };
    let fault = if operation == "create" { Fault::Do(Action::new(block)) } else { Fault::Die };
    let dir = Path::new(dir);
    let (store, _) = FaultStore::over(local_store(&dir.join("snapshots")), [(at.parse().unwrap(), fault)]);
    let manager = SnapshotManager::with_store(config(dir), store).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let done: Result<()> = runtime.block_on(async {
        match operation {
            "create" => create_full(&manager, &dir.join("a.db"), "new").await.map(drop),
            "restore" => {
                let restored = dir.join("restored/restored.db");
                manager.restore_snapshot_to(id, restored, &RestoreOptions::default()).await.map(drop)
            }
            _ => manager.delete_snapshot(id).await,
        }
    });
    done.unwrap();
}

fn start_process(fixture: &Fixture, operation: &str, at: usize, id: &str) -> Child {
    let dir = fixture.dir.path("");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_death::crashing_process", "--ignored", "--nocapture"])
        .env(OPERATION, format!("{operation}\n{}\n{at}\n{id}", dir.to_str().unwrap()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the process while it blocks at its step. Returns false if it ended without reaching that step.
fn kill_at_step(mut process: Child) -> bool {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let reached = lines.map_while(std::io::Result::ok).any(|line| line.ends_with("reached"));
    let _killed = process.kill();
    let status = process.wait().unwrap();
    assert!(reached || status.success(), "the process failed before it was killed");
    reached
}

#[tokio::test]
async fn a_create_killed_at_any_step_leaves_a_complete_snapshot_or_an_orphan() {
    let fixture = Fixture::new().await;
    let mut at = 0;
    let mut committed = 0;
    while kill_at_step(start_process(&fixture, "create", at, "")) {
        let new = fixture.new_ids(&format!("killed at step {at}")).await;
        assert!(new.len() <= 1);
        committed += new.len();
        fixture.delete_all(new).await;
        let next = fixture.create_next().await;
        assert_eq!(fixture.new_ids("the next create").await, [next.as_str()]);
        fixture.delete_all(vec![next]).await;
        at += 1;
    }
    assert!(at > 20, "only {at} steps");
    // The response to the commit, and two listings that check whether the snapshot was collected meanwhile.
    assert_eq!(committed, 1 + 2 * 2, "the steps after the commit");
    let last = fixture.new_ids("the end").await;
    assert_eq!(last.len(), 1);
    fixture.dir.assert_scratch_empty();
    fixture.delete_all(last).await;
    assert_orphans_are_collected(&fixture).await;
}

#[tokio::test]
async fn a_restore_killed_at_any_step_leaves_at_most_a_temporary_file() {
    let fixture = Fixture::new().await;
    let expected = records_of_file(&fixture.database());
    for at in 0.. {
        let process = start_process(&fixture, "restore", at, &fixture.old.id);
        if process.wait_with_output().unwrap().status.success() {
            assert!(at > 6, "only {at} steps");
            break;
        }
        assert!(!fixture.dir.restored().exists(), "the destination exists after step {at}");
        // A dead process cannot remove its temporary file. The name shows that it is not a database.
        let left = names(&fixture.dir.path("restored"));
        assert!(left.iter().all(|name| name.starts_with(".restored.db.restoring-")), "{left:?}");
        fixture.new_ids("restore").await;
    }
    assert_eq!(records_of_file(&fixture.dir.restored()), expected);
}

#[tokio::test]
async fn a_delete_killed_at_any_step_leaves_an_intact_snapshot_or_an_orphan() {
    let fixture = Fixture::new().await;
    for at in 0.. {
        let doomed = fixture.create_next().await;
        let process = start_process(&fixture, "delete", at, &doomed);
        let ended = process.wait_with_output().unwrap().status.success();
        let left = fixture.new_ids(&format!("delete, step {at}")).await;
        assert!(left.is_empty() || left == [doomed.clone()]);
        fixture.delete_all(left).await;
        if ended {
            assert!(at > 6, "only {at} steps");
            assert!(!fixture.dir.snapshots().join(format!("snapshot-{doomed}")).exists());
            assert_orphans_are_collected(&fixture).await;
            break;
        }
    }
}

/// Asserts that everything that dead processes have left is collected after the grace period.
async fn assert_orphans_are_collected(fixture: &Fixture) {
    make_old(&fixture.dir.snapshots());
    let manager = &fixture.manager;
    let orphans = manager.orphans().await.unwrap();
    assert!(!orphans.is_empty());
    assert_eq!(manager.collect_garbage(&orphans).await.unwrap(), orphans);
    assert_eq!(manager.orphans().await.unwrap(), []);
    assert!(manager.verify_snapshot(&fixture.old.id).await.unwrap());
    fixture.assert_only_old("garbage collection");
}
