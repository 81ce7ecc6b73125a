//! The ledgers of a chain: what is recorded of one snapshot concerns those that depend on it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Action, Call, Fault, FaultStore, Moment};
use ruvector_snapshot::{
    ErrorKind, SnapshotConfig, SnapshotManager, Verification, VerifyDepth, VerifyOptions, VerifyResult,
};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, TickingClock, Warnings, local_store};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::chain_and_full::{ChainAndFull, chain_and_full};
use crate::common::three_snapshots::key;

fn manager(store: &Arc<dyn SnapshotStore>) -> SnapshotManager {
    SnapshotManager::with_store(SnapshotConfig { workers: 2, ..Default::default() }, store.clone()).unwrap()
}

fn this_week() -> VerifyOptions {
    VerifyOptions::default().max_age("7d".parse().unwrap())
}

async fn filled(fixture: &ChainAndFull, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
    for (key, bytes) in &fixture.objects {
        store.create(key, bytes.clone()).await.unwrap();
    }
    store
}

/// Verifies every snapshot by itself.
async fn verify_each(store: &Arc<dyn SnapshotStore>, fixture: &ChainAndFull) {
    for id in &fixture.ids {
        assert!(manager(store).verify_snapshot(id).await.unwrap());
    }
}

async fn skipped_of_all(store: &Arc<dyn SnapshotStore>, options: VerifyOptions) -> Vec<String> {
    let all: Vec<Verification> = manager(store).verify_all(options).try_collect().await.unwrap();
    let skipped = all.iter().filter(|one| matches!(one, Verification::Skipped { .. }));
    skipped.map(|one| one.id().to_owned()).collect()
}

async fn is_skipped(store: &Arc<dyn SnapshotStore>, id: &str) -> bool {
    let verification = manager(store).verify_due(id, &this_week().record(false)).await.unwrap();
    matches!(verification, Verification::Skipped { .. })
}

async fn replace(store: &dyn SnapshotStore, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = store.get(key, u64::MAX).await.unwrap().to_vec();
    change(&mut bytes);
    store.delete(key).await.unwrap();
    store.create(key, bytes.into()).await.unwrap();
}

async fn damage(store: &dyn SnapshotStore, key: &str) {
    replace(store, key, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    })
    .await;
}

async fn corrupt(store: &Arc<dyn SnapshotStore>, fixture: &ChainAndFull) -> Vec<bool> {
    let (manager, mut corrupt) = (manager(store), Vec::new());
    let listing = manager.list().await.unwrap();
    for id in &fixture.ids {
        let is_listed = listing.checks_of(id).is_some_and(|checks| checks.corrupt_at().is_some());
        assert_eq!(manager.ledger(id).await.unwrap().checks.corrupt_at().is_some(), is_listed, "{id}");
        corrupt.push(is_listed);
    }
    corrupt
}

#[tokio::test]
async fn a_snapshot_is_not_skipped_if_something_of_its_chain_is_not_there_any_more() {
    let fixture = chain_and_full().await;
    let [oldest, middle, newest, full] = &fixture.ids[..] else { unreachable!() };
    for gone in [&layout::FILES[..], &["vectors.bin.gz"], &["metadata.json"], &["checksum.sha256"]] {
        let (dir, server) = (TestDir::new(), S3Server::start());
        for store in [local_store(&dir.snapshots()), s3_store(&server, "gone")] {
            let store = filled(fixture, store).await;
            verify_each(&store, fixture).await;
            assert_eq!(skipped_of_all(&store, this_week()).await.len(), 4);
            for file in gone {
                store.delete(&key(oldest, file)).await.unwrap();
            }
            for id in [middle, newest] {
                assert!(!is_skipped(&store, id).await, "{gone:?}");
            }
            assert!(is_skipped(&store, full).await);
            assert_eq!(skipped_of_all(&store, this_week().record(false)).await, [full.as_str()], "{gone:?}");
            let all: Vec<Verification> = manager(&store).verify_all(this_week()).try_collect().await.unwrap();
            let newest = all.iter().find(|one| one.id() == newest).unwrap();
            assert_eq!(newest.is_intact(), Some(false), "{newest:?}");
        }
    }
}

#[tokio::test]
async fn what_a_run_finds_corrupt_is_not_skipped_in_it_and_neither_are_its_dependents() {
    let fixture = chain_and_full().await;
    let [oldest, middle, newest, full] = &fixture.ids[..] else { unreachable!() };
    let store = fixture.new_store().await;
    for id in [oldest, middle, full] {
        assert!(manager(&store).verify_snapshot(id).await.unwrap());
    }
    damage(store.as_ref(), &key(oldest, "vectors.bin.gz")).await;
    // The ledgers are not older than the file, as after damage by the disk.
    for id in [oldest, middle] {
        replace_entries(store.as_ref(), id).await;
    }
    for options in [this_week().record(false), this_week()] {
        let all: Vec<Verification> = manager(&store).verify_all(options).try_collect().await.unwrap();
        for one in &all {
            let expected = if one.id() == full { None } else { Some(false) };
            assert_eq!(one.is_intact(), expected, "{one:?}");
        }
    }
    assert!(!is_skipped(&store, newest).await);
}

