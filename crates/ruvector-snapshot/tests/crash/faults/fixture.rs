//! Runs an operation with a fault at each step of the store, and checks what must hold after every run.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Gate, Moment, Step, Steps};
use ruvector_snapshot::{ErrorKind, Listing, Result, SnapshotError, SnapshotManager};
use test_fixtures::{Contents, contents, objects};

use crate::common::three_snapshots::ThreeSnapshots;
use crate::common::{forget, is_intact};

/// One run of an operation, in a store that holds three snapshots.
pub(crate) struct Run<'a> {
    pub(crate) fixture: &'a ThreeSnapshots,
    /// The manager that runs the operation and meets the faults.
    pub(crate) manager: SnapshotManager,
    /// The calls of the manager.
    pub(crate) steps: Arc<Steps>,
    /// The calls that reached the store behind the faults.
    pub(crate) inner: Arc<Steps>,
    /// The store behind the faults.
    pub(crate) store: Arc<dyn SnapshotStore>,
    /// A manager over that store, without faults.
    pub(crate) healthy: SnapshotManager,
}

impl ThreeSnapshots {
    pub(crate) async fn run(&self, faults: impl IntoIterator<Item = (usize, Fault)>) -> Run<'_> {
        let store = self.new_store().await;
        let (counted, inner) = FaultStore::over(store.clone(), []);
        let (faulty, steps) = FaultStore::over(counted, faults);
        let manager = |store| self.dir.manager_with_store(store);
        Run { fixture: self, manager: manager(faulty), steps, inner, healthy: manager(store.clone()), store }
    }

    /// Runs an operation with each fault at each step that the fault fits, and calls `check` after each run. Asserts
    /// that the operation succeeds without a fault. Returns the number of runs.
    pub(crate) async fn inject_at_every_step<T>(
        &self,
        faults: impl IntoIterator<Item = Fault>,
        operation: impl AsyncFn(SnapshotManager) -> Result<T>,
        check: impl AsyncFn(&Run<'_>, &Case, Result<T>),
    ) -> usize {
        let mut runs = 0;
        for fault in faults {
            for at in 0.. {
                let run = self.run([(at, fault.clone())]).await;
                let result = operation(run.manager.clone()).await;
                run.manager.wait_for_cleanup().await;
                let Some(step) = run.steps.at(at) else {
                    assert!(result.is_ok(), "the operation failed without a fault: {:?}", result.err());
                    break;
                };
                if fault.fits(&step) {
                    runs += 1;
                    check(&run, &Case { at, fault: fault.clone(), step }, result).await;
                }
            }
        }
        runs
    }

    /// Suspends an operation at each step, checks the store as another process sees it, and resumes the operation.
    /// Calls `check` at the end of each run. Returns the number of steps.
    pub(crate) async fn suspend_at_every_step<T>(
        &self,
        kept: &[usize],
        operation: impl AsyncFn(SnapshotManager) -> Result<T>,
        check: impl AsyncFn(&Run<'_>, &str, T),
    ) -> usize {
        let mut at = 0;
        loop {
            let gate = Gate::new();
            let run = self.run([(at, Fault::Wait(gate.clone()))]).await;
            let mut operation = pin!(operation(run.manager.clone()));
            let what = tokio::select! {
                result = &mut operation => {
                    assert!(result.is_ok(), "the operation failed without a fault: {:?}", result.err());
                    return at;
                }
                () = gate.reached() => format!("suspended {}", run.steps.at(at).unwrap()),
            };
            let listing = run.check_visible(&what, kept).await;
            assert!(listing.unusable.is_empty(), "{what}: {:?}", listing.unusable);
            gate.open();
            let result = operation.await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            check(&run, &what, result).await;
            at += 1;
        }
    }
}

/// A fault, and the step at which it was injected.
pub(crate) struct Case {
    pub(crate) at: usize,
    pub(crate) fault: Fault,
    pub(crate) step: Step,
}

impl Case {
    pub(crate) fn what(&self) -> String {
        format!("{:?} at step {}, {}", self.fault, self.at, self.step)
    }

    /// Returns true if the store stayed away, so that the operation could not clean up.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self.fault, Fault::FailFromHereOn(_) | Fault::Crash)
    }

    pub(crate) fn is_at(&self, moment: Moment, call: Call, file: &str) -> bool {
        self.step.moment == moment && self.step.call == call && self.step.key.ends_with(&format!("/{file}"))
    }

    /// Returns the kind of the error that this fault causes.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self.fault {
            Fault::Fail(kind) | Fault::FailFromHereOn(kind) | Fault::Cut(kind) => kind,
            Fault::FlipBit(_) => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        }
    }

    /// Asserts that a result reports this fault. Only the ledgers are listed, and nothing depends on them. Returns whether it
    /// has failed.
    #[track_caller]
    pub(crate) fn assert_fails<T>(&self, result: Result<T>) -> bool {
        match &result {
            Ok(_) => assert_eq!(self.step.call, Call::List, "{}", self.what()),
            Err(error) => self.assert_reported_by(error),
        }
        result.is_err()
    }

    /// Asserts that an error reports this fault: its kind, its cause and the snapshot.
    #[track_caller]
    pub(crate) fn assert_reported_by(&self, error: &SnapshotError) {
        let what = self.what();
        // A single bad read is no corruption for a command that reads again before it records anything.
        let is_read_again =
            matches!(self.fault, Fault::FlipBit(_)) && error.message().contains("a second read was intact");
        let expected = if is_read_again { ErrorKind::Unavailable } else { self.kind() };
        assert_eq!(error.kind(), expected, "{what}: {error:?}");
        let (shown, with_causes) = (error.to_string(), without_left(error));
        match self.fault {
            // If the store stays away, the error may come from a later step.
            Fault::FailFromHereOn(_) | Fault::Crash => assert!(with_causes.contains("injected at step "), "{what}"),
            Fault::PretendDone | Fault::StoreHalf | Fault::FlipBit(_) => {}
            _ => assert!(with_causes.ends_with(&format!("injected at step {}", self.at)), "{what}: {error:?}"),
        }
        let id = self.step.key.split('/').next().unwrap_or_default().trim_start_matches("snapshot-");
        let names_it = if self.is_lasting() { shown.contains("snapshot") } else { shown.contains(id) };
        assert!(names_it || self.step.call == Call::List, "{what}: the error does not name the snapshot: {shown}");
    }
}

