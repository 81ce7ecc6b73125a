//! Where a record is: in which snapshots of a store, and where it changed, read from indexes.

use chrono::TimeDelta;
use redb::Database;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{CreateOptions, FindReport, RecordState, Snapshot, SnapshotConfig, SnapshotManager};
use ruvector_snapshot_format::layout::{self, DataFile};
use test_fixtures::{
    CountingStore, TestDir, TickingClock, create_full, entry, json_object, make_many_blocks, memory_store, options,
    rows_of_file,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::three_snapshots::key;
use RecordState::{Absent, Added, Changed, MetadataChanged, Removed, Same, Unknown, VectorChanged};

fn states(report: &FindReport) -> Vec<RecordState> {
    report.snapshots.iter().rev().map(|found| found.state).collect()
}

#[tokio::test]
async fn find_says_what_became_of_a_record_from_snapshot_to_snapshot() {
    let server = S3Server::start();
    for store in [memory_store(), s3_store(&server, "found")] {
        let dir = TestDir::new();
        let clock = TickingClock::from_year(2020, TimeDelta::minutes(1));
        let config = SnapshotConfig { source_name: Some("one".to_owned()), ..dir.config() };
        let manager = SnapshotManager::with_store(config, store.clone()).unwrap().with_clock(clock);
        let path = dir.path("a.db");
        let change = |change: &dyn Fn(&VectorDB)| change(&VectorDB::new(options(&path, 4)).unwrap());
        let record = |value: f32, n: i32| VectorEntry {
            id: Some("x".to_owned()),
            vector: vec![value; 4],
            metadata: json_object(serde_json::json!({ "n": n })),
        };
        let mut taken: Vec<Snapshot> = Vec::new();
        let mut take = async |is_full: bool| {
            let base = taken.last().filter(|_| !is_full);
            let options = base.iter().fold(CreateOptions::default(), |options, base| options.base_id(&base.id));
            taken.push(manager.create_snapshot_of_file(&path, "s", &options).await.unwrap());
        };
        change(&|db| drop(db.insert(entry("other".to_owned(), 1, 4, 1)).unwrap()));
        take(true).await;
        take(false).await;
        change(&|db| drop(db.insert(record(1.0, 1)).unwrap()));
        take(false).await;
        change(&|db| drop(db.insert(entry("later".to_owned(), 1, 4, 1)).unwrap()));
        take(false).await;
        change(&|db| drop(db.insert(record(1.0, 2)).unwrap()));
        take(false).await;
        change(&|db| drop(db.insert(record(2.0, 2)).unwrap()));
        take(false).await;
        take(true).await;
        change(&|db| drop(db.insert(record(2.0, 3)).unwrap()));
        take(true).await;
        change(&|db| assert!(db.delete("x").unwrap()));
        take(false).await;
        take(false).await;
        change(&|db| drop(db.insert(record(2.0, 3)).unwrap()));
        take(true).await;
        // Of another source: it is compared with none of the others.
        let other = CreateOptions::default().source_name("another");
        manager.create_snapshot_of_file(&path, "t", &other).await.unwrap();

        let report = manager.find_record("x").await.unwrap();
        let expected =
            [Absent, Absent, Added, Same, MetadataChanged, VectorChanged, Same, Changed, Removed, Absent, Added, Added];
        assert_eq!(states(&report), expected);
        assert!(report.is_found() && report.problems.is_empty());
        let digests: Vec<_> = report.snapshots.iter().map(|found| found.digest.is_some()).collect();
        let present: Vec<_> = report.snapshots.iter().map(|found| found.state.is_present()).collect();
        assert_eq!(digests, present);
        assert_eq!(report.snapshots[0].digest, report.snapshots[1].digest);
        for absent in ["", "w", "xx", "zzz"] {
            let report = manager.find_record(absent).await.unwrap();
            assert!(!report.is_found(), "{report:?}");
            assert!(states(&report).into_iter().all(|state| state == Absent));
        }

        // The base of the second chain is lost: its increments are not known, and the others are.
        store.delete(&key(&taken[7].id, layout::METADATA_JSON)).await.unwrap();
        let report = manager.find_record("x").await.unwrap();
        let expected =
            [Absent, Absent, Added, Same, MetadataChanged, VectorChanged, Same, Unknown, Unknown, Same, Added];
        let found = states(&report);
        // The last full snapshot of the source is compared with the newest one that is known: it has other metadata.
        assert_eq!(found[..9], expected[..9]);
        assert_eq!(found[9], Changed);
        // The lost one may be of its source, too.
        assert_eq!(found[10], RecordState::Present);
    }
}

/// An increment stores the vector of such a record whenever it changes.
#[tokio::test]
async fn find_does_not_say_what_has_changed_of_a_record_with_large_metadata() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    let clock = TickingClock::from_year(2020, TimeDelta::minutes(1));
    let manager = SnapshotManager::with_store(dir.config(), memory_store()).unwrap().with_clock(clock);
    let insert = |n: i32, text_bytes: usize| {
        let metadata = json_object(serde_json::json!({ "n": n, "text": "x".repeat(text_bytes) }));
        let db = VectorDB::new(options(&path, 4)).unwrap();
        db.insert(VectorEntry { id: Some("x".to_owned()), vector: vec![1.0; 4], metadata }).unwrap();
    };
    let mut base_id: Option<String> = None;
    for (n, text_bytes) in [(1, 5 << 20), (2, 5 << 20), (3, 10), (4, 10), (5, 5 << 20)] {
        insert(n, text_bytes);
        let options = base_id.iter().fold(CreateOptions::default(), |options, base_id| options.base_id(base_id));
        base_id = Some(manager.create_snapshot_of_file(&path, "s", &options).await.unwrap().id);
    }
    let report = manager.find_record("x").await.unwrap();
    let found = states(&report);
    assert_eq!((found[0], found[1], found[3]), (Added, Changed, MetadataChanged));
    // The vector never changes.
    assert!(found[1..].iter().all(|state| [Changed, MetadataChanged].contains(state)), "{found:?}");
}

