//! Rows that are not records: every kind is kept in full snapshots and increments, verified, and restored byte for
//! byte. Foreign tables are kept with their types and their order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt as _;
use redb::{Key, MultimapTableDefinition, ReadableTable as _, TableDefinition, TypeName, Value};
use redb_live::{LiveFile, Mode, ViewOptions};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::source::{FileSource, RestoreTarget, SnapshotSource, SourceReader};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    ColumnType, CreateOptions, DatabaseInfo, ErrorKind, IrregularInfo, IrregularItem, IrregularTable, Record,
    RestoreOptions, Result, Snapshot, SnapshotId, SnapshotManager, SnapshotType, TypeOrigin,
};
use ruvector_snapshot_format::irregular::Encoder;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::reader::MemoryFiles;
use ruvector_snapshot_format::writer::Writer;
use test_fixtures::{
    RawRows, RawText, StoredSnapshot, TestDir, TickingClock, Warnings, encode_vector, json_object, options,
    rows_of_file,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;

const OPTIONS_ROW: &str = "__ruvector_db_config__";

const COUNTERS: TableDefinition<'_, u64, &str> = TableDefinition::new("counters");
const PAIRS: TableDefinition<'_, (u32, &str), [u8; 4]> = TableDefinition::new("pairs");
const REVERSED: TableDefinition<'_, Reversed, Option<u16>> = TableDefinition::new("reversed");
const EMPTY: TableDefinition<'_, &[u8], Vec<String>> = TableDefinition::new("empty");
const GROUPS: MultimapTableDefinition<'_, &str, u64> = MultimapTableDefinition::new("groups");

/// A key of an application, whose order is that of the bytes backwards.
#[derive(Debug)]
struct Reversed;

impl Value for Reversed {
    type SelfType<'a> = u16;
    type AsBytes<'a> = [u8; 2];

    fn fixed_width() -> Option<usize> {
        Some(2)
    }

    fn from_bytes<'a>(data: &'a [u8]) -> u16
    where
        Self: 'a,
    {
        u16::from_be_bytes(data.try_into().unwrap())
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a u16) -> [u8; 2]
    where
        Self: 'b,
    {
        value.to_be_bytes()
    }

    fn type_name() -> TypeName {
        TypeName::new("application::Reversed")
    }
}

impl Key for Reversed {
    fn compare(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
        other.cmp(one)
    }
}

/// The tables of a file with their types and rows, in order, as redb-live reads them. Multimap tables are left out.
pub(crate) type Tables = BTreeMap<String, (String, Vec<(Vec<u8>, Vec<u8>)>)>;

pub(crate) fn tables(path: &Path) -> Tables {
    let view = LiveFile::open(path).unwrap();
    let view = view.view(&ViewOptions { mode: Mode::Mirror, ..ViewOptions::default() }).unwrap();
    let mut tables = Tables::new();
    for info in view.tables().unwrap().into_iter().filter(|info| !info.multimap) {
        let mut rows = Vec::new();
        for leaf in view.table(&info.name).unwrap().unwrap().leaves() {
            let leaf = leaf.unwrap();
            rows.extend((0..leaf.len()).map(|at| (leaf.key(at).to_vec(), leaf.value(at).to_vec())));
        }
        let types = format!(
            "{:?} {} {:?}, {:?} {} {:?}",
            info.key_origin, info.key_type, info.key_width, info.value_origin, info.value_type, info.value_width
        );
        tables.insert(info.name, (types, rows));
    }
    tables
}

