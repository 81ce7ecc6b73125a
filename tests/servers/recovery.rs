//! The page docs/RECOVERY.md, run as it stands: on a machine that has nothing but Rust, Python and the AWS CLI, from
//! snapshots in MinIO.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use ruvector_core::VectorDB;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{CreateOptions, SnapshotManager};
use test_fixtures::{Records, TestDir, encode_vector, entry, options, records_of_file};
use test_servers::Minio;

use super::page::{Page, sources};
use super::{MINIO, setting};

const ROWS: usize = 12_000;
const DIMENSIONS: usize = 64;
/// The record that the page merges back.
const LOST: &str = "doc-00017";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_recovery_brings_the_data_back() {
    let Some(binary) = setting(MINIO, "the_page_about_recovery_brings_the_data_back") else { return };
    let minio = tokio::task::block_in_place(|| Minio::start(Path::new(&binary)));
    let backed_up = back_up_and_lose_the_machine(&minio).await;

    let machine = tempfile::tempdir().unwrap();
    symlink(sources(), machine.path().join("ruvector-snapshot")).unwrap();
    let page = Page::read("docs/RECOVERY.md", |_| false);
    let output = tokio::task::block_in_place(|| page.run(machine.path(), &backed_up.values));
    page.assert_shows(&output);

    let recovered = |path: &str| records_of_file(&machine.path().join(path));
    assert_eq!(recovered("by-hand.db"), backed_up.newest);
    let mut merged = backed_up.newest.clone();
    merged.0.insert(LOST.to_owned(), backed_up.nightly.0[LOST].clone());
    merged.1.insert(LOST.to_owned(), backed_up.nightly.1[LOST].clone());
    assert_ne!(merged, backed_up.newest);
    assert_eq!(recovered("recovery/vectors.db"), merged);
    assert_eq!(recovered("recovery/part.db"), first_hundred(&backed_up.nightly));
    assert_eq!(read_by_hand(&machine.path().join("by-hand")), backed_up.newest);
}

/// What was in the database, and what a person has to fill in to get it back.
struct BackedUp {
    nightly: Records,
    newest: Records,
    values: BTreeMap<&'static str, String>,
}

async fn back_up_and_lose_the_machine(minio: &Minio) -> BackedUp {
    let dir = TestDir::new();
    let file = dir.path("vectors.db");
    let (manager, create) = (manager(minio, &dir), CreateOptions::default());
    let db = VectorDB::new(options(&file, DIMENSIONS)).unwrap();
    let record = |row: usize, seed| entry(format!("doc-{row:05}"), row, DIMENSIONS, seed);
    db.insert_batch((0..ROWS).map(|row| record(row, 1)).collect::<Vec<_>>()).unwrap();
    let full = manager.create_snapshot_of_file(&file, "nightly", &create).await.unwrap();
    let nightly = records_of_file(&file);

    db.insert_batch((0..ROWS).step_by(17).map(|row| record(row, 2)).collect::<Vec<_>>()).unwrap();
    db.delete("doc-00018").unwrap();
    let increment = create.base_id(&full.id);
    let newest = manager.create_snapshot_of_file(&file, "hourly", &increment).await.unwrap();
    let values = [
        ("RUVECTOR_SNAPSHOT_STORE", format!("s3://{}/prod", Minio::BUCKET)),
        ("AWS_ACCESS_KEY_ID", Minio::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", minio.secret_key().to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL", minio.endpoint()),
        ("id", newest.id),
    ];
    BackedUp { nightly, newest: records_of_file(&file), values: values.into() }
}

fn manager(minio: &Minio, dir: &TestDir) -> SnapshotManager {
    let location: Location = format!("s3://{}/prod", Minio::BUCKET).parse().unwrap();
    let options: StoreOptions = [
        ("access_key_id", Minio::ACCESS_KEY),
        ("secret_access_key", minio.secret_key()),
        ("endpoint", &minio.endpoint()),
        ("allow_http", "true"),
    ]
    .into_iter()
    .collect();
    let store: Arc<dyn SnapshotStore> = open(&location, &StoreConfig::default().options(options)).unwrap();
    SnapshotManager::with_store(dir.config(), store).unwrap()
}

/// Returns the records that fulfil the condition `n<100`.
fn first_hundred((vectors, metadata): &Records) -> Records {
    let metadata: BTreeMap<_, _> =
        metadata.iter().filter(|(_, value)| value["n"].as_u64().unwrap() < 100).map(owned).collect();
    let vectors = vectors.iter().filter(|(id, _)| metadata.contains_key(*id)).map(owned).collect();
    (vectors, metadata)
}

fn owned<V: Clone>((id, value): (&String, &V)) -> (String, V) {
    (id.clone(), value.clone())
}

/// Returns the records in the files that the reader in Python has written.
fn read_by_hand(directory: &Path) -> Records {
    let matrix = fs::read(directory.join("vectors.npy")).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([matrix[8], matrix[9]]));
    let rows = matrix[header..].chunks_exact(DIMENSIONS * 4);
    let lines = fs::read_to_string(directory.join("records.jsonl")).unwrap();
    assert_eq!(rows.len(), lines.lines().count());
    let (mut vectors, mut metadata) = Records::default();
    for (row, line) in rows.zip(lines.lines()) {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = record["id"].as_str().unwrap();
        let values: Vec<f32> = row.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect();
        vectors.insert(id.to_owned(), encode_vector(&values));
        if !record["metadata"].is_null() {
            metadata.insert(id.to_owned(), record["metadata"].clone());
        }
    }
    (vectors, metadata)
}