/// Writes the entries of a ledger again, so that the store dates them now.
async fn replace_entries(store: &dyn SnapshotStore, id: &str) {
    let keys: Vec<_> = store
        .list(&layout::prefix(id.parse::<SnapshotId>().unwrap()))
        .map_ok(|object| object.key)
        .try_collect()
        .await
        .unwrap();
    for entry in keys.iter().filter(|key| key.contains("/checked-")) {
        replace(store, entry, |_| ()).await;
    }
}

#[tokio::test]
async fn corruption_of_an_ancestor_is_known_of_all_dependents_and_of_the_ancestor() {
    let fixture = chain_and_full().await;
    let [oldest, middle, newest, full] = &fixture.ids[..] else { unreachable!() };
    let store = fixture.new_store().await;
    verify_each(&store, fixture).await;
    let vectors = key(oldest, "vectors.bin.gz");
    let intact = fixture.objects[&vectors].clone();
    damage(store.as_ref(), &vectors).await;
    for id in &fixture.ids {
        replace_entries(store.as_ref(), id).await;
    }
    assert!(!manager(&store).verify_snapshot(middle).await.unwrap());
    assert_eq!(corrupt(&store, fixture).await, [true, true, true, false]);
    let entries = manager(&store).ledger(oldest).await.unwrap().entries;
    let found = entries.iter().find(|entry| entry.result == VerifyResult::Corrupt).unwrap().content.as_ref().unwrap();
    assert_eq!(found.verified_with.as_ref().unwrap().as_str(), middle);
    assert_eq!(found.findings[0].snapshot, *oldest);
    for id in [oldest, middle, newest] {
        assert!(!is_skipped(&store, id).await);
    }
    assert!(is_skipped(&store, full).await);
    store.delete(&vectors).await.unwrap();
    store.create(&vectors, intact).await.unwrap();
    // A verification says something of the snapshot and its ancestors.
    assert!(manager(&store).verify_snapshot(oldest).await.unwrap());
    assert_eq!(corrupt(&store, fixture).await, [false, true, true, false]);
    assert!(
        manager(&store)
            .verify_snapshot_with(newest, &VerifyOptions::default().record(false))
            .await
            .unwrap()
            .is_intact()
    );
    assert_eq!(corrupt(&store, fixture).await, [false, true, true, false]);
    assert!(manager(&store).verify_snapshot(newest).await.unwrap());
    assert_eq!(corrupt(&store, fixture).await, [false; 4]);
}

/// Each snapshot of an intact chain was read as deep as the newest.
#[tokio::test]
async fn a_verification_of_a_snapshot_is_recorded_beside_its_ancestors_too() {
    let fixture = chain_and_full().await;
    let [oldest, middle, ..] = &fixture.ids[..] else { unreachable!() };
    for depth in ["full", "quick", "1of2", "sample10"].map(|depth| depth.parse::<VerifyDepth>().unwrap()) {
        let store = fixture.new_store().await;
        let options = VerifyOptions::default().depth(depth);
        manager(&store).verify_snapshot_with(middle, &options.clone().record(false)).await.unwrap();
        assert_eq!(manager(&store).list().await.unwrap().checks_of(oldest), None);
        assert!(manager(&store).verify_snapshot_with(middle, &options).await.unwrap().is_intact());
        for (id, with) in [(oldest, Some(middle)), (middle, None)] {
            let entries = manager(&store).ledger(id).await.unwrap().entries;
            let [entry] = &entries[..] else { panic!("{depth}: {entries:?}") };
            assert!(entry.result == VerifyResult::Intact && entry.counts && entry.depth == depth, "{entry:?}");
            let verified_with = entry.content.as_ref().unwrap().verified_with.as_ref();
            assert_eq!(verified_with.map(SnapshotId::as_str), with.map(String::as_str));
        }
        let listing = manager(&store).list().await.unwrap();
        assert!(fixture.ids[2..].iter().all(|id| listing.checks_of(id).is_none()));
        let is_verified = listing.checks_of(oldest).unwrap().verified_at().is_some();
        assert_eq!(is_verified, depth == VerifyDepth::Full);
    }
}

