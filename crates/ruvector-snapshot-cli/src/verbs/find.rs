//! `find`: prints which snapshots have a record, and in which it changed.

use std::collections::BTreeSet;

use clap::Args;
use comfy_table::{Table, presets};
use ruvector_snapshot::{FindReport, RecordState, SourceInfo};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::output::{fitted, fitted_end, timestamp};
use crate::session::Session;

pub(crate) const HELP: &str = "\
Lists all snapshots, newest first, with what became of the record since the snapshot before: for an incremental snapshot its base, for a full one the \
next older snapshot of the same source.
  added             the snapshot has it, the one before does not
  same              the record has not changed
  vector changed    the vector has changed, and perhaps the metadata
  metadata changed  only the metadata has changed
  changed           the vector or the metadata; a full snapshot does not say which
  removed           the one before has it, this one does not
  absent            neither has it
  unknown           a snapshot cannot be used; a warning says why
Reads indexes only: no vectors and no metadata. If the store has snapshots of several databases, the source of each is shown: the name that was given \
with `create --source`, or else the host and the path.

Examples:
  ruvector-snapshot find doc-17
  ruvector-snapshot find doc-17 --json | jq -r '.snapshots[] | select(.state == \"removed\").id'

Exit codes: 0 a snapshot has the record; 1 none has it, or none of those that can be read, or failure.";

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// The id of the record
    #[arg(value_name = "RECORD_ID")]
    pub(crate) record_id: String,
}

/// Columns of the terminal for a name, or for a source.
const NAME_COLUMNS: usize = 40;

pub(crate) async fn find(session: &Session, args: &Find) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let report = session.read(&manager, manager.find_record(&args.record_id)).await?;
    let unknown = |problem: &String| format!("not known of snapshot {problem}");
    report.problems.iter().map(unknown).for_each(|problem| session.warnings.add(&problem));
    print_document(session, &report)?;
    print_text(session, &report)?;
    Ok(if report.is_found() { Exit::Success } else { Exit::Failure })
}

fn print_document(session: &Session, report: &FindReport) -> Result<(), Failure> {
    let snapshots = report.snapshots.iter().map(|found| {
        json!({
            "id": found.snapshot.id, "name": found.snapshot.name, "created_at": found.snapshot.created_at,
            "source": source_document(&found.snapshot.source), "base_id": found.snapshot.base_id(),
            "state": words(found.state).replace(' ', "_"), "digest": found.digest,
        })
    });
    session.output.document(&json!({
        "store": session.store, "record_id": report.record_id, "found": report.is_found(),
        "snapshots": snapshots.collect::<Vec<_>>(), "warnings": session.warnings.list(),
    }))
}

fn print_text(session: &Session, report: &FindReport) -> Result<(), Failure> {
    let output = session.output;
    if !report.is_found() {
        let unknown = if report.problems.is_empty() { "" } else { " of those that can be read" };
        return output
            .line(format_args!("no snapshot{unknown} at {} has the record {:?}", session.store, report.record_id));
    }
    let sources: BTreeSet<String> = report.snapshots.iter().map(|found| source_text(&found.snapshot.source)).collect();
    // Records of different databases with the same id have nothing to do with each other.
    let has_sources = sources.len() > 1;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let columns = ["ID", "NAME", "TAKEN", "SOURCE", "RECORD"];
    table.set_header(columns.into_iter().filter(|column| has_sources || *column != "SOURCE"));
    for found in &report.snapshots {
        let snapshot = &found.snapshot;
        let mut row = vec![snapshot.id.clone(), fitted(&snapshot.name, NAME_COLUMNS)];
        row.push(timestamp(snapshot.created_at).to_string());
        if has_sources {
            row.push(fitted_end(&source_text(&snapshot.source), NAME_COLUMNS));
        }
        row.push(words(found.state).to_owned());
        table.add_row(row);
    }
    table.lines().try_for_each(|line| output.line(line.trim()))
}

/// Returns the name of a source, or else the host and the path of its database, or else its kind.
fn source_text(source: &SourceInfo) -> String {
    source.id().map_or_else(|| source.kind.clone(), |id| id.to_string())
}

fn source_document(source: &SourceInfo) -> Value {
    json!({ "kind": source.kind, "name": source.name, "host": source.host, "path": source.path })
}

fn words(state: RecordState) -> &'static str {
    match state {
        RecordState::Absent => "absent",
        RecordState::Added => "added",
        RecordState::Same => "same",
        RecordState::VectorChanged => "vector changed",
        RecordState::MetadataChanged => "metadata changed",
        RecordState::Changed => "changed",
        RecordState::Removed => "removed",
        _ => "unknown",
    }
}
