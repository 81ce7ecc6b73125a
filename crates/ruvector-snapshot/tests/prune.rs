//! What a clean-up leaves alone: what snapshots stand on that cannot be used now, what an upload will stand on, and
//! what belongs to somebody else. And that it does what its plan says, or tells what it did not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Place, age, make_database, names};
use ruvector_snapshot::clock::{Clock, SystemClock};
use ruvector_snapshot::store::fault::{Fault, FaultStore};
use ruvector_snapshot::store::{Location, StoreConfig, open};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, KeepReason, LeftoverKind, PrunePlan, PrunePolicy, Result, SnapshotConfig, SnapshotManager,
};

/// An id of an upload that somebody else began.
const UPLOAD: &str = "20261123T080000000Z-00000000000000aa";

/// A clock whose next random number is known.
#[derive(Debug)]
struct Known(u64);

impl Clock for Known {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    fn random(&self) -> Result<u64> {
        Ok(self.0)
    }
}

struct Bench {
    place: Place,
    manager: SnapshotManager,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        drop(make_database(&place.path("a.db"), 30, 4, 1));
        Self { manager: place.manager(), place }
    }

    async fn take(&self, name: &str, base: Option<&str>) -> String {
        let options = CreateOptions { base_id: base.map(str::to_owned), ..CreateOptions::default() };
        self.manager.create_snapshot_of_file(self.place.path("a.db"), name, &options).await.unwrap().id
    }

    /// Three days on, when everything that is there now is old.
    fn later(&self) -> SnapshotManager {
        age(&self.place.snapshots());
        self.manager.clone()
    }

    fn directory(&self, id: &str) -> PathBuf {
        self.place.snapshots().join(format!("snapshot-{id}"))
    }

    fn file(&self, id: &str, name: &str) -> PathBuf {
        self.directory(id).join(name)
    }

    /// Puts a file there that some process left.
    fn leave(&self, id: &str, name: &str, contents: &str) {
        fs::create_dir_all(self.directory(id)).unwrap();
        fs::write(self.file(id, name), contents).unwrap();
    }
}

fn keep_last(keep_last: usize) -> PrunePolicy {
    PrunePolicy { keep_last, ..PrunePolicy::default() }
}

/// Carries a plan out as it should be: what is swept goes first.
async fn carry_out(manager: &SnapshotManager, plan: &PrunePlan) -> (Vec<String>, Vec<String>) {
    assert_eq!(manager.sweep(&plan.sweep).await.unwrap(), plan.sweep);
    let done = manager.carry_out(plan).await.unwrap();
    (done.gone, done.kept)
}

fn dropped(plan: &PrunePlan) -> Vec<String> {
    plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect()
}

/// Why a snapshot stays.
fn reasons<'a>(plan: &'a PrunePlan, id: &str) -> &'a [KeepReason] {
    let kept = plan.keep.iter().find(|kept| kept.snapshot.id == id);
    &kept.unwrap_or_else(|| panic!("{id} is dropped")).reasons
}

// ---- a metadata.json that was lost

#[tokio::test]
async fn a_base_that_lost_its_metadata_json_is_not_swept() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    let inc = bench.take("inc", Some(&full)).await;
    let bytes = fs::read(bench.file(&full, "metadata.json")).unwrap();
    fs::remove_file(bench.file(&full, "metadata.json")).unwrap();
    for manager in [&bench.manager, &bench.later()] {
        let plan = manager.plan_prune(&keep_last(5)).await.unwrap();
        assert_eq!((&plan.sweep, &plan.damaged), (&Vec::new(), &vec![full.clone()]));
        let broken = KeepReason::BrokenChain { at: full.clone() };
        assert_eq!(reasons(&plan, &inc), [broken]);
        let listing = manager.list().await.unwrap();
        assert_eq!((listing.unfinished, listing.damaged.len()), (Vec::new(), 1));
        let error = &listing.damaged[0].error;
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.message().contains("put it back"), "{error}");
        assert!(error.key().is_some_and(|key| key.ends_with("metadata.json")), "{error}");
    }
    // Somebody asks for it all the same, by an older plan.
    let error = bench.later().delete_snapshot(&full).await.unwrap_err();
    assert!(error.message().contains("is needed"), "{error}");
    fs::write(bench.file(&full, "metadata.json"), bytes).unwrap();
    assert!(bench.manager.verify_snapshot(&inc).await.unwrap());

    // Nor where more than that was lost.
    for name in ["metadata.json", "vectors.bin.gz", "checksum.sha256"] {
        fs::remove_file(bench.file(&full, name)).unwrap();
    }
    assert_eq!(bench.later().leftovers().await.unwrap(), []);
    // With all that stands on it, it can be deleted.
    let plan = bench.later().plan_delete(&[&full], true).await.unwrap();
    assert_eq!(plan.ids, [inc, full]);
    assert_eq!(bench.later().carry_out_delete(&plan).await.unwrap(), 2);
    assert_eq!(names(&bench.place.snapshots()), Vec::<String>::new());
}

