//! The ledger: what verifications leave beside a snapshot, what counts of it, and who removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Action, Call, Fault, FaultStore, Moment};
use ruvector_snapshot::{
    Checks, CopyOptions, CopySelection, ErrorKind, Listing, OrphanKind, PrunePolicy, SnapshotConfig, SnapshotManager,
    Verification, VerifyDepth, VerifyOptions,
};
use ruvector_snapshot_format::layout;
use ruvector_snapshot_format::ledger::{EntryName, VerifyResult};
use test_fixtures::{FixedClock, TestDir, Warnings, local_store, memory_store, objects};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::chain_and_full::{ChainAndFull, chain_and_full};
use crate::common::three_snapshots::key;

/// A name that could be an entry's and is none.
const FOREIGN: &str = "checked-20260230T000000000Z-full-intact-0123456789abcdef.json";

fn config() -> SnapshotConfig {
    SnapshotConfig { workers: 2, grace: TimeDelta::zero(), ..Default::default() }
}

fn manager(store: Arc<dyn SnapshotStore>) -> SnapshotManager {
    SnapshotManager::with_store(config(), store).unwrap()
}

fn now() -> DateTime<Utc> {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn manager_at(store: Arc<dyn SnapshotStore>, now: DateTime<Utc>) -> SnapshotManager {
    manager(store).with_clock(Arc::new(FixedClock { now, random: 7 }))
}

/// Puts the snapshots into a store.
async fn filled(fixture: &ChainAndFull, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
    for (key, bytes) in &fixture.objects {
        store.create(key, bytes.clone()).await.unwrap();
    }
    store
}

async fn entries(store: &dyn SnapshotStore) -> Vec<(String, EntryName)> {
    let keys: Vec<_> = store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    let parsed = keys.into_iter().filter_map(|key| {
        let (id, file) = layout::parse_key(&key)?;
        Some((id.to_string(), layout::parse_ledger_entry(file)?))
    });
    parsed.collect()
}

fn entry_key(id: &str, time: DateTime<Utc>, depth: &str, result: VerifyResult, random: u64) -> String {
    key(id, &layout::ledger_entry(&EntryName { time, depth: depth.parse().unwrap(), result, random }))
}

async fn checks(manager: &SnapshotManager, id: &str) -> Checks {
    manager.list().await.unwrap().checks_of(id).cloned().unwrap_or_default()
}

/// Replaces an object by one with another byte in its middle.
async fn damage(store: &dyn SnapshotStore, key: &str) {
    let mut bytes = store.get(key, u64::MAX).await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.delete(key).await.unwrap();
    store.create(key, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn a_verification_leaves_one_entry_beside_each_snapshot_of_the_chain() {
    let (fixture, dir, server) = (chain_and_full().await, TestDir::new(), S3Server::start());
    let newest = &fixture.ids[2];
    for store in [local_store(&dir.snapshots()), s3_store(&server, "ledger")] {
        let store = filled(fixture, store).await;
        let manager = manager(store.clone());
        assert_eq!(checks(&manager, newest).await, Checks::default());
        let report = manager.verify_snapshot_with(newest, &VerifyOptions::default()).await.unwrap();
        let ledger = manager.ledger(newest).await.unwrap();
        let [entry] = &ledger.entries[..] else { panic!("{ledger:?}") };
        assert!(entry.result == VerifyResult::Intact && entry.counts && entry.depth == VerifyDepth::Full);
        let content = entry.content.as_ref().unwrap();
        let chain: Vec<_> = content.chain.iter().map(ToString::to_string).collect();
        assert_eq!(chain, [fixture.ids[1].as_str(), &fixture.ids[0]]);
        assert_eq!((content.records, content.bytes), (report.records, report.bytes));
        assert_eq!(content.checksum, Some(manager.get_snapshot(newest).await.unwrap().unwrap().checksum));
        assert!(content.program.starts_with("ruvector-snapshot "));
        let listing = manager.list().await.unwrap();
        assert_eq!(listing.checks.keys().collect::<Vec<_>>(), fixture.ids[..3].iter().collect::<Vec<_>>());
        assert_eq!(listing.checks_of(newest).unwrap().verified_at(), Some(entry.time));
        assert_nothing_else_is_listed(&listing, 4);
        // Nothing of the snapshots has changed, and a second run adds a second entry.
        assert!(manager.verify_snapshot(newest).await.unwrap());
        let mut stored = objects(store.as_ref()).await;
        stored.retain(|key, _| !key.contains("checked-"));
        assert_eq!(stored, fixture.objects);
        assert_eq!(entries(store.as_ref()).await.len(), 2 * 3);
        manager.verify_snapshot_with(newest, &VerifyOptions::default().record(false)).await.unwrap();
        assert_eq!(entries(store.as_ref()).await.len(), 2 * 3);
    }
}

fn assert_nothing_else_is_listed(listing: &Listing, snapshots: usize) {
    assert_eq!((listing.snapshots.len(), listing.unusable.len(), listing.foreign), (snapshots, 0, 0));
    assert!(listing.pending_uploads.is_empty() && listing.deleting.is_empty() && listing.unfinished.is_empty());
}

#[tokio::test]
async fn every_snapshot_of_a_verification_of_all_gets_an_entry() {
    let fixture = chain_and_full().await;
    let store = fixture.new_store().await;
    let manager = manager(store.clone());
    let all: Vec<Verification> = manager.verify_all(VerifyOptions::default()).try_collect().await.unwrap();
    assert!(all.iter().all(|one| one.is_intact() == Some(true)));
    let mut recorded: Vec<String> = entries(store.as_ref()).await.into_iter().map(|(id, _)| id).collect();
    recorded.sort();
    assert_eq!(recorded, fixture.ids);
    let base = manager.ledger(&fixture.ids[1]).await.unwrap().entries.remove(0).content.unwrap();
    assert_eq!(base.verified_with.unwrap().to_string(), fixture.ids[2]);
    assert_eq!(base.chain.iter().map(ToString::to_string).collect::<Vec<_>>(), fixture.ids[..1]);
}

#[tokio::test]
async fn corruption_is_recorded_and_stands_until_all_is_intact_again() {
    let fixture = chain_and_full().await;
    let (store, newest) = (fixture.new_store().await, &fixture.ids[2]);
    let manager = manager(store.clone());
    let vectors = key(&fixture.ids[0], "vectors.bin.gz");
    damage(store.as_ref(), &vectors).await;
    let _: Vec<Verification> = manager.verify_all(VerifyOptions::default()).try_collect().await.unwrap();
    let listing = manager.list().await.unwrap();
    let is_corrupt = |id: &String| listing.checks_of(id).unwrap().corrupt_at().is_some();
    assert_eq!(fixture.ids.iter().map(is_corrupt).collect::<Vec<_>>(), [true, true, true, false]);
    assert!(listing.checks_of(newest).unwrap().verified_at().is_none());
    let entry = manager.ledger(newest).await.unwrap().entries.remove(0).content.unwrap();
    assert_eq!(entry.findings[0].snapshot, fixture.ids[0]);
    assert_eq!((entry.findings[0].file.as_str(), entry.checksum), ("vectors.bin.gz", None));
    store.delete(&vectors).await.unwrap();
    store.create(&vectors, fixture.objects[&vectors].clone()).await.unwrap();
    assert!(checks(&manager, newest).await.corrupt_at().is_some());
    assert!(manager.verify_snapshot(newest).await.unwrap());
    let repaired = checks(&manager, newest).await;
    assert!(repaired.corrupt_at().is_none() && repaired.verified_at().is_some());
}

#[tokio::test]
async fn a_failure_to_record_is_a_warning_and_the_result_stands() {
    let fixture = chain_and_full().await;
    for kind in [ErrorKind::PermissionDenied, ErrorKind::StorageFull, ErrorKind::Unavailable] {
        for at in 0.. {
            let inner = fixture.new_store().await;
            let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Fail(kind))]);
            let warnings = Arc::new(Warnings::default());
            let options = VerifyOptions::default().progress(warnings.clone());
            let outcome = manager(store).verify_snapshot_with(&fixture.ids[3], &options).await;
            let Some(step) = steps.at(at) else { break };
            let reads = steps.log().iter().filter(|step| step.call == Call::Create).count();
            if step.call != Call::Create && (reads == 0 && outcome.is_err()) {
                continue;
            }
            assert!(outcome.unwrap().is_intact(), "{step}");
            let listed = warnings.list();
            assert_eq!(listed.len(), 1, "{step}: {listed:?}");
            // The annotations are listed after the record, and nothing depends on them either.
            if step.call == Call::List {
                assert!(listed[0].contains("annotations could not be listed"), "{listed:?}");
                assert_eq!(entries(inner.as_ref()).await.len(), 1, "{step}");
                continue;
            }
            assert!(listed[0].contains("was not recorded") && listed[0].contains("the result stands"), "{listed:?}");
            let is_stored = step.call == Call::Create && step.moment == Moment::After;
            assert_eq!(entries(inner.as_ref()).await.len(), usize::from(is_stored), "{step}");
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_is_deleted_meanwhile_gets_no_entry_or_leaves_one_that_is_collected() {
    let fixture = chain_and_full().await;
    let id = &fixture.ids[3];
    let mut left = 0;
    for at in 0.. {
        let inner = fixture.new_store().await;
        let (other, doomed) = (manager(inner.clone()), id.clone());
        let delete = Action::new(move || {
            let (other, doomed) = (other.clone(), doomed.clone());
            async move { other.delete_snapshot(&doomed).await.unwrap() }
        });
        let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Do(delete))]);
        let outcome = manager(store).verify_snapshot(id).await;
        let Some(step) = steps.at(at) else { break };
        match outcome {
            Ok(is_intact) => assert!(is_intact, "{step}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{step}: {error}"),
        }
        let entries = entries(inner.as_ref()).await;
        left += entries.len();
        // Between V1 and V2, or at V2.
        let is_late = matches!((step.call, step.moment), (Call::Create, _) | (Call::Head, Moment::After));
        assert!(entries.is_empty() || is_late, "{step}: {entries:?}");
        let manager = manager(inner.clone());
        // What is left is no snapshot, no upload and no corruption.
        let listing = manager.list().await.unwrap();
        assert_eq!((listing.snapshots.len(), listing.unusable.len(), listing.foreign), (3, 0, 0), "{step}");
        assert!(listing.pending_uploads.is_empty() && listing.deleting.is_empty() && listing.checks.is_empty());
        assert!(listing.unfinished.iter().all(|one| one.kind == OrphanKind::LedgerEntry));
        assert_eq!(listing.unfinished.len(), entries.len());
        let error = manager.verify_snapshot(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{step}: {error}");
        assert!(error.message().contains("does not exist or was deleted"), "{step}: {error}");
        let orphans = manager.orphans().await.unwrap();
        assert_eq!(orphans.len(), entries.len(), "{step}");
        manager.collect_garbage(&orphans).await.unwrap();
        assert!(self::entries(inner.as_ref()).await.is_empty());
    }
    assert!(left > 0);
}

#[tokio::test]
async fn a_delete_removes_entries_with_the_snapshot_and_a_copy_leaves_them_behind() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    for store in [local_store(&dir.snapshots()), memory_store()] {
        let store = filled(fixture, store).await;
        let manager = manager(store.clone());
        for id in &fixture.ids[2..] {
            assert!(manager.verify_snapshot(id).await.unwrap());
        }
        manager.pin_snapshot(&fixture.ids[2]).await.unwrap();
        let target = memory_store();
        let selection = CopySelection::All;
        let to = self::manager(target.clone());
        let plan = manager.plan_copy(&to, &selection, &CopyOptions::default()).await.unwrap();
        assert!(manager.apply_copy(&to, &plan, None).await.unwrap().is_complete());
        assert_eq!(objects(target.as_ref()).await, fixture.objects);
        assert!(manager.delete_snapshot(&fixture.ids[2]).await.is_err());
        manager.delete_snapshot(&fixture.ids[3]).await.unwrap();
        let left: BTreeSet<String> = entries(store.as_ref()).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, fixture.ids[..3].iter().cloned().collect());
        let deleted = layout::prefix(&fixture.ids[3]);
        assert!(objects(store.as_ref()).await.keys().all(|key| !key.starts_with(&deleted)));
    }
    // A directory that is empty is gone, too.
    assert!(!dir.snapshots().join(layout::prefix(&fixture.ids[3])).exists());
}

