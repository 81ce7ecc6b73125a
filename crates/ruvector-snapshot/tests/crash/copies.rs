//! Copies that fail or are cut off at any step, of the source or of the target. Every snapshot of the target is intact at
//! any time, and the next copy completes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Action, Call, Fault, FaultStore, Moment, Steps};
use ruvector_snapshot::{
    CopyOptions, CopyOutcome, CopyReport, CopySelection, ErrorKind, Result, SnapshotConfig, SnapshotManager,
};
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, local_store, memory_store, objects};

use crate::common::chain_and_full::{ChainAndFull, chain_and_full};
use crate::common::is_intact;

/// The two stores of one copy, and what goes on at each.
struct Pair {
    fixture: &'static ChainAndFull,
    from: Arc<dyn SnapshotStore>,
    to: Arc<dyn SnapshotStore>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Source,
    Target,
}

impl Pair {
    async fn new() -> Self {
        let fixture = chain_and_full().await;
        Self { fixture, from: fixture.new_store().await, to: memory_store() }
    }

    /// Copies a chain of two snapshots, with faults at one side.
    async fn copy(&self, side: Side, faults: Vec<(usize, Fault)>) -> (Result<CopyReport>, Arc<Steps>) {
        self.copy_with(side, faults, false).await
    }

    async fn copy_with(
        &self,
        side: Side,
        faults: Vec<(usize, Fault)>,
        verify_after_write: bool,
    ) -> (Result<CopyReport>, Arc<Steps>) {
        let inner = if side == Side::Source { &self.from } else { &self.to };
        let (faulty, steps) = FaultStore::over(inner.clone(), faults);
        let (from, to) = if side == Side::Source { (faulty, self.to.clone()) } else { (self.from.clone(), faulty) };
        let config = SnapshotConfig { verify_after_write, ..SnapshotConfig::default() };
        let [from, to] = [from, to].map(|store| SnapshotManager::with_store(config.clone(), store).unwrap());
        let copied = async {
            let plan = from.plan_copy(&to, &self.selection(), &CopyOptions::default()).await?;
            from.apply_copy(&to, &plan, None).await
        };
        (copied.await, steps)
    }

    fn selection(&self) -> CopySelection {
        CopySelection::Ids(vec![self.fixture.ids[1].clone()])
    }

    /// Asserts that what is listed in the target is intact, has its base, and has the bytes of the source.
    async fn assert_intact(&self, what: &str) {
        let target = SnapshotManager::with_store(SnapshotConfig::default(), self.to.clone()).unwrap();
        let listing = target.list().await.unwrap();
        assert!(listing.unusable.is_empty(), "{what}: {:?}", listing.unusable);
        let found = objects(self.to.as_ref()).await;
        for snapshot in &listing.snapshots {
            assert!(is_intact(&target, &snapshot.id).await.unwrap(), "{what}: {} is corrupt", snapshot.id);
            for file in layout::FILES {
                let key = layout::key(&snapshot.id.parse().unwrap(), file);
                assert!(found[&key] == self.fixture.objects[&key], "{what}: {key}");
            }
        }
    }

    /// Asserts that a copy without faults completes what is there, and that nothing but the snapshots is left, except
    /// the markers that a prune removes.
    async fn assert_can_be_completed(&self, what: &str) {
        let (report, steps) = self.copy(Side::Target, Vec::new()).await;
        let report = report.unwrap();
        assert!(report.is_complete(), "{what}: {report:?}");
        assert_eq!(steps.open_uploads(), 0);
        self.assert_intact(what).await;
        let mut found: BTreeMap<String, Bytes> = objects(self.to.as_ref()).await;
        found.retain(|key, _| !key.ends_with(layout::UPLOAD_JSON));
        let mut expected = self.fixture.objects.clone();
        expected.retain(|key, _| self.fixture.ids[..2].iter().any(|id| key.contains(id)));
        assert!(found == expected, "{what}: {:?}", found.keys());
    }
}

