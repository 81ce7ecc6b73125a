//! What a snapshot captures from a database file and from a database in memory, and which sources are refused.
//! Everything that is captured is restored bit for bit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redb::TableDefinition;
use ruvector_core::types::{DbOptions, DistanceMetric, HnswConfig, QuantizationConfig};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::source::{FileOptions, FileReader, Mirror};
use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotError};
use serde_json::json;
use test_fixtures::{
    CONFIG, METADATA, StoredSnapshot, TestDir, VECTORS, contents, create_full, encode_vector, entry, json_object,
    make_database, names, options, records_of_file, rows_of_file,
};

const OPTIONS_ROW: &str = "__ruvector_db_config__";

/// The rows of a database file that Ruvector or another program may have written.
#[derive(Default)]
struct RawDatabase<'a> {
    vectors: Vec<(&'a str, Vec<u8>)>,
    metadata: Vec<(&'a str, &'a str)>,
    config: Option<Vec<(&'a str, String)>>,
}

impl RawDatabase<'_> {
    fn write(&self, path: &Path) {
        let database = redb::Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut vectors = transaction.open_table(VECTORS).unwrap();
            self.vectors.iter().for_each(|(id, value)| drop(vectors.insert(id, value.as_slice()).unwrap()));
            let mut metadata = transaction.open_table(METADATA).unwrap();
            self.metadata.iter().for_each(|(id, text)| drop(metadata.insert(id, text).unwrap()));
            if let Some(rows) = &self.config {
                let mut config = transaction.open_table(CONFIG).unwrap();
                rows.iter().for_each(|(name, value)| drop(config.insert(name, value.as_str()).unwrap()));
            }
        }
        transaction.commit().unwrap();
    }
}

fn options_row(dimensions: usize) -> Vec<(&'static str, String)> {
    vec![(OPTIONS_ROW, serde_json::to_string(&options("elsewhere.db", dimensions)).unwrap())]
}

/// Takes a snapshot of a file, verifies it and restores it. Returns the path of the restored file.
async fn snapshot_and_restore(dir: &TestDir, path: &Path) -> PathBuf {
    let manager = dir.manager();
    let snapshot = create_full(&manager, path, "restored").await.unwrap();
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert_eq!(names(&dir.path("restored")), ["restored.db"]);
    dir.restored()
}

/// Returns the error of a create, and asserts that it left nothing behind.
async fn create_error(dir: &TestDir, path: &Path) -> SnapshotError {
    let manager = dir.manager();
    let error = create_full(&manager, path, "refused").await.unwrap_err();
    manager.wait_for_cleanup().await;
    assert_eq!(names(&dir.snapshots()), Vec::<String>::new(), "{error}");
    dir.assert_scratch_empty();
    error
}

// ---- captured

#[tokio::test]
async fn an_empty_database_is_captured() {
    let dir = TestDir::new();
    drop(VectorDB::new(options(dir.path("empty.db"), 4)).unwrap());
    let restored = snapshot_and_restore(&dir, &dir.path("empty.db")).await;
    let rows = rows_of_file(&restored);
    assert!(rows.vectors.is_empty() && rows.metadata.is_empty());
    assert_eq!(VectorDB::new(options(&restored, 9)).unwrap().options().dimensions, 4);

    let db = VectorDB::new(options("memory://empty", 4)).unwrap();
    let manager = dir.manager();
    let snapshot = manager.create_snapshot(&db, "memory").await.unwrap();
    assert_eq!((snapshot.vector_count, snapshot.dimensions), (0, 4));
    assert_eq!(snapshot.checksum, "0".repeat(64));
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    assert!(manager.restore_snapshot(&snapshot.id).await.unwrap().is_empty().unwrap());
}

