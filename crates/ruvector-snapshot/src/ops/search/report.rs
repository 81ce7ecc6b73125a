//! What a search returns.

use ruvector_core::DistanceMetric;
use ruvector_snapshot_format::RawJson;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// What a search has found.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SearchReport {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The metric of the distances.
    pub metric: DistanceMetric,
    /// Number of records that were compared with each query: all records of the snapshot.
    pub records: u64,
    /// The result of each query, in the order of the queries.
    pub results: Vec<SearchResult>,
}

/// The result of one query.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SearchResult {
    /// The name of the query, if it has one.
    pub query: Option<String>,
    /// The id of the record whose vector was searched for, if it was one.
    pub like: Option<String>,
    /// The nearest records, the nearest first. Of equal distances, the one whose id comes first.
    pub neighbors: Vec<Neighbor>,
}

/// A record that was found.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Neighbor {
    /// The id of the record.
    pub id: String,
    /// The distance, as Ruvector computes it. The smaller, the nearer; for the metric `DotProduct` the negative dot product.
    /// NaN, which comes last, if a vector has such a value or one that is infinite. In JSON it is null then.
    pub distance: f32,
    /// The metadata, if it was asked for, and if the record has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RawJson>,
}
