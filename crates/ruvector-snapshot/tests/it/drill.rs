//! Drills: what they measure, what they refuse, and that they leave nothing behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use redb::ReadableTable as _;
use ruvector_core::types::{DbOptions, HnswConfig};
use ruvector_core::{DistanceMetric, VectorDB};
use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Gate, Moment};
use ruvector_snapshot::{CreateOptions, DrillOptions, ErrorKind, Remedy, SnapshotManager, VerifyDepth, VerifyResult};
use test_fixtures::{
    CONFIG, METADATA, TestDir, Warnings, create_full, entry, make_database, memory_store, names, options,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::chain_and_full::chain_and_full;

const DIMENSIONS: usize = 16;

fn drill_options(dir: &TestDir) -> DrillOptions {
    DrillOptions::default().scratch_dir(dir.scratch())
}

fn database_options(dir: &TestDir, metric: DistanceMetric, hnsw_config: Option<HnswConfig>) -> DbOptions {
    DbOptions { distance_metric: metric, hnsw_config, ..options(dir.path("a.db"), DIMENSIONS) }
}

fn fill(db: &VectorDB, rows: std::ops::Range<usize>, seed: u64) {
    db.insert_batch(rows.map(|row| entry(format!("id-{row:06}"), row, DIMENSIONS, seed)).collect::<Vec<_>>()).unwrap();
}

/// Returns what the newest entry of the ledger of a snapshot says, if there is one.
async fn newest_entry(
    manager: &SnapshotManager,
    id: &str,
) -> Option<(VerifyDepth, VerifyResult, Option<serde_json::Value>)> {
    let entry = manager.ledger(id).await.unwrap().entries.into_iter().next()?;
    let content = entry.content.unwrap();
    Some((content.depth, content.result, content.drill))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_a_full_snapshot_and_of_a_chain_measures_the_recovery_and_leaves_nothing() {
    let server = S3Server::start();
    let local = TestDir::new();
    let stores = [memory_store(), local.local_store(), s3_store(&server, "drill"), memory_store()];
    let metrics =
        [DistanceMetric::Euclidean, DistanceMetric::Cosine, DistanceMetric::DotProduct, DistanceMetric::Manhattan];
    for (number, (metric, store)) in metrics.into_iter().zip(stores).enumerate() {
        let dir = TestDir::new();
        let hnsw_config = (number % 2 == 1).then(HnswConfig::default);
        let manager = dir.manager_with_store(store);
        let db = VectorDB::new(database_options(&dir, metric, hnsw_config)).unwrap();
        fill(&db, 0..400, 1);
        let full = create_full(&manager, &dir.path("a.db"), "team/nightly").await.unwrap();
        fill(&db, 50..70, 2);
        fill(&db, 400..420, 2);
        db.delete("id-000003").unwrap();
        let options = CreateOptions::default().base_id(&full.id);
        let step = manager.create_snapshot_of_file(dir.path("a.db"), "step", &options).await.unwrap();
        for (snapshot, records) in [(&full, 400), (&step, 419)] {
            let report = manager.drill_snapshot(&snapshot.id, &drill_options(&dir)).await.unwrap();
            assert!(report.passed, "{metric:?}: {report:?}");
            assert_eq!((report.snapshot.vector_count, report.probes, report.neighbors), (records, 100, 10));
            // So few vectors are all found, by an index too.
            assert_eq!((report.recall, report.min_recall), (Some(1.0), 0.9), "{metric:?}");
            let times = (report.time_to_data_ms + report.time_to_open_ms, report.time_to_first_search_ms.unwrap());
            assert!(times.0 <= times.1 + 1, "{report:?}");
            assert!(report.file_bytes > 20_000 && report.store_read_bytes > 20_000, "{report:?}");
            assert!(report.data_age_ms >= 0, "{report:?}");
            assert_eq!(names(&dir.scratch()), Vec::<String>::new());
            let (depth, result, figures) = newest_entry(&manager, &snapshot.id).await.unwrap();
            assert_eq!((depth, result), (VerifyDepth::Drill, VerifyResult::Intact));
            assert_eq!(figures.unwrap()["recall"], 1.0);
        }
    }
}

#[tokio::test]
async fn an_index_that_finds_too_little_fails_the_drill() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let weak = HnswConfig { m: 2, ef_construction: 2, ef_search: 1, max_elements: 2000 };
    let db = VectorDB::new(database_options(&dir, DistanceMetric::Euclidean, Some(weak))).unwrap();
    fill(&db, 0..1500, 1);
    let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
    let report = manager.drill_snapshot(&snapshot.id, &drill_options(&dir)).await.unwrap();
    let recall = report.recall.unwrap();
    assert!(!report.passed && recall < 0.9, "{report:?}");
    let (depth, result, figures) = newest_entry(&manager, &snapshot.id).await.unwrap();
    assert_eq!((depth, result), (VerifyDepth::Drill, VerifyResult::Failed));
    assert_eq!(
        (&figures.as_ref().unwrap()["recall"], &figures.as_ref().unwrap()["min_recall"]),
        (&recall.into(), &0.9.into())
    );
    let checks = manager.ledger(&snapshot.id).await.unwrap().checks;
    assert!(checks.drill_failed_at().is_some() && checks.drilled_at().is_none() && checks.corrupt_at().is_none());
    // The same probes are drawn each time, and Ruvector builds the same index.
    let options = drill_options(&dir).min_recall(recall).probes(100).record(false);
    let again = manager.drill_snapshot(&snapshot.id, &options).await.unwrap();
    assert_eq!((again.passed, again.recall), (true, Some(recall)));
    assert_eq!(manager.ledger(&snapshot.id).await.unwrap().entries.len(), 1);
    assert_eq!(names(&dir.scratch()), Vec::<String>::new());
}

#[tokio::test]
async fn an_empty_and_a_small_database_and_one_with_irregular_rows_pass() {
    let dir = TestDir::new();
    let manager = dir.manager();
    for (name, rows, has_irregular) in [("empty", 0, false), ("small", 3, false), ("irregular", 30, true)] {
        let path = dir.path(name);
        drop(make_database(&path, rows, 4, 1));
        if has_irregular {
            let database = redb::Database::open(&path).unwrap();
            let write = database.begin_write().unwrap();
            write.open_table(METADATA).unwrap().insert("no vector", "{}").unwrap();
            write.commit().unwrap();
        }
        let snapshot = create_full(&manager, &path, name).await.unwrap();
        assert_eq!(snapshot.irregular.is_some(), has_irregular);
        let report = manager.drill_snapshot(&snapshot.id, &drill_options(&dir)).await.unwrap();
        assert!(report.passed, "{name}: {report:?}");
        assert_eq!((report.probes, report.neighbors), (rows, rows.min(10)), "{name}");
        assert_eq!((report.recall, report.time_to_first_search_ms.is_some()), ((rows > 0).then_some(1.0), rows > 0));
        assert_eq!(names(&dir.scratch()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn equal_distances_count_as_found() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let db = VectorDB::new(database_options(&dir, DistanceMetric::Euclidean, Some(HnswConfig::default()))).unwrap();
    // Every vector is there 20 times, so that an index may return any 10 of them.
    for copy in 0..20 {
        let entries = (0..10).map(|row| entry(format!("id-{row}-{copy:02}"), row, DIMENSIONS, 1));
        db.insert_batch(entries.collect::<Vec<_>>()).unwrap();
    }
    let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
    let options = drill_options(&dir).min_recall(1.0);
    let report = manager.drill_snapshot(&snapshot.id, &options).await.unwrap();
    assert_eq!((report.passed, report.recall), (true, Some(1.0)));
}

#[tokio::test]
async fn a_corrupt_snapshot_is_an_error_and_is_recorded() {
    let dir = TestDir::new();
    let manager = dir.manager();
    drop(make_database(&dir.path("a.db"), 300, 4, 1));
    let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
    test_fixtures::flip_bit_in_the_middle(&dir.snapshots().join(format!("snapshot-{}/vectors.bin.gz", snapshot.id)));
    let error = manager.drill_snapshot(&snapshot.id, &drill_options(&dir)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(names(&dir.scratch()), Vec::<String>::new());
    let (depth, result, _) = newest_entry(&manager, &snapshot.id).await.unwrap();
    assert_eq!((depth, result), (VerifyDepth::Read, VerifyResult::Corrupt));
}

#[tokio::test]
async fn a_database_that_ruvector_cannot_open_is_an_error() {
    let dir = TestDir::new();
    let (path, manager) = (dir.path("a.db"), dir.manager());
    drop(VectorDB::new(database_options(&dir, DistanceMetric::Manhattan, Some(HnswConfig::default()))).unwrap());
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut config = write.open_table(CONFIG).unwrap();
        let name = "__ruvector_db_config__";
        let text = config
            .get(name)
            .unwrap()
            .unwrap()
            .value()
            .replace("\"quantization\":null", "\"quantization\":{\"Turbo4\":{}}");
        assert!(text.contains("Turbo4"), "{text}");
        config.insert(name, text.as_str()).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    let snapshot = create_full(&manager, &path, "a").await.unwrap();
    let error = manager.drill_snapshot(&snapshot.id, &drill_options(&dir)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(
        error.to_string().contains("was restored and verified, but the restored database cannot be used"),
        "{error}"
    );
    assert!(error.to_string().contains("Ruvector cannot open it"), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::OtherRuvector), "{error}");
    assert_eq!(names(&dir.scratch()), Vec::<String>::new());
    let (depth, result, why) = newest_entry(&manager, &snapshot.id).await.unwrap();
    assert_eq!((depth, result), (VerifyDepth::Drill, VerifyResult::Failed));
    assert!(why.as_ref().unwrap()["error"].as_str().unwrap().contains("Ruvector cannot open it"), "{why:?}");
}

#[tokio::test]
async fn options_that_make_no_sense_and_a_scratch_directory_that_is_not_there_are_errors() {
    let fixture = chain_and_full().await;
    let dir = TestDir::new();
    let manager = dir.manager_with_store(fixture.new_store().await);
    let id = &fixture.ids[3];
    for (options, expected) in [
        (drill_options(&dir).probes(0), "from 1 to 10000 probes, not 0"),
        (drill_options(&dir).probes(10_001), "from 1 to 10000 probes"),
        (drill_options(&dir).min_recall(1.1), "a recall is from 0 to 1, so 1.1"),
        (drill_options(&dir).min_recall(-0.1), "a recall is from 0 to 1"),
        (drill_options(&dir).min_recall(f64::NAN), "a recall is from 0 to 1"),
    ] {
        let error = manager.drill_snapshot(id, &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let missing = DrillOptions::default().scratch_dir(dir.path("missing"));
    let error = manager.drill_snapshot(id, &missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("missing") && error.to_string().contains("scratch directory"), "{error}");
    assert!(!dir.path("missing").exists());
    let unknown =
        manager.drill_snapshot("20260131T080000000Z-0123456789abcdef", &drill_options(&dir)).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    // The scratch directory of the settings, if the options have none.
    let report = manager.drill_snapshot(id, &DrillOptions::default()).await.unwrap();
    assert_eq!(report.snapshot.id, *id);
}

/// Ruvector takes a path as text. It would create another database at another path, and that of an empty snapshot would do.
#[tokio::test]
async fn a_scratch_directory_whose_path_is_not_utf8_is_refused_and_nothing_is_created_elsewhere() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let scratch = dir.path("restored").join(OsStr::from_bytes(b"scratch-\xff"));
    fs::create_dir(&scratch).unwrap();
    for rows in [0, 5] {
        let path = dir.path(&format!("{rows}.db"));
        drop(make_database(&path, rows, 4, 1));
        let snapshot = create_full(&manager, &path, "a").await.unwrap();
        let options = DrillOptions::default().scratch_dir(&scratch);
        let error = manager.drill_snapshot(&snapshot.id, &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("is not UTF-8, and Ruvector opens no such path"), "{error}");
        let created = [dir.path("restored"), scratch.clone()].map(|path| fs::read_dir(path).unwrap().count());
        assert_eq!(created, [1, 0]);
        assert_eq!(newest_entry(&manager, &snapshot.id).await, None);
    }
}

#[tokio::test]
async fn what_killed_drills_have_left_is_removed_and_nothing_else() {
    let fixture = chain_and_full().await;
    let dir = TestDir::new();
    let manager = dir.manager_with_store(fixture.new_store().await);
    let make = |name: &str, files: &[&str]| {
        fs::create_dir(dir.scratch().join(name)).unwrap();
        files.iter().for_each(|file| fs::write(dir.scratch().join(name).join(file), "x").unwrap());
    };
    make("ruvector-snapshot-drill-abc123", &["scratch.lock", "restored.db", ".restored.db.restoring-abc123"]);
    make("ruvector-snapshot-drill-def456", &["scratch.lock"]);
    make("ruvector-snapshot-drill-ghi789", &["mine.txt"]);
    make("ruvector-snapshot-drill-longer-name", &["scratch.lock"]);
    let alive = fs::File::open(dir.scratch().join("ruvector-snapshot-drill-def456/scratch.lock")).unwrap();
    alive.lock().unwrap();
    let warnings = Arc::new(Warnings::default());
    manager.drill_snapshot(&fixture.ids[3], &drill_options(&dir).progress(warnings.clone())).await.unwrap();
    let kept =
        ["ruvector-snapshot-drill-def456", "ruvector-snapshot-drill-ghi789", "ruvector-snapshot-drill-longer-name"];
    assert_eq!(names(&dir.scratch()), kept);
    let warnings = warnings.list();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("drill-abc123 (3 bytes) was removed: a process that was killed had left it"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_drill_that_is_dropped_at_any_request_leaves_nothing() {
    let fixture = chain_and_full().await;
    let dir = TestDir::new();
    let mut dropped = 0;
    for at in 0.. {
        let gate = Gate::new();
        let (store, steps) = FaultStore::over(fixture.new_store().await, [(at, Fault::Wait(gate.clone()))]);
        let manager = dir.manager_with_store(store);
        let options = drill_options(&dir).record(false);
        let mut drill = Box::pin(manager.drill_snapshot(&fixture.ids[2], &options));
        tokio::select! {
            report = &mut drill => {
                report.unwrap();
                assert!(steps.at(at).is_none());
                break;
            }
            () = gate.reached() => dropped += 1,
        }
        drop(drill);
        manager.wait_for_cleanup().await;
        assert_eq!(names(&dir.scratch()), Vec::<String>::new(), "{at}");
    }
    assert!(dropped > 5, "only {dropped}");
}

#[tokio::test]
async fn a_failure_to_record_is_a_warning_and_the_result_stands() {
    let fixture = chain_and_full().await;
    let dir = TestDir::new();
    let inner = fixture.new_store().await;
    let (counted, steps) = FaultStore::over(inner.clone(), []);
    dir.manager_with_store(counted).drill_snapshot(&fixture.ids[3], &drill_options(&dir)).await.unwrap();
    let created =
        steps.log().iter().position(|step| step.call == Call::Create && step.moment == Moment::Before).unwrap();
    let fault = (created, Fault::Fail(ErrorKind::PermissionDenied));
    let (store, _) = FaultStore::over(fixture.new_store().await, [fault]);
    let warnings = Arc::new(Warnings::default());
    let options = drill_options(&dir).progress(warnings.clone());
    let report = dir.manager_with_store(store).drill_snapshot(&fixture.ids[3], &options).await.unwrap();
    assert!(report.passed);
    let warnings = warnings.list();
    assert!(warnings.len() == 1 && warnings[0].contains("was not recorded"), "{warnings:?}");
}