fn deep() -> Vec<u8> {
    format!("{{\"a\":{}1{}}}", "[".repeat(140), "]".repeat(140)).into_bytes()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Two records, and one row of every irregular kind.
fn every_kind() -> (RawRows, u64) {
    let good = || encode_vector(&[1.0, 2.0]);
    let mut rows = RawRows::default();
    let options = serde_json::to_string(&options("elsewhere.db", 2)).unwrap();
    rows.config = [(bytes(OPTIONS_ROW), bytes(&options)), (bytes("note"), bytes("text"))].into();
    rows.vectors = [(bytes("a"), good()), (bytes("b"), good())].into();
    rows.metadata = [(bytes("b"), bytes("{}"))].into();
    let long_id = "i".repeat((1 << 20) + 1);
    let vectors: [(&[u8], Vec<u8>); 6] = [
        (b"three-dimensions", encode_vector(&[1.0, 2.0, 3.0])),
        (b"nothing", Vec::new()),
        (b"cut", good()[..8].to_vec()),
        (b"huge-length", [&[253][..], &u64::MAX.to_le_bytes()].concat()),
        (b"\xff not UTF-8", good()),
        (long_id.as_bytes(), good()),
    ];
    let metadata: [(&[u8], Vec<u8>); 8] = [
        (b"deep", deep()),
        (b"list", bytes("[1]")),
        (b"half", bytes("{\"a\":")),
        (b"none", Vec::new()),
        (b"surrogate", bytes("{\"\\ud800\":1}")),
        (b"not-utf-8", vec![b'{', 0xfe, b'}']),
        (long_id.as_bytes(), bytes("{}")),
        (b"\xff not UTF-8", bytes("{}")),
    ];
    for (id, text) in &metadata {
        rows.vectors.entry(id.to_vec()).or_insert_with(good);
        rows.metadata.insert(id.to_vec(), text.clone());
    }
    rows.vectors.extend(vectors.into_iter().map(|(id, value)| (id.to_vec(), value)));
    rows.metadata.insert(bytes("three-dimensions"), bytes("{\"kept\":true}"));
    // Metadata without a vector, at the end as well.
    rows.metadata.extend([(bytes("0-orphan"), bytes("{}")), (bytes("zz-orphan"), bytes("no JSON"))]);
    rows.config.extend([(vec![0xff], bytes("x")), (bytes("y"), vec![0xfe])]);
    let irregular = rows.vectors.len() as u64 - 2 + 2;
    (rows, irregular)
}

/// Writes the foreign tables, which can be empty, and a multimap table.
fn write_foreign(path: &Path, rows: u16) {
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut counters = transaction.open_table(COUNTERS).unwrap();
        let mut pairs = transaction.open_table(PAIRS).unwrap();
        let mut reversed = transaction.open_table(REVERSED).unwrap();
        for at in 0..rows {
            // In the order of numbers, which is not that of their bytes.
            counters.insert(u64::from(at) * 300, format!("{at}").as_str()).unwrap();
            pairs.insert((u32::from(at / 3), format!("{}", at % 3).as_str()), [at as u8; 4]).unwrap();
            reversed.insert(at, Some(at).filter(|at| at % 2 == 0)).unwrap();
        }
        transaction.open_table(EMPTY).unwrap();
        transaction.open_multimap_table(GROUPS).unwrap().insert("g", 1).unwrap();
    }
    transaction.commit().unwrap();
}

async fn create(manager: &SnapshotManager, path: &Path, base: Option<&Snapshot>) -> Snapshot {
    let options = base.iter().fold(CreateOptions::default(), |options, base| options.base_id(&base.id));
    manager.create_snapshot_of_file(path, "irregular", &options).await.unwrap()
}

