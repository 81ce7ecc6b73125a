//! Verifications that do not read every byte: what they read, what they find, and which snapshots are skipped.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot::ruvector_core::VectorEntry;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Result, SnapshotConfig, SnapshotManager, Verification, VerifyDepth, VerifyOptions,
    VerifyReport,
};
use ruvector_snapshot_format::checksum::sha256_hex;
use ruvector_snapshot_format::layout;
use test_fixtures::{
    CountingStore, FixedClock, TestDir, edit_metadata, entry, local_store, make_database, memory_store, objects,
};
use test_servers::S3Server;
use tokio::sync::OnceCell;

use crate::common::bucket_stores::s3_store;
use crate::common::chain_and_full::chain_and_full;
use crate::common::count_calls;
use crate::common::three_snapshots::key;

const DIMENSIONS: usize = 4;
const PARTS: u16 = 7;

/// A full snapshot of about 16 blocks, and an increment of about 4 with rows of every kind.
struct Large {
    objects: BTreeMap<String, Bytes>,
    full: String,
    increment: String,
}

static LARGE: OnceCell<Large> = OnceCell::const_new();

/// A record whose metadata takes half of a block, and little space in the store.
fn large_entry(id: &str, seed: u64) -> VectorEntry {
    let text = format!("{seed}").repeat(1 << 20);
    let metadata = HashMap::from([("text".to_owned(), serde_json::Value::from(text))]);
    VectorEntry { metadata: Some(metadata), ..entry(id.to_owned(), 1, DIMENSIONS, 1) }
}

async fn large() -> &'static Large {
    LARGE
        .get_or_init(|| async {
            let (dir, store) = (TestDir::new(), memory_store());
            let manager = dir.manager_with_store(store.clone());
            let path = dir.path("a.db");
            let db = make_database(&path, 40, DIMENSIONS, 1);
            let id = |number: usize| format!("large-{number:02}");
            let entries = |numbers: &[usize], seed| -> Vec<_> {
                numbers.iter().map(|number| large_entry(&id(*number), seed)).collect()
            };
            db.insert_batch(entries(&(0..32).collect::<Vec<_>>(), 1)).unwrap();
            let options = CreateOptions::default();
            let full = manager.create_snapshot_of_file(&path, "a", &options).await.unwrap().id;
            // Metadata that has changed, new records, and removed ones.
            db.insert_batch(entries(&[0, 6, 12, 18, 24, 30, 36], 2)).unwrap();
            db.delete(&id(1)).unwrap();
            let options = options.base_id(&full);
            let increment = manager.create_snapshot_of_file(&path, "a", &options).await.unwrap();
            let changes = increment.changes.unwrap();
            assert!(changes.added > 0 && changes.changed > 0 && changes.removed == 1, "{changes:?}");
            Large { objects: objects(store.as_ref()).await, full, increment: increment.id }
        })
        .await
}

impl Large {
    async fn fill(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        for (key, bytes) in &self.objects {
            store.create(key, bytes.clone()).await.unwrap();
        }
        store
    }

    fn size(&self, key: &str) -> u64 {
        self.objects[key].len() as u64
    }
}

fn manager(store: Arc<dyn SnapshotStore>) -> SnapshotManager {
    SnapshotManager::with_store(SnapshotConfig { workers: 2, ..Default::default() }, store).unwrap()
}

async fn verify(manager: &SnapshotManager, id: &str, depth: VerifyDepth) -> Result<VerifyReport> {
    manager.verify_snapshot_with(id, &VerifyOptions::default().record(false).depth(depth)).await
}

fn subset(number: u16) -> VerifyDepth {
    VerifyDepth::subset(number, PARTS).unwrap()
}

async fn replace(store: &dyn SnapshotStore, key: &str, bytes: Bytes) {
    store.delete(key).await.unwrap();
    store.create(key, bytes).await.unwrap();
}