/// With a link in between that cannot be read nobody knows what stands on the ones below.
#[tokio::test]
async fn below_a_link_that_nobody_can_read_nothing_is_swept_or_deleted() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    let one = bench.take("one", Some(&full)).await;
    let two = bench.take("two", Some(&one)).await;
    let newer = bench.take("newer", None).await;
    let kept = fs::read(bench.file(&one, "metadata.json")).unwrap();
    fs::remove_file(bench.file(&one, "metadata.json")).unwrap();
    let error = bench.manager.plan_delete(&[&full], true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains(&format!("repair {one}")), "{error}");
    assert_eq!(bench.manager.delete_snapshot(&full).await.unwrap_err().kind(), ErrorKind::Invalid);
    // Newer ones cannot be below it.
    assert_eq!(bench.manager.plan_delete(&[&newer], false).await.unwrap().ids, [newer]);

    let lower = fs::read(bench.file(&full, "metadata.json")).unwrap();
    fs::remove_file(bench.file(&full, "metadata.json")).unwrap();
    assert_eq!(bench.later().leftovers().await.unwrap(), []);
    fs::write(bench.file(&one, "metadata.json"), kept).unwrap();
    fs::write(bench.file(&full, "metadata.json"), lower).unwrap();
    assert!(bench.manager.verify_snapshot(&two).await.unwrap());
}

#[tokio::test]
async fn what_lost_its_metadata_json_just_now_can_be_deleted_at_once() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    let one = bench.take("one", Some(&full)).await;
    fs::remove_file(bench.file(&full, "metadata.json")).unwrap();
    let plan = bench.manager.plan_delete(&[&full], true).await.unwrap();
    assert_eq!(plan.ids, [one, full]);
    assert_eq!(bench.manager.carry_out_delete(&plan).await.unwrap(), 2);
    assert_eq!(names(&bench.place.snapshots()), Vec::<String>::new());
}

/// Whoever commits relies on marks, and on its checksum.sha256, for some time, however short the time of grace.
#[tokio::test]
async fn marks_outlast_a_short_time_of_grace() {
    let bench = Bench::new();
    for (id, file) in
        [(UPLOAD, "checksum.sha256"), ("20261123T080000000Z-00000000000000cc", "deleting-0123456789abcdef")]
    {
        bench.leave(id, file, "");
    }
    bench.leave("20261123T080000000Z-00000000000000dd", "index.bin.gz", "half");
    let config = SnapshotConfig { grace: TimeDelta::zero(), ..bench.place.config() };
    let hasty = SnapshotManager::new(config).unwrap();
    let left = hasty.leftovers().await.unwrap();
    assert_eq!(
        left.iter().map(|left| left.key.as_str()).collect::<Vec<_>>(),
        ["snapshot-20261123T080000000Z-00000000000000dd"]
    );
    age(&bench.place.snapshots());
    assert_eq!(hasty.leftovers().await.unwrap().len(), 3);
}

