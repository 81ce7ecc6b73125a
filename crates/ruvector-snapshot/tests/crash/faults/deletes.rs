//! Faults of the store during delete and cleanup: kept snapshots stay intact, and a snapshot that was to be deleted is
//! either intact or gone.

use std::collections::BTreeSet;

use ruvector_snapshot::store::testing::fault::{Call, Fault};
use ruvector_snapshot::{DeleteOptions, ErrorKind, Listing, Result, SnapshotError, SnapshotManager};
use test_fixtures::objects;

use super::fixture::{Case, Run, faults};
use crate::common::three_snapshots::{ThreeSnapshots, key};

/// The steps of the first inventory: a listing and three reads.
const FIRST_INVENTORY_STEPS: usize = 2 * (1 + 3);

#[tokio::test]
async fn a_delete_with_any_fault_leaves_other_snapshots_intact() {
    let fixture = ThreeSnapshots::new().await;
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| manager.delete_snapshot(&fixture.ids[1]).await,
            async |run, case, result| {
                let listing = run.check(case, &[0, 2]).await;
                check_deleted(run, case, &listing, &[1], result.as_ref().err());
                if result.is_ok() && !matches!(case.fault, Fault::PretendDone) {
                    let left = objects(run.store.as_ref()).await;
                    assert!(left.keys().all(|key| !key.contains(&fixture.ids[1])), "{}: {left:?}", case.what());
                }
            },
        )
        .await;
    assert!(runs > 90, "only {runs} runs");
}

/// Interrupted at any step, it leaves at most orphans of the snapshot.
#[tokio::test]
async fn an_exclusive_delete_with_any_fault_leaves_other_snapshots_intact() {
    let fixture = ThreeSnapshots::new().await;
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| {
                let plan = manager.plan_delete(&[fixture.ids[1].as_str()], false).await?;
                manager.apply_delete_with(&plan, &DeleteOptions::default().exclusive(true)).await
            },
            async |run, case, result| {
                let listing = run.check(case, &[0, 2]).await;
                check_deleted(run, case, &listing, &[1], result.as_ref().err());
                assert_ne!(case.step.call, Call::Create, "it writes nothing");
            },
        )
        .await;
    assert!(runs > 60, "only {runs} runs");
}

#[tokio::test]
async fn a_cleanup_with_any_fault_leaves_kept_snapshots_intact() {
    let fixture = ThreeSnapshots::new().await;
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| manager.cleanup_old_snapshots(1).await,
            async |run, case, result| {
                let listing = run.check(case, &[2]).await;
                check_deleted(run, case, &listing, &[0, 1], result.as_ref().err());
                if let Ok(deleted) = result {
                    check_count(run, case, deleted).await;
                }
            },
        )
        .await;
    assert!(runs > 140, "only {runs} runs");
}

/// Asserts that the reported snapshots are gone, unless the store lied.
async fn check_count(run: &Run<'_>, case: &Case, deleted: usize) {
    let what = case.what();
    let left = objects(run.store.as_ref()).await;
    let is_gone = |id: &&String| !left.contains_key(&key(id, "metadata.json"));
    let gone = run.fixture.ids.iter().filter(is_gone).count();
    match case.fault {
        // One of the two snapshots, or one of its files, is still there.
        Fault::PretendDone => assert!(deleted == 2 && gone >= 1, "{what}: {deleted}, {gone} are gone"),
        // A snapshot that reads as corrupt in the first inventory is neither counted nor deleted. The second inventory
        // does not change the plan.
        Fault::FlipBit(_) => {
            let doomed = if case.at < FIRST_INVENTORY_STEPS { 1 } else { 2 };
            assert_eq!((deleted, gone), (doomed, doomed), "{what}");
        }
        _ => panic!("{what}: Ok"),
    }
}

/// Asserts that a doomed snapshot is intact or no longer a snapshot. Only if the store pretends to have deleted
/// `metadata.json` does a corrupt snapshot remain, and it is listed as unusable.
fn check_deleted(run: &Run<'_>, case: &Case, listing: &Listing, doomed: &[usize], error: Option<&SnapshotError>) {
    let what = case.what();
    let pretends = matches!(case.fault, Fault::PretendDone);
    let commit_stayed = pretends && case.step.call == Call::Delete && case.step.key.ends_with("/metadata.json");
    assert_eq!(listing.unusable.len(), usize::from(commit_stayed), "{what}: {:?}", listing.unusable);
    let unusable = listing.unusable.iter().map(|unusable| &unusable.id);
    let no_snapshots: BTreeSet<_> = unusable.chain(&listing.pending_uploads).chain(&listing.deleting).collect();
    let doomed_ids: BTreeSet<_> = doomed.iter().map(|number| &run.fixture.ids[*number]).collect();
    assert!(no_snapshots.is_subset(&doomed_ids), "{what}: {no_snapshots:?}");
    assert_eq!(run.new_ids(listing), Vec::<String>::new(), "{what}");
    match error {
        Some(error) => case.assert_reported_by(error),
        None => assert!(no_snapshots.len() <= usize::from(pretends), "{what}: {no_snapshots:?}"),
    }
    // Dependents are deleted before their bases, so the newest snapshot is deleted first.
    let is_listed = |number: &usize| listing.snapshots.iter().any(|snapshot| snapshot.id == run.fixture.ids[*number]);
    if !matches!(case.fault, Fault::FlipBit(_) | Fault::PretendDone) {
        assert!(doomed.iter().rev().map(is_listed).is_sorted(), "{what}: an older snapshot was deleted first");
    }
}

