//! The cost of increments: requests, bytes read from the store and bytes stored. A change of these numbers changes what
//! users pay and how long they wait.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;
use ruvector_snapshot::store::testing::fault::{Call, FaultStore};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{Changes, Snapshot, SnapshotManager};
use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::layout::{self, DataFile};
use test_fixtures::{
    CountingStore, METADATA, StoredSnapshot, TestDir, TickingClock, VECTORS, encode_vector, make_database,
    make_large_database, memory_store,
};

use super::fixture::{Random, create, create_from_elsewhere};
use crate::common::count_calls;

fn manager(dir: &TestDir, store: Arc<dyn SnapshotStore>) -> SnapshotManager {
    dir.manager_with_store(store).with_clock(TickingClock::seconds_from_year(2020))
}

#[tokio::test]
async fn an_increment_takes_a_few_requests_more_per_link_of_its_chain() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    make_database(&path, 500, 4, 1);
    let (store, steps) = FaultStore::over(memory_store(), []);
    let manager = manager(&dir, store);
    let mut base = create(&manager, &path, None).await.unwrap();
    for links in 1..=31 {
        let from = steps.log().len();
        base = create(&manager, &path, Some(&base)).await.unwrap();
        let expected = [
            // metadata.json of each link.
            (Call::Get, links),
            // The leaf table of each link.
            (Call::GetRange, links),
            // The metadata.json of each link at both checks. Whether the id is free, and the size of each new data file.
            (Call::Head, 2 * links + 1 + 3),
            // Each link: its files and its ledger, and its markers before the upload and after the commit. Whether the upload was collected meanwhile, before and
            // after the commit: the markers, then the files.
            (Call::List, (1 + 2) * links + 2 * 2),
            // upload.json, checksum.sha256 and metadata.json.
            (Call::Create, 3),
            (Call::Upload, 3),
            // The sections, and an empty member in each of the other two files.
            (Call::Write, 1 + 2),
            (Call::Finish, 3),
            // upload.json.
            (Call::Delete, 1),
        ];
        assert_eq!(count_calls(&steps.log()[from..]), BTreeMap::from(expected), "{links} links");
    }
}

#[tokio::test]
async fn a_restore_and_a_verify_take_a_few_requests_more_per_link_of_the_chain() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    make_database(&path, 500, 4, 1);
    let (store, steps) = FaultStore::over(memory_store(), []);
    let manager = manager(&dir, store);
    let mut newest = create(&manager, &path, None).await.unwrap();
    for links in 2..=8 {
        newest = create(&manager, &path, Some(&newest)).await.unwrap();
        let from = steps.log().len();
        manager.restore_snapshot_to(&newest.id, dir.restored(), &Default::default()).await.unwrap();
        std::fs::remove_file(dir.restored()).unwrap();
        // metadata.json, the names of the ledger entries and the directory of each link, the section of the options, and the
        // pieces of the one block.
        let expected = BTreeMap::from([(Call::Get, links), (Call::List, links), (Call::GetRange, links + 1 + 3)]);
        assert_eq!(count_calls(&steps.log()[from..]), expected, "a restore of {links} links");

        let from = steps.log().len();
        assert!(manager.verify_snapshot(&newest.id).await.unwrap());
        let expected = [
            // metadata.json and checksum.sha256.
            (Call::Get, 2 * links),
            // The sizes; and whether each snapshot is still there when its entry is written.
            (Call::Head, (3 + 1) * links),
            (Call::Create, links),
            // The names of the annotations.
            (Call::List, links),
            // Of each link: its directory, the section of the options, the end of the index file (which holds the
            // sections), its leaf table, and its directory again for the state. Of an empty increment: its two empty
            // members. Of the full snapshot: the pieces of the one block, and again for the state.
            (Call::GetRange, 5 * links + 2 * (links - 1) + 2 * 3),
        ];
        assert_eq!(count_calls(&steps.log()[from..]), BTreeMap::from(expected), "a verify of {links} links");
    }
}

