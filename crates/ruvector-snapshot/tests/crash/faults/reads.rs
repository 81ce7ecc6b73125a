//! Faults of the store during restore, verify and list: no operation returns wrong data, an unavailable store is not
//! reported as corruption, and no object changes.

use ruvector_snapshot::store::testing::fault::{Call, Fault, Gate};
use ruvector_snapshot::{
    DrillOptions, ExportOptions, Listing, Query, RestoreOptions, SearchOptions, VerifyOptions, VerifyReport,
};
use test_fixtures::{contents, names, read_npy_export, records_of_file};

use super::fixture::{Case, Run, faults};
use crate::common::three_snapshots::ThreeSnapshots;

const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test]
async fn a_restore_to_a_file_with_any_fault_fails_and_leaves_no_file() {
    let fixture = ThreeSnapshots::new().await;
    let expected = records_of_file(&fixture.dir.path("1.db"));
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| {
                // The run without a fault leaves the file.
                let _absent = std::fs::remove_file(fixture.dir.restored());
                manager.restore_snapshot_to(&fixture.ids[1], fixture.dir.restored(), &RestoreOptions::default()).await
            },
            async |run, case, result| {
                let what = case.what();
                run.assert_unchanged(&what).await;
                if case.assert_fails(result) {
                    fixture.dir.assert_nothing_restored();
                }
            },
        )
        .await;
    assert!(runs > 50, "only {runs} runs");
    assert!(records_of_file(&fixture.dir.restored()) == expected);
}

#[tokio::test]
async fn an_export_with_any_fault_or_that_is_cancelled_leaves_nothing() {
    let fixture = ThreeSnapshots::new().await;
    let path = fixture.dir.path("restored/exported");
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| {
                // The run without a fault leaves the directory.
                let _absent = std::fs::remove_dir_all(&path);
                manager.export_snapshot(&fixture.ids[1], &path, &ExportOptions::default()).await
            },
            async |run, case, result| {
                let what = case.what();
                run.assert_unchanged(&what).await;
                if case.assert_fails(result) {
                    fixture.dir.assert_nothing_restored();
                }
            },
        )
        .await;
    assert!(runs > 50, "only {runs} runs");
    assert!(read_npy_export(&path).0 == fixture.contents[1]);
    std::fs::remove_dir_all(&path).unwrap();

    for at in 0.. {
        let gate = Gate::new();
        let run = fixture.run([(at, Fault::Wait(gate.clone()))]).await;
        let options = ExportOptions::default();
        tokio::select! {
            result = run.manager.export_snapshot(&fixture.ids[1], &path, &options) => {
                assert!(at > 5 && result.unwrap().is_complete);
                break;
            }
            () = gate.reached() => {}
        }
        run.manager.wait_for_cleanup().await;
        fixture.dir.assert_nothing_restored();
    }
}

#[tokio::test]
async fn a_restore_into_memory_with_any_fault_fails() {
    let fixture = ThreeSnapshots::new().await;
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| manager.restore_snapshot(&fixture.ids[1]).await,
            async |run, case, result| {
                let what = case.what();
                run.assert_unchanged(&what).await;
                case.assert_fails(result);
            },
        )
        .await;
    assert!(runs > 50, "only {runs} runs");
}

#[tokio::test]
async fn a_search_with_any_fault_has_no_result() {
    let fixture = ThreeSnapshots::new().await;
    let queries = [Query::vector([1.0, 0.0, 0.0, 0.0]), Query::like("id-000001")];
    let options = SearchOptions::default().with_metadata(true);
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| manager.search_snapshot(&fixture.ids[1], &queries, &options).await,
            async |run, case, result| {
                let what = case.what();
                run.assert_unchanged(&what).await;
                case.assert_fails(result.map(|report| report.results));
            },
        )
        .await;
    assert!(runs > 50, "only {runs} runs");
}

#[tokio::test]
async fn a_drill_with_any_fault_fails_and_leaves_nothing() {
    let fixture = ThreeSnapshots::new().await;
    let scratch = fixture.dir.scratch();
    let options = DrillOptions::default().scratch_dir(&scratch).record(false);
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| manager.drill_snapshot(&fixture.ids[1], &options).await,
            async |run, case, result| {
                let what = case.what();
                run.assert_unchanged(&what).await;
                case.assert_fails(result);
                assert_eq!(names(&scratch), Vec::<String>::new(), "{what}");
            },
        )
        .await;
    assert!(runs > 50, "only {runs} runs");
}