#[tokio::test]
async fn without_the_permission_one_entry_is_tried() {
    let fixture = chain_and_full().await;
    let (probe, steps) = FaultStore::over(fixture.new_store().await, []);
    let probe: Arc<dyn SnapshotStore> = probe;
    skipped_of_all(&probe, VerifyOptions::default()).await;
    let log = steps.log();
    let creates = log.iter().enumerate().filter(|(_, step)| (step.call, step.moment) == (Call::Create, Moment::Before));
    let creates: Vec<usize> = creates.map(|(at, _)| at).collect();
    assert_eq!(creates.len(), fixture.ids.len());
    let refused = Fault::Fail(ErrorKind::PermissionDenied);
    let (store, steps) = FaultStore::over(fixture.new_store().await, [(creates[0], refused)]);
    let (store, warnings): (Arc<dyn SnapshotStore>, _) = (store, Arc::new(Warnings::default()));
    skipped_of_all(&store, VerifyOptions::default().progress(warnings.clone())).await;
    assert_eq!(steps.count(Call::Create), 1);
    let warnings = warnings.list();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("was not recorded") && warnings[1].contains("not recorded either"), "{warnings:?}");
}

#[tokio::test]
async fn a_file_that_was_written_again_has_not_been_verified() {
    let fixture = chain_and_full().await;
    let [oldest, middle, newest, full] = &fixture.ids[..] else { unreachable!() };
    for file in layout::FILES {
        let store = fixture.new_store().await;
        verify_each(&store, fixture).await;
        replace(store.as_ref(), &key(middle, file), |_| ()).await;
        let listing = manager(&store).list().await.unwrap();
        let verified = fixture.ids.iter().map(|id| listing.checks_of(id).unwrap().verified_at().is_some());
        assert_eq!(verified.collect::<Vec<_>>(), [true, false, false, true], "{file}");
        for id in [middle, newest] {
            assert!(!is_skipped(&store, id).await, "{file}");
            assert!(!manager(&store).ledger(id).await.unwrap().entries[0].counts, "{file}");
        }
        assert!(is_skipped(&store, oldest).await && is_skipped(&store, full).await);
    }
}

#[tokio::test]
async fn the_time_of_an_intact_verification_is_its_start() {
    let fixture = chain_and_full().await;
    let start: DateTime<Utc> = "2020-01-01T00:00:00Z".parse().unwrap();
    let slow =
        |store: &Arc<dyn SnapshotStore>| manager(store).with_clock(TickingClock::from_year(2020, TimeDelta::hours(1)));
    let store = fixture.new_store().await;
    assert!(slow(&store).verify_snapshot(&fixture.ids[2]).await.unwrap());
    let time = async |id: &str| manager(&store).ledger(id).await.unwrap().entries[0].time;
    assert_eq!(time(&fixture.ids[2]).await, start);
    // An ancestor was read with its dependent, however much later its turn comes.
    let store = fixture.new_store().await;
    let _: Vec<Verification> = slow(&store).verify_all(VerifyOptions::default()).try_collect().await.unwrap();
    let time = async |id: &str| manager(&store).ledger(id).await.unwrap().entries[0].time;
    let newest = time(&fixture.ids[2]).await;
    assert_eq!((time(&fixture.ids[0]).await, time(&fixture.ids[1]).await), (newest, newest));
    // Corruption is found at the end.
    damage(store.as_ref(), &key(&fixture.ids[3], "vectors.bin.gz")).await;
    assert!(!slow(&store).verify_snapshot(&fixture.ids[3]).await.unwrap());
    let entries = manager(&store).ledger(&fixture.ids[3]).await.unwrap().entries;
    assert!(entries.iter().any(|entry| entry.result == VerifyResult::Corrupt && entry.time > start), "{entries:?}");
}

#[tokio::test]
async fn a_verification_that_was_running_when_corruption_was_found_does_not_clear_it() {
    let fixture = chain_and_full().await;
    let id = &fixture.ids[3];
    let mut missed = 0;
    for at in 0.. {
        let inner = fixture.new_store().await;
        let (other, doomed) = (inner.clone(), id.clone());
        let damaging = Action::new(move || {
            let (other, doomed) = (other.clone(), doomed.clone());
            async move {
                damage(other.as_ref(), &key(&doomed, "vectors.bin.gz")).await;
                assert!(!manager(&other).verify_snapshot(&doomed).await.unwrap());
            }
        });
        let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Do(damaging))]);
        let store: Arc<dyn SnapshotStore> = store;
        let is_intact = manager(&store).verify_snapshot(id).await.unwrap();
        let Some(step) = steps.at(at) else { break };
        missed += usize::from(is_intact);
        let listing = manager(&inner).list().await.unwrap();
        assert!(listing.checks_of(id).unwrap().corrupt_at().is_some(), "{step}");
        let options = this_week().depth(VerifyDepth::Quick).record(false);
        let due = manager(&inner).verify_due(id, &options).await.unwrap();
        assert!(matches!(due, Verification::Verified(_)), "{step}: {due:?}");
    }
    assert!(missed > 0);
}
