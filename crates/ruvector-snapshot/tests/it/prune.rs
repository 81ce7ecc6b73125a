//! Prune, delete and garbage collection: they keep the bases of unreadable snapshots and of uploads in progress, and
//! foreign files. Applying a plan does what the plan says, and reports what it kept instead.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::clock::{Clock, SystemClock};
use ruvector_snapshot::retention::ExternalRefs;
use ruvector_snapshot::store::testing::fault::{Fault, FaultStore};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, KeepReason, OrphanKind, PrunePlan, PrunePolicy, Result, SnapshotConfig, SnapshotManager,
    VerifyOptions, retention,
};
use test_fixtures::{TestDir, create_full, make_database, make_old, names};

/// The id of an upload by another process.
const UPLOAD: &str = "20261123T080000000Z-00000000000000aa";

/// The system clock with a fixed random number.
#[derive(Debug)]
struct FixedRandom(u64);

impl Clock for FixedRandom {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    fn random(&self) -> Result<u64> {
        Ok(self.0)
    }
}

struct Fixture {
    dir: TestDir,
    manager: SnapshotManager,
}

impl Fixture {
    fn new() -> Self {
        let dir = TestDir::new();
        drop(make_database(&dir.path("a.db"), 30, 4, 1));
        Self { manager: dir.manager(), dir }
    }

    async fn full(&self, name: &str) -> String {
        create_full(&self.manager, &self.dir.path("a.db"), name).await.unwrap().id
    }

    async fn increment(&self, name: &str, base: &str) -> String {
        let options = CreateOptions::default().base_id(base);
        self.manager.create_snapshot_of_file(self.dir.path("a.db"), name, &options).await.unwrap().id
    }

    /// Makes every object three days old, which is older than the grace period, and returns the manager.
    fn three_days_later(&self) -> SnapshotManager {
        make_old(&self.dir.snapshots());
        self.manager.clone()
    }

    fn directory(&self, id: &str) -> PathBuf {
        self.dir.snapshots().join(format!("snapshot-{id}"))
    }

    fn file(&self, id: &str, name: &str) -> PathBuf {
        self.directory(id).join(name)
    }

    /// Writes a file as another process might have orphans it.
    fn leave_file(&self, id: &str, name: &str, contents: &str) {
        fs::create_dir_all(self.directory(id)).unwrap();
        fs::write(self.file(id, name), contents).unwrap();
    }
}

fn keep_last(keep_last: usize) -> PrunePolicy {
    PrunePolicy::default().keep_last(keep_last)
}

/// Collects the orphans of a plan, then applies it. Returns the deleted and the kept ids.
async fn apply(manager: &SnapshotManager, plan: &PrunePlan) -> (Vec<String>, Vec<String>) {
    assert_eq!(manager.collect_garbage(&plan.orphans).await.unwrap(), plan.orphans);
    let done = manager.apply_prune(plan).await.unwrap();
    (done.deleted, done.kept)
}

fn dropped(plan: &PrunePlan) -> Vec<String> {
    plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect()
}

/// Returns the reasons for which the plan keeps a snapshot.
fn reasons<'a>(plan: &'a PrunePlan, id: &str) -> &'a [KeepReason] {
    let kept = plan.keep.iter().find(|kept| kept.snapshot.id == id);
    &kept.unwrap_or_else(|| panic!("the plan drops {id}")).reasons
}

// ---- a plan of what a listing shows

#[tokio::test]
async fn a_plan_of_a_listing_keeps_what_a_prune_keeps() {
    let fixture = Fixture::new();
    let first = fixture.full("first").await;
    let pinned = fixture.full("pinned").await;
    let base = fixture.full("base").await;
    let inc = fixture.increment("inc", &base).await;
    fixture.manager.pin_snapshot(&pinned).await.unwrap();
    let kept = |plan: &PrunePlan| -> Vec<(String, Vec<KeepReason>)> {
        plan.keep.iter().map(|kept| (kept.snapshot.id.clone(), kept.reasons.clone())).collect()
    };
    let both = async || {
        let listing = fixture.manager.list().await.unwrap();
        let (external, now) = (ExternalRefs::of_listing(&listing), listing.listed_at);
        let of_listing = retention::plan(listing.snapshots, &external, &keep_last(1), now).unwrap();
        (of_listing, fixture.manager.plan_prune(&keep_last(1)).await.unwrap())
    };
    let (of_listing, of_prune) = both().await;
    assert_eq!(kept(&of_listing), kept(&of_prune));
    assert_eq!(dropped(&of_listing), [first.as_str()]);
    assert_eq!(reasons(&of_listing, &pinned), [KeepReason::Pinned]);
    // An unusable snapshot is kept, and counts for no rule.
    fs::write(fixture.file(&inc, "metadata.json"), "{").unwrap();
    let (of_listing, of_prune) = both().await;
    assert_eq!((&of_listing.unusable, kept(&of_listing)), (&vec![inc], kept(&of_prune)));
    assert_eq!(dropped(&of_listing), [first]);
}

