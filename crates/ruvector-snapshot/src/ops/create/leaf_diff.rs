//! Finds the key ranges in which a database file may differ from the base, by comparing the checksums of B-tree leaves.
//!
//! A leaf whose checksum the base has too holds the rows that it held then, and is not read. What is left are key
//! ranges; `delta` compares their rows.

use std::sync::Arc;

use ruvector_snapshot_format::leaves::LeafFinder;
use ruvector_snapshot_format::model::LeafTable;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::source::file::{DatabaseTable, FileReader, LeafVisit, VectorLookup};
use crate::source::key_range::{DiffRange, KeyRange, coalesced, diff_ranges};

/// Where a source may differ from the base, and what is known of the source.
pub(super) struct SourceDiff {
    pub(super) ranges: Arc<[DiffRange]>,
    /// The leaf tables of the source, if they are known before its records are read.
    pub(super) leaves: Option<[LeafTable; 2]>,
    /// The numbers of rows of the tables of the base, if the reader is restricted.
    pub(super) base_row_counts: Option<[u64; 2]>,
    /// Finds the vectors that a metadata-only range leaves out.
    pub(super) lookup: Option<VectorLookup>,
}

/// The leaves of one table, compared with those of the base.
struct LeafDiff {
    /// Ranges of leaves that the base does not have.
    new: Vec<KeyRange>,
    /// Ranges of leaves that only the base has.
    removed: Vec<KeyRange>,
    /// All leaves of the source.
    leaves: LeafTable,
}

impl SourceDiff {
    /// Compares the leaves of both tables, at the same time, and restricts the reader to where they differ. Blocks.
    pub(super) fn restrict(reader: &mut FileReader, base: &[LeafTable; 2]) -> Result<Self> {
        let [base_vectors, base_metadata] = base;
        let walked: &FileReader = reader;
        let compare_metadata = || compare(walked, DatabaseTable::Metadata, base_metadata);
        let (vectors, metadata) = std::thread::scope(|scope| {
            let metadata = std::thread::Builder::new().spawn_scoped(scope, compare_metadata);
            let vectors = compare(walked, DatabaseTable::Vectors, base_vectors);
            // Without another thread, one after the other.
            (vectors, metadata.map_or_else(|_| Ok(compare_metadata()), |thread| thread.join()))
        });
        let panicked =
            |_| SnapshotError::new(ErrorKind::Internal, "a thread that compared the leaves of a table failed");
        let (vectors, metadata) = (vectors?, metadata.map_err(panicked)??);
        let all_vectors = [vectors.new.clone(), vectors.removed].concat();
        let all = diff_ranges(all_vectors.clone(), [metadata.new.clone(), metadata.removed].concat());
        // The rows that the source has in these ranges are in its new leaves. Rows of its other leaves are rows of
        // leaves that the base has too, and so not of leaves that only the base has.
        let mut own = diff_ranges(all_vectors, metadata.new);
        own.retain(|range| range.is_metadata_only);
        own.extend(
            coalesced(vectors.new).into_iter().map(|key_range| DiffRange { key_range, is_metadata_only: false }),
        );
        own.sort_by(|a, b| a.key_range.start.cmp(&b.key_range.start));
        reader.restrict_to(own);
        let row_count = |leaves: &LeafTable| leaves.rows.iter().map(|rows| u64::from(*rows)).sum();
        Ok(Self {
            ranges: all.into(),
            leaves: Some([vectors.leaves, metadata.leaves]),
            base_row_counts: Some([row_count(base_vectors), row_count(base_metadata)]),
            lookup: None,
        })
    }
}

fn compare(reader: &FileReader, table: DatabaseTable, base: &LeafTable) -> Result<LeafDiff> {
    let finder = LeafFinder::new(base);
    let mut is_found = vec![false; base.len()];
    let mut leaves = LeafTable::default();
    let mut new = Vec::new();
    let rows_of_known = |checksum| base.rows.get(finder.find(checksum)?).map(|rows| u64::from(*rows));
    reader.walk_leaves(table, rows_of_known, |leaf| match leaf {
        LeafVisit::Known { checksum } => {
            if let Some(at) = finder.find(checksum) {
                leaves.push_from(base, at);
                is_found.get_mut(at).into_iter().for_each(|is_found| *is_found = true);
            }
        }
        LeafVisit::New { checksum, rows, first_key, last_key } => {
            new.push(KeyRange::inclusive(first_key, last_key));
            leaves.push(checksum, rows, first_key);
        }
    })?;
    // A leaf of the base held all ids from its first one to that of the next leaf.
    let range = |at| KeyRange::half_open(base.first_key(at).unwrap_or_default(), base.first_key(at + 1));
    let removed = is_found.iter().enumerate().filter(|(_, is_found)| !**is_found).map(|(at, _)| range(at)).collect();
    Ok(LeafDiff { new, removed, leaves })
}