fn data_keys(id: &str) -> [String; 2] {
    [key(id, "vectors.bin.gz"), key(id, "metadata.bin.gz")]
}

#[tokio::test]
async fn all_parts_together_read_every_byte_once_on_a_disk_and_in_a_bucket() {
    let (large, dir, server) = (large().await, TestDir::new(), S3Server::start());
    for store in [local_store(&dir.snapshots()), s3_store(&server, "parts")] {
        let store = CountingStore::over(large.fill(store).await);
        let manager = manager(store.clone());
        let full = verify(&manager, &large.increment, VerifyDepth::Full).await.unwrap();
        assert_eq!(full.bytes, full.stored_bytes);
        let (mut read, mut records) = (BTreeMap::<String, u64>::new(), 0);
        for number in 1..=PARTS {
            store.take_bytes_read();
            let report = verify(&manager, &large.increment, subset(number)).await.unwrap();
            assert!(report.is_intact(), "{:?}", report.corruption);
            assert_eq!((&report.checksum, report.stored_bytes), (&full.checksum, full.stored_bytes));
            assert!(report.bytes < report.stored_bytes);
            records += report.records;
            for (key, bytes) in store.take_bytes_read() {
                let is_index = key.ends_with("index.bin.gz");
                assert!(!is_index || bytes >= large.size(&key), "{number}: {bytes} bytes of {key}");
                *read.entry(key).or_default() += bytes;
            }
        }
        for key in [&large.full, &large.increment].into_iter().flat_map(|id| data_keys(id)) {
            assert_eq!(read[&key], large.size(&key), "{key}");
        }
        // The vector of each record was read once, in the snapshot that has it.
        assert!(records >= full.records, "{records} of {}", full.records);
    }
}

#[tokio::test]
async fn a_corrupt_byte_is_found_by_exactly_one_part_and_in_the_index_by_each() {
    let large = large().await;
    let store = large.fill(memory_store()).await;
    let manager = manager(store.clone());
    let finders = async |key: &str| {
        let mut finders = Vec::new();
        for number in 1..=PARTS {
            let report = verify(&manager, &large.increment, subset(number)).await.unwrap();
            let is_named = report.corruption.iter().all(|one| key.contains(&one.snapshot) && key.ends_with(&one.file));
            assert!(is_named, "{key}: {:?}", report.corruption);
            finders.extend((!report.is_intact()).then_some(number));
        }
        finders
    };
    let mut found_by = std::collections::BTreeSet::new();
    for (id, step) in [(&large.full, 5), (&large.increment, 2)] {
        for key in data_keys(id) {
            let intact = large.objects[&key].clone();
            for place in 0..step {
                let mut bytes = intact.to_vec();
                let at = (bytes.len() - 1) * place / step.max(2);
                bytes[at] ^= 0x10;
                replace(store.as_ref(), &key, bytes.into()).await;
                let finders = finders(&key).await;
                assert_eq!(finders.len(), 1, "byte {at} of {key}: {finders:?}");
                found_by.extend(finders);
            }
            replace(store.as_ref(), &key, intact).await;
        }
    }
    assert!(found_by.len() > 2, "{found_by:?}");
    let index = key(&large.full, "index.bin.gz");
    let mut bytes = large.objects[&index].to_vec();
    bytes[40] ^= 1;
    replace(store.as_ref(), &index, bytes.into()).await;
    assert_eq!(finders(&index).await.len(), usize::from(PARTS));
}

