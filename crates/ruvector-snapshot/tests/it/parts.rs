//! Parts of snapshots: restored to a new file, and merged into an existing database.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::Database;
use ruvector_core::types::DbOptions;
use ruvector_core::{DistanceMetric, VectorDB, VectorEntry};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Fault, FaultStore};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, MergeCounts, MergeOptions, OnConflict, RecordFilter, Remedy, RestoreOptions, Snapshot,
    SnapshotManager,
};
use test_fixtures::{
    METADATA, Records, TestDir, VECTORS, create_full, encode_vector, json_object, make_many_blocks, memory_store,
    objects, options, records_of_file, rows_of_file,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;

const DIMENSIONS: usize = 4;

fn entry(id: &str, value: f32, lang: Option<&str>) -> VectorEntry {
    let metadata =
        lang.and_then(|lang| json_object(serde_json::json!({ "lang": lang, "n": value, "by": { "a.b": 1 } })));
    VectorEntry { id: Some(id.to_owned()), vector: vec![value; DIMENSIONS], metadata }
}

/// Two snapshots of a small database, a chain: `full`, and `newest`, in which records were changed, added and removed.
struct Small {
    dir: TestDir,
    manager: SnapshotManager,
    full: Snapshot,
    newest: Snapshot,
}

impl Small {
    async fn new(store: Arc<dyn SnapshotStore>) -> Self {
        let dir = TestDir::new();
        let (path, manager) = (dir.path("a.db"), dir.manager_with_store(store));
        let db = VectorDB::new(options(&path, DIMENSIONS)).unwrap();
        let entries = [("a", "de"), ("b", "fr"), ("c", "de"), ("d", "de"), ("e", "fr")];
        db.insert_batch(
            entries.iter().enumerate().map(|(at, (id, lang))| entry(id, at as f32, Some(lang))).collect::<Vec<_>>(),
        )
        .unwrap();
        db.insert(entry("plain", 7.0, None)).unwrap();
        drop(db);
        let full = create_full(&manager, &path, "full").await.unwrap();
        let db = VectorDB::new(options(&path, DIMENSIONS)).unwrap();
        db.insert(entry("b", 1.0, Some("de"))).unwrap();
        db.insert(entry("c", 20.0, Some("de"))).unwrap();
        db.insert(entry("f", 5.0, Some("de"))).unwrap();
        db.delete("d").unwrap();
        drop(db);
        let on_full = CreateOptions::default().base_id(&full.id);
        let newest = manager.create_snapshot_of_file(&path, "newest", &on_full).await.unwrap();
        Self { dir, manager, full, newest }
    }

    /// Makes a database that has some records in common with the newest snapshot.
    fn make_other(&self, name: &str) -> std::path::PathBuf {
        let path = self.dir.path(name);
        let db = VectorDB::new(options(&path, DIMENSIONS)).unwrap();
        // The same, other metadata, another vector, and one that the snapshot does not have.
        db.insert_batch(vec![
            entry("a", 0.0, Some("de")),
            entry("b", 1.0, Some("it")),
            entry("c", 99.0, Some("de")),
            entry("own", 3.0, None),
        ])
        .unwrap();
        path
    }
}

/// Returns the records with these ids.
fn only(records: &Records, ids: &[&str]) -> Records {
    let of = |id: &String| ids.contains(&id.as_str());
    let (vectors, metadata) = records.clone();
    (vectors.into_iter().filter(|(id, _)| of(id)).collect(), metadata.into_iter().filter(|(id, _)| of(id)).collect())
}

fn filter(conditions: &[&str]) -> RecordFilter {
    conditions.iter().fold(RecordFilter::default(), |filter, text| filter.condition(text.parse().unwrap()))
}

#[tokio::test]
async fn a_part_is_restored_with_exactly_the_records_that_the_filter_accepts() {
    let server = S3Server::start();
    let local = TestDir::new();
    for store in [memory_store(), local.local_store(), s3_store(&server, "parts")] {
        let small = Small::new(store).await;
        let all = records_of_file(&small.dir.path("a.db"));
        let cases: [(RecordFilter, &[&str]); 6] = [
            (RecordFilter::default().ids(["c", "a", "b"]), &["a", "b", "c"]),
            (filter(&["lang=de"]), &["a", "b", "c", "f"]),
            (filter(&["lang=de", "n>=1"]), &["b", "c", "f"]),
            (filter(&["lang!=de"]), &["e", "plain"]),
            (filter(&["lang=de"]).ids(["a", "e", "plain"]), &["a"]),
            (filter(&[r"by.a\.b=1"]), &["a", "b", "c", "e", "f"]),
        ];
        for (filter, ids) in cases {
            let options = RestoreOptions::default().overwrite(true);
            let restored = small.dir.restored();
            if restored.exists() {
                std::fs::remove_file(&restored).unwrap();
            }
            let part = small.manager.restore_part_to(&small.newest.id, &restored, &filter, &options).await.unwrap();
            assert_eq!((part.records, part.snapshot.vector_count), (ids.len() as u64, 6), "{filter:?}");
            assert_eq!(records_of_file(&restored), only(&all, ids), "{filter:?}");
            assert_eq!(rows_of_file(&restored).config, rows_of_file(&small.dir.path("a.db")).config);
            // The checksum is that of a snapshot of the part.
            let again = create_full(&small.manager, &restored, "part").await.unwrap();
            assert_eq!(part.checksum, again.checksum);
            assert_ne!(part.checksum, small.newest.checksum);
            small.manager.delete_snapshot(&again.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_part_without_a_record_that_was_asked_for_is_not_restored() {
    let small = Small::new(memory_store()).await;
    let restored = small.dir.restored();
    let other = small.make_other("b.db");
    let before = records_of_file(&other);
    for (filter, expected) in [
        (RecordFilter::default().ids(["a", "d", "x"]), "2 of 3 ids that were asked for are not in snapshot"),
        (filter(&["lang=it"]), "the filter accepts no record of snapshot"),
        (RecordFilter::default().ids(Vec::<String>::new()), "the filter accepts no record of snapshot"),
    ] {
        let id = &small.newest.id;
        let error = small.manager.restore_part_to(id, &restored, &filter, &Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(expected), "{error}");
        small.dir.assert_nothing_restored();
        let merge = MergeOptions::default().filter(filter).on_conflict(OnConflict::Replace);
        let error = small.manager.merge_snapshot_into(id, &other, &merge).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(records_of_file(&other), before);
    }
}

#[tokio::test]
async fn by_ids_only_the_blocks_that_can_hold_them_are_read() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    drop(make_many_blocks(&path, 6000, 1));
    let store = test_fixtures::CountingStore::over(memory_store());
    let manager = dir.manager_with_store(store.clone());
    let id = create_full(&manager, &path, "many").await.unwrap().id;
    let stored: u64 = objects(store.as_ref()).await.values().map(|bytes| bytes.len() as u64).sum();
    let record_id = rows_of_file(&path).vectors.into_keys().nth(5000).unwrap();
    store.take_bytes_read();
    let filter = RecordFilter::default().id(record_id);
    let part = manager.restore_part_to(&id, dir.restored(), &filter, &Default::default()).await.unwrap();
    let read: u64 = store.take_bytes_read().values().sum();
    assert_eq!(part.records, 1);
    assert!(read * 2 < stored, "{read} of {stored} bytes");
}

#[tokio::test]
async fn a_merge_keeps_replaces_or_refuses_records_that_differ() {
    let server = S3Server::start();
    for store in [memory_store(), s3_store(&server, "merges")] {
        let small = Small::new(store).await;
        let (snapshot, id) = (records_of_file(&small.dir.path("a.db")), &small.newest.id);
        let path = small.make_other("b.db");
        let before = rows_of_file(&path);
        let records = records_of_file(&path);

        let error = small.manager.merge_snapshot_into(id, &path, &MergeOptions::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.remedy()), (ErrorKind::AlreadyExists, Some(Remedy::OnConflict)));
        assert!(error.to_string().contains("2 records of the snapshot differ"), "{error}");
        assert!(error.to_string().contains("for example \"b\"; nothing was merged"), "{error}");
        assert_eq!(rows_of_file(&path), before);

        let keep = MergeOptions::default().on_conflict(OnConflict::Keep);
        let report = small.manager.merge_snapshot_into(id, &path, &keep).await.unwrap();
        assert_eq!(counts(report.counts), [3, 0, 2, 1]);
        assert_eq!(report.selected, 6);
        assert_eq!(records_of_file(&path), union(&snapshot, &records));

        let path = small.make_other("c.db");
        let config = rows_of_file(&path).config;
        let some = keep.filter(RecordFilter::default().ids(["a", "c", "f"])).on_conflict(OnConflict::Replace);
        let report = small.manager.merge_snapshot_into(id, &path, &some).await.unwrap();
        assert_eq!(counts(report.counts), [1, 1, 0, 1]);
        assert_eq!(records_of_file(&path), union(&records, &only(&snapshot, &["c", "f"])));
        assert_eq!(rows_of_file(&path).config, config);
        // Once more: all are the same.
        let report = small.manager.merge_snapshot_into(id, &path, &some.on_conflict(OnConflict::Fail)).await.unwrap();
        assert_eq!(counts(report.counts), [0, 0, 0, 3]);
        // The older state has no metadata of "plain" to leave behind.
        let replace = MergeOptions::default().on_conflict(OnConflict::Replace);
        small.manager.merge_snapshot_into(&small.full.id, &path, &replace).await.unwrap();
        let db = VectorDB::new(options(&path, DIMENSIONS)).unwrap();
        assert_eq!(db.len().unwrap(), 8);
        assert_eq!(db.get("plain").unwrap().unwrap().metadata, None);
    }
}

fn counts(counts: MergeCounts) -> [u64; 4] {
    [counts.inserted, counts.replaced, counts.kept, counts.same]
}

/// Returns the records of both. Of records with the same id, those of `second`.
fn union(first: &Records, second: &Records) -> Records {
    let mut metadata: BTreeMap<_, _> = first.1.clone();
    metadata.retain(|id, _| !second.0.contains_key(id));
    metadata.extend(second.1.clone());
    let mut vectors = first.0.clone();
    vectors.extend(second.0.clone());
    (vectors, metadata)
}

#[tokio::test]
async fn metadata_that_is_spelled_in_another_way_is_the_same_and_rows_without_a_vector_differ() {
    let small = Small::new(memory_store()).await;
    let path = small.make_other("b.db");
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(METADATA)
        .unwrap()
        .insert("a", "{ \"n\":0.0, \"by\":{\"a.b\": 1}, \"lang\" : \"de\" }")
        .unwrap();
    transaction.open_table(METADATA).unwrap().insert("f", "{}").unwrap();
    transaction.open_table(VECTORS).unwrap().insert("e", encode_vector(&[1.0]).as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let some = RecordFilter::default().ids(["a", "e", "f"]);
    let keep = MergeOptions::default().filter(some).on_conflict(OnConflict::Keep);
    let report = small.manager.merge_snapshot_into(&small.newest.id, &path, &keep).await.unwrap();
    assert_eq!(counts(report.counts), [0, 0, 2, 1]);
}

#[tokio::test]
async fn a_merge_refuses_what_is_no_closed_database_of_the_same_space() {
    let small = Small::new(memory_store()).await;
    let merge = async |path: &Path| {
        let all = MergeOptions::default().on_conflict(OnConflict::Replace);
        small.manager.merge_snapshot_into(&small.newest.id, path, &all).await.unwrap_err()
    };
    let [wide, metric, absent, text] =
        ["wide.db", "metric.db", "absent.db", "text.db"].map(|name| small.dir.path(name));
    drop(VectorDB::new(options(&wide, 8)).unwrap());
    drop(
        VectorDB::new(DbOptions { distance_metric: DistanceMetric::Manhattan, ..options(&metric, DIMENSIONS) })
            .unwrap(),
    );
    std::fs::write(&text, "no database").unwrap();
    let open = small.make_other("open.db");
    let owner = VectorDB::new(options(&open, DIMENSIONS)).unwrap();
    for (path, kind, expected) in [
        (
            &wide,
            ErrorKind::InvalidInput,
            "it has 8 dimensions and Cosine, and the snapshot has 4 dimensions and Cosine",
        ),
        (&metric, ErrorKind::InvalidInput, "it has 4 dimensions and Manhattan"),
        (&absent, ErrorKind::NotFound, "absent.db"),
        (&text, ErrorKind::InvalidInput, "text.db"),
        (&open, ErrorKind::Busy, "a program has this database open; nothing was merged"),
    ] {
        let before = std::fs::read(path).ok();
        let error = merge(path).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        if kind != ErrorKind::Busy {
            assert_eq!(std::fs::read(path).ok().map(|bytes| bytes.len()), before.map(|bytes| bytes.len()));
        }
    }
    assert_eq!(owner.len().unwrap(), 4);
}

#[tokio::test]
async fn a_merge_with_any_fault_of_the_store_changes_nothing() {
    let store = memory_store();
    let small = Small::new(store.clone()).await;
    let path = small.make_other("b.db");
    let before = rows_of_file(&path);
    let all = MergeOptions::default().on_conflict(OnConflict::Replace);
    for at in 0.. {
        let (faulty, _) = FaultStore::over(store.clone(), [(at, Fault::FailFromHereOn(ErrorKind::PermissionDenied))]);
        let manager = small.dir.manager_with_store(faulty);
        match manager.merge_snapshot_into(&small.newest.id, &path, &all).await {
            Ok(report) => {
                assert!(at > 10, "only {at} steps");
                assert_eq!(counts(report.counts), [3, 2, 0, 1]);
                return;
            }
            Err(_) => assert_eq!(rows_of_file(&path), before, "a fault at step {at}"),
        }
        let restored = small.dir.restored();
        let some = filter(&["lang=de"]);
        manager.restore_part_to(&small.newest.id, &restored, &some, &Default::default()).await.unwrap_err();
        small.dir.assert_nothing_restored();
    }
}
