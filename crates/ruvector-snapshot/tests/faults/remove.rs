//! Delete and clean-up in a store that fails, lies or goes away: what was to stay stays, and what was to go is a whole
//! snapshot or none.

use std::collections::BTreeSet;

use ruvector_snapshot::store::fault::{Call, Fault};
use ruvector_snapshot::{ErrorKind, Listing, Result, SnapshotError, SnapshotManager};

use crate::bench::{Bench, Case, Run, faults, key, objects};

/// A listing and three reads.
const FIRST_LOOK_STEPS: usize = 2 * (1 + 3);

#[tokio::test]
async fn every_fault_at_every_step_of_delete() {
    let bench = Bench::new().await;
    let runs = bench
        .walk(
            faults(),
            async |manager| manager.delete_snapshot(&bench.ids[1]).await,
            async |run, case, answer| {
                let listing = run.check(case, &[0, 2]).await;
                judge_removed(run, case, &listing, &[1], answer.as_ref().err());
                if answer.is_ok() && !matches!(case.fault, Fault::PretendDone) {
                    let left = objects(run.store.as_ref()).await;
                    assert!(left.keys().all(|key| !key.contains(&bench.ids[1])), "{}: {left:?}", case.what());
                }
            },
        )
        .await;
    assert!(runs > 90, "only {runs} runs");
}

#[tokio::test]
async fn every_fault_at_every_step_of_a_clean_up() {
    let bench = Bench::new().await;
    let runs = bench
        .walk(
            faults(),
            async |manager| manager.cleanup_old_snapshots(1).await,
            async |run, case, answer| {
                let listing = run.check(case, &[2]).await;
                judge_removed(run, case, &listing, &[0, 1], answer.as_ref().err());
                if let Ok(deleted) = answer {
                    judge_count(run, case, deleted).await;
                }
            },
        )
        .await;
    assert!(runs > 140, "only {runs} runs");
}

/// What a clean-up says it deleted is gone, as far as the store told it the truth.
async fn judge_count(run: &Run<'_>, case: &Case, deleted: usize) {
    let what = case.what();
    let left = objects(run.store.as_ref()).await;
    let is_gone = |id: &&String| !left.contains_key(&key(id, "metadata.json"));
    let gone = run.bench.ids.iter().filter(is_gone).count();
    match case.fault {
        // One that was deleted is still there, or a file of it.
        Fault::PretendDone => assert!(deleted == 2 && gone >= 1, "{what}: {deleted}, {gone} are gone"),
        // A snapshot that seems damaged in the first look neither counts nor goes. In the second it stands on nothing.
        Fault::FlipBit(_) => {
            let doomed = if case.at < FIRST_LOOK_STEPS { 1 } else { 2 };
            assert_eq!((deleted, gone), (doomed, doomed), "{what}");
        }
        _ => panic!("{what}: Ok"),
    }
}

/// What was to go is whole or is no snapshot; only a store that pretends to have deleted the commit is left with one that is
/// damaged, and that shows.
fn judge_removed(run: &Run<'_>, case: &Case, listing: &Listing, doomed: &[usize], error: Option<&SnapshotError>) {
    let what = case.what();
    let pretends = matches!(case.fault, Fault::PretendDone);
    let commit_stayed = pretends && case.step.call == Call::Delete && case.step.key.ends_with("/metadata.json");
    assert_eq!(listing.damaged.len(), usize::from(commit_stayed), "{what}: {:?}", listing.damaged);
    let damaged = listing.damaged.iter().map(|damaged| &damaged.id);
    let no_snapshots: BTreeSet<_> = damaged.chain(&listing.unfinished).chain(&listing.deleting).collect();
    let doomed_ids: BTreeSet<_> = doomed.iter().map(|number| &run.bench.ids[*number]).collect();
    assert!(no_snapshots.is_subset(&doomed_ids), "{what}: {no_snapshots:?}");
    assert_eq!(run.new_ids(listing), Vec::<String>::new(), "{what}");
    match error {
        Some(error) => case.assert_told(error),
        None => assert!(no_snapshots.len() <= usize::from(pretends), "{what}: {no_snapshots:?}"),
    }
    // What stands on others goes first, and so the newest.
    let is_shown = |number: &usize| listing.snapshots.iter().any(|snapshot| snapshot.id == run.bench.ids[*number]);
    if !matches!(case.fault, Fault::FlipBit(_) | Fault::PretendDone) {
        assert!(doomed.iter().rev().map(is_shown).is_sorted(), "{what}: an older one went before a younger one");
    }
}