#[tokio::test]
async fn entries_from_before_a_snapshot_was_copied_back_do_not_count() {
    let fixture = chain_and_full().await;
    let (store, id) = (memory_store(), &fixture.ids[3]);
    let old = entry_key(id, now() - TimeDelta::days(1), "full", VerifyResult::Intact, 1);
    store.create(&old, Bytes::new()).await.unwrap();
    let store = filled(fixture, store).await;
    let manager = manager_at(store.clone(), now());
    let checks = checks(&manager, id).await;
    assert_eq!((checks.verified_at(), checks.entries()), (None, 1));
    assert!(!manager.ledger(id).await.unwrap().entries[0].counts);
    assert_eq!(manager.orphans().await.unwrap().iter().map(|one| &one.key).collect::<Vec<_>>(), [&old]);
}

#[tokio::test]
async fn wrong_and_foreign_contents_break_nothing() {
    let fixture = chain_and_full().await;
    let (store, id) = (fixture.new_store().await, &fixture.ids[3]);
    let at = |hour| now() - TimeDelta::hours(hour);
    let other = manager_at(fixture.new_store().await, at(9));
    other.verify_snapshot(&fixture.ids[0]).await.unwrap();
    let contents: [Bytes; 5] = [
        Bytes::new(),
        Bytes::from_static(b"\xff\xfe{}"),
        Bytes::from("[".repeat(100_000)),
        Bytes::from(vec![b' '; 300 << 10]),
        // That of another snapshot.
        Bytes::from(serde_json::to_vec(&other.ledger(&fixture.ids[0]).await.unwrap().entries[0].content).unwrap()),
    ];
    for (number, content) in (1..).zip(contents) {
        store.create(&entry_key(id, at(number), "full", VerifyResult::Intact, 1), content).await.unwrap();
    }
    store.create(&key(id, FOREIGN), Bytes::new()).await.unwrap();
    let manager = manager_at(store.clone(), now());
    let listing = manager.list().await.unwrap();
    assert_eq!((listing.unusable.len(), listing.foreign), (0, 1));
    assert_eq!(listing.checks_of(id).unwrap().verified_at(), Some(at(1)));
    let ledger = manager.ledger(id).await.unwrap();
    assert_eq!(ledger.entries.len(), 5);
    assert!(ledger.entries.iter().all(|entry| entry.content.is_none() && entry.error.is_some()));
    assert!(ledger.entries.is_sorted_by_key(|entry| std::cmp::Reverse(entry.time)));
    // A foreign object stays, and the snapshot can be deleted beside it.
    manager.delete_snapshot(id).await.unwrap();
    let prefix = layout::prefix(id);
    let left: Vec<_> = objects(store.as_ref()).await.into_keys().filter(|key| key.starts_with(&prefix)).collect();
    assert_eq!(left, [key(id, FOREIGN)]);
}

