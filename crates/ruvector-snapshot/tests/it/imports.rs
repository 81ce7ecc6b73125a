//! Imports of files of the crate ruvector-snapshot 2.3.0 as published.
//!
//! The files in `tests/published` were written by that crate itself, with `SnapshotManager::create_snapshot` over
//! `LocalStorage`, of records that `golden` repeats. Other files are written by `test_fixtures::Published`, which is
//! compared with them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, ImportOptions, Phase, Progress, ProgressUpdate, Remedy, RestoreOptions, SnapshotConfig,
    SnapshotManager, SourceId,
};
use serde_json::{Value, json};
use test_fixtures::{
    FixedClock, Published, TestDir, Warnings, contents, entry, local_store, memory_store, names, options,
    records_of_file,
};
use test_servers::S3Server;
use tokio::sync::Notify;

use crate::common::bucket_stores::s3_store;

const ARTICLES: &str = "0b7c8a52-2d6a-4b0f-9d5e-3b1f5a3c9e01";
const LISTS: &str = "0b7c8a52-2d6a-4b0f-9d5e-3b1f5a3c9e02";

fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published").join(format!("{name}.snapshot.gz"))
}

/// The records of the file `articles` of the published crate.
fn golden() -> Published {
    let nan = f32::from_bits(0x7fc0_0001);
    let nested = "{\"lang\":\"de\",\"n\":1.5,\"nested\":{\"a\":\"\u{2028}\",\"b\":[1,null]}}";
    let records = [
        ("zebra".to_owned(), vec![1.0, -0.0, nan], Some(nested.to_owned())),
        (String::new(), vec![0.1, 1e-45, f32::INFINITY], None),
        ("apple\n\"🐕\"".to_owned(), vec![16_777_216.0, -2.5, 3.0], Some("{}".to_owned())),
        ("null".to_owned(), vec![0.0; 3], Some("null".to_owned())),
        ("m".repeat(300), vec![1.0, 2.0, 3.0], Some(format!("{{\"text\":\"{}\"}}", "x".repeat(70_000)))),
    ];
    let published = Published::of(3, records.into());
    Published { collection_name: "articles/de".to_owned(), metric: 2, hnsw: Some([24, 300, 70_000]), ..published }
}

/// The vectors and the metadata that a database file has after an import of these records.
fn expected(published: &Published) -> (BTreeMap<String, Vec<u8>>, BTreeMap<String, Value>) {
    let vectors = published.records.iter().map(|(id, values, _)| (id.clone(), test_fixtures::encode_vector(values)));
    let metadata = published.records.iter().filter_map(|(id, _, payload)| {
        let value: Value = serde_json::from_str(payload.as_deref()?).unwrap();
        (!value.is_null()).then(|| (id.clone(), value))
    });
    (vectors.collect(), metadata.collect())
}

#[test]
fn the_files_that_these_tests_write_are_those_of_the_published_crate() {
    let mut found = Vec::new();
    GzDecoder::new(fs::File::open(golden_path(ARTICLES)).unwrap()).read_to_end(&mut found).unwrap();
    assert!(found == golden().contents());
}

#[tokio::test]
async fn a_file_of_the_published_crate_becomes_a_snapshot_with_the_same_records() {
    let (server, local) = (S3Server::start(), TestDir::new());
    for store in [memory_store(), local.local_store(), s3_store(&server, "imports")] {
        let dir = TestDir::new();
        let manager = dir.manager_with_store(store);
        let options = ImportOptions::default().label("from", "old");
        let snapshot = manager.import_file(golden_path(ARTICLES), &options).await.unwrap();
        assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
        manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        assert!(records_of_file(&dir.restored()) == expected(&golden()));
        assert_eq!((snapshot.name.as_str(), snapshot.vector_count, snapshot.dimensions), ("articles/de", 5, 3));
        assert_eq!(snapshot.created_at.to_rfc3339(), "2025-11-21T09:00:00.123456789+00:00");
        assert!(snapshot.id.starts_with("20251121T090000123Z-"), "{}", snapshot.id);
        assert_eq!(snapshot.source.kind, "imported");
        assert_eq!(snapshot.source.id(), Some(SourceId::Name("articles/de".to_owned())));
        let [missing] = &snapshot.source.not_captured[..] else { panic!("{:?}", snapshot.source.not_captured) };
        assert_eq!(missing, "quantization and other settings: the imported file lacks them");
        let labels: Vec<_> = snapshot.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(labels, [label("from", "old"), label("imported-id", ARTICLES), label("imported-version", "2.3.0")]);
        let database = manager.reader(&snapshot.id).await.unwrap().database().clone();
        assert_eq!((database.dimensions, database.distance_metric.as_deref()), (3, Some("DotProduct")));
        let hnsw = json!({ "m": 24, "ef_construction": 300, "ef_search": 70_000, "max_elements": 1_000_000 });
        assert_eq!((database.hnsw_config, database.quantization), (hnsw, Value::Null));
        // A second import is another snapshot with the same contents.
        let again = manager.import_file(golden_path(ARTICLES), &ImportOptions::default().name("again")).await.unwrap();
        assert_eq!((again.name.as_str(), &again.checksum), ("again", &snapshot.checksum));
        assert_ne!(again.id, snapshot.id);
        dir.assert_scratch_empty();
    }
}