/// Whatever it got as far as to store, and whether it was to be an increment: nothing stands on it.
#[tokio::test]
async fn an_upload_that_was_killed_is_swept() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    let [whole, named, part] =
        [bench.take("whole", None).await, bench.take("named", None).await, bench.take("part", None).await];
    for id in [&whole, &named, &part] {
        fs::remove_file(bench.file(id, "metadata.json")).unwrap();
    }
    bench.leave(&named, "upload.json", &format!(r#"{{"base_ids":["{full}"]}}"#));
    fs::remove_file(bench.file(&part, "checksum.sha256")).unwrap();
    let later = bench.later();
    let left = later.leftovers().await.unwrap();
    assert_eq!(left.iter().map(|left| left.what).collect::<Vec<_>>(), [LeftoverKind::Upload; 3]);
    assert_eq!(later.sweep(&left).await.unwrap(), left);
    assert_eq!(names(&bench.place.snapshots()), [format!("snapshot-{full}")]);
}

/// What an upload says that it will stand on is needed, whatever became of it.
#[tokio::test]
async fn the_bases_of_an_upload_are_not_swept() {
    let bench = Bench::new();
    let base = bench.take("base", None).await;
    for name in ["metadata.json", "checksum.sha256"] {
        fs::remove_file(bench.file(&base, name)).unwrap();
    }
    let later = bench.later();
    assert_eq!(later.leftovers().await.unwrap().len(), 1, "nobody needs it");
    bench.leave(UPLOAD, "upload.json", &format!(r#"{{"base_ids":["{base}"]}}"#));
    let later = bench.later();
    let left = later.leftovers().await.unwrap();
    assert_eq!(left.iter().map(|left| left.key.as_str()).collect::<Vec<_>>(), [format!("snapshot-{UPLOAD}")]);
    later.sweep(&left).await.unwrap();
    assert_eq!(later.leftovers().await.unwrap().len(), 1, "the upload is gone");
}

// ---- the plan and what is done

#[tokio::test]
async fn one_damaged_metadata_json_costs_nothing_below_it() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    let one = bench.take("one", Some(&full)).await;
    let two = bench.take("two", Some(&one)).await;
    bench.take("newest", None).await;
    let bytes = fs::read(bench.file(&one, "metadata.json")).unwrap();
    let damaged: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| if at == 0 { b'[' } else { *byte }).collect();
    fs::write(bench.file(&one, "metadata.json"), damaged).unwrap();
    let plan = bench.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!((&dropped(&plan), &plan.damaged), (&Vec::new(), &vec![one.clone()]));
    assert_eq!(reasons(&plan, &full), [KeepReason::MayBeNeededBy { id: one.clone() }]);
    assert_eq!(carry_out(&bench.manager, &plan).await, (Vec::new(), Vec::new()));
    fs::write(bench.file(&one, "metadata.json"), bytes).unwrap();
    assert!(bench.manager.verify_snapshot(&two).await.unwrap());
}

#[tokio::test]
async fn the_plan_knows_what_a_damaged_snapshot_stands_on() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    let inc = bench.take("inc", Some(&full)).await;
    let passing = bench.take("passing", None).await;
    bench.take("newest", None).await;
    fs::remove_file(bench.file(&inc, "vectors.bin.gz")).unwrap();
    let plan = bench.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(reasons(&plan, &full), [KeepReason::BaseOfDamaged { id: inc }]);
    assert_eq!(dropped(&plan), [passing.as_str()]);
    assert_eq!(carry_out(&bench.manager, &plan).await, (vec![passing], Vec::new()));
}

