//! Search: the records of a snapshot that are nearest to vectors, without restoring it.
//!
//! Records whose vectors are searched for are read first, then all records once for all queries, and at the end the metadata
//! of what was found.

mod options;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use ruvector_core::DistanceMetric;
use ruvector_core::types::DbOptions;
use ruvector_snapshot_format::RawJson;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::model::{DatabaseInfo, Record};
use tracing::Instrument as _;

use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::progress::{report_transferred, warn};
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::context::Context;
use crate::repo::filter::RecordFilter;
use crate::repo::nearest::{Candidate, Distance, Scan, Target, nearest};
use crate::repo::selection::{MissingIds, selected_blocks};
use crate::snapshot::Snapshot;
use crate::source::database_options;
use options::QueryVector;

pub use options::{Query, SearchOptions};
pub use report::{Neighbor, SearchReport, SearchResult};

/// Queries of one search.
const QUERIES_MAX: usize = 10_000;
/// Neighbors of all queries together.
const NEIGHBORS_MAX: usize = 1_000_000;
/// Size of the vectors of all queries together, in bytes.
const VECTORS_BYTES_MAX: usize = 256 << 20;
/// Records that warnings name.
const WARNINGS_MAX: usize = 10;
/// Size of the metadata of all neighbors together, in bytes.
const METADATA_BYTES_MAX: usize = 256 << 20;

/// Searches a snapshot for the nearest records of each query.
pub(crate) async fn search(
    context: &Context,
    id: &SnapshotId,
    queries: &[Query],
    options: &SearchOptions,
) -> Result<SearchReport> {
    let span = tracing::info_span!("search", snapshot = %id);
    async {
        check_numbers(queries.len(), options.k)?;
        let (context, meter) = &context.metered();
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let database = newest.restorable_database().await?;
        let metric = metric_of(id, &database, options.metric)?;
        let distance = Distance::of(&DbOptions { distance_metric: metric, ..database_options(&database, "")? });
        check_vectors(id, queries, database.dimensions, newest.metadata.vector_count)?;
        if let Some(warning) = corruption_warning(context, &chain, Then::ReadsAgain).await {
            warn(options.progress.as_deref(), &warning);
        }
        let targets = targets(context, &chain, distance, queries).await?;
        warn_of_no_numbers(&targets, options);
        let scan = Scan { distance, targets, conditions: options.conditions.clone(), k: options.k };
        let found = nearest(&chain, &context.config, scan, options.progress.as_deref()).await?;
        warn_of_nothing(id, &found, options);
        let metadata =
            if options.with_metadata { metadata_of(context, &chain, &found).await? } else { BTreeMap::new() };
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        report_transferred(options.progress.as_deref(), meter, 0);
        let results = queries.iter().zip(found).map(|(query, found)| result_of(query, found, &metadata));
        Ok(SearchReport { records: newest.metadata.vector_count, results: results.collect(), snapshot, metric })
    }
    .instrument(span)
    .await
}

fn invalid(message: String) -> SnapshotError {
    SnapshotError::new(ErrorKind::InvalidInput, message)
}

/// Checks that the results fit in memory.
fn check_numbers(queries: usize, k: usize) -> Result<()> {
    match (queries, k) {
        (0, _) => Err(invalid("there is no query, so there is nothing to search for".to_owned())),
        (_, 0) => Err(invalid("a search for 0 neighbors has no result; ask for at least 1".to_owned())),
        (queries, _) if queries > QUERIES_MAX => {
            Err(invalid(format!("{queries} queries are more than {QUERIES_MAX}; divide them")))
        }
        (queries, k) if queries.saturating_mul(k) > NEIGHBORS_MAX => Err(invalid(format!(
            "{k} neighbors of {queries} {} are more than {NEIGHBORS_MAX} in all; ask for fewer neighbors, or divide \
             the queries",
            if queries == 1 { "query" } else { "queries" }
        ))),
        _ => Ok(()),
    }
}

/// Returns the metric of the database, or that which was given if it records none.
fn metric_of(id: &SnapshotId, database: &DatabaseInfo, given: Option<DistanceMetric>) -> Result<DistanceMetric> {
    let Some(name) = &database.distance_metric else {
        return given.ok_or_else(|| {
            invalid(format!(
                "snapshot {id} does not record the metric of the database, which an old version of Ruvector has written; \
                 choose a metric"
            ))
        });
    };
    let recorded = database_options(database, "")?.distance_metric;
    match given {
        Some(given) if given != recorded => {
            Err(invalid(format!("the metric of snapshot {id} is {name}; another one cannot be chosen")))
        }
        _ => Ok(recorded),
    }
}

/// Checks that every vector can be compared with those of the snapshot.
fn check_vectors(id: &SnapshotId, queries: &[Query], dimensions: u64, records: u64) -> Result<()> {
    let bytes = (queries.len() as u64).saturating_mul(dimensions).saturating_mul(4);
    if bytes > VECTORS_BYTES_MAX as u64 {
        return Err(invalid(format!(
            "{} queries of {dimensions} dimensions take more than 256 MiB; divide them",
            queries.len()
        )));
    }
    for (query, number) in queries.iter().zip(1_u64..) {
        let QueryVector::Values(values) = &query.vector else { continue };
        let name =
            || query.name().map_or_else(|| format!("query {number}"), |name| format!("query {number}, {name:?},"));
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(invalid(format!("value {} of {} is not a finite number", at + 1, name())));
        }
        // An empty database may not record its dimensions.
        let is_unknown = dimensions == 0 && records == 0;
        if values.is_empty() || (!is_unknown && values.len() as u64 != dimensions) {
            let found = values.len();
            return Err(invalid(format!(
                "{} has {found} values, but the vectors of snapshot {id} have {dimensions} dimensions",
                name()
            )));
        }
    }
    Ok(())
}