#[tokio::test]
async fn of_a_thousand_entries_a_prune_keeps_the_newest_of_each_depth() {
    let fixture = chain_and_full().await;
    let (store, id) = (fixture.new_store().await, &fixture.ids[3]);
    let depths = ["quick", "full", "drill", "1of2", "2of2", "sample10"];
    for number in 0..1000 {
        let result = if number % 100 == 99 { VerifyResult::Corrupt } else { VerifyResult::Intact };
        let time = now() - TimeDelta::hours(2000 - number);
        let depth = depths[number as usize % depths.len()];
        store.create(&entry_key(id, time, depth, result, 1), Bytes::new()).await.unwrap();
    }
    let (counting, steps) = FaultStore::over(store.clone(), []);
    let manager = manager_at(counting, now());
    let before = checks(&manager, id).await;
    assert_eq!(before.entries(), 1000);
    assert_eq!(steps.log().iter().filter(|step| step.call == Call::Get).count(), 2 * fixture.ids.len());
    let ledger = manager.ledger(id).await.unwrap();
    assert_eq!(ledger.entries.iter().filter(|entry| entry.error.is_some()).count(), 100);
    // The corrupt entry is the newest of all.
    assert_eq!(before.corrupt_at(), Some(now() - TimeDelta::hours(1001)));
    let plan = manager.plan_prune(&PrunePolicy::default().keep_last(10)).await.unwrap();
    assert!(plan.drop.is_empty());
    assert!(plan.orphans.iter().all(|one| one.kind == OrphanKind::LedgerEntry));
    assert_eq!(plan.orphans.len(), 1000 - depths.len() - 1);
    let collected = manager.collect_garbage(&plan.orphans).await.unwrap();
    assert_eq!(collected, plan.orphans);
    let after = checks(&manager, id).await;
    assert_eq!(after.entries(), depths.len() + 1);
    assert_eq!((after.verified_at(), after.corrupt_at()), (before.verified_at(), before.corrupt_at()));
    assert!(manager.orphans().await.unwrap().is_empty());
}