#[tokio::test]
async fn unusual_ids_vectors_and_metadata_are_captured_bit_for_bit() {
    let dir = TestDir::new();
    let long = "long/".repeat(20_000);
    let ids = [
        "",
        "a",
        "a\0b",
        "ünïcödé",
        "日本語",
        "עברית",
        "🦀👩‍👩‍👧",
        "\u{10FFFF}",
        "..",
        "/etc/passwd",
        "\"\\\n",
        long.as_str(),
    ];
    let odd = [
        f32::from_bits(0x7fc0_1234),
        f32::from_bits(0xff80_0001),
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.0,
        f32::from_bits(1),
        f32::MIN_POSITIVE,
        f32::MAX,
    ];
    let texts = [
        "{}",
        r#"{"n":12345678901234567890123,"x":1e-7,"y":-0.0,"z":1.0,"w":0.1}"#,
        r#"{"é":"A","a":{"b":[1,2,{"c":null}]},"":""}"#,
        "{ \"spaced\" : [ 1 , 2 ] }",
    ];
    let raw = RawDatabase {
        vectors: ids
            .iter()
            .enumerate()
            .map(|(at, id)| (*id, encode_vector(&std::array::from_fn::<f32, 8, _>(|d| odd[(at + d) % 8]))))
            .collect(),
        metadata: ids.iter().zip(texts).map(|(id, text)| (*id, text)).collect(),
        config: Some(options_row(8)),
    };
    raw.write(&dir.path("odd.db"));
    let before = rows_of_file(&dir.path("odd.db"));
    let after = rows_of_file(&snapshot_and_restore(&dir, &dir.path("odd.db")).await);
    assert!(before.vectors == after.vectors, "an id or a vector has changed");
    assert_eq!(before.vectors.len(), ids.len());
    assert_eq!(before.config, after.config);
    let expected = BTreeMap::from([
        (ids[0], "{}"),
        (ids[1], r#"{"n":12345678901234567890123,"w":0.1,"x":1e-7,"y":-0.0,"z":1.0}"#),
        (ids[2], r#"{"":"","a":{"b":[1,2,{"c":null}]},"é":"A"}"#),
        (ids[3], r#"{"spaced":[1,2]}"#),
    ]);
    let found: BTreeMap<_, _> = after.metadata.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn databases_of_several_dimensions_and_block_counts_are_captured() {
    for (rows, dimensions) in [(50, 1), (40, 3), (300, 384), (20, 4096), (5000, 256)] {
        let dir = TestDir::new();
        let path = dir.path("a.db");
        let db = make_database(&path, rows, dimensions, 5);
        let restored = snapshot_and_restore(&dir, &path).await;
        assert!(records_of_file(&path) == records_of_file(&restored), "{rows} x {dimensions}");
        let manager = dir.manager();
        let id = &manager.list_snapshots().await.unwrap()[0].id;
        let blocks = StoredSnapshot::read(&dir.snapshots(), id).metadata().blocks;
        assert_eq!(blocks > 2, rows == 5000, "{blocks} blocks");
        assert!(contents(&manager.restore_snapshot(id).await.unwrap()) == contents(&db), "{rows} x {dimensions}");
    }
}

#[tokio::test]
async fn database_options_and_config_rows_are_captured() {
    let dir = TestDir::new();
    let path = dir.path("turbo.db");
    let hnsw_config = HnswConfig { m: 8, ef_construction: 20, ef_search: 21, max_elements: 64 };
    let quantization = QuantizationConfig::Turbo4 {
        rotation_seed: 77,
        rescore_multiplier: 3,
        policy: Default::default(),
        search_quantization: Default::default(),
    };
    let created_with = DbOptions {
        distance_metric: DistanceMetric::DotProduct,
        hnsw_config: Some(hnsw_config),
        quantization: Some(quantization),
        ..options(&path, 8)
    };
    let db = VectorDB::new(created_with).unwrap();
    db.save_config_value("__ruvector_embedding_space__", "{\"model\": \"x\"}").unwrap();
    db.save_config_value("application", "whatever ünï").unwrap();
    db.insert_batch((0..20).map(|at| entry(format!("{at}"), at, 8, 9)).collect::<Vec<_>>()).unwrap();
    let manager = dir.manager();
    let snapshot = manager.create_snapshot(&db, "turbo").await.unwrap();
    assert_eq!(snapshot.distance_metric.as_deref(), Some("DotProduct"));
    assert_eq!(snapshot.source.kind, "file");
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    let rows = rows_of_file(&dir.restored());
    assert_eq!(rows.config, rows_of_file(&path).config);
    assert_eq!(rows.config.len(), 4, "the options, the provenance and the two saved rows: {:?}", rows.config);

    let without_path = |options: &DbOptions| {
        let mut json = serde_json::to_value(options).unwrap();
        json.as_object_mut().unwrap().remove("storage_path");
        json
    };
    let from_file = VectorDB::new(options(dir.restored(), 3)).unwrap();
    let in_memory = manager.restore_snapshot(&snapshot.id).await.unwrap();
    for restored in [&from_file, &in_memory] {
        assert_eq!(without_path(restored.options()), without_path(db.options()));
        assert!(contents(restored) == contents(&db));
        assert_eq!(restored.load_config_value("application").unwrap().unwrap(), "whatever ünï");
        assert_eq!(
            restored.load_config_value("turbo4_provenance").unwrap(),
            db.load_config_value("turbo4_provenance").unwrap()
        );
    }

    // Of a database in memory, only the config rows that Ruvector itself writes can be read.
    let again = manager.create_snapshot(&in_memory, "memory").await.unwrap();
    assert_eq!((again.source.kind.as_str(), again.source.transaction_id), ("memory", None));
    assert_eq!(again.checksum, snapshot.checksum);
    let twice = manager.restore_snapshot(&again.id).await.unwrap();
    assert_eq!(without_path(twice.options()), without_path(db.options()));
    assert_eq!(twice.load_config_value("__ruvector_embedding_space__").unwrap().unwrap(), "{\"model\": \"x\"}");
}

#[tokio::test]
async fn a_database_file_without_stored_options_is_captured() {
    let dir = TestDir::new();
    let path = dir.path("old.db");
    let vectors = vec![("a", encode_vector(&[1.0, 2.0, 3.0])), ("b", encode_vector(&[4.0, 5.0, 6.0]))];
    RawDatabase { vectors, metadata: vec![("b", r#"{"k":1}"#)], config: None }.write(&path);
    let restored = snapshot_and_restore(&dir, &path).await;
    let rows = rows_of_file(&restored);
    assert_eq!(rows.vectors["b"], encode_vector(&[4.0, 5.0, 6.0]));
    assert_eq!(rows.metadata, BTreeMap::from([("b".to_owned(), r#"{"k":1}"#.to_owned())]));
    assert!(rows.config.is_empty(), "options were invented: {:?}", rows.config);
    let snapshot = dir.manager().list_snapshots().await.unwrap().remove(0);
    assert_eq!((snapshot.dimensions, snapshot.distance_metric), (3, None));
    let db = VectorDB::new(options(&restored, 3)).unwrap();
    assert_eq!(db.get("a").unwrap().unwrap().vector, [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn a_database_with_a_multimap_table_is_read_through_a_mirror_and_the_table_is_reported() {
    let dir = TestDir::new();
    let path = dir.path("more.db");
    drop(make_database(&path, 50, 4, 1));
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let groups: redb::MultimapTableDefinition<'_, u64, &str> = redb::MultimapTableDefinition::new("groups");
    transaction.open_multimap_table(groups).unwrap().insert(1, "x").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let file_options = |mirror| FileOptions::default().scratch_dir(dir.scratch()).mirror(mirror);
    assert_eq!(FileReader::open(&path, &file_options(Mirror::Never)).unwrap_err().kind(), ErrorKind::Busy);
    for mirror in [Mirror::WhenWritten, Mirror::AtOnce] {
        assert!(FileReader::open(&path, &file_options(mirror)).is_ok());
    }

    let expected = records_of_file(&path);
    let restored = snapshot_and_restore(&dir, &path).await;
    assert!(records_of_file(&restored) == expected);
    let snapshot = dir.manager().list_snapshots().await.unwrap().remove(0);
    assert_eq!(snapshot.source.not_captured, ["table \"groups\" (a multimap table)"]);
    let clean = create_full(&dir.manager(), &restored, "clean").await.unwrap();
    assert_eq!(clean.source.not_captured, Vec::<String>::new());
    dir.assert_scratch_empty();
    // The mirror needs the scratch directory.
    std::fs::remove_dir(dir.scratch()).unwrap();
    let error = create_full(&dir.manager(), &path, "no mirror").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(names(&dir.snapshots()).len(), 2);
}

#[tokio::test]
async fn a_database_in_memory_is_captured() {
    let dir = TestDir::new();
    let db = VectorDB::new(options("memory://mine", 5)).unwrap();
    db.insert_batch((0..200).map(|at| entry(format!("ключ-{at}"), at, 5, 3)).collect::<Vec<_>>()).unwrap();
    let odd = [f32::NAN, -0.0, f32::INFINITY, f32::from_bits(3), 1.0];
    let entry = |id: &str, metadata| VectorEntry { id: Some(id.into()), vector: odd.to_vec(), metadata };
    db.insert(entry("", json_object(json!({})))).unwrap();
    db.insert(entry("nested", json_object(json!({"a": {"b": [1, -2.5e-9, u64::MAX, i64::MIN]}, "é": null})))).unwrap();
    let manager = dir.manager();
    let snapshot = manager.create_snapshot(&db, "memory").await.unwrap();
    assert_eq!(snapshot.vector_count, 202);
    assert!(contents(&manager.restore_snapshot(&snapshot.id).await.unwrap()) == contents(&db));
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    let in_file = VectorDB::new(options(dir.restored(), 1)).unwrap();
    assert!(contents(&in_file) == contents(&db));
    assert_eq!(in_file.options().dimensions, 5);
    assert_eq!(in_file.options().distance_metric, db.options().distance_metric);
    // The checksum depends on the records, not on the kind of source.
    let again = manager.create_snapshot(&in_file, "file").await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
}

// ---- refused

#[tokio::test]
async fn a_path_that_is_not_a_database_is_refused() {
    let dir = TestDir::new();
    let missing = create_error(&dir, &dir.path("missing.db")).await;
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing:?}");
    assert!(missing.to_string().contains("missing.db"), "{missing}");
    assert!(!dir.path("missing.db").exists(), "a database was created");

    let directory = create_error(&dir, &dir.path("restored")).await;
    assert_eq!(directory.kind(), ErrorKind::InvalidInput, "{directory:?}");

    for (name, bytes) in [("text", &b"hello, this is some text\n".repeat(1000)[..]), ("empty", b""), ("short", b"redb")]
    {
        let path = dir.path(name);
        std::fs::write(&path, bytes).unwrap();
        let error = create_error(&dir, &path).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the file was modified");
    }
}

#[tokio::test]
async fn a_redb_file_of_another_application_is_refused() {
    let dir = TestDir::new();
    let write = |name: &str, fill: &dyn Fn(&redb::WriteTransaction)| {
        let database = redb::Database::create(dir.path(name)).unwrap();
        let transaction = database.begin_write().unwrap();
        fill(&transaction);
        transaction.commit().unwrap();
        dir.path(name)
    };
    let nothing = write("nothing.db", &|_| {});
    let others = write("others.db", &|transaction| {
        let table: TableDefinition<'_, u64, u64> = TableDefinition::new("counters");
        transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    });
    let types = write("types.db", &|transaction| {
        let vectors: TableDefinition<'_, &str, &str> = TableDefinition::new("vectors");
        transaction.open_table(vectors).unwrap().insert("a", "b").unwrap();
        transaction.open_table(METADATA).unwrap();
    });
    let half = write("half.db", &|transaction| drop(transaction.open_table(VECTORS).unwrap()));
    let multimap = write("multimap.db", &|transaction| {
        let vectors: redb::MultimapTableDefinition<'_, &str, &[u8]> = redb::MultimapTableDefinition::new("vectors");
        transaction.open_multimap_table(vectors).unwrap().insert("a", &[1u8][..]).unwrap();
        transaction.open_table(METADATA).unwrap();
    });
    for path in [nothing, others, types, half, multimap] {
        let error = create_error(&dir, &path).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}: {error:?}", path.display());
        assert!(error.to_string().contains("not a Ruvector database"), "{error}");
    }
}

#[tokio::test]
async fn options_of_a_newer_ruvector_are_refused() {
    let dir = TestDir::new();
    let path = dir.path("newer.db");
    let config = Some(vec![(OPTIONS_ROW, "{\"dimensions\":2,\"distance_metric\":\"Hamming\"}".to_owned())]);
    RawDatabase { vectors: vec![("a", encode_vector(&[1.0, 2.0]))], metadata: vec![], config }.write(&path);
    assert_eq!(create_error(&dir, &path).await.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_corrupt_database_file_is_refused() {
    let dir = TestDir::new();
    let path = dir.path("corrupt.db");
    drop(make_database(&path, 500, 16, 11));
    let bytes = std::fs::read(&path).unwrap();
    for row in [0, 250, 499] {
        let vector = entry("x".into(), row, 16, 11).vector;
        let needle = encode_vector(&vector);
        let matches: Vec<_> = bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle).collect();
        assert!(!matches.is_empty(), "the vector of row {row} is not in the file");
        let mut corrupt = bytes.clone();
        for (at, _) in matches {
            corrupt[at + 20] ^= 0x40;
        }
        std::fs::write(&path, corrupt).unwrap();
        let error = create_error(&dir, &path).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "row {row}: {error:?}");
    }
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(create_error(&dir, &path).await.kind(), ErrorKind::Corrupt);
    std::fs::write(&path, &bytes).unwrap();
    snapshot_and_restore(&dir, &path).await;
}
