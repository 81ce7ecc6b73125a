//! What a drill has measured.

use serde::Serialize;

use crate::snapshot::Snapshot;

/// What a drill has measured. The restored database was verified: it has the content checksum of the snapshot.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DrillReport {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Whether the restored database has the recall that it must have. True if there was nothing to search.
    pub passed: bool,
    /// Age of the data, in milliseconds: from the moment of the snapshot to the start of the drill. What was written since
    /// would be lost. It is what a recovery point objective (RPO) is compared with. Negative if the snapshot is dated in the
    /// future.
    pub data_age_ms: i64,
    /// Time until the data was there, in milliseconds: the database was restored and verified.
    pub time_to_data_ms: u64,
    /// Time that Ruvector took to open the restored database, in milliseconds. It builds its search index again whenever it
    /// opens a database.
    pub time_to_open_ms: u64,
    /// Time until the first search was answered, in milliseconds, which includes both. It is what a recovery time objective
    /// (RTO) is compared with. `None` if there was nothing to search.
    pub time_to_first_search_ms: Option<u64>,
    /// Number of vectors that were searched for.
    pub probes: usize,
    /// Number of neighbors of each: 10, or the number of records if it is smaller.
    pub neighbors: usize,
    /// Share of the nearest neighbors that Ruvector has found: the recall at `neighbors`, from 0 to 1. A neighbor at the
    /// same distance as the last of the exact search counts as found. `None` if there was nothing to search.
    pub recall: Option<f64>,
    /// The recall that the restored database must have.
    pub min_recall: f64,
    /// Size of the restored database file, in bytes.
    pub file_bytes: u64,
    /// Bytes that were read from the store. A request that was repeated counts once.
    pub store_read_bytes: u64,
}