#[tokio::test]
async fn entries_that_are_younger_than_the_grace_period_stay() {
    let fixture = chain_and_full().await;
    let (store, id) = (fixture.new_store().await, &fixture.ids[3]);
    let manager =
        SnapshotManager::with_store(SnapshotConfig { grace: TimeDelta::hours(1), ..config() }, store).unwrap();
    for _ in 0..3 {
        assert!(manager.verify_snapshot(id).await.unwrap());
    }
    assert!(manager.orphans().await.unwrap().is_empty());
    assert_eq!(checks(&manager, id).await.entries(), 3);
}

#[tokio::test]
async fn entries_make_an_abandoned_upload_neither_younger_nor_a_snapshot() {
    let fixture = chain_and_full().await;
    let (dir, id) = (TestDir::new(), &fixture.ids[3]);
    let store = filled(fixture, dir.local_store()).await;
    store.delete(&key(id, layout::METADATA_JSON)).await.unwrap();
    // As it is left of a snapshot with the same id that was deleted: it is no younger than the data.
    store.create(&entry_key(id, now(), "full", VerifyResult::Intact, 1), Bytes::new()).await.unwrap();
    test_fixtures::make_old(&dir.snapshots());
    let manager =
        SnapshotManager::with_store(SnapshotConfig { grace: TimeDelta::hours(24), ..config() }, store).unwrap();
    let listing = manager.list().await.unwrap();
    assert_eq!(listing.pending_uploads, [id.as_str()]);
    let orphans = manager.orphans().await.unwrap();
    assert_eq!(orphans.iter().map(|one| one.kind).collect::<Vec<_>>(), [OrphanKind::Upload]);
    assert_eq!(manager.collect_garbage(&orphans).await.unwrap(), orphans);
    assert!(!dir.snapshots().join(layout::prefix(id)).exists());
}