/// Copies with each fault at each step of each side, and then once more.
async fn at_every_step(faults: impl Fn() -> Vec<Fault>) {
    for side in [Side::Source, Side::Target] {
        for at in 0.. {
            let mut is_reached = false;
            for fault in faults() {
                let pair = Pair::new().await;
                let (report, steps) = pair.copy(side, vec![(at, fault.clone())]).await;
                let Some(step) = steps.at(at) else { continue };
                is_reached = true;
                let what = format!("{fault:?} at {side:?} {step}");
                if let Ok(report) = &report
                    && report.is_complete()
                {
                    // A fault that prevents nothing, for example in the removal of the upload marker.
                    assert_eq!(pair.listed().await, 2, "{what}");
                }
                if !matches!(fault, Fault::Crash) {
                    assert_eq!(steps.open_uploads(), 0, "{what}");
                }
                pair.assert_intact(&what).await;
                pair.assert_can_be_completed(&what).await;
            }
            if !is_reached {
                assert!(at > 20, "{side:?}");
                break;
            }
        }
    }
}

impl Pair {
    async fn listed(&self) -> usize {
        let target = SnapshotManager::with_store(SnapshotConfig::default(), self.to.clone()).unwrap();
        target.list().await.unwrap().snapshots.len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_at_any_step_leaves_what_the_next_one_completes() {
    at_every_step(|| vec![Fault::Fail(ErrorKind::Unavailable), Fault::Fail(ErrorKind::PermissionDenied)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_store_goes_away_at_any_step_leaves_what_the_next_one_completes() {
    at_every_step(|| vec![Fault::FailFromHereOn(ErrorKind::Unavailable)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_killed_at_any_step_leaves_what_the_next_one_completes() {
    at_every_step(|| vec![Fault::Crash]).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_connections_break_at_any_step_leaves_what_the_next_one_completes() {
    at_every_step(|| vec![Fault::Cut(ErrorKind::Unavailable)]).await;
}

/// A flipped bit in any answer of the source: nothing wrong is committed.
#[tokio::test(start_paused = true)]
async fn bytes_that_change_on_the_way_are_never_committed() {
    for at in 0.. {
        let pair = Pair::new().await;
        let (report, steps) = pair.copy(Side::Source, vec![(at, Fault::FlipBit(1001))]).await;
        let Some(step) = steps.at(at) else { break };
        if step.moment == Moment::Before && step.call == Call::GetRange {
            let report = report.unwrap();
            let failed = report.snapshots.iter().find(|copied| copied.outcome == CopyOutcome::Failed).unwrap();
            // The copy reads it again: it is intact in the store.
            assert_eq!(failed.kind, Some(ErrorKind::Unavailable), "{step}");
            let error = failed.error.as_ref().unwrap();
            assert!(error.starts_with(&step.key) && error.contains("a second read was intact"), "{failed:?}");
        }
        pair.assert_intact(&step.to_string()).await;
        pair.assert_can_be_completed(&step.to_string()).await;
    }
}

/// A target that confirms what it has not stored. Half a file is noticed by its size, also by the next attempt.
#[tokio::test(start_paused = true)]
async fn a_target_that_lies_about_an_upload_gets_no_commit() {
    for fault in [Fault::PretendDone, Fault::StoreHalf] {
        for at in 0.. {
            let pair = Pair::new().await;
            let (_, steps) = pair.copy(Side::Target, vec![(at, fault.clone())]).await;
            let Some(step) = steps.at(at) else { break };
            if step.call != Call::Finish {
                continue;
            }
            // A checksum.sha256 of half its size is found by `verify`, as after a create.
            if step.key.ends_with(layout::CHECKSUM_SHA256) {
                continue;
            }
            pair.assert_intact(&step.to_string()).await;
            pair.assert_can_be_completed(&step.to_string()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_reads_back_finds_other_bytes_in_the_target_and_the_next_one_replaces_them() {
    let (_, steps) = Pair::new().await.copy_with(Side::Target, Vec::new(), true).await;
    let reads = steps.log().into_iter().enumerate();
    let mut found = 0;
    for (at, step) in reads.filter(|(_, step)| step.moment == Moment::Before && step.call == Call::GetRange) {
        let pair = Pair::new().await;
        let (report, _) = pair.copy_with(Side::Target, vec![(at, Fault::FlipBit(7))], true).await;
        let report = report.unwrap();
        let failed = report.snapshots.iter().find(|copied| copied.outcome == CopyOutcome::Failed).unwrap();
        assert_eq!(failed.kind, Some(ErrorKind::Corrupt), "{step}: {failed:?}");
        let key = failed.error.as_ref().unwrap().split(": ").next().unwrap();
        assert!(!objects(pair.to.as_ref()).await.contains_key(key), "{key} was left");
        pair.assert_can_be_completed(&step.to_string()).await;
        found += 1;
    }
    assert_eq!(found, 6);
}

/// The future of a copy is dropped at every step: nothing is left in the upload, and the next copy completes it.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_cancelled_at_any_step_aborts_its_uploads() {
    for at in 0.. {
        let pair = Pair::new().await;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stop = Arc::new(std::sync::Mutex::new(Some(stop)));
        let cancel = Fault::Do(Action::new(move || {
            drop(stop.lock().unwrap().take());
            async { tokio::task::yield_now().await }
        }));
        let (faulty, steps) = FaultStore::over(pair.to.clone(), [(at, cancel)]);
        let [from, to] = [pair.from.clone(), faulty]
            .map(|store| SnapshotManager::with_store(SnapshotConfig::default(), store).unwrap());
        let copying = async {
            let plan = from.plan_copy(&to, &pair.selection(), &CopyOptions::default()).await.unwrap();
            from.apply_copy(&to, &plan, None).await.unwrap();
        };
        futures::future::select(Box::pin(copying), stopped.boxed()).await;
        to.wait_for_cleanup().await;
        let Some(step) = steps.at(at) else { break };
        assert_eq!(steps.open_uploads(), 0, "{step}");
        pair.assert_intact(&step.to_string()).await;
        pair.assert_can_be_completed(&step.to_string()).await;
    }
}

/// The chain is deleted in the source at any step of the copy. What the target has then is complete.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_deleted_in_the_source_while_it_is_copied_is_copied_or_not_found() {
    for at in 0.. {
        let pair = Pair::new().await;
        let (from, ids) = (pair.from.clone(), pair.fixture.ids.clone());
        let delete = Fault::Do(Action::new(move || {
            let source = SnapshotManager::with_store(SnapshotConfig::default(), from.clone()).unwrap();
            let id = ids[0].clone();
            async move {
                let plan = source.plan_delete(&[&id], true).await.unwrap();
                source.apply_delete(&plan).await.unwrap();
            }
        }));
        let (report, steps) = pair.copy(Side::Source, vec![(at, delete)]).await;
        let Some(step) = steps.at(at) else { break };
        match report {
            Ok(report) => {
                let kinds = report.snapshots.iter().filter_map(|copied| copied.kind);
                assert!(kinds.into_iter().all(|kind| kind == ErrorKind::NotFound), "{step}: {report:?}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{step}: {error}"),
        }
        pair.assert_intact(&step.to_string()).await;
    }
}

/// Temporary files on a disk are no objects. A copy that is cut off leaves none for longer than the grace period.
#[tokio::test(start_paused = true)]
async fn a_copy_to_a_disk_that_fails_leaves_no_temporary_files() {
    let fixture = chain_and_full().await;
    for at in (0..).step_by(3) {
        let dir = TestDir::new();
        let (faulty, steps) =
            FaultStore::over(local_store(&dir.snapshots()), [(at, Fault::Fail(ErrorKind::Unavailable))]);
        let from = SnapshotManager::with_store(SnapshotConfig::default(), fixture.new_store().await).unwrap();
        let to = SnapshotManager::with_store(SnapshotConfig::default(), faulty).unwrap();
        let selection = CopySelection::Ids(vec![fixture.ids[1].clone()]);
        if let Ok(plan) = from.plan_copy(&to, &selection, &CopyOptions::default()).await {
            from.apply_copy(&to, &plan, None).await.unwrap();
        }
        let Some(step) = steps.at(at) else { break };
        let files = std::fs::read_dir(dir.snapshots())
            .unwrap()
            .flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap().map(|file| file.unwrap().file_name()));
        for file in files {
            assert!(!file.to_string_lossy().contains('#'), "{step} left {file:?}");
        }
        let report = from.plan_copy(&dir.manager(), &selection, &CopyOptions::default()).await.unwrap();
        assert!(from.apply_copy(&dir.manager(), &report, None).await.unwrap().is_complete(), "{step}");
        assert!(dir.manager().verify_snapshot(&fixture.ids[1]).await.unwrap(), "{step}");
    }
}
