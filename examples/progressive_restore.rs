//! Searches a database while it is restored: a stream of records fills it batch by batch, in the order of the ids. The
//! stream is interrupted, and goes on after the last record that was inserted.
//!
//!     cargo run --release -p ruvector-snapshot-examples --example progressive_restore
#![allow(clippy::print_stdout)]

use std::error::Error;

use futures::TryStreamExt as _;
use ruvector_core::types::{DbOptions, SearchQuery};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{RecordBatch, SnapshotConfig, SnapshotManager, StreamOptions, StreamProof};
use serde_json::json;

const RECORDS: usize = 3000;
const DIMENSIONS: usize = 512;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    let snapshot = manager.create_snapshot(&make_database()?, "vectors").await?;

    // The application answers from this database at once.
    let db = empty_database()?;
    let mut last_id = None;

    // A stream can be dropped at any time: here after its first batch. That ends its reads.
    let mut records = manager.restore_stream(&snapshot.id, StreamOptions::default());
    if let Some(batch) = records.try_next().await? {
        last_id = insert(&db, &batch)?;
        report(&db)?;
    }
    drop(records);
    println!("interrupted after {}", last_id.as_deref().unwrap_or("nothing"));

    // Goes on after the last record that is in the database, without reading the blocks before it again.
    let mut options = StreamOptions::default();
    options.after = last_id;
    let mut rest = manager.restore_stream(&snapshot.id, options);
    while let Some(batch) = rest.try_next().await? {
        insert(&db, &batch)?;
        report(&db)?;
    }

    // Every record was verified by its digest. That none is missing is verified by a stream from the first record to the
    // last, with the content checksum. After an interruption, compare the number of records.
    println!("every digest was verified: {}", rest.proof() == Some(StreamProof::RecordDigests));
    println!("all records are there: {}", db.len()? == snapshot.vector_count);
    Ok(())
}

/// Inserts a batch, and returns its last id.
fn insert(db: &VectorDB, batch: &RecordBatch) -> Result<Option<String>, Box<dyn Error>> {
    let mut entries = Vec::with_capacity(batch.len());
    for record in batch.records() {
        let metadata = record.metadata.map(serde_json::from_str).transpose()?;
        entries.push(VectorEntry { id: Some(record.id.to_owned()), vector: record.values().collect(), metadata });
    }
    let last_id = entries.last().and_then(|entry| entry.id.clone());
    db.insert_batch(entries)?;
    Ok(last_id)
}

/// Searches for the vector of the last record.
fn report(db: &VectorDB) -> Result<(), Box<dyn Error>> {
    let query = SearchQuery { vector: vector(RECORDS - 1), k: 1, filter: None, ef_search: None };
    let found = db.search(query)?;
    let nearest = found.first().ok_or("the search found nothing")?;
    println!("{} of {RECORDS} records; nearest so far: {}", db.len()?, nearest.id);
    Ok(())
}

fn make_database() -> Result<VectorDB, Box<dyn Error>> {
    let db = empty_database()?;
    let entries = (0..RECORDS).map(|number| {
        let metadata = Some([("number".to_owned(), json!(number))].into());
        VectorEntry { id: Some(format!("doc-{number:05}")), vector: vector(number), metadata }
    });
    db.insert_batch(entries.collect::<Vec<_>>())?;
    Ok(db)
}

/// Without an index: it compares with every vector, and inserts faster.
fn empty_database() -> Result<VectorDB, Box<dyn Error>> {
    let storage_path = "memory://".to_owned();
    Ok(VectorDB::new(DbOptions { dimensions: DIMENSIONS, storage_path, hnsw_config: None, ..DbOptions::default() })?)
}

/// Points along a curve: those with numbers close to each other are close to each other.
fn vector(number: usize) -> Vec<f32> {
    let angle = number as f32 / RECORDS as f32;
    (0..DIMENSIONS).map(|axis| (angle * (axis + 1) as f32 * 0.01).cos()).collect()
}
