//! What a create captures, from files and from memory, and what it refuses: word for word, bit for bit, and where a
//! restore puts it back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{CONFIG, METADATA, Place, VECTORS, contents, encoded, make_database, map, names, options, rows_of_file};
use redb::TableDefinition;
use ruvector_core::types::{DbOptions, DistanceMetric, HnswConfig, QuantizationConfig};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::source::file::{FileOptions, FileSource, Mirror};
use ruvector_snapshot::{CreateOptions, ErrorKind, RestoreOptions, SnapshotError};
use serde_json::json;

const OPTIONS_ROW: &str = "__ruvector_db_config__";

/// A database file made row by row, as Ruvector or something else might have left it.
#[derive(Default)]
struct Raw<'a> {
    vectors: Vec<(&'a str, Vec<u8>)>,
    metadata: Vec<(&'a str, &'a str)>,
    config: Option<Vec<(&'a str, String)>>,
}

impl Raw<'_> {
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

/// Captures a file, verifies, restores it, and returns where.
async fn through_a_snapshot(place: &Place, path: &Path) -> std::path::PathBuf {
    let manager = place.manager();
    let snapshot = manager.create_snapshot_of_file(path, "through", &CreateOptions::default()).await.unwrap();
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    manager.restore_snapshot_to(&snapshot.id, place.restored(), &RestoreOptions::default()).await.unwrap();
    assert_eq!(names(&place.path("restored")), ["restored.db"]);
    place.restored()
}

async fn refusal(place: &Place, path: &Path) -> SnapshotError {
    let manager = place.manager();
    let error = manager.create_snapshot_of_file(path, "refused", &CreateOptions::default()).await.unwrap_err();
    manager.settle().await;
    assert_eq!(names(&place.snapshots()), Vec::<String>::new(), "{error}");
    place.assert_scratch_empty();
    error
}

// ---- what is captured

#[tokio::test]
async fn an_empty_database() {
    let place = Place::new();
    drop(VectorDB::new(options(place.path("empty.db"), 4)).unwrap());
    let restored = through_a_snapshot(&place, &place.path("empty.db")).await;
    let rows = rows_of_file(&restored);
    assert!(rows.vectors.is_empty() && rows.metadata.is_empty());
    assert_eq!(VectorDB::new(options(&restored, 9)).unwrap().options().dimensions, 4);

    let db = VectorDB::new(options("memory://empty", 4)).unwrap();
    let manager = place.manager();
    let snapshot = manager.create_snapshot(&db, "memory").await.unwrap();
    assert_eq!((snapshot.vector_count, snapshot.dimensions), (0, 4));
    assert_eq!(snapshot.checksum, "0".repeat(64));
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    assert!(manager.restore_snapshot(&snapshot.id).await.unwrap().is_empty().unwrap());
}

#[tokio::test]
async fn ids_vectors_and_metadata_of_every_kind() {
    let place = Place::new();
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
    let raw = Raw {
        vectors: ids
            .iter()
            .enumerate()
            .map(|(at, id)| (*id, encoded(&std::array::from_fn::<f32, 8, _>(|d| odd[(at + d) % 8]))))
            .collect(),
        metadata: ids.iter().zip(texts).map(|(id, text)| (*id, text)).collect(),
        config: Some(options_row(8)),
    };
    raw.write(&place.path("odd.db"));
    let before = rows_of_file(&place.path("odd.db"));
    let after = rows_of_file(&through_a_snapshot(&place, &place.path("odd.db")).await);
    assert!(before.vectors == after.vectors, "ids or bits changed");
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
async fn several_dimensions_and_several_blocks() {
    for (rows, dimensions) in [(50, 1), (40, 3), (300, 384), (20, 4096), (5000, 256)] {
        let place = Place::new();
        let path = place.path("a.db");
        let db = make_database(&path, rows, dimensions, 5);
        let restored = through_a_snapshot(&place, &path).await;
        assert!(common::records_of_file(&path) == common::records_of_file(&restored), "{rows} x {dimensions}");
        let manager = place.manager();
        let id = &manager.list_snapshots().await.unwrap()[0].id;
        let blocks = common::stored::Stored::read(&place.snapshots(), id).metadata().blocks;
        assert_eq!(blocks > 2, rows == 5000, "{blocks} blocks");
        assert!(contents(&manager.restore_snapshot(id).await.unwrap()) == contents(&db), "{rows} x {dimensions}");
    }
}

#[tokio::test]
async fn options_index_quantization_and_config_rows() {
    let place = Place::new();
    let path = place.path("turbo.db");
    let hnsw_config = HnswConfig { m: 8, ef_construction: 20, ef_search: 21, max_elements: 64 };
    let quantization = QuantizationConfig::Turbo4 {
        rotation_seed: 77,
        rescore_multiplier: 3,
        policy: Default::default(),
        search_quantization: Default::default(),
    };
    let wanted = DbOptions {
        distance_metric: DistanceMetric::DotProduct,
        hnsw_config: Some(hnsw_config),
        quantization: Some(quantization),
        ..options(&path, 8)
    };
    let db = VectorDB::new(wanted).unwrap();
    db.save_config_value("__ruvector_embedding_space__", "{\"model\": \"x\"}").unwrap();
    db.save_config_value("application", "whatever ünï").unwrap();
    db.insert_batch((0..20).map(|at| common::entry(format!("{at}"), at, 8, 9)).collect::<Vec<_>>()).unwrap();
    let manager = place.manager();
    let snapshot = manager.create_snapshot(&db, "turbo").await.unwrap();
    assert_eq!(snapshot.distance_metric.as_deref(), Some("DotProduct"));
    assert_eq!(snapshot.source.kind, "file");
    manager.restore_snapshot_to(&snapshot.id, place.restored(), &RestoreOptions::default()).await.unwrap();
    let rows = rows_of_file(&place.restored());
    assert_eq!(rows.config, rows_of_file(&path).config);
    assert_eq!(rows.config.len(), 4, "options, provenance, and the two that were saved: {:?}", rows.config);

    let described = |options: &DbOptions| {
        let mut json = serde_json::to_value(options).unwrap();
        json.as_object_mut().unwrap().remove("storage_path");
        json
    };
    let from_file = VectorDB::new(options(place.restored(), 3)).unwrap();
    let in_memory = manager.restore_snapshot(&snapshot.id).await.unwrap();
    for restored in [&from_file, &in_memory] {
        assert_eq!(described(restored.options()), described(db.options()));
        assert!(contents(restored) == contents(&db));
        assert_eq!(restored.load_config_value("application").unwrap().unwrap(), "whatever ünï");
        assert_eq!(
            restored.load_config_value("turbo4_provenance").unwrap(),
            db.load_config_value("turbo4_provenance").unwrap()
        );
    }

    // From memory again: there the rows that Ruvector writes itself can be read, and no others.
    let again = manager.create_snapshot(&in_memory, "memory").await.unwrap();
    assert_eq!((again.source.kind.as_str(), again.source.transaction_id), ("memory", None));
    assert_eq!(again.checksum, snapshot.checksum);
    let twice = manager.restore_snapshot(&again.id).await.unwrap();
    assert_eq!(described(twice.options()), described(db.options()));
    assert_eq!(twice.load_config_value("__ruvector_embedding_space__").unwrap().unwrap(), "{\"model\": \"x\"}");
}

#[tokio::test]
async fn a_database_from_before_the_options_were_stored() {
    let place = Place::new();
    let path = place.path("old.db");
    let vectors = vec![("a", encoded(&[1.0, 2.0, 3.0])), ("b", encoded(&[4.0, 5.0, 6.0]))];
    Raw { vectors, metadata: vec![("b", r#"{"k":1}"#)], config: None }.write(&path);
    let restored = through_a_snapshot(&place, &path).await;
    let rows = rows_of_file(&restored);
    assert_eq!(rows.vectors["b"], encoded(&[4.0, 5.0, 6.0]));
    assert_eq!(rows.metadata, BTreeMap::from([("b".to_owned(), r#"{"k":1}"#.to_owned())]));
    assert!(rows.config.is_empty(), "options were made up: {:?}", rows.config);
    let snapshot = place.manager().list_snapshots().await.unwrap().remove(0);
    assert_eq!((snapshot.dimensions, snapshot.distance_metric), (3, None));
    let db = VectorDB::new(options(&restored, 3)).unwrap();
    assert_eq!(db.get("a").unwrap().unwrap().vector, [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn what_is_not_captured_is_reported() {
    let place = Place::new();
    let path = place.path("more.db");
    let vectors = vec![("b", encoded(&[1.0])), ("d", encoded(&[2.0]))];
    let orphan = |id| (id, "{\"orphan\":true}");
    let metadata = vec![orphan("a"), ("b", "{}"), orphan("c"), orphan("e")];
    Raw { vectors, metadata, config: Some(options_row(1)) }.write(&path);
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let foreign: TableDefinition<'_, u64, &str> = TableDefinition::new("foreign");
        transaction.open_table(foreign).unwrap().insert(1, "x").unwrap();
        transaction.commit().unwrap();
    }
    let restored = through_a_snapshot(&place, &path).await;
    let snapshot = place.manager().list_snapshots().await.unwrap().remove(0);
    let said = snapshot.source.not_captured.join("; ");
    assert!(said.contains("\"foreign\"") && said.contains("3 metadata rows"), "{said}");
    let rows = rows_of_file(&restored);
    assert_eq!(rows.vectors.len(), 2);
    assert_eq!(rows.metadata, BTreeMap::from([("b".to_owned(), "{}".to_owned())]));
    // And a snapshot of an ordinary database has nothing to say.
    let clean = place.manager().create_snapshot_of_file(&restored, "clean", &CreateOptions::default()).await.unwrap();
    assert_eq!(clean.source.not_captured, Vec::<String>::new());
}

#[tokio::test]
async fn a_table_of_somebody_elses_makes_it_read_through_a_mirror() {
    let place = Place::new();
    let path = place.path("more.db");
    drop(make_database(&path, 50, 4, 1));
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let foreign: TableDefinition<'_, u64, &str> = TableDefinition::new("foreign");
    transaction.open_table(foreign).unwrap().insert(1, "x").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let options = |mirror| FileOptions { scratch_dir: Some(place.scratch()), mirror };
    assert_eq!(FileSource::open(&path, &options(Mirror::WhenWritten)).unwrap_err().kind(), ErrorKind::Busy);
    assert!(FileSource::open(&path, &options(Mirror::AtOnce)).is_ok());

    let expected = common::records_of_file(&path);
    let restored = through_a_snapshot(&place, &path).await;
    assert!(common::records_of_file(&restored) == expected);
    let snapshot = place.manager().list_snapshots().await.unwrap().remove(0);
    assert_eq!(snapshot.source.not_captured, ["table \"foreign\""]);
    place.assert_scratch_empty();
    // The mirror is what needs the scratch directory.
    std::fs::remove_dir(place.scratch()).unwrap();
    let made = place.manager().create_snapshot_of_file(&path, "no mirror", &CreateOptions::default()).await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(&place.snapshots()), [format!("snapshot-{}", snapshot.id)]);
}

#[tokio::test]
async fn a_database_in_memory() {
    let place = Place::new();
    let db = VectorDB::new(options("memory://mine", 5)).unwrap();
    db.insert_batch((0..200).map(|at| common::entry(format!("ключ-{at}"), at, 5, 3)).collect::<Vec<_>>()).unwrap();
    let odd = [f32::NAN, -0.0, f32::INFINITY, f32::from_bits(3), 1.0];
    let entry = |id: &str, metadata| VectorEntry { id: Some(id.into()), vector: odd.to_vec(), metadata };
    db.insert(entry("", map(json!({})))).unwrap();
    db.insert(entry("nested", map(json!({"a": {"b": [1, -2.5e-9, u64::MAX, i64::MIN]}, "é": null})))).unwrap();
    let manager = place.manager();
    let snapshot = manager.create_snapshot(&db, "memory").await.unwrap();
    assert_eq!(snapshot.vector_count, 202);
    assert!(contents(&manager.restore_snapshot(&snapshot.id).await.unwrap()) == contents(&db));
    manager.restore_snapshot_to(&snapshot.id, place.restored(), &RestoreOptions::default()).await.unwrap();
    let in_file = VectorDB::new(options(place.restored(), 1)).unwrap();
    assert!(contents(&in_file) == contents(&db));
    assert_eq!(in_file.options().dimensions, 5);
    assert_eq!(in_file.options().distance_metric, db.options().distance_metric);
    // The same records from a file make the same checksum.
    let again = manager.create_snapshot(&in_file, "file").await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
}

// ---- what is refused

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let place = Place::new();
    let missing = refusal(&place, &place.path("missing.db")).await;
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing:?}");
    assert!(missing.to_string().contains("missing.db"), "{missing}");
    assert!(!place.path("missing.db").exists(), "a database was made");

    let directory = refusal(&place, &place.path("restored")).await;
    assert_eq!(directory.kind(), ErrorKind::Invalid, "{directory:?}");

    for (name, bytes) in [("text", &b"hello, this is some text\n".repeat(1000)[..]), ("empty", b""), ("short", b"redb")]
    {
        let path = place.path(name);
        std::fs::write(&path, bytes).unwrap();
        let error = refusal(&place, &path).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the file was written to");
    }
}

#[tokio::test]
async fn a_redb_file_of_something_else_is_refused() {
    let place = Place::new();
    let write = |name: &str, fill: &dyn Fn(&redb::WriteTransaction)| {
        let database = redb::Database::create(place.path(name)).unwrap();
        let transaction = database.begin_write().unwrap();
        fill(&transaction);
        transaction.commit().unwrap();
        place.path(name)
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
        let error = refusal(&place, &path).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}: {error:?}", path.display());
        assert!(error.to_string().contains("not a Ruvector database"), "{error}");
    }
}

#[tokio::test]
async fn a_record_that_is_broken_is_refused_by_its_id() {
    let place = Place::new();
    let good = || encoded(&[1.0, 2.0]);
    let vectors: [(&str, Vec<u8>); 5] = [
        ("three-dimensions", encoded(&[1.0, 2.0, 3.0])),
        ("nothing-at-all", Vec::new()),
        ("cut-short", good()[..8].to_vec()),
        ("too-long", [good(), vec![0]].concat()),
        ("huge-length", [&[253][..], &u64::MAX.to_le_bytes(), &[0; 8]].concat()),
    ];
    for (id, value) in vectors {
        let path = place.path(&format!("{id}.db"));
        Raw { vectors: vec![("a", good()), (id, value)], metadata: vec![], config: Some(options_row(2)) }.write(&path);
        let error = refusal(&place, &path).await;
        assert_eq!(error.kind(), ErrorKind::Damaged, "{id}: {error:?}");
        assert!(error.to_string().contains(id), "{error}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(300), "]".repeat(300));
    for (id, text) in
        [("list", "[1]"), ("text", "\"x\""), ("cut", "{\"a\":"), ("none", ""), ("two", "{}{}"), ("deep", &deep)]
    {
        let path = place.path(&format!("{id}.db"));
        Raw { vectors: vec![("a", good()), (id, good())], metadata: vec![(id, text)], config: Some(options_row(2)) }
            .write(&path);
        let error = refusal(&place, &path).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{id}: {error:?}");
        assert!(error.to_string().contains(&format!("{id:?}")), "{error}");
    }
}

#[tokio::test]
async fn options_of_a_newer_database_are_refused() {
    let place = Place::new();
    let path = place.path("newer.db");
    let config = Some(vec![(OPTIONS_ROW, "{\"dimensions\":2,\"distance_metric\":\"Hamming\"}".to_owned())]);
    Raw { vectors: vec![("a", encoded(&[1.0, 2.0]))], metadata: vec![], config }.write(&path);
    assert_eq!(refusal(&place, &path).await.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let place = Place::new();
    let path = place.path("damaged.db");
    drop(make_database(&path, 500, 16, 11));
    let bytes = std::fs::read(&path).unwrap();
    for row in [0, 250, 499] {
        let vector = common::entry("x".into(), row, 16, 11).vector;
        let needle = encoded(&vector);
        let places: Vec<_> = bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle).collect();
        assert!(!places.is_empty(), "the vector of row {row} is not in the file");
        let mut damaged = bytes.clone();
        for (at, _) in places {
            damaged[at + 20] ^= 0x40;
        }
        std::fs::write(&path, damaged).unwrap();
        let error = refusal(&place, &path).await;
        assert_eq!(error.kind(), ErrorKind::Damaged, "row {row}: {error:?}");
    }
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(refusal(&place, &path).await.kind(), ErrorKind::Damaged);
    std::fs::write(&path, &bytes).unwrap();
    through_a_snapshot(&place, &path).await;
}

// ---- names, labels, the caller's own metadata

#[tokio::test]
async fn names_labels_and_metadata_of_a_snapshot() {
    let place = Place::new();
    let path = place.path("a.db");
    drop(make_database(&path, 5, 2, 1));
    let manager = place.manager();
    let longest = "é".repeat(512);
    for name in ["backup-2024-01", "../../etc/passwd", "日本語 🦀", "a\\b\"c", longest.as_str()] {
        let options = CreateOptions {
            labels: BTreeMap::from([("ключ".to_owned(), "value / \"x\"\n".to_owned()), (String::new(), String::new())]),
            metadata: json!({"any": [1, 2.5, null, {"x": "y"}], "big": u64::MAX}),
            ..CreateOptions::default()
        };
        let made = manager.create_snapshot_of_file(&path, name, &options).await.unwrap();
        assert_eq!(made.name, name);
        assert_eq!((&made.labels, &made.metadata), (&options.labels, &options.metadata));
        assert_eq!(manager.get_snapshot(&made.id).await.unwrap().unwrap(), made);
        assert_eq!(manager.list_snapshots().await.unwrap(), std::slice::from_ref(&made));
        assert_eq!(manager.resolve(name).await.unwrap(), made.id);
        let stored = common::stored::Stored::read(&place.snapshots(), &made.id);
        assert_eq!(made.size_bytes, stored.files.values().map(|file| file.len() as u64).sum::<u64>());
        assert_eq!(made.files.len(), 5);
        assert!(stored.files.iter().all(|(file, bytes)| made.files[file] == bytes.len() as u64));
        manager.delete_snapshot(&made.id).await.unwrap();
    }
    let too_long = format!("{longest}a");
    for name in ["", "  ", "a\nb", "\0", "\u{7f}", "\u{85}", too_long.as_str()] {
        let error = manager.create_snapshot_of_file(&path, name, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}: {error:?}");
    }
    let labels = BTreeMap::from([("big".to_owned(), "x".repeat(2 << 20))]);
    let options = CreateOptions { labels, ..CreateOptions::default() };
    let error = manager.create_snapshot_of_file(&path, "labels", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!(names(&place.snapshots()), Vec::<String>::new());
}

// ---- where a restore goes

#[tokio::test]
async fn places_of_a_restore() {
    let place = Place::new();
    let path = place.path("a.db");
    drop(make_database(&path, 20, 2, 1));
    let manager = Arc::new(place.manager());
    let id = manager.create_snapshot_of_file(&path, "a", &CreateOptions::default()).await.unwrap().id;
    let expected = common::records_of_file(&path);
    let overwrite = RestoreOptions { overwrite: true, ..RestoreOptions::default() };
    let plain = RestoreOptions::default();
    let restored = place.restored();

    std::fs::write(&restored, b"precious").unwrap();
    let error = manager.restore_snapshot_to(&id, &restored, &plain).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("restored.db"), "{error}");
    assert_eq!(std::fs::read(&restored).unwrap(), b"precious");
    manager.restore_snapshot_to(&id, &restored, &overwrite).await.unwrap();
    assert_eq!(common::records_of_file(&restored), expected);

    for options in [&plain, &overwrite] {
        let error = manager.restore_snapshot_to(&id, place.path("no/such/dir/a.db"), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(!place.path("no").exists());
        let error = manager.restore_snapshot_to(&id, place.path("scratch"), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        let error = manager.restore_snapshot_to(&id, place.path("scratch/.."), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        let error = manager.restore_snapshot_to(&id, "", options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
    manager.restore_snapshot_to(&id, place.path("scratch/../restored/other.db"), &plain).await.unwrap();
    assert_eq!(common::records_of_file(&place.path("restored/other.db")), expected);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", place.path("restored/link.db")).unwrap();
        let error = manager.restore_snapshot_to(&id, place.path("restored/link.db"), &plain).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        std::fs::remove_file(place.path("restored/link.db")).unwrap();
    }
    assert_eq!(names(&place.path("restored")), ["other.db", "restored.db"]);
    place.assert_scratch_empty();

    let unknown = "20260131T080000000Z-0123456789abcdef";
    assert_eq!(manager.restore_snapshot(unknown).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(manager.delete_snapshot(unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(manager.get_snapshot(unknown).await.unwrap().is_none());
    for hostile in ["", "..", "../x", "latest", "a/b", "\0"] {
        assert_eq!(manager.restore_snapshot(hostile).await.err().unwrap().kind(), ErrorKind::Invalid);
        assert_eq!(manager.delete_snapshot(hostile).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(manager.verify_snapshot(hostile).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
