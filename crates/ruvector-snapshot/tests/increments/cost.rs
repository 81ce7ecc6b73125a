//! What an increment costs, counted: requests, bytes that are read from the store, bytes that are stored. A change of
//! these numbers is a change of what users pay and wait for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;
use ruvector_snapshot::format::index::{self, BlockEntry};
use ruvector_snapshot::format::layout::{self, DataFile};
use ruvector_snapshot::store::fault::{Call, FaultStore, Moment, Steps};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{Changes, Snapshot, SnapshotManager};

use crate::bench::{Random, Ticking, take};
use crate::common::large::make_vectors;
use crate::common::stored::Stored;
use crate::common::watched::Watched;
use crate::common::{METADATA, Place, VECTORS, encoded, make_database};

/// How often each call was made from a step on, without those that never were.
fn requests(steps: &Steps, from: usize) -> BTreeMap<Call, usize> {
    let mut counts = BTreeMap::new();
    for step in steps.log().into_iter().skip(from).filter(|step| step.moment == Moment::Before) {
        *counts.entry(step.call).or_default() += 1;
    }
    counts
}

fn in_memory() -> Arc<dyn SnapshotStore> {
    open(&Location::Memory, &StoreConfig::default()).unwrap()
}

fn manager(place: &Place, store: Arc<dyn SnapshotStore>) -> SnapshotManager {
    let manager = SnapshotManager::with_store(place.config(), store).unwrap();
    manager.with_clock(Arc::new(Ticking::from_year(2020)))
}

#[tokio::test]
async fn the_requests_of_an_increment_grow_with_its_chain_by_a_few_a_link() {
    let place = Place::new();
    let path = place.path("a.db");
    make_database(&path, 500, 4, 1);
    let (store, steps) = FaultStore::over(in_memory(), []);
    let manager = manager(&place, store);
    let mut base = take(&manager, &path, None).await.unwrap();
    for links in 1..=31 {
        let from = steps.log().len();
        base = take(&manager, &path, Some(&base)).await.unwrap();
        let expected = [
            // metadata.json of each link.
            (Call::Get, links),
            // The leaf table of each link.
            (Call::GetRange, links),
            // The three data files of each link, and the metadata.json at both looks; whether the id is free, and the size of
            // each new data file.
            (Call::Head, (3 + 2) * links + 1 + 3),
            // Each link before the upload and after the commit; whether it was swept meanwhile, before the commit and
            // after it: the marks, then the files.
            (Call::List, 2 * links + 2 * 2),
            // upload.json, checksum.sha256 and metadata.json.
            (Call::Create, 3),
            (Call::Upload, 3),
            // Three sections, and a member without rows in each of the other two files.
            (Call::Write, 3 + 2),
            (Call::Finish, 3),
            // upload.json.
            (Call::Delete, 1),
        ];
        assert_eq!(requests(&steps, from), BTreeMap::from(expected), "{links} links");
    }
}

#[tokio::test]
async fn the_requests_of_reading_a_chain_grow_with_it_by_a_few_a_link() {
    let place = Place::new();
    let path = place.path("a.db");
    make_database(&path, 500, 4, 1);
    let (store, steps) = FaultStore::over(in_memory(), []);
    let manager = manager(&place, store);
    let mut newest = take(&manager, &path, None).await.unwrap();
    for links in 2..=8 {
        newest = take(&manager, &path, Some(&newest)).await.unwrap();
        let from = steps.log().len();
        manager.restore_snapshot_to(&newest.id, place.restored(), &Default::default()).await.unwrap();
        std::fs::remove_file(place.restored()).unwrap();
        // metadata.json and the directory of each link; the section of the options, and the pieces of the one block.
        let expected = BTreeMap::from([(Call::Get, links), (Call::GetRange, links + 1 + 3)]);
        assert_eq!(requests(&steps, from), expected, "a restore of {links} links");

        let from = steps.log().len();
        assert!(manager.verify_snapshot(&newest.id).await.unwrap());
        let expected = [
            // metadata.json and checksum.sha256.
            (Call::Get, 2 * links),
            (Call::Head, 3 * links),
            // Of each link its directory, the section of the options, and the end of the index file, where the sections
            // are; its leaf table, and its directory once more for the state. Of an increment without rows the two
            // members without rows. Of the full one the pieces of the one block, and again for the state.
            (Call::GetRange, 5 * links + 2 * (links - 1) + 2 * 3),
        ];
        assert_eq!(requests(&steps, from), BTreeMap::from(expected), "a verify of {links} links");
    }
}

const ROWS: usize = 20_000;
const DIMENSIONS: usize = 128;
/// What an increment may store beside rows: metadata.json, checksum.sha256, sections and members without rows.
const FIXED_BYTES: u64 = 3_000;
/// What it may store of a row beside its vector: its id, its digest, its metadata, and the leaf that it lies in.
const ROW_BYTES: u64 = 100;
const VECTOR_BYTES: u64 = DIMENSIONS as u64 * 4;

/// A database of many rows, a full snapshot of it, and a store that counts what is read.
struct Bench {
    place: Place,
    path: PathBuf,
    store: Arc<Watched>,
    manager: SnapshotManager,
    full: Snapshot,
    stored: Stored,
}

