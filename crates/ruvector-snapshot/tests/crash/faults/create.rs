//! Faults of the store during a create: the new snapshot is intact or does not exist, and the result says which.

use ruvector_core::VectorDB;
use ruvector_snapshot::store::testing::fault::{Call, Fault, Moment, Step};
use ruvector_snapshot::{ErrorKind, ImportOptions, Listing, Result, Snapshot, SnapshotManager, VerifyOptions};
use ruvector_snapshot_format::layout;

use test_fixtures::{Published, options};

use super::fixture::{Case, Run, faults, without_left};
use crate::common::three_snapshots::ThreeSnapshots;

const KEPT: [usize; 3] = [0, 1, 2];

#[tokio::test]
async fn a_create_with_any_fault_stores_a_complete_snapshot_or_none() {
    let fixture = ThreeSnapshots::new().await;
    assert_complete_or_none(&fixture, async |manager| fixture.create_fourth(&manager).await).await;
}

#[tokio::test]
async fn an_import_with_any_fault_stores_a_complete_snapshot_or_none() {
    let fixture = ThreeSnapshots::new().await;
    let db = fixture.dir.path("3.db");
    let entries = VectorDB::new(options(&db, 4)).unwrap();
    let entries = entries.keys().unwrap().into_iter().map(|id| entries.get(&id).unwrap().unwrap()).collect::<Vec<_>>();
    let file = Published::of_entries(4, entries).write(&fixture.dir.path(""), "fourth");
    let import = async |manager: SnapshotManager| manager.import_file(&file, &ImportOptions::default()).await;
    assert_complete_or_none(&fixture, import).await;
}

async fn assert_complete_or_none(
    fixture: &ThreeSnapshots,
    operation: impl AsyncFn(SnapshotManager) -> Result<Snapshot>,
) {
    let faults = faults().into_iter().chain([Fault::Fail(ErrorKind::AlreadyExists)]);
    let runs = fixture
        .inject_at_every_step(faults, operation, async |run, case, result| {
            let listing = run.check(case, &KEPT).await;
            match result {
                Ok(made) => check_created(run, case, &listing, &made).await,
                Err(error) => {
                    case.assert_reported_by(&error);
                    if case.is_lasting() {
                        let first = format!("injected at step {}", case.at);
                        assert!(without_left(&error).ends_with(&first), "{}: {error:?}", case.what());
                    }
                    check_failed(run, case, &listing, error.message()).await;
                }
            }
        })
        .await;
    assert!(runs > 170, "only {runs} runs");
    fixture.dir.assert_scratch_empty();
}

/// A create may succeed although a response was lost, if it then finds its object. It also succeeds if the store lies
/// about one of the last two files, because it does not read them again.
async fn check_created(run: &Run<'_>, case: &Case, listing: &Listing, made: &Snapshot) {
    let (what, id) = (case.what(), &made.id);
    if !matches!(case.fault, Fault::PretendDone) {
        let Fault::Fail(kind) = case.fault else { panic!("{what}: Ok") };
        let is_recoverable = match (case.step.call, kind) {
            (Call::Finish, ErrorKind::Unavailable) => true,
            (Call::Create, ErrorKind::Unavailable | ErrorKind::AlreadyExists) => true,
            (Call::Create, _) => case.step.key.ends_with(layout::METADATA_JSON),
            _ => false,
        };
        assert!(is_recoverable && case.step.moment == Moment::After, "{what}: Ok");
        assert_eq!(run.new_ids(listing), [id.as_str()], "{what}");
        return;
    }
    assert_eq!(run.new_ids(listing), Vec::<String>::new(), "{what}");
    let verified = run.healthy.verify_snapshot_with(id, &VerifyOptions::default().record(false)).await;
    if case.is_at(Moment::Before, Call::Create, layout::METADATA_JSON) {
        assert_eq!(listing.pending_uploads, [id.as_str()], "{what}");
        assert_eq!(run.healthy.get_snapshot(id).await.unwrap(), None, "{what}");
        assert_eq!(verified.unwrap_err().kind(), ErrorKind::NotFound, "{what}");
    } else {
        assert!(case.is_at(Moment::Before, Call::Create, layout::CHECKSUM_SHA256), "{what}: Ok");
        let unusable: Vec<_> = listing.unusable.iter().map(|unusable| unusable.id.as_str()).collect();
        assert_eq!(unusable, [id.as_str()], "{what}");
        let corruption = verified.unwrap().corruption;
        assert_eq!(corruption.len(), 1, "{what}: {corruption:?}");
        assert_eq!(corruption[0].file, layout::CHECKSUM_SHA256, "{what}");
    }
}

/// Returns true if the fault was injected after the response to the commit.
fn is_after_the_commit(run: &Run<'_>, case: &Case) -> bool {
    let is_response = |step: &Step| step.moment == Moment::After && step.key.ends_with("/metadata.json");
    run.steps.log()[..case.at].iter().any(|step| step.call == Call::Create && is_response(step))
}

/// Returns true if an error says that the commit succeeded and that the check after it failed.
fn is_stored_but_unchecked(message: &str) -> bool {
    message.contains("was stored") && message.contains("verify it")
}

