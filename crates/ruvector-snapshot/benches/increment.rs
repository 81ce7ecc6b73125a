//! How much an increment stores and how long it takes, against a full snapshot of the same database in the same run;
//! and whether a long chain comes back exactly, also once one of it was compacted.
//!
//!     cargo bench -p ruvector-snapshot --bench increment -- [ROWS] [DATABASE] [INCREMENTS] [NEIGHBOURS] [STORE]
//!
//! Without a database file it makes one of ROWS (by default 100,000) random vectors of 384 dimensions. A file that is
//! given is copied first. Between two increments 1 % of the records get another vector, 1 % other metadata, 0.5 % are
//! removed and 0.5 % are new. What changes is spread over the whole of the database: single records, or NEIGHBOURS (1)
//! by id at a time, as the parts of a document are. The snapshots go to a directory of their own, or to STORE, an
//! address that has none yet.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::TableDefinition;
use ruvector_core::VectorEntry;
use ruvector_core::storage::VectorStorage;
use ruvector_snapshot::source::{FileOptions, FileReader, SourceReader as _};
use ruvector_snapshot::{CreateOptions, RestoreOptions, Snapshot, SnapshotConfig, SnapshotManager};

const DIMENSIONS: usize = 384;
/// Increments in the chain, unless the arguments give another number.
const INCREMENTS: usize = 30;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let rows = arguments.next().map_or(100_000, |rows| rows.parse().expect("ROWS is a number"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    match arguments.next() {
        Some(database) => drop(std::fs::copy(database, &path).unwrap()),
        None => make_database(&path, rows),
    }
    let increments = arguments.next().map_or(INCREMENTS, |count| count.parse().expect("INCREMENTS is a number"));
    let neighbours = arguments.next().map_or(1, |count| count.parse().expect("NEIGHBOURS is a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = match arguments.next() {
        Some(store) => SnapshotManager::open(&store, config).unwrap(),
        None => SnapshotManager::new(config).unwrap(),
    };
    let create = |base: Option<&Snapshot>| {
        let mut options = CreateOptions::default();
        options.base_id = base.map(|base| base.id.clone());
        timed(|| runtime.block_on(manager.create_snapshot_of_file(&path, "bench", &options)).unwrap())
    };

    let (_, _) = create(None);
    let (full_time, full) = create(None);
    println!("full        {:>8} records  {:>12} bytes  {full_time:>8.3?}", full.vector_count, full.size_bytes);
    let (none_time, none) = create(Some(&full));
    println!("no change   {:>8} records  {:>12} bytes  {none_time:>8.3?}", none.vector_count, none.size_bytes);
    let mut chain = vec![none];
    let mut states = Vec::new();
    for round in 0..increments - 1 {
        change(&path, round as u64, neighbours);
        let (time, next) = create(chain.last());
        let changes = next.changes.unwrap();
        println!(
            "increment   +{} ~{} -{}  {:>12} bytes, {:.2} % of full  {time:>8.3?}, {:.3} of full",
            changes.added,
            changes.changed,
            changes.removed,
            next.size_bytes,
            100.0 * next.size_bytes as f64 / full.size_bytes as f64,
            time.as_secs_f64() / full_time.as_secs_f64()
        );
        states.push(next.checksum.clone());
        chain.push(next);
    }

    let last = chain.last().unwrap();
    let place = dir.path().join("restored.db");
    let options = RestoreOptions::default().overwrite(true);
    let restore = |id: &str| timed(|| runtime.block_on(manager.restore_snapshot_to(id, &place, &options)).unwrap()).0;
    let chain_time = restore(&last.id);
    let (whole_time, whole) = create(None);
    assert_eq!(whole.checksum, last.checksum, "the chain is not the database");
    println!("restore of {} in a chain {chain_time:.3?}; a full one now takes {whole_time:.3?}", chain.len() + 1);
    println!("restore of that full one {:.3?}", restore(&whole.id));
    for (at, link) in chain.iter().enumerate() {
        let (time, compacted) = timed(|| runtime.block_on(manager.compact_snapshot(&link.id, None)).unwrap());
        assert_eq!(compacted.checksum, link.checksum);
        let restored = restore(&compacted.id);
        if at + 1 == chain.len() {
            println!("compact of {} in a chain {time:.3?}, and the restore of that {restored:.3?}", at + 2);
        }
        runtime.block_on(manager.delete_snapshot(&compacted.id)).unwrap();
    }
    println!("each of the {} increments was compacted and restored", chain.len());
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let done = work();
    (began.elapsed(), done)
}

/// Changes records all over the database, others in every round.
fn change(path: &Path, round: u64, neighbours: usize) {
    let mut source = FileReader::open(path, &FileOptions::default()).unwrap();
    let dimensions = source.database().dimensions as usize;
    let mut ids = Vec::new();
    while let Some(record) = source.next_record().unwrap() {
        ids.push(record.id.to_owned());
    }
    drop(source);
    let storage = VectorStorage::new(path, dimensions).unwrap();
    let pick = |share: usize, salt: u64| {
        let mut state = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt;
        let runs = ids.len() * share / 1000 / neighbours;
        let starts = (0..runs).map(|_| (next(&mut state) % ids.len() as u64) as usize);
        starts.flat_map(|start| ids.iter().skip(start).take(neighbours).cloned()).collect::<Vec<_>>()
    };
    let mut changed = Vec::new();
    for id in pick(10, 1) {
        let Some(mut entry) = storage.get(&id).unwrap() else { continue };
        entry.vector = vector(dimensions, round ^ changed.len() as u64);
        entry.id = Some(id);
        changed.push(entry);
    }
    storage.insert_batch(&changed).unwrap();
    let mut described = Vec::new();
    for id in pick(10, 2) {
        let Some(mut entry) = storage.get(&id).unwrap() else { continue };
        entry.metadata = Some(HashMap::from([("round".to_owned(), serde_json::json!([round, described.len()]))]));
        entry.id = Some(id);
        described.push(entry);
    }
    storage.insert_batch(&described).unwrap();
    drop(storage);
    remove(path, &pick(5, 3));
    let storage = VectorStorage::new(path, dimensions).unwrap();
    let new: Vec<VectorEntry> = pick(5, 4)
        .into_iter()
        .enumerate()
        .map(|(at, id)| VectorEntry {
            id: Some(format!("{id}+{round}.{at}")),
            vector: vector(dimensions, round.wrapping_mul(77) ^ at as u64),
            metadata: None,
        })
        .collect();
    storage.insert_batch(&new).unwrap();
}

/// Removes records in one commit; the storage makes two of each.
fn remove(path: &Path, ids: &[String]) {
    let database = redb::Database::open(path).unwrap();
    let writing = database.begin_write().unwrap();
    {
        let mut vectors = writing.open_table(TableDefinition::<&str, &[u8]>::new("vectors")).unwrap();
        let mut metadata = writing.open_table(TableDefinition::<&str, &str>::new("metadata")).unwrap();
        for id in ids {
            vectors.remove(id.as_str()).unwrap();
            metadata.remove(id.as_str()).unwrap();
        }
    }
    writing.commit().unwrap();
}

fn make_database(path: &Path, rows: usize) {
    let storage = VectorStorage::new(path, DIMENSIONS).unwrap();
    let entry = |at: usize| VectorEntry {
        id: Some(format!("id-{at:09}")),
        vector: vector(DIMENSIONS, at as u64),
        metadata: Some(HashMap::from([("n".to_owned(), serde_json::json!(at))])),
    };
    for first in (0..rows).step_by(10_000) {
        let entries: Vec<_> = (first..rows.min(first + 10_000)).map(entry).collect();
        storage.insert_batch(&entries).unwrap();
    }
}

fn vector(dimensions: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    (0..dimensions).map(|_| (next(&mut state) >> 40) as f32 / 16_777_216.0 - 0.5).collect()
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
