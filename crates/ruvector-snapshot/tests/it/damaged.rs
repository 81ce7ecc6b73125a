//! Snapshots that have lost `checksum.sha256`, which a restore does not need: they are damaged, and can be used.

use std::path::PathBuf;

use futures::TryStreamExt as _;
use ruvector_snapshot::retention::KeepReason;
use ruvector_snapshot::{
    CopyOptions, CopySelection, ErrorKind, FreshnessLimits, PrunePolicy, RestoreOptions, Snapshot, SnapshotConfig,
    SnapshotManager, SnapshotProblem, StaleReason, Verification, VerifyOptions,
};
use ruvector_snapshot_format::layout;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use test_fixtures::{StoredSnapshot, TestDir, make_database, records_of_file};

use crate::increments::fixture::create;

struct Damaged {
    dir: TestDir,
    path: PathBuf,
    manager: SnapshotManager,
    /// An intact full snapshot, a damaged full one, and an increment on that.
    snapshots: [Snapshot; 3],
}

impl Damaged {
    async fn new(damage: impl Fn(&StoredSnapshot)) -> Self {
        let dir = TestDir::new();
        let (path, manager) = (dir.path("a.db"), dir.manager());
        drop(make_database(&path, 20, 4, 1));
        let first = create(&manager, &path, None).await.unwrap();
        let full = create(&manager, &path, None).await.unwrap();
        let increment = create(&manager, &path, Some(&full)).await.unwrap();
        damage(&StoredSnapshot::read(&dir.snapshots(), &full.id));
        Self { dir, path, manager, snapshots: [first, full, increment] }
    }
}

fn lose(stored: &StoredSnapshot) {
    stored.remove(layout::CHECKSUM_SHA256);
}

fn cut(stored: &StoredSnapshot) {
    stored.put(layout::CHECKSUM_SHA256, &stored.file(layout::CHECKSUM_SHA256)[1..]);
}

#[tokio::test]
async fn a_listing_has_them_among_the_snapshots_and_says_what_is_wrong() {
    for (damage, why) in [(lose as fn(&StoredSnapshot), "missing"), (cut, "bytes instead of")] {
        let Damaged { dir, manager, path, snapshots: [first, full, increment] } = Damaged::new(damage).await;
        let listing = manager.list().await.unwrap();
        let listed: Vec<&str> = listing.snapshots.iter().map(|snapshot| &*snapshot.id).collect();
        assert_eq!(listed, [&*increment.id, &*full.id, &*first.id]);
        assert!(listing.unusable.is_empty(), "{listing:?}");
        assert_eq!(listing.damaged.keys().collect::<Vec<_>>(), [&full.id]);
        assert_eq!(listing.problem_of(&first.id), None);
        for (snapshot, words) in [(&full, "is damaged: "), (&increment, "depends on a damaged one: ")] {
            let problem = listing.problem_of(&snapshot.id).unwrap();
            assert!(
                matches!(&problem, SnapshotProblem::Damaged { found_in, .. } if *found_in == full.id),
                "{problem:?}"
            );
            let said = problem.to_string();
            let start =
                format!("snapshot {} can be restored, but {words}snapshot-{}/checksum.sha256: ", snapshot.id, full.id);
            assert!(said.starts_with(&start) && said.contains(why), "{said}");
            manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
            assert_eq!(records_of_file(&dir.restored()), records_of_file(&path));
            std::fs::remove_file(dir.restored()).unwrap();
        }
    }
}

#[tokio::test]
async fn no_rule_counts_them_and_none_drops_them() {
    let Damaged { dir: _dir, manager, snapshots: [first, full, increment], .. } = Damaged::new(lose).await;
    let plan = manager.plan_prune(&PrunePolicy::default().keep_last(1)).await.unwrap();
    assert!(plan.drop.is_empty(), "{plan:?}");
    let reasons: Vec<_> = plan.keep.iter().map(|kept| (&kept.snapshot.id, &kept.reasons[0])).collect();
    let last = KeepReason::Last { count: 1 };
    let corrupt = KeepReason::Corrupt;
    assert_eq!(reasons, [(&increment.id, &corrupt), (&full.id, &corrupt), (&first.id, &last)]);
    assert_eq!(plan.problems.len(), 2);
}

#[tokio::test]
async fn a_database_with_one_is_stale() {
    let Damaged { dir: _dir, manager, snapshots: [.., increment], .. } = Damaged::new(lose).await;
    let freshness = manager.freshness(&FreshnessLimits::default()).await.unwrap();
    assert!(freshness.reasons().all(|reason| matches!(reason, StaleReason::Problem { .. })), "{freshness:?}");
    assert_eq!(freshness.reasons().count(), 2);
    // It can be restored, so it is the newest.
    assert_eq!(freshness.databases[0].newest.as_ref().map(|newest| &newest.id), Some(&increment.id));
}

#[tokio::test]
async fn nothing_calls_one_good_that_was_not_read() {
    for damage in [lose as fn(&StoredSnapshot), cut] {
        let Damaged { dir, manager, path, snapshots: [_, full, increment] } = Damaged::new(damage).await;
        // A base.
        let refused = create(&manager, &path, Some(&full)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        // A verification that is skipped, because the one before it was good.
        repair(&dir, &full);
        for id in [&full.id, &increment.id] {
            assert!(manager.verify_snapshot(id).await.unwrap());
        }
        damage(&StoredSnapshot::read(&dir.snapshots(), &full.id));
        let options = VerifyOptions::default().max_age("7d".parse().unwrap()).record(false);
        let all: Vec<Verification> = manager.verify_all(options).try_collect().await.unwrap();
        for id in [&full.id, &increment.id] {
            let one = all.iter().find(|one| one.id() == *id).unwrap();
            assert_eq!(one.is_intact(), Some(false), "{one:?}");
        }
        // A copy that is there already.
        let target = SnapshotManager::new(SnapshotConfig { snapshot_dir: dir.path("target"), ..dir.config() }).unwrap();
        repair(&dir, &full);
        let plan = manager.plan_copy(&target, &CopySelection::All, &CopyOptions::default()).await.unwrap();
        let copied = manager.apply_copy(&target, &plan, None).await.unwrap().snapshots;
        assert!(copied.iter().all(|copied| copied.error.is_none()), "{copied:?}");
        damage(&StoredSnapshot::read(&dir.path("target"), &full.id));
        let plan = manager.plan_copy(&target, &CopySelection::All, &CopyOptions::default()).await.unwrap();
        let blocked: Vec<&str> = plan.blocked.iter().map(|blocked| &*blocked.reason).collect();
        assert!(blocked.iter().any(|reason| reason.contains("it is damaged there: ")), "{plan:?}");
    }
}

/// Writes the `checksum.sha256` that `metadata.json` demands.
fn repair(dir: &TestDir, snapshot: &Snapshot) {
    let directory = dir.snapshots().join(format!("snapshot-{}", snapshot.id));
    let json = std::fs::read(directory.join(layout::METADATA_JSON)).unwrap();
    let metadata = SnapshotMetadata::decode(&json, &snapshot.id.parse().unwrap()).unwrap();
    std::fs::write(directory.join(layout::CHECKSUM_SHA256), metadata.checksum_sha256(&json).unwrap()).unwrap();
}
