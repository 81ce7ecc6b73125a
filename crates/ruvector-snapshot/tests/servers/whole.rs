//! A server keeps the contract of a store, and what is put into it comes back. The same for each kind of server.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::{FutureExt, TryStreamExt};
use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, Verdict, conformance, open};
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager};

use super::common::Place;
use super::common::large::{assert_same_rows, make_vectors};
use super::{GCS, S3, named};

const ROWS: usize = 200_000;
const DIMENSIONS: usize = 384;

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract() {
    below_a_prefix(S3, "s3_keeps_the_contract", keeps_the_contract).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_keeps_the_contract() {
    below_a_prefix(GCS, "gcs_keeps_the_contract", keeps_the_contract).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_passes_the_check() {
    below_a_prefix(S3, "s3_passes_the_check", passes_the_check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_passes_the_check() {
    below_a_prefix(GCS, "gcs_passes_the_check", passes_the_check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_gives_300_megabytes_back() {
    below_a_prefix(S3, "s3_gives_300_megabytes_back", gives_300_megabytes_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_gives_300_megabytes_back() {
    below_a_prefix(GCS, "gcs_gives_300_megabytes_back", gives_300_megabytes_back).await;
}

async fn keeps_the_contract(store: Arc<dyn SnapshotStore>) {
    conformance::run_all(store, "suite").await.unwrap();
}

async fn passes_the_check(store: Arc<dyn SnapshotStore>) {
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store.clone()).unwrap();
    let report = manager.check_store().await.unwrap();
    assert!(!report.findings.is_empty());
    for finding in &report.findings {
        assert_eq!(finding.verdict, Verdict::Kept, "{}: {}", finding.what, finding.detail);
    }
    assert!(report.speed.is_some());
    assert_eq!(keys(store.as_ref()).await, Vec::<String>::new());
}

async fn gives_300_megabytes_back(store: Arc<dyn SnapshotStore>) {
    let place = Place::new();
    let database = place.path("a.db");
    let time = Instant::now();
    make_vectors(&database, ROWS, DIMENSIONS);
    println!("make     {:.1} s", time.elapsed().as_secs_f64());
    let manager = SnapshotManager::with_store(place.config(), store.clone()).unwrap();

    let time = Instant::now();
    let snapshot = manager.create_snapshot_of_file(&database, "large", &CreateOptions::default()).await.unwrap();
    println!("create   {:.1} s, {:.0} MB in the store", time.elapsed().as_secs_f64(), snapshot.size_bytes as f64 / 1e6);
    assert_eq!(snapshot.vector_count, ROWS);
    assert_eq!(manager.list_snapshots().await.unwrap(), std::slice::from_ref(&snapshot));

    let time = Instant::now();
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    println!("verify   {:.1} s", time.elapsed().as_secs_f64());

    let time = Instant::now();
    manager.restore_snapshot_to(&snapshot.id, place.restored(), &RestoreOptions::default()).await.unwrap();
    println!("restore  {:.1} s", time.elapsed().as_secs_f64());
    // On a disk, so that the server has no part in it.
    let (local, options) = (place.manager(), CreateOptions::default());
    let again = local.create_snapshot_of_file(place.restored(), "again", &options).await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
    assert_same_rows(&database, &place.restored());

    manager.delete_snapshot(&snapshot.id).await.unwrap();
    assert_eq!(keys(store.as_ref()).await, Vec::<String>::new());
}

/// Runs a test on a store below a random prefix of the location that a variable names, and removes all below it,
/// whatever the outcome.
async fn below_a_prefix<Done: Future<Output = ()>>(
    variable: &str,
    name: &str,
    test: impl FnOnce(Arc<dyn SnapshotStore>) -> Done,
) {
    let Some(location) = named(variable, name) else { return };
    let location = format!("{}/{:016x}", location.trim_end_matches('/'), getrandom::u64().unwrap()).parse().unwrap();
    let config = StoreConfig { options: StoreOptions::from_env(&location), ..StoreConfig::default() };
    let store = open(&location, &config).unwrap();
    let outcome = AssertUnwindSafe(test(store.clone())).catch_unwind().await;
    for key in keys(store.as_ref()).await {
        store.delete(&key).await.unwrap();
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn keys(store: &dyn SnapshotStore) -> Vec<String> {
    store.list("").map_ok(|object| object.key).try_collect().await.unwrap()
}
