//! Plans of what creates snapshots: a create, a compaction and an import. Each says what the verb then stores, fails as the
//! verb does, and writes nothing.

use std::path::Path;

use chrono::TimeDelta;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::clock::Clock as _;
use ruvector_snapshot::{
    CreateOptions, CreatePlan, ErrorKind, ImportOptions, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager,
};
use test_fixtures::{
    Published, TestDir, TickingClock, entry, flip_bit_in_the_middle, make_database, make_many_blocks, options,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::increments::fixture::files;

/// Asserts that the plan has said what was stored.
#[track_caller]
fn assert_agrees(plan: &CreatePlan, snapshot: &Snapshot, what: &str) {
    let records = (plan.records, plan.dimensions, &plan.distance_metric);
    let stored = (snapshot.vector_count as u64, snapshot.dimensions as u64, &snapshot.distance_metric);
    assert_eq!((records, &plan.name, &plan.checksum), (stored, &snapshot.name, &snapshot.checksum), "{what}");
    assert_eq!((&plan.source, &plan.embedding), (&snapshot.source, &snapshot.embedding), "{what}");
    assert_eq!((&plan.irregular, &plan.changes), (&snapshot.irregular, &snapshot.changes), "{what}");
    assert_eq!(
        (plan.chain.last().map(String::as_str), plan.raw_bytes),
        (snapshot.base_id(), snapshot.raw_bytes),
        "{what}"
    );
    let (stored, most) = (snapshot.size_bytes, plan.stored_bytes_max);
    assert!(stored <= most && most <= plan.raw_bytes * 5 / 4 + (8 << 10), "{what}: {stored} of {plan:?}");
}

/// Random vectors, vectors that are all the same, records without metadata, large metadata, several blocks, no records.
fn databases(dir: &TestDir) -> Vec<(&'static str, VectorDB)> {
    let empty = VectorDB::new(options(dir.path("empty.db"), 8)).unwrap();
    let same = VectorDB::new(options(dir.path("same.db"), 64)).unwrap();
    let row = |row: usize| VectorEntry { id: Some(format!("{row:05}")), vector: vec![0.5; 64], metadata: None };
    same.insert_batch((0..2000).map(row).collect::<Vec<_>>()).unwrap();
    let random = make_database(&dir.path("random.db"), 3000, 32, 1);
    let blocks = make_many_blocks(&dir.path("blocks.db"), 4000, 1);
    vec![("empty", empty), ("same", same), ("random", random), ("blocks", blocks)]
}

#[tokio::test]
async fn a_create_stores_what_its_plan_says_at_every_level() {
    let dir = TestDir::new();
    let databases = databases(&dir);
    for level in [0, 1, 6, 9] {
        let config = SnapshotConfig { compression: level > 0, compression_level: level.max(1), ..dir.config() };
        let manager = SnapshotManager::new(config).unwrap();
        for (name, _) in &databases {
            let (what, path) = (format!("{name} at {level}"), dir.path(&format!("{name}.db")));
            let options = CreateOptions::default().label("a", "b").note("a note");
            let before = files(&dir.snapshots());
            let plan = manager.plan_create_of_file(&path, name, &options).await.unwrap();
            assert!(files(&dir.snapshots()) == before, "{what}");
            assert_eq!((plan.store_is_new, plan.file_bytes), (before.is_empty(), path.metadata().unwrap().len()));
            let snapshot = manager.create_snapshot_of_file(&path, name, &options).await.unwrap();
            assert_agrees(&plan, &snapshot, &what);
            if level == 0 {
                assert!(plan.stored_bytes_max - snapshot.size_bytes < 64, "{what}: {plan:?}");
            }
        }
    }
    dir.assert_scratch_empty();
}

#[tokio::test]
async fn a_plan_at_a_full_second_holds_for_a_create_at_a_fraction_of_one() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    drop(make_database(&path, 10, 8, 1));
    let manager = || SnapshotManager::new(SnapshotConfig { compression: false, ..dir.config() }).unwrap();
    let planning = manager().with_clock(TickingClock::seconds_from_year(2020));
    let fractions = TickingClock::from_year(2020, TimeDelta::nanoseconds(111_111_111));
    fractions.now();
    let plan = planning.plan_create_of_file(&path, "a", &CreateOptions::default()).await.unwrap();
    let creating = manager().with_clock(fractions);
    let snapshot = creating.create_snapshot_of_file(&path, "a", &CreateOptions::default()).await.unwrap();
    assert_eq!(plan.created_at.timestamp_subsec_nanos(), 0);
    assert_ne!(snapshot.created_at.timestamp_subsec_nanos() % 1000, 0);
    assert_agrees(&plan, &snapshot, "another fraction");
}

