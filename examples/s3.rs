//! Snapshots in S3, MinIO or another server of that protocol: make a database, snapshot it, verify, restore.
//!
//!     cargo run -p ruvector-snapshot-examples --example s3 -- s3://bucket/prefix
//!
//! Keys, region and address come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE;
//! AWS_REGION; for MinIO AWS_ENDPOINT_URL, with AWS_ALLOW_HTTP=true where that is http://. The snapshot stays there.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{SnapshotConfig, SnapshotManager};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let location = std::env::args().nth(1).ok_or("say where to keep the snapshot: s3://bucket/prefix")?;
    let dir = tempfile::tempdir()?;
    let db = make_database(&dir.path().join("vectors.db"))?;

    // The bucket must exist. No request is sent yet. One budget holds for all that this manager sends and reads.
    let config = SnapshotConfig {
        max_concurrent_io: 8,
        // Settings can be given here too, over those of the environment. Keys belong into the environment.
        store_options: [("stall_timeout", "30s")].into_iter().collect(),
        // Costs a download of the snapshot, and finds a server that does not give back what it took.
        verify_after_write: true,
        ..SnapshotConfig::default()
    };
    let manager = SnapshotManager::open(&location, config)?;

    let snapshot = manager.create_snapshot(&db, "example").await?;
    println!("created {} at {location}: {} bytes", snapshot.id, snapshot.size_bytes);
    for listed in manager.list_snapshots().await? {
        println!("listed {}: {:?}, {} vectors", listed.id, listed.name, listed.vector_count);
    }
    println!("verified: {}", manager.verify_snapshot(&snapshot.id).await?);
    let restored = manager.restore_snapshot(&snapshot.id).await?;
    println!("restored {} vectors; it is the same database: {}", restored.len()?, is_same(&db, &restored)?);
    Ok(())
}

fn make_database(path: &Path) -> Result<VectorDB, Box<dyn Error>> {
    let storage_path = path.to_str().ok_or("the temporary directory has a name that is not UTF-8")?.to_owned();
    let db = VectorDB::new(DbOptions { dimensions: 4, storage_path, ..DbOptions::default() })?;
    db.insert_batch((0..100u8).map(entry).collect::<Vec<_>>())?;
    Ok(db)
}

fn entry(number: u8) -> VectorEntry {
    let x = f32::from(number);
    VectorEntry { id: Some(format!("row-{number}")), vector: vec![1.0, x, x * x, x.sqrt()], metadata: None }
}

fn is_same(db: &VectorDB, other: &VectorDB) -> Result<bool, Box<dyn Error>> {
    for id in db.keys()? {
        let vector = |db: &VectorDB| Ok::<_, Box<dyn Error>>(db.get(&id)?.map(|entry| entry.vector));
        if vector(db)? != vector(other)? {
            return Ok(false);
        }
    }
    Ok(db.len()? == other.len()?)
}