#[tokio::test]
async fn a_dry_run_and_a_deletion_know_what_an_upload_will_stand_on() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    let inc = bench.take("inc", Some(&full)).await;
    bench.take("newest", None).await;
    bench.leave(UPLOAD, "upload.json", &format!(r#"{{"base_ids":["{inc}"]}}"#));
    let plan = bench.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(reasons(&plan, &inc), [KeepReason::BaseOfUpload { id: UPLOAD.to_owned() }]);
    assert_eq!(dropped(&plan), Vec::<String>::new());
    assert_eq!(bench.manager.cleanup_old_snapshots(1).await.unwrap(), 0);
    for asked in [&inc, &full] {
        let error = bench.manager.plan_delete(&[asked], true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(&format!("{asked} stays: the upload {UPLOAD} will stand on it")), "{error}");
    }
    // Once it is old it is swept, and holds nothing any more, in one go.
    let later = bench.later();
    let plan = later.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!((plan.sweep.len(), dropped(&plan)), (1, vec![inc.clone(), full.clone()]));
    assert_eq!(carry_out(&later, &plan).await, (vec![inc, full], Vec::new()));
    assert_eq!(names(&bench.place.snapshots()).len(), 1);
}

#[tokio::test]
async fn an_upload_json_that_says_nothing_hinders_only_a_deletion_and_only_for_a_while() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    bench.take("newest", None).await;
    bench.leave(UPLOAD, "upload.json", "");
    assert_eq!(dropped(&bench.manager.plan_prune(&keep_last(2)).await.unwrap()), Vec::<String>::new());
    assert_eq!(bench.manager.cleanup_old_snapshots(2).await.unwrap(), 0);
    let told = |error: ruvector_snapshot::SnapshotError| {
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.key().is_some_and(|key| key.ends_with("upload.json")), "{error}");
    };
    told(bench.manager.plan_prune(&keep_last(1)).await.unwrap_err());
    told(bench.manager.plan_delete(&[&full], false).await.unwrap_err());
    let later = bench.later();
    let plan = later.plan_prune(&keep_last(2)).await.unwrap();
    assert_eq!((plan.sweep.len(), dropped(&plan).len()), (1, 0));
    let plan = later.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(carry_out(&later, &plan).await, (vec![full], Vec::new()));
    assert_eq!(names(&bench.place.snapshots()).len(), 1);
}

#[tokio::test]
async fn what_has_come_to_be_needed_since_the_plan_is_told() {
    let bench = Bench::new();
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(bench.take(name, None).await);
    }
    let plan = bench.manager.plan_prune(&keep_last(1)).await.unwrap();
    assert_eq!(dropped(&plan), [ids[1].as_str(), &ids[0]]);
    bench.manager.pin_snapshot(&ids[1]).await.unwrap();
    assert_eq!(carry_out(&bench.manager, &plan).await, (vec![ids[0].clone()], vec![ids[1].clone()]));
}

#[tokio::test]
async fn an_increment_that_cannot_be_restored_is_no_reason_to_drop_all_that_can() {
    let bench = Bench::new();
    let full = bench.take("full", None).await;
    bench.take("inc", Some(&full)).await;
    bench.take("good", None).await;
    fs::remove_dir_all(bench.directory(&full)).unwrap();
    let policy = PrunePolicy { keep_labels: vec!["none".parse().unwrap()], ..PrunePolicy::default() };
    let error = bench.manager.plan_prune(&policy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("none of the 1 snapshots that can be restored"), "{error}");
}

#[tokio::test]
async fn the_one_that_is_needed_is_the_one_that_is_named() {
    let bench = Bench::new();
    let alone = bench.take("alone", None).await;
    let full = bench.take("full", None).await;
    let inc = bench.take("inc", Some(&full)).await;
    let error = bench.manager.plan_delete(&[&alone, &full], false).await.unwrap_err();
    assert!(error.message().starts_with(&format!("snapshot {full} is needed: {inc} stand on it")), "{error}");
}

// ---- the order

/// The number of a compacted copy is drawn by chance, and may be lower or higher than that of the increment.
#[tokio::test]
async fn the_compacted_copy_is_the_newer_one_whatever_its_number() {
    for random in [0, u64::MAX] {
        let bench = Bench::new();
        let full = bench.take("full", None).await;
        let inc = bench.take("state", Some(&full)).await;
        let fixed = bench.manager.clone().with_clock(Arc::new(Known(random)));
        let copy = fixed.compact_snapshot(&inc, None).await.unwrap().id;
        assert_eq!(copy > inc, random > 0);
        let listed = bench.manager.list_snapshots().await.unwrap();
        assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), [&copy, &inc, &full]);
        for meant in ["latest", "state"] {
            assert_eq!(bench.manager.resolve(meant).await.unwrap(), copy, "{meant}");
        }
        let plan = bench.manager.plan_prune(&keep_last(1)).await.unwrap();
        assert_eq!(dropped(&plan), [inc, full]);
    }
}

// ---- leftovers

