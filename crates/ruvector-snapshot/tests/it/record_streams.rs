//! Streams of records: all of them with a proof, the rest after an id, those of some ids, and what is read for each.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, TryStreamExt as _};
use proptest::prelude::*;
use redb::Database;
use ruvector_core::VectorDB;
use ruvector_snapshot::store::{SnapshotStore, TransferConfig};
use ruvector_snapshot::{
    ErrorKind, Progress, ProgressUpdate, RecordFilter, RecordStream, Result, Snapshot, SnapshotConfig, SnapshotManager,
    StreamOptions, StreamProof,
};
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::model::OwnedRecord;
use test_fixtures::{
    CountingStore, METADATA, StoredSnapshot, TestDir, create_full, edit_metadata, entry, make_database,
    make_many_blocks, memory_store, objects, options, rows_of_file,
};
use test_servers::{Fault, Gate, S3Server};

use crate::common::bucket_stores::{s3_store, s3_store_with};
use crate::common::three_snapshots::key;

const ROWS: usize = 6000;

/// Returns all records of a stream.
async fn collect(stream: &mut RecordStream) -> Result<Vec<OwnedRecord>> {
    let mut records = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        assert!(!batch.is_empty());
        records.extend(batch.records().map(OwnedRecord::from));
    }
    Ok(records)
}

/// Returns the first error of a stream and the number of records before it. Nothing may follow it.
async fn first_error(stream: &mut RecordStream) -> (usize, ErrorKind, String) {
    let mut records = 0;
    loop {
        match stream.next().await.expect("an error") {
            Ok(batch) => records += batch.len(),
            Err(error) => {
                assert!(stream.next().await.is_none());
                return (records, error.kind(), error.to_string());
            }
        }
    }
}

/// A full snapshot of several blocks and an increment on it, in a directory.
struct ManyBlocks {
    dir: TestDir,
    full: Snapshot,
    newest: Snapshot,
    /// The records of both states, by id.
    states: [BTreeMap<String, Vec<u8>>; 2],
}

impl ManyBlocks {
    async fn new() -> Self {
        let dir = TestDir::new();
        let (path, manager) = (dir.path("a.db"), dir.manager());
        drop(make_many_blocks(&path, ROWS, 1));
        let before = rows_of_file(&path).vectors;
        let full = create_full(&manager, &path, "full").await.unwrap();
        let ids: Vec<_> = before.keys().cloned().collect();
        let db = VectorDB::new(options(&path, 16)).unwrap();
        // A change, a removal and an addition in each of two blocks, and metadata alone.
        for at in [10, 5000] {
            db.insert(entry(ids[at].clone(), at, 16, 2)).unwrap();
            db.delete(&ids[at + 1]).unwrap();
            db.insert(entry(format!("{}~", ids[at + 2]), at, 16, 3)).unwrap();
            let same_vector = entry(ids[at + 3].clone(), at + 3, 16, 1).vector;
            let changed = entry(ids[at + 3].clone(), 1, 16, 9);
            db.insert(ruvector_core::VectorEntry { vector: same_vector, ..changed }).unwrap();
        }
        drop(db);
        let newest = manager.create_snapshot_of_file(&path, "newest", &create_options(&full)).await.unwrap();
        assert_eq!(newest.changes.unwrap().rows(), 8);
        let after = rows_of_file(&path).vectors;
        Self { dir, full, newest, states: [before, after] }
    }

    fn entries(&self, snapshot: &Snapshot) -> Vec<BlockEntry> {
        StoredSnapshot::read(&self.dir.snapshots(), &snapshot.id).entries()
    }

    /// Returns a store that counts reads over each kind of store, all with the two snapshots.
    async fn stores(&self, server: &S3Server) -> [Arc<CountingStore>; 2] {
        let bucket = s3_store(server, "backups");
        for (key, bytes) in objects(self.dir.local_store().as_ref()).await {
            bucket.create(&key, bytes).await.unwrap();
        }
        [CountingStore::over(self.dir.local_store()), CountingStore::over(bucket)]
    }
}

fn create_options(base: &Snapshot) -> ruvector_snapshot::CreateOptions {
    ruvector_snapshot::CreateOptions::default().base_id(&base.id)
}