const ROWS: usize = 20_000;
const DIMENSIONS: usize = 128;
/// The bytes that an increment may store besides rows: metadata.json, checksum.sha256, sections and empty members.
const FIXED_BYTES: u64 = 3_500;
/// The bytes that it may store per row besides the vector: its id, its digest, its metadata, and its leaf.
const ROW_BYTES: u64 = 100;
const VECTOR_BYTES: u64 = DIMENSIONS as u64 * 4;

/// A database of many rows, a full snapshot of it, and a store that counts the bytes read.
struct Fixture {
    dir: TestDir,
    path: PathBuf,
    store: Arc<CountingStore>,
    manager: SnapshotManager,
    full: Snapshot,
    stored: StoredSnapshot,
}

/// An increment and what it cost.
struct Cost {
    made: Snapshot,
    /// Bytes read, by the name of the file.
    read: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Table {
    Vectors,
    Metadata,
}

impl Fixture {
    async fn new() -> Self {
        let dir = TestDir::new();
        let path = dir.path("a.db");
        make_large_database(&path, ROWS, DIMENSIONS);
        let location = Location::Local(dir.snapshots());
        let store = CountingStore::over(open(&location, &StoreConfig::default()).unwrap());
        let manager = manager(&dir, store.clone());
        let full = create(&manager, &path, None).await.unwrap();
        let stored = StoredSnapshot::read(&dir.snapshots(), &full.id);
        assert!(stored.entries().len() > 3, "the base needs several blocks");
        Self { dir, path, store, manager, full, stored }
    }

    /// Takes an increment of a copy of the database in which the vector or the metadata of some rows has changed.
    async fn increment(&self, rows: impl Iterator<Item = usize>, table: Table) -> Cost {
        let changed = self.dir.path("changed.db");
        std::fs::copy(&self.path, &changed).unwrap();
        change(&changed, rows, table);
        self.store.take_bytes_read();
        let made = create_from_elsewhere(&self.manager, &changed, Some(&self.full)).await.unwrap();
        let mut read: BTreeMap<String, u64> = BTreeMap::new();
        for (key, bytes) in self.store.take_bytes_read() {
            let (id, file) = layout::parse_key(&key).unwrap();
            assert_eq!(id.as_str(), self.full.id, "{file} was read");
            *read.entry(file.to_owned()).or_default() += bytes;
        }
        Cost { made, read }
    }

    /// Returns the bytes of the base that may be read, by file: metadata.json and the leaf table always. If these
    /// blocks contain changed rows, also the directory, and the ids, digests and metadata of the blocks.
    fn readable(&self, blocks: &[BlockEntry]) -> BTreeMap<String, u64> {
        let metadata = self.stored.metadata();
        let section = |name: &str| metadata.section(name).unwrap().bytes;
        let of_blocks = |file| blocks.iter().map(|entry| entry.range(file)).map(|range| range.end - range.start).sum();
        let (index, payloads): (u64, u64) = (of_blocks(DataFile::Index), of_blocks(DataFile::Payloads));
        let directory = if blocks.is_empty() { 0 } else { section(index::DIRECTORY) };
        let metadata_json = self.stored.file(layout::METADATA_JSON).len() as u64;
        let read = [
            (layout::METADATA_JSON, metadata_json),
            (DataFile::Index.name(), section(index::LEAVES) + directory + index),
            (DataFile::Payloads.name(), payloads),
        ];
        read.into_iter().filter(|(_, bytes)| *bytes > 0).map(|(file, bytes)| (file.to_owned(), bytes)).collect()
    }
}

fn change(path: &Path, rows: impl Iterator<Item = usize>, table: Table) {
    let mut random = Random::new(1);
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut vectors = transaction.open_table(VECTORS).unwrap();
    let mut metadata = transaction.open_table(METADATA).unwrap();
    for row in rows {
        let id = format!("row-{row:08}");
        if table == Table::Vectors {
            vectors.insert(id.as_str(), encode_vector(&random.vector(DIMENSIONS)).as_slice()).unwrap();
        } else {
            metadata.insert(id.as_str(), format!("{{\"row\":{}}}", random.next() >> 40).as_str()).unwrap();
        }
    }
    drop((vectors, metadata));
    transaction.commit().unwrap();
}

impl Cost {
    /// Asserts the number of changed rows, and that the stored bytes are in proportion.
    #[track_caller]
    fn assert_stores(&self, rows: u64, row_bytes: u64) {
        let Changes { added, changed, removed, .. } = self.made.changes.unwrap();
        assert_eq!((added, changed, removed), (0, rows, 0));
        let bound_bytes = FIXED_BYTES + rows * row_bytes;
        assert!(self.made.size_bytes <= bound_bytes, "{} bytes for {rows} rows", self.made.size_bytes);
    }