/// A delete that failed can be repeated while the snapshot is there, and after that says that there is none.
#[tokio::test]
async fn a_delete_that_failed_can_be_repeated() {
    let bench = Bench::new().await;
    let id = &bench.ids[1];
    let runs = bench
        .walk(
            [Fault::Fail(ErrorKind::Unavailable), Fault::Crash],
            async |manager| manager.delete_snapshot(id).await,
            async |run, case, answer| {
                if answer.is_err() {
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
async fn others_see_no_half_snapshot_while_it_is_removed() {
    let bench = Bench::new().await;
    let delete =
        async |manager: SnapshotManager| -> Result<usize> { manager.delete_snapshot(&bench.ids[1]).await.map(|()| 1) };
    let prune = async |manager: SnapshotManager| manager.cleanup_old_snapshots(1).await;
    let steps = bench
        .walk_slowly(&[0, 2], delete, async |run, what, deleted| {
            assert_eq!(deleted, 1);
            assert_eq!(run.check_shown(what, &[0, 2]).await.snapshots.len(), 2, "{what}");
        })
        .await;
    assert!(steps > 15, "only {steps} steps");
    let steps = bench
        .walk_slowly(&[2], prune, async |run, what, deleted| {
            assert_eq!(deleted, 2);
            assert_eq!(run.check_shown(what, &[2]).await.snapshots.len(), 1, "{what}");
        })
        .await;
    assert!(steps > 25, "only {steps} steps");
}

/// A delete whose answer was lost may come late. Its snapshot stays marked, so that nothing comes to stand on it, and all
/// other marks are taken back; one that was refused never comes, and leaves no mark.
#[tokio::test]
async fn only_what_may_be_deleted_late_stays_marked() {
    let bench = Bench::new().await;
    let delete = async |manager: SnapshotManager| manager.cleanup_old_snapshots(1).await;
    for kind in [ErrorKind::Unavailable, ErrorKind::Denied] {
        bench
            .walk([Fault::Fail(kind)], delete, async |run, case, answer| {
                let what = case.what();
                let left = objects(run.store.as_ref()).await;
                let is_whole = |id: &String| left.contains_key(&key(id, "metadata.json"));
                let is_mark = |of: &&String| of.contains("/deleting-");
                let beside_whole = left
                    .keys()
                    .filter(is_mark)
                    .filter(|mark| run.bench.ids.iter().any(|id| mark.contains(id.as_str()) && is_whole(id)));
                let found: Vec<_> = beside_whole.collect();
                let of_commit = case.step.call == Call::Delete && case.step.key.ends_with("/metadata.json");
                if of_commit && kind == ErrorKind::Unavailable {
                    let error = answer.expect_err(&what);
                    assert!(error.message().contains("it stays marked"), "{what}: {error:?}");
                    let id = case.step.key.split('/').next().unwrap();
                    assert!(left.keys().any(|key| key.starts_with(id) && is_mark(&key)), "{what}: {left:?}");
                    assert!(found.iter().all(|mark| mark.starts_with(id)), "{what}: {found:?}");
                } else {
                    assert_eq!(found, Vec::<&String>::new(), "{what}");
                }
            })
            .await;
    }
}

/// One of two stays since it is pinned, and its mark cannot be taken back: that of the other is, and nothing is deleted.
#[tokio::test]
async fn a_mark_that_cannot_be_taken_back_leaves_no_others() {
    let bench = Bench::new().await;
    let ids = &bench.ids;
    let mut failed = 0;
    for at in 0.. {
        let run = bench.run([(at, Fault::Fail(ErrorKind::Unavailable))]).await;
        let plan = run.healthy.plan_delete(&[&ids[0], &ids[1]], false).await.unwrap();
        run.healthy.pin_snapshot(&ids[1]).await.unwrap();
        let answer = run.manager.carry_out_delete(&plan).await;
        let Some(step) = run.steps.at(at) else { break };
        if step.call == Call::Delete && step.key.contains("/deleting-") && step.key.contains(&ids[1]) {
            failed += 1;
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable, "{step}");
            assert_eq!(run.healthy.list().await.unwrap().snapshots.len(), 3, "{step}");
            let marks = objects(run.store.as_ref()).await.into_keys().filter(|key| key.contains("/deleting-"));
            assert!(marks.into_iter().all(|mark| mark == step.key), "{step}");
        }
    }
    assert_eq!(failed, 2, "before and after the call");
}
