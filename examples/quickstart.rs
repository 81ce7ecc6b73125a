//! The API in a page: make a database, snapshot it, list, verify, and restore into memory and to a file.
//!
//!     cargo run -p ruvector-snapshot-examples --example quickstart
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use ruvector_core::types::{DbOptions, SearchQuery};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let db = make_database(&dir.path().join("vectors.db"))?;
    println!("made a database of {} vectors", db.len()?);

    // A manager keeps snapshots in a directory. The name of the source says which of them belong together; without one it is
    // the path of the database. Every other setting has a default.
    let (snapshot_dir, source_name) = (dir.path().join("snapshots"), Some("quickstart".to_owned()));
    let config = SnapshotConfig { snapshot_dir, source_name, ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config)?;

    // A snapshot holds one commit of the database; others may go on writing to it.
    let options = CreateOptions::default().label("reason", "nightly");
    let snapshot = manager.create_snapshot_with(&db, "backup-2024-01", &options).await?;
    println!("created {}: {} bytes, checksum {}", snapshot.id, snapshot.size_bytes, &snapshot.checksum[..16]);

    // What is written afterwards is not in it.
    db.insert(entry("late", [0.5, 0.5, 0.5, 0.5]))?;

    for s in manager.list_snapshots().await? {
        println!("listed {}: {:?}, {} vectors, {}", s.id, s.name, s.vector_count, s.created_at);
    }

    // Reads every stored byte; verify_snapshot_with reports where it is corrupt.
    println!("verified: {}", manager.verify_snapshot(&snapshot.id).await?);

    // Into memory, with a search index, ready to use.
    let restored = manager.restore_snapshot(&snapshot.id).await?;
    println!("restored {} vectors into memory; nearest to (1, 0, 0, 0): {}", restored.len()?, nearest(&restored)?);

    // To a file. It gets its name only when it is complete and verified, and opens like any database.
    let path = dir.path().join("restored.db");
    manager.restore_snapshot_to(&snapshot.id, &path, &RestoreOptions::default()).await?;
    let reopened = open_database(&path)?;
    println!("restored {} vectors to a file; nearest to (1, 0, 0, 0): {}", reopened.len()?, nearest(&reopened)?);

    // Equal contents have equal checksums.
    let again = manager.create_snapshot(&reopened, "of the restored one").await?;
    println!("a snapshot of the restored file has the same checksum: {}", again.checksum == snapshot.checksum);

    println!("cleaned up {} old snapshot, kept the newest", manager.cleanup_old_snapshots(1).await?);
    Ok(())
}

fn make_database(path: &Path) -> Result<VectorDB, Box<dyn Error>> {
    let db = open_database(path)?;
    let entries = [
        entry("east", [1.0, 0.1, 0.0, 0.0]),
        entry("north", [0.0, 1.0, 0.1, 0.0]),
        entry("west", [-1.0, 0.0, 0.0, 0.1]),
    ];
    db.insert_batch(entries)?;
    Ok(db)
}

/// Opens a database file, or makes it. The options of one that exists are kept in it; only the path counts then.
fn open_database(path: &Path) -> Result<VectorDB, Box<dyn Error>> {
    let storage_path = path.to_str().ok_or("the temporary directory has a name that is not UTF-8")?.to_owned();
    Ok(VectorDB::new(DbOptions { dimensions: 4, storage_path, ..DbOptions::default() })?)
}

fn entry(id: &str, vector: [f32; 4]) -> VectorEntry {
    let metadata = HashMap::from([("title".to_owned(), json!(format!("the {id} one")))]);
    VectorEntry { id: Some(id.to_owned()), vector: vector.to_vec(), metadata: Some(metadata) }
}

fn nearest(db: &VectorDB) -> Result<String, Box<dyn Error>> {
    let query = SearchQuery { vector: vec![1.0, 0.0, 0.0, 0.0], k: 1, filter: None, ef_search: None };
    let found = db.search(query)?;
    Ok(found.first().ok_or("the search found nothing")?.id.clone())
}
