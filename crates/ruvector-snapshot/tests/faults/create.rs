//! A create in a store that fails, lies or goes away: the new snapshot is whole or is none, and the answer says which.

use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::fault::{Call, Fault, Moment, Step};
use ruvector_snapshot::{ErrorKind, Listing, Result, Snapshot, VerifyOptions};

use crate::bench::{Bench, Case, Run, create, faults};

const KEPT: [usize; 3] = [0, 1, 2];

#[tokio::test]
async fn every_fault_at_every_step() {
    let bench = Bench::new().await;
    let faults = faults().into_iter().chain([Fault::Fail(ErrorKind::AlreadyExists)]);
    let runs = bench
        .walk(
            faults,
            async |manager| create(&bench, &manager).await,
            async |run, case, answer| {
                let listing = run.check(case, &KEPT).await;
                match answer {
                    Ok(made) => judge_made(run, case, &listing, &made).await,
                    Err(error) => {
                        case.assert_told(&error);
                        if case.is_lasting() {
                            let first = format!("injected at step {}", case.at);
                            assert!(format!("{error:?}").ends_with(&first), "{}: {error:?}", case.what());
                        }
                        judge_failed(run, case, &listing, error.message()).await;
                    }
                }
            },
        )
        .await;
    assert!(runs > 170, "only {runs} runs");
    bench.place.assert_scratch_empty();
}

/// Created is what is there, unless the store lied about one of the two last files, which nothing but a look would notice.
async fn judge_made(run: &Run<'_>, case: &Case, listing: &Listing, made: &Snapshot) {
    let (what, id) = (case.what(), &made.id);
    if !matches!(case.fault, Fault::PretendDone) {
        // An answer was lost, and what stands there was looked at.
        let Fault::Fail(kind) = case.fault else { panic!("{what}: Ok") };
        let is_settled = match (case.step.call, kind) {
            (Call::Finish, ErrorKind::Unavailable) => true,
            (Call::Create, ErrorKind::Unavailable | ErrorKind::AlreadyExists) => true,
            (Call::Create, _) => case.step.key.ends_with(layout::METADATA_JSON),
            _ => false,
        };
        assert!(is_settled && case.step.moment == Moment::After, "{what}: Ok");
        assert_eq!(run.new_ids(listing), [id.as_str()], "{what}");
        return;
    }
    assert_eq!(run.new_ids(listing), Vec::<String>::new(), "{what}");
    let verified = run.healthy.verify_snapshot_with(id, &VerifyOptions::default()).await;
    if case.is_at(Moment::Before, Call::Create, layout::METADATA_JSON) {
        assert_eq!(listing.unfinished, [id.as_str()], "{what}");
        assert_eq!(run.healthy.get_snapshot(id).await.unwrap(), None, "{what}");
        assert_eq!(verified.unwrap_err().kind(), ErrorKind::NotFound, "{what}");
    } else {
        assert!(case.is_at(Moment::Before, Call::Create, layout::CHECKSUM_SHA256), "{what}: Ok");
        let damaged: Vec<_> = listing.damaged.iter().map(|damaged| damaged.id.as_str()).collect();
        assert_eq!(damaged, [id.as_str()], "{what}");
        let damage = verified.unwrap().damage;
        assert_eq!(damage.len(), 1, "{what}: {damage:?}");
        assert_eq!(damage[0].file, layout::CHECKSUM_SHA256, "{what}");
    }
}

/// Whether the fault struck after the commit had been answered.
fn is_behind_the_commit(run: &Run<'_>, case: &Case) -> bool {
    let is_answer = |step: &Step| step.moment == Moment::After && step.key.ends_with("/metadata.json");
    run.steps.log()[..case.at].iter().any(|step| step.call == Call::Create && is_answer(step))
}

/// Nothing is there, or what is there is not called a snapshot, or the commit had been sent when the store went away.
async fn judge_failed(run: &Run<'_>, case: &Case, listing: &Listing, message: &str) {
    let what = case.what();
    assert!(listing.damaged.is_empty(), "{what}: {:?}", listing.damaged);
    if is_behind_the_commit(run, case) {
        // It was committed, and then could not be looked at again.
        assert_eq!(run.new_ids(listing).len(), 1, "{what}");
        assert!(message.contains("whether it stands cannot be seen; verify it"), "{what}: {message}");
        return;
    }
    if !case.is_lasting() {
        run.assert_unchanged(&what).await;
        return;
    }
    let was_sent = case.is_at(Moment::After, Call::Create, layout::METADATA_JSON);
    assert_eq!(run.new_ids(listing).len(), usize::from(was_sent), "{what}");
    assert!(listing.unfinished.len() <= usize::from(!was_sent), "{what}: {:?}", listing.unfinished);
    if was_sent || case.is_at(Moment::Before, Call::Create, layout::METADATA_JSON) {
        assert!(message.contains("list shows whether the snapshot exists"), "{what}: {message}");
    }
}