// ---- a base without metadata.json

#[tokio::test]
async fn a_base_without_metadata_json_is_not_an_orphan() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    let inc = fixture.increment("inc", &full).await;
    let bytes = fs::read(fixture.file(&full, "metadata.json")).unwrap();
    fs::remove_file(fixture.file(&full, "metadata.json")).unwrap();
    for manager in [&fixture.manager, &fixture.three_days_later()] {
        let plan = manager.plan_prune(&keep_last(5)).await.unwrap();
        assert_eq!((&plan.orphans, &plan.unusable), (&Vec::new(), &vec![full.clone()]));
        let broken = KeepReason::BrokenChain { at: full.clone() };
        assert_eq!(reasons(&plan, &inc), [broken]);
        let listing = manager.list().await.unwrap();
        assert_eq!((listing.pending_uploads, listing.unusable.len()), (Vec::new(), 1));
        let error = &listing.unusable[0].error;
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("copy of the store"), "{error}");
        assert!(error.key().is_some_and(|key| key.ends_with("metadata.json")), "{error}");
    }
    // A delete of the base alone is refused.
    let error = fixture.three_days_later().delete_snapshot(&full).await.unwrap_err();
    assert!(error.message().contains(&full) && error.message().contains(&inc), "{error}");
    fs::write(fixture.file(&full, "metadata.json"), bytes).unwrap();
    let options = VerifyOptions::default().record(false);
    assert!(fixture.manager.verify_snapshot_with(&inc, &options).await.unwrap().is_intact());

    // The same holds if more files are missing.
    for name in ["metadata.json", "vectors.bin.gz", "checksum.sha256"] {
        fs::remove_file(fixture.file(&full, name)).unwrap();
    }
    assert_eq!(fixture.three_days_later().orphans().await.unwrap(), []);
    // Together with its dependents it can be deleted.
    let plan = fixture.three_days_later().plan_delete(&[&full], true).await.unwrap();
    assert_eq!(plan.ids, [inc, full]);
    assert_eq!(fixture.three_days_later().apply_delete(&plan).await.unwrap(), 2);
    assert_eq!(names(&fixture.dir.snapshots()), Vec::<String>::new());
}

/// The bases of an unreadable snapshot are unknown. Any older snapshot may be one.
#[tokio::test]
async fn snapshots_older_than_an_unreadable_one_are_neither_collected_nor_deleted() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    let one = fixture.increment("one", &full).await;
    let two = fixture.increment("two", &one).await;
    let newer = fixture.full("newer").await;
    let kept = fs::read(fixture.file(&one, "metadata.json")).unwrap();
    fs::remove_file(fixture.file(&one, "metadata.json")).unwrap();
    let error = fixture.manager.plan_delete(&[&full], true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("repair") && error.message().contains(&one), "{error}");
    assert_eq!(fixture.manager.delete_snapshot(&full).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    // A newer snapshot cannot be a base of the unreadable one.
    assert_eq!(fixture.manager.plan_delete(&[&newer], false).await.unwrap().ids, [newer]);

    let lower = fs::read(fixture.file(&full, "metadata.json")).unwrap();
    fs::remove_file(fixture.file(&full, "metadata.json")).unwrap();
    assert_eq!(fixture.three_days_later().orphans().await.unwrap(), []);
    fs::write(fixture.file(&one, "metadata.json"), kept).unwrap();
    fs::write(fixture.file(&full, "metadata.json"), lower).unwrap();
    assert!(fixture.manager.verify_snapshot(&two).await.unwrap());
}

#[tokio::test]
async fn a_base_that_just_lost_its_metadata_json_can_be_deleted_with_its_dependents() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    let one = fixture.increment("one", &full).await;
    fs::remove_file(fixture.file(&full, "metadata.json")).unwrap();
    let plan = fixture.manager.plan_delete(&[&full], true).await.unwrap();
    assert_eq!(plan.ids, [one, full]);
    assert_eq!(fixture.manager.apply_delete(&plan).await.unwrap(), 2);
    assert_eq!(names(&fixture.dir.snapshots()), Vec::<String>::new());
}