#[tokio::test]
async fn records_are_sorted_and_a_restored_database_can_be_searched_and_be_the_source_of_an_increment() {
    let dir = TestDir::new();
    let manager = dir.manager();
    // In no order, and in several blocks.
    let entries: Vec<_> = (0..3000).map(|n| entry(format!("{:06}", n * 7919 % 3000), n, 500, 5)).collect();
    let mut published = Published::of_entries(500, entries.clone());
    published.hnsw = Some([16, 100, 100]);
    let file = published.write(&dir.path(""), "many");
    let snapshot = manager.import_file(&file, &ImportOptions::default().source_name("many")).await.unwrap();
    let restored = dir.restored();
    manager.restore_snapshot_to(&snapshot.id, &restored, &RestoreOptions::default()).await.unwrap();
    let db = VectorDB::new(options(dir.path("expected.db"), 500)).unwrap();
    db.insert_batch(entries).unwrap();
    let opened = VectorDB::new(options(&restored, 500)).unwrap();
    assert!(contents(&opened) == contents(&db));
    opened.insert(VectorEntry { id: Some("new".to_owned()), vector: vec![1.0; 500], metadata: None }).unwrap();
    drop(opened);
    let on = CreateOptions::default().base_id(&snapshot.id).source_name("many");
    let next = manager.create_snapshot_of_file(&restored, "many", &on).await.unwrap();
    assert_eq!((next.vector_count, next.changes.unwrap().rows()), (3001, 1));
}

/// A directory with a store without snapshots, and files to import.
struct Forgery {
    dir: TestDir,
    manager: SnapshotManager,
    written: Cell<usize>,
}

impl Forgery {
    fn new() -> Self {
        let dir = TestDir::new();
        let manager = dir.manager();
        Self { dir, manager, written: Cell::new(0) }
    }

    /// Imports a file, which must be refused, with a sidecar and without one, and nothing must be left.
    async fn assert_refused(&self, file: &Path, kind: ErrorKind, text: &str) {
        for unverified in [false, true] {
            self.assert_refused_with(file, &ImportOptions::default().unverified(unverified), kind, text).await;
        }
    }

    async fn assert_refused_with(&self, file: &Path, options: &ImportOptions, kind: ErrorKind, text: &str) {
        let error = self.manager.import_file(file, options).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(text), "{text:?} is not in {error}");
        self.dir.assert_no_snapshots();
        self.dir.assert_scratch_empty();
    }

    /// Writes the file with contents that are changed.
    fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let mut contents = golden().contents();
        change(&mut contents);
        golden().write_contents(&self.dir.path(""), &self.new_name(), &contents)
    }

    fn of(&self, change: impl FnOnce(&mut Published)) -> PathBuf {
        let mut published = golden();
        change(&mut published);
        published.write(&self.dir.path(""), &self.new_name())
    }

    fn new_name(&self) -> String {
        self.written.set(self.written.get() + 1);
        format!("forged-{}", self.written.get())
    }
}

#[tokio::test]
async fn contents_that_the_crate_does_not_write_are_corrupt() {
    let forgery = Forgery::new();
    let end = golden().contents().len();
    for (file, text) in [
        (forgery.changed(|contents| contents.truncate(end - 1)), "the contents end too early"),
        (forgery.changed(|contents| contents.truncate(7)), "the contents end too early, at byte 7"),
        (forgery.changed(Vec::clear), "the contents end too early, at byte 0"),
        (forgery.changed(|contents| contents.push(0)), "there are bytes after the last record"),
        // The length of the id: one of 2^64-1 bytes, one with 16 bytes, and one that is not UTF-8.
        (
            forgery.changed(|contents| drop(contents.splice(..1, [[253; 1].as_slice(), &[255; 8]].concat()))),
            "more than",
        ),
        (forgery.changed(|contents| contents[0] = 254), "a number is too large"),
        (forgery.changed(|contents| contents[1] = 0xff), "the id of the snapshot is not UTF-8"),
    ] {
        forgery.assert_refused(&file, ErrorKind::Corrupt, text).await;
    }
    for (file, text) in [
        (forgery.of(|published| published.count = 6), "the contents end too early"),
        (forgery.of(|published| published.count = u64::MAX), "the contents end too early"),
        (forgery.of(|published| published.count = 4), "there are bytes after the last record"),
        (forgery.of(|published| published.metric = 3), "there is no metric 3"),
        (forgery.of(|published| published.records[1].2 = Some("{".to_owned())), "the payload of \"\" is not JSON"),
        (forgery.of(|published| published.records[1].2 = Some(String::new())), "the payload of \"\" is not JSON"),
        (forgery.of(|published| published.created_at = "yesterday".to_owned()), "\"yesterday\" in the file is not one"),
    ] {
        forgery.assert_refused(&file, ErrorKind::Corrupt, text).await;
    }
}