/// Asserts that a snapshot is intact and restores to these tables.
async fn assert_restores(manager: &SnapshotManager, dir: &TestDir, snapshot: &Snapshot, expected: &Tables) {
    let report = manager.verify_snapshot_with(&snapshot.id, &Default::default()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    let restored = tables(&dir.restored());
    assert_eq!(restored.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, (types, rows)) in expected {
        assert_eq!(restored[name].0, *types, "{name}");
        assert!(restored[name].1 == *rows, "the rows of {name} differ");
    }
    std::fs::remove_file(dir.restored()).unwrap();
}

/// Runs a test on a directory and on a bucket.
async fn on_each_store<F: Future<Output = ()>>(test: impl Fn(TestDir, Arc<dyn SnapshotStore>) -> F) {
    let dir = TestDir::new();
    let store = dir.local_store();
    test(dir, store).await;
    let server = S3Server::start();
    test(TestDir::new(), s3_store(&server, "irregular")).await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_irregular_row_is_kept_and_restored_byte_for_byte() {
    on_each_store(|dir, store| async move {
        let manager = dir.manager_with_store(store).with_clock(TickingClock::seconds_from_year(2020));
        let path = dir.path("a.db");
        let (rows, records) = every_kind();
        rows.write_over(&RawRows::default(), &path);
        write_foreign(&path, 500);
        let expected = tables(&path);
        let snapshot = create(&manager, &path, None).await;
        let irregular = snapshot.irregular.as_ref().unwrap();
        assert_eq!((snapshot.vector_count, irregular.records, irregular.config_rows), (2, records, 2));
        assert_eq!((irregular.tables, irregular.table_rows), (4, 1500));
        let examples = irregular.examples.join("\n");
        for named in ["\"deep\": the metadata nests deeper", "it has metadata, but no vector", "\"counters\": 500 rows"]
        {
            assert!(examples.contains(named), "{named}: {examples}");
        }
        assert_eq!(snapshot.source.not_captured, ["table \"groups\" (a multimap table)"]);
        assert_restores(&manager, &dir, &snapshot, &expected).await;
        // As a source of its own the file is read in the same way, through a mirror.
        let of_source =
            manager.create_from(&FileSource::new(&path), "source", &CreateOptions::default()).await.unwrap();
        assert_eq!(of_source.checksum, snapshot.checksum);

        // With redb and the types of the application.
        manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        assert!(RawRows::of_file(&dir.restored()) == rows);
        let again = create(&manager, &dir.restored(), None).await;
        assert_eq!((&again.checksum, &again.irregular), (&snapshot.checksum, &snapshot.irregular));
        let database = redb::Database::open(dir.restored()).unwrap();
        let transaction = database.begin_read().unwrap();
        assert_eq!(transaction.open_table(COUNTERS).unwrap().get(300 * 300).unwrap().unwrap().value(), "300");
        assert_eq!(transaction.open_table(PAIRS).unwrap().get((100, "1")).unwrap().unwrap().value(), [45; 4]);
        let reversed = transaction.open_table(REVERSED).unwrap();
        assert_eq!(reversed.first().unwrap().unwrap().0.value(), 499);
        assert_eq!(reversed.get(11).unwrap().unwrap().value(), None);
        assert!(transaction.open_table(EMPTY).unwrap().first().unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_file_without_options_has_the_dimensions_of_its_first_well_formed_vector() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("old.db");
    let vectors = [
        (bytes("a"), vec![9]),
        (bytes("b"), encode_vector(&[])),
        (bytes("c"), encode_vector(&[1.0, 2.0, 3.0])),
        (bytes("d"), encode_vector(&[1.0, 2.0])),
        (bytes("e"), encode_vector(&[4.0, 5.0, 6.0])),
    ];
    let rows = RawRows { vectors: vectors.into(), ..RawRows::default() };
    rows.write_over(&RawRows::default(), &path);
    let snapshot = create(&manager, &path, None).await;
    assert_eq!((snapshot.dimensions, snapshot.vector_count), (3, 2));
    assert_eq!(snapshot.irregular.as_ref().unwrap().records, 3);
    assert_restores(&manager, &dir, &snapshot, &tables(&path)).await;
}

#[tokio::test]
async fn a_snapshot_without_irregular_rows_has_version_1_and_one_with_them_version_2() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("a.db");
    let before = RawRows { vectors: [(bytes("a"), encode_vector(&[1.0]))].into(), ..RawRows::default() };
    before.write_over(&RawRows::default(), &path);
    let regular = create(&manager, &path, None).await;
    let mut after = before.clone();
    after.metadata.insert(bytes("a"), bytes("no JSON"));
    after.write_over(&before, &path);
    let irregular = create(&manager, &path, Some(&regular)).await;
    before.write_over(&after, &path);
    let regular_again = create(&manager, &path, Some(&irregular)).await;
    for (snapshot, version) in [(&regular, 1), (&irregular, 2), (&regular_again, 1)] {
        let metadata = StoredSnapshot::read(&dir.snapshots(), &snapshot.id).metadata();
        assert_eq!((metadata.format_version, metadata.irregular.is_some()), (version, version == 2));
        assert_eq!(metadata.find_section("leaves").is_some(), version == 1);
    }
    assert_eq!(regular_again.checksum, regular.checksum);
}

/// States of a database: its rows, and the number of rows of its foreign tables, if it has some.
fn states() -> Vec<(&'static str, RawRows, Option<u16>)> {
    let mut rows = RawRows::default();
    let options = serde_json::to_string(&options("elsewhere.db", 2)).unwrap();
    rows.config.insert(bytes(OPTIONS_ROW), bytes(&options));
    for at in 0..400 {
        rows.vectors.insert(bytes(&format!("id-{at:04}")), encode_vector(&[at as f32, -1.0]));
        rows.metadata.insert(bytes(&format!("id-{at:04}")), bytes(&format!("{{\"n\":{at}}}")));
    }
    let mut states = vec![("regular", rows.clone(), None)];
    let mut next = |what, change: &dyn Fn(&mut RawRows), foreign| {
        change(&mut rows);
        states.push((what, rows.clone(), foreign));
    };
    next("metadata becomes irregular", &|rows| drop(rows.metadata.insert(bytes("id-0100"), deep())), None);
    next("another record changes", &|rows| drop(rows.metadata.insert(bytes("id-0200"), bytes("{}"))), None);
    next("the irregular row changes", &|rows| drop(rows.metadata.insert(bytes("id-0100"), bytes("[]"))), None);
    next("it becomes regular", &|rows| drop(rows.metadata.insert(bytes("id-0100"), bytes("{}"))), None);
    next("nothing changes", &|_| {}, None);
    next("a vector becomes irregular", &|rows| drop(rows.vectors.insert(bytes("id-0001"), vec![7])), None);
    next(
        "and is removed, with its metadata",
        &|rows| {
            rows.vectors.remove(b"id-0001".as_slice());
            rows.metadata.remove(b"id-0001".as_slice());
        },
        None,
    );
    // The leaves of `metadata` stay as they are.
    next(
        "vectors are removed, but not their metadata",
        &|rows| {
            (120..240).for_each(|at| drop(rows.vectors.remove(format!("id-{at:04}").as_bytes())));
        },
        None,
    );
    next(
        "the metadata is removed too",
        &|rows| {
            (120..240).for_each(|at| drop(rows.metadata.remove(format!("id-{at:04}").as_bytes())));
        },
        None,
    );
    next("metadata without a vector comes", &|rows| drop(rows.metadata.insert(bytes("id-0150"), bytes("{}"))), None);
    next("its vector comes", &|rows| drop(rows.vectors.insert(bytes("id-0150"), encode_vector(&[0.5, 0.5]))), None);
    next(
        "an id that is not UTF-8 comes",
        &|rows| drop(rows.vectors.insert(vec![0xff], encode_vector(&[0.5, 0.5]))),
        None,
    );
    next("and goes", &|rows| drop(rows.vectors.remove([0xff].as_slice())), None);
    next("foreign tables come", &|_| {}, Some(30));
    next("a record changes", &|rows| drop(rows.metadata.insert(bytes("id-0300"), bytes("{}"))), Some(30));
    next("foreign rows come", &|_| {}, Some(60));
    next("a config row that is not text comes", &|rows| drop(rows.config.insert(vec![0xfe], vec![])), Some(60));
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_keep_irregular_rows_that_come_change_and_go() {
    on_each_store(|dir, store| async move {
        let manager = dir.manager_with_store(store).with_clock(TickingClock::seconds_from_year(2020));
        let path = dir.path("a.db");
        let mut before = RawRows::default();
        let mut links: Vec<(Snapshot, Tables)> = Vec::new();
        for (what, rows, foreign) in states() {
            rows.write_over(&before, &path);
            foreign.iter().for_each(|rows| write_foreign(&path, *rows));
            before = rows;
            let made = create(&manager, &path, links.last().map(|(base, _)| base)).await;
            let full = create(&manager, &path, None).await;
            assert_eq!(made.checksum, full.checksum, "{what}");
            assert_eq!((made.vector_count, &made.irregular), (full.vector_count, &full.irregular), "{what}");
            manager.delete_snapshot(&full.id).await.unwrap();
            let reader = manager.reader(&made.id).await.unwrap();
            let rows: Vec<_> = reader.irregular_rows().unwrap().try_collect().await.unwrap();
            assert_eq!(rows.is_empty(), made.irregular.is_none(), "{what}");
            links.push((made, tables(&path)));
        }
        for (snapshot, state) in &links {
            assert_restores(&manager, &dir, snapshot, state).await;
        }
        for (snapshot, state) in links.iter().skip(1).rev().step_by(3) {
            let compacted = manager.compact_snapshot(&snapshot.id, None).await.unwrap();
            assert_eq!((&compacted.snapshot_type, &compacted.checksum), (&SnapshotType::Full, &snapshot.checksum));
            assert_eq!(compacted.irregular, snapshot.irregular);
            assert_restores(&manager, &dir, &compacted, state).await;
        }
    })
    .await;
}

#[tokio::test]
async fn irregular_rows_that_have_not_changed_are_not_stored_again() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("a.db");
    let (rows, _) = every_kind();
    rows.write_over(&RawRows::default(), &path);
    write_foreign(&path, 20);
    let full = create(&manager, &path, None).await;
    let same = create(&manager, &path, Some(&full)).await;
    write_foreign(&path, 21);
    let other = create(&manager, &path, Some(&same)).await;
    let sections = |snapshot: &Snapshot| {
        StoredSnapshot::read(&dir.snapshots(), &snapshot.id).metadata().irregular_sections().count()
    };
    assert_eq!([sections(&full), sections(&same), sections(&other)], [1, 0, 1]);
    assert_eq!((&same.checksum, &same.irregular), (&full.checksum, &full.irregular));
    assert!(same.size_bytes < full.size_bytes);
}

#[tokio::test]
async fn a_foreign_table_of_many_sections_with_a_row_larger_than_one_is_kept_and_a_corrupt_section_is_named() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("a.db");
    let rows = RawRows { vectors: [(bytes("a"), encode_vector(&[1.0]))].into(), ..RawRows::default() };
    rows.write_over(&RawRows::default(), &path);
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let files: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("files");
        let mut table = transaction.open_table(files).unwrap();
        // Noise: changed bytes of it cannot expand to the same.
        let mut random = 1u64;
        let mut noise = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 56) as u8
        };
        let large: Vec<u8> = (0..20 << 20).map(|_| noise()).collect();
        table.insert("large", large.as_slice()).unwrap();
        (0..30).for_each(|at| drop(table.insert(format!("{at}").as_str(), vec![at; 200_000].as_slice()).unwrap()));
        drop(table);
        transaction.commit().unwrap();
    }
    let snapshot = create(&manager, &path, None).await;
    let same = create(&manager, &path, Some(&snapshot)).await;
    assert_restores(&manager, &dir, &same, &tables(&path)).await;
    let stored = StoredSnapshot::read(&dir.snapshots(), &snapshot.id);
    let metadata = stored.metadata();
    let sections: Vec<_> = metadata.irregular_sections().collect();
    let sizes: Vec<_> = sections.iter().map(|section| section.raw_bytes >> 20).collect();
    assert_eq!(sizes, [8, 8, 8, 1]);
    for section in sections {
        let mut index = stored.file("index.bin.gz").to_vec();
        index[(section.offset + section.bytes / 2) as usize] ^= 1;
        stored.put("index.bin.gz", &index);
        let report = manager.verify_snapshot_with(&same.id, &Default::default()).await.unwrap();
        let named = report.corruption.iter().any(|one| one.detail.contains(&format!("section {:?}", section.name)));
        assert!(named, "{}: {report:?}", section.name);
        let error = manager.restore_snapshot_to(&same.id, dir.restored(), &RestoreOptions::default()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
        dir.assert_nothing_restored();
        assert_eq!(manager.compact_snapshot(&same.id, None).await.unwrap_err().kind(), ErrorKind::Corrupt);
        stored.repair();
    }
}

// ---- databases in memory, and targets

fn memory_database() -> VectorDB {
    let db = VectorDB::new(options("memory://irregular", 2)).unwrap();
    let mut nested = serde_json::json!(1);
    (0..140).for_each(|_| nested = serde_json::json!([nested]));
    let entry = |id: &str, metadata| VectorEntry { id: Some(id.to_owned()), vector: vec![1.0, 2.0], metadata };
    db.insert(entry("a", None)).unwrap();
    db.insert(entry("deep", json_object(serde_json::json!({ "a": nested })))).unwrap();
    db.insert(entry(&"i".repeat((1 << 20) + 1), None)).unwrap();
    db
}

#[tokio::test]
async fn irregular_records_of_a_database_in_memory_are_kept() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let db = memory_database();
    let snapshot = manager.create_snapshot(&db, "memory").await.unwrap();
    assert_eq!((snapshot.vector_count, snapshot.irregular.as_ref().unwrap().records), (1, 2));
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    let same = manager.create_incremental_snapshot(&db, "memory", &snapshot.id).await.unwrap();
    assert_eq!((&same.checksum, &same.irregular), (&snapshot.checksum, &snapshot.irregular));
    manager.restore_snapshot_to(&same.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    let rows = rows_of_file(&dir.restored());
    assert_eq!(rows.vectors.len(), 3);
    assert_eq!(rows.metadata["deep"].as_bytes(), deep());
    let file = create(&manager, &dir.restored(), None).await;
    assert_eq!(file.checksum, snapshot.checksum);
}

/// A target that keeps ids, and rows only if it is asked to.
#[derive(Default)]
struct Collected {
    ids: Vec<String>,
    rows: Option<Vec<(String, Vec<u8>)>>,
    has_ended: bool,
}

struct WithoutIrregular(Collected);

impl RestoreTarget for WithoutIrregular {
    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        self.0.put(records)
    }
}