#[tokio::test]
async fn a_content_checksum_that_is_wrong_is_found_by_every_part_and_sample() {
    let large = large().await;
    let store = large.fill(memory_store()).await;
    let manager = manager(store.clone());
    let metadata_json = key(&large.increment, layout::METADATA_JSON);
    let forged = edit_metadata(&large.objects[&metadata_json], |json| json["checksum"] = "1".repeat(64).into());
    let sums = key(&large.increment, layout::CHECKSUM_SHA256);
    let old = String::from_utf8(large.objects[&sums].to_vec()).unwrap();
    let (_, others) = old.split_once('\n').unwrap();
    let new = format!("{}  {}\n{others}", sha256_hex(&forged), layout::METADATA_JSON);
    replace(store.as_ref(), &sums, new.into()).await;
    replace(store.as_ref(), &metadata_json, forged.into()).await;
    for depth in [subset(1), subset(7), VerifyDepth::sample(1).unwrap()] {
        let report = verify(&manager, &large.increment, depth).await.unwrap();
        let details: Vec<_> = report.corruption.iter().map(|one| one.detail.as_str()).collect();
        assert!(details.iter().any(|detail| detail.contains("content checksum")), "{depth}: {details:?}");
        assert_eq!(report.checksum, None);
    }
}

#[tokio::test]
async fn a_sample_reads_at_least_its_percentage_at_a_random_place() {
    let large = large().await;
    let store = CountingStore::over(large.fill(memory_store()).await);
    let keys = data_keys(&large.full);
    let total: u64 = keys.iter().map(|key| large.size(key)).sum();
    let mut sizes = std::collections::BTreeSet::new();
    for percent in [1, 10, 60] {
        for random in [0, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
            let clock = FixedClock { now: today(), random };
            let manager = manager(store.clone()).with_clock(Arc::new(clock));
            store.take_bytes_read();
            assert!(verify(&manager, &large.full, VerifyDepth::sample(percent).unwrap()).await.unwrap().is_intact());
            let read = store.take_bytes_read();
            let bytes: u64 = keys.iter().filter_map(|key| read.get(key)).sum();
            assert!(bytes * 100 >= total * u64::from(percent), "{percent} %: {bytes} of {total}");
            assert!(bytes < total, "{percent} %: {bytes} of {total}");
            sizes.insert((percent, bytes));
        }
    }
    assert!(sizes.len() > 3, "{sizes:?}");
}

