//! Search: the exact nearest neighbors, against an oracle and against Ruvector itself, from every store and from chains.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ruvector_core::types::{DbOptions, HnswConfig, SearchQuery};
use ruvector_core::{DistanceMetric, VectorDB};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Query, Remedy, SearchOptions, SearchReport, SearchResult, SnapshotConfig, SnapshotManager,
};
use test_fixtures::{
    CONFIG, CountingStore, METADATA, StoredSnapshot, TestDir, VECTORS, Warnings, contents, create_full, encode_vector,
    entry, make_database, make_many_blocks, memory_store, options, rows_of_file,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::measured_process::{peak_bytes, report_peak, started_for};

const METRICS: [DistanceMetric; 4] =
    [DistanceMetric::Euclidean, DistanceMetric::Cosine, DistanceMetric::DotProduct, DistanceMetric::Manhattan];

/// The records of a database as the oracle compares them: vector and metadata by id.
type Plain = BTreeMap<String, (Vec<f32>, Option<serde_json::Value>)>;

fn plain(db: &VectorDB) -> Plain {
    let record = |(id, (bits, metadata)): (String, (Vec<u32>, _))| {
        let metadata: Option<BTreeMap<String, _>> = metadata;
        let json = metadata.map(|map| serde_json::to_value(map).unwrap());
        (id, (bits.into_iter().map(f32::from_bits).collect(), json))
    };
    contents(db).into_iter().map(record).collect()
}

fn vector(number: usize, dimensions: usize) -> Vec<f32> {
    entry(String::new(), number, dimensions, 77).vector
}

/// Returns the distance between two vectors, in double precision and by the textbook.
fn distance(metric: DistanceMetric, one: &[f32], other: &[f32]) -> f64 {
    let pairs = || one.iter().zip(other).map(|(one, other)| (f64::from(*one), f64::from(*other)));
    let norm = |vector: &[f32]| vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let dot = pairs().map(|(one, other)| one * other).sum::<f64>();
    match metric {
        DistanceMetric::Euclidean => pairs().map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt(),
        DistanceMetric::Manhattan => pairs().map(|(one, other)| (one - other).abs()).sum(),
        DistanceMetric::DotProduct => -dot,
        DistanceMetric::Cosine => 1.0 - dot / (norm(one) * norm(other)),
    }
}

/// Asserts that a result has the nearest of the records, sorted. Distances that differ only by rounding may change places.
#[track_caller]
fn assert_nearest(
    metric: DistanceMetric,
    records: &Plain,
    query: &[f32],
    without: Option<&str>,
    k: usize,
    result: &SearchResult,
) {
    let others = records.iter().filter(|(id, _)| Some(id.as_str()) != without);
    let by_id: BTreeMap<_, _> = others.map(|(id, (vector, _))| (id, distance(metric, query, vector))).collect();
    let mut expected: Vec<_> = by_id.values().copied().collect();
    expected.sort_by(f64::total_cmp);
    expected.truncate(k);
    assert_eq!(result.neighbors.len(), expected.len());
    for (neighbor, expected) in result.neighbors.iter().zip(&expected) {
        let found = by_id[&neighbor.id];
        assert!((found - expected).abs() < 1e-5, "{metric:?}: {neighbor:?}, {found} instead of {expected}");
        assert!((f64::from(neighbor.distance) - found).abs() < 1e-5, "{metric:?}: {neighbor:?}, {found}");
    }
    let keys: Vec<_> = result.neighbors.iter().map(|neighbor| (neighbor.distance, &neighbor.id)).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    let ids: std::collections::BTreeSet<_> = result.neighbors.iter().map(|neighbor| &neighbor.id).collect();
    assert_eq!(ids.len(), result.neighbors.len());
}

/// Asserts that a search finds what the database finds, with the same distances.
fn assert_as_database(db: &VectorDB, query: &[f32], result: &SearchResult) {
    let k = result.neighbors.len();
    let found = db.search(SearchQuery { vector: query.to_vec(), k, filter: None, ef_search: Some(1000) }).unwrap();
    let found: Vec<_> = found.into_iter().map(|one| (one.id, one.score)).collect();
    let expected: Vec<_> = result.neighbors.iter().map(|one| (one.id.clone(), one.distance)).collect();
    assert_eq!(found, expected);
}

/// A chain of a full snapshot and two increments: records are changed, removed, added, and get other metadata.
struct Chain {
    _dir: TestDir,
    manager: SnapshotManager,
    metric: DistanceMetric,
    ids: Vec<String>,
    records: Vec<Plain>,
    newest: VectorDB,
}

const ROWS: usize = 300;
const DIMENSIONS: usize = 24;

impl Chain {
    async fn new(store: Arc<dyn SnapshotStore>, options: DbOptions) -> Self {
        let dir = TestDir::new();
        let (path, manager) = (dir.path("a.db"), dir.manager_with_store(store));
        let metric = options.distance_metric;
        let db = VectorDB::new(DbOptions { storage_path: path.display().to_string(), ..options }).unwrap();
        let entries = |rows: std::ops::Range<usize>, seed| {
            rows.map(|row| entry(format!("id-{row:06}"), row, DIMENSIONS, seed)).collect::<Vec<_>>()
        };
        db.insert_batch(entries(0..ROWS, 1)).unwrap();
        let (mut ids, mut records): (Vec<String>, _) = (Vec::new(), vec![plain(&db)]);
        ids.push(create_full(&manager, &path, "full").await.unwrap().id);
        for round in 0..2 {
            let first = 100 * round;
            // Others of the same ids, new ones, and one without its vector: only its metadata differs.
            db.insert_batch(entries(first..first + 20, 5 + round as u64)).unwrap();
            db.insert_batch(entries(ROWS + first..ROWS + first + 10, 9)).unwrap();
            (first + 30..first + 40).for_each(|row| assert!(db.delete(&format!("id-{row:06}")).unwrap()));
            let mut changed = entry(format!("id-{:06}", first + 50), first + 50, DIMENSIONS, 1);
            changed.metadata = test_fixtures::json_object(serde_json::json!({ "n": 1000 + round }));
            db.insert(changed).unwrap();
            let base = CreateOptions::default().base_id(ids.last().unwrap());
            ids.push(manager.create_snapshot_of_file(&path, "step", &base).await.unwrap().id);
            records.push(plain(&db));
        }
        Self { _dir: dir, manager, metric, ids, records, newest: db }
    }

    async fn search(&self, at: usize, queries: &[Query], options: &SearchOptions) -> SearchReport {
        self.manager.search_snapshot(&self.ids[at], queries, options).await.unwrap()
    }
}

fn database_options(metric: DistanceMetric, hnsw_config: Option<HnswConfig>) -> DbOptions {
    DbOptions { distance_metric: metric, hnsw_config, ..options(Path::new("x"), DIMENSIONS) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_every_state_of_a_chain_finds_what_an_exact_search_finds() {
    let server = S3Server::start();
    let local = TestDir::new();
    let stores = [memory_store(), local.local_store(), s3_store(&server, "search"), memory_store()];
    for (metric, store) in METRICS.into_iter().zip(stores) {
        let chain = Chain::new(store, database_options(metric, None)).await;
        let queries =
            [Query::vector(vector(1, DIMENSIONS)), Query::like("id-000050"), Query::vector(vector(2, DIMENSIONS))];
        for (at, records) in chain.records.iter().enumerate() {
            for k in [1, 7, ROWS * 2] {
                let report = chain.search(at, &queries, &SearchOptions::default().k(k)).await;
                assert_eq!((report.records, report.metric), (records.len() as u64, metric));
                assert_eq!(report.snapshot.id, chain.ids[at]);
                let like = &records["id-000050"].0;
                assert_nearest(metric, records, &vector(1, DIMENSIONS), None, k, &report.results[0]);
                assert_nearest(metric, records, like, Some("id-000050"), k, &report.results[1]);
                assert_nearest(metric, records, &vector(2, DIMENSIONS), None, k, &report.results[2]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_has_the_results_and_the_distances_of_the_restored_database() {
    for metric in METRICS {
        for hnsw_config in [None, Some(HnswConfig::default())] {
            let chain = Chain::new(memory_store(), database_options(metric, hnsw_config.clone())).await;
            let restored = chain.manager.restore_snapshot(&chain.ids[2]).await.unwrap();
            assert_eq!(plain(&restored), plain(&chain.newest));
            for number in 0..5 {
                let query = vector(number, DIMENSIONS);
                let report = chain.search(2, &[Query::vector(query.clone())], &SearchOptions::default()).await;
                assert_eq!((report.metric, report.results[0].neighbors.len()), (chain.metric, 10));
                assert_as_database(&restored, &query, &report.results[0]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_do_not_depend_on_how_the_work_is_divided() {
    let dir = TestDir::new();
    let db = make_many_blocks(&dir.path("a.db"), 3000, 1);
    let queries: Vec<_> = (0..9).map(|number| Query::vector(vector(number, 16))).collect();
    let mut all = Vec::new();
    for workers in [1, 4] {
        let config = SnapshotConfig { workers, ..dir.config() };
        let manager = SnapshotManager::new(config).unwrap();
        if all.is_empty() {
            let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
            let stored = StoredSnapshot::read(&dir.snapshots(), &snapshot.id);
            assert!(stored.entries().len() > 4, "the test needs several blocks");
        }
        let id = manager.resolve("latest").await.unwrap();
        let report = manager.search_snapshot(&id, &queries, &SearchOptions::default().k(500)).await.unwrap();
        let one = manager.search_snapshot(&id, &queries[3..4], &SearchOptions::default().k(500)).await.unwrap();
        let found = |result: &SearchResult| {
            result.neighbors.iter().map(|one| (one.id.clone(), one.distance.to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(found(&one.results[0]), found(&report.results[3]));
        assert_nearest(report.metric, &plain(&db), &vector(3, 16), None, 500, &one.results[0]);
        all.push(report.results.iter().map(found).collect::<Vec<_>>());
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn conditions_choose_the_neighbors_and_their_metadata_is_reported_if_it_is_asked_for() {
    let chain = Chain::new(memory_store(), database_options(DistanceMetric::Euclidean, None)).await;
    let query = vector(1, DIMENSIONS);
    for (at, records) in chain.records.iter().enumerate() {
        let some = |(_, (_, metadata)): &(&String, &(_, Option<serde_json::Value>))| {
            metadata.as_ref().is_some_and(|json| json["n"].as_u64().is_some_and(|n| n >= 200))
        };
        let accepted: Plain = records.iter().filter(some).map(|(id, one)| (id.clone(), one.clone())).collect();
        let options = SearchOptions::default().k(30).condition("n>=200".parse().unwrap());
        let report = chain.search(at, &[Query::vector(query.clone())], &options).await;
        assert_nearest(chain.metric, &accepted, &query, None, 30, &report.results[0]);
        assert!(report.results[0].neighbors.iter().all(|neighbor| neighbor.metadata.is_none()));
        let with = chain.search(at, &[Query::vector(query.clone())], &options.with_metadata(true)).await;
        for (one, other) in with.results[0].neighbors.iter().zip(&report.results[0].neighbors) {
            assert_eq!((&one.id, one.distance), (&other.id, other.distance));
            assert_eq!(one.metadata.as_ref().map(|json| json.parse().unwrap()), records[&one.id].1);
        }
    }
    // In the newest state two records have the numbers that the increments gave them.
    let warnings = Arc::new(Warnings::default());
    let options = SearchOptions::default().with_metadata(true).progress(warnings.clone());
    let numbered = options.clone().condition("n>=1000".parse().unwrap());
    let report = chain.search(2, &[Query::like("id-000050"), Query::like("id-000001")], &numbered).await;
    let ids = |at: usize| report.results[at].neighbors.iter().map(|one| one.id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids(0), ["id-000150"]);
    assert_eq!(ids(1).len(), 2);
    assert_eq!(warnings.list(), Vec::<String>::new());
    let nothing = options.condition("n=\"5\"".parse().unwrap());
    let report = chain.search(2, &[Query::like("id-000050")], &nothing).await;
    assert!(report.results[0].neighbors.is_empty());
    let warning = warnings.list().pop().unwrap();
    assert!(
        warning.contains("nothing was found") && warning.contains("A number and a string are never equal"),
        "{warning}"
    );
}

#[tokio::test]
async fn equal_distances_are_sorted_by_id_and_what_is_no_number_comes_last() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    for metric in METRICS {
        let _absent = std::fs::remove_file(&path);
        drop(VectorDB::new(DbOptions { distance_metric: metric, ..options(&path, 2) }).unwrap());
        let database = redb::Database::open(&path).unwrap();
        let write = database.begin_write().unwrap();
        let vectors = [
            ("nan", [f32::NAN, 1.0]),
            ("c", [1.0, 1.0]),
            ("a", [1.0, 1.0]),
            ("b", [1.0, 1.0]),
            ("zero", [0.0, 0.0]),
            ("d", [1.0, 2.0]),
        ];
        for (id, vector) in vectors {
            write.open_table(VECTORS).unwrap().insert(id, encode_vector(&vector).as_slice()).unwrap();
        }
        write.commit().unwrap();
        drop(database);
        let manager = dir.manager_with_store(memory_store());
        let snapshot = create_full(&manager, &path, "a").await.unwrap();
        let queries = [Query::vector([2.0, 2.0]), Query::like("nan"), Query::vector([0.0, 0.0])];
        let warnings = Arc::new(Warnings::default());
        let options = SearchOptions::default().k(9).progress(warnings.clone());
        let report = manager.search_snapshot(&snapshot.id, &queries, &options).await.unwrap();
        let warnings = warnings.list();
        assert!(warnings.len() == 1 && warnings[0].contains("record \"nan\" has a value that is not"), "{warnings:?}");
        let ids = |at: usize| report.results[at].neighbors.iter().map(|one| one.id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids(0).len(), ids(0)[5]), (6, "nan"), "{metric:?}");
        let of_three: Vec<_> = ids(0).into_iter().filter(|id| id.len() == 1 && *id != "d").collect();
        assert_eq!(of_three, ["a", "b", "c"], "{metric:?}");
        assert_eq!(ids(1), ["a", "b", "c", "d", "zero"], "{metric:?}");
        assert!(report.results[1].neighbors.iter().all(|one| one.distance.is_nan()));
        assert_eq!((ids(2).len(), ids(2)[5]), (6, "nan"), "{metric:?}");
        // A distance that is no number is null in JSON.
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(document["results"][0]["neighbors"][5], serde_json::json!({ "id": "nan", "distance": null }));
    }
}

/// Returns the error of a search.
async fn error_of(
    manager: &SnapshotManager,
    id: &str,
    queries: &[Query],
    options: &SearchOptions,
) -> (ErrorKind, String) {
    let error = manager.search_snapshot(id, queries, options).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn what_cannot_be_searched_for_is_an_error_that_says_why() {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 20, 4, 1));
    let manager = dir.manager();
    let id = create_full(&manager, &dir.path("a.db"), "a").await.unwrap().id;
    let like = [Query::like("id-000001")];
    let defaults = SearchOptions::default;
    let invalid: [(Vec<Query>, SearchOptions, &str); 9] = [
        (vec![], defaults(), "there is no query"),
        (like.to_vec(), defaults().k(0), "a search for 0 neighbors"),
        (vec![Query::like("a"); 10_001], defaults().k(1), "10001 queries are more than 10000"),
        (vec![Query::like("a"); 1001], defaults().k(1000), "1000 neighbors of 1001 queries are more than 1000000"),
        (vec![Query::vector([1.0])], defaults(), "query 1 has 1 values, but the vectors of snapshot "),
        (vec![Query::like("a"), Query::vector([1.0; 5]).named("q")], defaults(), "query 2, \"q\", has 5 values"),
        (vec![Query::vector([])], defaults(), "query 1 has 0 values"),
        (vec![Query::vector([1.0, f32::NAN, 0.0, 0.0])], defaults(), "value 2 of query 1 is not a finite number"),
        (like.to_vec(), defaults().metric(DistanceMetric::Manhattan), "is Cosine; another one cannot be chosen"),
    ];
    for (queries, options, expected) in invalid {
        let (kind, message) = error_of(&manager, &id, &queries, &options).await;
        assert_eq!(kind, ErrorKind::InvalidInput, "{message}");
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let missing = [Query::like("id-000001"), Query::like("x"), Query::like("y")];
    let error = manager.search_snapshot(&id, &missing, &defaults()).await.unwrap_err();
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::NotFound, Some(Remedy::FindRecord)));
    assert!(error.to_string().contains("2 of 3 ids that were asked for are not in snapshot"), "{error}");
    assert!(error.to_string().contains("nothing was searched"), "{error}");
    let (kind, _) = error_of(&manager, "20260131T080000000Z-0123456789abcdef", &like, &defaults()).await;
    assert_eq!(kind, ErrorKind::NotFound);
    // The metric that is recorded may be given.
    let report = manager.search_snapshot(&id, &like, &defaults().metric(DistanceMetric::Cosine)).await.unwrap();
    assert_eq!(report.results[0].neighbors.len(), 10);
}

#[tokio::test]
async fn an_empty_database_has_no_neighbors() {
    let dir = TestDir::new();
    drop(VectorDB::new(options(dir.path("a.db"), 4)).unwrap());
    // As an old version of Ruvector leaves it: neither dimensions nor a metric are recorded.
    redb::Database::create(dir.path("b.db")).unwrap();
    let manager = dir.manager();
    let query = [Query::vector([1.0; 4])];
    let empty = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
    let report = manager.search_snapshot(&empty.id, &query, &SearchOptions::default()).await.unwrap();
    assert_eq!((report.records, report.results[0].neighbors.len()), (0, 0));
    let (kind, _) = error_of(&manager, &empty.id, &[Query::like("a")], &SearchOptions::default()).await;
    assert_eq!(kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn irregular_rows_are_not_searched_and_are_counted() {
    let dir = TestDir::new();
    let (path, manager) = (dir.path("a.db"), dir.manager());
    drop(make_database(&path, 10, 4, 1));
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(METADATA).unwrap().insert("no vector", "{}").unwrap();
    write.commit().unwrap();
    drop(database);
    let snapshot = create_full(&manager, &path, "irregular").await.unwrap();
    let warnings = Arc::new(Warnings::default());
    let options = SearchOptions::default().k(20).progress(warnings.clone());
    let report = manager.search_snapshot(&snapshot.id, &[Query::like("id-000001")], &options).await.unwrap();
    assert_eq!((report.records, report.results[0].neighbors.len()), (10, 9));
    assert_eq!((report.snapshot.irregular.unwrap().records, warnings.list()), (1, Vec::<String>::new()));
    let (kind, _) = error_of(&manager, &snapshot.id, &[Query::like("no vector")], &options).await;
    assert_eq!(kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_snapshot_without_a_metric_is_searched_with_the_one_that_is_given() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    let db = make_database(&path, 20, 4, 1);
    let records = plain(&db);
    drop(db);
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.delete_table(CONFIG).unwrap();
    write.open_table(CONFIG).unwrap();
    write.commit().unwrap();
    drop(database);
    assert!(rows_of_file(&path).config.is_empty());
    let manager = dir.manager();
    let snapshot = create_full(&manager, &path, "a").await.unwrap();
    assert_eq!(snapshot.distance_metric, None);
    let query = vector(1, 4);
    let queries = [Query::vector(query.clone())];
    let (kind, message) = error_of(&manager, &snapshot.id, &queries, &SearchOptions::default()).await;
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert!(message.contains("does not record the metric") && message.contains("choose a metric"), "{message}");
    for metric in METRICS {
        let options = SearchOptions::default().metric(metric);
        let report = manager.search_snapshot(&snapshot.id, &queries, &options).await.unwrap();
        assert_eq!(report.metric, metric);
        assert_nearest(metric, &records, &query, None, 10, &report.results[0]);
    }
}

#[tokio::test]
async fn corrupt_data_is_an_error_and_never_a_result() {
    let dir = TestDir::new();
    drop(make_many_blocks(&dir.path("a.db"), 800, 1));
    let config = SnapshotConfig { compression_level: 0, ..dir.config() };
    let manager = SnapshotManager::new(config).unwrap();
    let snapshot = create_full(&manager, &dir.path("a.db"), "a").await.unwrap();
    let stored = StoredSnapshot::read(&dir.snapshots(), &snapshot.id);
    let queries = [Query::vector(vector(1, 16))];
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz", "metadata.json"] {
        let path = dir.snapshots().join(format!("snapshot-{}/{file}", snapshot.id));
        let bytes = std::fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 3] ^= 1;
        let faults = [Some(flipped), Some(bytes[..bytes.len() / 2].to_vec()), None];
        for fault in faults.iter().take(if file == "metadata.json" { 2 } else { 3 }) {
            match fault {
                Some(fault) => std::fs::write(&path, fault).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let (kind, message) = error_of(&manager, &snapshot.id, &queries, &SearchOptions::default()).await;
            assert_eq!(kind, ErrorKind::Corrupt, "{file}: {message}");
        }
        stored.repair();
    }
    manager.search_snapshot(&snapshot.id, &queries, &SearchOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_is_read_once_for_all_queries() {
    let (server, local) = (S3Server::start(), TestDir::new());
    for store in [local.local_store(), s3_store(&server, "once")] {
        let counting = CountingStore::over(store);
        let chain = Chain::new(counting.clone(), database_options(DistanceMetric::Euclidean, None)).await;
        let queries: Vec<_> = (0..20).map(|number| Query::vector(vector(number, DIMENSIONS))).collect();
        counting.take_bytes_read();
        chain.search(2, &queries[..1], &SearchOptions::default()).await;
        let of_one = counting.take_bytes_read();
        chain.search(2, &queries, &SearchOptions::default()).await;
        assert_eq!(counting.take_bytes_read(), of_one);
        for id in &chain.ids {
            let snapshot = chain.manager.list_snapshots().await.unwrap().into_iter().find(|one| one.id == *id).unwrap();
            for (file, bytes) in &snapshot.files {
                let read = of_one.get(&format!("snapshot-{id}/{file}")).copied().unwrap_or_default();
                assert!(read <= *bytes, "{read} of {bytes} bytes of {file} were read");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_search_does_not_grow_with_the_snapshot() {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 40_000, 256, 1));
    create_full(&dir.manager(), &dir.path("a.db"), "a").await.unwrap();
    let [verify, search] = ["verify", "search"].map(|verb| peak_bytes("search", &dir.path(""), verb));
    println!("verify {} MiB, search {} MiB", verify >> 20, search >> 20);
    // The vectors have 40 MB. Of these only the blocks that are compared are in memory besides what a verification has.
    assert!(search <= verify + (24 << 20), "a search took {search} bytes, a verification {verify}");
}

/// One search, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started as a child process by another test"]
async fn measured_process() {
    let Some((directory, verb)) = started_for() else { return };
    let config = SnapshotConfig { snapshot_dir: directory.join("snapshots"), workers: 2, ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let id = manager.resolve("latest").await.unwrap();
    let dimensions = manager.list_snapshots().await.unwrap()[0].dimensions;
    match verb.as_str() {
        "verify" => assert!(manager.verify_snapshot(&id).await.unwrap()),
        "search" => {
            let queries: Vec<_> = (0..50).map(|number| Query::vector(vector(number, dimensions))).collect();
            manager.search_snapshot(&id, &queries, &SearchOptions::default()).await.unwrap();
        }
        other => panic!("{other}"),
    }
    report_peak();
}