impl RestoreTarget for Collected {
    fn put_irregular(&mut self, item: IrregularItem<'_>) -> Result<()> {
        if let IrregularItem::Row { table, key, .. } = item {
            self.rows.get_or_insert_default().push((table.name.clone(), key.to_vec()));
        }
        Ok(())
    }

    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        self.ids.extend(records.map(|record| record.id.to_owned()));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.has_ended = true;
        Ok(())
    }
}

#[tokio::test]
async fn a_target_that_cannot_store_irregular_rows_refuses_them_unless_they_are_skipped() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let snapshot = manager.create_snapshot(&memory_database(), "memory").await.unwrap();
    let warnings = Arc::new(Warnings::default());
    let skip = RestoreOptions::default().skip_irregular(true).progress(warnings.clone());

    let error = manager.restore_snapshot(&snapshot.id).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("2 records") && error.to_string().contains("restore to a file"), "{error}");
    let db = manager.restore_snapshot_with(&snapshot.id, &skip).await.unwrap();
    assert_eq!(db.keys().unwrap(), ["a"]);
    assert!(warnings.list()[0].contains("2 records of the snapshot are not restored"));

    let mut refusing = WithoutIrregular(Collected::default());
    let error = manager.restore_into(&snapshot.id, &mut refusing, &RestoreOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), refusing.0.ids.len()), (ErrorKind::Unsupported, 0));
    manager.restore_into(&snapshot.id, &mut refusing, &skip).await.unwrap();
    assert_eq!(refusing.0.ids, ["a"]);

    let mut collected = Collected::default();
    manager.restore_into(&snapshot.id, &mut collected, &RestoreOptions::default()).await.unwrap();
    let rows = collected.rows.unwrap();
    let names: Vec<_> = rows.iter().map(|(table, key)| (table.as_str(), key.len())).collect();
    assert_eq!(names, [("metadata", 4), ("vectors", 4), ("vectors", (1 << 20) + 1)]);
    assert!(collected.has_ended);
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &skip).await.unwrap();
    assert_eq!(rows_of_file(&dir.restored()).vectors.len(), 1);
}