#[tokio::test]
async fn a_verify_reports_corruption_only_if_bytes_have_changed() {
    let fixture = ThreeSnapshots::new().await;
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| {
                manager.verify_snapshot_with(&fixture.ids[1], &VerifyOptions::default().record(false)).await
            },
            async |run, case, result| {
                run.assert_unchanged(&case.what()).await;
                match result {
                    Ok(report) => check_report(case, &report),
                    Err(error) => case.assert_reported_by(&error),
                }
            },
        )
        .await;
    assert!(runs > 100, "only {runs} runs");
}

/// Asserts that changed bytes, and nothing else, were reported, in the file that was read.
fn check_report(case: &Case, report: &VerifyReport) {
    let what = case.what();
    if case.step.call == Call::List {
        // The annotations are listed for a warning only.
        return assert!(report.is_intact(), "{what}: {:?}", report.corruption);
    }
    assert!(matches!(case.fault, Fault::FlipBit(_)), "{what}: {:?}", report.corruption);
    let files: Vec<_> = report.corruption.iter().map(|corruption| corruption.file.as_str()).collect();
    assert!(files.iter().any(|file| case.step.key.ends_with(file)), "{what}: corruption was reported in {files:?}");
}

#[tokio::test]
async fn a_list_with_any_fault_fails_or_reports_the_unreadable_snapshot() {
    let fixture = ThreeSnapshots::new().await;
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| manager.list().await,
            async |run, case, result| {
                run.assert_unchanged(&case.what()).await;
                match result {
                    Ok(listing) => check_listing(run, case, listing),
                    Err(error) => {
                        assert_eq!(case.step.call, Call::List, "{}: {error:?}", case.what());
                        case.assert_reported_by(&error);
                    }
                }
            },
        )
        .await;
    assert!(runs > 40, "only {runs} runs");
}

/// Asserts that an unreadable snapshot is listed as unusable, with the reason, and never left out.
fn check_listing(run: &Run<'_>, case: &Case, listing: Listing) {
    let what = case.what();
    assert_ne!(case.step.call, Call::List, "{what}: an incomplete listing was returned as complete");
    assert!(!listing.unusable.is_empty(), "{what}: no snapshot is unusable");
    listing.unusable.iter().for_each(|unusable| assert_eq!(unusable.error.kind(), case.kind(), "{what}"));
    if !case.is_lasting() {
        let [unusable] = &listing.unusable[..] else { panic!("{what}: {:?}", listing.unusable) };
        case.assert_reported_by(&unusable.error);
        assert!(case.step.key.contains(&unusable.id), "{what}: {unusable:?}");
    }
    assert_eq!(listing.pending_uploads, Vec::<String>::new(), "{what}");
    let mut ids: Vec<_> = listing.snapshots.into_iter().map(|snapshot| snapshot.id).collect();
    ids.extend(listing.unusable.into_iter().map(|unusable| unusable.id));
    ids.sort();
    assert_eq!(ids, run.fixture.ids, "{what}");
}

#[tokio::test]
async fn reads_succeed_after_a_delay_at_any_step() {
    let fixture = ThreeSnapshots::new().await;
    let id = &fixture.ids[1];
    let steps = fixture
        .suspend_at_every_step(
            &ALL,
            async |manager| manager.verify_snapshot(id).await,
            async |_, what, is_intact| {
                assert!(is_intact, "{what}");
            },
        )
        .await;
    assert!(steps > 15, "only {steps} steps");
    let steps = fixture
        .suspend_at_every_step(
            &ALL,
            async |manager| manager.restore_snapshot(id).await,
            async |_, what, db| {
                assert!(contents(&db) == fixture.contents[1], "{what}");
            },
        )
        .await;
    assert!(steps > 6, "only {steps} steps");
    let steps = fixture
        .suspend_at_every_step(
            &ALL,
            async |manager| manager.list_snapshots().await,
            async |_, what, snapshots| {
                assert_eq!(snapshots.len(), 3, "{what}");
            },
        )
        .await;
    assert_eq!(steps, 8, "one listing and three reads");
}
