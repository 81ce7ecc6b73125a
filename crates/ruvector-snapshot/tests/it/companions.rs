//! What belongs to a database and is not in its snapshots: files beside it. They are recorded, or a strict create fails.

use std::sync::Arc;

use ruvector_core::{AgenticDB, VectorDB};
use ruvector_snapshot::source::{FileSource, SnapshotSource, SourceReader};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CreateOptions, DatabaseInfo, ErrorKind, Record, RestoreOptions, SnapshotError, SnapshotManager,
};
use test_fixtures::{TestDir, make_database, objects, options};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;

/// Runs a test on a disk, and in a bucket.
async fn on_each_store(test: impl AsyncFn(&TestDir, &Arc<dyn SnapshotStore>)) {
    let dir = TestDir::new();
    test(&dir, &dir.local_store()).await;
    let server = S3Server::start();
    test(&TestDir::new(), &s3_store(&server, "backups")).await;
}

fn paths(not_captured: &[String]) -> Vec<&str> {
    not_captured.iter().map(|what| what.split_once(": ").unwrap().0).collect()
}

fn path(dir: &TestDir, name: &str) -> String {
    dir.path(name).to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_file_of_a_real_agentic_database_is_recorded() {
    on_each_store(async |dir, store| {
        let manager = dir.manager_with_store(store.clone());
        let database = dir.path("memory.db");
        let agentic = AgenticDB::new(options(&database, 8)).unwrap();
        agentic.store_episode("task".into(), vec!["act".into()], vec!["seen".into()], "critique".into()).unwrap();
        let sidecar = path(dir, "memory.db.agentic");
        let options = CreateOptions::default();
        let full = manager.create_snapshot_of_file(&database, "full", &options).await.unwrap();
        assert_eq!(paths(&full.source.not_captured), [&*sidecar]);
        assert!(full.source.not_captured[0].contains("episodes"), "{full:?}");

        let error = SnapshotManager::check_source(&sidecar, manager.config()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        for part in ["the second file of AgenticDB", &path(dir, "memory.db"), "copy"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        drop(agentic);
        // Every way to a snapshot of the file, and what is made of it.
        let custom = manager.create_from(&FileSource::new(&database), "custom", &options).await.unwrap();
        let db = VectorDB::new(test_fixtures::options(&database, 8)).unwrap();
        let open = manager.create_snapshot_with(&db, "open", &options).await.unwrap();
        let on_full = options.clone().base_id(&full.id);
        let increment = manager.create_snapshot_of_file(&database, "increment", &on_full).await.unwrap();
        let compacted = manager.compact_snapshot(&increment.id, None).await.unwrap();
        let restored = dir.restored();
        let restore = manager.restore_snapshot_to(&full.id, &restored, &RestoreOptions::default()).await.unwrap();
        for snapshot in [custom, open, increment, compacted, restore] {
            assert_eq!(snapshot.source.not_captured, full.source.not_captured, "{}", snapshot.name);
        }
        // Beside the restored file there is none.
        let again = manager.create_snapshot_of_file(&restored, "again", &options).await.unwrap();
        assert_eq!(again.source.not_captured, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_create_stores_nothing_that_is_incomplete() {
    on_each_store(async |dir, store| {
        let manager = dir.manager_with_store(store.clone());
        let strict = CreateOptions::default().strict(true);
        let database = dir.path("a.db");
        drop(make_database(&database, 30, 4, 1));
        let full = manager.create_snapshot_of_file(&database, "complete", &strict).await.unwrap();
        std::fs::write(dir.path("a.db.meta.json"), "{}").unwrap();
        let before = objects(store.as_ref()).await;
        let assert_refused = |answer: Result<(), SnapshotError>| {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(&path(dir, "a.db.meta.json")), "{error}");
        };
        let on_full = strict.clone().base_id(&full.id);
        for options in [&strict, &on_full] {
            assert_refused(manager.create_snapshot_of_file(&database, "x", options).await.map(drop));
            assert_refused(manager.create_from(&FileSource::new(&database), "x", options).await.map(drop));
            assert_refused(SnapshotManager::check_source_with(&database, manager.config(), options).await);
        }
        let db = VectorDB::new(options(&database, 4)).unwrap();
        assert_refused(manager.create_snapshot_with(&db, "x", &strict).await.map(drop));
        assert!(objects(store.as_ref()).await == before);
        std::fs::remove_file(dir.path("a.db.meta.json")).unwrap();
        manager.create_snapshot_of_file(&database, "complete", &on_full).await.unwrap();
    })
    .await;
}

/// A source that only knows at its end that it has left something out.
#[derive(Debug)]
struct LateLoss;

struct LateLossReader {
    database: DatabaseInfo,
    records: usize,
}

impl SnapshotSource for LateLoss {
    fn open(&self) -> Result<Box<dyn SourceReader>, SnapshotError> {
        Ok(Box::new(LateLossReader { database: DatabaseInfo::new(2), records: 0 }))
    }
}

impl SourceReader for LateLossReader {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>, SnapshotError> {
        self.records += 1;
        let record = Record { id: "only", vector: &[0; 8], metadata: None };
        Ok((self.records == 1).then_some(record))
    }

    fn not_captured(&self) -> Vec<String> {
        if self.records > 1 { vec!["a row that is known at the end".to_owned()] } else { Vec::new() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_create_discards_what_turns_out_to_be_incomplete() {
    on_each_store(async |dir, store| {
        let manager = dir.manager_with_store(store.clone());
        let strict = CreateOptions::default().strict(true);
        let error = manager.create_from(&LateLoss, "late", &strict).await.unwrap_err();
        assert!(error.to_string().contains("a row that is known at the end"), "{error}");
        assert!(objects(store.as_ref()).await.is_empty());
        let kept = manager.create_from(&LateLoss, "late", &CreateOptions::default()).await.unwrap();
        assert_eq!(kept.source.not_captured, ["a row that is known at the end"]);
    })
    .await;
}