fn today() -> DateTime<Utc> {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn a_quick_verification_reads_no_data_and_finds_what_is_missing_or_cut() {
    let (fixture, server) = (chain_and_full().await, S3Server::start());
    let newest = &fixture.ids[2];
    for inner in [memory_store(), s3_store(&server, "quick")] {
        for (key, bytes) in &fixture.objects {
            inner.create(key, bytes.clone()).await.unwrap();
        }
        let (store, steps) = FaultStore::over(inner.clone(), []);
        let manager = manager(store);
        let report = verify(&manager, newest, VerifyDepth::Quick).await.unwrap();
        assert!(report.is_intact() && report.checksum.is_none() && report.records == 0);
        assert!(report.bytes < report.stored_bytes);
        // metadata.json and checksum.sha256 of each, and one listing of each; and then the ledger of each, with its metadata.json.
        assert_eq!(count_calls(&steps.log()), BTreeMap::from([(Call::Get, 2 * 3 + 3), (Call::List, 3 + 3)]));
        // All of them need one listing.
        let from = steps.log().len();
        let options = VerifyOptions::default().record(false).depth(VerifyDepth::Quick);
        let all: Vec<Verification> = manager.verify_all(options).try_collect().await.unwrap();
        assert!(all.iter().all(|one| one.is_intact() == Some(true)));
        let counts = count_calls(&steps.log()[from..]);
        assert_eq!(counts, BTreeMap::from([(Call::Get, 4 + 2 * 4), (Call::List, 1)]));

        let vectors = key(&fixture.ids[0], "vectors.bin.gz");
        let intact = fixture.objects[&vectors].clone();
        let mut flipped = intact.to_vec();
        flipped[20] ^= 1;
        let cut = intact.slice(..intact.len() - 1);
        for (bytes, problem) in
            [(Some(flipped.into()), None), (Some(cut), Some("bytes instead of")), (None, Some("the file is missing"))]
        {
            inner.delete(&vectors).await.unwrap();
            if let Some(bytes) = bytes {
                inner.create(&vectors, bytes).await.unwrap();
            }
            let report = verify(&manager, newest, VerifyDepth::Quick).await.unwrap();
            let details: Vec<_> = report.corruption.iter().map(|one| one.detail.as_str()).collect();
            assert_eq!(details.len(), usize::from(problem.is_some()), "{details:?}");
            assert!(problem.is_none_or(|problem| details[0].contains(problem)), "{details:?}");
        }
    }
}

#[tokio::test]
async fn a_failure_of_the_store_at_any_step_is_an_error_and_not_corruption() {
    let fixture = chain_and_full().await;
    for depth in [VerifyDepth::Quick, subset(3), VerifyDepth::sample(50).unwrap()] {
        let mut is_verified = false;
        for at in 0.. {
            let inner = fixture.new_store().await;
            let (store, steps) = FaultStore::over(inner, [(at, Fault::Fail(ErrorKind::Unavailable))]);
            let outcome = verify(&manager(store), &fixture.ids[2], depth).await;
            let Some(step) = steps.at(at) else {
                assert!(outcome.unwrap().is_intact());
                break;
            };
            match outcome {
                // After the verification: whether it was found corrupt before is not known then, and that is a warning.
                Ok(report) => is_verified = report.is_intact() && at > 0,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{depth}: {step}: {error}");
                    assert!(!is_verified, "{depth}: {step}: an error after the verification");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_drill_is_no_depth_of_a_verification() {
    let fixture = chain_and_full().await;
    let manager = manager(fixture.new_store().await);
    let error = verify(&manager, &fixture.ids[0], VerifyDepth::Drill).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

// ---- what is skipped

fn at(store: &Arc<dyn SnapshotStore>, day: i64) -> SnapshotManager {
    let now = today() + TimeDelta::days(day);
    manager(store.clone()).with_clock(Arc::new(FixedClock { now, random: day.unsigned_abs() }))
}

async fn is_skipped(manager: &SnapshotManager, id: &str, depth: VerifyDepth, max_age: &str) -> bool {
    let options = VerifyOptions::default().record(false).depth(depth).max_age(max_age.parse().unwrap());
    match manager.verify_due(id, &options).await.unwrap() {
        Verification::Skipped { id: skipped, .. } => {
            assert_eq!(skipped, id);
            true
        }
        verification => {
            assert!(matches!(verification, Verification::Verified(_)), "{verification:?}");
            false
        }
    }
}

#[tokio::test]
async fn what_was_verified_as_deep_within_the_time_is_skipped() {
    let fixture = chain_and_full().await;
    let (store, id) = (fixture.new_store().await, &fixture.ids[2]);
    assert!(!is_skipped(&at(&store, 0), id, VerifyDepth::Quick, "7d").await);
    let recorded = |depth| VerifyOptions::default().depth(depth);
    at(&store, 0).verify_snapshot_with(id, &recorded(subset(2))).await.unwrap();
    for (depth, skipped) in [
        (VerifyDepth::Quick, true),
        (subset(2), true),
        (subset(3), false),
        (VerifyDepth::sample(1).unwrap(), false),
        (VerifyDepth::Full, false),
    ] {
        assert_eq!(is_skipped(&at(&store, 1), id, depth, "7d").await, skipped, "{depth}");
    }
    at(&store, 2).verify_snapshot_with(id, &recorded(VerifyDepth::Full)).await.unwrap();
    for depth in [VerifyDepth::Quick, subset(3), VerifyDepth::sample(1).unwrap(), VerifyDepth::Full] {
        assert!(is_skipped(&at(&store, 9), id, depth, "7d").await, "{depth}");
        assert!(!is_skipped(&at(&store, 10), id, depth, "7d").await, "{depth}");
        assert!(is_skipped(&at(&store, 10), id, depth, "1mo").await, "{depth}");
    }
    // Its ancestors were read as deep, and other snapshots were not. `verify_snapshot_with` skips nothing.
    for (other, skipped) in [(0, true), (1, true), (3, false)] {
        let other = &fixture.ids[other];
        assert_eq!(is_skipped(&at(&store, 3), other, VerifyDepth::Full, "7d").await, skipped, "{other}");
    }
    let (counting, steps) = FaultStore::over(store.clone(), []);
    assert!(is_skipped(&at(&(counting as Arc<dyn SnapshotStore>), 3), id, VerifyDepth::Full, "7d").await);
    // Of each snapshot of the chain.
    assert_eq!(count_calls(&steps.log()), BTreeMap::from([(Call::List, 3), (Call::Get, 3)]));
    let options = recorded(VerifyDepth::Full).max_age("7d".parse().unwrap()).record(false);
    assert!(at(&store, 3).verify_snapshot_with(id, &options).await.unwrap().records > 0);
    // An absurd age skips everything that was ever verified.
    assert!(is_skipped(&at(&store, 9999), id, VerifyDepth::Full, "4000000000y").await);
}

#[tokio::test]
async fn a_week_of_parts_is_a_full_verification() {
    let large = large().await;
    let store = large.fill(memory_store()).await;
    for number in 1..=PARTS {
        let manager = at(&store, number.into());
        let verified_at = async || {
            let listing = manager.list().await.unwrap();
            listing.checks_of(&large.increment).and_then(|checks| checks.verified_at())
        };
        assert_eq!(verified_at().await, None);
        let options = VerifyOptions::default().depth(subset(number));
        assert!(manager.verify_snapshot_with(&large.increment, &options).await.unwrap().is_intact());
        let expected = (number == PARTS).then_some(today() + TimeDelta::days(1));
        assert_eq!(verified_at().await, expected);
    }
    assert!(is_skipped(&at(&store, 8), &large.increment, VerifyDepth::Full, "7d").await);
    assert!(!is_skipped(&at(&store, 9), &large.increment, VerifyDepth::Full, "7d").await);
}

#[tokio::test]
async fn what_was_found_corrupt_is_not_skipped_until_all_of_it_is_intact() {
    let fixture = chain_and_full().await;
    let (store, id) = (fixture.new_store().await, &fixture.ids[3]);
    let full = VerifyOptions::default();
    at(&store, 0).verify_snapshot_with(id, &full).await.unwrap();
    let vectors = key(id, "vectors.bin.gz");
    store.delete(&vectors).await.unwrap();
    let quick = full.clone().depth(VerifyDepth::Quick);
    assert!(!at(&store, 1).verify_snapshot_with(id, &quick).await.unwrap().is_intact());
    store.create(&vectors, fixture.objects[&vectors].clone()).await.unwrap();
    // A later quick verification does not clear it.
    assert!(at(&store, 2).verify_snapshot_with(id, &quick).await.unwrap().is_intact());
    for depth in [VerifyDepth::Quick, VerifyDepth::Full] {
        assert!(!is_skipped(&at(&store, 2), id, depth, "7d").await, "{depth}");
    }
    let skips = async |day| {
        let options = VerifyOptions::default().record(false).max_age("7d".parse().unwrap());
        let all: Vec<Verification> = at(&store, day).verify_all(options).try_collect().await.unwrap();
        assert_eq!(all.len(), fixture.ids.len());
        all.iter().filter(|one| matches!(one, Verification::Skipped { .. })).map(|one| one.id().to_owned()).collect()
    };
    let skipped: Vec<String> = skips(2).await;
    assert!(skipped.is_empty(), "{skipped:?}");
    at(&store, 3).verify_snapshot_with(id, &full).await.unwrap();
    assert!(is_skipped(&at(&store, 4), id, VerifyDepth::Full, "7d").await);
    let skipped: Vec<String> = skips(4).await;
    assert_eq!(skipped, [id.as_str()]);
}