#[tokio::test]
async fn records_that_no_database_can_hold_are_refused() {
    let forgery = Forgery::new();
    for (file, text) in [
        (golden_path(LISTS), "the payload of \"a\" can be in no database: it is not a JSON object"),
        (forgery.of(|published| published.records[4].0 = "zebra".to_owned()), "the id \"zebra\" is there twice"),
    ] {
        forgery.assert_refused(&file, ErrorKind::InvalidInput, text).await;
    }
    let file = forgery.of(|published| published.records[2].1.push(1.0));
    forgery.assert_refused(&file, ErrorKind::InvalidInput, "has 4 dimensions, and the collection 3").await;
    // A vector that would take a terabyte, in a file of a few bytes.
    let file = forgery.of(|published| {
        (published.dimensions, published.count, published.records) = (1 << 38, 1, Vec::new());
    });
    forgery.assert_refused(&file, ErrorKind::Corrupt, "the contents end too early").await;
    // Zeros expand from almost nothing: a million records with the id "" and no values.
    let bomb = Published { dimensions: 0, count: 1 << 24, records: Vec::new(), ..golden() };
    let mut contents = bomb.contents();
    contents.resize(contents.len() + (3 << 24), 0);
    let file = bomb.write_contents(&forgery.dir.path(""), "bomb", &contents);
    assert!(fs::metadata(&file).unwrap().len() < 100_000);
    forgery.assert_refused(&file, ErrorKind::InvalidInput, "the id \"\" is there twice").await;
}

#[tokio::test]
async fn a_file_or_a_sidecar_that_was_changed_is_corrupt() {
    let forgery = Forgery::new();
    let file = golden().write(&forgery.dir.path(""), "a");
    let sidecar = forgery.dir.path("a.metadata.json");
    let (bytes, json) = (fs::read(&file).unwrap(), fs::read_to_string(&sidecar).unwrap());
    for cut in [bytes.len() - 1, bytes.len() / 2, 12] {
        fs::write(&file, &bytes[..cut]).unwrap();
        forgery.assert_refused(&file, ErrorKind::Corrupt, "").await;
    }
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&file, flipped).unwrap();
    forgery.assert_refused(&file, ErrorKind::Corrupt, "").await;
    fs::write(&file, [&bytes[..], b"more"].concat()).unwrap();
    forgery.assert_refused(&file, ErrorKind::Corrupt, "").await;
    fs::write(&file, &bytes).unwrap();
    let compare = "in the sidecar: one of the two files is corrupt, or they do not belong together";
    for (from, to) in [("3b1f5a3c9e01", "3b1f5a3c9e02"), ("\"vectors_count\": 5", "\"vectors_count\": 6"), ("9", "8")] {
        fs::write(&sidecar, json.replacen(from, to, 1)).unwrap();
        forgery.assert_refused(&file, ErrorKind::Corrupt, compare).await;
    }
    let checksum = json.find("checksum").unwrap() + 12;
    let other = format!(
        "{}{}{}",
        &json[..checksum],
        if json.as_bytes()[checksum] == b'0' { 1 } else { 0 },
        &json[checksum + 1..]
    );
    fs::write(&sidecar, other).unwrap();
    forgery.assert_refused(&file, ErrorKind::Corrupt, "the SHA-256 of the contents is ").await;
    fs::write(&sidecar, "{}").unwrap();
    forgery.assert_refused(&file, ErrorKind::Corrupt, "the sidecar is not what the crate").await;
    fs::write(&sidecar, json).unwrap();
    forgery.manager.import_file(&file, &ImportOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_file_without_its_sidecar_is_imported_only_on_request() {
    let forgery = Forgery::new();
    let file = golden().write(&forgery.dir.path(""), "a");
    fs::remove_file(forgery.dir.path("a.metadata.json")).unwrap();
    let error = forgery.manager.import_file(&file, &ImportOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::NotFound, Some(Remedy::Unverified)));
    assert!(error.to_string().contains("a.metadata.json, the sidecar"), "{error}");
    let renamed = forgery.dir.path("a.gz");
    fs::rename(&file, &renamed).unwrap();
    let error = forgery.manager.import_file(&renamed, &ImportOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("does not end in .snapshot.gz"), "{error}");
    forgery.dir.assert_no_snapshots();
    let warnings = Arc::<Warnings>::default();
    let options = ImportOptions::default().unverified(true).progress(warnings.clone());
    let snapshot = forgery.manager.import_file(&renamed, &options).await.unwrap();
    assert_eq!(snapshot.vector_count, 5);
    assert_eq!(
        warnings.list(),
        ["there was no sidecar: nothing shows that the imported contents are those that were written"]
    );
}

