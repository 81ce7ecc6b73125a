//! Takes a full snapshot and two increments, restores the newest with all its ancestors, and compacts the chain.
//!
//!     cargo run -p ruvector-snapshot-examples --example incremental
#![allow(clippy::print_stdout)]

use std::error::Error;

use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{SnapshotConfig, SnapshotManager};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let storage_path = dir.path().join("vectors.db").to_string_lossy().into_owned();
    let db = VectorDB::new(DbOptions { dimensions: 64, storage_path, hnsw_config: None, ..DbOptions::default() })?;
    db.insert_batch((0..5_000).map(|number| entry(number, 0)).collect::<Vec<_>>())?;

    let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config)?;
    let base = manager.create_snapshot(&db, "monday").await?;
    println!("monday, full: {} bytes", base.size_bytes);

    // Only what changed since the base is read and stored.
    db.insert_batch((0..20).map(|number| entry(number * 100, 1)).collect::<Vec<_>>())?;
    let tuesday = manager.create_incremental_snapshot(&db, "tuesday", &base.id).await?;
    println!("tuesday: {} bytes, {:?}", tuesday.size_bytes, tuesday.changes.unwrap_or_default());

    // The base can be an increment itself. Each is a snapshot like any other, with the complete state.
    db.delete(&id(7))?;
    db.insert(entry(5_000, 2))?;
    let wednesday = manager.create_incremental_snapshot(&db, "wednesday", &tuesday.id).await?;
    println!("wednesday: {} bytes, {:?}", wednesday.size_bytes, wednesday.changes.unwrap_or_default());
    println!("the chain: {:?}", manager.chain(&wednesday.id).await?.iter().map(|s| &s.name).collect::<Vec<_>>());

    let restored = manager.restore_snapshot(&wednesday.id).await?;
    println!("restored {} vectors; record 7 is gone: {}", restored.len()?, restored.get(&id(7))?.is_none());

    // A snapshot with dependents cannot be deleted, unless they are deleted too.
    if let Err(error) = manager.delete_snapshot(&base.id).await {
        println!("refused: {error}");
    }

    // The state as a full snapshot again, made in the store. Then the chain can go.
    let compacted = manager.compact_snapshot(&wednesday.id, None).await?;
    println!("compacted, with the same contents: {}", compacted.checksum == wednesday.checksum);
    let plan = manager.plan_delete(&[&base.id], true).await?;
    println!("deleted {} snapshots of the chain", manager.apply_delete(&plan).await?);
    Ok(())
}

fn id(number: u64) -> String {
    format!("doc-{number:05}")
}

/// A record that follows from its number and how often it was written.
fn entry(number: u64, generation: u64) -> VectorEntry {
    let value = |at: u64| ((number * 64 + at + generation * 1_000_003) as f32).sin();
    VectorEntry { id: Some(id(number)), vector: (0..64).map(value).collect(), metadata: None }
}
