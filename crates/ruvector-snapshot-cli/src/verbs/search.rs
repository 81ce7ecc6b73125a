//! `search`: prints the records of a snapshot that are nearest to vectors.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

mod queries;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use ruvector_core::DistanceMetric;
use ruvector_snapshot::{Condition, Query, SearchOptions, SearchReport, SearchResult, Transferred};

use crate::documents::SearchDocument;
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::output::{Cell, Column, Table, pace, print_transferred, shape};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::values::{condition, metric, positive};
use queries::read_queries;

pub(crate) const HELP: &str = "\
Prints the records whose vectors are nearest to a vector: the exact nearest neighbors, by the metric of the database and with the distances that Ruvector \
computes. The smaller the distance, the nearer; for DotProduct it is the negative dot product. Of equal distances, the id that comes first is first. A \
vector with NaN comes last.

The snapshot is not restored. All records are read once, however many vectors are searched for, and compared with each of them. That takes about as long as a \
`verify`. It answers at once after a disaster: Ruvector builds its search index again whenever it opens a database, and a restored database answers only after \
that. The digest of every record is verified, and at the end their content checksum. If something is corrupt, the command fails without a result. \
It does not replace `verify`, which reads everything.

FILE of --query has one JSON value on each line: an array of numbers, or an object such as {\"id\":\"q1\",\"vector\":[0.25,-1.5]}, whose id names the result. \
It has at most 10,000 vectors and 256 MiB. A search has at most 1,000,000 neighbors in all. --where chooses the neighbors: `restore --help` explains it. \
The metadata is cut to fit the line; with --json it is complete. Irregular rows are not searched: `irregular` counts them.

Examples:
  ruvector-snapshot search latest --like doc-17
  ruvector-snapshot search nightly --like doc-17 -k 3 --where lang=de \\
      --with-metadata
  ruvector-snapshot search 20260331 --query questions.jsonl --json
  echo '[0.25,-1.5]' | ruvector-snapshot search latest --query -

Exit codes: 0 success, even if nothing was found; 1 failure, or the record of --like is not in the snapshot; 2 wrong usage, for example a vector of other dimensions; \
3 the snapshot is corrupt; 4 there is no such snapshot; 5 success, with warnings.";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("queries").args(["like", "query"]).required(true).multiple(true))]
#[command(override_usage = "ruvector-snapshot search <ID> <--like RECORD_ID|--query FILE> [OPTIONS]")]
pub(crate) struct Search {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Search for the vector that this record has in the snapshot. The record itself is not among its results. Can be
    /// repeated
    #[arg(long = "like", value_name = "RECORD_ID")]
    pub(crate) like: Vec<String>,
    /// Search for the vectors in FILE, one on each line, as a JSON array of numbers or as `dump` prints a record; - for
    /// standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) query: Option<PathBuf>,
    /// Number of neighbors of each vector
    #[arg(short = 'k', long = "neighbors", value_name = "N", default_value_t = 10, value_parser = positive)]
    pub(crate) k: usize,
    /// Only records whose metadata has this, as for `restore`. Can be repeated, and then all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = condition)]
    pub(crate) conditions: Vec<Condition>,
    /// Print the metadata of the neighbors too
    #[arg(long)]
    pub(crate) with_metadata: bool,
    /// Metric of a snapshot that records none: euclidean, cosine, dot-product or manhattan
    #[arg(long, value_name = "METRIC", hide_possible_values = true, value_parser = metric())]
    pub(crate) metric: Option<DistanceMetric>,
}

/// Columns of the terminal for an id in a heading.
const ID_COLUMNS: usize = 50;

pub(crate) async fn search(session: &Session, args: Search) -> Result<Exit, Failure> {
    let mut queries: Vec<Query> = args.like.iter().map(Query::like).collect();
    if let Some(path) = &args.query {
        let is_vector = !path.exists() && path.to_string_lossy().trim_start().starts_with(['[', '{']);
        queries.extend(read_queries(session, path).await.map_err(|failure| match is_vector {
            true => {
                failure.with_hint("--query takes a file; with `--query -`, the vectors are read from standard input")
            }
            false => failure,
        })?);
    }
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let mut options = SearchOptions::default().k(args.k).with_metadata(args.with_metadata);
    options.conditions.clone_from(&args.conditions);
    options.metric = args.metric;
    let started = Instant::now();
    let (report, transferred) = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        let work = async { Ok(manager.search_snapshot(&id, &queries, &options).await) };
        (session.read(&manager, work).await?, progress.transferred())
    };
    let report = report.map_err(Failure::usage)?;
    print(session, &report, &args, (transferred, started.elapsed()))?;
    Ok(Exit::Success)
}

fn print(
    session: &Session,
    report: &SearchReport,
    args: &Search,
    (transferred, taken): (Transferred, Duration),
) -> Result<(), Failure> {
    let (output, snapshot) = (session.output, &report.snapshot);
    session.document(&SearchDocument::new(report, args.k, transferred))?;
    output.line(format_args!("searched {}", session.short(&snapshot.id)))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", output.time(snapshot.created_at))?;
    output.field("vectors", shape(snapshot))?;
    if let Some(irregular) = &snapshot.irregular {
        output.field("irregular", format_args!("{irregular}, not searched"))?;
    }
    output.field("time", pace(taken, report.records, "records"))?;
    print_transferred(&output, transferred, taken)?;
    output.field("verified", "the records have the content checksum of the snapshot")?;
    report.results.iter().zip(1_u64..).try_for_each(|(result, number)| print_result(session, args, result, number))
}

fn print_result(session: &Session, args: &Search, result: &SearchResult, number: u64) -> Result<(), Failure> {
    let output = session.output;
    if output.json {
        return Ok(());
    }
    let name = match (&result.like, &result.query) {
        (Some(id), _) => format!("like {}", output.fitted(&format!("{id:?}"), ID_COLUMNS)),
        (None, Some(name)) => format!("query {number}, {}", output.fitted(&format!("{name:?}"), ID_COLUMNS)),
        (None, None) => format!("query {number}"),
    };
    output.line("")?;
    if result.neighbors.is_empty() {
        return output.line(format_args!("{name}: nothing was found"));
    }
    output.line(format_args!("{name}:"))?;
    let columns = [
        Column::new("RANK").number(),
        Column::new("DISTANCE").number(),
        Column::new("ID").cut_to(20),
        Column::new("METADATA").cut_to(10),
    ];
    let mut table = Table::new(columns.into_iter().take(if args.with_metadata { 4 } else { 3 }));
    for (neighbor, rank) in result.neighbors.iter().zip(1_u64..) {
        let distance = format!("{:?}", neighbor.distance);
        let metadata = neighbor.metadata.as_ref().map_or("", |metadata| metadata.get());
        let row = [rank.to_string().into(), distance.into(), neighbor.id.as_str().into(), Cell::from(metadata)];
        table.add(row.into_iter().take(if args.with_metadata { 4 } else { 3 }));
    }
    output.table(&table)
}