#[tokio::test]
async fn an_increment_and_a_compaction_store_what_their_plans_say() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("a.db");
    let db = make_database(&path, 500, 8, 1);
    let mut base = manager.create_snapshot_of_file(&path, "a", &CreateOptions::default()).await.unwrap();
    let mut chain = vec![base.id.clone()];
    for round in 0..3 {
        db.insert(entry(format!("new-{round}"), round, 8, 2)).unwrap();
        db.insert(entry("id-000001".to_owned(), round, 8, 3)).unwrap();
        db.delete(&format!("id-00010{round}")).unwrap();
        let options = CreateOptions::default().base_id(&base.id);
        let before = files(&dir.snapshots());
        let plan = manager.plan_create_of_file(&path, "a", &options).await.unwrap();
        assert!(files(&dir.snapshots()) == before && !plan.store_is_new, "{plan:?}");
        assert_eq!(plan.chain, chain);
        base = manager.create_snapshot_of_file(&path, "a", &options).await.unwrap();
        assert_agrees(&plan, &base, "an increment");
        chain.push(base.id.clone());
        let before = files(&dir.snapshots());
        let plan = manager.plan_compact(&base.id).await.unwrap();
        assert!(files(&dir.snapshots()) == before, "{plan:?}");
        let full = manager.compact_snapshot(&base.id, None).await.unwrap();
        assert_eq!((&plan.chain, plan.records, &plan.checksum), (&chain, 500, &full.checksum));
        assert!(full.size_bytes <= plan.stored_bytes_max, "{} of {plan:?}", full.size_bytes);
        let sizes: u64 = manager.chain(&base.id).await.unwrap().iter().map(|member| member.size_bytes).sum();
        assert_eq!(plan.chain_bytes, sizes);
    }
    let error = manager.plan_compact(&chain[0]).await.unwrap_err();
    assert_eq!(error.to_string(), manager.compact_snapshot(&chain[0], None).await.unwrap_err().to_string());
}

/// Asserts that the plan of a create fails as the create does, and returns the error.
async fn refused(manager: &SnapshotManager, path: &Path, options: &CreateOptions) -> SnapshotError {
    let planned = manager.plan_create_of_file(path, "a", options).await.unwrap_err();
    let created = manager.create_snapshot_of_file(path, "a", options).await.unwrap_err();
    assert_eq!((planned.kind(), planned.to_string()), (created.kind(), created.to_string()));
    planned
}

#[tokio::test]
async fn what_a_create_refuses_its_plan_refuses_too() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let (path, other) = (dir.path("a.db"), dir.path("b.db"));
    let db = make_database(&path, 50, 4, 1);
    drop(make_database(&other, 50, 5, 1));
    let snapshot = manager.create_snapshot_of_file(&path, "a", &CreateOptions::default()).await.unwrap();
    let on_base = CreateOptions::default().base_id(&snapshot.id);
    let before = files(&dir.snapshots());
    assert_eq!(refused(&manager, &dir.path("c.db"), &CreateOptions::default()).await.kind(), ErrorKind::NotFound);
    let missing = CreateOptions::default().base_id("20200101T000000000Z-0123456789abcdef");
    assert_eq!(refused(&manager, &path, &missing).await.kind(), ErrorKind::NotFound);
    refused(&manager, &other, &on_base).await;
    refused(&manager, &other, &on_base.clone().base_from_elsewhere(true)).await;
    let long = SnapshotManager::new(SnapshotConfig { max_chain_length: 1, ..dir.config() }).unwrap();
    refused(&long, &path, &on_base).await;
    std::fs::write(dir.path("a.db.agentic"), "more").unwrap();
    refused(&manager, &path, &CreateOptions::default().strict(true)).await;
    // The clock is behind the base.
    let behind = manager.clone().with_clock(TickingClock::seconds_from_year(2020));
    refused(&behind, &path, &on_base).await;
    assert!(files(&dir.snapshots()) == before);
    // The vectors of the base are not read, unless the base is verified.
    db.insert(entry("new".to_owned(), 1, 4, 2)).unwrap();
    flip_bit_in_the_middle(&dir.snapshots().join(format!("snapshot-{}/vectors.bin.gz", snapshot.id)));
    let _plan = manager.plan_create_of_file(&path, "a", &on_base).await.unwrap();
    let error = refused(&manager, &path, &on_base.clone().verify_base(true)).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn an_import_stores_what_its_plan_says() {
    let dir = TestDir::new();
    let server = S3Server::start();
    let manager = dir.manager_with_store(s3_store(&server, "backups"));
    let published = Published::of_entries(8, (0..700).map(|row| entry(format!("id-{row}"), row, 8, 1)));
    let path = published.write(&dir.path(""), "articles");
    let options = ImportOptions::default().name("old").label("host", "db1");
    let plan = manager.plan_import(&path, &options).await.unwrap();
    assert_eq!((server.objects().len(), server.open_uploads()), (0, 0));
    assert!(plan.store_is_new && plan.is_verified, "{plan:?}");
    let snapshot = manager.import_file(&path, &options).await.unwrap();
    assert_eq!((&plan.name, plan.created_at, &plan.labels), (&snapshot.name, snapshot.created_at, &snapshot.labels));
    assert_eq!((&plan.checksum, plan.raw_bytes), (&snapshot.checksum, snapshot.raw_bytes));
    assert_eq!((plan.records, &plan.source), (700, &snapshot.source));
    assert!(snapshot.size_bytes <= plan.stored_bytes_max, "{} of {plan:?}", snapshot.size_bytes);
    let contents = published.contents();
    let cut = published.write_contents(&dir.path(""), "cut", &contents[..contents.len() - 1]);
    for (path, kind) in [(cut, ErrorKind::Corrupt), (dir.path("missing.snapshot.gz"), ErrorKind::NotFound)] {
        let planned = manager.plan_import(&path, &options).await.unwrap_err();
        let imported = manager.import_file(&path, &options).await.unwrap_err();
        assert_eq!((planned.kind(), planned.to_string()), (kind, imported.to_string()));
    }
}