/// The second delete succeeds if the snapshot still exists, and reports "not found" otherwise.
#[tokio::test]
async fn a_failed_delete_can_be_repeated() {
    let fixture = ThreeSnapshots::new().await;
    let id = &fixture.ids[1];
    let runs = fixture
        .inject_at_every_step(
            [Fault::Fail(ErrorKind::Unavailable), Fault::Crash],
            async |manager| manager.delete_snapshot(id).await,
            async |run, case, result| {
                if result.is_err() {
                    let is_there = run.store.head(&key(id, "metadata.json")).await.is_ok();
                    let again = run.healthy.delete_snapshot(id).await.map_err(|error| error.kind());
                    assert_eq!(again, if is_there { Ok(()) } else { Err(ErrorKind::NotFound) }, "{}", case.what());
                }
            },
        )
        .await;
    assert!(runs > 30, "only {runs} runs");
}

#[tokio::test]
async fn a_deleted_snapshot_disappears_at_once_for_other_processes() {
    let fixture = ThreeSnapshots::new().await;
    let delete = async |manager: SnapshotManager| -> Result<usize> {
        manager.delete_snapshot(&fixture.ids[1]).await.map(|()| 1)
    };
    let prune = async |manager: SnapshotManager| manager.cleanup_old_snapshots(1).await;
    let steps = fixture
        .suspend_at_every_step(&[0, 2], delete, async |run, what, deleted| {
            assert_eq!(deleted, 1);
            assert_eq!(run.check_visible(what, &[0, 2]).await.snapshots.len(), 2, "{what}");
        })
        .await;
    assert!(steps > 15, "only {steps} steps");
    let steps = fixture
        .suspend_at_every_step(&[2], prune, async |run, what, deleted| {
            assert_eq!(deleted, 2);
            assert_eq!(run.check_visible(what, &[2]).await.snapshots.len(), 1, "{what}");
        })
        .await;
    assert!(steps > 25, "only {steps} steps");
}

/// A delete request whose response was lost may still be executed later. Its snapshot keeps its marker, so that no
/// increment is based on it. All other markers are removed, also that of a refused request.
#[tokio::test]
async fn only_a_snapshot_whose_deletion_is_uncertain_keeps_its_marker() {
    let fixture = ThreeSnapshots::new().await;
    let delete = async |manager: SnapshotManager| manager.cleanup_old_snapshots(1).await;
    for kind in [ErrorKind::Unavailable, ErrorKind::PermissionDenied] {
        fixture
            .inject_at_every_step([Fault::Fail(kind)], delete, async |run, case, result| {
                let what = case.what();
                let left = objects(run.store.as_ref()).await;
                let is_intact = |id: &String| left.contains_key(&key(id, "metadata.json"));
                let is_marker = |of: &&String| of.contains("/deleting-");
                let of_intact =
                    |marker: &&String| run.fixture.ids.iter().any(|id| marker.contains(id.as_str()) && is_intact(id));
                let found: Vec<_> = left.keys().filter(is_marker).filter(of_intact).collect();
                let of_commit = case.step.call == Call::Delete && case.step.key.ends_with("/metadata.json");
                if of_commit && kind == ErrorKind::Unavailable {
                    let error = result.expect_err(&what);
                    let id = case.step.key.split('/').next().unwrap();
                    let names_it = error.message().contains(id.trim_start_matches("snapshot-"));
                    assert!(names_it && error.message().contains("mark"), "{what}: {error:?}");
                    assert!(left.keys().any(|key| key.starts_with(id) && is_marker(&key)), "{what}: {left:?}");
                    assert!(found.iter().all(|marker| marker.starts_with(id)), "{what}: {found:?}");
                } else {
                    assert_eq!(found, Vec::<&String>::new(), "{what}");
                }
            })
            .await;
    }
}

/// One of two snapshots has been pinned since the plan, and its marker cannot be removed. The other marker is removed,
/// and nothing is deleted.
#[tokio::test]
async fn a_marker_that_cannot_be_removed_does_not_keep_the_others() {
    let fixture = ThreeSnapshots::new().await;
    let ids = &fixture.ids;
    let mut failed = 0;
    for at in 0.. {
        let run = fixture.run([(at, Fault::Fail(ErrorKind::Unavailable))]).await;
        let plan = run.healthy.plan_delete(&[&ids[0], &ids[1]], false).await.unwrap();
        run.healthy.pin_snapshot(&ids[1]).await.unwrap();
        let result = run.manager.apply_delete(&plan).await;
        let Some(step) = run.steps.at(at) else { break };
        if step.call == Call::Delete && step.key.contains("/deleting-") && step.key.contains(&ids[1]) {
            failed += 1;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable, "{step}");
            assert_eq!(run.healthy.list().await.unwrap().snapshots.len(), 3, "{step}");
            let mut markers = objects(run.store.as_ref()).await.into_keys().filter(|key| key.contains("/deleting-"));
            assert!(markers.all(|marker| marker == step.key), "{step}");
        }
    }
    assert_eq!(failed, 2, "before and after the call");
}