/// Two uploads were killed, and one request of the sweep fails, whichever it is: the other upload goes all the same.
#[tokio::test]
async fn a_leftover_that_cannot_be_removed_does_not_keep_the_others() {
    let mut failed = 0;
    for at in 0.. {
        let bench = Bench::new();
        let ids = [1, 2].map(|number| format!("20261123T080000000Z-000000000000000{number}"));
        ids.iter().for_each(|id| bench.leave(id, "index.bin.gz", "half"));
        let left = bench.later().leftovers().await.unwrap();
        assert_eq!(left.len(), 2);
        let local = open(&Location::Local(bench.place.snapshots()), &StoreConfig::default()).unwrap();
        let (store, steps) = FaultStore::over(local, [(at, Fault::Fail(ErrorKind::Denied))]);
        let faulty = SnapshotManager::with_store(bench.place.config(), store).unwrap();
        let swept = faulty.sweep(&left).await;
        let Some(step) = steps.at(at) else {
            assert_eq!(swept.unwrap(), left);
            break;
        };
        let still_there = names(&bench.place.snapshots());
        assert!(still_there.len() <= 1, "{step}: {still_there:?}");
        if let Err(error) = swept {
            failed += 1;
            assert_eq!(error.kind(), ErrorKind::Denied);
            let of = ids.iter().find(|id| step.key.contains(id.as_str())).unwrap();
            assert!(error.message().contains(&format!("snapshot-{of}: ")), "{step}: {error}");
        }
    }
    assert!(failed > 10, "only {failed} sweeps failed");
}

#[tokio::test]
async fn what_lies_beside_the_snapshots_is_nobodys_business() {
    let bench = Bench::new();
    let id = bench.take("one", None).await;
    let root = bench.place.snapshots();
    let foreign = ["invoice#2024", "notes/chapter#1", "snapshot-archive/data#1", "store-check-notes/a#1"];
    for name in foreign {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), "written by somebody").unwrap();
    }
    let foreign_of_ours = bench.file(&id, "notes#1");
    fs::write(&foreign_of_ours, "written by somebody").unwrap();
    for name in ["notes/empty", "proj/.git/refs/heads"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    bench.leave(UPLOAD, "vectors.bin.gz#1", "half");
    let empty = "20261123T080000000Z-00000000000000bb";
    fs::create_dir(bench.directory(empty)).unwrap();

    let later = bench.later();
    let left = later.leftovers().await.unwrap();
    let told: Vec<_> = left.iter().map(|left| (left.key.clone(), left.what)).collect();
    let staged = (format!("snapshot-{UPLOAD}/vectors.bin.gz#1"), LeftoverKind::Staged);
    assert_eq!(told, [staged, (format!("snapshot-{empty}/"), LeftoverKind::Directory)]);
    assert_eq!(later.sweep(&left).await.unwrap(), left);
    assert!(!bench.directory(UPLOAD).exists() && !bench.directory(empty).exists());
    assert!(foreign.iter().all(|name| root.join(name).is_file()) && foreign_of_ours.is_file());
    assert!(root.join("notes/empty").is_dir() && root.join("proj/.git/refs/heads").is_dir());
}

// ---- what is listed, what is refused

#[tokio::test]
async fn a_mark_beside_a_whole_snapshot_is_listed() {
    let bench = Bench::new();
    let id = bench.take("one", None).await;
    assert_eq!(bench.manager.list().await.unwrap().marked, Vec::<String>::new());
    bench.leave(&id, "deleting-0123456789abcdef", "");
    let listing = bench.manager.list().await.unwrap();
    assert_eq!((listing.marked, listing.deleting, listing.snapshots.len()), (vec![id.clone()], Vec::new(), 1));
    fs::remove_file(bench.file(&id, "metadata.json")).unwrap();
    let listing = bench.manager.list().await.unwrap();
    assert_eq!((listing.marked, listing.deleting, listing.snapshots.len()), (Vec::new(), vec![id], 0));
}

#[test]
fn a_time_of_grace_below_nothing_is_refused() {
    let place = Place::new();
    let with = |grace| SnapshotManager::new(SnapshotConfig { grace, ..place.config() });
    let error = with(TimeDelta::seconds(-1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("grace is -1 seconds"), "{error}");
    with(TimeDelta::zero()).unwrap();
}