    #[track_caller]
    fn assert_reads_at_most(&self, readable: &BTreeMap<String, u64>) {
        let is_over = |(file, bytes): &(&String, &u64)| readable.get(*file).is_none_or(|readable| *bytes > readable);
        let over: Vec<_> = self.read.iter().filter(is_over).collect();
        assert!(over.is_empty(), "{over:?} of {readable:?}");
    }
}

#[tokio::test]
async fn an_increment_stores_changed_rows_only_and_reads_no_vector_of_its_base() {
    let fixture = Fixture::new().await;
    let blocks = fixture.stored.entries();
    let empty = fixture.increment(std::iter::empty(), Table::Vectors).await;
    empty.assert_stores(0, 0);
    empty.assert_reads_at_most(&fixture.readable(&[]));
    // One row, 1 % of the rows in a run, and 1 % of the rows spread over all blocks.
    let cases: [(Vec<usize>, &[BlockEntry]); 3] = [
        (vec![7], &blocks[..1]),
        ((7..7 + ROWS / 100).collect(), &blocks[..1]),
        ((7..ROWS).step_by(100).collect(), &blocks),
    ];
    for (rows, blocks) in cases {
        let count = rows.len() as u64;
        let cost = fixture.increment(rows.iter().copied(), Table::Vectors).await;
        cost.assert_stores(count, VECTOR_BYTES + ROW_BYTES);
        cost.assert_reads_at_most(&fixture.readable(blocks));

        let cost = fixture.increment(rows.iter().copied(), Table::Metadata).await;
        cost.assert_stores(count, ROW_BYTES);
        cost.assert_reads_at_most(&fixture.readable(blocks));
        let vectors = DataFile::Vectors.name();
        assert_eq!(cost.made.files[vectors], empty.made.files[vectors], "an unchanged vector was stored");
    }
}

#[tokio::test]
async fn only_the_first_increment_on_a_base_without_a_leaf_table_reads_all_rows() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    make_database(&path, 5_000, 16, 1);
    let store = CountingStore::over(memory_store());
    let manager = manager(&dir, store.clone());
    let full = create(&manager, &path, None).await.unwrap();
    let database = manager.restore_snapshot(&full.id).await.unwrap();
    let mut base = manager.create_snapshot(&database, "in memory").await.unwrap();
    let take_payload_bytes_read = || {
        let read = store.take_bytes_read();
        read.into_iter()
            .filter(|(key, _)| key.ends_with(DataFile::Payloads.name()))
            .map(|(_, bytes)| bytes)
            .sum::<u64>()
    };
    take_payload_bytes_read();
    base = create_from_elsewhere(&manager, &path, Some(&base)).await.unwrap();
    assert!(take_payload_bytes_read() > 0, "without a leaf table all rows are compared");
    let compacted = manager.compact_snapshot(&base.id, None).await.unwrap();
    for base in [base, compacted] {
        take_payload_bytes_read();
        let made = create(&manager, &path, Some(&base)).await.unwrap();
        assert_eq!(take_payload_bytes_read(), 0);
        assert!(made.size_bytes <= FIXED_BYTES, "{} bytes", made.size_bytes);
        assert_eq!(made.checksum, full.checksum);
    }
}
