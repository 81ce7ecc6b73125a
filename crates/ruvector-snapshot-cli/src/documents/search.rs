//! The document of `search`.

use ruvector_snapshot::{Neighbor, RawJson, SearchReport, SearchResult, Transferred};
use schemars::JsonSchema;
use serde::Serialize;

use super::each::Each;
use super::shared::TransferredDocument;
use super::snapshot::SnapshotDocument;

/// The records of a snapshot that are nearest to vectors.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Search")]
pub(crate) struct SearchDocument<'a> {
    /// The id of the snapshot.
    id: &'a str,
    /// The snapshot.
    snapshot: SnapshotDocument<'a>,
    /// The metric of the distances, as Ruvector writes it.
    metric: String,
    /// Number of neighbors of each vector at most.
    neighbors_max: usize,
    /// Number of records that were compared with each vector.
    records: u64,
    /// The result of each vector, in the order in which they were given.
    results: Each<'a, SearchResult, ResultDocument<'a>>,
    #[serde(flatten)]
    transferred: TransferredDocument,
}

impl<'a> SearchDocument<'a> {
    pub(crate) fn new(report: &'a SearchReport, neighbors_max: usize, transferred: Transferred) -> Self {
        Self {
            id: &report.snapshot.id,
            snapshot: (&report.snapshot).into(),
            metric: format!("{:?}", report.metric),
            neighbors_max,
            records: report.records,
            results: (&report.results).into(),
            transferred: transferred.into(),
        }
    }
}

/// The result of one vector.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SearchResult")]
struct ResultDocument<'a> {
    /// The name of the vector, if it has one in the file. Null if it has none.
    query: Option<&'a str>,
    /// The id of the record whose vector was searched for. Null if it was the vector of a file.
    like: Option<&'a str>,
    /// The nearest records, the nearest first.
    neighbors: Each<'a, Neighbor, NeighborDocument<'a>>,
}

impl<'a> From<&'a SearchResult> for ResultDocument<'a> {
    fn from(result: &'a SearchResult) -> Self {
        Self { query: result.query.as_deref(), like: result.like.as_deref(), neighbors: (&result.neighbors).into() }
    }
}

/// A record that was found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Neighbor")]
struct NeighborDocument<'a> {
    /// The id of the record.
    id: &'a str,
    /// The distance, as Ruvector computes it. The smaller, the nearer. Null if a vector has a value that is NaN or infinite.
    #[schemars(with = "Option<f32>")]
    distance: f32,
    /// The metadata, as canonical JSON, with `--with-metadata`, and if there is some.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    metadata: Option<&'a RawJson>,
}

impl<'a> From<&'a Neighbor> for NeighborDocument<'a> {
    fn from(neighbor: &'a Neighbor) -> Self {
        Self { id: &neighbor.id, distance: neighbor.distance, metadata: neighbor.metadata.as_ref() }
    }
}