#[tokio::test]
async fn a_clock_that_is_wrong_neither_reassures_nor_hides_corruption() {
    let fixture = chain_and_full().await;
    let id = &fixture.ids[3];
    let verified_by = async |clock: DateTime<Utc>| {
        let store = fixture.new_store().await;
        assert!(manager_at(store.clone(), clock).verify_snapshot(id).await.unwrap());
        store
    };
    // An entry from the future does not count. One that is a little ahead does.
    let future = checks(&manager_at(verified_by(now() + TimeDelta::days(300)).await, now()), id).await;
    assert_eq!((future.verified_at(), future.entries()), (None, 1));
    let ahead = checks(&manager_at(verified_by(now() + TimeDelta::minutes(4)).await, now()), id).await;
    assert!(ahead.verified_at().is_some());
    // A clock in the past makes an entry old.
    let past = now() - TimeDelta::days(365 * 70);
    assert_eq!(checks(&manager_at(verified_by(past).await, now()), id).await.verified_at(), Some(past));
    // A time that no entry can have is a warning.
    for impossible in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let (store, warnings) = (fixture.new_store().await, Arc::new(Warnings::default()));
        let options = VerifyOptions::default().progress(warnings.clone());
        let manager = manager_at(store.clone(), impossible);
        assert!(manager.verify_snapshot_with(id, &options).await.unwrap().is_intact());
        assert!(warnings.list()[0].contains("correct the clock"), "{:?}", warnings.list());
        assert!(entries(store.as_ref()).await.is_empty());
    }
}

#[tokio::test]
async fn an_entry_of_a_base_that_is_lost_does_not_hide_the_loss() {
    let fixture = chain_and_full().await;
    let store = fixture.new_store().await;
    let manager = manager(store.clone());
    assert!(manager.verify_snapshot(&fixture.ids[0]).await.unwrap());
    store.delete(&key(&fixture.ids[0], layout::METADATA_JSON)).await.unwrap();
    let listing = manager.list().await.unwrap();
    let unusable: BTreeMap<_, _> = listing.unusable.iter().map(|one| (one.id.as_str(), one.error.kind())).collect();
    assert_eq!(unusable, BTreeMap::from([(fixture.ids[0].as_str(), ErrorKind::Corrupt)]));
    assert!(manager.orphans().await.unwrap().is_empty());
    // With nothing but the entry left, the base is missing.
    for file in layout::FILES {
        store.delete(&key(&fixture.ids[0], file)).await.unwrap();
    }
    let listing = manager.list().await.unwrap();
    assert!(listing.unusable.is_empty() && listing.pending_uploads.is_empty());
    let newest = listing.snapshots.iter().find(|snapshot| snapshot.id == fixture.ids[2]).unwrap();
    assert_eq!(listing.ancestry(newest).end, ruvector_snapshot::ChainEnd::Missing);
}
