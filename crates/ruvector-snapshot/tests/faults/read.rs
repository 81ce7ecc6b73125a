//! Restore, verify and list in a store that fails, lies or goes away: what is handed out is what was captured, a store that
//! does not answer is no damage, and the store is left as it was.

use ruvector_snapshot::store::fault::{Call, Fault};
use ruvector_snapshot::{Listing, RestoreOptions, VerifyOptions, VerifyReport};

use crate::bench::{Bench, Case, Run, faults};
use crate::common::records_of_file;

const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test]
async fn every_fault_at_every_step_of_restore() {
    let bench = Bench::new().await;
    let expected = records_of_file(&bench.place.path("1.db"));
    let runs = bench
        .walk(
            faults(),
            async |manager| {
                // Left behind by the last run, where there was no fault.
                let _absent = std::fs::remove_file(bench.place.restored());
                manager.restore_snapshot_to(&bench.ids[1], bench.place.restored(), &RestoreOptions::default()).await
            },
            async |run, case, answer| {
                let what = case.what();
                run.assert_unchanged(&what).await;
                case.assert_told(&answer.map(|restored| restored.id).expect_err(&what));
                bench.place.assert_nothing_restored();
            },
        )
        .await;
    assert!(runs > 50, "only {runs} runs");
    assert!(records_of_file(&bench.place.restored()) == expected);
}

#[tokio::test]
async fn every_fault_at_every_step_of_a_restore_into_memory() {
    let bench = Bench::new().await;
    let runs = bench
        .walk(
            faults(),
            async |manager| manager.restore_snapshot(&bench.ids[1]).await,
            async |run, case, answer| {
                let what = case.what();
                run.assert_unchanged(&what).await;
                case.assert_told(&answer.map(drop).expect_err(&what));
            },
        )
        .await;
    assert!(runs > 50, "only {runs} runs");
}

#[tokio::test]
async fn every_fault_at_every_step_of_verify() {
    let bench = Bench::new().await;
    let runs = bench
        .walk(
            faults(),
            async |manager| manager.verify_snapshot_with(&bench.ids[1], &VerifyOptions::default()).await,
            async |run, case, answer| {
                run.assert_unchanged(&case.what()).await;
                match answer {
                    Ok(report) => judge_report(case, &report),
                    Err(error) => case.assert_told(&error),
                }
            },
        )
        .await;
    assert!(runs > 100, "only {runs} runs");
}

/// Only other bytes are damage, in the file they were said to be of.
fn judge_report(case: &Case, report: &VerifyReport) {
    let what = case.what();
    assert!(matches!(case.fault, Fault::FlipBit(_)), "{what}: {:?}", report.damage);
    let files: Vec<_> = report.damage.iter().map(|damage| damage.file.as_str()).collect();
    assert!(files.iter().any(|file| case.step.key.ends_with(file)), "{what}: damage is seen in {files:?}");
}

#[tokio::test]
async fn every_fault_at_every_step_of_list() {
    let bench = Bench::new().await;
    let runs = bench
        .walk(
            faults(),
            async |manager| manager.list().await,
            async |run, case, answer| {
                run.assert_unchanged(&case.what()).await;
                match answer {
                    Ok(listing) => judge_listing(run, case, listing),
                    Err(error) => {
                        assert_eq!(case.step.call, Call::List, "{}: {error:?}", case.what());
                        case.assert_told(&error);
                    }
                }
            },
        )
        .await;
    assert!(runs > 40, "only {runs} runs");
}

/// What cannot be read is told apart, with the reason, and never left out.
fn judge_listing(run: &Run<'_>, case: &Case, listing: Listing) {
    let what = case.what();
    assert_ne!(case.step.call, Call::List, "{what}: a listing that broke off passes for a whole one");
    assert!(!listing.damaged.is_empty(), "{what}: nothing was noticed");
    listing.damaged.iter().for_each(|damaged| assert_eq!(damaged.error.kind(), case.kind(), "{what}"));
    if !case.is_lasting() {
        let [damaged] = &listing.damaged[..] else { panic!("{what}: {:?}", listing.damaged) };
        case.assert_told(&damaged.error);
        assert!(case.step.key.contains(&damaged.id), "{what}: {damaged:?}");
    }
    assert_eq!(listing.unfinished, Vec::<String>::new(), "{what}");
    let mut ids: Vec<_> = listing.snapshots.into_iter().map(|snapshot| snapshot.id).collect();
    ids.extend(listing.damaged.into_iter().map(|damaged| damaged.id));
    ids.sort();
    assert_eq!(ids, run.bench.ids, "{what}");
}

#[tokio::test]
async fn a_store_that_is_slow_at_any_step_of_a_read() {
    let bench = Bench::new().await;
    let id = &bench.ids[1];
    let steps = bench
        .walk_slowly(
            &ALL,
            async |manager| manager.verify_snapshot(id).await,
            async |_, what, is_whole| {
                assert!(is_whole, "{what}");
            },
        )
        .await;
    assert!(steps > 15, "only {steps} steps");
    let steps = bench
        .walk_slowly(
            &ALL,
            async |manager| manager.restore_snapshot(id).await,
            async |_, what, db| {
                assert!(crate::common::contents(&db) == bench.contents[1], "{what}");
            },
        )
        .await;
    assert!(steps > 6, "only {steps} steps");
    let steps = bench
        .walk_slowly(
            &ALL,
            async |manager| manager.list_snapshots().await,
            async |_, what, snapshots| {
                assert_eq!(snapshots.len(), 3, "{what}");
            },
        )
        .await;
    assert_eq!(steps, 8, "one listing and three reads");
}
