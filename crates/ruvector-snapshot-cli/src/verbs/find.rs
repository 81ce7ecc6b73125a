//! `find`: prints which snapshots have a record, and in which it changed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use clap::Args;
use ruvector_snapshot::{FindReport, RecordState};

use crate::documents::FindDocument;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Column, Table, ago};
use crate::session::Session;

pub(crate) const HELP: &str = "\
Lists all snapshots, newest first, with what became of the record since the snapshot before: for an incremental snapshot its base, for a full one the \
next older snapshot of the same source.
  added             the snapshot has it, the one before does not
  present           the snapshot has it; the one before cannot be read
  same              the record has not changed
  vector changed    the vector has changed, and perhaps the metadata; `diff`
                    reads the metadata to know, `find` does not
  metadata changed  only the metadata has changed
  changed           the vector or the metadata; a full snapshot does not say which
  removed           the one before has it, this one does not
  absent            neither has it
  unknown           a snapshot cannot be used; a warning says why
Reads indexes only: no vectors and no metadata. If the store has snapshots of several databases, the source of each is shown: the name that was given \
with `create --source`, or else the host and the path.

Examples:
  ruvector-snapshot find doc-17
  ruvector-snapshot find doc-17 --json | jq -r '.snapshots[] | select(.change == \"removed\").id'

Exit codes: 0 a snapshot has the record; 1 none has it, or none of those that can be read, or failure; 2 wrong usage; 4 there are no snapshots; 5 a snapshot has \
it, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// The id of the record
    #[arg(value_name = "RECORD_ID")]
    pub(crate) record_id: String,
}

pub(crate) async fn find(session: &Session, args: &Find) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let report = session.read(&manager, manager.find_record(&args.record_id)).await?;
    let unknown = |problem: &String| format!("not known of snapshot {problem}");
    report.problems.iter().map(unknown).for_each(|problem| session.warnings.add(&problem));
    session.document(&FindDocument::from(&report))?;
    session.learn_ids(&manager).await;
    print_text(session, &report, manager.now())?;
    Ok(match report.is_found() {
        true => Exit::Success,
        // There is no snapshot that could have it.
        false if report.snapshots.is_empty() && report.problems.is_empty() => Exit::NothingThere,
        false => Exit::Failure,
    })
}

fn print_text(session: &Session, report: &FindReport, now: DateTime<Utc>) -> Result<(), Failure> {
    let output = session.output;
    if !report.is_found() {
        let unknown = if report.problems.is_empty() { "" } else { " of those that can be read" };
        let inside = if report.snapshots.is_empty() { session.store_inside() } else { String::new() };
        let none = match report.snapshots.is_empty() && report.problems.is_empty() {
            true => "; there are no snapshots",
            false => "",
        };
        let (store, record_id) = (&session.store, &report.record_id);
        if !report.problems.is_empty() && report.snapshots.iter().all(|found| found.state == RecordState::Unknown) {
            return output.line(format_args!(
                "no snapshot at {store} can be read, so whether one has the record {record_id:?} is not known"
            ));
        }
        return output.line(format_args!("no snapshot{unknown} at {store} has the record {record_id:?}{none}{inside}"));
    }
    let sources: BTreeSet<String> = report.snapshots.iter().map(|found| found.snapshot.source.id_or_kind()).collect();
    // Records of different databases with the same id have nothing to do with each other.
    let has_sources = sources.len() > 1;
    let columns = [
        Column::new("ID"),
        Column::new("NAME").cut_to(8),
        Column::new("TAKEN").rank(2),
        Column::new("AGE").rank(3),
        Column::new("SOURCE").rank(1).cut_start_to(10),
        Column::new("RECORD"),
    ];
    let mut table = Table::new(columns);
    for found in &report.snapshots {
        let snapshot = &found.snapshot;
        let age = output.columns().map(|_| ago(snapshot.created_at, now));
        let source = has_sources.then(|| snapshot.source.id_or_kind());
        table.add([
            session.short(&snapshot.id).into(),
            snapshot.name.as_str().into(),
            output.time(snapshot.created_at).into(),
            age.unwrap_or_default().into(),
            source.unwrap_or_default().into(),
            Cell::from(words(found.state)),
        ]);
    }
    for id in &report.unusable {
        let (id, unknown) = (session.short(id), words(RecordState::Unknown));
        table.add([id.into(), "".into(), "".into(), "".into(), "".into(), Cell::from(unknown)]);
    }
    output.table(&table.without_empty())
}

fn words(state: RecordState) -> &'static str {
    match state {
        RecordState::Absent => "absent",
        RecordState::Added => "added",
        RecordState::Present => "present",
        RecordState::Same => "same",
        RecordState::VectorChanged => "vector changed",
        RecordState::MetadataChanged => "metadata changed",
        RecordState::Changed => "changed",
        RecordState::Removed => "removed",
        _ => "unknown",
    }
}
