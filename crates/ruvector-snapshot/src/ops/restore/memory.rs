//! Estimates the memory that a restore takes, from the settings and the block directories.
//!
//! An estimate is not less than what is taken: whoever has a machine with as much can restore on it.

use std::sync::Arc;

use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::layout::DataFile;

use crate::config::SnapshotConfig;
use crate::error::Result;
use crate::repo::chain::Chain;
use crate::repo::reader::{StoredSnapshot, range_of, runs};
use crate::source::destination_checks::FileSize;
use crate::source::target::CACHE_BYTES;

/// Threads with their stacks, buffers of connections, and what the allocator keeps.
const BASE_BYTES: u64 = 32 << 20;
/// An expanded block is there twice while it is decoded or stored.
const COPIES_OF_BLOCK: u64 = 2;
/// What a parsed `metadata.json` takes, over its size.
const PARSED_JSON: u64 = 4;
/// What the parsed description of a database takes, over its size: each row is two allocations and a part of a tree.
const PARSED_DATABASE: u64 = 8;
/// An irregular section is there as it is stored, expanded, and in part as rows.
const COPIES_OF_SECTION: u64 = 3;
/// What is remembered of an irregular row.
const IRREGULAR_ROW_BYTES: u64 = 64;
/// A vector in memory is in the records that are inserted, in the storage, and in the index.
const COPIES_OF_VECTOR: u64 = 4;
/// What Ruvector takes for a record apart from its vector and metadata: the id, its links in the index, and maps.
const RECORD_BYTES: u64 = 4 << 10;
/// What parsed metadata of a record takes, over its size.
const PARSED_METADATA: u64 = 16;

/// Returns what reading the chain takes, in bytes.
pub(super) fn of_reading(chain: &Chain, directories: &[Arc<[BlockEntry]>], config: &SnapshotConfig) -> Result<u64> {
    let newest = chain.newest()?;
    let database = newest.metadata.section(index::DATABASE)?.raw_bytes.saturating_mul(PARSED_DATABASE);
    let mut sum = BASE_BYTES.saturating_add(database).saturating_add(of_irregular(chain));
    for (at, (snapshot, entries)) in chain.snapshots().iter().zip(directories).enumerate() {
        let ahead = chain.read_ahead(at, config);
        let runs_bytes = runs(entries, &DataFile::ALL, ahead.run_bytes_max, |entry| snapshot.is_large(entry))
            .into_iter()
            .map(|run| stored_bytes(entries.get(run).unwrap_or_default()));
        let blocks_bytes = entries.iter().map(|entry| expanded_bytes(snapshot, entry));
        // One more is being taken apart, or stored.
        let fetched = largest(runs_bytes, ahead.runs + 1);
        let expanded = largest(blocks_bytes, ahead.blocks + 1).saturating_mul(COPIES_OF_BLOCK);
        let directory: u64 = entries.iter().map(|entry| (size_of::<BlockEntry>() + entry.first_id.len()) as u64).sum();
        let json = snapshot.metadata_json_bytes.saturating_mul(PARSED_JSON);
        for bytes in [fetched, expanded, directory.saturating_mul(2), json] {
            sum = sum.saturating_add(bytes);
        }
    }
    Ok(sum)
}

/// Returns what writing a file takes, in bytes: redb keeps pages up to the size of its cache.
pub(super) fn of_file(size: FileSize) -> u64 {
    size.likely_bytes.min(CACHE_BYTES as u64)
}

/// Returns what a database in memory takes, in bytes.
pub(super) fn of_database(chain: &Chain, directories: &[Arc<[BlockEntry]>]) -> Result<u64> {
    let metadata = &chain.newest()?.metadata;
    let vector_bytes = metadata.dimensions.saturating_mul(4).saturating_mul(COPIES_OF_VECTOR);
    let records = metadata.vector_count.saturating_mul(vector_bytes.saturating_add(RECORD_BYTES));
    let entries = directories.iter().flat_map(|entries| entries.iter());
    let texts: u64 = entries.map(|entry| u64::from(entry.payloads_raw_bytes) + u64::from(entry.ids_raw_bytes)).sum();
    Ok(records.saturating_add(texts.saturating_mul(PARSED_METADATA)))
}

fn of_irregular(chain: &Chain) -> u64 {
    let sections = chain.snapshots().iter().flat_map(|snapshot| snapshot.metadata.irregular_sections());
    let section = sections.map(|section| section.raw_bytes).max().unwrap_or(0).saturating_mul(COPIES_OF_SECTION);
    let info = chain.snapshots().first().and_then(|newest| newest.metadata.irregular.as_ref());
    let rows = info.map_or(0, |info| info.records.saturating_add(info.table_rows).saturating_add(info.config_rows));
    section.saturating_add(rows.saturating_mul(IRREGULAR_ROW_BYTES))
}

fn stored_bytes(run: &[BlockEntry]) -> u64 {
    DataFile::ALL.iter().map(|file| range_of(run, *file)).map(|range| range.end.saturating_sub(range.start)).sum()
}

fn expanded_bytes(snapshot: &StoredSnapshot, entry: &BlockEntry) -> u64 {
    let dimensions = snapshot.metadata.dimensions;
    DataFile::ALL.iter().fold(0, |sum, file| sum.saturating_add(entry.raw_bytes(*file, dimensions)))
}

/// Returns the sum of so many of the largest of these.
fn largest(sizes: impl Iterator<Item = u64>, count: usize) -> u64 {
    let mut sizes: Vec<u64> = sizes.collect();
    sizes.sort_unstable();
    sizes.into_iter().rev().take(count).fold(0, u64::saturating_add)
}
