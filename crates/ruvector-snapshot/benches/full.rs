//! How fast a full snapshot is taken, verified, searched and restored, and how small it is: ratios against other ways to do the
//! same work, measured in one run on one machine.
//!
//!     cargo bench -p ruvector-snapshot --bench full -- [ROWS] [DATABASE]
//!
//! Without a database file it makes one of ROWS (by default 100,000) random unit vectors of 384 dimensions. The rivals:
//! a plain copy of the database file, `gzip -6` and two of them side by side (what `pigz -6` does on two cores) over
//! the raw vectors, and a plain sorted insert of the same rows with redb.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ruvector_core::VectorEntry;
use ruvector_core::storage::VectorStorage;
use ruvector_core::types::DbOptions;
use ruvector_snapshot::source::{FileOptions, FileReader, SourceReader as _};
use ruvector_snapshot::{CreateOptions, Query, RestoreOptions, SearchOptions, SnapshotConfig, SnapshotManager};

const DIMENSIONS: usize = 384;
const RUNS: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let rows = arguments.next().map_or(100_000, |rows| rows.parse().expect("ROWS is a number"));
    let dir = tempfile::tempdir().unwrap();
    let database = arguments.next().map(PathBuf::from).unwrap_or_else(|| make_database(&dir.path().join("a.db"), rows));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();

    let rows = read(&database);
    let raw: Vec<u8> = rows.iter().flat_map(|(_, vector)| vector.iter().copied()).collect();
    println!("{} vectors, {} of f32, database file {}", rows.len(), size(raw.len() as u64), size(len(&database)));

    let create = best(|| {
        let options = CreateOptions::default();
        let work = manager.create_snapshot_of_file(&database, "bench", &options);
        runtime.block_on(work).unwrap();
    });
    let snapshot = runtime.block_on(manager.list_snapshots()).unwrap().remove(0);
    let verify = best(|| assert!(runtime.block_on(manager.verify_snapshot(&snapshot.id)).unwrap()));
    let [search, search_100] = [1, 100].map(|number| {
        let queries: Vec<_> = (0..number).map(|at| Query::like(rows[at * rows.len() / number].0.as_str())).collect();
        best(|| {
            let options = SearchOptions::default();
            let work = manager.search_snapshot(&snapshot.id, &queries, &options);
            assert_eq!(runtime.block_on(work).unwrap().results.len(), number);
        })
    });
    let place = dir.path().join("restored.db");
    let restore = best(|| {
        let options = RestoreOptions::default().overwrite(true);
        runtime.block_on(manager.restore_snapshot_to(&snapshot.id, &place, &options)).unwrap();
    });

    let copy = best(|| copy_synced(&database, &dir.path().join("copy.db")));
    let insert = best(|| insert_sorted(&rows, &dir.path().join("insert.db")));
    let mut gzip_bytes = 0;
    let gzip = best_of(1, || gzip_bytes = gzip_6(&raw));
    let gzip_twice = best_of(1, || {
        std::thread::scope(|scope| {
            let (first, second) = raw.split_at(raw.len() / 2);
            scope.spawn(|| gzip_6(first));
            gzip_6(second);
        });
    });

    let vectors_bytes = snapshot.files["vectors.bin.gz"];
    let rate = |time: Duration| format!("{:7.0} MB/s", raw.len() as f64 / time.as_secs_f64() / 1e6);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("create   {:8.3} s  {}", create.as_secs_f64(), rate(create));
    println!("verify   {:8.3} s  {}", verify.as_secs_f64(), rate(verify));
    println!("search   {:8.3} s  {}", search.as_secs_f64(), rate(search));
    println!("restore  {:8.3} s  {}", restore.as_secs_f64(), rate(restore));
    println!("copy     {:8.3} s  {}", copy.as_secs_f64(), rate(copy));
    println!("insert   {:8.3} s  {}", insert.as_secs_f64(), rate(insert));
    println!("gzip -6  {:8.3} s  {}", gzip.as_secs_f64(), rate(gzip));
    println!("2 x gzip {:8.3} s  {}", gzip_twice.as_secs_f64(), rate(gzip_twice));
    println!(
        "create is {:.1} x as fast as gzip -6 of the vectors alone, {:.1} x as two of them",
        ratio(gzip, create),
        ratio(gzip_twice, create)
    );
    println!(
        "search takes {:.2} x the time of verify for 1 query, {:.2} x for 100",
        ratio(search, verify),
        ratio(search_100, verify)
    );
    println!("create takes {:.2} x the time of a copy of the database file", ratio(create, copy));
    println!("restore takes {:.2} x the time of a sorted insert with redb", ratio(restore, insert));
    println!(
        "vectors.bin.gz is {:.4} of the f32 values; gzip -6 gives {:.4}",
        vectors_bytes as f64 / raw.len() as f64,
        gzip_bytes as f64 / raw.len() as f64
    );
    println!("the snapshot is {:.4} of the database file", snapshot.size_bytes as f64 / len(&database) as f64);
}

fn best(work: impl FnMut()) -> Duration {
    best_of(RUNS, work)
}

fn best_of(runs: usize, mut work: impl FnMut()) -> Duration {
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .min()
        .unwrap()
}

/// Unit vectors of normally distributed values, from a fixed seed.
fn make_database(path: &Path, rows: usize) -> PathBuf {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let storage = VectorStorage::new(path, DIMENSIONS).unwrap();
    let options = DbOptions { storage_path: path.display().to_string(), ..DbOptions::default() };
    storage.save_config(&options).unwrap();
    for batch in (0..rows).collect::<Vec<_>>().chunks(10_000) {
        let entries: Vec<_> = batch
            .iter()
            .map(|row| {
                let mut vector: Vec<f32> =
                    (0..DIMENSIONS).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect();
                let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                vector.iter_mut().for_each(|value| *value /= norm);
                let metadata = [("row".to_owned(), (*row).into())].into_iter().collect();
                VectorEntry { id: Some(format!("row-{row:09}")), vector, metadata: Some(metadata) }
            })
            .collect();
        storage.insert_batch(&entries).unwrap();
    }
    path.to_owned()
}

fn read(database: &Path) -> Vec<(String, Vec<u8>)> {
    let mut source = FileReader::open(database, &FileOptions::default()).unwrap();
    let mut rows = Vec::new();
    while let Some(record) = source.next_record().unwrap() {
        rows.push((record.id.to_owned(), record.vector.to_vec()));
    }
    rows
}

fn insert_sorted(rows: &[(String, Vec<u8>)], path: &Path) {
    let _ = std::fs::remove_file(path);
    let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("vectors");
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut open = transaction.open_table(table).unwrap();
    for (id, vector) in rows {
        open.insert(id.as_str(), vector.as_slice()).unwrap();
    }
    drop(open);
    transaction.commit().unwrap();
}

fn copy_synced(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    std::fs::File::open(to).unwrap().sync_all().unwrap();
}

fn gzip_6(raw: &[u8]) -> usize {
    use ruvector_snapshot_format::codec::member::{Coding, pack};
    let mut out = Vec::new();
    raw.chunks(64 << 20).map(|chunk| pack(chunk, Coding::Deflate(6), &mut out).unwrap()).sum()
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