/// The size in the store is looked at before the commit, and the error names the file.
#[tokio::test]
async fn a_file_that_the_store_only_says_it_has_is_noticed() {
    let bench = Bench::new().await;
    let runs = bench
        .walk(
            [Fault::PretendDone, Fault::StoreHalf],
            async |manager| create(&bench, &manager).await,
            async |run, case, answer| {
                if case.step.call == Call::Finish {
                    let what = case.what();
                    let error = answer.map(|made| made.id).expect_err(&what);
                    assert_eq!(error.key(), Some(case.step.key.as_str()), "{what}: {error:?}");
                    assert_eq!(run.steps.count(Call::Create), 0, "{what}: the commit was begun");
                }
            },
        )
        .await;
    assert_eq!(runs, 3 + 2 + 3, "three files pretended, two creates, three files halved");
}

/// A fault, and one more on the way out of it: the first is told, and what cannot be removed is no snapshot.
#[tokio::test]
async fn a_second_fault_during_the_clean_up() {
    let bench = Bench::new().await;
    for second in [Fault::Fail(ErrorKind::Unavailable), Fault::PretendDone, Fault::FlipBit(0), Fault::Crash] {
        let mut pairs = 0;
        for at in 0.. {
            let met = pairs_from(&bench, at, &second).await;
            pairs += met.unwrap_or(0);
            if met.is_none() {
                break;
            }
        }
        // Of reads there is one alone: whether a commit whose answer was lost is there.
        let least = if matches!(second, Fault::FlipBit(_)) { 1 } else { 100 };
        assert!(pairs >= least, "only {pairs} pairs with {second:?}");
    }
}

/// Lets a step fail, and the second fault strike at each step that comes after it. Returns how often it did; `None` where there
/// is no such step.
async fn pairs_from(bench: &Bench, at: usize, second: &Fault) -> Option<usize> {
    let mut pairs = 0;
    for later in at + 1.. {
        let first = Fault::Fail(ErrorKind::NoSpace);
        let run = bench.run([(at, first.clone()), (later, second.clone())]).await;
        let answer = create(bench, &run.manager).await;
        run.manager.settle().await;
        let case = Case { at, fault: first, step: run.steps.at(at)? };
        let Some(step) = run.steps.at(later) else { break };
        if second.fits(&step) {
            pairs += 1;
            let what = format!("{}, then {second:?} {step}", case.what());
            judge_two(&run, &case, &what, answer).await;
            assert!(run.inner.open_uploads() == 0 || matches!(second, Fault::Crash), "{what}: uploads were left open");
        }
    }
    Some(pairs)
}

async fn judge_two(run: &Run<'_>, case: &Case, what: &str, answer: Result<Snapshot>) {
    let listing = run.check_shown(what, &KEPT).await;
    assert!(listing.damaged.is_empty(), "{what}: {:?}", listing.damaged);
    let was_sent = case.is_at(Moment::After, Call::Create, layout::METADATA_JSON);
    assert_eq!(run.new_ids(&listing).len(), usize::from(was_sent || is_behind_the_commit(run, case)), "{what}");
    let error = answer.map(|made| made.id).expect_err(what);
    // The commit that was in doubt was settled, and then it could not be looked at again: that is the later error.
    let is_settled = was_sent && error.message().contains("whether it stands cannot be seen; verify it");
    if !is_settled {
        case.assert_told(&error);
    }
}

#[tokio::test]
async fn others_see_no_half_snapshot_while_it_is_made() {
    let bench = Bench::new().await;
    let steps = bench
        .walk_slowly(
            &KEPT,
            async |manager| create(&bench, &manager).await,
            async |run, what, made| {
                let listing = run.check_shown(what, &KEPT).await;
                assert_eq!(run.new_ids(&listing), [made.id], "{what}");
            },
        )
        .await;
    assert!(steps > 30, "only {steps} steps");
}