impl Run<'_> {
    /// Asserts what another process sees: the kept snapshots are listed, and every listed one is intact and restores to
    /// its records.
    pub(crate) async fn check_visible(&self, what: &str, kept: &[usize]) -> Listing {
        let listing = self.healthy.list().await.unwrap();
        let listed: BTreeSet<_> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
        for number in kept {
            assert!(listed.contains(self.fixture.ids[*number].as_str()), "{what}: snapshot {number} is lost");
        }
        for id in listed {
            assert!(is_intact(&self.healthy, id).await.unwrap(), "{what}: {id} is listed and corrupt");
            let restored = contents(&self.healthy.restore_snapshot(id).await.unwrap());
            assert!(restored == *self.captured(id), "{what}: {id} restores to other records");
        }
        for unusable in &listing.unusable {
            let id = &unusable.id;
            assert!(
                !is_intact(&self.healthy, id).await.unwrap(),
                "{what}: {id} is unusable in the listing and intact for verify"
            );
            if let Ok(db) = self.healthy.restore_snapshot(id).await {
                assert!(contents(&db) == *self.captured(id), "{what}: {id} restores to other records");
            }
        }
        for id in &listing.pending_uploads {
            let error = self.healthy.restore_snapshot(id).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error:?}");
        }
        listing
    }

    /// Asserts what must hold after every run: [`check_visible`](Self::check_visible), no upload is open, and a create
    /// works.
    pub(crate) async fn check(&self, case: &Case, kept: &[usize]) -> Listing {
        let what = case.what();
        let listing = self.check_visible(&what, kept).await;
        if !matches!(case.fault, Fault::Crash) {
            assert_eq!(self.inner.open_uploads(), 0, "{what}: uploads are still open");
        }
        let next = self.fixture.create_fourth(&self.healthy).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert!(is_intact(&self.healthy, &next.id).await.unwrap(), "{what}");
        self.healthy.delete_snapshot(&next.id).await.unwrap();
        listing
    }

    /// Asserts that the store holds the same objects as at the start. That something was found corrupt may be recorded.
    pub(crate) async fn assert_unchanged(&self, what: &str) {
        forget(self.store.as_ref()).await;
        let found = objects(self.store.as_ref()).await;
        if found != self.fixture.objects {
            let keys: Vec<_> = found.into_keys().filter(|key| !self.fixture.objects.contains_key(key)).collect();
            panic!("{what}: the store has changed; new objects: {keys:?}");
        }
    }

    /// Returns the ids of the listed snapshots that did not exist at the start.
    pub(crate) fn new_ids(&self, listing: &Listing) -> Vec<String> {
        let ids = listing.snapshots.iter().map(|snapshot| snapshot.id.clone());
        ids.filter(|id| !self.fixture.ids.contains(id)).collect()
    }

    fn captured(&self, id: &str) -> &Contents {
        let number = self.fixture.ids.iter().position(|kept| kept == id).unwrap_or(3);
        &self.fixture.contents[number]
    }
}

/// Returns every fault except those that end the process or wait.
pub(crate) fn faults() -> [Fault; 9] {
    [
        Fault::Fail(ErrorKind::Unavailable),
        Fault::Fail(ErrorKind::PermissionDenied),
        Fault::FailFromHereOn(ErrorKind::StorageFull),
        Fault::Crash,
        Fault::Cut(ErrorKind::Unavailable),
        Fault::PretendDone,
        Fault::StoreHalf,
        Fault::FlipBit(0),
        Fault::FlipBit(1203),
    ]
}

/// Returns an error with its causes, without the report of a clean-up that failed too.
pub(crate) fn without_left(error: &SnapshotError) -> String {
    let text = format!("{error:?}");
    match text.split_once("; the clean-up failed too, and left ") {
        None => text,
        Some((first, left)) => first.to_owned() + left.find(": ").map_or("", |end| &left[end..]),
    }
}