/// Returns the vectors that are searched for. Reads those of records from the snapshot.
async fn targets(context: &Context, chain: &Chain, distance: Distance, queries: &[Query]) -> Result<Vec<Target>> {
    let ids: BTreeSet<&str> = queries.iter().filter_map(Query::like_id).collect();
    let mut points = BTreeMap::new();
    if !ids.is_empty() {
        let filter = RecordFilter::default().ids(ids);
        let missing = MissingIds::default();
        let read = |record: Record<'_>| {
            points.insert(record.id.to_owned(), distance.point(record.values()));
            Ok(())
        };
        each_record(context, chain, &filter, &missing, read).await?;
        missing.check_none(chain.newest()?.id(), &filter, "nothing was searched")?;
    }
    let target = |query: &Query| match &query.vector {
        QueryVector::Values(values) => Ok(Target { point: distance.point(values.iter().copied()), without: None }),
        QueryVector::Like(id) => match points.get(id) {
            Some(point) => Ok(Target { point: point.clone(), without: Some(id.clone()) }),
            None => Err(SnapshotError::new(ErrorKind::Internal, format!("the record {id:?} was not read"))),
        },
    };
    queries.iter().map(target).collect()
}

/// Reads the metadata of the records that were found, by id.
async fn metadata_of(
    context: &Context,
    chain: &Chain,
    found: &[Vec<Candidate>],
) -> Result<BTreeMap<String, Option<RawJson>>> {
    let ids: BTreeSet<&str> = found.iter().flatten().map(|candidate| candidate.id.as_ref()).collect();
    let (expected, mut bytes) = (ids.len(), 0);
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let filter = RecordFilter::default().ids(ids);
    let mut metadata = BTreeMap::new();
    let read = |record: Record<'_>| {
        bytes += record.metadata.map_or(0, str::len);
        if bytes > METADATA_BYTES_MAX {
            let message = "the metadata of the results takes more than 256 MiB; ask for fewer neighbors, or search without \
                           the metadata and stream the records that were found";
            return Err(invalid(message.to_owned()));
        }
        let json =
            record.metadata.map(serde_json::from_str::<RawJson>).transpose().map_err(|error| {
                corrupt(format!("the metadata of id {:?} is not JSON", record.id)).with_source(error)
            })?;
        metadata.insert(record.id.to_owned(), json);
        Ok(())
    };
    each_record(context, chain, &filter, &MissingIds::default(), read).await?;
    if metadata.len() != expected {
        let message = "records that were found are not there when they are read again".to_owned();
        return Err(chain.newest()?.judged(corrupt(message)).await);
    }
    Ok(metadata)
}

/// Reads the records with the ids of a filter, and shows them to `visit`.
async fn each_record(
    context: &Context,
    chain: &Chain,
    filter: &RecordFilter,
    missing: &MissingIds,
    mut visit: impl FnMut(Record<'_>) -> Result<()>,
) -> Result<()> {
    let mut blocks = selected_blocks(chain, &context.config, filter, None, missing).await?;
    while let Some((block, _)) = blocks.try_next().await? {
        block.rows().try_for_each(&mut visit)?;
    }
    Ok(())
}

/// Warns of records whose vectors are near to nothing. Given vectors of this kind are refused.
fn warn_of_no_numbers(targets: &[Target], options: &SearchOptions) {
    let ids: BTreeSet<&str> =
        targets.iter().filter(|one| !one.point.is_comparable()).filter_map(|one| one.without.as_deref()).collect();
    for id in ids.iter().take(WARNINGS_MAX) {
        let warning = format!(
            "the vector of the record {id:?} has a value that is not a finite number, so no record is near to it: its \
             distances are no numbers, and its neighbors have no meaning"
        );
        warn(options.progress.as_deref(), &warning);
    }
    if let Some(more) = ids.len().checked_sub(WARNINGS_MAX).filter(|more| *more > 0) {
        warn(options.progress.as_deref(), &format!("the vectors of {more} more records have such a value"));
    }
}

/// Warns if the conditions hold for no record, and a mistake in them may be the reason.
fn warn_of_nothing(id: &SnapshotId, found: &[Vec<Candidate>], options: &SearchOptions) {
    if !options.conditions.is_empty() && found.iter().all(Vec::is_empty) {
        let filter = RecordFilter { ids: None, conditions: options.conditions.clone() };
        warn(options.progress.as_deref(), &filter.accepts_none_of(id, "nothing was found"));
    }
}

fn result_of(query: &Query, found: Vec<Candidate>, metadata: &BTreeMap<String, Option<RawJson>>) -> SearchResult {
    let neighbors = found.into_iter().map(|Candidate { distance, id }| Neighbor {
        metadata: metadata.get(id.as_ref()).cloned().flatten(),
        id: id.as_ref().to_owned(),
        distance,
    });
    let (name, like) = (query.name().map(str::to_owned), query.like_id().map(str::to_owned));
    SearchResult { query: name, like, neighbors: neighbors.collect() }
}
