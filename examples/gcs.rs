//! Snapshots in Google Cloud Storage: look at the bucket, make a database, snapshot it, verify, restore to a file.
//!
//!     cargo run -p ruvector-snapshot-examples --example gcs -- gs://bucket/prefix
//!
//! Credentials come from the environment: GOOGLE_APPLICATION_CREDENTIALS, or what
//! `gcloud auth application-default login` left; on Google's machines the service account is found by itself. The
//! snapshot stays there.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::store::{Location, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{RestoreOptions, SnapshotConfig, SnapshotManager};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let location = std::env::args().nth(1).ok_or("say where to keep the snapshot: gs://bucket/prefix")?;
    let location: Location = location.parse()?;
    let dir = tempfile::tempdir()?;
    let db = open_database(&dir.path().join("vectors.db"))?;
    db.insert_batch((0..100u8).map(entry).collect::<Vec<_>>())?;

    // In two steps, where `SnapshotManager::open` is one: the store can be wrapped, or shared, before a manager has it.
    let options = StoreOptions::from_env(&location);
    let store = open(&location, &StoreConfig::default().options(options))?;
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store)?;

    // What the bucket keeps of what snapshots need, and how fast it is. Sends about 100 MiB, and reads as many.
    let report = manager.check_store().await?;
    println!("snapshots are safe at {location}: {}", report.is_safe());

    let snapshot = manager.create_snapshot(&db, "example").await?;
    println!("created {}: {} bytes", snapshot.id, snapshot.size_bytes);
    println!("verified: {}", manager.verify_snapshot(&snapshot.id).await?);

    let path = dir.path().join("restored.db");
    manager.restore_snapshot_to(&snapshot.id, &path, &RestoreOptions::default()).await?;
    println!("restored {} vectors to a file", open_database(&path)?.len()?);
    Ok(())
}

/// Opens a database file, or makes it.
fn open_database(path: &Path) -> Result<VectorDB, Box<dyn Error>> {
    let storage_path = path.to_str().ok_or("the temporary directory has a name that is not UTF-8")?.to_owned();
    Ok(VectorDB::new(DbOptions { dimensions: 4, storage_path, ..DbOptions::default() })?)
}

fn entry(number: u8) -> VectorEntry {
    let x = f32::from(number);
    VectorEntry { id: Some(format!("row-{number}")), vector: vec![1.0, x, x * x, x.sqrt()], metadata: None }
}