/// What an increment came to.
struct Cost {
    made: Snapshot,
    /// Bytes that were read, by the names of the files.
    read: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Table {
    Vectors,
    Metadata,
}

impl Bench {
    async fn new() -> Self {
        let place = Place::new();
        let path = place.path("a.db");
        make_vectors(&path, ROWS, DIMENSIONS);
        let location = Location::Local(place.snapshots());
        let store = Watched::over(open(&location, &StoreConfig::default()).unwrap());
        let manager = manager(&place, store.clone());
        let full = take(&manager, &path, None).await.unwrap();
        let stored = Stored::read(&place.snapshots(), &full.id);
        assert!(stored.entries().len() > 3, "one block in many is to be read");
        Self { place, path, store, manager, full, stored }
    }

    /// An increment of a copy of the database in which these rows have another vector, or other metadata.
    async fn increment(&self, rows: impl Iterator<Item = usize>, table: Table) -> Cost {
        let changed = self.place.path("changed.db");
        std::fs::copy(&self.path, &changed).unwrap();
        change(&changed, rows, table);
        self.store.bytes_read();
        let made = take(&self.manager, &changed, Some(&self.full)).await.unwrap();
        let mut read: BTreeMap<String, u64> = BTreeMap::new();
        for (key, bytes) in self.store.bytes_read() {
            let (id, file) = layout::parse_key(&key).unwrap();
            assert_eq!(id.as_str(), self.full.id, "{file} was read");
            *read.entry(file.to_owned()).or_default() += bytes;
        }
        Cost { made, read }
    }

    /// What there is to read of the base: metadata.json and the leaf table whatever changed, and where a change lies in
    /// one of these blocks, the directory and the ids, digests and metadata of those.
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
            vectors.insert(id.as_str(), encoded(&random.vector(DIMENSIONS)).as_slice()).unwrap();
        } else {
            metadata.insert(id.as_str(), format!("{{\"row\":{}}}", random.next() >> 40).as_str()).unwrap();
        }
    }
    drop((vectors, metadata));
    transaction.commit().unwrap();
}

impl Cost {
    /// So many rows were changed, and what was stored is in proportion.
    #[track_caller]
    fn assert_stores(&self, rows: u64, row_bytes: u64) {
        let Changes { added, changed, removed, .. } = self.made.changes.unwrap();
        assert_eq!((added, changed, removed), (0, rows, 0));
        let bound_bytes = FIXED_BYTES + rows * row_bytes;
        assert!(self.made.size_bytes <= bound_bytes, "{} bytes of {rows} rows", self.made.size_bytes);
    }

    #[track_caller]
    fn assert_reads_at_most(&self, readable: &BTreeMap<String, u64>) {
        let is_over = |(file, bytes): &(&String, &u64)| readable.get(*file).is_none_or(|readable| *bytes > readable);
        let over: Vec<_> = self.read.iter().filter(is_over).collect();
        assert!(over.is_empty(), "{over:?} of {readable:?}");
    }
}

#[tokio::test]
async fn an_increment_stores_and_reads_what_changed_and_never_a_vector_of_its_base() {
    let bench = Bench::new().await;
    let blocks = bench.stored.entries();
    let empty = bench.increment(std::iter::empty(), Table::Vectors).await;
    empty.assert_stores(0, 0);
    empty.assert_reads_at_most(&bench.readable(&[]));
    // One row, 1 % of all side by side, and 1 % of all everywhere.
    let cases: [(Vec<usize>, &[BlockEntry]); 3] = [
        (vec![7], &blocks[..1]),
        ((7..7 + ROWS / 100).collect(), &blocks[..1]),
        ((7..ROWS).step_by(100).collect(), &blocks),
    ];
    for (rows, blocks) in cases {
        let count = rows.len() as u64;
        let cost = bench.increment(rows.iter().copied(), Table::Vectors).await;
        cost.assert_stores(count, VECTOR_BYTES + ROW_BYTES);
        cost.assert_reads_at_most(&bench.readable(blocks));

        let cost = bench.increment(rows.iter().copied(), Table::Metadata).await;
        cost.assert_stores(count, ROW_BYTES);
        cost.assert_reads_at_most(&bench.readable(blocks));
        let vectors = DataFile::Vectors.name();
        assert_eq!(cost.made.files[vectors], empty.made.files[vectors], "a vector was stored that had not changed");
    }
}

#[tokio::test]
async fn what_stands_above_a_base_without_a_leaf_table_costs_no_more_than_elsewhere() {
    let place = Place::new();
    let path = place.path("a.db");
    make_database(&path, 5_000, 16, 1);
    let store = Watched::over(in_memory());
    let manager = manager(&place, store.clone());
    let full = take(&manager, &path, None).await.unwrap();
    let database = manager.restore_snapshot(&full.id).await.unwrap();
    let mut base = manager.create_snapshot(&database, "in memory").await.unwrap();
    let rows_read = || {
        let read = store.bytes_read();
        read.into_iter()
            .filter(|(key, _)| key.ends_with(DataFile::Payloads.name()))
            .map(|(_, bytes)| bytes)
            .sum::<u64>()
    };
    rows_read();
    base = take(&manager, &path, Some(&base)).await.unwrap();
    assert!(rows_read() > 0, "without a table all rows are compared");
    let compacted = manager.compact_snapshot(&base.id, None).await.unwrap();
    for base in [base, compacted] {
        rows_read();
        let made = take(&manager, &path, Some(&base)).await.unwrap();
        assert_eq!(rows_read(), 0);
        assert!(made.size_bytes <= FIXED_BYTES, "{} bytes", made.size_bytes);
        assert_eq!(made.checksum, full.checksum);
    }
}