/// A commit relies on the markers of others, and on its own checksum.sha256, for a fixed minimum time.
#[tokio::test]
async fn markers_and_uploads_outlive_a_grace_period_of_zero() {
    let fixture = Fixture::new();
    for (id, file) in
        [(UPLOAD, "checksum.sha256"), ("20261123T080000000Z-00000000000000cc", "deleting-0123456789abcdef")]
    {
        fixture.leave_file(id, file, "");
    }
    fixture.leave_file("20261123T080000000Z-00000000000000dd", "index.bin.gz", "half");
    let config = SnapshotConfig { grace: TimeDelta::zero(), ..fixture.dir.config() };
    let without_grace = SnapshotManager::new(config).unwrap();
    let orphans = without_grace.orphans().await.unwrap();
    assert_eq!(
        orphans.iter().map(|orphan| orphan.key.as_str()).collect::<Vec<_>>(),
        ["snapshot-20261123T080000000Z-00000000000000dd"]
    );
    make_old(&fixture.dir.snapshots());
    assert_eq!(without_grace.orphans().await.unwrap().len(), 3);
}

/// It does not matter how much of the upload was stored, or whether it is an increment.
#[tokio::test]
async fn an_abandoned_upload_is_collected() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    let [complete, named, partial] =
        [fixture.full("complete").await, fixture.full("named").await, fixture.full("partial").await];
    for id in [&complete, &named, &partial] {
        fs::remove_file(fixture.file(id, "metadata.json")).unwrap();
    }
    fixture.leave_file(&named, "upload.json", &format!(r#"{{"base_ids":["{full}"]}}"#));
    fs::remove_file(fixture.file(&partial, "checksum.sha256")).unwrap();
    let later = fixture.three_days_later();
    let orphans = later.orphans().await.unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan.kind).collect::<Vec<_>>(), [OrphanKind::Upload; 3]);
    assert_eq!(later.collect_garbage(&orphans).await.unwrap(), orphans);
    assert_eq!(names(&fixture.dir.snapshots()), [format!("snapshot-{full}")]);
}

/// An upload names its bases in `upload.json`, so they are kept even if they are unreadable.
#[tokio::test]
async fn the_bases_of_an_upload_are_not_collected() {
    let fixture = Fixture::new();
    let base = fixture.full("base").await;
    for name in ["metadata.json", "checksum.sha256"] {
        fs::remove_file(fixture.file(&base, name)).unwrap();
    }
    let later = fixture.three_days_later();
    assert_eq!(later.orphans().await.unwrap().len(), 1, "nothing depends on it");
    fixture.leave_file(UPLOAD, "upload.json", &format!(r#"{{"base_ids":["{base}"]}}"#));
    let later = fixture.three_days_later();
    let orphans = later.orphans().await.unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan.key.as_str()).collect::<Vec<_>>(), [format!("snapshot-{UPLOAD}")]);
    later.collect_garbage(&orphans).await.unwrap();
    assert_eq!(later.orphans().await.unwrap().len(), 1, "the upload has been collected");
}

// ---- plans and their application

#[tokio::test]
async fn the_ancestors_of_a_snapshot_with_corrupt_metadata_json_are_kept() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    let one = fixture.increment("one", &full).await;
    let two = fixture.increment("two", &one).await;
    fixture.full("newest").await;
    let bytes = fs::read(fixture.file(&one, "metadata.json")).unwrap();
    let corrupt: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| if at == 0 { b'[' } else { *byte }).collect();
    fs::write(fixture.file(&one, "metadata.json"), corrupt).unwrap();
    let plan = fixture.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!((&dropped(&plan), &plan.unusable), (&Vec::new(), &vec![one.clone()]));
    assert_eq!(reasons(&plan, &full), [KeepReason::MayBeNeededBy { id: one.clone() }]);
    assert_eq!(apply(&fixture.manager, &plan).await, (Vec::new(), Vec::new()));
    fs::write(fixture.file(&one, "metadata.json"), bytes).unwrap();
    assert!(fixture.manager.verify_snapshot(&two).await.unwrap());
}

#[tokio::test]
async fn the_base_of_a_corrupt_snapshot_is_kept() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    let inc = fixture.increment("inc", &full).await;
    let passing = fixture.full("passing").await;
    fixture.full("newest").await;
    fs::remove_file(fixture.file(&inc, "vectors.bin.gz")).unwrap();
    let plan = fixture.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(reasons(&plan, &full), [KeepReason::BaseOfUnusable { id: inc }]);
    assert_eq!(dropped(&plan), [passing.as_str()]);
    assert_eq!(apply(&fixture.manager, &plan).await, (vec![passing], Vec::new()));
}