/// A source with a table of a type that no version of redb has.
#[derive(Debug)]
struct OfTheFuture;

struct OfTheFutureReader {
    database: DatabaseInfo,
    table: Option<IrregularTable>,
    yielded: Option<IrregularTable>,
}

impl SnapshotSource for OfTheFuture {
    fn open(&self) -> Result<Box<dyn SourceReader>> {
        let table = Some(table_of_the_future());
        Ok(Box::new(OfTheFutureReader { database: DatabaseInfo::new(2), table, yielded: None }))
    }
}

impl SourceReader for OfTheFutureReader {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        Ok(None)
    }

    fn next_irregular(&mut self) -> Result<Option<IrregularItem<'_>>> {
        self.yielded = self.table.take();
        Ok(self.yielded.as_ref().map(IrregularItem::Table))
    }
}

fn table_of_the_future() -> IrregularTable {
    let column = |name: &str| ColumnType { origin: TypeOrigin::Redb, name: name.to_owned(), width: None };
    IrregularTable { name: "future".to_owned(), key: column("f16"), value: column("&str") }
}

#[tokio::test]
async fn a_table_of_unknown_types_is_refused_by_create_verify_and_restore_alike() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let error = manager.create_from(&OfTheFuture, "future", &CreateOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"f16\"") && error.to_string().contains("\"future\""), "{error}");
    manager.wait_for_cleanup().await;
    dir.assert_no_snapshots();

    // A snapshot of a newer program.
    let (mut encoder, mut files, mut writer) = (Encoder::default(), MemoryFiles::default(), Writer::new());
    encoder.push(IrregularItem::Table(&table_of_the_future())).unwrap();
    let (section, counts) = encoder.finish().unwrap();
    files.append(writer.append_irregular(&section, 6).unwrap());
    let database = DatabaseInfo::new(2);
    let (pieces, data) = writer.finish(&database, None, 6).unwrap();
    files.append(pieces);
    let id: SnapshotId = "20260131T080000000Z-0123456789abcdef".parse().unwrap();
    let created_at = "2026-01-31T08:00:00Z".parse().unwrap();
    let mut metadata = SnapshotMetadata::new(id.clone(), "newer", created_at, &database, data);
    metadata.checksum.merge(&counts.checksum);
    metadata.set_irregular(Some(IrregularInfo::new(0, &counts, Vec::new())));
    let metadata_json = metadata.encode().unwrap();
    let prefix = dir.snapshots().join(format!("snapshot-{id}"));
    std::fs::create_dir(&prefix).unwrap();
    let sums = metadata.checksum_sha256(&metadata_json).unwrap();
    for (name, bytes) in [
        ("metadata.json", metadata_json.as_slice()),
        ("checksum.sha256", sums.as_bytes()),
        ("vectors.bin.gz", &files.vectors),
        ("index.bin.gz", &files.index),
        ("metadata.bin.gz", &files.payloads),
    ] {
        std::fs::write(prefix.join(name), bytes).unwrap();
    }
    let id = id.as_str();
    let verified = manager.verify_snapshot_with(id, &Default::default()).await.unwrap_err();
    let restored = manager.restore_snapshot_to(id, dir.restored(), &RestoreOptions::default()).await.unwrap_err();
    assert_eq!([verified.kind(), restored.kind()], [ErrorKind::Unsupported; 2]);
    assert!(restored.to_string().contains("\"f16\""), "{restored}");
    dir.assert_nothing_restored();
}

#[tokio::test]
async fn a_foreign_table_whose_types_cannot_be_restored_is_named() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    RawRows::default().write_over(&RawRows::default(), &path);
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let odd: TableDefinition<'_, u8, [u8; 777]> = TableDefinition::new("odd");
        transaction.open_table(odd).unwrap().insert(1, [0; 777]).unwrap();
        let raw: TableDefinition<'_, RawText, RawText> = TableDefinition::new("raw");
        transaction.open_table(raw).unwrap();
        transaction.commit().unwrap();
    }
    let snapshot = create(&dir.manager(), &path, None).await;
    assert_eq!(snapshot.source.not_captured, ["table \"odd\" (its types cannot be restored)"]);
    assert_eq!(snapshot.irregular.unwrap().tables, 1);
}