/// Returns how many bytes the pieces of these blocks have in each data file of a snapshot.
fn piece_bytes(snapshot: &Snapshot, entries: &[BlockEntry]) -> BTreeMap<String, u64> {
    let bytes = |range: Range<u64>| range.end - range.start;
    let of_file = |file: DataFile| entries.iter().map(|entry| bytes(entry.range(file))).sum();
    DataFile::ALL.map(|file| (key(&snapshot.id, file.name()), of_file(file))).into()
}

/// Returns the size of the sections that opening a snapshot of this chain reads in the index of `snapshot`.
fn section_bytes(many: &ManyBlocks, snapshot: &Snapshot, is_opened: bool) -> u64 {
    let metadata = StoredSnapshot::read(&many.dir.snapshots(), &snapshot.id).metadata();
    let database = if is_opened { metadata.section("database").unwrap().bytes } else { 0 };
    metadata.section("directory").unwrap().bytes + database
}

#[tokio::test]
async fn a_stream_of_some_records_reads_the_blocks_that_can_hold_them_and_no_other() {
    let many = ManyBlocks::new().await;
    let full = many.entries(&many.full);
    assert!(full.len() >= 3, "{}", full.len());
    let last_block = &full[full.len() - 1..];
    let server = S3Server::start();
    for store in many.stores(&server).await {
        let manager = many.dir.manager_with_store(store.clone());
        for (snapshot, state) in [&many.full, &many.newest].into_iter().zip(&many.states) {
            let ids: Vec<_> = state.keys().cloned().collect();
            let in_last = ids.iter().position(|id| *id >= last_block[0].first_id).unwrap();
            let two = [ids[in_last].clone(), ids[in_last + 7].clone()];
            let cases = [
                // The rest after an id, from the block on that can hold ids after it.
                (StreamOptions::default().after(&ids[in_last]), &ids[in_last + 1..]),
                (StreamOptions::default().after(&ids[ids.len() - 1]), &[][..]),
                (StreamOptions::default().filter(RecordFilter::default().ids(&two)), &two[..]),
            ];
            for (options, expected) in cases {
                // Where the records are is read from the index first.
                let index_reads = if options.filter.ids.is_some() { 2 } else { 1 };
                store.take_bytes_read();
                let mut stream = manager.restore_stream(&snapshot.id, options);
                let found: Vec<_> = collect(&mut stream).await.unwrap().into_iter().map(|record| record.id).collect();
                assert_eq!(found, expected);
                assert_eq!(stream.proof(), Some(StreamProof::RecordDigests));
                let read = store.take_bytes_read();
                for (key, mut bytes) in piece_bytes(&many.full, last_block) {
                    if key.ends_with(DataFile::Index.name()) {
                        bytes = bytes * index_reads + section_bytes(&many, &many.full, snapshot.id == many.full.id);
                    }
                    assert_eq!(read[&key], bytes, "{key}");
                }
                // The block of the increment could hold these ids, and holds none.
                let of_increment = read.get(&key(&many.newest.id, DataFile::Vectors.name()));
                assert!(index_reads == 1 || of_increment.is_none(), "{of_increment:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_of_all_records_ends_with_the_content_checksum() {
    let many = ManyBlocks::new().await;
    let manager = many.dir.manager();
    for (snapshot, state) in [&many.full, &many.newest].into_iter().zip(&many.states) {
        let mut stream = manager.restore_stream(&snapshot.id, StreamOptions::default());
        assert_eq!(stream.proof(), None);
        let records = collect(&mut stream).await.unwrap();
        assert_eq!(stream.proof(), Some(StreamProof::ContentChecksum));
        let found: Vec<_> = records.iter().map(|record| (record.id.as_str(), record.vector.as_slice())).collect();
        let expected: Vec<_> = state.iter().map(|(id, value)| (id.as_str(), &value[1..])).collect();
        assert!(found == expected);

        // The same records, and metadata.json claims another checksum.
        let stored = StoredSnapshot::read(&many.dir.snapshots(), &snapshot.id);
        let other = "1".repeat(64);
        let forged = edit_metadata(stored.file(layout::METADATA_JSON), |json| json["checksum"] = other.clone().into());
        stored.put(layout::METADATA_JSON, &forged);
        let mut stream = manager.restore_stream(&snapshot.id, StreamOptions::default());
        let (streamed, kind, message) = first_error(&mut stream).await;
        assert_eq!((streamed, kind, stream.proof()), (records.len(), ErrorKind::Corrupt, None));
        assert!(message.contains(&format!("instead of {other}")) && message.contains("do not use"), "{message}");
        // The rest after an id cannot be compared.
        let mut rest = manager.restore_stream(&snapshot.id, StreamOptions::default().after(&records[ROWS / 2].id));
        assert_eq!(collect(&mut rest).await.unwrap(), records[ROWS / 2 + 1..]);
        assert_eq!(rest.proof(), Some(StreamProof::RecordDigests));
        stored.repair();
    }
}

#[tokio::test]
async fn ids_that_are_in_no_record_are_missing() {
    let dir = TestDir::new();
    let (path, manager) = (dir.path("a.db"), dir.manager());
    make_database(&path, 10, 4, 1);
    let full = create_full(&manager, &path, "full").await.unwrap();
    let db = VectorDB::new(options(&path, 4)).unwrap();
    db.delete("id-000003").unwrap();
    drop(db);
    let newest = manager.create_snapshot_of_file(&path, "newest", &create_options(&full)).await.unwrap();
    let asked = ["", "id-000002", "id-000003", "id-000009", "id-0000090", "zz"];
    for (snapshot, removed) in [(&full, &[][..]), (&newest, &["id-000003"])] {
        for after in [None, Some("id-000002"), Some("zz")] {
            let mut options = StreamOptions::default().filter(RecordFilter::default().ids(asked));
            options.after = after.map(str::to_owned);
            let mut stream = manager.restore_stream(&snapshot.id, options);
            let is_after = |id: &&str| after.is_none_or(|after| *id > after);
            let is_there = |id: &&str| id.len() == 9 && !removed.contains(id);
            let found: Vec<_> = collect(&mut stream).await.unwrap().into_iter().map(|record| record.id).collect();
            assert_eq!(found, asked.into_iter().filter(is_after).filter(is_there).collect::<Vec<_>>());
            let missing: Vec<_> = asked.into_iter().filter(is_after).filter(|id| !is_there(id)).collect();
            assert_eq!(stream.missing_ids(), missing);
        }
    }
    let mut absent = manager.restore_stream("20260101T000000000Z-0000000000000000", StreamOptions::default());
    assert_eq!(first_error(&mut absent).await.1, ErrorKind::NotFound);
    assert_eq!(
        first_error(&mut manager.restore_stream("no id", StreamOptions::default())).await.1,
        ErrorKind::InvalidInput
    );
}

#[derive(Debug, Default)]
struct Reports(Mutex<(Vec<ProgressUpdate>, Vec<String>)>);

impl Progress for Reports {
    fn update(&self, update: ProgressUpdate) {
        self.0.lock().unwrap().0.push(update);
    }

    fn warning(&self, message: &str) {
        self.0.lock().unwrap().1.push(message.to_owned());
    }
}

#[tokio::test]
async fn rows_that_are_no_records_are_counted_in_a_warning_and_do_not_spoil_the_proof() {
    let dir = TestDir::new();
    let (path, manager) = (dir.path("a.db"), dir.manager());
    drop(make_database(&path, 10, 4, 1));
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(METADATA).unwrap().insert("no vector", "{}").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let snapshot = create_full(&manager, &path, "irregular").await.unwrap();
    let reports = Arc::new(Reports::default());
    let mut stream = manager.restore_stream(&snapshot.id, StreamOptions::default().progress(reports.clone()));
    assert_eq!(collect(&mut stream).await.unwrap().len(), 10);
    assert_eq!(stream.proof(), Some(StreamProof::ContentChecksum));
    let (updates, warnings) = &*reports.0.lock().unwrap();
    let irregular = snapshot.irregular.unwrap();
    assert_eq!(warnings, &[format!("irregular rows of the snapshot are not in the stream: {irregular}")]);
    assert_eq!((updates[0].records, updates[1].records, updates[1].records_total), (0, 10, 10));
}

#[tokio::test]
async fn a_stream_that_is_dropped_sends_no_more_requests_and_returns_its_permits() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    make_database(&path, 10, 4, 1);
    let server = S3Server::start();
    let transfers = TransferConfig::default().max_concurrent_io(1);
    let manager = dir.manager_with_store(s3_store_with(&server, "backups", transfers));
    let id = create_full(&manager, &path, "a").await.unwrap().id;

    // The answer to the first request for a piece never comes. The other two pieces wait for its permit.
    let sections = StoredSections::of(&server, &id);
    let (seen, mut first_piece) = tokio::sync::mpsc::unbounded_channel();
    let pieces = move |request: &test_servers::Request| {
        let range = request.header("range").unwrap_or_default().to_owned();
        request.is_get() && request.key().ends_with(".gz") && !sections.contains(&range)
    };
    let (is_piece, gate) = (pieces.clone(), Gate::closed());
    let held = gate.clone();
    server.wire().set(move |request, _| {
        is_piece(request).then(|| {
            seen.send(()).unwrap();
            Fault::Hold(held.clone())
        })
    });
    let mut stream = manager.restore_stream(&id, StreamOptions::default());
    tokio::select! {
        batch = stream.next() => panic!("{batch:?}"),
        Some(()) = first_piece.recv() => {}
    }
    drop(stream);
    // Needs the only permit.
    assert!(manager.get_snapshot(&id).await.unwrap().is_some());
    let requested = server.wire().requests().into_iter().filter(|request| pieces(request)).count();
    assert_eq!(requested, 1);
    gate.open();
}

/// The ranges of the sections of an index, as they are requested.
#[derive(Clone)]
struct StoredSections(BTreeSet<String>);

impl StoredSections {
    fn of(server: &S3Server, id: &str) -> Self {
        let objects = server.objects();
        let (_, json) = objects.iter().find(|(key, _)| key.ends_with(layout::METADATA_JSON)).unwrap();
        let metadata =
            ruvector_snapshot_format::metadata::SnapshotMetadata::decode(json, &id.parse().unwrap()).unwrap();
        let header = |range: Range<u64>| format!("bytes={}-{}", range.start, range.end - 1);
        Self(metadata.sections.iter().map(|section| header(section.range())).collect())
    }

    fn contains(&self, range: &str) -> bool {
        self.0.contains(range)
    }
}

/// Ids that sort in every way: empty, prefixes of each other, zero bytes, all planes of Unicode.
fn any_id() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,3}", "[\\x00a]{0,3}", "[aé犬\\u{10ffff}]{0,2}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_after_any_id_has_exactly_the_rest(
        first in prop::collection::btree_set(any_id(), 1..20),
        second in prop::collection::btree_set(any_id(), 1..20),
        others in prop::collection::vec(any_id(), 5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store: Arc<dyn SnapshotStore> = memory_store();
            let manager = SnapshotManager::with_store(SnapshotConfig::default(), store).unwrap();
            let db = VectorDB::new(options("memory://", 2)).unwrap();
            let insert = |ids: &BTreeSet<String>, seed| {
                let entries = ids.iter().enumerate().map(|(at, id)| entry(id.clone(), at, 2, seed));
                db.insert_batch(entries.collect::<Vec<_>>()).unwrap();
            };
            insert(&first, 1);
            let full = manager.create_snapshot(&db, "full").await.unwrap();
            // Replaces some, adds some, removes some.
            insert(&second, 2);
            for id in first.iter().step_by(3) {
                db.delete(id).unwrap();
            }
            let newest = manager.create_incremental_snapshot(&db, "newest", &full.id).await.unwrap();
            for snapshot in [&full, &newest] {
                let reader = manager.reader(&snapshot.id).await.unwrap();
                let all = collect(&mut reader.records().await.unwrap()).await.unwrap();
                let mut afters: BTreeSet<_> = first.union(&second).chain(&others).cloned().collect();
                afters.extend(["".to_owned(), "\u{10ffff}\u{10ffff}\u{10ffff}".to_owned()]);
                for after in afters {
                    let rest: Vec<_> = all.iter().filter(|record| record.id > after).cloned().collect();
                    let mut stream = reader.stream(&StreamOptions::default().after(&after)).await.unwrap();
                    assert_eq!(collect(&mut stream).await.unwrap(), rest, "{after:?}");
                }
            }
        });
    }
}