#[tokio::test]
async fn plans_keep_the_bases_of_an_upload_in_progress() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    let inc = fixture.increment("inc", &full).await;
    fixture.full("newest").await;
    fixture.leave_file(UPLOAD, "upload.json", &format!(r#"{{"base_ids":["{inc}"]}}"#));
    let plan = fixture.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(reasons(&plan, &inc), [KeepReason::BaseOfUpload { id: UPLOAD.to_owned() }]);
    assert_eq!(dropped(&plan), Vec::<String>::new());
    assert_eq!(fixture.manager.cleanup_old_snapshots(1).await.unwrap(), 0);
    for asked in [&inc, &full] {
        let error = fixture.manager.plan_delete(&[asked], true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.message().contains(asked) && error.message().contains(UPLOAD), "{error}");
    }
    // An abandoned upload is collected and its bases are dropped, by the same plan.
    let later = fixture.three_days_later();
    let plan = later.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!((plan.orphans.len(), dropped(&plan)), (1, vec![inc.clone(), full.clone()]));
    assert_eq!(apply(&later, &plan).await, (vec![inc, full], Vec::new()));
    assert_eq!(names(&fixture.dir.snapshots()).len(), 1);
}

#[tokio::test]
async fn an_unreadable_upload_json_blocks_deletions_only_until_it_is_old() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    fixture.full("newest").await;
    fixture.leave_file(UPLOAD, "upload.json", "");
    assert_eq!(dropped(&fixture.manager.plan_prune(&keep_last(2)).await.unwrap()), Vec::<String>::new());
    assert_eq!(fixture.manager.cleanup_old_snapshots(2).await.unwrap(), 0);
    let assert_names_upload_json = |error: ruvector_snapshot::SnapshotError| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.key().is_some_and(|key| key.ends_with("upload.json")), "{error}");
    };
    assert_names_upload_json(fixture.manager.plan_prune(&keep_last(1)).await.unwrap_err());
    assert_names_upload_json(fixture.manager.plan_delete(&[&full], false).await.unwrap_err());
    let later = fixture.three_days_later();
    let plan = later.plan_prune(&keep_last(2)).await.unwrap();
    assert_eq!((plan.orphans.len(), dropped(&plan).len()), (1, 0));
    let plan = later.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(apply(&later, &plan).await, (vec![full], Vec::new()));
    assert_eq!(names(&fixture.dir.snapshots()).len(), 1);
}

#[tokio::test]
async fn a_snapshot_that_was_pinned_after_the_plan_is_kept_and_reported() {
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(fixture.full(name).await);
    }
    let plan = fixture.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(dropped(&plan), [ids[1].as_str(), &ids[0]]);
    fixture.manager.pin_snapshot(&ids[1]).await.unwrap();
    assert_eq!(apply(&fixture.manager, &plan).await, (vec![ids[0].clone()], vec![ids[1].clone()]));
}

#[tokio::test]
async fn a_policy_that_keeps_only_snapshots_with_a_broken_chain_is_refused() {
    let fixture = Fixture::new();
    let full = fixture.full("full").await;
    fixture.increment("inc", &full).await;
    fixture.full("good").await;
    fs::remove_dir_all(fixture.directory(&full)).unwrap();
    let policy = PrunePolicy::default().keep_label("none".parse().unwrap());
    let error = fixture.manager.plan_prune(&policy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("the only snapshot that can be restored"), "{error}");
}

#[tokio::test]
async fn a_refused_deletion_names_the_snapshot_with_dependents() {
    let fixture = Fixture::new();
    let alone = fixture.full("alone").await;
    let full = fixture.full("full").await;
    let inc = fixture.increment("inc", &full).await;
    let error = fixture.manager.plan_delete(&[&alone, &full], false).await.unwrap_err();
    assert!(error.message().contains(&full) && error.message().contains(&inc), "{error}");
    assert!(!error.message().contains(&alone), "{error}");
}

// ---- order of snapshots

/// The random part of an id may sort the compacted copy before or after the increment of the same timestamp.
#[tokio::test]
async fn a_compacted_copy_is_newer_than_its_original_for_any_random_number() {
    for random in [0, u64::MAX] {
        let fixture = Fixture::new();
        let full = fixture.full("full").await;
        let inc = fixture.increment("state", &full).await;
        let fixed = fixture.manager.clone().with_clock(Arc::new(FixedRandom(random)));
        let copy = fixed.compact_snapshot(&inc, None).await.unwrap().id;
        assert_eq!(copy > inc, random > 0);
        let listed = fixture.manager.list_snapshots().await.unwrap();
        assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), [&copy, &inc, &full]);
        for selector in ["latest", "state"] {
            assert_eq!(fixture.manager.resolve(selector).await.unwrap(), copy, "{selector}");
        }
        let plan = fixture.manager.plan_prune(&keep_last(1)).await.unwrap();
        assert_eq!(dropped(&plan), [inc, full]);
    }
}