#[tokio::test]
async fn find_reads_one_piece_of_each_index_and_neither_vectors_nor_metadata() {
    let dir = TestDir::new();
    let (path, store) = (dir.path("a.db"), CountingStore::over(memory_store()));
    let manager = dir.manager_with_store(store.clone());
    drop(make_many_blocks(&path, 6000, 1));
    let full = create_full(&manager, &path, "full").await.unwrap();
    let on_full = CreateOptions::default().base_id(&full.id);
    let newest = manager.create_snapshot_of_file(&path, "newest", &on_full).await.unwrap();
    let record_id = rows_of_file(&path).vectors.into_keys().nth(5000).unwrap();
    store.take_bytes_read();
    let report = manager.find_record(&record_id).await.unwrap();
    assert_eq!(states(&report), [Added, Same]);
    let read = store.take_bytes_read();
    for snapshot in [&full, &newest] {
        for file in [DataFile::Vectors, DataFile::Payloads] {
            assert_eq!(read.get(&key(&snapshot.id, file.name())), None);
        }
        let index_bytes = snapshot.files[DataFile::Index.name()];
        let index_read = read[&key(&snapshot.id, DataFile::Index.name())];
        assert!(snapshot.id != full.id || index_read * 2 < index_bytes, "{index_read} of {index_bytes}");
    }
}

#[tokio::test]
async fn a_snapshot_whose_index_is_corrupt_is_unknown_and_the_others_are_not() {
    let dir = TestDir::new();
    let (path, manager) = (dir.path("a.db"), dir.manager());
    drop(test_fixtures::make_database(&path, 10, 4, 1));
    let full = create_full(&manager, &path, "full").await.unwrap();
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(test_fixtures::METADATA).unwrap().insert("id-000001", "{\"n\":2}").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let on_full = CreateOptions::default().base_id(&full.id);
    let newest = manager.create_snapshot_of_file(&path, "newest", &on_full).await.unwrap();
    let stored = test_fixtures::StoredSnapshot::read(&dir.snapshots(), &newest.id);
    let index = stored.file(DataFile::Index.name());
    let mut corrupt = index.to_vec();
    let piece = stored.entries()[0].range(DataFile::Index);
    corrupt[piece.start as usize + 12] ^= 1;
    stored.put(DataFile::Index.name(), &corrupt);
    let report = manager.find_record("id-000001").await.unwrap();
    assert_eq!(states(&report), [Added, Unknown]);
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].contains(&newest.id), "{:?}", report.problems);
    stored.repair();
    assert_eq!(states(&manager.find_record("id-000001").await.unwrap()), [Added, MetadataChanged]);
}
