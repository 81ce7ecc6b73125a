//! `search`: prints the records of a snapshot that are nearest to vectors.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use ruvector_snapshot::{Query, SearchOptions, SearchReport, SearchResult, Transferred};
use serde::Serialize;

use crate::args::Search;
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::output::{fitted, pace, print_transferred, shape, timestamp};
use crate::progress::ProgressDisplay;
use crate::queries::read_queries;
use crate::session::Session;

/// Columns of the terminal for an id, alone and beside metadata, and for metadata.
const ID_COLUMNS: usize = 50;
const ID_COLUMNS_WITH_METADATA: usize = 28;
const METADATA_COLUMNS: usize = 26;

/// The members of the document beside the snapshot.
#[derive(Serialize)]
struct Document<'a> {
    metric: ruvector_core::DistanceMetric,
    neighbors_max: usize,
    records: u64,
    results: &'a [SearchResult],
    store_read_bytes: u64,
    seconds: f64,
    warnings: Vec<String>,
}

pub(crate) async fn search(session: &Session, args: Search) -> Result<Exit, Failure> {
    let mut queries: Vec<Query> = args.like.iter().map(Query::like).collect();
    if let Some(path) = &args.query {
        queries.extend(read_queries(session, path).await?);
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
    output.document_of(
        snapshot,
        &Document {
            metric: report.metric,
            neighbors_max: args.k,
            records: report.records,
            results: &report.results,
            store_read_bytes: transferred.store_read_bytes,
            seconds: taken.as_secs_f64(),
            warnings: session.warnings.list(),
        },
    )?;
    output.line(format_args!("searched {}", snapshot.id))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", timestamp(snapshot.created_at))?;
    output.field("vectors", shape(snapshot))?;
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
        (Some(id), _) => format!("like {}", fitted(&format!("{id:?}"), ID_COLUMNS)),
        (None, Some(name)) => format!("query {number}, {}", fitted(&format!("{name:?}"), ID_COLUMNS)),
        (None, None) => format!("query {number}"),
    };
    output.line("")?;
    if result.neighbors.is_empty() {
        return output.line(format_args!("{name}: nothing was found"));
    }
    output.line(format_args!("{name}:"))?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let columns = ["RANK", "DISTANCE", "ID", "METADATA"];
    table.set_header(columns.into_iter().filter(|column| args.with_metadata || *column != "METADATA"));
    for (neighbor, rank) in result.neighbors.iter().zip(1_u64..) {
        let id_columns = if args.with_metadata { ID_COLUMNS_WITH_METADATA } else { ID_COLUMNS };
        let distance = format!("{:?}", neighbor.distance);
        let mut row = vec![rank.to_string(), distance, fitted(&neighbor.id, id_columns)];
        if args.with_metadata {
            let metadata = neighbor.metadata.as_ref().map_or("", |metadata| metadata.get());
            row.push(fitted(metadata, METADATA_COLUMNS));
        }
        table.add_row(row);
    }
    table.lines().try_for_each(|line| output.line(line.trim()))
}
