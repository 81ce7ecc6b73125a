//! A server keeps the contract of a store, and what is stored in it can be restored. The same tests for each server.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use futures::{FutureExt as _, TryStreamExt as _};
use ruvector_snapshot::store::testing::conformance;
use ruvector_snapshot::store::{CheckStatus, SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager};
use test_fixtures::{TestDir, assert_same_rows, make_large_database};
use test_servers::Minio;

use super::{GCS, MINIO, S3, setting};

const ROWS: usize = 200_000;
const DIMENSIONS: usize = 384;

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract_of_a_store() {
    in_a_new_prefix(S3, "s3_keeps_the_contract_of_a_store", keeps_the_contract).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_keeps_the_contract_of_a_store() {
    in_a_new_prefix(GCS, "gcs_keeps_the_contract_of_a_store", keeps_the_contract).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_passes_store_check() {
    in_a_new_prefix(S3, "s3_passes_store_check", passes_store_check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_passes_store_check() {
    in_a_new_prefix(GCS, "gcs_passes_store_check", passes_store_check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_returns_300_megabytes_unchanged() {
    in_a_new_prefix(S3, "s3_returns_300_megabytes_unchanged", returns_300_megabytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs_returns_300_megabytes_unchanged() {
    in_a_new_prefix(GCS, "gcs_returns_300_megabytes_unchanged", returns_300_megabytes).await;
}

/// MinIO has these classes. Only it can say which class an object has.
#[tokio::test(flavor = "multi_thread")]
async fn minio_stores_the_data_files_in_the_class_of_the_option() {
    let Some(binary) = setting(MINIO, "minio_stores_the_data_files_in_the_class_of_the_option") else { return };
    let minio = Minio::start(Path::new(&binary));
    let dir = TestDir::new();
    let database = dir.path("a.db");
    // More than one part.
    make_large_database(&database, 10_000, DIMENSIONS);
    for (class, expected) in [("STANDARD", "STANDARD"), ("reduced_redundancy", "REDUCED_REDUNDANCY")] {
        let manager = minio_manager(&minio, &dir, class);
        let snapshot = manager.create_snapshot_of_file(&database, class, &CreateOptions::default()).await.unwrap();
        assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
        for (file, expected) in
            [("vectors.bin.gz", expected), ("metadata.bin.gz", expected), ("metadata.json", "STANDARD")]
        {
            let key = format!("classes/snapshot-{}/{file}", snapshot.id);
            assert_eq!(minio.storage_class(&key), expected, "{key}");
        }
    }
    let manager = minio_manager(&minio, &dir, "GLACIER_IR");
    let error = manager.create_snapshot_of_file(&database, "refused", &CreateOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("check storage_class"), "{error}");
    assert_eq!((manager.list_snapshots().await.unwrap().len(), minio.open_uploads()), (2, Vec::new()));
}

fn minio_manager(minio: &Minio, dir: &TestDir, class: &str) -> SnapshotManager {
    let location = format!("s3://{}/classes", Minio::BUCKET).parse().unwrap();
    let options: StoreOptions = [
        ("access_key_id", Minio::ACCESS_KEY),
        ("secret_access_key", minio.secret_key()),
        ("endpoint", &minio.endpoint()),
        ("allow_http", "true"),
        ("storage_class", class),
    ]
    .into_iter()
    .collect();
    let store = open(&location, &StoreConfig::default().options(options)).unwrap();
    SnapshotManager::with_store(dir.config(), store).unwrap()
}

async fn keeps_the_contract(store: Arc<dyn SnapshotStore>) {
    conformance::run_all(store, "suite").await.unwrap();
}

async fn passes_store_check(store: Arc<dyn SnapshotStore>) {
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store.clone()).unwrap();
    let report = manager.check_store().await.unwrap();
    assert!(!report.findings.is_empty());
    for finding in &report.findings {
        assert_eq!(finding.status, CheckStatus::Pass, "{}: {}", finding.name, finding.detail);
    }
    assert!(report.speed.is_some());
    assert_eq!(keys(store.as_ref()).await, Vec::<String>::new());
}

async fn returns_300_megabytes(store: Arc<dyn SnapshotStore>) {
    let dir = TestDir::new();
    let database = dir.path("a.db");
    make_large_database(&database, ROWS, DIMENSIONS);
    let manager = SnapshotManager::with_store(dir.config(), store.clone()).unwrap();

    let snapshot = manager.create_snapshot_of_file(&database, "large", &CreateOptions::default()).await.unwrap();
    println!("{:.0} MB in the store", snapshot.size_bytes as f64 / 1e6);
    assert_eq!(snapshot.vector_count, ROWS);
    assert_eq!(manager.list_snapshots().await.unwrap(), std::slice::from_ref(&snapshot));
    assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();

    // In a directory, so that the server has no part in it.
    let (local, options) = (dir.manager(), CreateOptions::default());
    let again = local.create_snapshot_of_file(dir.restored(), "again", &options).await.unwrap();
    assert_eq!(again.checksum, snapshot.checksum);
    assert_same_rows(&database, &dir.restored());

    manager.delete_snapshot(&snapshot.id).await.unwrap();
    assert_eq!(keys(store.as_ref()).await, Vec::<String>::new());
}

/// Runs a test on a store with a random prefix below the location that a variable names. Removes all objects with that
/// prefix afterwards, also if the test fails.
async fn in_a_new_prefix<Done: Future<Output = ()>>(
    variable: &str,
    name: &str,
    test: impl FnOnce(Arc<dyn SnapshotStore>) -> Done,
) {
    let Some(location) = setting(variable, name) else { return };
    let location = format!("{}/{:016x}", location.trim_end_matches('/'), random()).parse().unwrap();
    let config = StoreConfig::default().options(StoreOptions::from_env(&location));
    let store = open(&location, &config).unwrap();
    let outcome = AssertUnwindSafe(test(store.clone())).catch_unwind().await;
    for key in keys(store.as_ref()).await {
        store.delete(&key).await.unwrap();
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "several machines may test in one bucket at the same time")]
fn random() -> u64 {
    getrandom::u64().unwrap()
}

async fn keys(store: &dyn SnapshotStore) -> Vec<String> {
    store.list("").map_ok(|object| object.key).try_collect().await.unwrap()
}