/// A failed create leaves no snapshot, unless the commit had already been sent. If the store stays away, it may leave a
/// pending upload.
async fn check_failed(run: &Run<'_>, case: &Case, listing: &Listing, message: &str) {
    let what = case.what();
    assert!(listing.unusable.is_empty(), "{what}: {:?}", listing.unusable);
    if is_after_the_commit(run, case) {
        // The commit succeeded, and the check after it failed.
        assert_eq!(run.new_ids(listing).len(), 1, "{what}");
        assert!(is_stored_but_unchecked(message), "{what}: {message}");
        return;
    }
    if !case.is_lasting() {
        run.assert_unchanged(&what).await;
        return;
    }
    let was_sent = case.is_at(Moment::After, Call::Create, layout::METADATA_JSON);
    assert_eq!(run.new_ids(listing).len(), usize::from(was_sent), "{what}");
    assert!(listing.pending_uploads.len() <= usize::from(!was_sent), "{what}: {:?}", listing.pending_uploads);
    if was_sent || case.is_at(Moment::Before, Call::Create, layout::METADATA_JSON) {
        assert!(message.contains("shows whether"), "{what}: {message}");
    }
}

#[tokio::test]
async fn a_create_checks_the_size_of_every_data_file_before_the_commit() {
    let fixture = ThreeSnapshots::new().await;
    let runs = fixture
        .inject_at_every_step(
            [Fault::PretendDone, Fault::StoreHalf],
            async |manager| fixture.create_fourth(&manager).await,
            async |run, case, result| {
                if case.step.call == Call::Finish {
                    let what = case.what();
                    let error = result.map(|made| made.id).expect_err(&what);
                    assert_eq!(error.key(), Some(case.step.key.as_str()), "{what}: {error:?}");
                    assert_eq!(run.steps.count(Call::Create), 0, "{what}: the commit was sent");
                }
            },
        )
        .await;
    assert_eq!(runs, 3 + 2 + 3, "three files and two creates without effect, three truncated files");
}

/// The error reports the first fault, and objects that cannot be removed do not form a snapshot.
#[tokio::test]
async fn a_second_fault_during_the_rollback_leaves_no_snapshot() {
    let fixture = ThreeSnapshots::new().await;
    for second in [Fault::Fail(ErrorKind::Unavailable), Fault::PretendDone, Fault::FlipBit(0), Fault::Crash] {
        let mut pairs = 0;
        for at in 0.. {
            let found = pairs_from(&fixture, at, &second).await;
            pairs += found.unwrap_or(0);
            if found.is_none() {
                break;
            }
        }
        // A rollback reads once: whether a commit whose response was lost has succeeded.
        let least = if matches!(second, Fault::FlipBit(_)) { 1 } else { 100 };
        assert!(pairs >= least, "only {pairs} pairs with {second:?}");
    }
}

/// Fails a step, and injects the second fault at each later step. Returns the number of pairs, or `None` if there is no
/// such step.
async fn pairs_from(fixture: &ThreeSnapshots, at: usize, second: &Fault) -> Option<usize> {
    let mut pairs = 0;
    for later in at + 1.. {
        let first = Fault::Fail(ErrorKind::StorageFull);
        let run = fixture.run([(at, first.clone()), (later, second.clone())]).await;
        let result = fixture.create_fourth(&run.manager).await;
        run.manager.wait_for_cleanup().await;
        let case = Case { at, fault: first, step: run.steps.at(at)? };
        let Some(step) = run.steps.at(later) else { break };
        if second.fits(&step) {
            pairs += 1;
            let what = format!("{}, then {second:?} {step}", case.what());
            check_pair(&run, &case, &what, result).await;
            assert!(run.inner.open_uploads() == 0 || matches!(second, Fault::Crash), "{what}: uploads are still open");
        }
    }
    Some(pairs)
}

async fn check_pair(run: &Run<'_>, case: &Case, what: &str, result: Result<Snapshot>) {
    let listing = run.check_visible(what, &KEPT).await;
    assert!(listing.unusable.is_empty(), "{what}: {:?}", listing.unusable);
    let was_sent = case.is_at(Moment::After, Call::Create, layout::METADATA_JSON);
    assert_eq!(run.new_ids(&listing).len(), usize::from(was_sent || is_after_the_commit(run, case)), "{what}");
    let error = result.map(|made| made.id).expect_err(what);
    // The lost response to the commit was recovered, so the error is that of the check after the commit.
    let is_recovered = was_sent && is_stored_but_unchecked(error.message());
    if !is_recovered {
        case.assert_reported_by(&error);
    }
}

#[tokio::test]
async fn a_snapshot_becomes_visible_only_when_it_is_complete() {
    let fixture = ThreeSnapshots::new().await;
    let steps = fixture
        .suspend_at_every_step(
            &KEPT,
            async |manager| fixture.create_fourth(&manager).await,
            async |run, what, made| {
                let listing = run.check_visible(what, &KEPT).await;
                assert_eq!(run.new_ids(&listing), [made.id], "{what}");
            },
        )
        .await;
    assert!(steps > 30, "only {steps} steps");
}