// ---- orphans

/// There are two abandoned uploads, and any one request of the collection fails. The other upload is removed.
#[tokio::test]
async fn an_orphan_that_cannot_be_removed_does_not_keep_the_others() {
    let mut failed = 0;
    for at in 0.. {
        let fixture = Fixture::new();
        let ids = [1, 2].map(|number| format!("20261123T080000000Z-000000000000000{number}"));
        ids.iter().for_each(|id| fixture.leave_file(id, "index.bin.gz", "half"));
        let orphans = fixture.three_days_later().orphans().await.unwrap();
        assert_eq!(orphans.len(), 2);
        let fault = Fault::Fail(ErrorKind::PermissionDenied);
        let (store, steps) = FaultStore::over(fixture.dir.local_store(), [(at, fault)]);
        let collected = fixture.dir.manager_with_store(store).collect_garbage(&orphans).await;
        let Some(step) = steps.at(at) else {
            assert_eq!(collected.unwrap(), orphans);
            break;
        };
        let still_there = names(&fixture.dir.snapshots());
        assert!(still_there.len() <= 1, "{step}: {still_there:?}");
        if let Err(error) = collected {
            failed += 1;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let of = ids.iter().find(|id| step.key.contains(id.as_str())).unwrap();
            assert!(error.message().contains(&format!("snapshot-{of}: ")), "{step}: {error}");
        }
    }
    assert!(failed > 10, "only {failed} collections failed");
}

#[tokio::test]
async fn foreign_files_are_not_orphans() {
    let fixture = Fixture::new();
    let id = fixture.full("one").await;
    let root = fixture.dir.snapshots();
    let foreign = ["invoice#2024", "notes/chapter#1", "snapshot-archive/data#1", "store-check-notes/a#1"];
    for name in foreign {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), "foreign").unwrap();
    }
    let inside_a_snapshot = fixture.file(&id, "notes#1");
    fs::write(&inside_a_snapshot, "foreign").unwrap();
    for name in ["notes/empty", "proj/.git/refs/heads"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fixture.leave_file(UPLOAD, "vectors.bin.gz#1", "half");
    let empty = "20261123T080000000Z-00000000000000bb";
    fs::create_dir(fixture.directory(empty)).unwrap();

    let later = fixture.three_days_later();
    let orphans = later.orphans().await.unwrap();
    let found: Vec<_> = orphans.iter().map(|orphan| (orphan.key.clone(), orphan.kind)).collect();
    let staged = (format!("snapshot-{UPLOAD}/vectors.bin.gz#1"), OrphanKind::Staged);
    assert_eq!(found, [staged, (format!("snapshot-{empty}/"), OrphanKind::Directory)]);
    assert_eq!(later.collect_garbage(&orphans).await.unwrap(), orphans);
    assert!(!fixture.directory(UPLOAD).exists() && !fixture.directory(empty).exists());
    assert!(foreign.iter().all(|name| root.join(name).is_file()) && inside_a_snapshot.is_file());
    assert!(root.join("notes/empty").is_dir() && root.join("proj/.git/refs/heads").is_dir());
}

// ---- listing and settings

#[tokio::test]
async fn a_snapshot_with_a_deletion_marker_is_listed_as_marked() {
    let fixture = Fixture::new();
    let id = fixture.full("one").await;
    assert_eq!(fixture.manager.list().await.unwrap().marked_for_deletion, Vec::<String>::new());
    fixture.leave_file(&id, "deleting-0123456789abcdef", "");
    let listing = fixture.manager.list().await.unwrap();
    assert_eq!(
        (listing.marked_for_deletion, listing.deleting, listing.snapshots.len()),
        (vec![id.clone()], Vec::new(), 1)
    );
    fs::remove_file(fixture.file(&id, "metadata.json")).unwrap();
    let listing = fixture.manager.list().await.unwrap();
    assert_eq!((listing.marked_for_deletion, listing.deleting, listing.snapshots.len()), (Vec::new(), vec![id], 0));
}

#[test]
fn a_negative_grace_period_is_refused() {
    let dir = TestDir::new();
    let with = |grace| SnapshotManager::new(SnapshotConfig { grace, ..dir.config() });
    let error = with(TimeDelta::seconds(-1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("grace") && error.message().contains("-1 seconds"), "{error}");
    with(TimeDelta::zero()).unwrap();
}