#[tokio::test]
async fn other_paths_and_options_are_refused() {
    let forgery = Forgery::new();
    let path = |name: &str, text: &str| {
        let path = forgery.dir.path(name);
        fs::write(&path, text).unwrap();
        path
    };
    let none = ImportOptions::default();
    for (file, kind, text) in [
        (forgery.dir.path("absent.snapshot.gz"), ErrorKind::NotFound, "cannot open the file"),
        (forgery.dir.path("snapshots"), ErrorKind::InvalidInput, "this is a directory"),
        (path("empty.snapshot.gz", ""), ErrorKind::InvalidInput, "this is not a gzip file"),
        (path("text.snapshot.gz", "{}"), ErrorKind::InvalidInput, "this is not a gzip file"),
    ] {
        forgery.assert_refused_with(&file, &none, kind, text).await;
    }
    let fifo = forgery.dir.path("fifo.snapshot.gz");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    forgery.assert_refused_with(&fifo, &none, ErrorKind::InvalidInput, "this is not a regular file").await;
    let file = golden_path(ARTICLES);
    for (options, text) in [
        (none.clone().name("latest"), "latest"),
        (none.clone().source_name(" "), "the name of a source cannot be empty"),
        (none.clone().label("imported-id", "x"), "the label \"imported-id\" is one that an import sets itself"),
        (none.clone().label("big", "x".repeat(600_000)), "larger than 512 KiB"),
    ] {
        forgery.assert_refused_with(&file, &options, ErrorKind::InvalidInput, text).await;
    }
    let file = forgery.of(|published| published.collection_name = "latest".to_owned());
    let text = "the name of the collection in the file cannot be the name of a snapshot";
    forgery.assert_refused_with(&file, &none, ErrorKind::InvalidInput, text).await;
    forgery.manager.import_file(&file, &none.clone().name("fine")).await.unwrap();
    // A store that must have snapshots.
    let config = SnapshotConfig { require_store: true, ..forgery.dir.config() };
    let manager = SnapshotManager::with_store(config, memory_store()).unwrap();
    assert_eq!(manager.import_file(&file, &none).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Says when an import has begun to read.
#[derive(Debug, Default)]
struct Begun(Notify);

impl Progress for Begun {
    fn update(&self, update: ProgressUpdate) {
        if update.phase == Phase::Import && update.records > 0 {
            self.0.notify_one();
        }
    }
}

#[tokio::test]
async fn an_import_that_is_cancelled_while_it_reads_leaves_nothing() {
    let forgery = Forgery::new();
    let records = (0..20_000).map(|number| (format!("{number}"), vec![0.5; 8], None)).collect();
    let file = Published::of(8, records).write(&forgery.dir.path(""), "a");
    let begun = Arc::<Begun>::default();
    let options = ImportOptions::default().progress(begun.clone());
    tokio::select! {
        biased;
        () = begun.0.notified() => {}
        imported = forgery.manager.import_file(&file, &options) => panic!("{imported:?} was not cancelled"),
    }
    forgery.manager.wait_for_cleanup().await;
    forgery.dir.assert_no_snapshots();
    forgery.dir.assert_scratch_empty();
}

#[tokio::test]
async fn a_file_of_the_future_and_of_another_version_is_imported_with_warnings() {
    let dir = TestDir::new();
    let store = local_store(&dir.snapshots());
    let clock = Arc::new(FixedClock { now: "2025-11-21T08:59:59Z".parse().unwrap(), random: 7 });
    let manager = dir.manager_with_store(store).with_clock(clock);
    let file = Published { version: "2.4.0".to_owned(), ..golden() }.write(&dir.path(""), "a");
    let warnings = Arc::<Warnings>::default();
    let options = ImportOptions::default().progress(warnings.clone());
    let snapshot = manager.import_file(&file, &options).await.unwrap();
    assert_eq!(snapshot.created_at.to_rfc3339(), "2025-11-21T08:59:59+00:00");
    let [future, version] = &warnings.list()[..] else { panic!("{:?}", warnings.list()) };
    assert!(future.starts_with("the file is dated in the future, 2025-11-21 09:00:00"), "{future}");
    assert!(version.starts_with("the file was written by version \"2.4.0\""), "{version}");
    assert_eq!(names(&dir.scratch()), Vec::<String>::new());
}
